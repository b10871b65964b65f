// Services that plug-ins give one another: whoever throws is taken away, by name, and the other side gets an answer that its contract knows.

import {
  DISK_ERROR,
  type Disk,
  disksToken,
  interruptLinesToken,
  keyboardInputToken,
  type Network,
  type NetworkAdapter,
  type NetworkFrame,
  type NetworkPort,
  networkToken,
  PartitaError,
  type Plugin,
  type PluginContext,
  type PluginInstance,
  portIoToken,
  type ServiceToken,
  serviceToken,
} from '@partita/interface'
import { describe, expect, it } from 'vitest'
import type { HostTimer } from '../src/index.ts'
import { device, machine, off } from './failing-machine.ts'

const code = (expected: string, more: object = {}) => expect.objectContaining({ code: expected, ...more })
const disposable = { async [Symbol.asyncDispose]() {} }
const fail = (): never => {
  throw new TypeError('no')
}
const reject = (): never => Promise.reject(new TypeError('no')) as never
/** Everything that waits in the event loop's turn. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

const frame: NetworkFrame = {
  bytes: new Uint8Array(64),
  start: 0,
  end: 64,
  flags: 0,
  checksumStart: 0,
  checksumOffset: 0,
  gsoSize: 0,
  vlan: 0,
}

/** A plug-in that provides one service. */
function provider<T>(
  name: string,
  token: ServiceToken<T>,
  make: (context: PluginContext) => T,
  more: Partial<PluginInstance> = {},
): Plugin {
  return device(name, [], (context) => ({ services: { [token.name]: make(context) }, ...more }), { provides: [token] })
}

/** A device that uses a service where it is there, and claims a port that reads as 0x55 as long as the device lives. */
function user<T>(
  name: string,
  token: ServiceToken<T>,
  use: (service: T) => Partial<PluginInstance> | undefined,
  port = 0x500,
): Plugin {
  return device(
    name,
    [portIoToken],
    (context) => {
      context.get(portIoToken).claim(port, 1, { read: () => 0x55, write: () => {} })
      const service = context.find(token)
      return service === undefined ? undefined : use(service)
    },
    { uses: [token] },
  )
}

const bystander = device('bystander', [portIoToken], (context) => {
  context.get(portIoToken).claim(0x600, 1, { read: () => 0x66, write: () => {} })
})

/** A network whose ports do what `more` says. */
const network = (more: object = {}): Network => ({
  connect: () => Object.defineProperties({ ...goodPort }, Object.getOwnPropertyDescriptors(more)) as NetworkPort,
})
const goodPort: NetworkPort = {
  accepts: 0,
  mtu: 1500,
  linkUp: true,
  linkSpeed: 10e9,
  send: () => true,
  sendEnd: () => {},
  resume: () => {},
  adapterChanged: () => {},
  ...disposable,
}

/** An adapter that notes what it is told. */
function adapter(log: string[], more: Partial<NetworkAdapter> = {}): NetworkAdapter {
  return {
    name: 'nic',
    macAddress: '02:15:5d:00:00:01',
    accepts: 0,
    receive: () => log.push('receive') > 0,
    receiveEnd: () => void log.push('receiveEnd'),
    writable: () => void log.push('writable'),
    portChanged: () => void log.push('portChanged'),
    ...more,
  }
}

/** What a machine looks like afterwards: who lives, what of the devices answers, how it ended. */
async function afterwards(devices: readonly Plugin[], access: () => void | Promise<void>, hostTimer?: HostTimer) {
  const seen: number[] = []
  let steps = 0
  const { vm, messages, errors } = await machine({
    devices: [...devices, bystander],
    ...(hostTimer && { hostTimer }),
    script: (vp) => {
      if (steps++ === 0) void access()
      if (steps < 5) return 'budget'
      seen.push(vp.intercepts.portRead(0, 0x500, 1), vp.intercepts.portRead(0, 0x600, 1))
      return off(vp)
    },
  })
  const outcome = await vm.run()
  await turn()
  const living = vm.plugins.filter((id) => devices.some(({ name }) => name === id))
  return { vm, outcome, seen, living, messages: messages(), errors }
}

