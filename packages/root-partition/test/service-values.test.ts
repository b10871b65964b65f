// What goes from one plug-in to another through a service that nobody but they know: whatever it is in (lists, records, maps, iterators, classes), who throws is taken away, and not who asked.

import { EventEmitter } from 'node:events'
import { clockToken, PartitaError, type Plugin, type ServiceToken, serviceToken } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { device, machine, off } from './failing-machine.ts'

// biome-ignore lint/suspicious/noExplicitAny: a service of whatever shape.
type Any = any
const token: ServiceToken<Any> = serviceToken('test/service')
const fail = (): never => {
  throw new TypeError('no')
}
const THEN = 'then'
const turn = () => new Promise((resolve) => setImmediate(resolve))
const GONE = expect.objectContaining({ code: 'ERR_PLUGIN_FAILED', message: 'The plug-in provider was taken away' })
const provider = (service: unknown): Plugin =>
  device('provider', [], () => ({ services: { [token.name]: service } }), { provides: [token] })

/** What `use` makes of a service, and who is blamed. */
async function used(service: unknown, use: (service: Any) => unknown) {
  let result: unknown
  const user = device(
    'user',
    [],
    (context) => ({
      async start() {
        try {
          result = await use(context.find(token))
        } catch (error) {
          result = error
        }
      },
    }),
    { uses: [token] },
  )
  const { vm, messages } = await machine({ script: off, devices: [provider(service), user] })
  expect(await vm.run()).toEqual({ type: 'power-off' })
  await turn()
  return { result, messages: messages(), living: vm.plugins.filter((id) => id === 'provider' || id === 'user') }
}

/** What the host makes of it. */
async function byHost(service: unknown, use: (service: Any) => unknown) {
  const { vm, messages } = await machine({ script: off, devices: [provider(service)] })
  let result: unknown
  try {
    result = await use(vm.find(token))
  } catch (error) {
    result = error
  }
  return { result, messages: messages(), vm }
}

