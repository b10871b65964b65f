// What a value is that goes from one plug-in to another: data, which goes as it is, or something of which code can be called, which a guard has to stand before.

import { isThenable } from './thrown.ts'

/** How a value goes to the other side. */
export const PASSAGE = {
  /** As it is: data, and objects of the platform (typed arrays, dates, errors, streams). */
  RAW: 0,
  /** Behind a guard: functions, objects with methods or getters, and lists and records in which there are such, at whatever depth. */
  GUARD: 1,
  /** As a promise of what it comes to. */
  PROMISE: 2,
  /** As a signal of the other side. */
  SIGNAL: 3,
} as const
/** One of {@link PASSAGE}. */
export type Passage = (typeof PASSAGE)[keyof typeof PASSAGE]

/** Iterators and generators are of the platform, but what they run is not. */
const ITERATORS: ReadonlySet<object | null> = new Set([
  Object.getPrototypeOf(Object.getPrototypeOf([].values())),
  Object.getPrototypeOf(Object.getPrototypeOf(Object.getPrototypeOf((async function* () {})()))),
])

/**
 * How `value` goes, as it is now. It may be an object that throws when somebody looks at it.
 * @param isKnown for objects that are guarded in any case
 * @param isList whether a list that is empty is guarded: things may be put into it later
 */
export function passageOf(value: object, isKnown: (value: object) => boolean, isList = false): Passage {
  if (typeof value === 'function') return PASSAGE.GUARD
  if (ArrayBuffer.isView(value)) return PASSAGE.RAW
  if (isThenable(value)) return PASSAGE.PROMISE
  if (isSignal(value)) return PASSAGE.SIGNAL
  if (isList && isEmptyList(value)) return PASSAGE.GUARD
  return isActive(value, isKnown) ? PASSAGE.GUARD : PASSAGE.RAW
}

function isSignal(value: object): value is AbortSignal {
  return typeof AbortSignal === 'function' && value instanceof AbortSignal
}

function isEmptyList(value: object): boolean {
  if (Array.isArray(value)) return value.length === 0 && Object.isExtensible(value)
  return (value instanceof Map || value instanceof Set) && value.size === 0
}

/** Whether there is anything to call, in the value or in what it holds. */
function isActive(value: object, isKnown: (value: object) => boolean): boolean {
  // Most data is flat: what has been seen is noted only where something is nested.
  let seen: Set<object> | undefined
  const look = (inner: unknown): boolean => {
    if ((typeof inner !== 'object' && typeof inner !== 'function') || inner === null) return false
    if (ArrayBuffer.isView(inner)) return false
    if (typeof inner === 'function' || isKnown(inner) || isThenable(inner) || isSignal(inner)) return true
    seen ??= new Set([value])
    seen.add(inner)
    return false
  }
  if (holdsActive(value, look)) return true
  // A set goes on to what is added to it while it is gone through.
  if (seen !== undefined) for (const inner of seen) if (inner !== value && holdsActive(inner, look)) return true
  return false
}

/** Look at what one object holds: true as soon as something of it can be called. */
function holdsActive(value: object, look: (inner: unknown) => boolean): boolean {
  const prototype: object | null = Object.getPrototypeOf(value)
  if (Array.isArray(value) && prototype === Array.prototype) {
    for (const inner of value) if (look(inner)) return true
    return false
  }
  if (prototype === Map.prototype) {
    for (const [key, inner] of value as Map<unknown, unknown>) if (look(key) || look(inner)) return true
    return false
  }
  if (prototype === Set.prototype) {
    for (const inner of value as Set<unknown>) if (look(inner)) return true
    return false
  }
  // Errors are data, whatever their classes can do.
  if (value instanceof Error) return false
  if (prototype === null || prototype === Object.prototype) return holdsCallable(value, look)
  let own = false
  for (let holder = prototype; holder !== null && holder !== Object.prototype; holder = Object.getPrototypeOf(holder)) {
    // What listens to a target is called by whoever dispatches.
    if (ITERATORS.has(holder) || holder === EventTarget.prototype) return true
    // A class that is made of one of the platform has methods of its own; an object of the platform may have got some.
    if (isOfPlatform(holder)) return own || Object.values(Object.getOwnPropertyDescriptors(value)).some(isFunction)
    own ||= Reflect.ownKeys(holder).some((key) => key !== 'constructor' && isCallable(holder, key))
  }
  return own || holdsCallable(value, look)
}

function holdsCallable(value: object, look: (inner: unknown) => boolean): boolean {
  for (const key of Reflect.ownKeys(value)) {
    const descriptor = Reflect.getOwnPropertyDescriptor(value, key)
    if (descriptor?.get !== undefined || descriptor?.set !== undefined || look(descriptor?.value)) return true
  }
  return false
}

function isFunction({ value }: PropertyDescriptor): boolean {
  return typeof value === 'function'
}

function isCallable(holder: object, key: PropertyKey): boolean {
  const descriptor = Reflect.getOwnPropertyDescriptor(holder, key)
  return typeof descriptor?.value === 'function' || descriptor?.get !== undefined || descriptor?.set !== undefined
}

function isOfPlatform(prototype: object): boolean {
  const { constructor: made } = prototype
  return (
    typeof made === 'function' &&
    (globalThis as Record<string, unknown>)[made.name] === made &&
    made.prototype === prototype
  )
}