describe('a network that a plug-in provides', () => {
  const getter = (key: string) => Object.defineProperty({}, key, { get: fail, enumerable: true })

  it.each([
    ['in a frame', { send: fail }, 'in a frame of the guest: no'],
    ['in a promise for a frame', { send: reject }, 'in a frame of the guest: no'],
    [
      'with what is no answer to a frame',
      { send: () => undefined },
      'in a frame of the guest: what it returned is neither true nor false',
    ],
    ['at the end of a batch', { sendEnd: fail }, 'at the end of a batch of frames: no'],
    ['at the end of a batch, later', { sendEnd: reject }, 'at the end of a batch of frames: no'],
    ['when there is room', { resume: fail }, 'when an adapter had room: no'],
    ['when the address changes', { adapterChanged: fail }, 'when the address of an adapter had changed: no'],
    ['in its link', getter('linkUp'), 'when it was asked for its link: no'],
    ['in its MTU', getter('mtu'), 'when it was asked for its MTU: no'],
    ['in its speed', getter('linkSpeed'), 'when it was asked for its speed: no'],
    ['in what it accepts', getter('accepts'), 'when it was asked what its port accepts: no'],
  ])('and fails %s is an unplugged cable; the adapter goes on', async (_, more, where) => {
    const log: string[] = []
    let port: NetworkPort | undefined
    const states: unknown[] = []
    const state = () => [port?.linkUp, port?.accepts, port?.mtu, port?.send(frame)]
    const { outcome, seen, living, messages, errors } = await afterwards(
      [
        provider('net', networkToken, () => network(more)),
        user('nic', networkToken, (service) => {
          port = service.connect(adapter(log), {})
          return {}
        }),
      ],
      async () => {
        port?.send(frame)
        port?.sendEnd()
        port?.resume()
        port?.adapterChanged()
        state()
        void port?.linkSpeed
        await undefined
        states.push(state())
      },
    )
    expect(messages).toEqual([`The plug-in net failed ${where}`])
    expect(errors).toEqual([`The plug-in net failed ${where}; its device is taken away`])
    expect(states).toEqual([[false, 0, 1500, true]])
    // Told once, and not inside of the call.
    expect(log).toEqual(['portChanged', 'writable'])
    expect({ outcome, seen, living }).toEqual({ outcome: { type: 'power-off' }, seen: [0x55, 0x66], living: ['nic'] })
  })

  it.each([
    ['throws', { connect: fail }, 'no'],
    ['rejects', { connect: reject }, 'no'],
    ['has no port', { connect: () => undefined as never }, 'what it returned is no port of a network'],
    ['has half a port', { connect: () => ({ send: () => true }) as never }, 'what it returned is no port of a network'],
    [
      'promises a port',
      { connect: async () => goodPort } as unknown as Network,
      'what it returned is a promise, and no port',
    ],
  ])('and %s when an adapter is connected is an unplugged cable from the start', async (_, broken, why) => {
    const log: string[] = []
    const ports: NetworkPort[] = []
    const { seen, living, messages } = await afterwards(
      [
        provider('net', networkToken, () => broken),
        user('nic', networkToken, (service) => {
          ports.push(service.connect(adapter(log), {}), service.connect(adapter(log), {}))
          return { [Symbol.asyncDispose]: async () => ports[0]?.[Symbol.asyncDispose]() }
        }),
      ],
      () => {},
    )
    expect(messages).toEqual([`The plug-in net failed when an adapter was connected: ${why}`])
    expect(ports.map(({ linkUp, mtu }) => [linkUp, mtu])).toEqual([
      [false, 1500],
      [false, 1500],
    ])
    expect(ports.map((port) => port.send(frame))).toEqual([true, true])
    expect(log).toEqual([])
    expect({ seen, living }).toEqual({ seen: [0x55, 0x66], living: ['nic'] })
  })

  it('may refuse a port with an error that has a code: that is the answer', async () => {
    const refusing: Network = {
      connect: () => {
        throw new PartitaError('ERR_NETWORK_UNKNOWN', 'there is no network named blue')
      },
    }
    await expect(
      machine({
        devices: [
          provider('net', networkToken, () => refusing),
          user('nic', networkToken, (service) => {
            service.connect(adapter([]), {})
            return {}
          }),
        ],
      }),
    ).rejects.toThrow(code('ERR_NETWORK_UNKNOWN'))
  })

  it.each([
    ['throws', fail, 'no'],
    ['rejects', reject, 'no'],
    ['never ends', () => new Promise<void>(() => {}), 'it was not done after 60 seconds'],
  ])('and %s when an adapter is disconnected does not keep the machine from ending', async (_, dispose, why) => {
    const timers: (() => void)[] = []
    const { vm, living, messages } = await afterwards(
      [
        provider('net', networkToken, () => network({ [Symbol.asyncDispose]: dispose })),
        user('nic', networkToken, (service) => {
          const port = service.connect(adapter([]), {})
          return { [Symbol.asyncDispose]: () => port[Symbol.asyncDispose]() }
        }),
      ],
      () => {},
      (_milliseconds, callback) => {
        timers.push(callback)
        return () => {
          timers.splice(timers.indexOf(callback), 1)
        }
      },
    )
    expect({ living, messages }).toEqual({ living: ['net', 'nic'], messages: [] })
    const ending = vm[Symbol.asyncDispose]()
    await turn()
    for (const timer of [...timers]) timer()
    await ending
    expect(timers).toEqual([])
    const where =
      dispose === fail || dispose === reject
        ? 'when an adapter was disconnected'
        : 'in what nic waited for when it was disposed of'
    expect(vm.pluginFailures.map(({ message }) => message)).toEqual([`The plug-in net failed ${where}: ${why}`])
  })

  it('does not answer for an adapter that throws, which takes nothing any more', async () => {
    const log: string[] = []
    const adapters: NetworkAdapter[] = []
    const hub: Network = {
      connect: (added) => {
        adapters.push(added)
        return {
          ...goodPort,
          send: (sent) => adapters.every((other) => other === added || other.receive(sent)),
          async [Symbol.asyncDispose]() {
            log.push(`${added.name} leaves`)
          },
        }
      },
    }
    const ports: NetworkPort[] = []
    const nic = (name: string, port: number, more: Partial<NetworkAdapter>) =>
      user(
        name,
        networkToken,
        (service) => {
          ports.push(service.connect({ ...adapter(log, more), name }, {}))
          return {}
        },
        port,
      )
    const taken: unknown[] = []
    const { seen, living, messages } = await afterwards(
      [
        provider('net', networkToken, () => hub),
        nic('good', 0x500, {}),
        nic('bad', 0x501, { receive: fail }),
        nic('slow', 0x502, { receive: () => Promise.resolve(true) as never }),
      ],
      async () => {
        taken.push(ports[0]?.send(frame))
        await undefined
        await undefined
        taken.push(ports[0]?.send(frame), ports[2]?.send(frame))
      },
    )
    expect(messages).toEqual([
      'The plug-in bad failed in a frame of the network: no',
      'The plug-in slow failed in a frame of the network: what it returned is neither true nor false',
    ])
    expect(taken).toEqual([true, true, true])
    expect(log).toEqual(['bad leaves', 'slow leaves'])
    expect({ seen, living }).toEqual({ seen: [0x55, 0x66], living: ['net', 'good'] })
  })

  it('reaches nobody once it is gone, or once its port is', async () => {
    const log: string[] = []
    const adapters: NetworkAdapter[] = []
    const broken: Network = {
      connect: (added) => {
        adapters.push(added)
        return { ...goodPort, send: fail }
      },
    }
    const ports: NetworkPort[] = []
    await afterwards(
      [
        provider('net', networkToken, () => broken),
        user('nic', networkToken, (service) => {
          ports.push(service.connect(adapter(log), {}), service.connect(adapter(log), {}))
          return {}
        }),
      ],
      async () => {
        await ports[0]?.[Symbol.asyncDispose]()
        adapters[0]?.portChanged()
        ports[1]?.send(frame)
        await undefined
        log.push('gone')
        for (const gone of adapters) {
          gone.receive(frame)
          gone.receiveEnd()
          gone.writable()
        }
      },
    )
    expect(log).toEqual(['portChanged', 'writable', 'gone'])
  })
})

