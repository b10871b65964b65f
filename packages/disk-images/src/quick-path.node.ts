// When to ask the system at once and when to let one of its threads wait. What is in the page cache is there in two microseconds; to have it fetched by a thread of the host's pool takes forty.
// Nobody can be asked which it will be, so the last answers tell.

import { statfs } from 'node:fs/promises'

/** Bytes of one call at most: more is worth a thread of its own. */
const LARGEST = 256 * 1024
/** Milliseconds after which a call has waited for something. */
const SLOW = 0.5
/** Calls that go by a thread after one that was slow: at first, and at most when the next one is slow again. */
const FEWEST = 64
const MOST = 4096

/** `f_type` of statfs(2) of file systems that are of this machine: the others may wait for a network for as long as it takes. */
const LOCAL: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x5846_5342, // XFS
  0x9123_683e, // Btrfs
  0xf2f5_2010, // F2FS
  0x2fc1_2fc1, // ZFS
  0x0102_1994, // tmpfs
  0x794c_7630, // overlayfs
])

/** Whether a file lies where a call can be short. Only Linux tells. */
export async function mayBeQuick(path: string): Promise<boolean> {
  if (process.platform !== 'linux') return false
  try {
    return LOCAL.has((await statfs(path)).type)
  } catch {
    return false
  }
}

/** Decides for one file. */
export class QuickPath {
  readonly #now: () => number
  /** Calls that still go by a thread. */
  #avoid: number
  #next: number = FEWEST

  /** `now`: milliseconds. */
  constructor(local: boolean, now: () => number = () => performance.now()) {
    this.#avoid = local ? 0 : Number.POSITIVE_INFINITY
    this.#now = now
  }

  /** Whether a call for so many bytes is to be made at once. */
  take(bytes: number): boolean {
    if (bytes > LARGEST) return false
    if (this.#avoid === 0) return true
    this.#avoid--
    return false
  }

  /** Make the call, and remember how long it took. */
  run<T>(call: () => T): T {
    const begin = this.#now()
    try {
      return call()
    } finally {
      if (this.#now() - begin > SLOW) {
        this.#avoid = this.#next
        this.#next = Math.min(this.#next * 2, MOST)
      } else if (this.#next > FEWEST) this.#next--
    }
  }
}
