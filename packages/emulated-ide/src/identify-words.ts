// The 256 words of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE: how text and numbers stand in them, and their checksum (ATA/ATAPI-7 volume 1, section 6.17).

/** Transfer mode as SET FEATURES takes it: the type in the upper bits, the mode below. */
export const MODE = { MULTIWORD_DMA: 0x20, ULTRA_DMA: 0x40, TYPE: 0xf8, NUMBER: 0x07 } as const

/** Words on their way to a host. */
export class IdentifyWords {
  readonly words: Uint16Array = new Uint16Array(256)

  /** Two words. */
  dword(index: number, value: number): void {
    this.words[index] = value & 0xffff
    this.words[index + 1] = Math.floor(value / 0x1_0000) & 0xffff
  }

  /** ASCII, padded with blanks, the first character of a pair in the high byte. */
  text(index: number, count: number, value: string): void {
    for (let i = 0; i < count; i++) {
      const [high, low] = [value.charCodeAt(2 * i) || 0x20, value.charCodeAt(2 * i + 1) || 0x20]
      this.words[index + i] = ((high & 0x7f) << 8) | (low & 0x7f)
    }
  }

  /** Words 53, 63 to 68 and 88: modes 3 and 4 of PIO, and those of DMA where there is any. */
  modes(dma: boolean, selected: number): void {
    const { words } = this
    words[53] = 0x0007 // words 54–58, 64–70 and 88 are valid
    words[64] = 0x0003
    for (let index = 65; index <= 68; index++) words[index] = 120 // ns of a cycle
    if (!dma) return
    const bit = 0x0100 << (selected & MODE.NUMBER)
    words[63] = 0x0007 | ((selected & MODE.TYPE) === MODE.MULTIWORD_DMA ? bit : 0)
    words[88] = 0x003f | ((selected & MODE.TYPE) === MODE.ULTRA_DMA ? bit : 0)
  }

  /** Write the 512 bytes to `target`: word 255 has a signature, and the checksum that makes the sum of all bytes zero. */
  store(target: Uint8Array): void {
    for (let index = 0; index < 255; index++) {
      const word = this.words[index] as number
      target[2 * index] = word & 0xff
      target[2 * index + 1] = word >> 8
    }
    target[510] = 0xa5
    target[511] = -sumOf(target, 511) & 0xff
  }
}

/** The sum of the first `count` bytes, in 8 bits. */
export function sumOf(bytes: Uint8Array, count: number): number {
  let sum = 0
  for (let index = 0; index < count; index++) sum += bytes[index] as number
  return sum & 0xff
}

/** Word 93, the result of the hardware reset: 80-conductor cable, diagnostics passed. */
export function cableWord(second: boolean): number {
  return second ? 0x6b01 : 0x600b
}
