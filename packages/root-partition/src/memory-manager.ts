// The memory manager: how much RAM the partitions of this process may have together.

import { RootPartitionError } from './error.ts'

/** Keeps account of guest RAM. */
export class MemoryManager {
  /** Bytes that all partitions together may have. */
  readonly limit: number
  #reserved = 0

  constructor(limit: number = Number.POSITIVE_INFINITY) {
    this.limit = limit
  }

  /** Bytes that partitions have. */
  get reserved(): number {
    return this.#reserved
  }

  /**
   * Take `bytes` for a partition until the result is disposed of.
   * @throws RootPartitionError `ERR_MEMORY_EXHAUSTED`
   */
  reserve(bytes: number): Disposable {
    const available = this.limit - this.#reserved
    if (bytes > available) {
      throw new RootPartitionError(
        'ERR_MEMORY_EXHAUSTED',
        `${mebibytes(bytes)} MiB of memory are more than the host can give`,
        {
          hint: `At most ${mebibytes(available)} MiB are available.`,
          data: { bytes, available },
        },
      )
    }
    this.#reserved += bytes
    let held = bytes
    return {
      [Symbol.dispose]: (): void => {
        this.#reserved -= held
        held = 0
      },
    }
  }
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / 2 ** 20)
}
