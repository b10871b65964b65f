/**
 * Vector files: the forms with their recipes, and for each test what the instruction changed.
 *
 * A file is a gzip stream of: the bytes "PVEC", the format version (u32), the length of the header (u32), the header (JSON), the results.
 * Inputs are not stored: `Cook` makes them again from the seed, and a checksum for each form tells when it made others.
 * A result begins with a byte that says which parts follow, in this order:
 *
 * | bit | part |
 * |---|---|
 * | 0 | exception: vector (u8), error code (varint), for #PF the address (u64) |
 * | 1 | RIP (u64); else the next instruction, or with an exception this one |
 * | 2 | RFLAGS, XOR the input (varint) |
 * | 3 | general registers: bit set (u16), then u64 each |
 * | 4 | XMM registers: bit set (u16), then 16 bytes each |
 * | 5 | x87: control word (u16), status word (u16), abridged tag word (u8), bit set of physical registers (u8), then 10 bytes each |
 * | 6 | MXCSR (u16) |
 * | 7 | memory: number of runs (varint), then for each: bytes unchanged before it (varint), length (varint), bytes |
 */
import type { Form } from './form.ts'
import {
  AT_CR2,
  AT_ERROR,
  AT_FCW,
  AT_FSW,
  AT_FTW,
  AT_GPR,
  AT_MXCSR,
  AT_RFLAGS,
  AT_RIP,
  AT_ST,
  AT_TRAP,
  AT_WINDOW,
  AT_XMM,
  NO_EXCEPTION,
  PAGE_FAULT,
  RECORD_SIZE,
  WINDOW_SIZE,
} from './layout.ts'
import { hashName, Random } from './random.ts'
import { Cook } from './recipe.ts'

export const FORMAT_VERSION = 1
const MAGIC = 0x43455650
/** Runs of changed bytes that are this close become one. */
const GAP = 2

export interface FormVectors extends Form {
  readonly count: number
  readonly seed: number
  /** Checksum of the inputs. */
  readonly inputs: number
  /** Bytes of results. */
  readonly length: number
}

interface Header {
  readonly forms: readonly FormVectors[]
}

/** The requests of a form, one after the other in the same record. */
export class Requests {
  readonly record: Uint8Array = new Uint8Array(RECORD_SIZE)
  readonly view: DataView = new DataView(this.record.buffer)
  readonly #cook: Cook
  readonly #words: Uint32Array = new Uint32Array(this.record.buffer)
  readonly #form: Form
  /** Checksum of the requests so far. */
  sum = 0x811c9dc5

  constructor(form: Form, seed: number) {
    this.#form = form
    this.#cook = new Cook(this.record, new Random(hashName(form.name, seed)))
  }

  next(): void {
    this.#cook.make(this.#form.recipe)
    let h = this.sum
    for (const word of this.#words) h = Math.imul(h ^ word, 0x01000193)
    this.sum = (h ^ (h >>> 15)) >>> 0
  }
}

class Writer {
  bytes: Uint8Array = new Uint8Array(1 << 20)
  view: DataView = new DataView(this.bytes.buffer)
  length = 0

  reserve(n: number): void {
    if (this.length + n <= this.bytes.length) return
    const bigger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + n))
    bigger.set(this.bytes)
    this.bytes = bigger
    this.view = new DataView(bigger.buffer)
  }

  u8(value: number): void {
    this.bytes[this.length++] = value
  }

  u16(value: number): void {
    this.view.setUint16(this.length, value, true)
    this.length += 2
  }

  u64(value: bigint): void {
    this.view.setBigUint64(this.length, value, true)
    this.length += 8
  }

  varint(value: number): void {
    let v = value >>> 0
    for (; v > 127; v >>>= 7) this.u8((v & 127) | 128)
    this.u8(v)
  }

  copy(from: Uint8Array, at: number, n: number): void {
    this.bytes.set(from.subarray(at, at + n), this.length)
    this.length += n
  }
}

/** Offset of physical x87 register `n` in a record. */
function physical(record: DataView, n: number): number {
  return AT_ST + ((n - (record.getUint16(AT_FSW, true) >> 11)) & 7) * 16
}

function same(a: Uint8Array, at: number, b: Uint8Array, bt: number, n: number): boolean {
  for (let i = 0; i < n; i++) if (a[at + i] !== b[bt + i]) return false
  return true
}

export class VectorWriter {
  readonly #out = new Writer()
  readonly #forms: FormVectors[] = []
  #formStart = 0

