// Shared memory whose reads are seen. Rings take windows on the guest's memory once, and then read words of them by index: nothing that a class of memory could be told of. So here the windows
// themselves are observed, without a word in the code that is tested: typed arrays and DataViews that are made on one buffer while it is observed are proxies, and Atomics know them.

/** Told of each access to observed memory by offset and length in bytes. */
export interface AccessObserver {
  /** Somebody is about to read or store these bytes: what else has the memory may change it now. */
  before(offset: number, length: number): void
  /** These bytes were read, and not changed since {@link AccessObserver.before}. */
  read?(offset: number, length: number): void
}

type Window = Int32Array | Uint8Array
type Constructor = new (...args: never[]) => object

/** Names of what makes a window. */
const CONSTRUCTORS = ['Uint8Array', 'Int32Array', 'Uint32Array', 'Float64Array', 'DataView'] as const
const ATOMICS = ['load', 'store', 'or', 'and', 'xor', 'add', 'sub', 'exchange', 'compareExchange', 'notify'] as const

/**
 * Observe windows on `buffer` that are made from now on, until it is disposed of. What was made before is not observed: that is for the side that changes memory.
 * A method that reads in a way that is not known here throws, so that no read goes unseen.
 */
export function observe(buffer: ArrayBufferLike, observer: AccessObserver): Disposable {
  const targets = new WeakMap<object, Window>()
  const globals = globalThis as unknown as Record<string, unknown>
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>
  const undo: (() => void)[] = []

  for (const name of CONSTRUCTORS) {
    const original = globals[name] as Constructor
    globals[name] = new Proxy(original, {
      construct(target, args: unknown[], newTarget): object {
        const made = Reflect.construct(target, args, newTarget === globals[name] ? target : newTarget) as object
        if (args[0] !== buffer) return made
        const proxy = made instanceof DataView ? observedView(made, observer) : observedArray(made as Window, observer)
        if (!(made instanceof DataView)) targets.set(proxy, made as Window)
        return proxy
      },
    })
    undo.push(() => {
      globals[name] = original
    })
  }
  for (const name of ATOMICS) {
    const original = atomics[name]
    if (original === undefined) continue
    atomics[name] = (array, ...args) => {
      const target = targets.get(array as object)
      if (target === undefined) return original(array, ...args)
      const size = target.BYTES_PER_ELEMENT
      const offset = target.byteOffset + (args[0] as number) * size
      observer.before(offset, size)
      const result = original(target, ...args)
      if (name === 'load') observer.read?.(offset, size)
      return result
    }
    undo.push(() => {
      atomics[name] = original
    })
  }
  return {
    [Symbol.dispose]() {
      for (const restore of undo.splice(0)) restore()
    },
  }
}

/** What code may ask an observed array besides its elements. */
const PROPERTIES: ReadonlySet<PropertyKey> = new Set(['length', 'byteLength', 'byteOffset', 'buffer', 'constructor'])

function observedArray(array: Window, observer: AccessObserver): object {
  const size = array.BYTES_PER_ELEMENT
  return new Proxy(array, {
    get(target, key) {
      const index = indexOf(key)
      if (index >= 0) {
        const offset = target.byteOffset + index * size
        if (index >= target.length) return undefined
        observer.before(offset, size)
        const value = target[index]
        observer.read?.(offset, size)
        return value
      }
      if (PROPERTIES.has(key)) return Reflect.get(target, key, target) as unknown
      if (key === 'set')
        return (source: ArrayLike<number>, at = 0) => {
          observer.before(target.byteOffset + at * size, source.length * size)
          target.set(source, at)
        }
      throw new Error(`reads by ${String(key)} are not observed`)
    },
    set(target, key, value: number) {
      const index = indexOf(key)
      if (index >= 0 && index < target.length) {
        observer.before(target.byteOffset + index * size, size)
        target[index] = value
      }
      return index >= 0
    },
  })
}

function observedView(view: DataView, observer: AccessObserver): object {
  return new Proxy(view, {
    get(target, key) {
      const [, method, bits] = /^(get|set)\w+?(\d+)$/.exec(String(key)) ?? []
      if (method === undefined) return Reflect.get(target, key, target) as unknown
      return (at: number, ...args: unknown[]) => {
        const offset = target.byteOffset + at
        const length = Number(bits) / 8
        observer.before(offset, length)
        const value = (target[key as 'getUint8'] as (at: number, ...args: unknown[]) => number).call(
          target,
          at,
          ...args,
        )
        if (method === 'get') observer.read?.(offset, length)
        return value
      }
    },
  })
}

/** The index that a property's name is, or -1. */
function indexOf(key: PropertyKey): number {
  if (typeof key !== 'string') return -1
  const first = key.charCodeAt(0)
  return first >= 48 && first <= 57 ? Number(key) : -1
}
