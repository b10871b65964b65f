// Everything a device may need, faked: the services that a plug-in is started with in a test.

import {
  type CharacterBackend,
  characterBackendsToken,
  clockToken,
  guestMemoryToken,
  type InterruptLine,
  interruptLinesToken,
  interruptMessagesToken,
  type Logger,
  mmioToken,
  PartitaError,
  type PciBus,
  type PciFunction,
  type Plugin,
  type PluginInstance,
  type PowerControl,
  type PowerEvent,
  pciBusToken,
  portIoToken,
  powerControlToken,
  type ServiceToken,
  silentLogger,
} from '@partita/interface'
import { FakeMmio, FakePortIo } from './fake-bus.ts'
import { FakeClock } from './fake-clock.ts'
import { FakeGuestMemory } from './fake-guest-memory.ts'
import { FakeInterruptLines, FakeInterruptMessages } from './fake-interrupts.ts'

/** Remembers the guest's power requests. */
export class FakePowerControl implements PowerControl {
  /** All requests, oldest first. */
  readonly events: PowerEvent[] = []

  request(event: PowerEvent): void {
    this.events.push(event)
  }
}

/** The host's end of a UART: what the guest wrote, and a queue of input. */
export class FakeCharacterBackend implements CharacterBackend {
  onReady: (() => void) | undefined = undefined
  /** When false, {@link FakeCharacterBackend.write} asks the device to hold back. */
  ready = true
  readonly #output: number[] = []
  readonly #input: number[] = []

  write(data: Uint8Array): boolean {
    this.#output.push(...data)
    return this.ready
  }

  read(target: Uint8Array): number {
    const bytes = this.#input.splice(0, target.length)
    target.set(bytes)
    return bytes.length
  }

  /** What the guest has written so far, as Latin-1. */
  get output(): string {
    return String.fromCharCode(...this.#output)
  }

  /** Bytes that the device has not pulled. */
  get waiting(): number {
    return this.#input.length
  }

  /** Type something. */
  type(text: string): void {
    for (const character of text) this.#input.push(character.charCodeAt(0) & 0xff)
    this.onReady?.()
  }

  /** Have the same input waiting as `other`. */
  adopt(other: FakeCharacterBackend): void {
    this.#input.splice(0, this.#input.length, ...other.#input)
  }

  /** Let the device write again. */
  release(): void {
    this.ready = true
    this.onReady?.()
  }
}

/** PCI bus 0 without a host bridge: reads and writes configuration space directly. */
export class FakePciBus implements PciBus {
  readonly #slots: Map<number, PciFunction> = new Map()
  readonly #lines: FakeInterruptLines

  constructor(lines: FakeInterruptLines) {
    this.#lines = lines
  }

