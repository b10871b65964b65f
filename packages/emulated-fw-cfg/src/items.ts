// What a fw_cfg device has to offer (QEMU's docs/specs/fw_cfg.rst, "Firmware Configuration Items"): items by their 16-bit key, and a directory of those that are files.

import type { FirmwareConfiguration } from '@partita/interface'
import { FwCfgError } from './fw-cfg-error.ts'

/** Keys of items that every such device has. */
export const FW_CFG_KEY = { SIGNATURE: 0x00, ID: 0x01, FILE_DIR: 0x19, FILE_FIRST: 0x20 } as const
/** Keys of files; those behind them to 0x3FFF are as many again, and never used here. */
const MAXIMUM_FILES = 0x100
/** Bits of a key: items of this architecture. Bit 14 was for writing, and is no part of any key. */
const ARCHITECTURE = 0x8000
const WRITE_CHANNEL = 0x4000
/** Bytes of an entry of the directory: size (32 bits) and key (16 bits), big-endian, two reserved bytes, name with a NUL. */
const ENTRY = { LENGTH: 64, KEY: 4, NAME: 8 } as const
const MAXIMUM_NAME = ENTRY.LENGTH - ENTRY.NAME - 1
/** Printable ASCII. */
const NAME = /^[!-~]+$/
/** Bits of the item ID: the traditional interface, and DMA. */
const FEATURES = 0b11
const EMPTY: Uint8Array = new Uint8Array(0)

/** The items. Data is copied when it is given. */
export class FwCfgItems implements FirmwareConfiguration {
  readonly #items: Map<number, Uint8Array> = new Map()
  readonly #files: Map<string, number> = new Map()

  constructor() {
    this.#items.set(FW_CFG_KEY.SIGNATURE, new TextEncoder().encode('QEMU'))
    this.#items.set(FW_CFG_KEY.ID, Uint8Array.of(FEATURES, 0, 0, 0))
    this.#writeDirectory()
  }

  /** The bytes behind a key; none where there is no such item. */
  data(key: number): Uint8Array {
    return this.#items.get(key & ~WRITE_CHANNEL) ?? EMPTY
  }

  setItem(key: number, data: Uint8Array | undefined): void {
    const number = key & ~ARCHITECTURE
    const own = key === FW_CFG_KEY.SIGNATURE || key === FW_CFG_KEY.ID || key === FW_CFG_KEY.FILE_DIR
    if (!Number.isInteger(key) || key < 0 || key > 0xffff || number >= FW_CFG_KEY.FILE_FIRST || own) {
      throw new FwCfgError('ERR_FIRMWARE_ITEM', `0x${key.toString(16)} is no item that can be given to firmware`, {
        hint: 'Items are 0x2 to 0x1f without 0x19, and 0x8000 to 0x801f.',
        data: { key },
      })
    }
    if (data === undefined) this.#items.delete(key)
    else this.#items.set(key, data.slice())
  }

  setFile(name: string, data: Uint8Array | undefined): void {
    if (!NAME.test(name) || name.length > MAXIMUM_NAME) {
      throw new FwCfgError('ERR_FIRMWARE_ITEM', `${name} is no name of a file for firmware`, {
        hint: `Names are ASCII without spaces, of at most ${MAXIMUM_NAME} characters.`,
        data: { name },
      })
    }
    if (data === undefined && !this.#files.has(name)) return
    const key = this.#files.get(name) ?? this.#freeKey()
    if (data === undefined) {
      this.#files.delete(name)
      this.#items.delete(key)
    } else {
      this.#files.set(name, key)
      this.#items.set(key, data.slice())
    }
    this.#writeDirectory()
  }

  #freeKey(): number {
    for (let key: number = FW_CFG_KEY.FILE_FIRST; key < FW_CFG_KEY.FILE_FIRST + MAXIMUM_FILES; key++)
      if (!this.#items.has(key)) return key
    throw new FwCfgError('ERR_FIRMWARE_ITEM', `There is room for ${MAXIMUM_FILES} files alone`)
  }

  /** By name, as readers may expect. */
  #writeDirectory(): void {
    const files = [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1))
    const directory = new Uint8Array(4 + files.length * ENTRY.LENGTH)
    const view = new DataView(directory.buffer)
    view.setUint32(0, files.length)
    files.forEach(([name, key], index) => {
      const entry = 4 + index * ENTRY.LENGTH
      view.setUint32(entry, this.data(key).length)
      view.setUint16(entry + ENTRY.KEY, key)
      directory.set(new TextEncoder().encode(name), entry + ENTRY.NAME)
    })
    this.#items.set(FW_CFG_KEY.FILE_DIR, directory)
  }
}
