// Plug-ins that are never done: the machine waits for each for a minute, says for whom, and goes on without it. Time is virtual.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  keyboardInputToken,
  type Plugin,
  type PluginInstance,
  portIoToken,
  type ServiceToken,
  serviceToken,
  type VmbusChannelHandler,
  vmbusServerToken,
} from '@partita/interface'
import { contiguousRange } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import { PluginRegistry, planPlugins } from '../src/index.ts'
import { NodePackageSource } from '../src/node.ts'
import { device, type FailingMachine, machine, off } from './failing-machine.ts'
import { emptySource } from './fake-machine.ts'
import { VirtualHost } from './virtual-host.ts'

const never = <T>(): Promise<T> => new Promise<T>(() => {})
const disposable = { async [Symbol.asyncDispose]() {} }
const LATE = 'it was not done after 60 seconds'
const waiting = (id: string, where: string): string =>
  `Waiting for the plug-in ${id} (${where}): not done after 5 seconds, left out after 60`

/** A machine of `devices` that runs to its end in virtual time. */
async function run(setup: Parameters<typeof machine>[0]): Promise<FailingMachine & { host: VirtualHost }> {
  const time = new VirtualHost()
  const made = await machine({ script: off, ...setup, hostTimer: time.timer })
  expect(await made.vm.run()).toEqual({ type: 'power-off' })
  return { ...made, host: time as never }
}

