// An 8-bit ISA device on the port bus: a wider access is split into bytes at ascending ports, as the bus of a PC does.

import type { AccessSize, PortHandler } from '@partita/interface'

/** Base of devices whose registers are one byte wide. */
export abstract class ByteRegisters implements PortHandler {
  protected abstract readByte(offset: number): number
  protected abstract writeByte(offset: number, value: number): void

  read(offset: number, size: AccessSize): number {
    if (size === 1) return this.readByte(offset)
    let value = 0
    for (let i = 0; i < size; i++) value |= this.readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size === 1) {
      this.writeByte(offset, value & 0xff)
      return
    }
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff)
  }
}
