// Commands of many steps, between whose steps the host is to serve others: promises that are fulfilled already do not give way to anything.

/** Node has it, browsers do not. */
const immediate = (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate

/** Steps from one turn of the host to the next. */
export const STEPS_A_TURN = 16

/** Resolves after the host has served what is waiting: input, timers, completions. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (immediate === undefined) setTimeout(resolve, 0)
    else immediate(resolve)
  })
}
