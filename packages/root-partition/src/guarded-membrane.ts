// A service whose contract is not known here, between the plug-in that provides it and one that uses it. Whatever can be called of either is called through the guard of whose it is:
// methods of the service, of the objects that it hands out and of what these hold, promises, and the functions and objects that it is given to call back. Data and objects of the platform
// go through as they are.

import { linkedSignal } from './linked-signal.ts'
import { PASSAGE, passageOf } from './membrane-values.ts'
import { isUnanswered, type PluginGuard } from './plugin-guard.ts'
import { faultOf } from './thrown.ts'

/** One side. */
interface Side {
  /** `undefined`: the host, which is trusted. */
  readonly guard: PluginGuard | undefined
  readonly isProvider: boolean
  readonly service: string
  /** What the other side has of it. */
  readonly guarded: WeakMap<object, object>
  /** What goes to this side as it is: the host's own. */
  isOwn(value: object): boolean
}

/** What stands for what, so that an object that comes home is itself again. */
interface Original {
  readonly side: Side
  readonly target: object
}

const originals = new WeakMap<object, Original>()
/** What the host has given to plug-ins. */
const given = new WeakSet<object>()
const isGuarded = (value: object): boolean => originals.has(value)

/**
 * The service `name` as the plug-in of `user` gets it, or the host (no `user`). An error in what the host gives is nobody's.
 * @param isOfHost whether an object is one of the host's, which comes back to it as it is
 */
export function guardedMembrane(
  name: string,
  service: unknown,
  provider: PluginGuard,
  user: PluginGuard | undefined,
  isOfHost: (value: object) => boolean,
): unknown {
  const side = (guard: PluginGuard | undefined): Side => ({
    guard,
    isProvider: guard === provider,
    service: name,
    guarded: new WeakMap(),
    isOwn: guard === undefined ? (value) => given.has(value) || isOfHost(value) : () => false,
  })
  return pass(service, side(provider), side(user))
}

/** A value of the side `from`, for the side `to`. `isList`: a list that is empty is not data yet. */
function pass(value: unknown, from: Side, to: Side, isList = false): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value
  if (ArrayBuffer.isView(value)) return value
  const original = originals.get(value)
  if (original !== undefined && original.side === to) return original.target
  // Methods come this way each time that they are called.
  return from.guarded.get(value) ?? passNew(value, from, to, isList)
}

function passNew(value: object, from: Side, to: Side, isList: boolean): unknown {
  const { guard } = from
  if (guard === undefined) return passOfHost(value, from, to)
  if (to.isOwn(value)) return value
  let passed: object
  try {
    const passage = isGuarded(value) ? PASSAGE.GUARD : guard.scope.call(passageOf, undefined, value, isGuarded, isList)
    if (passage === PASSAGE.RAW) return value
    // To make what stands for it is to look at it, too.
    passed =
      passage === PASSAGE.PROMISE
        ? passPromise(value as PromiseLike<unknown>, from, guard, to)
        : passage === PASSAGE.SIGNAL
          ? linkedSignal(value as AbortSignal, to.guard)
          : guardedObject(value, from, to)
  } catch (error) {
    return threw(from, guard, error)
  }
  from.guarded.set(value, passed)
  return passed
}

/** What the host gives goes as it is, but for what makes it call others: signals, and lists and records with objects that come home. */
function passOfHost(value: object, from: Side, to: Side): unknown {
  given.add(value)
  if (value instanceof AbortSignal) {
    const signal = linkedSignal(value, to.guard)
    from.guarded.set(value, signal)
    return signal
  }
  return bringsHome(value, to, DEPTH) ? guardedObject(value, from, to) : value
}

/** How deep one looks into what the host gives. */
const DEPTH = 4

/** Whether lists and records of the host hold an object of the side `to`. Whatever else they hold is the host's. */
function bringsHome(value: object, to: Side, depth: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (depth === 0 || (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null))
    return false
  let found = false
  for (const inner of Object.values(value) as unknown[]) {
    if ((typeof inner !== 'object' && typeof inner !== 'function') || inner === null) continue
    if (originals.get(inner)?.side === to) found = true
    else if (!ArrayBuffer.isView(inner)) {
      given.add(inner)
      found = bringsHome(inner, to, depth - 1) || found
    }
  }
  return found
}

async function passPromise(value: PromiseLike<unknown>, from: Side, guard: PluginGuard, to: Side): Promise<unknown> {
  try {
    const settled = await guard.answers(to.guard, value, true)
    if (guard.failed) throw guard.goneError()
    return pass(settled, from, to)
  } catch (error) {
    return threw(from, guard, error)
  }
}

/** @throws an answer as it is; for a fault, what says whose it is */
function threw({ isProvider, service }: Side, guard: PluginGuard, error: unknown): never {
  if (isUnanswered(error)) throw error
  if (isProvider) guard.served(`in its service ${service}`, error)
  else guard.replied(`in what it gave to ${service}`, error)
  throw faultOf(error) === undefined ? guard.goneError(error) : error
}

function guardedObject(target: object, from: Side, to: Side): object {
  const guarded: object = new Proxy(shadowOf(target), new Guarded(target, from, to))
  originals.set(guarded, { side: from, target })
  from.guarded.set(target, guarded)
  return guarded
}

