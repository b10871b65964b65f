// LZMA2 (the .xz file format 1.2.0, section 5.3.1; the coder inside as in the LZMA specification, 2015-06-14). It decodes into one array that is
// the dictionary too: a kernel's size is known beforehand, so that nothing is copied twice.

import { CompressionError } from './compression-error.ts'

const STATES = 12
const POSITION_STATES = 16
const MATCH_MIN = 2
/** Distances from here on have direct bits and the four align bits. */
const FIRST_DIRECT_SLOT = 14
const PROBABILITY_HALF = 1024
const LITERAL_SIZE = 0x300

// Places of the probabilities in one array. A length coder has choice, choice 2, 16 × 8 low, 16 × 8 middle and 256 high ones.
const IS_MATCH = 0
const IS_REP = IS_MATCH + STATES * POSITION_STATES
const IS_REP0 = IS_REP + STATES
const IS_REP1 = IS_REP0 + STATES
const IS_REP2 = IS_REP1 + STATES
const IS_REP0_LONG = IS_REP2 + STATES
const DISTANCE_SLOT = IS_REP0_LONG + STATES * POSITION_STATES
const DISTANCE_SPECIAL = DISTANCE_SLOT + 4 * 64
const DISTANCE_ALIGN = DISTANCE_SPECIAL + 128
const LENGTH_LOW = 2
const LENGTH_MIDDLE = LENGTH_LOW + POSITION_STATES * 8
const LENGTH_HIGH = LENGTH_MIDDLE + POSITION_STATES * 8
const MATCH_LENGTH = DISTANCE_ALIGN + 16
const REP_LENGTH = MATCH_LENGTH + LENGTH_HIGH + 256
const LITERAL = REP_LENGTH + LENGTH_HIGH + 256

/** Decodes one LZMA2 stream from `input` to `output`. */
export class Lzma2Decoder {
  /** Where the next byte is read. After {@link Lzma2Decoder.decode}: behind the stream. */
  position: number
  /** Where the next byte is written. */
  produced: number
  readonly #input: Uint8Array
  readonly #output: Uint8Array
  /** The dictionary begins here. */
  #dictionary: number
  readonly #probabilities: Uint16Array = new Uint16Array(LITERAL + (LITERAL_SIZE << 4))
  /** Range and code. An array, so that unsigned numbers of 32 bits are not boxed. */
  readonly #range: Uint32Array = new Uint32Array(2)
  #chunkEnd = 0
  #state = 0
  #rep0 = 0
  #rep1 = 0
  #rep2 = 0
  #rep3 = 0
  #literalContextBits = 0
  #literalPositionMask = 0
  #positionMask = 0

  constructor(input: Uint8Array, position: number, output: Uint8Array, produced: number) {
    this.#input = input
    this.position = position
    this.#output = output
    this.produced = produced
    this.#dictionary = produced
  }

  /** Decode to the end mark. @throws CompressionError */
  decode(): void {
    let needsDictionary = true
    let needsProperties = true
    let needsState = true
    for (;;) {
      const control = this.#byte()
      if (control === 0) return
      if (control === 1 || control >= 0xe0) {
        needsDictionary = false
        this.#dictionary = this.produced
        if (control === 1) needsProperties = true
      }
      if (needsDictionary || (control > 2 && control < 0x80)) throw new CompressionError('not an LZMA2 chunk')
      if (control < 0x80) {
        this.#copy(this.#word() + 1)
        continue
      }
      const size = ((control & 0x1f) << 16) + this.#word() + 1
      const compressed = this.#word() + 1
      const reset = (control >> 5) & 3
      if (reset >= 2) {
        this.#setProperties(this.#byte())
        needsProperties = false
      }
      if (reset >= 1) {
        this.#resetState()
        needsState = false
      }
      if (needsProperties || needsState) throw new CompressionError('a chunk without the properties that it needs')
      this.#chunk(size, compressed)
    }
  }

