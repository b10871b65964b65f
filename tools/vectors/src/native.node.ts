/** Compiles the native harness and runs requests through it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Form } from './form.ts'
import { Requests, VectorWriter } from './format.ts'
import { AT_CR2, AT_ERROR, AT_RFLAGS, AT_RIP, AT_TRAP, BP, NO_EXCEPTION, PAGE_FAULT, RECORD_SIZE } from './layout.ts'

const SOURCE: string = join(import.meta.dirname, '..', 'native', 'harness.c')
/** Requests in one go: 13 MB. */
const BATCH = 8192
/** RF is set in the image that a fault pushes, and clear otherwise: a matter of delivery, not of the instruction. */
const RF = 0x10000

export class NativeProcessor implements Disposable {
  readonly #directory: string
  readonly #program: string

  /** Compiles; throws where there is no gcc or the machine is no x86-64 Linux. */
  constructor() {
    if (process.arch !== 'x64' || process.platform !== 'linux')
      throw new Error('vectors are measured on an x86-64 Linux machine')
    this.#directory = mkdtempSync(join(tmpdir(), 'vectors-'))
    this.#program = join(this.#directory, 'harness')
    const flags = ['-O2', '-Wall', '-fno-stack-protector', '-fcf-protection=none', '-fno-builtin']
    const gcc = spawnSync('gcc', [...flags, '-o', this.#program, SOURCE], { encoding: 'utf8' })
    if (gcc.status !== 0) {
      this[Symbol.dispose]()
      throw new Error(`gcc: ${gcc.error?.message ?? gcc.stderr}`)
    }
  }

  /** Results of requests, as many records as came in. */
  run(requests: Uint8Array): Uint8Array {
    const count = requests.length / RECORD_SIZE
    const input = Buffer.alloc(4 + requests.length)
    input.writeUInt32LE(count, 0)
    input.set(requests, 4)
    const done = spawnSync(this.#program, { input, maxBuffer: requests.length + 4096 })
    if (done.status !== 0 || done.stdout.length !== requests.length)
      throw new Error(`harness: ${done.error?.message ?? done.signal ?? `status ${done.status}`} ${done.stderr}`)
    const results = new Uint8Array(done.stdout)
    for (let i = 0; i < count; i++) normalise(requests, results, i * RECORD_SIZE)
    return results
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Tells the INT3 behind an instruction from one that is the instruction, and clears what means nothing. */
function normalise(requests: Uint8Array, results: Uint8Array, at: number): void {
  const a = new DataView(requests.buffer, requests.byteOffset + at, RECORD_SIZE)
  const b = new DataView(results.buffer, results.byteOffset + at, RECORD_SIZE)
  const vector = b.getUint32(AT_TRAP, true)
  const rip = b.getBigUint64(AT_RIP, true) - 1n
  const start = a.getBigUint64(AT_RIP, true)
  if (vector === BP && (rip < start || rip >= start + BigInt(a.getUint32(AT_TRAP, true)))) {
    b.setUint32(AT_TRAP, NO_EXCEPTION, true)
    b.setBigUint64(AT_RIP, rip, true)
    b.setUint32(AT_ERROR, 0, true)
  }
  if (vector !== PAGE_FAULT) b.setBigUint64(AT_CR2, 0n, true)
  b.setUint32(AT_RFLAGS, b.getUint32(AT_RFLAGS, true) & ~RF, true)
}

/** Measures `count` tests of each form. `done` is told after each batch. */
export function measure(
  processor: NativeProcessor,
  forms: readonly Form[],
  count: number,
  seed: number,
  done: (forms: number) => void = () => {},
): Uint8Array {
  const writer = new VectorWriter()
  const step = Math.max(1, Math.floor(BATCH / count))
  for (let first = 0; first < forms.length; first += step) {
    const batch = forms.slice(first, first + step)
    const requests = new Uint8Array(batch.length * count * RECORD_SIZE)
    const sums = batch.map((form, k) => {
      const source = new Requests(form, seed)
      for (let i = 0; i < count; i++) {
        source.next()
        requests.set(source.record, (k * count + i) * RECORD_SIZE)
      }
      return source.sum
    })
    let results: Uint8Array
    try {
      results = processor.run(requests)
    } catch (cause) {
      throw new Error(`between "${batch[0]!.name}" and "${batch[batch.length - 1]!.name}"`, { cause })
    }
    for (const [k, form] of batch.entries()) {
      for (let i = 0; i < count; i++) {
        const at = (k * count + i) * RECORD_SIZE
        writer.add(requests.subarray(at, at + RECORD_SIZE), results.subarray(at, at + RECORD_SIZE))
      }
      writer.form(form, count, seed, sums[k]!)
    }
    done(Math.min(first + step, forms.length))
  }
  return writer.finish()
}
