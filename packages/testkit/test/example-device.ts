// A small emulated device that does everything right, and can be told to do one thing wrong: what the suite for emulated devices is tested with.
//
// Ports 0x300 VALUE, 0x301 CONTROL (bit 0 lets it interrupt), 0x302 DELAY (arms a timer of so many milliseconds), 0x303 STATUS (bit 0: the time is over;
// writing it clears it). Line 3 is asserted while CONTROL and STATUS are. A page at 0xFED01000 mirrors VALUE.

import {
  type Clock,
  clockToken,
  type InterruptLine,
  interruptLinesToken,
  type Mmio,
  mmioToken,
  PartitaError,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  portIoToken,
  type SavedState,
  type SavedValue,
  serviceToken,
  type Timer,
} from '@partita/interface'
import type { EmulatedDeviceSubject } from '@partita/testkit'

/** What can be wrong with it. */
export type DeviceBug =
  | 'is of another contract'
  | 'is not in the manifest'
  | 'takes any options'
  | 'asks for an undeclared service'
  | 'wakes up differently'
  | 'breaks at odd accesses'
  | 'answers too wide'
  | 'throws on a value'
  | 'keeps a history'
  | 'saves what is no plain data'
  | 'forgets a bit'
  | 'restores only when it is fresh'
  | 'believes any state'
  | 'keeps its line over a reset'
  | 'keeps a register over a reset'
  | 'leaves its ports'
  | 'leaves its ports when the page is taken'
  | 'drops its line in a pause'
  | 'never interrupts'
  | 'interrupts without being asked'
  | 'restores no line'

const PAGE = 0xfed0_1000
let starts = 0

interface Services {
  readonly line: InterruptLine
  readonly clock: Clock
  readonly timer: Timer
}

class ExampleDevice implements PortHandler {
  readonly bug: DeviceBug | undefined
  value = 0
  control = 0
  status = 0
  deadline = Number.POSITIVE_INFINITY
  used = false
  readonly history: number[] = []
  readonly #services: Services

  constructor(bug: DeviceBug | undefined, services: Services) {
    this.bug = bug
    this.#services = services
    if (bug === 'wakes up differently') this.value = ++starts & 0xff
  }

  drive(): void {
    const asked = this.bug === 'interrupts without being asked' || (this.control & 1) !== 0
    this.#services.line.set(asked && this.status !== 0 && this.bug !== 'never interrupts')
  }

  fire(): void {
    this.status = 1
    this.deadline = Number.POSITIVE_INFINITY
    this.drive()
  }

  read(offset: number, size: number): number {
    if (this.bug === 'breaks at odd accesses' && size === 2 && offset === 1) throw new Error('odd')
    const bytes = [this.value, this.control, 0, this.status]
    let value = 0
    for (let at = size - 1; at >= 0; at--) value = value * 256 + (bytes[offset + at] ?? 0xff)
    return this.bug === 'answers too wide' && this.value === 0x10 ? 0x1_0000_0000 : value
  }

  write(offset: number, size: number, written: number): void {
    this.used = true
    if (this.bug === 'keeps a history') this.history.push(written)
    for (let at = 0; at < size; at++) this.#writeByte(offset + at, (written >>> (8 * at)) & 0xff)
    this.drive()
  }

