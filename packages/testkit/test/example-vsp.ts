// A small provider that does everything right, and can be told to do one thing wrong: what the suite for providers is tested with.
//
// HELLO (1, version) and START (2) set it up. DOUBLE (3, n) is answered with 2n. FILL (4, value) fills as many bytes of the guest's buffer as its first
// word says, a millisecond later. Completions are a status and a value.

import {
  type Clock,
  clockToken,
  definePlugin,
  type GuestBuffer,
  mmioToken,
  PartitaError,
  type Plugin,
  type PluginInstance,
  type SavedState,
  type SavedValue,
  type Timer,
  VMBUS_COMPLETION_REQUESTED,
  VMBUS_PACKET,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusDevice,
  type VmbusPacket,
  vmbusServerToken,
} from '@partita/interface'
import type { GuestAnswer, VspSubject } from '@partita/testkit'

/** What can be wrong with it. */
const VSP_BUGS = [
  'another contract',
  'not in the manifest',
  'takes any options',
  'asks for an undeclared service',
  'new GUIDs at each start',
  'never ends its close',
  'keeps its phase over a close',
  'doubles six wrongly',
  'throws on small rings',
  'answers on the channel that is open now',
  'leaves its offer',
  'leaves a timer',
  'cannot be disposed of twice',
  'does not reset',
  'saves no phase',
  'saves no pending requests',
  'saves what is no plain data',
  'has another state after a restore',
  'works while it stands',
  'takes states of any version',
  'takes half of a wrong state',
  'throws on short packets',
  'completes what asked for nothing',
  'throws on requests out of order',
  'loses answers when the ring is full',
  'queues without bound',
  'reads a length twice',
  'keeps a history',
  'forgets a request now and then',
  'halves transaction ids',
  'stores one byte too many',
  'stores without a word',
] as const
export type VspBug = (typeof VSP_BUGS)[number]

const DEPTH = 16
const DELAY = 1e6
const LARGEST = 256

interface Pending {
  readonly low: number
  readonly high: number
  readonly value: number
  readonly due: number
  readonly ranges: readonly (readonly [number, number])[]
  /** 0: a fill that is still to be done. */
  done: number
}

class Channel implements VmbusChannelHandler {
  readonly #device: ExampleDevice
  readonly channel: VmbusChannel
  pending: Pending[] = []

  constructor(device: ExampleDevice, channel: VmbusChannel) {
    this.#device = device
    this.channel = channel
  }

  receive(packet: VmbusPacket): boolean {
    const device = this.#device
    const { payloadLength, payloadOffset, view } = packet
    if (packet.type !== VMBUS_PACKET.IN_BAND && packet.type !== VMBUS_PACKET.GPA_DIRECT) return true
    if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0 && device.bug !== 'completes what asked for nothing')
      return true
    const most = device.bug === 'queues without bound' ? Number.POSITIVE_INFINITY : DEPTH
    if (device.stopped || this.pending.length >= most) return false
    if (payloadLength < 8 && device.bug !== 'throws on short packets') return this.#answer(packet, 1, 0)
    if (payloadLength < 8) throw new RangeError('a short packet')
    const operation = view.getUint32(payloadOffset, true)
    const argument = view.getUint32(payloadOffset + 4, true)
    device.served++
    if (device.bug === 'keeps a history') device.history.push(operation)
    if (device.bug === 'forgets a request now and then' && device.served % 37 === 0) return true
    switch (operation) {
      case 1:
      case 2: {
        const right = operation === device.phase + 1 && (operation === 2 || argument === 5)
        if (!this.#answer(packet, right ? 0 : 2, argument)) return false
        if (right) device.phase = operation
        return true
      }
      case 3:
        if (device.phase !== 2 && device.bug === 'throws on requests out of order') throw new Error('not yet')
        return this.#answer(packet, device.phase === 2 ? 0 : 2, this.#double(argument))
      case 4:
        return device.phase === 2 ? this.#fill(packet, argument) : this.#answer(packet, 2, 0)
      default:
        return this.#answer(packet, 1, 0)
    }
  }

