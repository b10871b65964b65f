// The command block registers of a drive as a host writes them: twice as deep as they are wide, for 48-bit addresses (ATA/ATAPI-7 volume 1, section 4.8 and 6.2).

import { DEVICE, REGISTER } from './ata.ts'
import type { Geometry } from './geometry.ts'

/** From here on in the array: what a register held before it was last written (HOB). */
const PREVIOUS = 8

/** Features, count, LBA low, mid and high, and the device register. */
export class TaskFile {
  /** By register number; 8 higher, the previous contents. */
  readonly registers: Uint8Array = new Uint8Array(16)
  device = 0

  get(register: number): number {
    return this.registers[register] as number
  }

  previous(register: number): number {
    return this.registers[register + PREVIOUS] as number
  }

  set(register: number, value: number): void {
    this.registers[register] = value
  }

  /** A write by the host: what was there becomes the previous contents. */
  push(register: number, value: number): void {
    this.registers[register + PREVIOUS] = this.registers[register] as number
    this.registers[register] = value
  }

  /** The sector count, in which zero stands for the largest. */
  count(ext: boolean): number {
    const low = this.get(REGISTER.COUNT)
    return ext ? (this.previous(REGISTER.COUNT) << 8) | low || 0x1_0000 : low || 0x100
  }

  /** The low, mid and high registers as one number. */
  get lba24(): number {
    return this.get(REGISTER.LBA_LOW) | (this.get(REGISTER.LBA_MID) << 8) | (this.get(REGISTER.LBA_HIGH) << 16)
  }

  /** The sector that the registers name, by block address or by cylinder, head and sector; -1 where there is no such sector in `geometry`. */
  sector(ext: boolean, geometry: Geometry): number {
    if (ext) {
      const upper =
        this.previous(REGISTER.LBA_LOW) |
        (this.previous(REGISTER.LBA_MID) << 8) |
        (this.previous(REGISTER.LBA_HIGH) << 16)
      return upper * 0x100_0000 + this.lba24
    }
    const head = this.device & DEVICE.HEAD
    if ((this.device & DEVICE.LBA) !== 0) return this.lba24 + head * 0x100_0000
    // Sectors count from 1.
    const cylinder = this.lba24 >> 8
    const sector = this.get(REGISTER.LBA_LOW)
    if (sector === 0 || sector > geometry.sectors || head >= geometry.heads) return -1
    return (cylinder * geometry.heads + head) * geometry.sectors + sector - 1
  }

  /** Put `lba` into the registers as commands with that kind of address expect it. */
  storeSector(lba: number, ext: boolean, geometry: Geometry): void {
    if (!ext && (this.device & DEVICE.LBA) === 0) {
      const track = Math.floor(lba / geometry.sectors)
      const cylinder = Math.floor(track / geometry.heads)
      this.set(REGISTER.LBA_LOW, (lba % geometry.sectors) + 1)
      this.set(REGISTER.LBA_MID, cylinder & 0xff)
      this.set(REGISTER.LBA_HIGH, (cylinder >> 8) & 0xff)
      this.device = (this.device & ~DEVICE.HEAD) | (track % geometry.heads)
      return
    }
    this.set(REGISTER.LBA_LOW, lba & 0xff)
    this.set(REGISTER.LBA_MID, Math.floor(lba / 0x100) & 0xff)
    this.set(REGISTER.LBA_HIGH, Math.floor(lba / 0x1_0000) & 0xff)
    const upper = Math.floor(lba / 0x100_0000)
    if (!ext) {
      this.device = (this.device & ~DEVICE.HEAD) | (upper & DEVICE.HEAD)
      return
    }
    this.set(REGISTER.LBA_LOW + PREVIOUS, upper & 0xff)
    this.set(REGISTER.LBA_MID + PREVIOUS, Math.floor(upper / 0x100) & 0xff)
    this.set(REGISTER.LBA_HIGH + PREVIOUS, Math.floor(upper / 0x1_0000) & 0xff)
  }

  /** Section 9.12: what a drive shows after a reset; `high` and `mid` tell a packet device from a disk. */
  signature(mid: number, high: number): void {
    this.registers.fill(0)
    this.set(REGISTER.COUNT, 1)
    this.set(REGISTER.LBA_LOW, 1)
    this.set(REGISTER.LBA_MID, mid)
    this.set(REGISTER.LBA_HIGH, high)
    this.device = 0
  }
}