describe('disks that a plug-in provides', () => {
  const disk = (more: Partial<Disk> = {}): Disk => ({
    sectorSize: 512,
    physicalSectorSize: 4096,
    sectorCount: 8,
    readOnly: false,
    read: async () => {},
    write: async () => {},
    flush: async () => {},
    ...disposable,
    ...more,
  })
  const never = () => new Promise<never>(() => {})
  const ioError = (text: string) => code(DISK_ERROR.IO, { message: expect.stringContaining(text) })

  /** What became of what `use` did with the disks `a` and `b` of a plug-in. */
  async function withDisks(more: Partial<Disk>, use: (a: Disk, b: Disk) => readonly (Promise<void> | undefined)[]) {
    const results: PromiseSettledResult<void>[] = []
    const after = await afterwards(
      [
        provider(
          'store',
          disksToken,
          () =>
            new Map([
              ['a', disk(more)],
              ['b', disk({ read: never })],
            ]),
        ),
        user('controller', disksToken, (disks) => {
          const [a, b] = [disks.get('a') as Disk, disks.get('b') as Disk]
          return {
            start: async () => {
              results.push(...(await Promise.allSettled(use(a, b))))
            },
          }
        }),
      ],
      () => {},
    )
    const errors = results.map((result) => (result.status === 'fulfilled' ? undefined : result.reason))
    return { ...after, errors }
  }

  it.each([
    ['throws at once', 'a read', { read: fail }, (a: Disk) => a.read(0, [])],
    ['rejects', 'a read', { read: reject }, (a: Disk) => a.read(0, [])],
    ['rejects later', 'a write', { write: () => turn().then(fail) }, (a: Disk) => a.write(0, [])],
    ['throws', 'a flush', { flush: fail }, (a: Disk) => a.flush()],
    ['rejects', 'a discard', { discard: reject }, (a: Disk) => a.discard?.(0, 1) as Promise<void>],
    ['throws', 'a request to fill with zeros', { zero: fail }, (a: Disk) => a.zero?.(0, 1) as Promise<void>],
  ])(
    'and fail: one that %s in %s gives I/O errors, and so do all others of the plug-in',
    async (_, what, more, run) => {
      const { errors, messages, seen, living } = await withDisks(more, (a, b) => [
        // Never settles by itself.
        b.read(0, []),
        run(a),
        turn().then(() => b.flush()),
      ])
      expect(errors).toEqual([
        ioError('store, which provides the disk b, was taken away'),
        ioError('store, which provides the disk a, failed: no'),
        ioError('store, which provides the disk b, was taken away'),
      ])
      expect(messages).toEqual([`The plug-in store failed in ${what} of the disk a: no`])
      expect({ seen, living }).toEqual({ seen: [0x55, 0x66], living: ['controller'] })
    },
  )

  it('and have errors with codes: these are answers, and nothing is taken away', async () => {
    const full = () => Promise.reject(new PartitaError(DISK_ERROR.FULL, 'full'))
    const thrown = () => {
      throw new PartitaError(DISK_ERROR.RANGE, 'range')
    }
    const { errors, living, messages } = await withDisks({ write: full, read: thrown }, (a) => [
      a.write(0, []),
      a.read(9, []),
      a.flush(),
    ])
    expect(errors).toEqual([code(DISK_ERROR.FULL), code(DISK_ERROR.RANGE), undefined])
    expect({ living, messages }).toEqual({ living: ['store', 'controller'], messages: [] })
  })

  it('tell what they are, also when they come later; the same disk is the same each time', async () => {
    const later = new Map<string, Disk>()
    const seen: unknown[] = []
    await afterwards(
      [
        provider('store', disksToken, () => later),
        user('controller', disksToken, (disks) => {
          later.set('late', disk({ discard: async () => {} }))
          const late = disks.get('late') as Disk
          seen.push(disks.size, disks.has('late'), disks.has('none'), disks.get('none'), [...disks.keys()])
          seen.push(disks.get('late') === late, [...disks.values()][0] === late, [...disks][0]?.[1] === late)
          disks.forEach((each, name) => void seen.push(each === late && name))
          const { sectorSize, physicalSectorSize, sectorCount, readOnly } = late
          seen.push([sectorSize, physicalSectorSize, sectorCount, readOnly], typeof late.discard, typeof late.zero)
          return {}
        }),
      ],
      () => {},
    )
    expect(seen).toEqual([
      ...[1, true, false, undefined, ['late']],
      ...[true, true, true, 'late'],
      ...[[512, 4096, 8, false], 'function', 'undefined'],
    ])
  })

  it.each([
    ['throw', fail],
    ['reject', reject],
    ['never settle', never],
  ])('and %s when they are closed do not keep the machine from ending', async (_, close) => {
    const timers: (() => void)[] = []
    const store = new Map([['a', disk({ [Symbol.asyncDispose]: close })]])
    const { vm, messages } = await machine({
      script: off,
      devices: [
        // As a plug-in does with what is its own.
        provider('store', disksToken, () => store, {
          [Symbol.asyncDispose]: async () => store.get('a')?.[Symbol.asyncDispose](),
        }),
        user('controller', disksToken, (disks) => ({ start: () => disks.get('a')?.read(0, []) as Promise<void> })),
      ],
      hostTimer: (_milliseconds, callback) => {
        timers.push(callback)
        return () => {
          timers.splice(timers.indexOf(callback), 1)
        }
      },
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    const ending = vm[Symbol.asyncDispose]()
    await turn()
    for (const timer of [...timers]) timer()
    await ending
    const why = close === never ? 'it was not done after 60 seconds' : 'no'
    expect(messages()).toEqual([`The plug-in store failed when it was disposed of: ${why}`])
  })
})

describe('a service that nobody but the plug-ins knows', () => {
  interface Bus {
    greet(name: string): string
    later(): Promise<number>
    attach(listener: Listener): Slot
    onEvent(callback: (event: { n: number }) => number): void
  }
  interface Listener {
    hear(n: number): number
  }
  interface Slot extends Disposable {
    readonly listener: Listener
    speak(n: number): number
  }
  const busToken: ServiceToken<Bus> = serviceToken('test/bus')
  const FAULT = code('ERR_PLUGIN_FAILED', { message: 'The plug-in bus was taken away', data: { id: 'bus' } })

  /** Private fields, and a prototype: what a class of a plug-in is made of. */
  class RealBus implements Bus {
    readonly #greeting = 'hello'
    readonly more: Partial<Bus>
    callback: ((event: { n: number }) => number) | undefined

    constructor(more: Partial<Bus>) {
      this.more = more
    }

    greet(name: string): string {
      return this.more.greet?.(name) ?? `${this.#greeting} ${name}`
    }

    async later(): Promise<number> {
      return this.more.later?.() ?? 7
    }

    attach(listener: Listener): Slot {
      const slot = { listener, speak: (n: number) => listener.hear(n) + 1, [Symbol.dispose]() {} }
      return this.more.attach?.(listener) ?? Object.freeze(slot)
    }

    onEvent(callback: (event: { n: number }) => number): void {
      this.callback = callback
    }
  }

  async function withBus(more: Partial<Bus>, use: (bus: Bus) => unknown) {
    const results: unknown[] = []
    const real = new RealBus(more)
    const after = await afterwards(
      [
        provider('bus', busToken, () => real),
        user('rider', busToken, (bus) => ({
          start: async () => {
            try {
              results.push(await use(bus))
            } catch (error) {
              results.push(error)
            }
          },
        })),
      ],
      () => {},
    )
    return { ...after, real, result: results[0] }
  }

  it('works as it is', async () => {
    const heard: number[] = []
    const listener: Listener = {
      hear(n) {
        heard.push(n)
        return n * 2
      },
    }
    const { result, messages, living } = await withBus({}, async (bus) => {
      const slot = bus.attach(listener)
      return [
        bus.greet('you'),
        await bus.later(),
        slot.speak(4),
        slot.listener === listener,
        bus instanceof RealBus,
        new Set([bus.greet, bus.greet]).size,
        Object.keys(slot).sort(),
        'greet' in bus,
      ]
    })
    expect(result).toEqual(['hello you', 7, 9, true, true, 1, ['listener', 'speak'], true])
    expect(heard).toEqual([4])
    expect({ messages, living }).toEqual({ messages: [], living: ['bus', 'rider'] })
  })

  it.each([
    ['in a call', { greet: fail }, (bus: Bus) => bus.greet('you')],
    ['in a promise', { later: reject }, (bus: Bus) => bus.later()],
    [
      'in an object of it',
      { attach: () => ({ speak: fail }) as never },
      (bus: Bus) => bus.attach({} as never).speak(1),
    ],
    [
      'in a property',
      { attach: () => Object.defineProperty({}, 'listener', { get: fail }) as never },
      (bus: Bus) => bus.attach({} as never).listener,
    ],
  ])('and fails %s is its provider’s failure', async (_, more, use) => {
    const { result, seen, living, messages } = await withBus(more, use)
    expect(result).toEqual(FAULT)
    expect(messages).toEqual(['The plug-in bus failed in its service test/bus: no'])
    expect({ seen, living }).toEqual({ seen: [0x55, 0x66], living: ['rider'] })
  })

  it('and never answers gives an error when its provider goes', async () => {
    const { result, living } = await withBus({ later: () => new Promise(() => {}), greet: fail }, async (bus) => {
      const waiting = bus.later()
      waiting.catch(() => {})
      expect(() => bus.greet('you')).toThrow(FAULT)
      return waiting
    })
    expect(result).toEqual(code('ERR_PLUGIN_FAILED'))
    expect(living).toEqual(['rider'])
  })

  it('is not to blame for what it was given to call', async () => {
    const { real, result, messages, living } = await withBus({}, (bus) => {
      bus.onEvent(() => fail())
      return 'asked'
    })
    expect(result).toBe('asked')
    expect({ messages, living }).toEqual({ messages: [], living: ['bus', 'rider'] })
    expect(() => real.callback?.({ n: 1 })).toThrow(
      code('ERR_PLUGIN_FAILED', { message: 'The plug-in rider was taken away' }),
    )
  })

  it('passes the fault of another on without taking it upon itself', async () => {
    const inner: ServiceToken<{ run(): number }> = serviceToken('test/inner')
    const outer: ServiceToken<{ run(): number }> = serviceToken('test/outer')
    const { messages, living, seen } = await afterwards(
      [
        provider('inner', inner, () => ({ run: fail })),
        device(
          'outer',
          [],
          (context) => {
            const service = context.find(inner)
            return { services: { [outer.name]: { run: () => service?.run() } } }
          },
          { uses: [inner], provides: [outer] },
        ),
        device(
          'device',
          [portIoToken],
          (context) => {
            const service = context.find(outer)
            context.get(portIoToken).claim(0x500, 1, { read: () => service?.run() ?? 0, write: () => {} })
          },
          { uses: [outer] },
        ),
      ],
      () => {},
    )
    expect(messages).toEqual(['The plug-in inner failed in its service test/inner: no'])
    expect(living).toEqual(['outer', 'device'])
    // The access that met it has no answer.
    expect(seen).toEqual([0xff, 0x66])
  })

  it('that fails while another is created or started takes that one along, which cannot do without', async () => {
    const created = await afterwards(
      [
        provider('bus', busToken, () => new RealBus({ greet: fail })),
        user('rider', busToken, (bus) => void bus.greet('you') as undefined),
      ],
      () => {},
    )
    const started = await afterwards(
      [
        provider('bus', busToken, () => new RealBus({ later: reject })),
        user('rider', busToken, (bus) => ({ start: () => bus.later().then(() => {}) })),
      ],
      () => {},
    )
    for (const { messages, living, seen, outcome } of [created, started]) {
      expect(messages).toEqual([
        'The plug-in bus failed in its service test/bus: no',
        'The plug-in rider failed because it uses bus: The plug-in bus was taken away',
      ])
      expect({ living, seen, outcome }).toEqual({ living: [], seen: [0xff, 0x66], outcome: { type: 'power-off' } })
    }
  })

  it('that fails while another stops is not that one’s failure', async () => {
    const { messages, living } = await afterwards(
      [
        provider('bus', busToken, () => new RealBus({ greet: fail })),
        user('rider', busToken, (bus) => ({ stop: () => void bus.greet('you') })),
      ],
      () => {},
    )
    expect(messages).toEqual(['The plug-in bus failed in its service test/bus: no'])
    expect(living).toEqual(['rider'])
  })

  it('that fails while one is made that needs it takes that one along', async () => {
    const late = Promise.withResolvers<PluginInstance>()
    let disposed = 0
    const needing = device('needing', [busToken], () => {})
    const { messages, vm } = await machine({
      script: off,
      devices: [
        provider('bus', busToken, () => new RealBus({ greet: fail })),
        {
          ...needing,
          create: async (context: PluginContext) => {
            try {
              context.get(busToken).greet('you')
            } catch {
              // As one that goes on as if nothing had happened.
            }
            expect(() => context.get(busToken)).toThrow(code('ERR_PLUGIN_FAILED'))
            return { [Symbol.asyncDispose]: async () => void disposed++ }
          },
        },
      ],
    })
    late.resolve({ ...disposable })
    await turn()
    expect(messages()).toEqual([
      'The plug-in bus failed in its service test/bus: no',
      'The plug-in needing failed because it needs bus: test/bus is gone',
    ])
    expect(disposed).toBe(1)
    expect(await vm.run()).toEqual({ type: 'power-off' })
  })
})

describe('services of the machine that a plug-in provides', () => {
  it('are guarded for the host, too: a keyboard that throws loses what is typed', async () => {
    const leds = { scrollLock: false, numLock: true, capsLock: false }
    const keyboard = { key: (name: string) => (name === 'KeyX' ? fail() : true), drained: async () => {}, leds }
    const { vm, messages } = await machine({
      script: off,
      devices: [provider('keyboard', keyboardInputToken, () => ({ ...keyboard, onLeds: undefined }))],
    })
    const input = vm.find(keyboardInputToken)
    expect([input?.key('KeyA', true), input?.leds.numLock]).toEqual([true, true])
    await input?.drained()
    expect([input?.key('KeyX', true), input?.key('KeyA', true), input?.leds.numLock]).toEqual([false, false, false])
    await input?.drained()
    expect(messages()).toEqual(['The plug-in keyboard failed in a key: no'])
    expect(vm.find(keyboardInputToken)).toBeUndefined()
  })

  it('an interrupt line that throws is its provider’s', async () => {
    const { messages, living } = await afterwards(
      [
        provider('wires', interruptLinesToken, () => ({ line: () => ({ set: fail }) })),
        user('device', interruptLinesToken, (lines) => {
          const line = lines.line(5)
          return { start: () => line.set(true) }
        }),
      ],
      () => {},
    )
    expect(messages).toEqual(['The plug-in wires failed when an interrupt line was driven: no'])
    expect(living).toEqual(['device'])
  })
})

describe('a plug-in that is never done', () => {
  it('with what another waits for while it stops is taken away, and not the other', async () => {
    const forever = {
      sectorSize: 512,
      physicalSectorSize: 512,
      sectorCount: 8,
      read: () => new Promise<never>(() => {}),
    }
    const outcomes: unknown[] = []
    const { living, messages } = await afterwards(
      [
        provider('store', disksToken, () => new Map([['a', forever as unknown as Disk]])),
        user('controller', disksToken, (disks) => {
          let reading: Promise<void> | undefined
          return {
            start: () => {
              reading = disks
                .get('a')
                ?.read(0, [])
                ?.catch((error: unknown) => void outcomes.push(error))
            },
            stop: () => reading as Promise<void>,
          }
        }),
      ],
      () => {},
      (_milliseconds, callback) => {
        setImmediate(callback)
        return () => {}
      },
    )
    expect(messages).toEqual([
      'The plug-in store failed in what controller waited for when it was stopped: it was not done after 60 seconds',
    ])
    expect(outcomes).toEqual([code(DISK_ERROR.IO)])
    expect(living).toEqual(['controller'])
  })

  it.each(['start', 'stop'] as const)('with its %s is taken away in the end', async (what) => {
    const waits: number[] = []
    const { living, messages, outcome } = await afterwards(
      [device('slow', [], () => ({ [what]: () => new Promise(() => {}) })), user('other', disksToken, () => undefined)],
      () => {},
      (milliseconds, callback) => {
        waits.push(milliseconds)
        setImmediate(callback)
        return () => {}
      },
    )
    expect(new Set(waits)).toEqual(new Set([5000, 60_000]))
    expect(messages).toEqual([
      `The plug-in slow failed when it was ${what === 'start' ? 'started' : 'stopped'}: it was not done after 60 seconds`,
    ])
    expect({ living, outcome }).toEqual({ living: ['other'], outcome: { type: 'power-off' } })
  })
})