describe('a plug-in that is never', () => {
  it('loaded is left out, and an error of its module that comes later is nobody’s', async () => {
    const late = Promise.withResolvers<never>()
    const source = { ...emptySource, loadFile: () => late.promise }
    const { vm, messages, warnings, host } = await run({
      devices: [],
      source,
      configuration: { devices: ['power', './endless.js'] },
    })
    expect(messages()).toEqual([`The plug-in ./endless.js cannot be loaded: ${LATE}`])
    expect(warnings).toEqual([waiting('./endless.js', 'when it was loaded')])
    late.reject(new Error('too late'))
    await vm[Symbol.asyncDispose]()
    expect(host.armed).toBe(0)
  })

  it('loaded has a code where that ends the start, which names it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'endless-'))
    writeFileSync(join(directory, 'endless.mjs'), 'await new Promise(() => {})\nexport default {}\n')
    const registry = new PluginRegistry({ source: new NodePackageSource({ directory }), packages: [] })
    const { timer } = new VirtualHost()
    await expect(planPlugins(registry, [{ plugin: './endless.mjs' }], [], { timer })).rejects.toMatchObject({
      code: 'ERR_PLUGIN_LOAD',
      message: `The plug-in ./endless.mjs cannot be loaded: ${LATE}`,
    })
  })

  it('done with its options is left out', async () => {
    const late = Promise.withResolvers<never>()
    const options = { '~standard': { version: 1, vendor: 'test', validate: () => late.promise } } as Plugin['options']
    const { vm, messages, warnings } = await run({ devices: [device('picky', [], () => {}, { options })] })
    const where = 'when it looked at its options'
    expect(messages()).toEqual([`The plug-in picky failed ${where}: ${LATE}`])
    expect(warnings).toEqual([waiting('picky', where)])
    expect(vm.pluginFailures[0]?.error).toMatchObject({ code: 'ERR_PLUGIN_LOAD' })
    late.reject(new Error('too late'))
    await vm[Symbol.asyncDispose]()
  })

  it('created is left out with what needs it, and what it makes later is disposed of', async () => {
    const token = serviceToken('test/bus')
    const late = Promise.withResolvers<PluginInstance>()
    let disposed = 0
    const bus: Plugin = {
      ...device('bus', [portIoToken], () => {}, { provides: [token] }),
      create(context) {
        context.get(portIoToken).claim(0x500, 1, { read: () => 1, write: () => {} })
        return late.promise
      },
    }
    const seen: number[] = []
    const { vm, messages, warnings, host } = await run({
      devices: [bus, device('rider', [token], () => {}), device('other', [], () => {})],
      script: (vp) => {
        seen.push(vp.intercepts.portRead(0, 0x500, 1))
        return off(vp)
      },
    })
    const where = 'when it was created'
    expect(messages()).toEqual([
      `The plug-in bus failed ${where}: ${LATE}`,
      'The plug-in rider failed because it needs bus: test/bus is gone',
    ])
    expect(warnings).toEqual([waiting('bus', where)])
    expect(vm.pluginFailures[0]?.error).toMatchObject({ message: LATE })
    expect(seen).toEqual([0xff])
    expect(vm.plugins).toContain('other')
    expect(host.now).toBe(60_000)
    late.resolve({
      async [Symbol.asyncDispose]() {
        disposed++
      },
    })
    await vm[Symbol.asyncDispose]()
    expect(disposed).toBe(1)
    expect(host.armed).toBe(0)
  })

  it('created can do nothing any more when it goes on later', async () => {
    const late = Promise.withResolvers<void>()
    const pair = new VmbusPair()
    const done = Promise.withResolvers<unknown[]>()
    const bus: Plugin = {
      ...device('late', [portIoToken, vmbusServerToken], () => {}),
      async create(context) {
        await late.promise
        const tried = [
          () => context.get(portIoToken).claim(0x500, 1, { read: () => 1, write: () => {} }),
          () => context.get(vmbusServerToken).onConnectRequest(() => true),
          () =>
            context.get(vmbusServerToken).offer({
              offer: {
                interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
                instanceId: 'aaaaaaaa-0000-8899-0000-000000000001',
              },
              open: () => undefined,
            }),
        ]
        done.resolve(
          tried.map((attempt) => {
            try {
              attempt()
              return 'done'
            } catch (error) {
              return (error as { code?: unknown }).code
            }
          }),
        )
        return disposable
      },
    }
    const { vm } = await run({ devices: [bus], services: new Map([[vmbusServerToken.name, pair.server]]) })
    late.resolve()
    expect(await done.promise).toEqual(['ERR_PLUGIN_FAILED', 'ERR_PLUGIN_FAILED', 'ERR_PLUGIN_FAILED'])
    // The place of who answers connection requests is free.
    pair.server.onConnectRequest(() => true)[Symbol.dispose]()
    await vm[Symbol.asyncDispose]()
  })

  it('created because a service does not answer is not to blame: the other goes, and it goes on', async () => {
    const token: ServiceToken<{ ready(): Promise<number> }> = serviceToken('test/bus')
    const bus = device('bus', [], () => ({ services: { [token.name]: { ready: () => never() } } }), {
      provides: [token],
    })
    const rider: Plugin = {
      ...device('rider', [], () => {}, { uses: [token] }),
      async create(context) {
        await context
          .find(token)
          ?.ready()
          .catch(() => {})
        return disposable
      },
    }
    const { vm, messages, warnings, host } = await run({ devices: [bus, rider] })
    const where = 'in what rider waited for when it was created'
    expect(messages()).toEqual([`The plug-in bus failed ${where}: ${LATE}`])
    expect(warnings).toEqual([waiting('bus', where)])
    expect(vm.plugins).toContain('rider')
    expect(host.now).toBe(60_000)
  })

  it('done adds up with others: one after the other, a minute each', async () => {
    const slow = (name: string): Plugin => ({ ...device(name, [], () => {}), create: () => never<PluginInstance>() })
    const { messages, warnings, host } = await run({ devices: [slow('one'), slow('two'), slow('three')] })
    expect(messages()).toHaveLength(3)
    expect(warnings).toEqual(['one', 'two', 'three'].map((id) => waiting(id, 'when it was created')))
    expect(host.now).toBe(180_000)
  })

  it('done but is the processor is no machine', async () => {
    const time = new VirtualHost()
    const cpu: Plugin = {
      ...device('cpu', [], () => {}, { kind: 'processor', provides: [serviceToken('partita/processor')] }),
      create: () => never<PluginInstance>(),
    }
    await expect(
      machine({
        devices: [],
        plugins: [cpu],
        configuration: { processor: 'cpu', devices: [] },
        hostTimer: time.timer,
      }),
    ).rejects.toMatchObject({
      code: 'ERR_PLUGIN_FAILED',
      message: `The plug-in cpu failed when it was created: ${LATE}`,
    })
  })
})

