// The x86 filter of the .xz file format (1.2.0, section 5.3.2, "Branch/Call/Jump Filters for Executables", filter 0x04): the encoder has made the
// relative targets of CALL (E8) and near JMP (E9) absolute; this makes them relative again.
//
// Not each E8 or E9 is an instruction. A target counts if its highest byte is 00 or FF, and if none of the up to three bytes before looked
// like an opcode in a way that the encoder passed over; `mask` remembers those: bit n for the one n + 1 bytes before.

/** For each mask that lets a conversion happen, how many of the target's top bytes the opcode before takes away; -1 for the others. */
const OVERLAP: readonly number[] = [0, 1, 2, -1, 3, -1, -1, -1]

const MOST_TURNS = 256

const isExtension = (byte: number): boolean => byte === 0 || byte === 0xff

/** Decode `bytes` in place, as one piece that begins at `start` of what was filtered. */
export function decodeX86Filter(bytes: Uint8Array, start: number = 0): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const last = bytes.length - 5
  let mask = 0
  let previous = -4
  for (let at = 0; at <= last; at++) {
    if (((bytes[at] as number) & 0xfe) !== 0xe8) continue
    const gap = at - previous
    previous = at
    mask = gap > 3 ? 0 : (mask << (gap - 1)) & 7
    const overlap = OVERLAP[mask] as number
    const blocked = mask !== 0 && (overlap < 0 || isExtension(bytes[at + 4 - overlap] as number))
    if (blocked || !isExtension(bytes[at + 4] as number)) {
      mask = (mask << 1) | 1
      continue
    }
    view.setUint32(at + 1, relativeTarget(view.getUint32(at + 1, true), start + at + 5, overlap * 8), true)
    at += 4
  }
}

/** `target` less the address of the next instruction, in 25 bits with a sign. */
function relativeTarget(target: number, next: number, overlap: number): number {
  let value = (target - next) >>> 0
  // The encoder went on while the byte under the opcode before would have looked like an extension. It never takes many turns; damaged bytes must
  // not take more.
  for (let turn = 0; turn < MOST_TURNS && overlap !== 0 && isExtension((value >>> (24 - overlap)) & 0xff); turn++) {
    value = ((value ^ (2 ** (32 - overlap) - 1)) - next) >>> 0
  }
  return (value << 7) >> 7
}
