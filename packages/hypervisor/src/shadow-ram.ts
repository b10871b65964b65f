// Shadow RAM: which parts of the first megabyte RAM answers in, and where a ROM stands behind it. A host bridge decides it (82443BX data sheet 290633, PAM and SMRAM
// registers); RAM that does not answer keeps its contents. Until something decides otherwise, RAM answers from 0xC0000 on.

import {
  type AccessSize,
  GPA_ACCESS,
  type MmioHandler,
  type PartitionMemory,
  type RamDecoding,
  type ShadowRam,
} from '@partita/interface'
import { HypervisorError } from './error.ts'
import { type GpaMap, PAGE_SIZE } from './gpa-map.ts'
import type { MmioTable } from './mmio-table.ts'

/** The legacy video window of the PC, where RAM is not seen unless it is asked for. */
const VIDEO_WINDOW = { START: 0xa0000, END: 0xc0000 } as const
const END = 0x100000
const FIRST_PAGE = VIDEO_WINDOW.START / PAGE_SIZE
const DECODE = { READ: 1, WRITE: 2, BOTH: 3 } as const

/** RAM and ROM of the first megabyte, and the ROM under 4 GiB. */
export class ShadowMemory implements ShadowRam {
  readonly #map: GpaMap
  readonly #store: PartitionMemory
  /** One entry a page from {@link FIRST_PAGE} on. */
  readonly #decoding: Uint8Array = new Uint8Array((END - VIDEO_WINDOW.START) / PAGE_SIZE)
  /** Byte offsets in the store of the ROM's pages. */
  readonly #romPages: number[] = []
  /** Byte offset in the store of the page of ROM behind a page of the first megabyte, by the same index. */
  readonly #behind: (number | undefined)[] = []

  /** Before anything else is mapped: claims the addresses whose accesses RAM may not answer. */
  constructor(map: GpaMap, store: PartitionMemory, mmio: MmioTable) {
    this.#map = map
    this.#store = store
    mmio.claim(VIDEO_WINDOW.END, END - VIDEO_WINDOW.END, this.#hidden())
    map.map(0, VIDEO_WINDOW.START, store.ramOffset, GPA_ACCESS.ALL)
    this.decode(VIDEO_WINDOW.END, END - VIDEO_WINDOW.END, { read: true, write: true })
    if (store.ramSize > END) map.map(END, store.ramSize - END, store.ramOffset + END, GPA_ACCESS.ALL)
  }

  decode(gpa: number, length: number, { read, write }: RamDecoding): void {
    const end = gpa + length
    const whole = gpa % PAGE_SIZE === 0 && length % PAGE_SIZE === 0 && length > 0
    const inside = gpa >= VIDEO_WINDOW.START && end <= END
    if (!whole || !inside || (gpa < VIDEO_WINDOW.END && read !== write)) {
      throw new HypervisorError('ERR_GPA_RANGE', `0x${gpa.toString(16)} + 0x${length.toString(16)} is not shadow RAM`, {
        data: { gpa, length },
      })
    }
    const next = (read ? DECODE.READ : 0) | (write ? DECODE.WRITE : 0)
    for (let page = gpa / PAGE_SIZE - FIRST_PAGE; page < end / PAGE_SIZE - FIRST_PAGE; page++) {
      if (this.#decoding[page] === next) continue
      this.#decoding[page] = next
      this.#place(page)
    }
  }

  /**
   * Put a ROM at the end of the 4 GiB, and its last 128 KiB behind RAM at the end of the first megabyte, as a PC's firmware has it. Another one takes its place.
   * @throws HypervisorError `ERR_GPA_RANGE` for what is not 64 to 512 KiB in whole units of 4 KiB, or larger than the one before; PartitaError `ERR_PROCESSOR_MEMORY` when the processor
   * has no store left
   */
  setRom(rom: Uint8Array): void {
    const pages = rom.length / PAGE_SIZE
    const taken = this.#romPages.length
    if (!Number.isInteger(pages) || pages < 16 || pages > 128 || (taken !== 0 && pages !== taken)) {
      throw new HypervisorError('ERR_GPA_RANGE', `${rom.length} bytes are not the size of a ROM`, {
        hint: 'A ROM has 64 to 512 KiB.',
        data: { length: rom.length },
      })
    }
    const first = 2 ** 32 - rom.length
    for (let page = 0; page < pages; page++) {
      const offset = this.#romPages[page] ?? this.#store.allocateOverlay()
      this.#romPages[page] = offset
      const bytes = rom.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)
      new Uint8Array(this.#store.buffer, offset, PAGE_SIZE).set(bytes)
      this.#map.map(first + page * PAGE_SIZE, PAGE_SIZE, offset, GPA_ACCESS.READ | GPA_ACCESS.EXECUTE)
      this.#store.written(first + page * PAGE_SIZE, PAGE_SIZE)
      const low = END / PAGE_SIZE - pages + page - FIRST_PAGE
      if (low < (0xe0000 - VIDEO_WINDOW.START) / PAGE_SIZE) continue
      this.#behind[low] = offset
      this.#place(low)
      this.#store.written((low + FIRST_PAGE) * PAGE_SIZE, PAGE_SIZE)
    }
  }

  /** Map a page as its decoding says. */
  #place(page: number): void {
    const gpa = (page + FIRST_PAGE) * PAGE_SIZE
    const decoding = this.#decoding[page] as number
    const rom = this.#behind[page]
    if ((decoding & DECODE.READ) !== 0) {
      // Without WRITE a write is an intercept, which nobody takes.
      const access = decoding === DECODE.BOTH ? GPA_ACCESS.ALL : GPA_ACCESS.READ | GPA_ACCESS.EXECUTE
      if (gpa < this.#store.ramSize) this.#map.map(gpa, PAGE_SIZE, this.#store.ramOffset + gpa, access)
    } else if (rom !== undefined) this.#map.map(gpa, PAGE_SIZE, rom, GPA_ACCESS.READ | GPA_ACCESS.EXECUTE)
    else this.#map.unmap(gpa, PAGE_SIZE)
  }

  /** What answers where RAM does not take part in reads: nothing, but writes may be RAM's. */
  #hidden(): MmioHandler {
    const store = this.#store
    return {
      read: (_offset: number, size: AccessSize): number => 2 ** (8 * size) - 1,
      write: (offset: number, size: AccessSize, value: number): void => {
        const gpa = VIDEO_WINDOW.END + offset
        if (((this.#decoding[Math.floor(gpa / PAGE_SIZE) - FIRST_PAGE] as number) & DECODE.WRITE) === 0) return
        const view = new DataView(store.buffer, store.ramOffset + gpa, size)
        if (size === 4) view.setUint32(0, value, true)
        else if (size === 2) view.setUint16(0, value, true)
        else view.setUint8(0, value)
      },
    }
  }
}
