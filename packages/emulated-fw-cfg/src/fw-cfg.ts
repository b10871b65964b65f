// The fw_cfg device on I/O ports (QEMU's docs/specs/fw_cfg.rst, "x86, x86_64 register locations"): selector at 0x510, data at 0x511, and the address of a DMA descriptor at 0x514, big-endian, whose
// lower half starts the transfer. Nothing can be written to: the guest's firmware is told, and tells nothing.

import type { AccessSize, GuestMemory, PortHandler, SavedState } from '@partita/interface'
import * as v from 'valibot'
import { FwCfgError } from './fw-cfg-error.ts'
import type { FwCfgItems } from './items.ts'

/** Ports. */
export const FW_CFG_PORT = { SELECTOR: 0x510, DATA: 0x511, DMA: 0x514 } as const
/** Ports of the DMA address register. */
export const FW_CFG_DMA_PORTS = 8
/** Bits of a descriptor's control word; the key of SELECT is in the upper half. */
export const FW_CFG_DMA = { ERROR: 0x01, READ: 0x02, SKIP: 0x04, SELECT: 0x08, WRITE: 0x10 } as const
/** A descriptor, big-endian: control (32 bits), length (32 bits), address (64 bits). */
const DESCRIPTOR_LENGTH = 16
/** What the DMA address register reads as: "QEMU CFG". */
const DMA_SIGNATURE = [0x51, 0x45, 0x4d, 0x55, 0x20, 0x43, 0x46, 0x47] as const
const NAME = '@partita/emulated-fw-cfg'
const VERSION = 1

interface FwCfgState {
  readonly key: number
  readonly offset: number
  readonly addressHigh: number
}

function unsigned(bits: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** bits - 1))
}

const stateSchema: v.GenericSchema<unknown, FwCfgState> = v.strictObject({
  key: unsigned(16),
  offset: unsigned(32),
  addressHigh: unsigned(32),
})

/** Selector, data and DMA. */
export class FwCfg {
  readonly #items: FwCfgItems
  readonly #memory: GuestMemory
  readonly #descriptor: Uint8Array = new Uint8Array(DESCRIPTOR_LENGTH)
  readonly #view: DataView = new DataView(this.#descriptor.buffer)
  #key = 0
  /** Where the next byte comes from; at or behind the end of the item, zeros come. */
  #offset = 0
  /** Upper half of the address of a DMA descriptor. */
  #addressHigh = 0

  /** Ports 0x510 and 0x511. The selector is a word and cannot be read. */
  readonly ports: PortHandler = {
    read: (offset: number, size: AccessSize): number => {
      if (offset === 0) return size === 1 ? 0 : this.#next() << 8
      return this.#next()
    },
    write: (offset: number, size: AccessSize, value: number): void => {
      if (offset === 0 && size === 2) this.#select(value)
    },
  }

  /** Ports 0x514–0x51B. Only double words are written, in the order of their addresses. */
  readonly dmaPorts: PortHandler = {
    read: (offset: number, size: AccessSize): number => {
      let value = 0
      for (let i = 0; i < size; i++) value |= (DMA_SIGNATURE[offset + i] ?? 0) << (8 * i)
      return value >>> 0
    },
    write: (offset: number, size: AccessSize, value: number): void => {
      if (size !== 4) return
      if (offset === 0) this.#addressHigh = swap(value)
      else if (offset === 4) {
        const address = this.#addressHigh * 2 ** 32 + swap(value)
        this.#addressHigh = 0
        this.#transfer(address)
      }
    },
  }

  constructor(items: FwCfgItems, memory: GuestMemory) {
    this.#items = items
    this.#memory = memory
  }

  #select(key: number): void {
    this.#key = key & 0xffff
    this.#offset = 0
  }

  #next(): number {
    const data = this.#items.data(this.#key)
    if (this.#offset >= data.length) return 0
    return data[this.#offset++] ?? 0
  }

  /** Do what the descriptor at `address` says, and put the outcome in its place. Where it cannot be read it cannot be answered either. */
  #transfer(address: number): void {
    const memory = this.#memory
    if (!Number.isSafeInteger(address) || !memory.read(address, this.#descriptor)) return
    const control = this.#view.getUint32(0)
    const length = this.#view.getUint32(4)
    const target = this.#view.getBigUint64(8)
    if ((control & FW_CFG_DMA.SELECT) !== 0) this.#select(control >>> 16)
    let ok = true
    if ((control & FW_CFG_DMA.READ) !== 0) ok = this.#read(target, length)
    else if ((control & FW_CFG_DMA.WRITE) !== 0) ok = false
    else if ((control & FW_CFG_DMA.SKIP) !== 0) this.#advance(length)
    this.#view.setUint32(0, ok ? 0 : FW_CFG_DMA.ERROR)
    memory.write(address, this.#descriptor.subarray(0, 4))
  }

  /** Copy the rest of the item, then zeros. */
  #read(target: bigint, length: number): boolean {
    if (length === 0) return true
    const gpa = Number(target)
    if (!Number.isSafeInteger(gpa + length)) return false
    const data = this.#items.data(this.#key)
    const rest = data.subarray(this.#offset, Math.min(data.length, this.#offset + length))
    if (rest.length > 0 && !this.#memory.write(gpa, rest)) return false
    if (length > rest.length && !this.#memory.fill(gpa + rest.length, length - rest.length, 0)) return false
    this.#advance(length)
    return true
  }

  #advance(length: number): void {
    this.#offset = Math.min(this.#offset + length, this.#items.data(this.#key).length)
  }

  reset(): void {
    this.#select(0)
    this.#addressHigh = 0
  }

  save(): SavedState {
    return { version: VERSION, data: { key: this.#key, offset: this.#offset, addressHigh: this.#addressHigh } }
  }

  /** @throws FwCfgError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const result = v.safeParse(stateSchema, state.data)
    if (state.version !== VERSION || !result.success) {
      throw new FwCfgError('ERR_STATE_INVALID', `${NAME}: not a state of this device`, {
        data: { version: state.version },
      })
    }
    this.#select(result.output.key)
    this.#advance(result.output.offset)
    this.#addressHigh = result.output.addressHigh
  }
}

/** The other order of bytes. */
function swap(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0
}
