// Plug-ins that throw what is no error, return what nobody asked for, and give others what these cannot do anything with: each takes itself away, and nobody else.

import {
  a20GateToken,
  type CharacterBackend,
  characterBackendsToken,
  clockToken,
  type Disk,
  disksToken,
  interruptLinesToken,
  interruptMessagesToken,
  keyboardInputToken,
  type Network,
  type NetworkAdapter,
  type NetworkPort,
  networkToken,
  PartitaError,
  type Plugin,
  type PluginContext,
  pciBusToken,
  portIoToken,
  powerControlToken,
  type ServiceToken,
  serviceToken,
  synicPortsToken,
  type VmbusChannel,
  vmbusServerToken,
} from '@partita/interface'
import { FakeInterruptLines, FakePciBus } from '@partita/testkit'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import { PluginRegistry, type PluginTracker, planPlugins } from '../src/index.ts'
import { device, machine, off } from './failing-machine.ts'
import { emptySource } from './fake-machine.ts'

// biome-ignore lint/suspicious/noExplicitAny: what is given is wrong on purpose.
type Any = any
const fail = (): never => {
  throw new TypeError('no')
}
const reject = async (): Promise<never> => fail()
const turn = () => new Promise((resolve) => setImmediate(resolve))
const disposable = { async [Symbol.asyncDispose]() {} }

/** Something of which every look throws. */
const thorny = (target: object = class {}): object =>
  new Proxy(
    target,
    Object.fromEntries(
      Object.getOwnPropertyNames(Reflect).map((trap) => [
        trap,
        () => {
          throw new Error('a trap')
        },
      ]),
    ),
  )

/** The failures of a machine with `devices` after its end. */
async function failures(setup: Parameters<typeof machine>[0]): Promise<string[]> {
  const { vm, messages } = await machine({ script: off, ...setup })
  expect(await vm.run()).toEqual({ type: 'power-off' })
  await turn()
  return messages()
}

describe('what is thrown may be anything', () => {
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const withMessage = (message: unknown): Error => Object.defineProperty(new Error('x'), 'message', { value: message })
  const circle = new Error('round')
  circle.cause = circle

  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['an empty string', '', 'an empty string'],
    ['text', 'bad', 'bad'],
    ['a large number', 5n, '5'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['a record', { code: 5 }, '{"code":5}'],
    ['a function', fail, expect.stringContaining('=>')],
    ['an object without a prototype', Object.create(null), '{}'],
    ['a circle of objects', Object.assign({}, { self: revoked.proxy }), 'something that cannot be shown'],
    ['a proxy whose traps throw', thorny(), 'something that cannot be shown'],
    ['an error behind such a proxy', thorny(new Error('x')), 'something that cannot be shown'],
    ['a proxy that was revoked', revoked.proxy, 'something that cannot be shown'],
    ['an error without a message', new RangeError(), 'RangeError'],
    ['an error whose message is an object', withMessage({ a: 1 }), '[object Object]'],
    ['an error whose message is thorny', withMessage(thorny()), 'something that cannot be shown'],
    ['an error with lines', new Error('a\n  b\r\nc'), 'a b c'],
    ['an error that speaks to the terminal', new Error('a\u001b[2Jb'), 'a [2Jb'],
    ['an error that talks', new Error('x'.repeat(5000)), `${'x'.repeat(1000)}…`],
    ['an error that is its own cause', circle, 'round'],
    ['an error whose cause is thorny', new Error('thorns', { cause: thorny() }), 'thorns'],
    ['an error whose stack throws', Object.defineProperty(new Error('stack'), 'stack', { get: fail }), 'stack'],
  ])('%s', async (_, thrown, message) => {
    const token: ServiceToken<{ run(): void }> = serviceToken('test/service')
    const raise = (): never => {
      throw thrown
    }
    const ports = (context: PluginContext) => context.get(portIoToken).claim(0x500, 1, { read: raise, write: () => {} })
    const said = await failures({
      devices: [
        device('create', [], raise),
        device('start', [], () => ({ start: raise })),
        device('promise', [], () => ({ start: async () => raise() })),
        device('port', [portIoToken], (context) => void ports(context)),
        device('provider', [], () => ({ services: { [token.name]: { run: raise } } }), { provides: [token] }),
        device('user', [], (context) => ({ stop: () => context.find(token)?.run() }), { uses: [token] }),
        device('timer', [clockToken], (context) => context.get(clockToken).createTimer(raise).arm(0)),
      ],
      script: (vp) => {
        vp.intercepts.portRead(0, 0x500, 1)
        return off(vp)
      },
    })
    const all = [
      ['create', 'when it was created'],
      ['start', 'when it was started'],
      ['promise', 'when it was started'],
      ['port', 'in a read of 1 bytes at port 0x500'],
      ['timer', 'in a timer'],
      ['provider', 'in its service test/service'],
    ]
    const lines = said.map((line) => /^The plug-in (\w+) failed (.*?): (.*)$/s.exec(line)?.slice(1))
    expect(lines.map((line) => line?.slice(0, 2)).sort()).toEqual(all.sort())
    for (const line of lines) expect(line?.[2]).toEqual(message)
  })

  it('and has a name where it ends the run, with the code of its own', async () => {
    const run = async (thrown: unknown) => {
      const failing = device('failing', [portIoToken], (context) => {
        context.get(portIoToken).claim(0x500, 1, {
          read: () => {
            throw thrown
          },
          write: () => {},
        })
      })
      const { vm } = await machine({
        devices: [failing],
        configuration: { onPluginFailure: 'end' },
        script: (vp) => {
          vp.intercepts.portRead(0, 0x500, 1)
          return 'budget'
        },
      })
      return vm.run()
    }
    const where = 'The plug-in failing failed in a read of 1 bytes at port 0x500'
    await expect(run(new PartitaError('ERR_OWN', 'mine', { hint: 'h' }))).rejects.toMatchObject({
      code: 'ERR_OWN',
      message: `${where}: mine`,
      hint: 'h',
      data: { id: 'failing' },
    })
    await expect(run(thorny())).rejects.toMatchObject({
      code: 'ERR_PLUGIN_FAILED',
      message: `${where}: something that cannot be shown`,
    })
  })
})

