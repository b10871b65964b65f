// Port and MMIO buses for tests, with the rules of the contracts: conflicts are refused, wide accesses are split at the end of a claim, nothing
// there reads as all ones, and a device that answers with a value outside the access's width is caught at once.

import {
  type AccessSize,
  type Mmio,
  type MmioHandler,
  PartitaError,
  type PortHandler,
  type PortIo,
} from '@partita/interface'

/** One claim on a bus. */
export interface Claim {
  /** First port, or guest physical address. */
  readonly base: number
  /** How many ports, or bytes. */
  readonly length: number
}

interface Range extends Claim {
  readonly handler: PortHandler | MmioHandler
}

const ALL_ONES: Readonly<Record<AccessSize, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff }

/** The largest power-of-two access that fits in `room` bytes. */
function largestFit(room: number): AccessSize {
  if (room >= 4) return 4
  return room >= 2 ? 2 : 1
}

class Bus {
  readonly #name: string
  readonly #conflict: string
  readonly #ranges: Range[] = []

  constructor(name: string, conflict: string) {
    this.#name = name
    this.#conflict = conflict
  }

  /** What is claimed at present, in order of address. */
  get claims(): readonly Claim[] {
    return this.#ranges.map(({ base, length }) => ({ base, length })).sort((a, b) => a.base - b.base)
  }

  /** Claim a range, as a device does; a conflict throws. */
  claim(base: number, length: number, handler: PortHandler | MmioHandler): Disposable {
    if (!(Number.isSafeInteger(base) && base >= 0 && Number.isSafeInteger(length) && length > 0)) {
      throw new RangeError(`a claim of ${length} at ${base} on the ${this.#name}`)
    }
    for (const range of this.#ranges) {
      if (base < range.base + range.length && range.base < base + length) {
        throw new PartitaError(this.#conflict, `0x${base.toString(16)} is taken`, { data: { base, length } })
      }
    }
    const range: Range = { base, length, handler }
    this.#ranges.push(range)
    return {
      [Symbol.dispose]: () => {
        const index = this.#ranges.indexOf(range)
        if (index >= 0) this.#ranges.splice(index, 1)
      },
    }
  }

  #find(address: number): Range | undefined {
    return this.#ranges.find((range) => address >= range.base && address < range.base + range.length)
  }

  read(address: number, size: AccessSize = 1): number {
    const range = this.#find(address)
    if (range !== undefined && address + size <= range.base + range.length) {
      const value = range.handler.read(address - range.base, size)
      if (!(Number.isInteger(value) && value >= 0 && value <= ALL_ONES[size])) {
        throw new RangeError(`${this.#name} 0x${address.toString(16)} read ${value} with size ${size}`)
      }
      return value
    }
    if (size === 1) return 0xff
    // Split where a claim ends or begins inside the access.
    let value = 0
    for (let done = 0; done < size; ) {
      const inside = this.#find(address + done)
      const room = inside === undefined ? 1 : Math.min(size - done, inside.base + inside.length - address - done)
      const part = inside === undefined ? 1 : largestFit(room)
      const bytes = inside === undefined ? 0xff : this.read(address + done, part)
      value += bytes * 2 ** (8 * done)
      done += part
    }
    return value
  }

  write(address: number, value: number, size: AccessSize = 1): void {
    const range = this.#find(address)
    const clipped = size === 4 ? value >>> 0 : value & ALL_ONES[size]
    if (range !== undefined && address + size <= range.base + range.length) {
      range.handler.write(address - range.base, size, clipped)
      return
    }
    if (size === 1) return
    for (let done = 0; done < size; ) {
      const inside = this.#find(address + done)
      const part =
        inside === undefined ? 1 : largestFit(Math.min(size - done, inside.base + inside.length - address - done))
      if (inside !== undefined) this.write(address + done, clipped >>> (8 * done), part)
      done += part
    }
  }
}

/**
 * An I/O port space. `read` and `write` are what a processor's IN and OUT do.
 *
 * @example
 * ```ts
 * const ports = new FakePortIo()
 * ports.claim(0x3f8, 8, uart)
 * ports.write(0x3ff, 0x5a)
 * ports.read(0x3ff) // 0x5a, the scratch register
 * ```
 */
export class FakePortIo extends Bus implements PortIo {
  constructor() {
    super('port', 'ERR_PORT_CONFLICT')
  }

  override claim(base: number, length: number, handler: PortHandler): Disposable {
    if (base + length > 0x1_0000) throw new RangeError(`ports end at 0xffff, not 0x${(base + length - 1).toString(16)}`)
    return super.claim(base, length, handler)
  }
}

/** A space of memory-mapped registers. */
export class FakeMmio extends Bus implements Mmio {
  constructor() {
    super('mmio', 'ERR_MMIO_CONFLICT')
  }

  override claim(gpa: number, length: number, handler: MmioHandler): Disposable {
    if (gpa % 4096 !== 0 || length % 4096 !== 0) throw new RangeError('MMIO is claimed in whole pages')
    return super.claim(gpa, length, handler)
  }
}
