// A plug-in's life at run time: whatever it throws, and whenever, takes away its device and not the machine; and nobody takes what another has.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  clockToken,
  interruptLinesToken,
  mmioToken,
  PartitaError,
  type Plugin,
  type PluginContext,
  type PluginInstance,
  pciBusToken,
  portIoToken,
  powerControlToken,
  serviceToken,
  synicPortsToken,
  type VmbusChannelHandler,
  vmbusServerToken,
} from '@partita/interface'
import { FakeInterruptLines, FakePciBus } from '@partita/testkit'
import { contiguousRange } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import type { FakeProcessorVp } from '../../hypervisor/test/fakes.ts'
import { PluginRegistry, type PluginTracker, VirtualMachine } from '../src/index.ts'
import { device, machine, off } from './failing-machine.ts'
import { emptySource, fakePlugin } from './fake-machine.ts'

const MIB = 2 ** 20
const code = (expected: string, more: object = {}) => expect.objectContaining({ code: expected, ...more })

describe('a plug-in that throws', () => {
  const noModule = {
    ...emptySource,
    loadFile: async (): Promise<never> => {
      throw new SyntaxError('Unexpected token')
    },
  }

  it('when it is loaded is left out', async () => {
    const { vm, messages, errors } = await machine({
      devices: [],
      script: off,
      source: noModule,
      configuration: { devices: ['power', './broken.js'] },
    })
    expect(messages()).toEqual(['The plug-in ./broken.js cannot be loaded: Unexpected token'])
    expect(errors).toEqual([
      'The plug-in ./broken.js cannot be loaded: Unexpected token; the machine goes on without it',
    ])
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(vm.plugins).not.toContain('./broken.js')
  })

  it('when it looks at its options is left out with what needs it, and what needs that', async () => {
    const token = serviceToken('test/bus')
    const options = v.custom<unknown>(() => {
      throw new TypeError('no schema')
    })
    const bus = device('bus', [], () => {}, { options, provides: [token] })
    const { vm, messages } = await machine({ devices: [bus], script: off })
    expect(messages()).toEqual(['The plug-in bus failed when it looked at its options: no schema'])
    expect(await vm.run()).toEqual({ type: 'power-off' })
    const next = serviceToken('test/next')
    const riders = [
      device('far', [next], () => {}),
      device('rider', [token], () => {}, { provides: [next] }),
      device('other', [], () => {}),
    ]
    const all = await machine({ devices: [bus, ...riders], script: off })
    expect(all.messages()).toEqual([
      'The plug-in bus failed when it looked at its options: no schema',
      'rider needs test/bus, which nothing provides; bus could not be loaded',
      'far needs test/next, which nothing provides; bus and rider could not be loaded',
    ])
    expect(await all.vm.run()).toEqual({ type: 'power-off' })
    expect(all.vm.plugins).toContain('other')
    await expect(machine({ devices: [bus, ...riders], configuration: { onPluginFailure: 'end' } })).rejects.toThrow(
      code('ERR_PLUGIN_LOAD'),
    )
  })

  it('when it is created is left out with what needs it, and leaves nothing behind', async () => {
    const token = serviceToken('test/bus')
    const bus = device(
      'bus',
      [portIoToken],
      (context) => {
        context.get(portIoToken).claim(0x500, 1, { read: () => 1, write: () => {} })
        throw new TypeError('undefined is not a function')
      },
      { provides: [token] },
    )
    const seen: number[] = []
    const { vm, messages } = await machine({
      devices: [bus, device('rider', [token], () => {})],
      script: (vp) => {
        seen.push(vp.intercepts.portRead(0, 0x500, 1))
        return off(vp)
      },
    })
    expect(messages()).toEqual([
      'The plug-in bus failed when it was created: undefined is not a function',
      'The plug-in rider failed because it needs bus: test/bus is gone',
    ])
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(seen).toEqual([0xff])
  })

  it.each(['start', 'stop', 'reset'] as const)('in %s is taken away', async (what) => {
    const log: string[] = []
    const failing = device('failing', [], () => ({
      [what]: () => {
        throw new Error('no')
      },
      async [Symbol.asyncDispose]() {
        log.push('dispose')
      },
    }))
    let boots = 0
    const { vm, messages } = await machine({
      devices: [failing],
      script: (vp) => {
        vp.intercepts.portWrite(0, 0xf4, 1, boots++ === 0 ? 1 : 0)
        return 'budget'
      },
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(boots).toBe(2)
    expect(messages()).toEqual([
      expect.stringMatching(/^The plug-in failing failed when it was (started|stopped|reset): no$/),
    ])
    await vm[Symbol.asyncDispose]()
    expect(log).toEqual(['dispose'])
  })

  it.each([
    ['a port read', (vp: FakeProcessorVp) => vp.intercepts.portRead(0, 0x502, 2), 'in a read of 2 bytes at port 0x502'],
    [
      'a port write',
      (vp: FakeProcessorVp) => vp.intercepts.portWrite(0, 0x500, 1, 7),
      'in a write of 1 bytes at port 0x500',
    ],
    [
      'an MMIO read',
      (vp: FakeProcessorVp) => vp.intercepts.mmioRead(0, 0xd000_0004, 4),
      'in a read of 4 bytes at address 0xd0000004',
    ],
    [
      'an MMIO write',
      (vp: FakeProcessorVp) => vp.intercepts.mmioWrite(0, 0xd000_0000, 4, 7),
      'in a write of 4 bytes at address 0xd0000000',
    ],
  ])('in %s loses its ports, addresses, lines and timers, at once', async (_, access, where) => {
    const log: string[] = []
    const lines = new FakeInterruptLines()
    const handler = {
      read: (): number => {
        throw new Error('no')
      },
      write: () => {
        throw new Error('no')
      },
    }
    let fired = 0
    const failing = device('failing', [portIoToken, mmioToken, clockToken, interruptLinesToken], (context) => {
      context.get(portIoToken).claim(0x500, 4, handler)
      context.get(mmioToken).claim(0xd000_0000, 4096, handler)
      context.get(interruptLinesToken).line(5).set(true)
      const timer = context.get(clockToken).createTimer(() => fired++)
      timer.arm(0.5)
      return {
        async [Symbol.asyncDispose]() {
          log.push('dispose')
        },
      }
    })
    const seen: unknown[] = []
    const { vm, messages, errors } = await machine({
      devices: [failing],
      services: new Map([[interruptLinesToken.name, lines]]),
      script: (vp) => {
        seen.push(lines.level(5))
        seen.push(access(vp))
        seen.push(lines.level(5), vp.intercepts.portRead(0, 0x500, 1), vp.intercepts.mmioRead(0, 0xd000_0000, 4))
        access(vp)
        return off(vp)
      },
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(seen).toEqual([true, seen[1], false, 0xff, 0xffff_ffff])
    expect([undefined, 0xffff, 0xffff_ffff]).toContain(seen[1])
    expect(messages()).toEqual([`The plug-in failing failed ${where}: no`])
    expect(errors).toEqual([`The plug-in failing failed ${where}: no; its device is taken away`])
    expect(fired).toBe(0)
    expect(vm.plugins).not.toContain('failing')
    await vm[Symbol.asyncDispose]()
    expect(log).toEqual(['dispose'])
  })

  it('while it is created, in what it does beside, is not waited for; what it makes late is disposed of', async () => {
    const log: string[] = []
    const late = Promise.withResolvers<PluginInstance>()
    let fail: (error: unknown) => void = () => {}
    const tracker: PluginTracker = {
      scope: (failed) => {
        fail = failed
        return { call: (fn, self, a, b, c) => fn.call(self, a, b, c) }
      },
    }
    const slow = device('slow', [], () => {})
    const created = machine({
      tracker,
      devices: [
        {
          ...slow,
          create: () => {
            queueMicrotask(() => fail(new Error('beside')))
            return late.promise
          },
        },
      ],
    })
    const { messages, vm } = await created
    expect(messages()).toEqual(['The plug-in slow failed in what it left to the event loop: beside'])
    late.resolve({
      async [Symbol.asyncDispose]() {
        log.push('dispose')
      },
    })
    await vm[Symbol.asyncDispose]()
    expect(log).toEqual(['dispose'])
  })

  it('in a timer is taken away; the others’ timers go on', async () => {
    let fired = 0
    const timer = (name: string, run: (context: PluginContext) => void) =>
      device(name, [clockToken, powerControlToken], (context) => {
        const clock = context.get(clockToken)
        const own = clock.createTimer(() => {
          own.arm(clock.now() + 1000)
          run(context)
        })
        own.arm(1000)
      })
    const { vm, messages } = await machine({
      devices: [
        timer('bad', () => {
          throw new RangeError('too late')
        }),
        timer('good', (context) => {
          if (++fired === 3) context.get(powerControlToken).request({ type: 'power-off' })
        }),
      ],
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(messages()).toEqual(['The plug-in bad failed in a timer: too late'])
  })

  it('in PCI configuration space is unplugged', async () => {
    const bus = new FakePciBus(new FakeInterruptLines())
    const failing = device('failing', [pciBusToken], (context) => {
      context.get(pciBusToken).attach(3, 0, {
        readConfig: () => {
          throw new Error('no')
        },
        writeConfig: () => {},
      })
    })
    const { messages } = await machine({ devices: [failing], services: new Map([[pciBusToken.name, bus]]) })
    expect(bus.read(3, 0, 0)).toBe(0xffff_ffff)
    expect(messages()).toEqual(['The plug-in failing failed in an access to its PCI configuration space: no'])
    expect(bus.slots).toEqual([])
  })

  it('ends the run where the configuration says so', async () => {
    const failing = device('failing', [portIoToken], (context) => {
      context.get(portIoToken).claim(0x500, 1, {
        read: () => {
          throw new TypeError('no')
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
    await expect(vm.run()).rejects.toThrow(
      code('ERR_PLUGIN_FAILED', {
        message: 'The plug-in failing failed in a read of 1 bytes at port 0x500: no',
        cause: expect.any(TypeError),
      }),
    )
    const born = device('born', [], () => {
      throw new TypeError('dead')
    })
    const end = { onPluginFailure: 'end' }
    await expect(machine({ devices: [born], configuration: end })).rejects.toThrow(code('ERR_PLUGIN_FAILED'))
    await expect(
      machine({ devices: [], source: noModule, configuration: { ...end, devices: ['./broken.js'] } }),
    ).rejects.toThrow(code('ERR_PLUGIN_LOAD'))
  })

  it('and is the processor is no machine', async () => {
    const registry = new PluginRegistry({
      source: emptySource,
      packages: [],
      plugins: [
        fakePlugin([], {
          name: 'cpu',
          kind: 'processor',
          create: () => {
            throw new Error('no silicon')
          },
        }),
      ] as Plugin<never>[],
    })
    await expect(
      VirtualMachine.create(
        { processor: 'cpu', memory: 4 * MIB, devices: [] },
        { registry, readFile: async () => new Uint8Array() },
      ),
    ).rejects.toThrow(code('ERR_PLUGIN_NEEDS'))
  })

  it('cannot claim anything afterwards, and a machine without it cannot be saved', async () => {
    let late: unknown
    const failing = device('failing', [portIoToken, clockToken], (context) => {
      const ports = context.get(portIoToken)
      ports.claim(0x500, 1, {
        read: () => {
          throw new Error('no')
        },
        write: () => {},
      })
      return {
        async [Symbol.asyncDispose]() {
          try {
            ports.claim(0x600, 1, { read: () => 1, write: () => {} })
          } catch (error) {
            late = error
          }
        },
      }
    })
    const { vm } = await machine({
      devices: [failing],
      script: (vp) => {
        vp.intercepts.portRead(0, 0x500, 1)
        return off(vp)
      },
    })
    await vm.run()
    expect(late).toEqual(code('ERR_PLUGIN_FAILED'))
    expect(() => vm.save()).toThrow(code('ERR_VM_STATE', { message: expect.stringContaining('failing') }))
  })
})

describe('a plug-in on the VMBus that throws', () => {
  const INTERFACE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'
  const instance = (number: number) => `00000000-0000-8899-0000-00000000000${number}`

  async function onBus(broken: (fail: () => never) => Partial<VmbusChannelHandler> | 'open') {
    const pair = new VmbusPair()
    const handlerOf = (channel: { send(payload: Uint8Array): boolean }): VmbusChannelHandler => ({
      receive: (packet) => channel.send(packet.payload()),
    })
    const fail = (): never => {
      throw new Error('no')
    }
    const vsp = (name: string, number: number, more: ReturnType<typeof broken>) =>
      device(name, [vmbusServerToken], (context) => {
        const offered = context.get(vmbusServerToken).offer({
          offer: { interfaceId: INTERFACE, instanceId: instance(number) },
          open: (channel) => (more === 'open' ? fail() : { ...handlerOf(channel), ...more }),
        })
        return { [Symbol.asyncDispose]: () => offered[Symbol.asyncDispose]() }
      })
    const { vm, messages } = await machine({
      devices: [vsp('bad', 1, broken(fail)), vsp('good', 2, {})],
      services: new Map([[vmbusServerToken.name, pair.server]]),
    })
    const { client } = pair
    await pair.run(client.connect())
    const offers = await pair.run(client.requestOffers())
    const open = (number: number) => {
      const offer = offers.find(({ instanceId }) => instanceId === instance(number))
      return pair.run(client.open(offer as never, pair.rings(2, 2)))
    }
    const good = await open(2)
    const echo = async () => {
      const answers: number[] = []
      good.onPacket = (packet) => answers.push(packet.payload()[0] as number)
      good.send(new Uint8Array(8).fill(7), 1)
      await pair.settle()
      return answers
    }
    return { pair, client, open, echo, messages, vm }
  }

  it.each([
    ['when a channel is opened', 'when a channel was opened', 'open'],
    ['in a packet', 'in a packet of the guest', 'receive'],
    ['at the end of a batch', 'at the end of a batch of packets', 'batchEnd'],
    ['at the close', 'when a channel was closed', 'close'],
  ] as const)('%s loses its offers; the others serve on', async (_, where, what) => {
    const { pair, open, echo, messages } = await onBus((fail) => (what === 'open' ? 'open' : { [what]: fail }))
    if (what === 'open') await expect(open(1)).rejects.toThrow()
    else {
      const channel = await open(1)
      channel.send(new Uint8Array(8), 1)
      await pair.settle()
      if (what === 'close') await pair.run(channel.close())
    }
    await pair.settle()
    expect(messages()).toEqual([`The plug-in bad failed ${where}: no`])
    const left = pair.server.channels().filter(({ revoked }) => !revoked)
    expect(left.map(({ instanceId }) => instanceId)).toEqual([instance(2)])
    expect(await echo()).toEqual([7])
  })

  it('in a promise, too', async () => {
    const { pair, client, open, echo, messages } = await onBus(() => ({
      gpadlTeardown: () => Promise.reject(new Error('not now')),
    }))
    const channel = await open(1)
    const gpadl = await pair.run(client.createGpadl(channel.relid, [contiguousRange(0x5000, 4096)]))
    client.teardownGpadl(channel.relid, gpadl).catch(() => {})
    await pair.settle()
    expect(messages()).toEqual(['The plug-in bad failed when a GPADL was taken back: not now'])
    expect(await echo()).toEqual([7])
  })
})

describe('what it leaves to the event loop', () => {
  it('takes away the plug-in that it comes from, and nothing else is lost', async () => {
    const script = join(import.meta.dirname, 'stray-errors.ts')
    const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=@partita/source', script])
    expect(JSON.parse(stdout)).toEqual({
      outcome: { type: 'power-off' },
      failures: [
        'The plug-in at-rest failed in what it left to the event loop: a promise of create',
        'The plug-in child failed in what it left to the event loop: spawn /no/such/program ENOENT',
        'The plug-in emitter failed in what it left to the event loop: an emitter',
        'The plug-in listener failed in what it left to the event loop: a listener',
        'The plug-in module failed in what it left to the event loop: a module',
        expect.stringMatching(/^The plug-in nothing failed in what it left to the event loop: .*undefined/),
        'The plug-in promise failed in what it left to the event loop: a promise',
        expect.stringMatching(/^The plug-in socket failed in what it left to the event loop: connect E/),
        'The plug-in timer failed in what it left to the event loop: a host timer',
        'The plug-in worker failed in what it left to the event loop: a worker',
      ],
      living: ['good'],
      strangers: ['nobody’s'],
    })
  })
})

describe('what two plug-ins want', () => {
  const ports = (name: string, base: number, length: number) =>
    device(name, [portIoToken], (context) => {
      context.get(portIoToken).claim(base, length, { read: () => 0, write: () => {} })
    })
  const both = (first: string, second: string) => ({
    data: { plugins: [first, second] },
    hint: expect.stringContaining('Give one of them another place'),
  })

  it('is an error before the guest starts that names both: ports', async () => {
    await expect(machine({ devices: [ports('uart', 0x3f8, 8), ports('modem', 0x3fc, 8)] })).rejects.toThrow(
      code('ERR_PORT_CONFLICT', {
        message:
          'uart and modem collide: the first has the I/O ports 0x3f8–0x3ff, the second wants the I/O ports 0x3fc–0x403',
        ...both('uart', 'modem'),
      }),
    )
  })

  it('… addresses, also those of RAM', async () => {
    const mmio = (name: string, gpa: number) =>
      device(name, [mmioToken], (context) => {
        context.get(mmioToken).claim(gpa, 8192, { read: () => 0, write: () => {} })
      })
    await expect(machine({ devices: [mmio('one', 0xd000_0000), mmio('two', 0xd000_1000)] })).rejects.toThrow(
      code('ERR_MMIO_CONFLICT', {
        message:
          'one and two collide: the first has the addresses 0xd0000000–0xd0001fff, the second wants the addresses 0xd0001000–0xd0002fff',
        ...both('one', 'two'),
      }),
    )
    await expect(machine({ devices: [mmio('one', 0x10_0000)] })).rejects.toThrow(
      code('ERR_MMIO_CONFLICT', { message: expect.stringContaining('The partition and one collide') }),
    )
  })

  it('… PCI slots', async () => {
    const pci = (name: string) =>
      device(name, [pciBusToken], (context) => {
        context.get(pciBusToken).attach(3, 1, { readConfig: () => 0, writeConfig: () => {} })
      })
    await expect(
      machine({
        devices: [pci('one'), pci('two')],
        services: new Map([[pciBusToken.name, new FakePciBus(new FakeInterruptLines())]]),
      }),
    ).rejects.toThrow(
      code('ERR_PCI_CONFLICT', { message: expect.stringContaining('the PCI slot 00:03.1'), ...both('one', 'two') }),
    )
  })

  it('… GUIDs on the VMBus, also of another interface and in other letters', async () => {
    const vsp = (name: string, interfaceId: string, instanceId: string) =>
      device(name, [vmbusServerToken], (context) => {
        context.get(vmbusServerToken).offer({ offer: { interfaceId, instanceId }, open: () => undefined })
      })
    const pair = new VmbusPair()
    const instance = 'aaaaaaaa-0000-8899-0000-000000000001'
    await expect(
      machine({
        devices: [
          vsp('one', 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f', instance),
          vsp('two', 'f912ad6d-2b17-48ea-bd65-f927a61c7684', instance.toUpperCase()),
        ],
        services: new Map([[vmbusServerToken.name, pair.server]]),
      }),
    ).rejects.toThrow(
      code('ERR_VMBUS_OFFER', { message: expect.stringContaining('one and two collide'), ...both('one', 'two') }),
    )
  })

  it('… connections of the SynIC', async () => {
    const taken = new Set<number>()
    const create = (connectionId: number): Disposable => {
      if (taken.has(connectionId)) throw new PartitaError('ERR_PORT_CONFLICT', 'taken')
      taken.add(connectionId)
      return { [Symbol.dispose]: () => void taken.delete(connectionId) }
    }
    const bus = (name: string, what: 'createMessagePort' | 'createEventPort') =>
      device(name, [synicPortsToken], (context) => {
        context.get(synicPortsToken)[what](5, () => 0)
      })
    const services = new Map([[synicPortsToken.name, { createMessagePort: create, createEventPort: create }]])
    await expect(
      machine({
        devices: [bus('one', 'createMessagePort'), bus('two', 'createEventPort')],
        services,
        configuration: { hypervisor: 'none' },
      }),
    ).rejects.toThrow(
      code('ERR_PORT_CONFLICT', { message: expect.stringContaining('the connection 5 of'), ...both('one', 'two') }),
    )
  })

  it('is named with who wants it where there is nothing like it', async () => {
    await expect(machine({ devices: [ports('greedy', 0xfff0, 32)] })).rejects.toThrow(
      code('ERR_PORT_RANGE', {
        message: expect.stringContaining('greedy wants the I/O ports 0xfff0–0x1000f: '),
        data: expect.objectContaining({ plugins: ['greedy'] }),
      }),
    )
    const mmio = device('odd', [mmioToken], (context) => {
      context.get(mmioToken).claim(0xd000_0001, 12, { read: () => 0, write: () => {} })
    })
    await expect(machine({ devices: [mmio] })).rejects.toThrow(
      expect.objectContaining({ message: expect.stringContaining('odd wants the addresses') }),
    )
  })

  it('can be had again when it was given back', async () => {
    const turns = device('turns', [portIoToken], (context) => {
      const io = context.get(portIoToken)
      const claim = io.claim(0x500, 4, { read: () => 0, write: () => {} })
      claim[Symbol.dispose]()
      claim[Symbol.dispose]()
    })
    await expect(machine({ devices: [turns, ports('next', 0x500, 4)] })).resolves.toBeDefined()
  })

  it('is a refusal and not a fault: a PartitaError of create ends the start', async () => {
    const refuses = device('refuses', [], () => {
      throw new PartitaError('ERR_SERIAL_BACKEND', 'no such backend')
    })
    await expect(machine({ devices: [refuses] })).rejects.toThrow(
      code('ERR_SERIAL_BACKEND', { message: 'refuses: no such backend' }),
    )
  })
})