describe('a module and its plug-in may be anything', () => {
  const load = (plugin: unknown) =>
    planPlugins(
      new PluginRegistry({ source: { ...emptySource, loadFile: async () => ({ default: plugin }) }, packages: [] }),
      [{ plugin: './odd.js' }],
      [],
    )
  it.each<[string, unknown, string]>([
    ['a thorny object', thorny(), 'ERR_PLUGIN_LOAD'],
    ['a thorny name', Object.defineProperty({}, 'name', { get: fail }), 'ERR_PLUGIN_LOAD'],
    ['a thorny contract', Object.defineProperty({}, 'contract', { get: fail }), 'ERR_PLUGIN_LOAD'],
    ['nothing', null, 'ERR_PLUGIN_INVALID'],
    ['a number', 5, 'ERR_PLUGIN_INVALID'],
  ])('%s', async (_, plugin, code) => {
    await expect(load(plugin)).rejects.toMatchObject({ code, message: expect.stringContaining('./odd.js') })
  })

  it.each<[string, () => unknown]>([
    [
      'throws nothing in particular',
      () => {
        throw undefined
      },
    ],
    ['rejects', reject],
    ['returns nothing', () => undefined],
    ['returns a thorny object', () => thorny()],
    ['has issues that are none', () => ({ issues: 5 })],
    ['has a thorny issue', () => ({ issues: [thorny()] })],
    ['has thorny issues', () => ({ issues: thorny([]) })],
    ['has a value that throws', () => Object.defineProperty({}, 'value', { get: fail })],
  ])('a schema that %s', async (_, validate) => {
    const options = { '~standard': { version: 1, vendor: 'test', validate } } as Plugin['options']
    const odd = device('odd', [], () => {}, { options })
    const [line, ...more] = await failures({ devices: [odd] })
    expect(line).toMatch(/^The plug-in odd failed when it looked at its options: /)
    expect(more).toEqual([])
  })

  it('a schema that leaves an error to the event loop takes its plug-in away', async () => {
    let current: ((error: unknown) => void) | undefined
    const tracker: PluginTracker = {
      scope: (failed) => ({
        call(fn, self, a, b, c) {
          const before = current
          current = failed
          try {
            return fn.call(self, a, b, c)
          } finally {
            current = before
          }
        },
      }),
    }
    const validate = (value: unknown) => {
      current?.(new Error('left behind'))
      return { value }
    }
    const options = { '~standard': { version: 1, vendor: 'test', validate } } as Plugin['options']
    expect(await failures({ devices: [device('odd', [], () => {}, { options })], tracker })).toEqual([
      'The plug-in odd failed in what it left to the event loop: left behind',
    ])
  })

  it.each<[string, object]>([
    ['services', Object.defineProperty({ ...disposable }, 'services', { get: fail })],
    ['a service', { ...disposable, services: Object.defineProperty({}, 'test/bus', { get: fail }) }],
    ['its end', Object.defineProperty({}, Symbol.asyncDispose, { get: fail })],
  ])('an instance with thorny %s', async (_, instance) => {
    const bus: Plugin = {
      ...device('bus', [], () => {}),
      provides: [serviceToken('test/bus')],
      create: () => instance as Any,
    }
    expect(await failures({ devices: [bus] })).toEqual(['The plug-in bus failed when it was created: no'])
  })

  it.each(['start', 'stop', 'reset'])('an instance with a thorny %s', async (what) => {
    const odd: Plugin = {
      ...device('odd', [], () => {}),
      create: () => Object.defineProperty({ ...disposable }, what, { get: fail }),
    }
    let boots = 0
    const said = await failures({
      devices: [odd],
      script: (vp) => {
        vp.intercepts.portWrite(0, 0xf4, 1, boots++ === 0 ? 1 : 0)
        return 'budget'
      },
    })
    expect(said).toEqual([expect.stringMatching(/^The plug-in odd failed when it was (started|stopped|reset): no$/)])
  })
})

