// What a PC's firmware leaves in CMOS RAM for the operating system: sizes of memory, equipment, checksum (Ralf Brown's interrupt list, CMOS.LST).

const REGISTER = {
  EQUIPMENT: 0x14,
  BASE_MEMORY: 0x15,
  EXTENDED_MEMORY: 0x17,
  CHECKSUM: 0x2e,
  EXTENDED_MEMORY_POST: 0x30,
  MEMORY_ABOVE_16M: 0x34,
  MEMORY_ABOVE_4G: 0x5b,
} as const
const CHECKSUM_FIRST = 0x10
const CHECKSUM_LAST = 0x2d
const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
/** Math coprocessor, and 80×25 colour. */
const EQUIPMENT = 0x02 | 0x20

function store(target: Uint8Array, index: number, length: number, value: number): void {
  for (let i = 0; i < length; i++) target[index + i] = Math.floor(value / 2 ** (8 * i)) & 0xff
}

/**
 * 128 bytes of CMOS RAM for a machine with `ramSize` bytes of RAM, of which at most `lowRamLimit` stand below 4 GiB.
 */
export function cmosMemory(ramSize: number, lowRamLimit: number): Uint8Array {
  const low = Math.min(ramSize, lowRamLimit)
  const cmos = new Uint8Array(128)
  const extended = Math.min(Math.max(Math.floor((low - MIB) / KIB), 0), 0xffff)
  cmos[REGISTER.EQUIPMENT] = EQUIPMENT
  store(cmos, REGISTER.BASE_MEMORY, 2, 640)
  store(cmos, REGISTER.EXTENDED_MEMORY, 2, extended)
  store(cmos, REGISTER.EXTENDED_MEMORY_POST, 2, extended)
  store(cmos, REGISTER.MEMORY_ABOVE_16M, 2, Math.min(Math.max(Math.floor((low - 16 * MIB) / (64 * KIB)), 0), 0xffff))
  store(cmos, REGISTER.MEMORY_ABOVE_4G, 3, Math.min(Math.floor((ramSize - low) / (64 * KIB)), 0xff_ffff))
  let sum = 0
  for (let index = CHECKSUM_FIRST; index <= CHECKSUM_LAST; index++) sum += cmos[index] ?? 0
  cmos[REGISTER.CHECKSUM] = (sum >> 8) & 0xff
  cmos[REGISTER.CHECKSUM + 1] = sum & 0xff
  return cmos
}

/** RAM below 4 GiB ends here unless the configuration says otherwise. */
export const DEFAULT_LOW_RAM_LIMIT: number = 3 * GIB