  #double(n: number): number {
    return this.#device.bug === 'doubles six wrongly' && n === 6 ? 15 : n * 2
  }

  #fill(packet: VmbusPacket, value: number): boolean {
    const { buffer } = packet
    const { memory } = this.channel
    const head = new Uint8Array(4)
    if (buffer.byteLength < 4 || !buffer.read(memory, 0, head)) return this.#answer(packet, 1, 0)
    const length = new DataView(head.buffer).getUint32(0, true)
    if (length > LARGEST || length > buffer.byteLength) return this.#answer(packet, 1, 0)
    if (this.#device.bug === 'reads a length twice') {
      buffer.read(memory, 0, head)
      new Uint8Array(LARGEST).set(new Uint8Array(new DataView(head.buffer).getUint32(0, true) & 0xffff))
    }
    const ranges = rangesOf(buffer, length)
    const due = this.#device.clock.now() + DELAY
    const high = this.#device.bug === 'halves transaction ids' ? 0 : packet.transactionHigh
    this.pending.push({ low: packet.transactionLow, high, value, due, ranges, done: 0 })
    this.#device.arm()
    return true
  }

  #answer(packet: VmbusPacket, status: number, value: number): boolean {
    const { transactionLow: low, transactionHigh: high } = packet
    const { bug, clock } = this.#device
    if (this.complete(low, high, status, value) || bug === 'loses answers when the ring is full') return true
    if (bug !== 'queues without bound') return false
    this.pending.push({ low, high, value, due: clock.now(), ranges: [], done: 1 })
    return true
  }

  complete(low: number, high: number, status: number, value: number): boolean {
    const payload = new Uint8Array(8)
    const view = new DataView(payload.buffer)
    view.setUint32(0, status, true)
    view.setUint32(4, value, true)
    const target =
      this.#device.bug === 'answers on the channel that is open now' ? this.#device.current?.channel : this.channel
    return target?.complete(low, high, payload) ?? true
  }

  /** Finish what is due by `now`. */
  finish(now: number): void {
    const late = this.#device.bug === 'answers on the channel that is open now'
    while (this.pending.length > 0 && (this.channel.isOpen || late)) {
      const first = this.pending[0] as Pending
      if (first.due > now) break
      if (first.done === 0 && this.channel.isOpen) this.#store(first)
      first.done = 1
      if (
        !this.complete(first.low, first.high, 0, first.value) &&
        this.#device.bug !== 'loses answers when the ring is full'
      )
        return
      this.pending.shift()
    }
    if (this.pending.length < DEPTH) this.channel.resume()
  }

  #store({ ranges, value }: Pending): void {
    const { memory } = this.channel
    for (const [gpa, length] of ranges) {
      const more = this.#device.bug === 'stores one byte too many' ? 1 : 0
      if (this.#device.bug === 'stores without a word') memory.view(gpa, length, 'write')?.fill(value)
      else memory.fill(gpa, length + more, value & 0xff)
    }
  }

  writable(): void {
    this.finish(this.#device.clock.now())
  }

  close(): Promise<void> | void {
    const { bug } = this.#device
    if (bug !== 'answers on the channel that is open now') this.pending = []
    if (bug !== 'keeps its phase over a close') this.#device.phase = 0
    if (this.#device.current === this && bug !== 'answers on the channel that is open now')
      this.#device.current = undefined
    if (bug === 'never ends its close') return new Promise(() => {})
  }
}

function rangesOf(buffer: GuestBuffer, length: number): [number, number][] {
  const ranges: [number, number][] = []
  let left = length
  for (let piece = 0; piece < buffer.pieceCount && left > 0; piece++) {
    const part = Math.min(left, buffer.length(piece))
    ranges.push([buffer.gpa(piece), part])
    left -= part
  }
  return ranges
}

let starts = 0

class ExampleDevice implements VmbusDevice {
  readonly offer: VmbusDevice['offer']
  readonly clock: Clock
  readonly bug: VspBug | undefined
  readonly history: number[] = []
  readonly #timer: Timer
  phase = 0
  served = 0
  stopped = false
  current: Channel | undefined
  /** All channels ever, for the bug that needs them. */
  readonly #channels: Channel[] = []
  #restored: Pending[] = []

  constructor(clock: Clock, bug: VspBug | undefined) {
    this.clock = clock
    this.bug = bug
    this.#timer = clock.createTimer(() => this.#tick())
    const last = bug === 'new GUIDs at each start' ? ++starts : 1
    this.offer = {
      interfaceId: '5ad7c1d2-7a0e-4b40-9f14-3a1f0a7b0001',
      instanceId: `5ad7c1d2-7a0e-4b40-9f14-3a1f0a7c${last.toString(16).padStart(4, '0')}`,
    }
  }

  open(channel: VmbusChannel): VmbusChannelHandler | undefined {
    if (this.bug === 'throws on small rings' && channel.maxPayload < 5000) throw new Error('a small ring')
    if (this.bug !== 'keeps its phase over a close' && !channel.restored) this.phase = 0
    this.current = new Channel(this, channel)
    this.#channels.push(this.current)
    if (channel.restored) {
      this.current.pending = this.#restored
      this.#restored = []
    }
    return this.current
  }

  arm(): void {
    // In order; what is done waits for room and not for time.
    const due = this.#all().flatMap(({ pending: [first] }) => (first?.done === 0 ? [first.due] : []))
    if (due.length > 0) this.#timer.arm(Math.max(this.clock.now(), Math.min(...due)))
  }

  #all(): Channel[] {
    return this.bug === 'answers on the channel that is open now'
      ? this.#channels
      : this.current === undefined
        ? []
        : [this.current]
  }

  #tick(): void {
    if (this.stopped && this.bug !== 'works while it stands') return
    for (const channel of this.#all()) channel.finish(this.clock.now())
    this.arm()
  }

  start(): void {
    this.stopped = false
    this.#tick()
    this.arm()
    this.current?.channel.resume()
  }

  stop(): void {
    this.stopped = true
  }

  reset(): void {
    if (this.bug === 'does not reset') {
      this.history.push(...Array.from({ length: 50 }, () => 1))
      return
    }
    this.phase = 0
    this.#timer.cancel()
    this.#restored = []
  }

  save(): SavedState {
    const pending = this.bug === 'saves no pending requests' ? [] : (this.current?.pending ?? this.#restored)
    const data: Record<string, SavedValue> = {
      phase: this.bug === 'saves no phase' ? 0 : this.phase,
      pending: pending.map((one) => ({ ...one, ranges: one.ranges.map((range) => [...range]) })),
    }
    if (this.bug === 'saves what is no plain data') data['when'] = new Date(0) as unknown as SavedValue
    if (this.history.length > 0) data['history'] = [...this.history]
    return { version: 1, data }
  }

  restore(state: SavedState): void {
    const { phase, pending } = state.data
    if (this.bug === 'takes half of a wrong state' && typeof phase === 'number') this.phase = phase
    const right = Array.isArray(pending) && pending.every(isPending) && (phase === 0 || phase === 1 || phase === 2)
    const version = this.bug === 'takes states of any version' || state.version === 1
    if (!version || !right) throw new PartitaError('ERR_STATE_INVALID', 'this is no state of the example')
    this.phase = this.bug === 'has another state after a restore' ? Math.max(phase, 1) - 1 : phase
    const list = pending.map((one) => ({ ...(one as unknown as Pending) }))
    if (this.current === undefined) this.#restored = list
    else this.current.pending = list
  }

  dispose(): void {
    if (this.bug === 'leaves a timer') this.#timer.arm(1e15)
    else this.#timer.cancel()
  }
}

function isPending(value: SavedValue): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { low, high, value: fill, due, done, ranges } = value as { readonly [key: string]: SavedValue }
  return (
    [low, high, fill].every((one) => Number.isInteger(one) && (one as number) >= 0 && (one as number) < 2 ** 32) &&
    Number.isFinite(due) &&
    (done === 0 || done === 1) &&
    Array.isArray(ranges) &&
    ranges.every(
      (range) =>
        Array.isArray(range) &&
        range.length === 2 &&
        range.every((one) => Number.isSafeInteger(one) && (one as number) >= 0),
    )
  )
}

