// The host's event loop as the scheduler needs it, from globals that Node and browsers have.

/** How the scheduler gives way to the host. */
export interface EventLoop {
  /** Resolves after the host has served what is waiting (input, completions). */
  yield(): Promise<void>
  /** Call `callback` after about `milliseconds`; returns what cancels it. */
  after(milliseconds: number, callback: () => void): () => void
}

/** Node has it, browsers do not. */
const immediate = (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate

/** The event loop of the JavaScript host. */
export const hostEventLoop: EventLoop = {
  yield: immediate === undefined ? yieldByMessage() : () => new Promise((resolve) => immediate(resolve)),
  after(milliseconds: number, callback: () => void): () => void {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}

/** A message to oneself is a task of its own; timers of a browser are held back to 4 ms when they nest. */
function yieldByMessage(): () => Promise<void> {
  let channel: MessageChannel | undefined
  const waiting: (() => void)[] = []
  return () => {
    if (channel === undefined) {
      channel = new MessageChannel()
      channel.port1.onmessage = () => waiting.shift()?.()
    }
    const { port2 } = channel
    return new Promise((resolve) => {
      waiting.push(resolve)
      port2.postMessage(0)
    })
  }
}