describe('what is returned may be anything', () => {
  const GARBAGE: readonly [string, unknown][] = [
    ['nothing', undefined],
    ['null', null],
    ['text', 'x'],
    ['a large number', 5n],
    ['a symbol', Symbol('s')],
    ['an object', {}],
    ['a thorny object', thorny()],
    ['a promise', Promise.resolve(1)],
  ]

  it.each(GARBAGE)('by ports, addresses, PCI functions and interrupt controllers: %s', async (_, garbage) => {
    const bus = new FakePciBus(new FakeInterruptLines())
    const seen: unknown[] = []
    const acknowledges: (() => number)[] = []
    const receives: ((vp: number, type: number, payload: Uint8Array) => number)[] = []
    const messages = {
      send() {},
      setExternalInterrupt() {},
      setAcknowledge: (acknowledge: () => number) => void acknowledges.push(acknowledge),
      onEndOfInterrupt: () => ({ [Symbol.dispose]() {} }),
    }
    const synic = {
      createMessagePort: (_id: number, receive: (typeof receives)[0]) => {
        receives.push(receive)
        return { [Symbol.dispose]() {} }
      },
    }
    const picToken: ServiceToken<typeof messages> = serviceToken('test/messages')
    const said = await failures({
      devices: [
        device('port', [portIoToken], (context) => {
          context.get(portIoToken).claim(0x500, 1, { read: () => garbage as Any, write: () => {} })
        }),
        device('pci', [pciBusToken], (context) => {
          context.get(pciBusToken).attach(3, 0, { readConfig: () => garbage as Any, writeConfig: () => {} })
        }),
        device('synic', [synicPortsToken], (context) => {
          context.get(synicPortsToken).createMessagePort(5, () => garbage as Any)
        }),
      ],
      services: new Map<string, unknown>([
        [pciBusToken.name, bus],
        [synicPortsToken.name, synic],
        [picToken.name, messages],
      ]),
      configuration: { hypervisor: 'none' },
      script: (vp) => {
        seen.push(vp.intercepts.portRead(0, 0x500, 1), bus.read(3, 0, 0), receives[0]?.(0, 1, new Uint8Array(8)))
        return off(vp)
      },
    })
    expect(seen).toEqual([0xff, 0xffff_ffff, 0x12])
    expect(said.sort()).toEqual([
      expect.stringMatching(/^The plug-in pci failed in an access to its PCI configuration space: /),
      expect.stringMatching(/^The plug-in port failed in a read of 1 bytes at port 0x500: /),
      expect.stringMatching(/^The plug-in synic failed in a message of the guest: /),
    ])
  })

  it('by a promise that is rejected says more', async () => {
    const said = await failures({
      devices: [
        device('port', [portIoToken], (context) => {
          context.get(portIoToken).claim(0x500, 1, { read: reject as Any, write: reject as Any })
        }),
        device('writer', [portIoToken], (context) => {
          context.get(portIoToken).claim(0x501, 1, { read: () => 0, write: reject as Any })
        }),
        device('timer', [clockToken], (context) =>
          context
            .get(clockToken)
            .createTimer(reject as Any)
            .arm(0),
        ),
        device('reset', [], () => ({ reset: reject as Any })),
      ],
      script: (() => {
        let boots = 0
        return (vp) => {
          vp.intercepts.portRead(0, 0x500, 1)
          vp.intercepts.portWrite(0, 0x501, 1, 1)
          vp.intercepts.portWrite(0, 0xf4, 1, boots++ === 0 ? 1 : 0)
          return 'budget'
        }
      })(),
    })
    expect(said.sort()).toEqual([
      'The plug-in port failed in a read of 1 bytes at port 0x500: no',
      'The plug-in reset failed when it was reset: no',
      'The plug-in timer failed in a timer: no',
      'The plug-in writer failed in a write of 1 bytes at port 0x501: no',
    ])
  })

  it.each(GARBAGE)('as a saved state: %s', async (_, garbage) => {
    const { vm } = await machine({ devices: [device('odd', [], () => ({ save: () => garbage }))] })
    expect(() => vm.save()).toThrow(
      expect.objectContaining({
        code: 'ERR_PLUGIN_FAILED',
        message: expect.stringMatching(/^The plug-in odd could not be saved: /),
      }),
    )
    expect(vm.plugins).toContain('odd')
  })

  it('by a restore that ends later', async () => {
    const odd = device('odd', [], () => ({ save: () => ({ version: 1, data: 1 }), restore: reject }))
    const { vm, messages } = await machine({ devices: [odd] })
    vm.restore(vm.save())
    await turn()
    expect(messages()).toEqual(['The plug-in odd failed when it was restored: no'])
  })

  const provided = (token: ServiceToken<unknown>, service: unknown): Plugin =>
    device('provider', [], () => ({ services: { [token.name]: service } }), { provides: [token] })

  it('by a map of disks is no disk', async () => {
    const { vm, messages } = await machine({ devices: [provided(disksToken, new Map([['a', null]]))] })
    expect(vm.find(disksToken)?.get('a')).toBeUndefined()
    expect(messages()).toEqual([])
  })

  it.each<[string, ServiceToken<Any>, unknown, (service: Any) => unknown]>([
    ['a disk', disksToken, new Map([['a', {}]]), (disks) => disks.get('a').read(0, [])],
    [
      'sectors',
      disksToken,
      new Map([['a', { sectorSize: 500, physicalSectorSize: 512, sectorCount: 1 }]]),
      (disks) => disks.get('a').read(0, []),
    ],
    ['a thorny disk', disksToken, new Map([['a', thorny({})]]), (disks) => disks.get('a').read(0, [])],
    [
      'names of disks',
      disksToken,
      { keys: () => 5, has: () => 5, get: () => 5 },
      (disks) => [...disks.keys(), disks.has('a'), disks.get('a')],
    ],
    ['lamps', keyboardInputToken, { leds: undefined }, (keyboard) => keyboard.leds.numLock],
    [
      'a thorny keyboard',
      keyboardInputToken,
      thorny(),
      (keyboard) => [keyboard.key('KeyA', true), keyboard.leds, keyboard.drained()],
    ],
    ['a gate', a20GateToken, thorny(), (gate) => gate.enabled],
    ['interrupt lines', interruptLinesToken, { line: () => undefined }, (lines) => lines.line(5)],
    ['thorny lines', interruptLinesToken, { line: () => thorny() }, (lines) => lines.line(5).set(true)],
    [
      'a PCI bus',
      pciBusToken,
      { attach: () => 5, interrupt: () => null },
      (bus) => bus.attach(3, 0, { readConfig: () => 0, writeConfig() {} }),
    ],
    [
      'a VMBus',
      vmbusServerToken,
      { offer: () => null },
      (bus) => bus.offer({ offer: { interfaceId: 'i', instanceId: 'j' }, open() {} }),
    ],
    [
      'a request for connections',
      vmbusServerToken,
      { onConnectRequest: () => 5 },
      (bus) => bus.onConnectRequest(() => true),
    ],
    ['a thorny VMBus', vmbusServerToken, thorny(), (bus) => bus.channels()],
    ['a network', networkToken, { connect: () => thorny() }, (network) => network.connect(adapter, {}).linkUp],
    ['an MTU', networkToken, { connect: () => ({ ...port, mtu: 5n }) }, (network) => network.connect(adapter, {}).mtu],
    [
      'a speed',
      networkToken,
      { connect: () => ({ ...port, linkSpeed: 'fast' }) },
      (network) => network.connect(adapter, {}).linkSpeed,
    ],
  ])('by a service of the machine: %s', async (_, token, service, use) => {
    const user = device(
      'user',
      [],
      (context) => {
        const given = context.find(token)
        return {
          async start() {
            try {
              await use(given)
            } catch {
              // Whoever asks may get an error.
            }
          },
        }
      },
      { uses: [token] },
    )
    const { vm, messages } = await machine({ script: off, devices: [provided(token, service), user] })
    await vm.run()
    await turn()
    expect(messages()).toEqual([expect.stringMatching(/^The plug-in provider failed /)])
    expect(vm.plugins).toContain('user')
  })

  const port: NetworkPort = {
    accepts: 0,
    mtu: 1500,
    linkUp: true,
    linkSpeed: 10e9,
    send: () => true,
    sendEnd() {},
    resume() {},
    adapterChanged() {},
    ...disposable,
  }
  const adapter: NetworkAdapter = {
    name: 'nic',
    macAddress: '02:15:5d:00:00:01',
    accepts: 0,
    receive: () => true,
    receiveEnd() {},
    writable() {},
    portChanged() {},
  }

  it.each([...GARBAGE.slice(1), ['a thorny receive', { receive: thorny() }]])(
    'by a device on the VMBus that is opened, and for a packet: %s',
    async (_, garbage) => {
      const INTERFACE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'
      const pair = new VmbusPair()
      const vsp = (name: string, number: number, open: () => unknown) =>
        device(name, [vmbusServerToken], (context) => {
          context.get(vmbusServerToken).offer({
            offer: { interfaceId: INTERFACE, instanceId: `00000000-0000-8899-0000-00000000000${number}` },
            open: open as Any,
          })
        })
      const { messages } = await machine({
        devices: [vsp('opens', 1, () => garbage), vsp('takes', 2, () => ({ receive: () => garbage }))],
        services: new Map([[vmbusServerToken.name, pair.server]]),
      })
      const { client } = pair
      await pair.run(client.connect())
      for (const offer of await pair.run(client.requestOffers())) {
        const opening = client.open(offer as never, pair.rings(2, 2)).then(
          (channel) => {
            channel.send(new Uint8Array(8), 1)
            return pair.settle()
          },
          () => {},
        )
        await pair.run(opening)
      }
      await pair.settle()
      await turn()
      // Nobody is at home for a device that returns null.
      const names = garbage === null ? ['takes'] : ['opens', 'takes']
      expect(
        messages()
          .map(
            (line) =>
              /^The plug-in (\w+) failed (when a channel was opened|in a packet of the guest): /.exec(line)?.[1],
          )
          .sort(),
      ).toEqual(names)
    },
  )
})

