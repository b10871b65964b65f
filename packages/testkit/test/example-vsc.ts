// A small driver that does everything right, and can be told to do one thing wrong: what the suite for clients is tested with. Its host doubles numbers.

import { PartitaError, VMBUS_COMPLETION_REQUESTED, VMBUS_PACKET } from '@partita/interface'
import { scriptedHost, type VscSubject } from '@partita/testkit'
import { type ClientChannel, defineVscDriver, type VscDevice, type VscDriver } from '@partita/vmbus/client'

/** What can be wrong with it. */
const VSC_BUGS = [
  'is for another interface',
  'gives a wrong result',
  'does one thing at a time',
  'does not wait',
  'takes answers in the order of asking',
  'throws on answers that come again',
  'looks at half of the transaction id',
  'throws on packets',
  'throws on short answers',
  'drops short answers',
  'drops what finds no room',
  'lets operations hang when it is stopped',
  'works on when it is stopped',
  'lets its start hang',
  'fails by a blunder',
  'starts without a channel',
  'allocates when it is gone',
  'leaks a buffer an operation',
  'keeps packets',
  'does not wake up',
] as const
export type VscBug = (typeof VSC_BUGS)[number]

const INTERFACE = '3c9e0a10-2f4d-4a57-8d2b-6f0c5b1e0001'
const INSTANCE = '3c9e0a10-2f4d-4a57-8d2b-6f0c5b1e0002'

class ExampleError extends PartitaError {}

interface Waiting {
  readonly resolve: (payload: Uint8Array) => void
  readonly reject: (error: Error) => void
}

/** What programs call. */
export class Doubler {
  readonly #bug: VscBug | undefined
  #device: VscDevice
  #channel: ClientChannel | undefined
  readonly #waiting: Map<number, Waiting> = new Map()
  readonly #queue: { readonly id: number; readonly payload: Uint8Array }[] = []
  #next = 1
  #stopped = false
  #awake: PromiseWithResolvers<void> | undefined

  constructor(device: VscDevice, bug: VscBug | undefined) {
    this.#device = device
    this.#bug = bug
  }

  async open(device: VscDevice): Promise<void> {
    this.#device = device
    const channel = await device.open({ ringBytes: 4096 }).catch((error: unknown) => {
      if (this.#bug !== 'starts without a channel') throw error
    })
    if (channel === undefined) return
    this.#channel = channel
    channel.onPacket = (packet) => {
      if (packet.type !== VMBUS_PACKET.COMPLETION) {
        if (this.#bug === 'throws on packets') throw new Error('what is this?')
        return
      }
      if (packet.transactionHigh !== 0 && this.#bug !== 'looks at half of the transaction id') return
      const inOrder = this.#bug === 'takes answers in the order of asking'
      const id = inOrder ? ([...this.#waiting.keys()][0] ?? 0) : packet.transactionLow
      const waiting = this.#waiting.get(id)
      if (waiting === undefined) {
        if (this.#bug === 'throws on answers that come again') throw new Error('nobody waits')
        return
      }
      if (packet.payloadLength < 8) {
        if (this.#bug === 'throws on short answers') throw new RangeError('a short answer')
        if (this.#bug === 'drops short answers') return
      }
      this.#waiting.delete(id)
      waiting.resolve(this.#bug === 'keeps packets' ? packet.payload() : packet.payload().slice())
    }
    channel.onWritable = () => this.#flush()
    // The host has to say that it is there.
    const hello = this.#ask(0)
    if (this.#bug !== 'lets its start hang') device.signal.addEventListener('abort', () => this.#fail())
    await hello
  }

  #fail(): void {
    const blunder = this.#bug === 'fails by a blunder' && !this.#stopped
    const gone = blunder ? new TypeError('undefined is not a function') : new ExampleError('ERR_EXAMPLE', 'it is gone')
    for (const { reject } of this.#waiting.values()) reject(gone)
    this.#waiting.clear()
    this.#queue.length = 0
  }

  async double(n: number): Promise<number> {
    while (this.#awake !== undefined) await this.#awake.promise
    if (this.#stopped && this.#bug === 'works on when it is stopped') return n * 2
    if (this.#stopped) throw new ExampleError('ERR_EXAMPLE', 'it is stopped')
    if (this.#bug === 'does one thing at a time') this.#waiting.clear()
    if (this.#bug === 'leaks a buffer an operation') this.#device.allocate(64)
    if (this.#bug === 'does not wait') {
      const answer = this.#ask(n)
      for (let turn = 0; turn < 40; turn++) await Promise.resolve()
      return await Promise.race([answer.catch(() => 0), Promise.resolve(0)])
    }
    return (await this.#ask(n)) + (this.#bug === 'gives a wrong result' && n === 3 ? 1 : 0)
  }

  async #ask(n: number): Promise<number> {
    const id = this.#next++
    const payload = new Uint8Array(8)
    new DataView(payload.buffer).setUint32(0, n, true)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    this.#waiting.set(id, { resolve, reject })
    this.#queue.push({ id, payload })
    this.#flush()
    const answer = await promise
    if (answer.length < 8) throw new ExampleError('ERR_EXAMPLE', 'a short answer')
    return new DataView(answer.buffer, answer.byteOffset).getUint32(4, true)
  }

  #flush(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const sent = this.#channel?.send(next.payload, next.id, 0, VMBUS_COMPLETION_REQUESTED)
      if (sent !== true && this.#bug !== 'drops what finds no room') return
      this.#queue.shift()
    }
  }

  async suspend(): Promise<void> {
    this.#awake = Promise.withResolvers<void>()
    while (this.#waiting.size > 0) await new Promise((resolve) => setImmediate(resolve))
  }

  async resume(device: VscDevice): Promise<void> {
    await this.open(device)
    const awake = this.#awake
    if (this.#bug === 'does not wake up') return
    this.#awake = undefined
    awake?.resolve()
  }

  stop(): void {
    this.#stopped = true
    const device = this.#device
    if (this.#bug === 'allocates when it is gone') setImmediate(() => void device.allocate(64))
    if (this.#bug !== 'lets operations hang when it is stopped') this.#fail()
    else this.#waiting.clear()
  }
}

/** The driver, with `bug`. */
export function exampleVsc(bug?: VscBug): VscDriver<Doubler> {
  return defineVscDriver({
    name: 'doubler',
    interfaceIds: [bug === 'is for another interface' ? INSTANCE : INTERFACE],
    async start(device) {
      const doubler = new Doubler(device, bug)
      await doubler.open(device)
      return doubler
    },
  })
}

/** The example as a subject of the suite. */
export function exampleVscSubject(bug?: VscBug): VscSubject<Doubler> {
  return {
    driver: exampleVsc(bug),
    host: () =>
      scriptedHost({ interfaceId: INTERFACE, instanceId: INSTANCE }, ({ view, payloadOffset, payloadLength }) => {
        if (payloadLength < 4) return undefined
        const n = view.getUint32(payloadOffset, true)
        const answer = new Uint8Array(8)
        new DataView(answer.buffer).setUint32(0, n, true)
        new DataView(answer.buffer).setUint32(4, n * 2, true)
        return answer
      }),
    operate: async (doubler, n) => {
      const doubled = await doubler.double(n + 1)
      if (doubled !== 2 * (n + 1)) throw new Error(`${doubled} is not the double of ${n + 1}`)
    },
  }
}
