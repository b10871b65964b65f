import { type Plugin, type PluginContext, portIoToken, serviceToken, silentLogger } from '@partita/interface'
import * as fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import {
  type PlannedPlugin,
  PluginHost,
  type PluginRequest,
  planPlugins,
  RootPartitionError,
  StateUnits,
} from '../src/index.ts'
import { fakePlugin, registryOf } from './fake-machine.ts'

const a = serviceToken<string>('test/a')
const b = serviceToken<string>('test/b')

function plan(requests: readonly PluginRequest[], services: string[] = []): Promise<PlannedPlugin[]> {
  return planPlugins(registryOf(), requests, services)
}

const code = (expected: string, more: object = {}) => expect.objectContaining({ code: expected, ...more })

describe('planPlugins', () => {
  it('orders by need, keeps the order of equals, and counts instances', async () => {
    const log: string[] = []
    const user = fakePlugin(log, { name: 'user', needs: [a], uses: [b] })
    const middle = fakePlugin(log, { name: 'middle', needs: [b], provides: [a] })
    const base = fakePlugin(log, { name: 'base', provides: [b] })
    const other = fakePlugin(log, { name: 'other' })
    const planned = await plan([
      { plugin: other },
      { plugin: user },
      { plugin: user },
      { plugin: middle },
      { plugin: base },
      { plugin: user, id: 'third' },
    ])
    expect(planned.map(({ id }) => id)).toEqual(['other', 'base', 'middle', 'user', 'user#2', 'third'])
    expect(log).toEqual([])
  })

  it('orders any acyclic needs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 40 }),
        fc.shuffledSubarray([...Array(12).keys()], { minLength: 12 }),
        async (edges, sequence) => {
          const token = (index: number) => serviceToken<string>(`t${index}`)
          const plugins = sequence.map((index) =>
            fakePlugin([], {
              name: `p${index}`,
              provides: [token(index)],
              needs: edges.filter(([from, to]) => from === index && to < from).map(([, to]) => token(to)),
            }),
          )
          const planned = await plan(plugins.map((plugin) => ({ plugin })))
          const position = new Map(planned.map(({ plugin }, index) => [plugin.name, index]))
          expect(position.size).toBe(12)
          for (const [from, to] of edges)
            if (to < from) expect(position.get(`p${to}`)).toBeLessThan(position.get(`p${from}`) as number)
        },
      ),
    )
  })

  it('takes services of the host', async () => {
    const user = fakePlugin([], { name: 'user', needs: [portIoToken] })
    expect(await plan([{ plugin: user }], [portIoToken.name])).toHaveLength(1)
  })

  it('reports missing needs, with the nearest service that is there', async () => {
    const user = fakePlugin([], { name: 'user', needs: [a] })
    await expect(plan([{ plugin: user }])).rejects.toThrow(
      code('ERR_PLUGIN_NEEDS', { message: 'user needs test/a, which nothing provides' }),
    )
    const near = fakePlugin([], { name: 'near', provides: [serviceToken('tests/a')] })
    await expect(plan([{ plugin: user }, { plugin: near }])).rejects.toThrow(
      code('ERR_PLUGIN_NEEDS', { hint: 'Did you mean tests/a?' }),
    )
  })

  it('reports circles', async () => {
    const one = fakePlugin([], { name: 'one', needs: [a], provides: [b] })
    const two = fakePlugin([], { name: 'two', uses: [b], provides: [a] })
    await expect(plan([{ plugin: one }, { plugin: two }])).rejects.toThrow(
      code('ERR_PLUGIN_CYCLE', { message: 'Plug-ins need one another: one → two → one' }),
    )
    const self = fakePlugin([], { name: 'self', needs: [a], provides: [a] })
    await expect(plan([{ plugin: self }])).rejects.toThrow(code('ERR_PLUGIN_CYCLE'))
  })

  it('reports two providers of a service and two equal ids', async () => {
    const one = fakePlugin([], { name: 'one', provides: [a] })
    const two = fakePlugin([], { name: 'two', provides: [a] })
    await expect(plan([{ plugin: one }, { plugin: two }])).rejects.toThrow(
      code('ERR_PLUGIN_DUPLICATE', { message: 'Both one and two provide test/a' }),
    )
    await expect(plan([{ plugin: one }], [a.name])).rejects.toThrow(
      code('ERR_PLUGIN_DUPLICATE', { message: 'Both the host and one provide test/a' }),
    )
    const plain = fakePlugin([], { name: 'plain' })
    await expect(
      plan([
        { plugin: plain, id: 'x' },
        { plugin: plain, id: 'x' },
      ]),
    ).rejects.toThrow(code('ERR_PLUGIN_DUPLICATE'))
  })

  it('reports options that do not pass, naming each place, and hands on the schema’s output', async () => {
    const options = v.strictObject({ port: v.pipe(v.number(), v.maxValue(0xffff)), baud: v.optional(v.number(), 9600) })
    const device = fakePlugin([], { name: 'device', options })
    await expect(plan([{ plugin: device, options: { port: 0x10000, bad: 1 } }])).rejects.toThrow(
      code('ERR_PLUGIN_OPTIONS', { message: expect.stringMatching(/^The options of device are wrong: .*port.*bad/s) }),
    )
    const [planned] = await plan([{ plugin: device, options: { port: 1 } }])
    expect(planned?.options).toEqual({ port: 1, baud: 9600 })
  })

  it('waits for schemas that validate asynchronously', async () => {
    const options = v.pipeAsync(
      v.unknown(),
      v.checkAsync(async () => false, 'no'),
    )
    await expect(
      plan([{ plugin: fakePlugin([], { name: 'slow', options: options as Plugin['options'] }) }]),
    ).rejects.toThrow(code('ERR_PLUGIN_OPTIONS'))
  })

  it('reports kinds in the wrong place', async () => {
    const device = fakePlugin([], { name: 'device' })
    await expect(plan([{ plugin: device, kinds: ['processor'] }])).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
  })
})