describe('what is waited for', () => {
  it('of another is not to blame where that is something else: news that may never come', async () => {
    const token: ServiceToken<{ readonly closed: Promise<void>; next(): Promise<number> }> = serviceToken('test/bus')
    const bus = device('bus', [], () => ({ services: { [token.name]: { closed: never(), next: () => never() } } }), {
      provides: [token],
    })
    const rider = device(
      'rider',
      [],
      (context) => {
        const service = context.find(token)
        service?.closed.catch(() => {})
        service?.next().catch(() => {})
        return { stop: () => never() }
      },
      { uses: [token] },
    )
    const { vm, messages } = await run({ devices: [bus, rider] })
    expect(messages()).toEqual([`The plug-in rider failed when it was stopped: ${LATE}`])
    expect(vm.plugins).toContain('bus')
  })

  it('in a loop that asks again after each error is not to blame either', async () => {
    const token: ServiceToken<{ next(): Promise<number> }> = serviceToken('test/bus')
    const bus = device('bus', [], () => ({ services: { [token.name]: { next: () => never() } } }), {
      provides: [token],
    })
    let asked = 0
    const listen = async (next: () => Promise<number>): Promise<never> => {
      for (;;) {
        asked++
        await next().catch(() => {})
      }
    }
    const rider = device(
      'rider',
      [],
      (context) => {
        const service = context.find(token)
        if (service !== undefined) void listen(() => service.next())
        return { stop: () => never() }
      },
      { uses: [token] },
    )
    const { vm, messages } = await run({ devices: [bus, rider] })
    expect(messages()).toEqual([`The plug-in rider failed when it was stopped: ${LATE}`])
    expect(vm.plugins).toContain('bus')
    // It was told that there is no answer, asked again, and then waited.
    expect(asked).toBeGreaterThan(1)
    const before = asked
    await new Promise(setImmediate)
    expect(asked).toBe(before)
  })

  it('more than once, for who does without it each time: the one that never answers goes', async () => {
    const token: ServiceToken<{ ready(): Promise<number> }> = serviceToken('test/bus')
    const bus = device('bus', [], () => ({ services: { [token.name]: { ready: () => never() } } }), {
      provides: [token],
    })
    const rider = device(
      'rider',
      [],
      (context) => ({
        async stop() {
          for (let i = 0; i < 5; i++)
            await context
              .find(token)
              ?.ready()
              .catch(() => {})
        },
      }),
      { uses: [token] },
    )
    const { vm, messages, host } = await run({ devices: [bus, rider] })
    const where = 'in what rider waited for when it was stopped'
    expect(messages()).toEqual([`The plug-in bus failed ${where}: ${LATE}`])
    expect(vm.plugins).toContain('rider')
    expect(host.now).toBe(60_000)
  })

  it('of who was given to call is not to blame either', async () => {
    const token: ServiceToken<{ ask(question: () => Promise<number>): void }> = serviceToken('test/bus')
    const bus = device(
      'bus',
      [],
      () => ({
        services: { [token.name]: { ask: (question: () => Promise<number>) => void question().catch(() => {}) } },
        stop: () => never(),
      }),
      { provides: [token] },
    )
    const user = device('user', [], (context) => void context.find(token)?.ask(() => never()), { uses: [token] })
    const { vm, messages } = await run({ devices: [bus, user] })
    expect(messages()).toEqual([`The plug-in bus failed when it was stopped: ${LATE}`])
    expect(vm.plugins).toContain('user')
  })

  it('one after the other: each that does not answer goes', async () => {
    const tokens = ['one', 'two'].map((name): ServiceToken<{ ready(): Promise<void> }> => serviceToken(`test/${name}`))
    const silent = tokens.map((token) =>
      device(token.name, [], () => ({ services: { [token.name]: { ready: () => never() } } }), { provides: [token] }),
    )
    const user = device(
      'user',
      [],
      (context) => ({
        async start() {
          for (const token of tokens)
            await context
              .find(token)
              ?.ready()
              .catch(() => {})
        },
      }),
      { uses: tokens },
    )
    const { vm, messages, host } = await run({ devices: [...silent, user] })
    const where = 'in what user waited for when it was started'
    expect(messages()).toEqual(tokens.map(({ name }) => `The plug-in ${name} failed ${where}: ${LATE}`))
    expect(vm.plugins).toContain('user')
    expect(host.now).toBeLessThanOrEqual(130_000)
  })

  it('is said once, also where it comes after all', async () => {
    const time = new VirtualHost()
    const slow = device('slow', [], () => ({
      start: () => new Promise<void>((resolve) => void time.timer(7000, resolve)),
    }))
    const { vm, warnings, messages } = await machine({ script: off, devices: [slow], hostTimer: time.timer })
    await vm.run()
    expect(warnings).toEqual([waiting('slow', 'when it was started')])
    expect(messages()).toEqual([])
  })

  it('of a keyboard that is never drained is the keyboard’s', async () => {
    const keyboard = device(
      'keyboard',
      [],
      () => ({
        services: {
          [keyboardInputToken.name]: { key: () => true, drained: () => never(), leds: {}, onLeds: undefined },
        },
      }),
      { provides: [keyboardInputToken] },
    )
    const typist = device(
      'typist',
      [],
      (context) => ({ stop: () => context.find(keyboardInputToken)?.drained() as Promise<void> }),
      { uses: [keyboardInputToken] },
    )
    const { vm, messages } = await run({ devices: [keyboard, typist] })
    expect(messages()).toEqual([`The plug-in keyboard failed in what typist waited for when it was stopped: ${LATE}`])
    expect(vm.plugins).toContain('typist')
  })
})