/** The plug-in, with `bug`. */
export function exampleVsp(bug?: VspBug): Plugin<{ readonly size: number }> {
  return definePlugin({
    name: bug === 'not in the manifest' ? 'another' : 'example/vsp',
    kind: 'vsp',
    contract: bug === 'another contract' ? 99 : 1,
    description: 'Doubles numbers and fills buffers, for tests',
    options: {
      '~standard': {
        version: 1,
        vendor: 'example',
        validate: (value) =>
          bug === 'takes any options' ||
          (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
            ? { value: { size: 1 } }
            : { issues: [{ message: 'there are no options' }] },
      },
    },
    needs: [vmbusServerToken, clockToken],
    provides: [],
    create: (context): PluginInstance => {
      if (bug === 'asks for an undeclared service') context.get(mmioToken)
      const device = new ExampleDevice(context.get(clockToken), bug)
      const offered = context.get(vmbusServerToken).offer(device)
      let disposed = false
      return {
        start: () => device.start(),
        stop: () => device.stop(),
        reset: () => device.reset(),
        save: () => device.save(),
        restore: (state) => device.restore(state),
        [Symbol.asyncDispose]: async () => {
          if (disposed && bug === 'cannot be disposed of twice') throw new Error('disposed of twice')
          disposed = true
          device.dispose()
          if (bug !== 'leaves its offer') await offered[Symbol.asyncDispose]()
        },
      }
    },
  })
}

function packet(...words: number[]): Uint8Array {
  const payload = new Uint8Array(words.length * 4)
  for (const [at, word] of words.entries()) new DataView(payload.buffer).setUint32(at * 4, word, true)
  return payload
}

function answers(value: number): (answer: GuestAnswer) => void {
  return ({ view }) => {
    if (view.getUint32(0, true) !== 0) throw new Error(`status ${view.getUint32(0, true)}`)
    if (view.getUint32(4, true) !== value) throw new Error(`${view.getUint32(4, true)} instead of ${value}`)
  }
}

/** The example as a subject of the suite. */
export function exampleVspSubject(bug?: VspBug): VspSubject {
  return {
    plugin: exampleVsp(bug),
    manifest: {
      plugins: [
        {
          name: 'example/vsp',
          kind: 'vsp',
          contract: bug === 'another contract' ? 99 : 1,
          description: 'Doubles numbers and fills buffers, for tests',
          export: '.',
        },
      ],
    },
    setup: [
      { payload: packet(1, 5), check: answers(5) },
      { payload: packet(2, 0), check: answers(0) },
    ],
    request: (n) => {
      if (n % 2 === 0) return { payload: packet(3, n), check: answers(n * 2) }
      const contents = new Uint8Array(200).fill(0xee)
      new DataView(contents.buffer).setUint32(0, 100, true)
      return {
        payload: packet(4, n & 0x7f),
        buffer: { size: 200, contents },
        check: (answer) => {
          answers(n & 0x7f)(answer)
          if (answer.buffer[99] !== (n & 0x7f) || answer.buffer[100] !== 0xee)
            throw new Error('the buffer is not filled')
        },
      }
    },
    maximumInFlight: 64,
    runs: 8,
  }
}
