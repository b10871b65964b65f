/** Compares what a processor did with what was measured, but for what the architecture leaves undefined. */
import type { FormVectors } from './format.ts'
import {
  AT_CODE,
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
  RECORD_SIZE,
  WINDOW_SIZE,
} from './layout.ts'
import { ignored } from './undefined.ts'

/** Twice the error that RCPPS may have: the measured value has its own. */
const RECIPROCAL_TOLERANCE: number = 3 / 4096

const GPR = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]

function view(record: Uint8Array): DataView {
  return new DataView(record.buffer, record.byteOffset, RECORD_SIZE)
}

function bytes(record: Uint8Array, at: number, n: number): string {
  return Array.from(record.subarray(at, at + n), (b) => b.toString(16).padStart(2, '0')).join('')
}

function close(a: number, b: number): boolean {
  return Number.isFinite(a) && Number.isFinite(b) && Math.abs(a - b) <= RECIPROCAL_TOLERANCE * Math.abs(a)
}

/** Whether two 80-bit values differ by at most one unit in the last place. */
function neighbours(a: DataView, b: DataView, at: number): boolean {
  const value = (v: DataView): bigint => {
    const exponent = v.getUint16(at + 8, true)
    // Exponent and fraction in one number without the integer bit: neighbours are neighbours across powers of two too.
    const magnitude = (BigInt(exponent & 0x7fff) << 63n) | (v.getBigUint64(at, true) & ((1n << 63n) - 1n))
    return exponent & 0x8000 ? -magnitude : magnitude
  }
  const d = value(a) - value(b)
  return d >= -1n && d <= 1n
}

/**
 * The differences between a measured result and another one, in words, or null. All records have `RECORD_SIZE` bytes;
 * FOP, FIP and FDP are not compared, for none of them is part of what a program computes and processors differ in when they set them.
 */
export function differences(
  form: FormVectors,
  request: Uint8Array,
  expected: Uint8Array,
  actual: Uint8Array,
): string[] | null {
  const list: string[] = []
  const q = view(request)
  const e = view(expected)
  const a = view(actual)
  const skip = ignored(form.undefined, q, form.recipe)
  const hex = (v: number | bigint): string => v.toString(16)
  const number = (name: string, x: number | bigint, y: number | bigint): void => {
    if (x !== y) list.push(`${name} ${hex(x)}, got ${hex(y)}`)
  }
  const vector = e.getUint32(AT_TRAP, true)
  const got = a.getUint32(AT_TRAP, true)
  if (vector !== got) {
    const text = (v: number): string => (v === NO_EXCEPTION ? 'no exception' : `exception ${v}`)
    list.push(`${text(vector)}, got ${text(got)}`)
  } else if (vector !== NO_EXCEPTION) {
    number('error code', e.getUint32(AT_ERROR, true), a.getUint32(AT_ERROR, true))
    number('CR2', e.getBigUint64(AT_CR2, true), a.getBigUint64(AT_CR2, true))
  }
  number('rip', e.getBigUint64(AT_RIP, true), a.getBigUint64(AT_RIP, true))
  number('rflags', e.getUint32(AT_RFLAGS, true) & ~skip.flags, a.getUint32(AT_RFLAGS, true) & ~skip.flags)
  for (let i = 0; i < 16; i++)
    if (!(skip.gpr & (1 << i)))
      number(GPR[i]!, e.getBigUint64(AT_GPR + i * 8, true), a.getBigUint64(AT_GPR + i * 8, true))
  number('mxcsr', e.getUint32(AT_MXCSR, true), a.getUint32(AT_MXCSR, true))
  number('fcw', e.getUint16(AT_FCW, true), a.getUint16(AT_FCW, true))
  number('fsw', e.getUint16(AT_FSW, true) & ~skip.fsw, a.getUint16(AT_FSW, true) & ~skip.fsw)
  number('ftw', e.getUint8(AT_FTW), a.getUint8(AT_FTW))
  for (let i = 0; i < 8; i++) {
    const at = AT_ST + i * 16
    if (
      e.getBigUint64(at, true) === a.getBigUint64(at, true) &&
      e.getUint16(at + 8, true) === a.getUint16(at + 8, true)
    )
      continue
    if (skip.tolerance === 'x87' && neighbours(e, a, at)) continue
    const text = (v: DataView): string =>
      `${hex(v.getUint16(at + 8, true)).padStart(4, '0')}:${hex(v.getBigUint64(at, true)).padStart(16, '0')}`
    list.push(`st${i} ${text(e)}, got ${text(a)}`)
  }
  for (let i = 0; i < 16; i++) {
    const at = AT_XMM + i * 16
    let equal = true
    for (let k = 0; k < 16; k += 4) {
      if (e.getUint32(at + k, true) === a.getUint32(at + k, true)) continue
      if (skip.tolerance === 'reciprocal' && close(e.getFloat32(at + k, true), a.getFloat32(at + k, true))) continue
      equal = false
    }
    if (!equal) list.push(`xmm${i} ${bytes(expected, at, 16)}, got ${bytes(actual, at, 16)}`)
  }
  let wrong = 0
  for (let i = 0; i < WINDOW_SIZE; i++) {
    if (expected[AT_WINDOW + i] === actual[AT_WINDOW + i]) continue
    if (skip.memory.some(([offset, length]) => i >= offset && i < offset + length)) continue
    if (wrong++ < 4)
      list.push(`memory+${hex(i)} ${bytes(expected, AT_WINDOW + i, 1)}, got ${bytes(actual, AT_WINDOW + i, 1)}`)
  }
  if (wrong > 4) list.push(`and ${wrong - 4} more bytes of memory`)
  return list.length ? list : null
}

/** A request in words: its code and the state that tests depend on most. */
export function describe(request: Uint8Array): string {
  const q = view(request)
  const lines = [`code ${bytes(request, AT_CODE, q.getUint32(AT_TRAP, true))}`]
  lines.push(GPR.map((name, i) => `${name}=${q.getBigUint64(AT_GPR + i * 8, true).toString(16)}`).join(' '))
  lines.push(
    `rflags=${q.getUint32(AT_RFLAGS, true).toString(16)} mxcsr=${q.getUint32(AT_MXCSR, true).toString(16)} fcw=${q.getUint16(AT_FCW, true).toString(16)} fsw=${q.getUint16(AT_FSW, true).toString(16)} ftw=${q.getUint8(AT_FTW).toString(16)}`,
  )
  for (let i = 0; i < 8; i += 1)
    lines.push(
      `st${i}=${q
        .getUint16(AT_ST + i * 16 + 8, true)
        .toString(16)
        .padStart(4, '0')}:${q
        .getBigUint64(AT_ST + i * 16, true)
        .toString(16)
        .padStart(16, '0')}`,
    )
  for (let i = 0; i < 16; i++) lines.push(`xmm${i}=${bytes(request, AT_XMM + i * 16, 16)}`)
  return lines.join('\n')
}
