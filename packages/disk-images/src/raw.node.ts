/**
 * Raw disk images in files: byte n of the disk is byte n of the file. Holes of a sparse file read as zeros and stay holes until they are written.
 *
 * @example
 * ```ts
 * import { createRawImage, openRawDisk } from '@partita/disk-images/node'
 *
 * await createRawImage('disk.img', 8 * 2 ** 30)
 * await using disk = await openRawDisk('disk.img')
 * ```
 * @packageDocumentation
 */

import { constants, fstatSync, readSync, readvSync, writeSync, writevSync } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { DISK_ERROR, type Disk } from '@partita/interface'
import { checkRange, DiskError, transferLength } from './disk-error.ts'
import { lockImage } from './image-lock.node.ts'
import { type PunchHole, punchHole } from './punch-hole.node.ts'
import { mayBeQuick, QuickPath } from './quick-path.node.ts'
import { moveAll, ScatterGather } from './scatter-gather.ts'

export { DiskError } from './disk-error.ts'

const SECTOR = 512
/** What is written at a time where zeros have to be written. */
const ZERO_STEP = 1024 * 1024
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Options of {@link openRawDisk}. */
export interface RawDiskOptions {
  /** Open without a lock and refuse writes. Default: false. */
  readonly readOnly?: boolean
}

/**
 * Make a sparse image of `size` bytes, a multiple of 512.
 * @throws DiskError `ERR_DISK_EXISTS` when there is such a file, `ERR_DISK_FORMAT` for an impossible size, `ERR_DISK_OPEN`
 */
export async function createRawImage(path: string, size: number): Promise<void> {
  if (!(Number.isSafeInteger(size) && size > 0 && size % SECTOR === 0)) {
    throw new DiskError('ERR_DISK_FORMAT', `a disk cannot have ${size} bytes`, {
      hint: 'Choose a multiple of 512.',
      data: { size },
    })
  }
  let file: FileHandle
  try {
    file = await open(path, 'wx')
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw new DiskError(
      exists ? 'ERR_DISK_EXISTS' : 'ERR_DISK_OPEN',
      `${path} cannot be made: ${(cause as Error).message}`,
      {
        data: { path },
        cause,
      },
    )
  }
  try {
    try {
      await file.truncate(size)
    } finally {
      await file.close()
    }
  } catch (cause) {
    // An empty file would be in the way of the next try.
    await unlink(path).catch(() => {})
    throw failure(cause, 'could not be made')
  }
}

/**
 * Open a raw image. A file whose length is not whole sectors ends with zeros.
 * @throws DiskError `ERR_DISK_OPEN` (no such file, no permission), `ERR_DISK_FORMAT` (not a file, or empty), `ERR_DISK_LOCKED` (another VM writes to it)
 */
export async function openRawDisk(path: string, options: RawDiskOptions = {}): Promise<Disk> {
  const readOnly = options.readOnly ?? false
  await using owned = new AsyncDisposableStack()
  let file: FileHandle
  let size: number
  try {
    // Not blocked by a pipe that nobody writes to; it is refused below.
    file = await open(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | (constants.O_NONBLOCK ?? 0))
    owned.defer(() => file.close())
    const status = await file.stat()
    if (!status.isFile()) throw new DiskError('ERR_DISK_FORMAT', `${path} is not a regular file`, { data: { path } })
    size = status.size
  } catch (cause) {
    if (cause instanceof DiskError) throw cause
    throw new DiskError('ERR_DISK_OPEN', `${path} cannot be opened: ${(cause as Error).message}`, {
      hint:
        (cause as NodeJS.ErrnoException).code === 'EACCES' && !readOnly
          ? 'Open it read-only, or change its permissions.'
          : 'Check the path.',
      data: { path },
      cause,
    })
  }
  if (size === 0)
    throw new DiskError('ERR_DISK_FORMAT', `${path} is empty`, {
      hint: 'Make an image of the size of the disk.',
      data: { path },
    })
  let lock: AsyncDisposable | undefined
  if (!readOnly) {
    try {
      lock = owned.use(await lockImage(path, file))
    } catch (cause) {
      if (cause instanceof DiskError) throw cause
      throw new DiskError('ERR_DISK_OPEN', `${path} cannot be locked: ${(cause as Error).message}`, {
        hint: 'The lock is a file in the same directory.',
        data: { path },
        cause,
      })
    }
  }
  const quick = new QuickPath(await mayBeQuick(path))
  owned.move()
  return new RawDisk(file, size, readOnly, lock, quick)
}

