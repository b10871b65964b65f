// The capabilities of emulated devices with a guard around what the machine calls of them. An access goes through one more call and allocates nothing.

import {
  type AccessSize,
  type CharacterBackend,
  type Clock,
  type InterruptLine,
  type InterruptLines,
  type InterruptMessage,
  type InterruptMessages,
  type Mmio,
  type MmioHandler,
  PartitaError,
  type PciBus,
  type PciFunction,
  type PortHandler,
  type PortIo,
  type PowerControl,
  type PowerEvent,
  type SynicPorts,
  type Timer,
} from '@partita/interface'
import { type Claims, collision, formatRange } from './claims.ts'
import type { PluginGuard } from './plugin-guard.ts'

/** What an access reads where a device is gone: as an unclaimed port or address does. */
function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff
}

/** Serves for ports and MMIO alike: the two handlers have one shape. */
class GuardedHandler implements PortHandler, MmioHandler {
  readonly #guard: PluginGuard
  readonly #handler: PortHandler
  readonly #base: number
  readonly #what: string

  constructor(guard: PluginGuard, handler: PortHandler, base: number, what: string) {
    this.#guard = guard
    this.#handler = handler
    this.#base = base
    this.#what = what
  }

  read(offset: number, size: AccessSize): number {
    const guard = this.#guard
    if (guard.failed) return allOnes(size)
    const handler = this.#handler
    try {
      const value: unknown = guard.scope.call(handler.read, handler, offset, size, undefined)
      if (typeof value === 'number') return value
      guard.returned(this.#where('read', offset, size), value, 'no number')
    } catch (error) {
      guard.threw(this.#where('read', offset, size), error)
    }
    return allOnes(size)
  }

  write(offset: number, size: AccessSize, value: number): void {
    const guard = this.#guard
    if (guard.failed) return
    const handler = this.#handler
    try {
      const result: unknown = guard.scope.call(handler.write, handler, offset, size, value)
      if (result !== undefined) void guard.watch(this.#where('write', offset, size), result)
    } catch (error) {
      guard.threw(this.#where('write', offset, size), error)
    }
  }

  #where(what: string, offset: number, size: AccessSize): string {
    return `in a ${what} of ${size} bytes at ${this.#what} 0x${(this.#base + offset).toString(16)}`
  }
}

/** Both at once, in the order given. */
function both(guard: PluginGuard, ...parts: Disposable[]): Disposable {
  const stack = new DisposableStack()
  for (const part of parts) stack.use(part)
  return guard.own(stack)
}

export function guardedPorts(ports: PortIo, guard: PluginGuard, claims: Claims): PortIo {
  return {
    claim(base, length, handler) {
      guard.mustLive()
      const name = `the I/O ports ${formatRange(base, base + length)}`
      let claim: Disposable
      try {
        claim = ports.claim(base, length, new GuardedHandler(guard, handler, base, 'port'))
      } catch (error) {
        throw named(error, 'ERR_PORT_CONFLICT', guard.id, name, claims.find('port', base, base + length))
      }
      return both(guard, claim, claims.add('port', guard.id, name, base, base + length))
    },
  }
}

export function guardedMmio(mmio: Mmio, guard: PluginGuard, claims: Claims): Mmio {
  return {
    claim(gpa, length, handler) {
      guard.mustLive()
      const name = `the addresses ${formatRange(gpa, gpa + length)}`
      let claim: Disposable
      try {
        claim = mmio.claim(gpa, length, new GuardedHandler(guard, handler, gpa, 'address'))
      } catch (error) {
        const other = claims.find('mmio', gpa, gpa + length) ?? { id: 'The partition', name: 'RAM there' }
        throw named(error, 'ERR_MMIO_CONFLICT', guard.id, name, other)
      }
      return both(guard, claim, claims.add('mmio', guard.id, name, gpa, gpa + length))
    },
  }
}

/** A conflict with the names of both; a range that is none, with the name of who wants it. */
function named(
  error: unknown,
  code: string,
  id: string,
  name: string,
  other: { readonly id: string; readonly name: string } | undefined,
): unknown {
  if (!(error instanceof PartitaError)) return error
  if (error.code === code && other !== undefined) return collision(code, id, name, other, error)
  return new PartitaError(error.code, `${id} wants ${name}: ${error.message}`, {
    data: { ...error.data, plugins: [id] },
    cause: error,
  })
}

export function guardedPci(bus: PciBus, guard: PluginGuard, claims: Claims): PciBus {
  const guarded = linesOf(guard)
  return {
    attach(device, fn, pciFunction) {
      guard.mustLive()
      const slot = device * 8 + fn
      const name = `the PCI slot 00:${device.toString(16).padStart(2, '0')}.${fn}`
      let attached: Disposable
      try {
        attached = bus.attach(device, fn, guardedFunction(pciFunction, guard))
      } catch (error) {
        throw named(error, 'ERR_PCI_CONFLICT', guard.id, name, claims.find('pci', slot, slot + 1))
      }
      return both(guard, attached, claims.add('pci', guard.id, name, slot, slot + 1))
    },
    interrupt: (device, pin) => guarded(bus.interrupt(device, pin)),
  }
}

const IN_CONFIGURATION_SPACE = 'in an access to its PCI configuration space'
const readConfig = (pciFunction: PciFunction, offset: number): number => pciFunction.readConfig(offset)

function guardedFunction(pciFunction: PciFunction, guard: PluginGuard): PciFunction {
  return {
    readConfig: (offset) =>
      numberOf(guard, IN_CONFIGURATION_SPACE, 0xffff_ffff, readConfig, pciFunction, offset, undefined),
    writeConfig: (offset, value, mask) =>
      guard.call(IN_CONFIGURATION_SPACE, undefined, () => pciFunction.writeConfig(offset, value, mask)),
  }
}

/** What a function of the plug-in returns that has to be a number: `fallback` where it is none. */
function numberOf<A, B, C>(
  guard: PluginGuard,
  where: string,
  fallback: number,
  fn: (a: A, b: B, c: C) => number,
  a: A,
  b: B,
  c: C,
): number {
  if (guard.failed) return fallback
  try {
    const value: unknown = guard.scope.call(fn, undefined, a, b, c)
    if (typeof value === 'number') return value
    guard.returned(where, value, 'no number')
  } catch (error) {
    guard.threw(where, error)
  }
  return fallback
}

/** The bus of a plug-in, which may throw. */
export function servedPci(bus: PciBus, provider: PluginGuard): PciBus {
  return {
    attach: (device, fn, pciFunction) => {
      const where = 'when a PCI function was plugged in'
      const attached = provider.serve<Disposable | undefined>(where, undefined, () =>
        bus.attach(device, fn, pciFunction),
      )
      if (!isObject(attached)) throw notThere(provider, where, attached)
      return servedDisposable(attached, provider, 'when a PCI function was taken out')
    },
    interrupt: (device, pin) => servedLine(() => bus.interrupt(device, pin), provider),
  }
}

/** The wires of a plug-in, which may throw. */
export function servedLines(lines: InterruptLines, provider: PluginGuard): InterruptLines {
  return { line: (gsi) => servedLine(() => lines.line(gsi), provider) }
}

function servedLine(get: () => InterruptLine, provider: PluginGuard): InterruptLine {
  const where = 'when it was asked for an interrupt line'
  const line = provider.serve<InterruptLine | undefined>(where, undefined, get)
  if (!isObject(line)) throw notThere(provider, where, line)
  return new ServedLine(line, provider)
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** The error for who asked for something of a service, and got what is nothing to ask for more. */
export function notThere(provider: PluginGuard, where: string, value: unknown): Error {
  if (!provider.failed) provider.returned(where, value, 'nothing to go on with')
  return provider.goneError()
}

export function servedDisposable(disposable: Disposable, provider: PluginGuard, where: string): Disposable {
  return { [Symbol.dispose]: () => provider.call(where, undefined, () => disposable[Symbol.dispose]()) }
}

const DRIVEN = 'when an interrupt line was driven'

class ServedLine implements InterruptLine {
  readonly #line: InterruptLine
  readonly #provider: PluginGuard

  constructor(line: InterruptLine, provider: PluginGuard) {
    this.#line = line
    this.#provider = provider
  }

  set(asserted: boolean): void {
    const line = this.#line
    const provider = this.#provider
    if (provider.failed) return
    try {
      const result: unknown = provider.scope.call(line.set, line, asserted, undefined, undefined)
      if (result !== undefined) void provider.watch(DRIVEN, result)
    } catch (error) {
      provider.threw(DRIVEN, error)
    }
  }
}

/** One output on a wire, which falls when its device is taken away. Who shares the wire with it has another one. */
class GuardedLine implements InterruptLine {
  readonly #line: InterruptLine
  readonly #guard: PluginGuard
  readonly #asserted: Set<InterruptLine>

  constructor(line: InterruptLine, guard: PluginGuard, asserted: Set<InterruptLine>) {
    this.#line = line
    this.#guard = guard
    this.#asserted = asserted
  }

  set(asserted: boolean): void {
    if (this.#guard.failed) return
    if (asserted) this.#asserted.add(this.#line)
    else this.#asserted.delete(this.#line)
    this.#line.set(asserted)
  }
}

/** Guarded lines of a plug-in: one for each that it asks for, as outputs on one wire are ORed. */
function linesOf(guard: PluginGuard): (line: InterruptLine) => InterruptLine {
  // A line that nobody asserts, nobody keeps.
  const asserted = new Set<InterruptLine>()
  guard.own({
    [Symbol.dispose]: () => {
      for (const line of asserted) line.set(false)
    },
  })
  return (line) => new GuardedLine(line, guard, asserted)
}

export function guardedLines(lines: InterruptLines, guard: PluginGuard): InterruptLines {
  const guarded = linesOf(guard)
  return {
    line(gsi) {
      if (typeof gsi !== 'number') throw new TypeError('the number of an interrupt line is no number')
      return guarded(lines.line(gsi))
    },
  }
}

/** The vector of a spurious interrupt, where nobody is left to answer. */
const SPURIOUS_VECTOR = 0xff

export function guardedMessages(messages: InterruptMessages, guard: PluginGuard): InterruptMessages {
  return {
    send: (message: InterruptMessage) => {
      if (!guard.failed) messages.send(message)
    },
    setExternalInterrupt: (asserted) => {
      if (!guard.failed) messages.setExternalInterrupt(asserted)
    },
    setAcknowledge: (acknowledge) => {
      guard.mustLive()
      const where = 'when an interrupt was acknowledged'
      guard.own({ [Symbol.dispose]: () => messages.setExternalInterrupt(false) })
      messages.setAcknowledge(() =>
        numberOf(guard, where, SPURIOUS_VECTOR, acknowledge, undefined, undefined, undefined),
      )
    },
    onEndOfInterrupt: (callback) =>
      guard.own(
        messages.onEndOfInterrupt((vector) =>
          guard.call('at the end of an interrupt', undefined, callback, undefined, vector),
        ),
      ),
  }
}

class GuardedTimer implements Timer {
  readonly #timer: Timer
  readonly #guard: PluginGuard
  readonly #armed: Set<Timer>

  constructor(clock: Clock, callback: () => void, guard: PluginGuard, armed: Set<Timer>) {
    this.#guard = guard
    this.#armed = armed
    this.#timer = clock.createTimer(() => {
      armed.delete(this)
      guard.call('in a timer', undefined, callback)
    })
  }

  get deadline(): number {
    return this.#timer.deadline
  }

  arm(deadline: number): void {
    // The deadlines of all are compared with one another.
    if (typeof deadline !== 'number') throw new TypeError('the deadline of a timer is no number')
    if (this.#guard.failed) return
    this.#armed.add(this)
    this.#timer.arm(deadline)
  }

  cancel(): void {
    this.#armed.delete(this)
    this.#timer.cancel()
  }
}

export function guardedClock(clock: Clock, guard: PluginGuard): Clock {
  // A timer that nobody has armed, nobody keeps.
  const armed = new Set<Timer>()
  guard.own({
    [Symbol.dispose]: () => {
      for (const timer of [...armed]) timer.cancel()
    },
  })
  return {
    now: () => clock.now(),
    wallTime: () => clock.wallTime(),
    createTimer: (callback) => new GuardedTimer(clock, callback, guard, armed),
  }
}

/** TLFS, HV_STATUS: what a guest is told that posts to a port whose owner is gone. */
const HV_STATUS_INVALID_CONNECTION_ID = 0x12

export function guardedSynic(synic: SynicPorts, guard: PluginGuard, claims: Claims): SynicPorts {
  /** Create a port, and note whose it is: connections are numbered for messages and events alike. */
  const own = (connectionId: number, create: () => Disposable): Disposable => {
    guard.mustLive()
    const name = `the connection ${connectionId} of the SynIC`
    let port: Disposable
    try {
      port = create()
    } catch (error) {
      const other = claims.find('connection', connectionId, connectionId + 1)
      throw named(error, 'ERR_PORT_CONFLICT', guard.id, name, other)
    }
    return both(guard, port, claims.add('connection', guard.id, name, connectionId, connectionId + 1))
  }
  return {
    createMessagePort: (connectionId, receive) =>
      own(connectionId, () =>
        synic.createMessagePort(connectionId, (vpIndex, messageType, payload) =>
          numberOf(
            guard,
            'in a message of the guest',
            HV_STATUS_INVALID_CONNECTION_ID,
            receive,
            vpIndex,
            messageType,
            payload,
          ),
        ),
      ),
    createEventPort: (connectionId, signal) =>
      own(connectionId, () =>
        synic.createEventPort(connectionId, (flag) =>
          guard.call('in a signal of the guest', undefined, signal, undefined, flag),
        ),
      ),
    postMessage: (vpIndex, sint, messageType, payload) =>
      guard.failed || synic.postMessage(vpIndex, sint, messageType, bytes(payload)),
    onMessageSlotFree: (callback) =>
      guard.own(
        synic.onMessageSlotFree((vpIndex, sint) =>
          guard.call('when a message slot was free', undefined, callback, undefined, vpIndex, sint),
        ),
      ),
    signalEvent: (vpIndex, sint, flag) => !guard.failed && synic.signalEvent(vpIndex, sint, flag),
  }
}

/** The ends of character devices; each takes the callback of one device. */
export function guardedBackends(
  backends: ReadonlyMap<string, CharacterBackend>,
  guard: PluginGuard,
): ReadonlyMap<string, CharacterBackend> {
  return new Map([...backends].map(([name, backend]) => [name, new GuardedBackend(backend, guard)]))
}

class GuardedBackend implements CharacterBackend {
  readonly #backend: CharacterBackend
  readonly #guard: PluginGuard
  #onReady: (() => void) | undefined

  constructor(backend: CharacterBackend, guard: PluginGuard) {
    this.#backend = backend
    this.#guard = guard
    guard.own({
      [Symbol.dispose]: () => {
        if (this.#onReady !== undefined) backend.onReady = undefined
      },
    })
  }

  get onReady(): (() => void) | undefined {
    return this.#onReady
  }

  set onReady(callback: (() => void) | undefined) {
    this.#onReady = callback
    this.#backend.onReady =
      callback === undefined ? undefined : () => this.#guard.call('when its backend was ready', undefined, callback)
  }

  write(data: Uint8Array): boolean {
    return this.#guard.failed || this.#backend.write(bytes(data))
  }

  read(target: Uint8Array): number {
    return this.#guard.failed ? 0 : this.#backend.read(bytes(target))
  }
}

/** What others keep for later is what their contract says. */
function bytes(data: Uint8Array): Uint8Array {
  if (data instanceof Uint8Array) return data
  throw new TypeError('what was to be bytes is no Uint8Array')
}

const POWER_EVENTS: Readonly<Record<PowerEvent['type'], true>> = { 'power-off': true, reset: true, 'debug-exit': true }

/** A plug-in that is gone switches nothing off any more, and what it asks for is a power event. */
export function guardedPower(power: PowerControl, guard: PluginGuard): PowerControl {
  return {
    request(event) {
      if (!Object.hasOwn(POWER_EVENTS, event.type) || (event.type === 'debug-exit' && !Number.isInteger(event.code)))
        throw new TypeError('what was requested is no power event')
      if (!guard.failed)
        power.request(event.type === 'debug-exit' ? { type: event.type, code: event.code } : { type: event.type })
    },
  }
}
