// The instruction forms that are handlers inside `run`, because kernels and compiled programs execute little else (counted in a boot of Debian's kernel
// and in static programs). Everything else is a function of its own.

/** Opcode rows, as written in the instruction tables, in 64-bit mode. */
const ROWS = new Set<string>([
  // moves
  '88 /r', '89 /r', '8A /r', '8B /r', 'B8+r', 'C6 /0', 'C7 /0', '8D /r', '63 /r', '0F B6 /r', '0F B7 /r', '0F BE /r', '0F BF /r', '98', '99',
  // arithmetic and logic
  '01 /r', '03 /r', '09 /r', '0B /r', '21 /r', '23 /r', '29 /r', '2B /r', '31 /r', '33 /r', '39 /r', '3B /r', '38 /r', '3A /r', '84 /r', '85 /r',
  '3C', '3D', '05', '2D', '25', '0D', 'A8', 'A9', '80 /7', '80 /4', '80 /1', '81 /0', '81 /4', '81 /5', '81 /7', '81 /1',
  '83 /0', '83 /1', '83 /2', '83 /3', '83 /4', '83 /5', '83 /6', '83 /7', 'F6 /0', 'F7 /0', 'F7 /2', 'F7 /3',
  'FF /0', 'FF /1', '11 /r', '13 /r', '19 /r', '1B /r', '0F AF /r', '6B /r', '69 /r',
  // shifts
  'C1 /4', 'C1 /5', 'C1 /7', 'D1 /4', 'D1 /5', 'D1 /7', 'C1 /0', 'C1 /1', 'D3 /4', 'D3 /5', '0F C8+r',
  // control and stack
  'EB', 'E9', 'E8', 'C3', 'FF /2', 'FF /4', '50+r', '58+r', 'FF /6', '6A', '68', 'C9', '90', '0F 1F /r',
  // bits
  '0F A3 /r', '0F BA /4',
])
const CONDITIONAL = /^(?:7[0-9A-F]|0F 8[0-9A-F]|0F 4[0-9A-F] \/r|0F 9[0-9A-F] \/r)(?: (?:cb|cd))?$/

/** Whether a row with an operand size belongs inside `run`. `opcode` is as in the tables, immediates left out. */
export function isInline(opcode: string, size: 2 | 4 | 8): boolean {
  if (size === 2) return false
  const row = opcode.replace(/ (?:i[bwdqzs]+|cb|cw|cd)$/, '')
  return ROWS.has(row) || CONDITIONAL.test(row)
}