const slot = () => ({ speak: fail })
class Slot {
  // A private field is only there for the object itself.
  readonly #word = 'no'
  speak(): never {
    throw new TypeError(this.#word)
  }
}
class Registry extends Map<string, unknown> {
  custom(): never {
    throw new TypeError('no')
  }
}

const CASES: readonly [string, unknown, (service: Any) => unknown][] = [
  ['a list', { all: () => [1, slot()] }, (s) => s.all()[1].speak()],
  ['a list in a list', { all: () => [[], [new Slot()]] }, (s) => s.all()[1][0].speak()],
  ['a list that is spread', { all: () => [slot()] }, (s) => [...s.all()][0].speak()],
  ['a list that is mapped', { all: () => [slot()] }, (s) => s.all().map((each: Any) => each.speak())],
  ['a list of functions', { all: () => [fail] }, (s) => s.all()[0]()],
  ['a list that is a property', { all: [slot()] }, (s) => s.all[0].speak()],
  ['a frozen list', { all: Object.freeze([slot()]) }, (s) => s.all.find(() => true).speak()],
  ['a record', { get: () => ({ n: 1, a: slot() }) }, (s) => s.get().a.speak()],
  ['a record in a record', { get: () => ({ a: { b: { c: new Slot() } } }) }, (s) => s.get().a.b.c.speak()],
  [
    'a record without a prototype',
    { get: () => Object.assign(Object.create(null), { a: slot() }) },
    (s) => s.get().a.speak(),
  ],
  [
    'an object of a class without methods',
    {
      get: () =>
        new (class {
          a = slot()
        })(),
    },
    (s) => s.get().a.speak(),
  ],
  ['a map', { all: new Map([['a', slot()]]) }, (s) => s.all.get('a').speak()],
  [
    'a map that is gone through',
    { all: () => new Map([['a', slot()]]) },
    (s) => {
      for (const [, each] of s.all()) each.speak()
    },
  ],
  [
    'a map that is copied',
    { all: () => new Map([['a', slot()]]) },
    (s) => new Map<string, Any>(s.all()).get('a').speak(),
  ],
  ['a set', { all: () => new Set([fail]) }, (s) => s.all().forEach((each: Any) => void each())],
  ['a class that is made of a map', { all: new Registry() }, (s) => s.all.custom()],
  [
    'a generator',
    {
      *all() {
        yield 1
        fail()
      },
    },
    (s) => [...s.all()],
  ],
  [
    'what a generator yields',
    {
      *all() {
        yield slot()
      },
    },
    (s) => s.all().next().value.speak(),
  ],
  ['an iterator of a list', { all: () => [slot()].values() }, (s) => s.all().next().value.speak()],
  [
    'an asynchronous generator',
    {
      async *all() {
        yield 1
        fail()
      },
    },
    async (s) => {
      for await (const _ of s.all());
    },
  ],
  [
    'what that yields',
    {
      async *all() {
        yield slot()
      },
    },
    async (s) => {
      for await (const each of s.all()) each.speak()
    },
  ],
  ['a promise of a list', { all: async () => [slot()] }, async (s) => (await s.all())[0].speak()],
  ['a promise in a record', { get: () => ({ a: Promise.reject(new TypeError('no')) }) }, (s) => s.get().a],
  ['a promise that is a property', { a: Promise.resolve(slot()) }, async (s) => (await s.a).speak()],
  [
    'what pretends to be a promise',
    {
      get: () => ({
        get [THEN](): never {
          throw new TypeError('no')
        },
      }),
    },
    (s) => s.get(),
  ],
  ['what pretends to settle', { get: () => ({ [THEN]: fail }) }, (s) => s.get()],
  ['a class', { Slot }, (s) => new s.Slot().speak()],
  [
    'a constructor',
    {
      Slot: class {
        constructor() {
          fail()
        }
      },
    },
    (s) => new s.Slot(),
  ],
  [
    'a getter',
    {
      get: () => ({
        get a() {
          return fail()
        },
      }),
    },
    (s) => s.get().a,
  ],
  [
    'a setter',
    {
      set a(_: number) {
        fail()
      },
    },
    (s) => {
      s.a = 1
    },
  ],
  ['an emitter', { emitter: Object.assign(new EventEmitter(), { now: fail }) }, (s) => s.emitter.now()],
  ['JSON', { get: () => ({ toJSON: fail }) }, (s) => JSON.stringify([s.get()])],
  ['a conversion to text', { get: () => ({ toString: fail }) }, (s) => `${s.get()}`],
]

describe('a service whose provider throws in', () => {
  it.each(CASES)('%s', async (_, service, use) => {
    const { result, messages, living } = await used(service, use)
    expect(messages).toEqual(['The plug-in provider failed in its service test/service: no'])
    expect(result).toEqual(GONE)
    expect(living).toEqual(['user'])
  })

  it.each(CASES)('%s, for the host', async (_, service, use) => {
    const { result, messages, vm } = await byHost(service, use)
    expect(messages).toEqual(['The plug-in provider failed in its service test/service: no'])
    expect(result).toEqual(GONE)
    expect(vm.find(token)).toBeUndefined()
  })

  it.each([
    ['get', (s: Any) => s.odd.x],
    [
      'set',
      (s: Any) => {
        s.odd.x = 1
      },
    ],
    ['has', (s: Any) => 'x' in s.odd],
    ['deleteProperty', (s: Any) => delete s.odd.x],
    ['defineProperty', (s: Any) => Object.defineProperty(s.odd, 'x', { value: 1 })],
    ['ownKeys', (s: Any) => Object.keys(s.odd)],
    ['getOwnPropertyDescriptor', (s: Any) => Object.hasOwn(s.odd, 'x')],
    ['getPrototypeOf', (s: Any) => s.odd instanceof Map],
    ['apply', (s: Any) => s.odd()],
    ['construct', (s: Any) => new s.odd()],
  ] as const)('%s of a proxy of its own', async (trap, use) => {
    let armed = false
    const odd = new Proxy(class {}, {
      [trap]: (...args: [never]) => (armed ? fail() : (Reflect[trap] as (...args: unknown[]) => unknown)(...args)),
    })
    const { messages, living, result } = await used({ odd, arm: () => (armed = true) }, (s) => {
      void s.odd
      s.arm()
      return use(s)
    })
    expect(messages).toEqual(['The plug-in provider failed in its service test/service: no'])
    expect({ result, living }).toEqual({ result: GONE, living: ['user'] })
  })
})

describe('what a plug-in gives to the service of another', () => {
  it.each<[string, (s: Any) => unknown, (given: Any) => unknown]>([
    ['a list', (s) => s.take([fail]), (given) => given[0]()],
    ['a record', (s) => s.take({ on: { event: fail } }), (given) => given.on.event()],
    ['a map', (s) => s.take(new Map([['a', slot()]])), (given) => given.get('a').speak()],
    [
      'a generator',
      (s) =>
        s.take(
          (function* () {
            yield 1
            fail()
          })(),
        ),
      (given) => [...given],
    ],
    [
      'a list that it puts there',
      (s) => {
        s.listeners.push(fail)
      },
      (given) => given[0](),
    ],
    [
      'a property',
      (s) => {
        s.listeners.extra = fail
      },
      (given) => given.extra(),
    ],
    [
      'a property that is defined',
      (s) => {
        Object.defineProperty(s.listeners, 'extra', { value: fail })
      },
      (given) => given.extra(),
    ],
  ])('%s is not the fault of whoever calls it', async (_, give, call) => {
    const listeners: unknown[] = []
    let taken: unknown = listeners
    const { messages, living } = await used({ listeners, take: (value: unknown) => void (taken = value) }, (s) =>
      give(s),
    )
    expect(messages).toEqual([])
    expect(() => call(taken)).toThrow(expect.objectContaining({ code: 'ERR_PLUGIN_FAILED', data: { id: 'user' } }))
    expect(living).toEqual(['provider', 'user'])
  })

  it('is a listener of an event target is taken away, and the others hear', async () => {
    const target = new EventTarget()
    class Bus extends EventTarget {}
    const bus = new Bus()
    const strays: unknown[] = []
    const listened: string[] = []
    const uncaught = (error: unknown) => void strays.push(error)
    const { living } = await used({ target, bus }, (s) => {
      s.target.addEventListener('event', ({ type }: Event) => void listened.push(type))
      s.bus.addEventListener('event', ({ type }: Event) => void listened.push(type))
      s.bus.addEventListener('event', fail)
    })
    expect(living).toEqual(['provider', 'user'])
    process.on('uncaughtException', uncaught)
    target.dispatchEvent(new Event('event'))
    bus.dispatchEvent(new Event('event'))
    await turn()
    process.off('uncaughtException', uncaught)
    expect(listened).toEqual(['event', 'event'])
    // With a tracker this finds the user, as the fault that it is.
    expect(strays).toEqual([expect.objectContaining({ data: { id: 'user' } })])
  })

  it('may have errors with codes for answers: a disk’s, to who reads it', async () => {
    const full = new PartitaError('ERR_DISK_IO', 'a bad sector')
    const disk = { read: () => Promise.reject(full) }
    const seen: unknown[] = []
    const { messages, living } = await used(
      { attach: async (given: typeof disk) => void seen.push(await given.read().catch((error: unknown) => error)) },
      (s) => s.attach(disk),
    )
    expect(seen).toEqual([full])
    expect({ messages, living }).toEqual({ messages: [], living: ['provider', 'user'] })
  })

  it('and throws an answer that nobody wants takes its own plug-in away', async () => {
    const busy = new PartitaError('ERR_TEST', 'busy')
    let listener: (() => void) | undefined
    const provides = device(
      'provider',
      [clockToken],
      (context) => {
        context
          .get(clockToken)
          .createTimer(() => listener?.())
          .arm(0)
        return { services: { [token.name]: { listen: (callback: () => void) => void (listener = callback) } } }
      },
      { provides: [token] },
    )
    const user = device(
      'user',
      [],
      (context) => ({
        start: () =>
          context.find(token)?.listen(() => {
            throw busy
          }),
      }),
      { uses: [token] },
    )
    const { vm, messages } = await machine({ script: off, devices: [provides, user] })
    await vm.run()
    expect(messages()).toEqual(['The plug-in user failed in what it gave to test/service: busy'])
    expect(vm.plugins).toContain('provider')
  })

  it('and is a listener of an emitter is taken away, and can be taken off before', async () => {
    const emitter = new EventEmitter()
    const heard: number[] = []
    const { living } = await used({ emitter }, (s) => {
      const listener = (n: number) => heard.push(n)
      s.emitter.on('event', listener)
      emitter.emit('event', 1)
      s.emitter.off('event', listener)
      emitter.emit('event', 2)
      s.emitter.on('event', fail)
    })
    expect(heard).toEqual([1])
    expect(living).toEqual(['provider', 'user'])
    expect(() => emitter.emit('event', 3)).toThrow(expect.objectContaining({ data: { id: 'user' } }))
  })
})

describe('between plug-ins', () => {
  it('things are what they were, and the same each time', async () => {
    const data = { n: 1, bytes: new Uint8Array(4), list: [1, [2]], date: new Date(0), error: new RangeError('x') }
    const inner = { hello: () => 'hello' }
    const list = [inner]
    const live: unknown[] = []
    const service = {
      data: () => data,
      list,
      live,
      map: new Map([['a', inner]]),
      ready: Promise.resolve(7),
      same: (a: unknown, b: unknown) => a === inner && b === list,
      Slot: class {
        hello(): string {
          return 'hello'
        }
      },
    }
    const { result, messages } = await used(service, async (s) => {
      expect(s.data()).toBe(data)
      expect(structuredClone(s.data())).toEqual(data)
      expect(s.list).toBe(s.list)
      expect(s.list[0]).toBe(s.list[0])
      expect([...s.map.values()][0]).toBe(s.map.get('a'))
      expect(s.ready).toBe(s.ready)
      expect(await s.ready).toBe(7)
      expect(Array.isArray(s.list)).toBe(true)
      expect([s.list.length, Object.keys(s.list), s.list.includes(s.list[0])]).toEqual([1, ['0'], true])
      expect(JSON.stringify(s.list)).toBe('[{}]')
      expect(s.map).toBeInstanceOf(Map)
      expect(new s.Slot()).toBeInstanceOf(s.Slot)
      expect(Object.getOwnPropertyDescriptor(s.list, 'length')).toMatchObject({ value: 1, configurable: false })
      // What is put into a list later is in it, and comes home as it is.
      const { live: mine } = s
      live.push(inner)
      expect(mine[0].hello()).toBe('hello')
      expect(() => Object.freeze(s.list)).toThrow(TypeError)
      return s.same(s.list[0], s.list)
    })
    expect(messages).toEqual([])
    expect(result).toBe(true)
  })

  it('data with circles is gone through once', async () => {
    const circle: Record<string, unknown> = { n: 1 }
    circle['self'] = circle
    const deep = Array.from({ length: 100_000 }).reduce<unknown[]>((inner) => [inner], [])
    const { result, messages } = await used({ circle: () => circle, deep: () => deep }, (s) => [s.circle(), s.deep()])
    expect((result as unknown[])[0]).toBe(circle)
    expect((result as unknown[])[1]).toBe(deep)
    expect(messages).toEqual([])
  })

  it('signals are the listener’s: what it throws comes up as its own', async () => {
    const controller = new AbortController()
    const heard: unknown[] = []
    const { result } = await used(
      {
        watch: (signal: AbortSignal, { signal: nested }: { signal: AbortSignal }) => {
          expect(signal).not.toBe(controller.signal)
          expect(nested).toBe(signal)
          signal.addEventListener('abort', () => heard.push(signal.reason))
          return signal.aborted
        },
      },
      (s) => s.watch(controller.signal, { signal: controller.signal }),
    )
    expect(result).toBe(false)
    controller.abort('enough')
    expect(heard).toEqual(['enough'])
  })

  it('an error with a code is an answer, from wherever it comes', async () => {
    const answer = new PartitaError('ERR_TEST', 'busy')
    const refuse = (): never => {
      throw answer
    }
    const { result, messages } = await used({ all: () => [refuse] }, (s) => s.all()[0]())
    expect(result).toBe(answer)
    expect(messages).toEqual([])
  })

  it('what is no class is the user’s mistake, not the provider’s', async () => {
    const { result, living } = await used({ arrow: () => 1, method() {} }, (s) => new s.arrow())
    expect(result).toBeInstanceOf(TypeError)
    expect(living).toEqual(['provider', 'user'])
  })
})

describe('a class of a service', () => {
  class Base {
    readonly #word = 'word'
    say(): string {
      return this.#word
    }
    speak(): string {
      return this.say()
    }
  }

  it.each([
    [
      'whose method the user overrides with one that throws',
      (s: Any) =>
        new (class extends s.Base {
          say() {
            return fail()
          }
        })().speak(),
    ],
    ['of which the user calls what looks at a private field', (s: Any) => new (class extends s.Base {})().say()],
    ['that is constructed as another', (s: Any) => Reflect.construct(s.Base, [], class {})],
    ['that is constructed as another of the provider', (s: Any) => Reflect.construct(s.Base, [], s.Other)],
  ])('%s: that is the user’s mistake, and it hears of it at once', async (_what, use) => {
    const { result, messages, living } = await used({ Base, Other: class {} }, use)
    expect(result).toEqual(new TypeError('a class of the service test/service cannot be extended'))
    expect(messages).toEqual([])
    expect(living).toEqual(['provider', 'user'])
  })

  it('is constructed as it is', async () => {
    const { result, messages } = await used({ Base }, (s) => [
      new s.Base().speak(),
      (Reflect.construct(s.Base, []) as Any).say(),
    ])
    expect(result).toEqual(['word', 'word'])
    expect(messages).toEqual([])
  })

  it('of the user’s may be extended by nobody else either', async () => {
    const { messages, living } = await used({ extend: (given: Any) => new (class extends given {})() }, (s) =>
      s.extend(Base),
    )
    expect(messages).toEqual([expect.stringContaining('a class of the service test/service cannot be extended')])
    expect(living).toEqual(['user'])
  })
})

describe('what pretends to be of the platform', () => {
  const trapped = () =>
    new Proxy(class {}, {
      getOwnPropertyDescriptor() {
        throw new TypeError('a trap')
      },
    })
  const pretended = () => Object.create(AbortSignal.prototype)

  it.each([
    ['a signal that is none', pretended],
    ['a function of which a look throws', trapped],
  ])('is its provider’s: %s', async (_what, make) => {
    const { result, messages, living } = await used({ odd: () => make() }, (s) => s.odd())
    expect(result).toEqual(GONE)
    expect(messages).toEqual([expect.stringMatching(/^The plug-in provider failed in its service test\/service: /)])
    expect(living).toEqual(['user'])
  })

  it.each([
    ['a signal that is none', pretended],
    ['a function of which a look throws', trapped],
  ])('is its giver’s: %s', async (_what, make) => {
    const { messages, living } = await used({ take: () => 1 }, (s) => s.take(make()))
    expect(messages).toEqual([expect.stringMatching(/^The plug-in user failed in what it gave to test\/service: /)])
    expect(living).toEqual(['provider'])
  })

  it('and is what the host asks for is its provider’s, too', async () => {
    const { result, messages } = await byHost({ odd: pretended }, (s) => s.odd())
    expect(result).toEqual(GONE)
    expect(messages).toHaveLength(1)
  })
})

describe('what the host gives', () => {
  it('comes back as it is: arguments, what is in them, and services', async () => {
    const own = { name: 'own', run() {} }
    const disk = { name: 'disk', run() {} }
    const disks = new Map([['disk', disk]])
    const inner = { hello: () => 'hello' }
    let kept: Any
    const service = {
      keep: (value: unknown) => {
        kept = value
        return value
      },
      keptOwn: () => kept.list[0],
      isInner: (value: unknown) => value === inner,
      holdsInner: ({ list }: { list: unknown[] }) => list[0] === inner,
      inner,
      disk: () => disk,
    }
    const { vm, messages } = await machine({
      script: off,
      devices: [provider(service)],
      services: new Map<string, unknown>([['partita/disks', disks]]),
    })
    const s = vm.find(token)
    expect(s.keep(own)).toBe(own)
    expect(kept).toBe(own)
    s.keep({ list: [own] })
    expect(s.keptOwn()).toBe(own)
    expect(s.isInner(s.inner)).toBe(true)
    expect(s.holdsInner({ list: [s.inner] })).toBe(true)
    expect(s.disk()).toBe(disk)
    expect(messages()).toEqual([])
  })
})