describe('what is given to others may be anything', () => {
  /** Plug-ins that provide the real things, and one that misuses them. */
  const misuser = (
    needs: readonly ServiceToken<unknown>[],
    misuse: (context: PluginContext) => unknown,
  ): { device: Plugin; thrown: unknown[] } => {
    const thrown: unknown[] = []
    return {
      thrown,
      device: device('misuser', needs, (context) => ({
        start() {
          try {
            misuse(context)
          } catch (error) {
            thrown.push(error)
            throw error
          }
        },
      })),
    }
  }

  it.each<[string, readonly ServiceToken<Any>[], (context: PluginContext) => unknown]>([
    [
      'deadlines',
      [clockToken],
      (context) =>
        context
          .get(clockToken)
          .createTimer(() => {})
          .arm(5n as Any),
    ],
    [
      'power events',
      [powerControlToken],
      (context) => context.get(powerControlToken).request({ type: 'explode' } as Any),
    ],
    ['no power event', [powerControlToken], (context) => context.get(powerControlToken).request(undefined as Any)],
    [
      'exit codes',
      [powerControlToken],
      (context) => context.get(powerControlToken).request({ type: 'debug-exit', code: 'x' } as Any),
    ],
    [
      'output',
      [characterBackendsToken],
      (context) =>
        context
          .get(characterBackendsToken)
          .get('console')
          ?.write('x' as Any),
    ],
    ['ports', [portIoToken], (context) => context.get(portIoToken).claim('x' as Any, 1, {} as Any)],
    ['frames', [networkToken], (context) => connect(context).send({} as Any)],
    [
      'frames outside of their bytes',
      [networkToken],
      (context) => connect(context).send({ bytes: new Uint8Array(4), start: 2, end: 9 } as Any),
    ],
    ['adapters', [networkToken], (context) => context.get(networkToken).connect(undefined as Any, {})],
    [
      'connections',
      [networkToken],
      (context) => context.get(networkToken).connect({ name: 'x' } as Any, undefined as Any),
    ],
    [
      'offers',
      [vmbusServerToken],
      (context) => context.get(vmbusServerToken).offer({ offer: { interfaceId: 5 } } as Any),
    ],
    [
      'words for drivers',
      [vmbusServerToken],
      (context) =>
        context.get(vmbusServerToken).offer({ offer: { interfaceId: 'x', instanceId: 'y', userDefined: {} } } as Any),
    ],
  ])('%s: the misuser goes, and nobody else', async (_, needs, misuse) => {
    const { device: bad, thrown } = misuser(needs, misuse)
    const network: Network = {
      connect: (adapter) => ({
        accepts: 0,
        mtu: 1500,
        linkUp: true,
        linkSpeed: 1e9,
        // As a switch does: it looks.
        send: (frame) => frame.bytes.subarray(frame.start, frame.end).length > 0 && adapter.name !== '',
        sendEnd() {},
        resume() {},
        adapterChanged() {},
        ...disposable,
      }),
    }
    const pair = new VmbusPair()
    const backend: CharacterBackend = { write: (data) => data.length > 0, read: () => 0, onReady: undefined }
    const { vm, messages } = await machine({
      script: off,
      devices: [
        device('net', [], () => ({ services: { [networkToken.name]: network } }), { provides: [networkToken] }),
        device('bus', [], () => ({ services: { [vmbusServerToken.name]: pair.server } }), {
          provides: [vmbusServerToken],
        }),
        bad,
      ],
      characterBackends: new Map([['console', backend]]),
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(thrown).toHaveLength(1)
    expect(messages()).toEqual([expect.stringMatching(/^The plug-in misuser failed when it was started: /)])
    expect(vm.plugins).toEqual(expect.arrayContaining(['net', 'bus']))
  })

  function connect(context: PluginContext): NetworkPort {
    return context.get(networkToken).connect({ name: 'nic', receive: () => true } as Any, {})
  }

  it.each<[string, (channel: VmbusChannel) => unknown]>([
    ['no payload', (channel) => channel.send(undefined as Any)],
    ['a payload that is text', (channel) => channel.send('hello' as Any)],
    ['a large transaction', (channel) => channel.send(new Uint8Array(8), 0, 8, 5n as Any)],
    ['a completion of nothing', (channel) => channel.complete(undefined as Any, 5n as Any)],
    ['a completion with a list', (channel) => channel.complete(1, 0, [1, 2] as Any)],
    ['ranges that are none', (channel) => channel.sendTransferPages(1, [0, 1] as Any, new Uint8Array(8))],
    ['sub-channels', (channel) => channel.offerSubChannels(5n as Any)],
  ])('a packet with %s is its sender’s mistake, and the bus goes on', async (_, misuse) => {
    const pair = new VmbusPair()
    const { messages, vm } = await machine({
      devices: [
        device('bus', [], () => ({ services: { [vmbusServerToken.name]: pair.server } }), {
          provides: [vmbusServerToken],
        }),
        device('sender', [vmbusServerToken], (context) => {
          context.get(vmbusServerToken).offer({
            offer: {
              interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
              instanceId: '00000000-0000-8899-0000-000000000001',
            },
            open: (channel) => ({
              receive: () => {
                misuse(channel)
                return true
              },
            }),
          })
        }),
      ],
    })
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    const channel = await pair.run(client.open(offer as never, pair.rings(2, 2)))
    channel.send(new Uint8Array(8), 1)
    await pair.settle()
    expect(messages()).toEqual([expect.stringMatching(/^The plug-in sender failed in a packet of the guest: /)])
    expect(vm.plugins).toContain('bus')
  })

  it('places on a disk, and memory: the controller gets an error, and the disks stay', async () => {
    const disk: Disk = {
      sectorSize: 512,
      physicalSectorSize: 512,
      sectorCount: 8,
      readOnly: false,
      read: async (_sector, segments) => void segments.map((segment) => segment.fill(1)),
      write: async (sector) => void sector.toFixed(),
      flush: async () => {},
      discard: async (sector) => void sector.toFixed(),
      ...disposable,
    }
    const errors: unknown[] = []
    const said = await failures({
      devices: [
        device('store', [], () => ({ services: { [disksToken.name]: new Map([['a', disk]]) } }), {
          provides: [disksToken],
        }),
        device(
          'controller',
          [],
          (context) => ({
            async start() {
              const a = context.find(disksToken)?.get('a') as Any
              for (const misuse of [
                () => a.read(0, undefined),
                () => a.read(0, [undefined]),
                () => a.write('x', []),
                () => a.discard({}, 1),
              ])
                await misuse().catch((error: unknown) => errors.push(error))
            },
          }),
          { uses: [disksToken] },
        ),
      ],
    })
    expect(errors.map((error) => error instanceof TypeError)).toEqual([true, true, true, true])
    expect(said).toEqual([])
  })
})

describe('a plug-in that is gone', () => {
  it('takes all along that need it, however many', async () => {
    const token = serviceToken('test/bus')
    const bus = device(
      'bus',
      [portIoToken],
      (context) => {
        context.get(portIoToken).claim(0x500, 1, { read: fail, write: () => {} })
        return { services: { [token.name]: {} } }
      },
      { provides: [token] },
    )
    const riders = ['one', 'two', 'three'].map((name) => device(name, [token], () => {}))
    const { vm, messages } = await machine({
      devices: [bus, ...riders],
      script: (vp) => {
        vp.intercepts.portRead(0, 0x500, 1)
        return off(vp)
      },
    })
    await vm.run()
    expect(messages().sort()).toEqual([
      'The plug-in bus failed in a read of 1 bytes at port 0x500: no',
      'The plug-in one failed because it needs bus: no',
      'The plug-in three failed because it needs bus: no',
      'The plug-in two failed because it needs bus: no',
    ])
  })

  it('switches nothing off, interrupts nobody and writes nothing any more', async () => {
    const written: string[] = []
    const backend: CharacterBackend = {
      write: (data) => written.push(new TextDecoder().decode(data)) > 0,
      read: () => 7,
      onReady: undefined,
    }
    let go: () => unknown[] = () => []
    const failing = device(
      'failing',
      [portIoToken, powerControlToken, characterBackendsToken, interruptMessagesToken],
      (context) => {
        const console = context.get(characterBackendsToken).get('console') as CharacterBackend
        console.onReady = () => {}
        context.get(portIoToken).claim(0x500, 1, { read: fail, write: () => {} })
        go = () => {
          context.get(powerControlToken).request({ type: 'reset' })
          const taken = [console.write(new Uint8Array([65])), console.read(new Uint8Array(4))]
          expect(() => context.get(interruptMessagesToken).setAcknowledge(() => 7)).toThrow()
          return taken
        }
      },
    )
    let taken: unknown[] = []
    const { vm } = await machine({
      devices: [failing],
      characterBackends: new Map([['console', backend]]),
      script: (vp) => {
        vp.intercepts.portRead(0, 0x500, 1)
        taken = go()
        return off(vp)
      },
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(taken).toEqual([true, 0])
    expect({ written, onReady: backend.onReady }).toEqual({ written: [], onReady: undefined })
  })

  it('is no error for the end of others that still call it', async () => {
    const token: ServiceToken<{ run(): void }> = serviceToken('test/service')
    const { vm, messages } = await machine({
      devices: [
        device('gone', [], () => ({ services: { [token.name]: { run: fail } } }), { provides: [token] }),
        device(
          'user',
          [],
          (context) => {
            const service = context.find(token)
            return { [Symbol.asyncDispose]: async () => service?.run() }
          },
          { uses: [token] },
        ),
      ],
    })
    expect(() => vm.find(token)?.run()).toThrow()
    await vm[Symbol.asyncDispose]()
    expect(messages()).toEqual(['The plug-in gone failed in its service test/service: no'])
  })

  it('and others that refuse to end: all are ended, and the first error is told', async () => {
    const ended: string[] = []
    const refusing = (name: string): Plugin =>
      device(name, [], () => ({
        async [Symbol.asyncDispose]() {
          ended.push(name)
          throw new PartitaError(`ERR_${name.toUpperCase()}`, name)
        },
      }))
    const { vm } = await machine({ devices: [refusing('one'), refusing('two')] })
    await expect(vm[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'ERR_TWO' })
    expect(ended).toEqual(['two', 'one'])
  })
})
