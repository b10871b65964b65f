// The sectors of a CD-ROM in mode 1, made of their 2,048 bytes of user data (ECMA-130, 14 and annexes A and B): sync pattern, header, error detection code and
// error correction code, for READ CD.

/** Bytes of the parts of a sector, in order. */
export const CD_SECTOR = { SYNC: 12, HEADER: 4, USER_DATA: 2048, EDC_ECC: 288, LENGTH: 2352 } as const

/** Frames before the first block of the program area. */
const PREGAP = 150
const FRAMES_A_SECOND = 75

const EDC_AT = CD_SECTOR.SYNC + CD_SECTOR.HEADER + CD_SECTOR.USER_DATA
const HEADER_AT = CD_SECTOR.SYNC
const P_AT = EDC_AT + 12
const Q_AT = P_AT + 172

/** x^32 + x^31 + x^16 + x^15 + x^4 + x^3 + x + 1, bits in reverse. */
const EDC_POLYNOMIAL = 0xd801_8001
const EDC_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ ((value & 1) === 0 ? 0 : EDC_POLYNOMIAL)
  return value
})

/** Products with 2, and quotients by 3, in GF(2^8) over x^8 + x^4 + x^3 + x^2 + 1. */
const DOUBLED: Uint8Array = Uint8Array.from({ length: 256 }, (_, value) => (value << 1) ^ (value & 0x80 ? 0x11d : 0))
const THIRD: Uint8Array = new Uint8Array(256)
for (let value = 0; value < 256; value++) THIRD[value ^ (DOUBLED[value] as number)] = value

function toBcd(value: number): number {
  return (Math.floor(value / 10) << 4) | (value % 10)
}

function writeEdc(sector: Uint8Array): void {
  let code = 0
  for (let at = 0; at < EDC_AT; at++)
    code = (code >>> 8) ^ (EDC_TABLE[(code ^ (sector[at] as number)) & 0xff] as number)
  for (let i = 0; i < 4; i++) sector[EDC_AT + i] = (code >>> (8 * i)) & 0xff
}

/** One of the two layers of the code: `count` words of `length` bytes, `step` bytes from one to the next byte of a word, `next` from a word to the next one. */
function writeParity(
  sector: Uint8Array,
  at: number,
  count: number,
  length: number,
  first: (word: number) => number,
  step: number,
): void {
  const size = count * length
  for (let word = 0; word < count; word++) {
    let index = first(word)
    let a = 0
    let b = 0
    for (let i = 0; i < length; i++) {
      const value = sector[HEADER_AT + index] as number
      index += step
      if (index >= size) index -= size
      a = DOUBLED[a ^ value] as number
      b ^= value
    }
    a = THIRD[(DOUBLED[a] as number) ^ b] as number
    sector[at + word] = a
    sector[at + word + count] = a ^ b
  }
}

/**
 * Fill `sector` (2,352 bytes) for block `lba`; its user data, from byte 16, is there already.
 */
export function finishCdSector(sector: Uint8Array, lba: number): void {
  sector.fill(0xff, 1, 11)
  sector[0] = 0
  sector[11] = 0
  const frames = lba + PREGAP
  sector[12] = toBcd(Math.floor(frames / (60 * FRAMES_A_SECOND)) % 100)
  sector[13] = toBcd(Math.floor(frames / FRAMES_A_SECOND) % 60)
  sector[14] = toBcd(frames % FRAMES_A_SECOND)
  sector[15] = 1
  writeEdc(sector)
  sector.fill(0, EDC_AT + 4, EDC_AT + 12)
  // P: 86 words of 24 bytes; Q: 52 words of 43 bytes, along diagonals.
  writeParity(sector, P_AT, 86, 24, (word) => word, 86)
  writeParity(sector, Q_AT, 52, 43, (word) => (word >> 1) * 86 + (word & 1), 88)
}