/**
 * What proxies are made of: a list, something to call, something to construct, anything else. These have nothing of their targets, so that what cannot be changed in a target binds no proxy. A
 * function that is no arrow has a `prototype` for good, and so has each target that stands behind it.
 */
function constructible(): void {}
const SHADOWS = { list: [], callable: () => {}, constructible, other: Object.create(null) }

function shadowOf(target: object): object {
  if (Array.isArray(target)) return SHADOWS.list
  if (typeof target !== 'function') return SHADOWS.other
  return Object.hasOwn(target, 'prototype') ? SHADOWS.constructible : SHADOWS.callable
}

/** One object of a side. Whatever is done to it may run code of that side. */
class Guarded implements ProxyHandler<object> {
  readonly #target: object
  readonly #from: Side
  readonly #to: Side

  constructor(target: object, from: Side, to: Side) {
    this.#target = target
    this.#from = from
    this.#to = to
  }

  apply(_: object, self: unknown, args: unknown[]): unknown {
    const from = this.#from
    const to = this.#to
    const guard = this.#living()
    const owner = pass(self, to, from)
    this.#enter(args)
    let value: unknown
    try {
      value =
        guard === undefined
          ? Reflect.apply(this.#target as () => unknown, owner, args)
          : guard.scope.call(Reflect.apply, undefined, this.#target as () => unknown, owner, args)
    } catch (error) {
      if (guard === undefined) throw error
      return threw(from, guard, error)
    }
    return pass(value, from, to)
  }

  get(_: object, key: PropertyKey): unknown {
    const target = this.#target
    const guard = this.#living()
    let value: unknown
    try {
      value =
        guard === undefined ? Reflect.get(target, key) : guard.scope.call(Reflect.get, undefined, target, key, target)
    } catch (error) {
      if (guard === undefined) throw error
      return threw(this.#from, guard, error)
    }
    // What every array has works on any list: on this one, element by element.
    if (typeof value === 'function' && Array.isArray(target) && value === Reflect.get(Array.prototype, key))
      return value
    return pass(value, this.#from, this.#to, true)
  }

  construct(_: object, args: unknown[], newTarget: object): object {
    // An instance of a class that extends it would be of both sides, and what the one has overridden would count as the other's.
    if (originals.get(newTarget)?.target !== this.#target)
      throw new TypeError(`a class of the service ${this.#from.service} cannot be extended`)
    if (!isConstructor(this.#target)) throw new TypeError('what is to be constructed is no class')
    this.#enter(args)
    const value = this.#reach((target) => Reflect.construct(target as new () => object, args))
    return pass(value, this.#from, this.#to) as object
  }

  set(_: object, key: PropertyKey, value: unknown): boolean {
    const entered = pass(value, this.#to, this.#from)
    return this.#reach((target) => Reflect.set(target, key, entered))
  }

  has(_: object, key: PropertyKey): boolean {
    return this.#reach((target) => Reflect.has(target, key))
  }

  deleteProperty(_: object, key: PropertyKey): boolean {
    return this.#reach((target) => Reflect.deleteProperty(target, key))
  }

  ownKeys(): (string | symbol)[] {
    return this.#reach((target) => Reflect.ownKeys(target))
  }

  getPrototypeOf(): object | null {
    return this.#reach((target) => Reflect.getPrototypeOf(target))
  }

  setPrototypeOf(): boolean {
    return false
  }

  preventExtensions(): boolean {
    return false
  }

  defineProperty(_: object, key: PropertyKey, descriptor: PropertyDescriptor): boolean {
    // A proxy cannot say of a property that it is there for ever which its shadow has not.
    if (descriptor.configurable === false) return false
    const entered = { ...descriptor }
    for (const part of ['value', 'get', 'set'] as const)
      if (part in entered) entered[part] = pass(entered[part], this.#to, this.#from) as never
    return this.#reach((target) => Reflect.defineProperty(target, key, entered))
  }

  getOwnPropertyDescriptor(shadow: object, key: PropertyKey): PropertyDescriptor | undefined {
    const descriptor = this.#reach((target) => Reflect.getOwnPropertyDescriptor(target, key))
    if (descriptor === undefined) return undefined
    const configurable = Reflect.getOwnPropertyDescriptor(shadow, key)?.configurable !== false
    return { value: this.get(shadow, key), enumerable: descriptor.enumerable === true, writable: true, configurable }
  }

  /** @throws RootPartitionError when its plug-in is gone */
  #living(): PluginGuard | undefined {
    const { guard } = this.#from
    if (guard?.failed === true) throw guard.goneError()
    return guard
  }

  /** Arguments are in an array of the call's own. */
  #enter(args: unknown[]): void {
    for (let i = 0; i < args.length; i++) args[i] = pass(args[i], this.#to, this.#from)
  }

  #reach<T>(run: (target: object) => T): T {
    const guard = this.#living()
    if (guard === undefined) return run(this.#target)
    try {
      return guard.scope.call<T, object, undefined, undefined>(run, undefined, this.#target, undefined, undefined)
    } catch (error) {
      return threw(this.#from, guard, error)
    }
  }
}

function isConstructor(target: object): boolean {
  try {
    Reflect.construct(Object, [], target as new () => object)
    return true
  } catch {
    return false
  }
}
