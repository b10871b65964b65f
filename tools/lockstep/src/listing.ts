// A program for people: units with their code, the form that each instruction was decoded to, and what it begins with.

import { DECODED, Decoder } from '../../../packages/processor-x86/src/decoder/decoder.ts'
import { MODE, type Mode } from '../../../packages/processor-x86/src/decoder/mode.ts'
import { INSTRUCTION_SET } from '../../../packages/processor-x86/src/instruction-set/index.ts'
import { CODE } from './program/layout.ts'
import type { PlacedProgram, Program } from './program/unit.ts'

let decoder: Decoder | undefined
const record: DataView = new DataView(new ArrayBuffer(32))

/** Instructions of `bytes`, which lie at `address`: a line each. */
export function disassemble(
  bytes: Uint8Array,
  address: bigint,
  most: number = Number.POSITIVE_INFINITY,
  mode: Mode = MODE.LONG,
): string[] {
  decoder ??= new Decoder(INSTRUCTION_SET, () => {})
  const out: string[] = []
  for (let at = 0; at < bytes.length && out.length < most; ) {
    const result = decoder.decode(mode, (n) => bytes[at + n] ?? -1, record, 0, 0)
    if (result === DECODED.FETCH) break
    const length = result === DECODED.OK ? decoder.length : 1
    const name = result === DECODED.OK ? (decoder.form?.form.key ?? '?') : '(undefined)'
    const code = Buffer.from(bytes.subarray(at, at + length)).toString('hex')
    out.push(`${(address + BigInt(at)).toString(16)}: ${code.padEnd(24)} ${name}`)
    at += length
  }
  return out
}

export function listing(program: Program, placed: PlacedProgram): string {
  const registers = program.registers.map((value, n) => `r${n}=${value.toString(16)}`).join(' ')
  const lines = [
    `seed ${program.seed}, contents ${program.contents}, flags ${program.flags.toString(16)}, mxcsr ${program.mxcsr.toString(16)}`,
    registers,
  ]
  for (const [n, { name }] of program.units.entries()) {
    const [from, to] = [placed.offsets[n] as number, placed.offsets[n + 1] as number]
    lines.push(`unit ${n}, ${name}`)
    for (const line of disassemble(placed.bytes.subarray(from, to), CODE + BigInt(from))) lines.push(`  ${line}`)
  }
  return lines.join('\n')
}