  #byte(): number {
    const value = this.#input[this.position++]
    if (value === undefined) throw new CompressionError('the stream is cut short')
    return value
  }

  /** Sizes are big-endian. */
  #word(): number {
    return (this.#byte() << 8) | this.#byte()
  }

  #copy(size: number): void {
    if (size > this.#input.length - this.position || size > this.#output.length - this.produced) {
      throw new CompressionError('a chunk runs over the end')
    }
    this.#output.set(this.#input.subarray(this.position, this.position + size), this.produced)
    this.position += size
    this.produced += size
  }

  #setProperties(value: number): void {
    const literalContextBits = value % 9
    const literalPositionBits = Math.floor(value / 9) % 5
    const positionBits = Math.floor(value / 45)
    if (positionBits > 4 || literalContextBits + literalPositionBits > 4)
      throw new CompressionError('impossible properties')
    this.#literalContextBits = literalContextBits
    this.#literalPositionMask = (1 << literalPositionBits) - 1
    this.#positionMask = (1 << positionBits) - 1
  }

  #resetState(): void {
    this.#probabilities.fill(PROBABILITY_HALF)
    this.#state = 0
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0
  }

  #chunk(size: number, compressed: number): void {
    const end = this.produced + size
    this.#chunkEnd = this.position + compressed
    if (compressed < 5 || this.#chunkEnd > this.#input.length || end > this.#output.length) {
      throw new CompressionError('a chunk runs over the end')
    }
    if (this.#byte() !== 0) throw new CompressionError('a chunk does not begin with 0')
    this.#range[0] = 0xffff_ffff
    this.#range[1] = (this.#word() << 16) | this.#word()
    while (this.produced < end) this.#packet(end)
    if (this.position !== this.#chunkEnd || this.#range[1] !== 0)
      throw new CompressionError('a chunk has another length')
  }

  /** A literal or a match. */
  #packet(end: number): void {
    const positionState = (this.produced - this.#dictionary) & this.#positionMask
    const state = this.#state
    if (this.#bit(IS_MATCH + state * POSITION_STATES + positionState) === 0) {
      this.#literal()
      return
    }
    let length: number
    if (this.#bit(IS_REP + state) === 0) {
      this.#rep3 = this.#rep2
      this.#rep2 = this.#rep1
      this.#rep1 = this.#rep0
      this.#state = state < 7 ? 7 : 10
      length = this.#length(MATCH_LENGTH, positionState)
      this.#rep0 = this.#distance(length)
    } else if (this.#bit(IS_REP0 + state) === 0) {
      if (this.#bit(IS_REP0_LONG + state * POSITION_STATES + positionState) === 0) {
        this.#state = state < 7 ? 9 : 11
        length = 1
      } else {
        this.#state = state < 7 ? 8 : 11
        length = this.#length(REP_LENGTH, positionState)
      }
    } else {
      this.#repeatOlder(state)
      this.#state = state < 7 ? 8 : 11
      length = this.#length(REP_LENGTH, positionState)
    }
    this.#match(length, end)
  }

  /** One of the three older distances becomes the newest. */
  #repeatOlder(state: number): void {
    let distance = this.#rep1
    if (this.#bit(IS_REP1 + state) !== 0) {
      distance = this.#rep2
      if (this.#bit(IS_REP2 + state) !== 0) {
        distance = this.#rep3
        this.#rep3 = this.#rep2
      }
      this.#rep2 = this.#rep1
    }
    this.#rep1 = this.#rep0
    this.#rep0 = distance
  }

  #match(length: number, end: number): void {
    const output = this.#output
    let to = this.produced
    const distance = this.#rep0 + 1
    if (distance > to - this.#dictionary) throw new CompressionError('a match reaches before the dictionary')
    if (length > end - to) throw new CompressionError('a match runs over its chunk')
    if (length > 64 && distance >= length) output.copyWithin(to, to - distance, to - distance + length)
    else for (const stop = to + length; to < stop; to++) output[to] = output[to - distance] as number
    this.produced += length
  }

  #literal(): void {
    const output = this.#output
    const at = this.produced
    const previous = at > this.#dictionary ? (output[at - 1] as number) : 0
    const row = ((at - this.#dictionary) & this.#literalPositionMask) << this.#literalContextBits
    const base = LITERAL + LITERAL_SIZE * (row + (previous >> (8 - this.#literalContextBits)))
    const state = this.#state
    let symbol = 1
    if (state >= 7) {
      // After a match the byte at its distance tells which probabilities to use, as long as the bits are the same.
      const from = at - this.#rep0 - 1
      if (from < this.#dictionary) throw new CompressionError('a match reaches before the dictionary')
      let matched = (output[from] as number) << 1
      let offset = 0x100
      while (symbol < 0x100) {
        const matchBit = matched & offset
        matched <<= 1
        const bit = this.#bit(base + offset + matchBit + symbol)
        symbol = (symbol << 1) | bit
        offset &= bit === 0 ? ~matchBit : matchBit
      }
    } else symbol = this.#tree(base, 8) | 0x100
    output[at] = symbol
    this.produced = at + 1
    this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6
  }

  #length(base: number, positionState: number): number {
    if (this.#bit(base) === 0) return MATCH_MIN + this.#tree(base + LENGTH_LOW + positionState * 8, 3)
    if (this.#bit(base + 1) === 0) return MATCH_MIN + 8 + this.#tree(base + LENGTH_MIDDLE + positionState * 8, 3)
    return MATCH_MIN + 16 + this.#tree(base + LENGTH_HIGH, 8)
  }

  #distance(length: number): number {
    const slot = this.#tree(DISTANCE_SLOT + Math.min(length - MATCH_MIN, 3) * 64, 6)
    if (slot < 4) return slot
    const bits = (slot >> 1) - 1
    const high = (2 | (slot & 1)) << bits
    if (slot < FIRST_DIRECT_SLOT) return high + this.#reverseTree(DISTANCE_SPECIAL + high - slot - 1, bits)
    const distance = (high >>> 0) + this.#direct(bits - 4) * 16 + this.#reverseTree(DISTANCE_ALIGN - 1, 4)
    if (distance > 0x7fff_ffff) throw new CompressionError('an end mark inside LZMA2')
    return distance
  }

  /** One bit with the probability at `index`. */
  #bit(index: number): 0 | 1 {
    const range = this.#range
    const probability = this.#probabilities[index] as number
    let width = range[0] as number
    let code = range[1] as number
    const bound = Math.imul(width >>> 11, probability) >>> 0
    let bit: 0 | 1
    if (code < bound) {
      width = bound
      this.#probabilities[index] = probability + ((2048 - probability) >> 5)
      bit = 0
    } else {
      width = (width - bound) >>> 0
      code = (code - bound) >>> 0
      this.#probabilities[index] = probability - (probability >> 5)
      bit = 1
    }
    if (width < 0x100_0000) {
      width = (width << 8) >>> 0
      code = ((code << 8) | this.#next()) >>> 0
    }
    range[0] = width
    range[1] = code
    return bit
  }

  /** `count` bits, the highest first, through a tree of probabilities whose root is at `base + 1`. */
  #tree(base: number, count: number): number {
    const probabilities = this.#probabilities
    let width = this.#range[0] as number
    let code = this.#range[1] as number
    const limit = 1 << count
    let symbol = 1
    while (symbol < limit) {
      const probability = probabilities[base + symbol] as number
      const bound = Math.imul(width >>> 11, probability) >>> 0
      if (code < bound) {
        width = bound
        probabilities[base + symbol] = probability + ((2048 - probability) >> 5)
        symbol <<= 1
      } else {
        width = (width - bound) >>> 0
        code = (code - bound) >>> 0
        probabilities[base + symbol] = probability - (probability >> 5)
        symbol = (symbol << 1) | 1
      }
      if (width < 0x100_0000) {
        width = (width << 8) >>> 0
        code = ((code << 8) | this.#next()) >>> 0
      }
    }
    this.#range[0] = width
    this.#range[1] = code
    return symbol - limit
  }

  /** `count` bits, the lowest first. */
  #reverseTree(base: number, count: number): number {
    let symbol = 1
    let value = 0
    for (let index = 0; index < count; index++) {
      const bit = this.#bit(base + symbol)
      symbol = (symbol << 1) | bit
      value |= bit << index
    }
    return value
  }

  /** `count` bits of probability one half. */
  #direct(count: number): number {
    let width = this.#range[0] as number
    let code = this.#range[1] as number
    let value = 0
    for (let index = 0; index < count; index++) {
      width >>>= 1
      if (code >= width) {
        code = (code - width) >>> 0
        value = value * 2 + 1
      } else value *= 2
      if (width < 0x100_0000) {
        width = (width << 8) >>> 0
        code = ((code << 8) | this.#next()) >>> 0
      }
    }
    this.#range[0] = width
    this.#range[1] = code
    return value
  }

  /** The next byte of the chunk. What a damaged chunk reads too much is 0, and its length is wrong in the end. */
  #next(): number {
    const at = this.position++
    return at < this.#chunkEnd ? (this.#input[at] as number) : 0
  }
}