  /** Ends a form whose results were added. */
  form(form: Form, count: number, seed: number, inputs: number): void {
    this.#forms.push({ ...form, count, seed, inputs, length: this.#out.length - this.#formStart })
    this.#formStart = this.#out.length
  }

  /** Adds a result as its difference from its request. */
  add(request: Uint8Array, result: Uint8Array): void {
    const out = this.#out
    out.reserve(4096)
    const a = new DataView(request.buffer, request.byteOffset, RECORD_SIZE)
    const b = new DataView(result.buffer, result.byteOffset, RECORD_SIZE)
    const start = out.length
    let parts = 0
    out.u8(0)
    const vector = b.getUint32(AT_TRAP, true)
    const rip = a.getBigUint64(AT_RIP, true)
    let expected = rip
    if (vector !== NO_EXCEPTION) {
      parts |= 1
      out.u8(vector)
      out.varint(b.getUint32(AT_ERROR, true))
      if (vector === PAGE_FAULT) out.u64(b.getBigUint64(AT_CR2, true))
    } else expected += BigInt(a.getUint32(AT_TRAP, true))
    if (b.getBigUint64(AT_RIP, true) !== expected) {
      parts |= 2
      out.u64(b.getBigUint64(AT_RIP, true))
    }
    const flags = a.getUint32(AT_RFLAGS, true) ^ b.getUint32(AT_RFLAGS, true)
    if (flags) {
      parts |= 4
      out.varint(flags)
    }
    const registers = (bit: number, at: number, size: number): void => {
      let set = 0
      for (let i = 0; i < 16; i++) if (!same(request, at + i * size, result, at + i * size, size)) set |= 1 << i
      if (!set) return
      parts |= bit
      out.u16(set)
      for (let i = 0; i < 16; i++) if (set & (1 << i)) out.copy(result, at + i * size, size)
    }
    registers(8, AT_GPR, 8)
    registers(16, AT_XMM, 16)
    let set = 0
    for (let i = 0; i < 8; i++) if (!same(request, physical(a, i), result, physical(b, i), 10)) set |= 1 << i
    if (set || !same(request, AT_FCW, result, AT_FCW, 5)) {
      parts |= 32
      out.u16(b.getUint16(AT_FCW, true))
      out.u16(b.getUint16(AT_FSW, true))
      out.u8(b.getUint8(AT_FTW))
      out.u8(set)
      for (let i = 0; i < 8; i++) if (set & (1 << i)) out.copy(result, physical(b, i), 10)
    }
    if (a.getUint32(AT_MXCSR, true) !== b.getUint32(AT_MXCSR, true)) {
      parts |= 64
      out.u16(b.getUint16(AT_MXCSR, true))
    }
    if (this.#memory(request, result)) parts |= 128
    out.bytes[start] = parts
  }

  #memory(request: Uint8Array, result: Uint8Array): boolean {
    const runs: [number, number][] = []
    for (let i = 0; i < WINDOW_SIZE; i++) {
      if (request[AT_WINDOW + i] === result[AT_WINDOW + i]) continue
      const last = runs[runs.length - 1]
      if (last && i - last[1] <= GAP) last[1] = i + 1
      else runs.push([i, i + 1])
    }
    if (!runs.length) return false
    this.#out.varint(runs.length)
    let at = 0
    for (const [from, to] of runs) {
      this.#out.varint(from - at)
      this.#out.varint(to - from)
      this.#out.copy(result, AT_WINDOW + from, to - from)
      at = to
    }
    return true
  }