describe('PluginHost', () => {
  const start = async (plugins: Plugin[], services: [string, unknown][] = []) =>
    PluginHost.start(
      await plan(
        plugins.map((plugin) => ({ plugin })),
        services.map(([name]) => name),
      ),
      services,
      { logger: silentLogger },
    )

  it('starts in order of need and disposes in reverse', async () => {
    const log: string[] = []
    const host = await start([
      fakePlugin(log, { name: 'user', needs: [a] }),
      fakePlugin(log, { name: 'base', provides: [a] }),
    ])
    expect(host.plugins.map(({ id }) => id)).toEqual(['base', 'user'])
    expect(host.find(a)).toBe('test/a of base')
    await host[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
    expect(log).toEqual(['create base', 'create user', 'dispose user', 'dispose base'])
  })

  it('disposes of those before one that refuses, in reverse, and goes on when a disposal fails', async () => {
    const log: string[] = []
    const refusal = new RootPartitionError('ERR_FILE_UNREADABLE', 'no such thing')
    const failing = fakePlugin(log, {
      name: 'failing',
      create: () => {
        throw refusal
      },
    })
    const stubborn = fakePlugin(log, {
      name: 'stubborn',
      create: () => ({
        async [Symbol.asyncDispose]() {
          throw new Error('will not go')
        },
      }),
    })
    await expect(
      start([fakePlugin(log, { name: 'one' }), stubborn, fakePlugin(log, { name: 'two' }), failing]),
    ).rejects.toBe(refusal)
    expect(log).toEqual(['create one', 'create two', 'dispose two', 'dispose one'])
  })

  it('lets a plug-in’s own errors through', async () => {
    const own = new RootPartitionError('ERR_FILE_UNREADABLE', 'x')
    const failing = fakePlugin([], {
      name: 'failing',
      create: async () => {
        throw own
      },
    })
    await expect(start([failing])).rejects.toBe(own)
  })

  it('gives what was declared and nothing else', async () => {
    const seen: unknown[] = []
    const asking = (name: string, ask: (context: PluginContext<unknown>) => unknown, declared: object = {}) =>
      fakePlugin([], {
        name,
        ...declared,
        create: (context) => {
          ask(context)
          return { async [Symbol.asyncDispose]() {} }
        },
      })
    const base = fakePlugin([], { name: 'base', provides: [a] })
    const good = asking('good', (context) => seen.push(context.get(a), context.find(a), context.find(b)), {
      needs: [a],
      uses: [b],
    })
    await (await start([base, good]))[Symbol.asyncDispose]()
    expect(seen).toEqual(['test/a of base', 'test/a of base', undefined])
    const undeclared = code('ERR_PLUGIN_UNDECLARED')
    await expect(start([base, asking('bad', (context) => context.get(a))])).rejects.toThrow(undeclared)
    await expect(start([base, asking('bad', (context) => context.find(a))])).rejects.toThrow(undeclared)
    await expect(start([asking('absent', (context) => context.get(b), { uses: [b] })])).rejects.toThrow(undeclared)
  })

  it('reports plug-ins that do not keep their promise', async () => {
    const invalid = code('ERR_PLUGIN_INVALID')
    const log: string[] = []
    const liar = fakePlugin(log, {
      name: 'liar',
      provides: [a],
      create: () => ({
        async [Symbol.asyncDispose]() {
          log.push('dispose liar')
        },
      }),
    })
    await expect(start([liar])).rejects.toThrow(invalid)
    expect(log).toEqual(['dispose liar'])
    await expect(
      start([fakePlugin([], { name: 'nothing', create: (() => undefined) as unknown as Plugin['create'] })]),
    ).rejects.toThrow(invalid)
  })
})

describe('StateUnits', () => {
  it('starts and resets in order, stops in reverse, and does nothing twice', async () => {
    const log: string[] = []
    const host = await PluginHost.start(
      await plan([
        { plugin: fakePlugin(log, { name: 'user', needs: [a] }) },
        { plugin: fakePlugin(log, { name: 'base', provides: [a] }) },
      ]),
      [],
      { logger: silentLogger },
    )
    const units = new StateUnits(host.plugins)
    log.length = 0
    await units.stop()
    await units.start()
    await units.start()
    units.reset()
    await units.stop()
    await units.stop()
    expect(log).toEqual(['start base', 'start user', 'reset base', 'reset user', 'stop user', 'stop base'])
    const saved = units.save()
    expect(Object.keys(saved)).toEqual(['base', 'user'])
    log.length = 0
    units.restore(saved)
    expect(log).toEqual(['restore base {"value":1}', 'restore user {"value":1}'])
    const { base, user } = saved
    expect(() => units.restore({ base: base as never })).toThrow(code('ERR_STATE_INVALID'))
    expect(() => units.restore({ base: base as never, user: user as never, third: user as never })).toThrow(
      code('ERR_STATE_INVALID'),
    )
    expect(log).toHaveLength(2)
  })

  it('goes on without one that cannot start or stop', async () => {
    const log: string[] = []
    const failures: string[] = []
    const troublesome = (name: string, what: 'start' | 'stop' | 'reset') =>
      fakePlugin(log, {
        name,
        create: () => ({
          [what]: async () => {
            throw new Error(`no ${what}`)
          },
          async [Symbol.asyncDispose]() {
            log.push(`dispose ${name}`)
          },
        }),
      })
    const host = await PluginHost.start(
      await plan([
        { plugin: fakePlugin(log, { name: 'first' }) },
        { plugin: troublesome('idle', 'start') },
        { plugin: troublesome('restless', 'stop') },
        { plugin: fakePlugin(log, { name: 'last' }) },
      ]),
      [],
      { logger: silentLogger, onFailure: ({ message }) => failures.push(message) },
    )
    const units = new StateUnits(host.plugins)
    log.length = 0
    await units.start()
    await units.stop()
    expect(failures).toEqual([
      'The plug-in idle failed when it was started: no start',
      'The plug-in restless failed when it was stopped: no stop',
    ])
    await host[Symbol.asyncDispose]()
    expect(log.toSorted()).toEqual(
      [
        ...['start first', 'dispose idle', 'start last', 'stop last', 'dispose restless', 'stop first'],
        ...['dispose last', 'dispose first'],
      ].toSorted(),
    )
    expect(host.plugins).toEqual([])
  })
})
