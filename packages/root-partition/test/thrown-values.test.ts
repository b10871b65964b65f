// Plug-ins that throw what is no error, whose modules, schemas and instances throw when somebody looks at them, and that are gone.

import {
  type CharacterBackend,
  characterBackendsToken,
  clockToken,
  interruptMessagesToken,
  PartitaError,
  type Plugin,
  type PluginContext,
  portIoToken,
  powerControlToken,
  type ServiceToken,
  serviceToken,
  silentLogger,
} from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { PluginHost, PluginRegistry, type PluginTracker, planPlugins } from '../src/index.ts'
import { device, machine, off } from './failing-machine.ts'
import { emptySource, registryOf } from './fake-machine.ts'
import { type Any, disposable, fail, failures, reject, thorny } from './hostile-values.ts'

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

describe('an error of create that ends the start', () => {
  const refused = async (id: string, thrown: () => unknown): Promise<unknown> =>
    machine({
      devices: [
        device(id, [], () => {
          throw thrown()
        }),
      ],
    }).then(
      () => undefined,
      (error: unknown) => error,
    )
  const own = (message: string) => new PartitaError('ERR_OWN', message, { hint: 'h', data: { sector: 3 } })

  it('begins with the name of its plug-in, also where it speaks of something of that name', async () => {
    const thrown = own('the disk is read-only')
    expect(await refused('disk', () => thrown)).toBe(thrown)
    expect(thrown.message).toBe('disk: the disk is read-only')
    const named = own('disk: there is none')
    expect(await refused('disk', () => named)).toBe(named)
    expect(named.message).toBe('disk: there is none')
  })

  it.each([
    ['is frozen', () => Object.freeze(own('no room'))],
    [
      'takes another message and forgets it',
      () => Object.defineProperty(own(''), 'message', { get: () => 'no room', set: () => {} }),
    ],
  ])('is the cause of one with a name where it %s', async (_what, thrown) => {
    const error = thrown()
    const refusal = await refused('disk', () => error)
    expect(refusal).toBeInstanceOf(PartitaError)
    expect(refusal).toMatchObject({
      code: 'ERR_OWN',
      message: 'disk: no room',
      hint: 'h',
      data: { sector: 3, id: 'disk' },
    })
    expect((refusal as Error).cause).toBe(error)
  })

  it('has a name where nobody can read its message', async () => {
    const error = Object.defineProperty(own(''), 'message', {
      get: () => {
        throw new Error('no')
      },
    })
    expect(await refused('disk', () => error)).toMatchObject({
      code: 'ERR_OWN',
      message: 'disk: something that cannot be shown',
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

  /** A plug-in that has `key` of `target` once, and throws when somebody asks again. */
  const once = (target: object, key: string): void => {
    const value: unknown = Reflect.get(target, key)
    let read = 0
    Object.defineProperty(target, key, { enumerable: true, get: () => (read++ === 0 ? value : fail()) })
  }
  const service = serviceToken<number>('test/service')
  const whole = (): Plugin & { readonly made: unknown[] } => ({
    ...device('whole', [], () => {}),
    needs: [{ ...portIoToken }],
    uses: [{ ...clockToken }],
    provides: [{ ...service }],
    made: [],
    create(context) {
      this.made.push(context.get(portIoToken) !== undefined, context.find(clockToken) !== undefined)
      return { services: { [service.name]: 5 }, ...disposable }
    },
  })

  it.each(['name', 'kind', 'description', 'needs', 'uses', 'provides', 'create', 'options'])(
    'that can be asked for its %s once: a machine has it',
    async (key) => {
      const plugin = whole()
      once(plugin, key)
      const source = { ...emptySource, loadFile: async () => ({ default: plugin }) }
      const { vm, messages } = await machine({
        devices: [],
        source,
        configuration: { devices: ['power', './whole.js', 'user'] },
        plugins: [device('user', [service], (context) => void plugin.made.push(context.get(service)))],
        script: off,
      })
      expect(messages()).toEqual([])
      expect(vm.plugins).toContain('whole')
      // `create` was called on the plug-in itself.
      expect(plugin.made).toEqual([true, true, 5])
      await vm[Symbol.asyncDispose]()
    },
  )

  it.each(['needs', 'uses', 'provides'] as const)('that can be looked at once in its %s', async (key) => {
    const plugin = whole()
    const tokens = plugin[key] as unknown as object[]
    once(tokens[0] as object, 'name')
    once(tokens, '0')
    const planned = await planPlugins(registryOf(), [{ plugin }], [portIoToken.name])
    const host = await PluginHost.start(planned, [[portIoToken.name, new FakeMachine().ports]], {
      logger: silentLogger,
    })
    expect(host.plugins.map(({ id }) => id)).toEqual(['whole'])
    await host[Symbol.asyncDispose]()
  })

  it.each(['name', 'kind', 'contract', 'description', 'needs', 'uses', 'provides', 'create', 'options'])(
    'that cannot be asked for its %s, however it comes',
    async (key) => {
      const thornyPlugin = (): Plugin => Object.defineProperty(whole(), key, { enumerable: true, get: fail })
      const error = expect.objectContaining({ code: 'ERR_PLUGIN_LOAD' })
      await expect(load(thornyPlugin())).rejects.toEqual(error)
      await expect(planPlugins(registryOf(), [{ plugin: thornyPlugin() }], [])).rejects.toEqual(error)
      const given = { ...whole(), name: 'given' }
      const registry = registryOf(given)
      if (key !== 'name') {
        Object.defineProperty(given, key, { enumerable: true, get: fail })
        await expect(registry.load('given')).rejects.toEqual(error)
      }
    },
  )

  it('a module of which nobody gets the plug-in', async () => {
    const module = Object.defineProperty({}, 'default', { get: fail })
    const registry = new PluginRegistry({ source: { ...emptySource, loadFile: async () => module }, packages: [] })
    await expect(registry.load('./odd.js')).rejects.toMatchObject({ code: 'ERR_PLUGIN_LOAD' })
  })

  it('a schema with much to say says it in one line, of which a terminal obeys nothing', async () => {
    const issue = { message: `\u001b[2J\n${'no'.repeat(2000)}`, path: ['size\u001b[1m'] }
    const options = { '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [issue, issue] }) } }
    const plugin = { ...whole(), options: options as unknown as Plugin['options'] }
    const error = await planPlugins(registryOf(), [{ plugin }], [portIoToken.name]).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'ERR_PLUGIN_OPTIONS',
      data: { issues: [expect.any(String), expect.any(String)] },
    })
    const { message } = error as Error
    expect(message).toMatch(/^The options of whole are wrong: size \[1m: {2}\[2J no/)
    expect(message).not.toMatch(/\p{Cc}/u)
    expect(message.length).toBeLessThan(1100)
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