function failure(cause: unknown, what: string, hint?: string): DiskError {
  if (cause instanceof DiskError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  return new DiskError(
    NO_ROOM.has(code) ? DISK_ERROR.FULL : DISK_ERROR.IO,
    `the image ${what}: ${(cause as Error).message}`,
    { ...(hint !== undefined && { hint }), data: { code }, cause },
  )
}

function truncated(size: number): DiskError {
  return new DiskError(DISK_ERROR.IO, 'the image has become shorter while it was in use', {
    hint: 'Stop the VM and restore the image; something else has truncated it.',
    data: { code: 'TRUNCATED', size },
  })
}

function closed(): DiskError {
  return new DiskError(DISK_ERROR.CLOSED, 'the disk is closed')
}

class RawDisk implements Disk {
  readonly sectorSize: number = SECTOR
  readonly physicalSectorSize: number = 4096
  readonly sectorCount: number
  readonly readOnly: boolean
  /** Give blocks back; missing where this host cannot. */
  readonly discard?: (sector: number, count: number) => Promise<void>
  readonly #file: FileHandle
  /** Bytes of the file when it was opened. */
  readonly #size: number
  readonly #punch: PunchHole | undefined
  readonly #lock: AsyncDisposable | undefined
  readonly #quick: QuickPath
  readonly #running: Set<Promise<void>> = new Set()
  #closing: Promise<void> | undefined
  #syncing: Promise<void> | undefined
  #syncNext: Promise<void> | undefined
  /** The first flush that failed. The system tells an open file of a failure once, and may count the pages it lost as written: a flush after it would succeed and mean nothing. */
  #lost: DiskError | undefined

  constructor(file: FileHandle, size: number, readOnly: boolean, lock: AsyncDisposable | undefined, quick: QuickPath) {
    this.#file = file
    this.#size = size
    this.sectorCount = Math.ceil(size / SECTOR)
    this.readOnly = readOnly
    this.#lock = lock
    this.#quick = quick
    this.#punch = readOnly ? undefined : punchHole()
    if (this.#punch !== undefined) this.discard = (sector, count) => this.#discard(sector, count)
  }

  read(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#move('could not be read', sector, segments, this.#readNow, this.#readLater)
  }
  readonly #readNow = (part: Uint8Array[], position: number): number => {
    const [first] = part
    const { fd } = this.#file
    const one = part.length === 1 && first !== undefined
    const bytes = one ? readSync(fd, first, 0, first.length, position) : readvSync(fd, part, position)
    return this.#filled(bytes, part, position)
  }
  readonly #readLater = async (part: Uint8Array[], position: number): Promise<number> => {
    const { bytesRead } = await this.#file.readv(part, position)
    return this.#filled(bytesRead, part, position)
  }
  /** What a read came to: behind the end of the file are zeros. */
  #filled(bytesRead: number, part: readonly Uint8Array[], position: number): number {
    if (bytesRead > 0) return bytesRead
    if (position < this.#size) throw truncated(position)
    // The file ends within its last sector.
    let zeros = 0
    for (const segment of part) {
      segment.fill(0)
      zeros += segment.length
    }
    return zeros
  }

  write(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#move('could not be written', sector, segments, this.#writeNow, this.#writeLater, true)
  }
  readonly #writeNow = (part: Uint8Array[], position: number): number => {
    const [first] = part
    const { fd } = this.#file
    const one = part.length === 1 && first !== undefined
    return one ? writeSync(fd, first, 0, first.length, position) : writevSync(fd, part, position)
  }
  readonly #writeLater = async (part: Uint8Array[], position: number): Promise<number> => {
    const { bytesWritten } = await this.#file.writev(part, position)
    return bytesWritten
  }

  /** Move data at once when that is likely to be quick, by a thread otherwise. */
  #move(
    what: string,
    sector: number,
    segments: readonly Uint8Array[],
    now: (part: Uint8Array[], position: number) => number,
    later: (part: Uint8Array[], position: number) => Promise<number>,
    writes = false,
  ): Promise<void> | undefined {
    if (this.#closing !== undefined) return Promise.reject(closed())
    const transfer = new ScatterGather(sector * SECTOR, segments)
    try {
      const atOnce = this.#quick.take(transferLength(this, sector, segments))
      if (writes) this.#checkWritable()
      if (atOnce) {
        this.#quick.run(() => {
          for (let part = transfer.next(); part !== undefined; part = transfer.next())
            transfer.advance(now(part, transfer.position))
        })
        return undefined
      }
    } catch (cause) {
      return Promise.reject(failure(cause, what))
    }
    return this.#run(what, () => moveAll(transfer, later))
  }

  /** Refuse writes to a read-only disk, and to a file that has become shorter: it would silently get holes where there was data, and what was flushed is gone. */
  #checkWritable(): void {
    if (this.readOnly) throw new DiskError(DISK_ERROR.READ_ONLY, 'the disk is read-only')
    const { size } = fstatSync(this.#file.fd)
    if (size < this.#size) throw truncated(size)
  }

  #discard(sector: number, count: number): Promise<void> {
    return this.#run('could not be changed', async () => {
      checkRange(this, sector, count)
      this.#checkWritable()
      // Where the file system has no holes the blocks stay, which a discard allows.
      if (count > 0) await this.#punch?.(this.#file.fd, sector * SECTOR, count * SECTOR)
    })
  }

  zero(sector: number, count: number): Promise<void> {
    return this.#run('could not be written', async () => {
      checkRange(this, sector, count)
      this.#checkWritable()
      if (count === 0 || (await this.#punch?.(this.#file.fd, sector * SECTOR, count * SECTOR)) === true) return
      const zeros = new Uint8Array(Math.min(ZERO_STEP, count * SECTOR))
      for (let done = 0; done < count * SECTOR; done += zeros.length) {
        const part = zeros.subarray(0, Math.min(zeros.length, count * SECTOR - done))
        await moveAll(new ScatterGather(sector * SECTOR + done, [part]), this.#writeLater)
      }
    })
  }

  flush(): Promise<void> {
    return this.#run('could not be flushed', async () => {
      if (this.readOnly) return
      this.#checkWritable()
      await this.#sync()
    })
  }

  /** One call at a time, for all that came while the one before was under way: of several at once the system tells only one what was lost. */
  #sync(): Promise<void> {
    if (this.#syncing === undefined) {
      this.#syncing = this.#datasync().finally(() => {
        this.#syncing = undefined
      })
      return this.#syncing
    }
    this.#syncNext ??= this.#syncing
      .catch(() => {})
      .then(() => {
        this.#syncNext = undefined
        return this.#sync()
      })
    return this.#syncNext
  }

  async #datasync(): Promise<void> {
    if (this.#lost === undefined) {
      try {
        await this.#file.datasync()
        return
      } catch (cause) {
        this.#lost = failure(
          cause,
          'could not be flushed',
          'What was written since the last flush may be lost. Stop the VM, look after the disk of the host, and open the image again.',
        )
      }
    }
    throw this.#lost
  }

  #run(what: string, operation: () => Promise<void>): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closed())
    const running = operation().catch((cause: unknown) => {
      throw failure(cause, what)
    })
    this.#running.add(running)
    const forget = (): void => void this.#running.delete(running)
    running.then(forget, forget)
    return running
  }

  /** Waits for what is under way, writes everything to the medium and gives the lock back. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running)
    let failed: DiskError | undefined
    const attempt = async (what: string, step: () => Promise<void> | PromiseLike<void> | undefined): Promise<void> => {
      try {
        await step()
      } catch (cause) {
        failed ??= failure(cause, what)
      }
    }
    if (!this.readOnly) await attempt('could not be flushed', () => this.#sync())
    await attempt('could not be unlocked', () => this.#lock?.[Symbol.asyncDispose]())
    await attempt('could not be closed', () => this.#file.close())
    if (failed !== undefined) throw failed
  }
}
