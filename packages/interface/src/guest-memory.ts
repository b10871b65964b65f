// Guest physical memory as devices and providers see it. Copy, validate the copy, use the copy: a guest may change its
// memory at any time.

/** Guest physical addresses and lengths are bytes, as numbers (below 2^53). */
export interface GuestMemory {
  /** Bytes of RAM (the address space has holes; see {@link GuestMemory.isRam}). */
  readonly ramSize: number
  /** Whether all of `[gpa, gpa + length)` is backed by memory that can be read. */
  isRam(gpa: number, length: number): boolean
  /** Copy guest memory to `target`. Returns false, with `target` unspecified, when part of the range is not readable memory. */
  read(gpa: number, target: Uint8Array): boolean
  /** Copy `source` to guest memory, and tell the processor. Returns false when part of the range is not writable memory (nothing is then written). */
  write(gpa: number, source: Uint8Array): boolean
  /** Fill guest memory with one byte value. */
  fill(gpa: number, length: number, value: number): boolean
  /** Little-endian reads of one element; `undefined` outside memory. */
  readU8(gpa: number): number | undefined
  readU16(gpa: number): number | undefined
  readU32(gpa: number): number | undefined
  readU64(gpa: number): bigint | undefined
  /** Little-endian writes of one element; false outside memory. */
  writeU8(gpa: number, value: number): boolean
  writeU16(gpa: number, value: number): boolean
  writeU32(gpa: number, value: number): boolean
  writeU64(gpa: number, value: bigint): boolean
  /**
   * A window on the partition's own bytes, without a copy, for a range that is contiguous in host memory; `undefined` otherwise. With `write` the
   * caller must call {@link GuestMemory.written} when it has stored something. The window is dead after {@link GuestMemory} changes its map.
   */
  view(gpa: number, length: number, access?: 'read' | 'write'): Uint8Array | undefined
  /** Tells the processor that the host stored into `[gpa, gpa + length)` through a view (translated code there is dropped). */
  written(gpa: number, length: number): void
}