describe('a device on the VMBus of a plug-in', () => {
  const INTERFACE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'
  const INSTANCE = '00000000-0000-8899-0000-000000000001'

  /** The bus is a plug-in, too. */
  function devices(pair: VmbusPair, handler: Partial<VmbusChannelHandler>, bus: object = {}): Plugin[] {
    const server = Object.create(pair.server, Object.getOwnPropertyDescriptors(bus)) as typeof pair.server
    const provided = {
      offer: Object.hasOwn(bus, 'offer') ? server.offer : pair.server.offer.bind(pair.server),
      onConnectRequest: pair.server.onConnectRequest.bind(pair.server),
      channels: pair.server.channels.bind(pair.server),
    }
    return [
      device('bus', [], () => ({ services: { [vmbusServerToken.name]: provided } }), { provides: [vmbusServerToken] }),
      device(
        'echo',
        [],
        (context) => {
          const offered = context.find(vmbusServerToken)?.offer({
            offer: { interfaceId: INTERFACE, instanceId: INSTANCE },
            open: () => ({ receive: () => true, ...handler }),
          })
          return { [Symbol.asyncDispose]: () => offered?.[Symbol.asyncDispose]() as Promise<void> }
        },
        { uses: [vmbusServerToken] },
      ),
    ]
  }

  async function opened(pair: VmbusPair) {
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    return pair.run(client.open(offer as never, pair.rings(2, 2)))
  }

  it('whose offer is never taken back is not to blame: the bus is', async () => {
    const time = new VirtualHost()
    const pair = new VmbusPair()
    const { vm, messages } = await machine({
      script: off,
      devices: devices(pair, {}, { offer: () => ({ offer: {}, [Symbol.asyncDispose]: () => never() }) }),
      hostTimer: time.timer,
    })
    await vm[Symbol.asyncDispose]()
    expect(messages()).toEqual([`The plug-in bus failed in what echo waited for when it was disposed of: ${LATE}`])
  })

  it('that never lets go of a closed channel is to blame itself, and not the bus that waits for it', async () => {
    const time = new VirtualHost()
    const pair = new VmbusPair()
    const { vm, messages } = await machine({
      script: off,
      devices: devices(pair, { close: () => never() }),
      hostTimer: time.timer,
    })
    await opened(pair)
    await vm[Symbol.asyncDispose]()
    expect(messages()).toEqual([
      expect.stringMatching(/^The plug-in echo failed when (a channel was closed|it was disposed of): it was not done/),
    ])
  })

  it('that never gives a GPADL back keeps the guest waiting for a minute, and no longer', async () => {
    const time = new VirtualHost()
    const pair = new VmbusPair()
    const { messages } = await machine({
      script: off,
      devices: devices(pair, { gpadlTeardown: () => never() }),
      hostTimer: time.timer,
    })
    const { client } = pair
    const channel = await opened(pair)
    const gpadl = await pair.run(client.createGpadl(channel.relid, [contiguousRange(0x5000, 4096)]))
    const torn = client.teardownGpadl(channel.relid, gpadl).then(
      () => 'torn down',
      () => 'gone',
    )
    await pair.settle()
    while (time.now < 60_000) await new Promise(setImmediate)
    await pair.settle()
    expect(messages()).toEqual([`The plug-in echo failed when a GPADL was taken back: ${LATE}`])
    expect(await pair.run(torn)).toMatch(/torn down|gone/)
  })
})
