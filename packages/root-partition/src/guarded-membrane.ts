// A service whose contract is not known here, between the plug-in that provides it and one that uses it. Whatever can be called of either is called through the guard of whose it is:
// methods of the service and of the objects that it hands out, promises that it returns, and the functions and objects that it is given to call back. Plain data, arrays, and objects of the
// platform (typed arrays, maps, signals) go through as they are.

import { faultOf, isThenable, type PluginGuard } from './plugin-guard.ts'

/** One side: its guard, and what the other side has of it. */
interface Side {
  readonly guard: PluginGuard
  readonly isProvider: boolean
  readonly service: string
  readonly guarded: WeakMap<object, object>
}

/** What stands for what, so that an object that comes home is itself again. */
interface Original {
  readonly side: Side
  readonly target: object
}

const originals = new WeakMap<object, Original>()

/**
 * The service `name` as the plug-in of `user` gets it. The host (no `user`) gets functions that are guarded, and what they return as it is.
 */
export function guardedMembrane(
  name: string,
  service: unknown,
  provider: PluginGuard,
  user: PluginGuard | undefined,
): unknown {
  const ours: Side = { guard: provider, isProvider: true, service: name, guarded: new WeakMap() }
  const theirs: Side | undefined = user && { guard: user, isProvider: false, service: name, guarded: new WeakMap() }
  return pass(service, ours, theirs)
}

/** A value of the side `from`, for the side `to`. */
function pass(value: unknown, from: Side, to: Side | undefined): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value
  const original = originals.get(value)
  if (original !== undefined && original.side === to) return original.target
  // Methods come this way each time that they are called.
  const known = from.guarded.get(value)
  if (known !== undefined) return known
  if (isThenable(value)) return passPromise(value, from, to)
  if (!isActive(value)) return value
  const shadow = typeof value === 'function' ? () => {} : Object.create(null)
  const guarded: object = new Proxy(shadow, handlerOf(value, from, to))
  from.guarded.set(value, guarded)
  originals.set(guarded, { side: from, target: value })
  return guarded
}

/** A value that is given to the side `home`. What the host gives is not guarded: an error there is nobody's. */
function enter(value: unknown, from: Side | undefined, home: Side): unknown {
  if (from !== undefined) return pass(value, from, home)
  const original = originals.get(value as object)
  return original?.side === home ? original.target : value
}

async function passPromise(value: PromiseLike<unknown>, from: Side, to: Side | undefined): Promise<unknown> {
  const { guard } = from
  to?.guard.waitsFor(guard)
  try {
    const settled = await guard.orGone(value)
    if (guard.failed) throw guard.goneError()
    return result(settled, from, to)
  } catch (error) {
    return threw(from, error)
  } finally {
    to?.guard.hasAnswer(guard)
  }
}

/** What a function of `from` returned, for `to`. */
function result(value: unknown, from: Side, to: Side | undefined): unknown {
  return to === undefined && !isThenable(value) ? value : pass(value, from, to)
}

/** @throws an answer as it is; for a fault, what says whose it is */
function threw(side: Side, error: unknown): never {
  const { guard } = side
  const where = side.isProvider ? `in its service ${side.service}` : `in what it gave to ${side.service}`
  if (side.isProvider) guard.served(where, error)
  else guard.threw(where, error)
  throw faultOf(error) === undefined ? guard.goneError(error) : error
}

function handlerOf(target: object, from: Side, to: Side | undefined): ProxyHandler<object> {
  const { guard } = from
  /** Do something to the target that may run code of its side. */
  const reach = <T>(run: () => T): T => {
    if (guard.failed) throw guard.goneError()
    try {
      return guard.scope.call(run, undefined, undefined, undefined, undefined)
    } catch (error) {
      return threw(from, error)
    }
  }
  return {
    apply(_, self, args) {
      if (guard.failed) throw guard.goneError()
      const given = args.map((argument) => enter(argument, to, from))
      let value: unknown
      try {
        value = guard.scope.call(Reflect.apply, undefined, target as never, enter(self, to, from), given)
      } catch (error) {
        return threw(from, error)
      }
      return result(value, from, to)
    },
    get(_, key) {
      if (guard.failed) throw guard.goneError()
      let value: unknown
      try {
        value = Reflect.get(target, key, target)
      } catch (error) {
        return threw(from, error)
      }
      return pass(value, from, to)
    },
    set: (_, key, value) => reach(() => Reflect.set(target, key, enter(value, to, from))),
    has: (_, key) => Reflect.has(target, key),
    deleteProperty: (_, key) => Reflect.deleteProperty(target, key),
    defineProperty: (_, key, descriptor) => Reflect.defineProperty(target, key, descriptor),
    ownKeys: () => Reflect.ownKeys(target).filter((key) => key !== 'prototype'),
    getPrototypeOf: () => Reflect.getPrototypeOf(target),
    getOwnPropertyDescriptor(_, key) {
      const descriptor = Reflect.getOwnPropertyDescriptor(target, key)
      if (descriptor === undefined) return undefined
      const value = reach(() => pass(Reflect.get(target, key, target), from, to))
      return { value, enumerable: descriptor.enumerable === true, writable: true, configurable: true }
    },
  }
}

/** Whether there is anything to call: a function, or an object with one. Objects of the platform are what they are. */
function isActive(value: object): boolean {
  if (typeof value === 'function') return true
  if (Array.isArray(value)) return false
  let active = false
  for (
    let holder: object | null = value;
    holder !== null && holder !== Object.prototype;
    holder = Object.getPrototypeOf(holder)
  ) {
    if (holder !== value && isOfPlatform(holder)) return false
    active ||= Reflect.ownKeys(holder).some((key) => key !== 'constructor' && isCallable(holder, key))
  }
  return active
}

function isCallable(holder: object, key: PropertyKey): boolean {
  const descriptor = Reflect.getOwnPropertyDescriptor(holder, key)
  return typeof descriptor?.value === 'function' || descriptor?.get !== undefined
}

function isOfPlatform(prototype: object): boolean {
  const { constructor: made } = prototype
  return (
    typeof made === 'function' &&
    (globalThis as Record<string, unknown>)[made.name] === made &&
    made.prototype === prototype
  )
}