  /** The file's content before compression. */
  finish(): Uint8Array {
    const header = new TextEncoder().encode(JSON.stringify({ forms: this.#forms } satisfies Header))
    const file = new Uint8Array(12 + header.length + this.#out.length)
    const view = new DataView(file.buffer)
    view.setUint32(0, MAGIC, true)
    view.setUint32(4, FORMAT_VERSION, true)
    view.setUint32(8, header.length, true)
    file.set(header, 12)
    file.set(this.#out.bytes.subarray(0, this.#out.length), 12 + header.length)
    return file
  }
}

/** Called for each test; both records are reused. `expected` is a record of `RECORD_SIZE` bytes. */
export type Visitor = (form: FormVectors, index: number, request: Uint8Array, expected: Uint8Array) => void

export class VectorReader {
  readonly forms: readonly FormVectors[]
  readonly #file: Uint8Array
  readonly #view: DataView
  readonly #start: number
  #at = 0

  /** `file` is the content after decompression. */
  constructor(file: Uint8Array) {
    this.#file = file
    this.#view = new DataView(file.buffer, file.byteOffset, file.byteLength)
    if (file.length < 12 || this.#view.getUint32(0, true) !== MAGIC) throw new Error('not a vector file')
    const version = this.#view.getUint32(4, true)
    if (version !== FORMAT_VERSION)
      throw new Error(`vector file of version ${version}, and this reads ${FORMAT_VERSION}: generate it anew`)
    const length = this.#view.getUint32(8, true)
    this.forms = (JSON.parse(new TextDecoder().decode(file.subarray(12, 12 + length))) as Header).forms
    this.#start = 12 + length
  }

  /** Goes through all tests in order. `wanted` chooses forms. */
  visit(visitor: Visitor, wanted: (form: FormVectors) => boolean = () => true): void {
    this.#at = this.#start
    const expected = new Uint8Array(RECORD_SIZE)
    for (const form of this.forms) {
      if (!wanted(form)) {
        this.#at += form.length
        continue
      }
      const requests = new Requests(form, form.seed)
      for (let i = 0; i < form.count; i++) {
        requests.next()
        this.#decode(requests.record, expected)
        visitor(form, i, requests.record, expected)
      }
      if (requests.sum !== form.inputs)
        throw new Error(`the inputs of "${form.name}" are no longer those that were measured: generate the file anew`)
    }
  }

  #u8(): number {
    return this.#file[this.#at++]!
  }

  #u16(): number {
    this.#at += 2
    return this.#view.getUint16(this.#at - 2, true)
  }

  #u64(): bigint {
    this.#at += 8
    return this.#view.getBigUint64(this.#at - 8, true)
  }

  #varint(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#u8()
      value |= (byte & 127) << shift
      if (byte < 128) return value >>> 0
    }
  }

  #copy(to: Uint8Array, at: number, n: number): void {
    to.set(this.#file.subarray(this.#at, this.#at + n), at)
    this.#at += n
  }

  #decode(request: Uint8Array, expected: Uint8Array): void {
    expected.set(request)
    const a = new DataView(request.buffer, request.byteOffset, RECORD_SIZE)
    const b = new DataView(expected.buffer, expected.byteOffset, RECORD_SIZE)
    const parts = this.#u8()
    let rip = a.getBigUint64(AT_RIP, true)
    b.setUint32(AT_ERROR, 0, true)
    b.setBigUint64(AT_CR2, 0n, true)
    if (parts & 1) {
      const vector = this.#u8()
      b.setUint32(AT_TRAP, vector, true)
      b.setUint32(AT_ERROR, this.#varint(), true)
      if (vector === PAGE_FAULT) b.setBigUint64(AT_CR2, this.#u64(), true)
    } else {
      b.setUint32(AT_TRAP, NO_EXCEPTION, true)
      rip += BigInt(a.getUint32(AT_TRAP, true))
    }
    if (parts & 2) rip = this.#u64()
    b.setBigUint64(AT_RIP, rip, true)
    if (parts & 4) b.setUint32(AT_RFLAGS, a.getUint32(AT_RFLAGS, true) ^ this.#varint(), true)
    if (parts & 8) this.#registers(expected, AT_GPR, 8)
    if (parts & 16) this.#registers(expected, AT_XMM, 16)
    if (parts & 32) {
      b.setUint16(AT_FCW, this.#u16(), true)
      b.setUint16(AT_FSW, this.#u16(), true)
      b.setUint8(AT_FTW, this.#u8())
      const set = this.#u8()
      for (let i = 0; i < 8; i++) {
        if (set & (1 << i)) this.#copy(expected, physical(b, i), 10)
        else expected.set(request.subarray(physical(a, i), physical(a, i) + 10), physical(b, i))
      }
    }
    if (parts & 64) b.setUint16(AT_MXCSR, this.#u16(), true)
    if (parts & 128) {
      let at = AT_WINDOW
      for (let n = this.#varint(); n > 0; n--) {
        at += this.#varint()
        const length = this.#varint()
        this.#copy(expected, at, length)
        at += length
      }
    }
  }

  #registers(expected: Uint8Array, at: number, size: number): void {
    const set = this.#u16()
    for (let i = 0; i < 16; i++) if (set & (1 << i)) this.#copy(expected, at + i * size, size)
  }
}