  #writeByte(register: number, byte: number): void {
    if (register === 0) {
      if (this.bug === 'throws on a value' && byte === 0x10) throw new Error('sixteen')
      this.value = byte
    } else if (register === 1) this.control = byte & 1
    else if (register === 2) {
      this.deadline = this.#services.clock.now() + byte * 1e6
      this.#services.timer.arm(this.deadline)
    } else this.status = 0
  }

  save(): SavedState {
    const data: Record<string, SavedValue> = {
      value: this.bug === 'forgets a bit' ? this.value & 0xfe : this.value,
      control: this.control,
      status: this.status,
      deadline: Number.isFinite(this.deadline) ? this.deadline : null,
    }
    if (this.bug === 'saves what is no plain data') data['when'] = new Date(0) as unknown as SavedValue
    if (this.history.length > 0) data['history'] = [...this.history]
    return { version: 1, data }
  }

  restore(state: SavedState): void {
    if (this.bug === 'restores only when it is fresh' && this.used) return
    const { value, control, status, deadline } = state.data
    const byte = (one: SavedValue | undefined, limit: number): one is number =>
      Number.isInteger(one) && (one as number) >= 0 && (one as number) <= limit
    const right = byte(value, 255) && byte(control, 1) && byte(status, 1)
    const time = deadline === null || (typeof deadline === 'number' && deadline >= 0)
    if ((state.version !== 1 || !right || !time) && this.bug !== 'believes any state')
      throw new PartitaError('ERR_STATE_INVALID', 'this is no state of the example')
    this.value = value as number
    this.control = control as number
    this.status = status as number
    this.deadline = typeof deadline === 'number' ? deadline : Number.POSITIVE_INFINITY
    if (Number.isFinite(this.deadline)) this.#services.timer.arm(this.deadline)
    else this.#services.timer.cancel()
    if (this.bug !== 'restores no line') this.drive()
  }

  reset(): void {
    if (this.bug !== 'keeps a register over a reset') this.value = 0
    this.control = 0
    this.status = 0
    this.deadline = Number.POSITIVE_INFINITY
    this.#services.timer.cancel()
    this.history.length = 0
    if (this.bug !== 'keeps its line over a reset') this.drive()
  }
}

/** The plug-in, with `bug`. */
export function exampleDevice(bug?: DeviceBug): Plugin<object> {
  return {
    name: bug === 'is not in the manifest' ? 'another' : 'example/device',
    kind: 'emulated-device',
    contract: bug === 'is of another contract' ? 99 : 1,
    description: 'A timer with an interrupt, for tests',
    options: {
      '~standard': {
        version: 1,
        vendor: 'example',
        validate: (value) =>
          bug === 'takes any options' ||
          (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
            ? { value: {} }
            : { issues: [{ message: 'there are no options' }] },
      },
    },
    needs: [portIoToken, mmioToken, interruptLinesToken, clockToken],
    provides: [],
    create: (context): PluginInstance => {
      if (bug === 'asks for an undeclared service') context.get(serviceToken('example/undeclared'))
      const clock = context.get(clockToken)
      const line = context.get(interruptLinesToken).line(3)
      const timer = clock.createTimer(() => device.fire())
      const device: ExampleDevice = new ExampleDevice(bug, { line, clock, timer })
      const mmio: Mmio = context.get(mmioToken)
      const owned = new DisposableStack()
      const ports = context.get(portIoToken).claim(0x300, 4, device)
      if (bug !== 'leaves its ports' && bug !== 'leaves its ports when the page is taken') owned.use(ports)
      try {
        owned.use(
          mmio.claim(PAGE, 4096, {
            read: () => device.value,
            write: (_at, _size, value) => device.write(0, 1, value & 0xff),
          }),
        )
      } catch (error) {
        owned.dispose()
        throw error
      }
      if (bug === 'leaves its ports when the page is taken') owned.use(ports)
      return {
        save: () => device.save(),
        restore: (state) => device.restore(state),
        reset: () => device.reset(),
        stop: () => {
          if (bug === 'drops its line in a pause') line.set(false)
        },
        async [Symbol.asyncDispose]() {
          owned.dispose()
          timer.cancel()
          line.set(false)
        },
      }
    },
  }
}

/** The example as a subject of the suite. */
export function exampleDeviceSubject(bug?: DeviceBug): EmulatedDeviceSubject {
  return {
    plugin: exampleDevice(bug),
    manifest: {
      plugins: [
        {
          name: 'example/device',
          kind: 'emulated-device',
          contract: bug === 'is of another contract' ? 99 : 1,
          description: 'A timer with an interrupt, for tests',
          export: '.',
        },
      ],
    },
    interrupts: [
      {
        name: 'the time is over',
        gsi: 3,
        raise: ({ ports, clock }) => {
          ports.write(0x301, 1)
          ports.write(0x302, 5)
          clock.advance(5e6)
        },
        cause: ({ ports, clock }) => {
          ports.write(0x302, 5)
          clock.advance(5e6)
        },
        acknowledge: ({ ports }) => ports.write(0x303, 1),
      },
    ],
    maximumState: 256,
    runs: 100,
  }
}
