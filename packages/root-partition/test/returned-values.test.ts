// Plug-ins that return what nobody asked for: each takes itself away, and nobody else.

import {
  a20GateToken,
  clockToken,
  disksToken,
  interruptLinesToken,
  keyboardInputToken,
  type NetworkAdapter,
  type NetworkPort,
  networkToken,
  type Plugin,
  pciBusToken,
  portIoToken,
  type ServiceToken,
  serviceToken,
  synicPortsToken,
  vmbusServerToken,
} from '@partita/interface'
import { FakeInterruptLines, FakePciBus } from '@partita/testkit'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import { device, machine, off } from './failing-machine.ts'
import { type Any, disposable, fail, failures, reject, thorny, turn } from './hostile-values.ts'

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

  it.each<[string, unknown]>([
    ['a function', fail],
    ['a promise', Promise.resolve(1)],
    ['something thorny', thorny({})],
  ])('as data of a saved state: %s', async (_, data) => {
    const { vm } = await machine({ devices: [device('odd', [], () => ({ save: () => ({ version: 1, data }) }))] })
    expect(() => vm.save()).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^The plug-in odd could not be saved: /) }),
    )
  })

  it('as a saved state is a copy, which the plug-in does not change any more', async () => {
    const data = { n: 1 }
    const { vm } = await machine({ devices: [device('odd', [], () => ({ save: () => ({ version: 1, data }) }))] })
    const saved = vm.save()
    data.n = 2
    expect(saved.units['odd']).toEqual({ version: 1, data: { n: 1 } })
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
    ['channels', vmbusServerToken, { channels: () => [thorny({})] }, (bus) => bus.channels()],
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