  attach(device: number, fn: number, pciFunction: PciFunction): Disposable {
    const slot = device * 8 + fn
    if (this.#slots.has(slot)) throw new PartitaError('ERR_PCI_CONFLICT', `${device}.${fn} is taken`)
    this.#slots.set(slot, pciFunction)
    return { [Symbol.dispose]: () => void this.#slots.delete(slot) }
  }

  interrupt(device: number, pin: number): InterruptLine {
    return this.#lines.line(16 + ((device + pin) & 3))
  }

  /** Where functions are plugged in, in order: numbers of the `device`, 0–31, and the function, `fn`, 0–7. */
  get slots(): readonly { readonly device: number; readonly fn: number }[] {
    return [...this.#slots.keys()].sort((a, b) => a - b).map((slot) => ({ device: slot >> 3, fn: slot & 7 }))
  }

  /** Read a double word of a function’s configuration space; ones where nothing is plugged in. */
  read(device: number, fn: number, offset: number): number {
    return this.#slots.get(device * 8 + fn)?.readConfig(offset) ?? 0xffff_ffff
  }

  /** Write to a function’s configuration space. */
  write(device: number, fn: number, offset: number, value: number, mask = 0xffff_ffff): void {
    this.#slots.get(device * 8 + fn)?.writeConfig(offset, value >>> 0, mask >>> 0)
  }
}

/** What to build a {@link FakeMachine} with. */
export interface FakeMachineOptions {
  /** Bytes of RAM, 1 MiB if not given. */
  readonly ramSize?: number
  /** What plug-ins log to. Silent if not given. */
  readonly logger?: Logger
  /** Services by token name, in addition to (or instead of) the fakes. */
  readonly services?: Readonly<Record<string, unknown>>
}

/**
 * A machine made of fakes, and the way to start plug-ins in it.
 *
 * @example
 * ```ts
 * const machine = new FakeMachine()
 * const uart = await machine.start(serial, { backend: 'console' })
 * machine.ports.write(0x3f8, 0x41)
 * ```
 */
export class FakeMachine implements AsyncDisposable {
  /** Reference time, which passes by {@link FakeClock.advance} alone. */
  readonly clock: FakeClock = new FakeClock()
  /** Where devices claim I/O ports; `read` and `write` are the guest's accesses. */
  readonly ports: FakePortIo = new FakePortIo()
  /** The same for guest physical addresses. */
  readonly mmio: FakeMmio = new FakeMmio()
  /** The wires of devices, and what became of them. */
  readonly lines: FakeInterruptLines = new FakeInterruptLines()
  /** Interrupt messages that were sent. */
  readonly messages: FakeInterruptMessages = new FakeInterruptMessages()
  /** The guest's power requests. */
  readonly power: FakePowerControl = new FakePowerControl()
  /** The guest's RAM, from address 0. */
  readonly memory: FakeGuestMemory
  /** PCI bus 0. */
  readonly pci: FakePciBus = new FakePciBus(this.lines)
  /** The character back end named `console`. */
  readonly console: FakeCharacterBackend = new FakeCharacterBackend()
  /** What plug-ins log to. */
  readonly logger: Logger
  readonly #services: Map<string, unknown>
  readonly #instances: PluginInstance[] = []

  constructor(options: FakeMachineOptions = {}) {
    this.memory = new FakeGuestMemory(options.ramSize ?? 1024 * 1024)
    this.logger = options.logger ?? silentLogger
    this.#services = new Map<string, unknown>([
      [clockToken.name, this.clock],
      [portIoToken.name, this.ports],
      [mmioToken.name, this.mmio],
      [interruptLinesToken.name, this.lines],
      [interruptMessagesToken.name, this.messages],
      [powerControlToken.name, this.power],
      [guestMemoryToken.name, this.memory],
      [pciBusToken.name, this.pci],
      [characterBackendsToken.name, new Map<string, CharacterBackend>([['console', this.console]])],
      ...Object.entries(options.services ?? {}),
    ])
  }

  /** Offer a service to the plug-ins that are started from now on; `undefined` withdraws it. */
  provide<T>(token: ServiceToken<T>, service: T | undefined): void {
    if (service === undefined) this.#services.delete(token.name)
    else this.#services.set(token.name, service)
  }

  /** A service that was given or that a started plug-in provides. */
  service<T>(token: ServiceToken<T>): T {
    const service = this.#services.get(token.name)
    if (service === undefined) throw new Error(`no service ${token.name}`)
    return service as T
  }

  /**
   * Start a plug-in with the root partition's rules: options through its schema, and only services that it has declared.
   * @throws PartitaError `ERR_PLUGIN_OPTIONS` when its schema refuses the options
   */
  async start<Options>(
    plugin: Plugin<Options>,
    options: unknown = {},
    id: string = plugin.name,
  ): Promise<PluginInstance> {
    const checked = await plugin.options['~standard'].validate(options)
    if (checked.issues !== undefined) {
      throw new PartitaError('ERR_PLUGIN_OPTIONS', checked.issues.map((issue) => issue.message).join('; '))
    }
    const needs = new Set(plugin.needs.map((token) => token.name))
    const uses = new Set((plugin.uses ?? []).map((token) => token.name))
    for (const name of needs) if (!this.#services.has(name)) throw new Error(`${plugin.name} needs ${name}`)
    const instance = await plugin.create({
      options: checked.value,
      logger: this.logger,
      id,
      get: <T>(token: ServiceToken<T>): T => {
        if (!(needs.has(token.name) || (uses.has(token.name) && this.#services.has(token.name)))) {
          throw new PartitaError(
            'ERR_PLUGIN_UNDECLARED',
            `${plugin.name} asks for ${token.name} without having declared it`,
          )
        }
        return this.#services.get(token.name) as T
      },
      find: <T>(token: ServiceToken<T>): T | undefined => {
        if (!(needs.has(token.name) || uses.has(token.name))) {
          throw new PartitaError(
            'ERR_PLUGIN_UNDECLARED',
            `${plugin.name} looks for ${token.name} without having declared it`,
          )
        }
        return this.#services.get(token.name) as T | undefined
      },
    })
    for (const token of plugin.provides) {
      const service = instance.services?.[token.name]
      if (service === undefined) throw new Error(`${plugin.name} does not provide ${token.name}`)
      this.#services.set(token.name, service)
    }
    this.#instances.push(instance)
    return instance
  }

  /** Dispose of the started plug-ins in reverse. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const instance of this.#instances.splice(0).reverse()) await instance[Symbol.asyncDispose]()
  }
}
