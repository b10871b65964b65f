// The ten encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP share (SDM vol. 2, tables, immediate group 1).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'

const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0')

/** Rows at `base`…`base + 5` and in group 1, where ModRM.reg is `base / 8`. `lock`: whether a memory destination may be locked. */
export function binaryForms(
  mnemonic: string,
  base: number,
  semantics: Semantics,
  lock: boolean,
): InstructionDefinition[] {
  const options = lock ? { lock } : {}
  const digit = base / 8
  return [
    instruction(mnemonic, `${hex(base)} /r`, 'Eb Gb', semantics, options),
    instruction(mnemonic, `${hex(base + 1)} /r`, 'Ev Gv', semantics, options),
    instruction(mnemonic, `${hex(base + 2)} /r`, 'Gb Eb', semantics),
    instruction(mnemonic, `${hex(base + 3)} /r`, 'Gv Ev', semantics),
    instruction(mnemonic, `${hex(base + 4)} ib`, 'AL Ib', semantics),
    instruction(mnemonic, `${hex(base + 5)} id`, 'rAX Iz', semantics),
    instruction(mnemonic, `80 /${digit} ib`, 'Eb Ib', semantics, options),
    instruction(mnemonic, `81 /${digit} id`, 'Ev Iz', semantics, options),
    instruction(mnemonic, `82 /${digit} ib`, 'Eb Ib', semantics, { ...options, mode: 'legacy' }),
    instruction(mnemonic, `83 /${digit} ib`, 'Ev Ibs', semantics, options),
  ]
}
