// Plug-ins that give others what these cannot do anything with: the others stay.

import {
  type CharacterBackend,
  characterBackendsToken,
  clockToken,
  type Disk,
  disksToken,
  interruptLinesToken,
  mouseInputToken,
  type Network,
  type NetworkPort,
  networkToken,
  type Plugin,
  type PluginContext,
  portIoToken,
  powerControlToken,
  type ServiceToken,
  type VmbusChannel,
  vmbusServerToken,
} from '@partita/interface'
import { FakeInterruptLines } from '@partita/testkit'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import { device, machine, off } from './failing-machine.ts'
import { type Any, disposable, failures, thorny } from './hostile-values.ts'

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
    ['interrupt lines', [interruptLinesToken], (context) => context.get(interruptLinesToken).line(thorny({}) as Any)],
    ['movements', [mouseInputToken], (context) => context.get(mouseInputToken).move(5n as Any, 1)],
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
        device('wires', [], () => ({ services: { [interruptLinesToken.name]: new FakeInterruptLines() } }), {
          provides: [interruptLinesToken],
        }),
        device(
          'mouse',
          [],
          () => ({ services: { [mouseInputToken.name]: { move: (dx: number) => dx + 1, wheel() {}, button() {} } } }),
          { provides: [mouseInputToken] },
        ),
        bad,
      ],
      characterBackends: new Map([['console', backend]]),
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(thrown).toHaveLength(1)
    expect(messages()).toEqual([expect.stringMatching(/^The plug-in misuser failed when it was started: /)])
    expect(vm.plugins).toEqual(expect.arrayContaining(['net', 'bus', 'wires', 'mouse']))
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
