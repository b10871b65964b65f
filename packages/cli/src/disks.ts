// Disk images of `--disk`: raw files, opened and checked before the VM is made.

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { DISK_ERROR, type Disk, disksToken } from '@partita/interface'
import type { PluginConfiguration } from '@partita/root-partition'
import { CliError, systemMessage } from './cli-error.ts'

const SECTOR = 512
/** Two channels with two drives each. */
const MAXIMUM_DISKS = 4
const CONTROLLER = '@partita/emulated-ide'

/** A raw image in a file. */
export class FileDisk implements Disk {
  readonly sectorSize: number = SECTOR
  readonly physicalSectorSize: number = 4096
  readonly sectorCount: number
  readonly readOnly: boolean
  readonly #file: FileHandle
  #closed = false

  private constructor(file: FileHandle, sectorCount: number, readOnly: boolean) {
    this.#file = file
    this.sectorCount = sectorCount
    this.readOnly = readOnly
  }

  /**
   * Open for reading and writing; for reading alone where the file is write-protected.
   * @throws CliError `ERR_DISK_UNREADABLE`
   */
  static async open(path: string): Promise<FileDisk> {
    let file: FileHandle | undefined
    let readOnly = false
    try {
      file = await open(path, constants.O_RDWR | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
        if (!['EACCES', 'EROFS', 'EPERM'].includes(error.code ?? '')) throw error
        readOnly = true
        return open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      })
      const stat = await file.stat()
      if (!stat.isFile()) throw unreadable(path, 'it is not a file')
      if (stat.size === 0 || stat.size % SECTOR !== 0) {
        throw unreadable(path, `its size of ${stat.size} bytes is not a number of sectors of ${SECTOR} bytes`)
      }
      return new FileDisk(file, stat.size / SECTOR, readOnly)
    } catch (cause) {
      await file?.close()
      throw cause instanceof CliError ? cause : unreadable(path, systemMessage(cause), cause)
    }
  }

  async read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    const length = this.#check(sector, segments)
    await hostCall(async () => {
      let position = sector * SECTOR
      for (const segment of segments) {
        for (let done = 0; done < segment.length; ) {
          const { bytesRead } = await this.#file.read(segment, done, segment.length - done, position)
          if (bytesRead === 0) throw new Error('The disk image has become shorter')
          done += bytesRead
          position += bytesRead
        }
      }
    }, length)
  }

  async write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    const length = this.#check(sector, segments)
    if (this.readOnly) throw new CliError(DISK_ERROR.READ_ONLY, 'The disk image is write-protected')
    await hostCall(async () => {
      let position = sector * SECTOR
      for (const segment of segments) {
        for (let done = 0; done < segment.length; ) {
          const { bytesWritten } = await this.#file.write(segment, done, segment.length - done, position)
          done += bytesWritten
          position += bytesWritten
        }
      }
    }, length)
  }

  async flush(): Promise<void> {
    if (this.#closed) throw new CliError(DISK_ERROR.CLOSED, 'The disk image is closed')
    await hostCall(() => this.#file.datasync(), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#file.close()
  }

  #check(sector: number, segments: readonly Uint8Array[]): number {
    if (this.#closed) throw new CliError(DISK_ERROR.CLOSED, 'The disk image is closed')
    let length = 0
    for (const segment of segments) length += segment.length
    if (
      !Number.isInteger(sector) ||
      sector < 0 ||
      length % SECTOR !== 0 ||
      sector + length / SECTOR > this.sectorCount
    ) {
      throw new CliError(DISK_ERROR.RANGE, `Sectors from ${sector} with ${length} bytes are not on the disk`)
    }
    return length
  }
}

async function hostCall(call: () => Promise<unknown>, length: number): Promise<void> {
  try {
    await call()
  } catch (cause) {
    const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((cause as NodeJS.ErrnoException).code ?? '')
    throw new CliError(full ? DISK_ERROR.FULL : DISK_ERROR.IO, systemMessage(cause), { cause, data: { length } })
  }
}

/** The disks of a VM: what its configuration gets, and the services behind it. */
export interface OpenDisks extends AsyncDisposable {
  readonly devices: readonly PluginConfiguration[]
  readonly services: ReadonlyMap<string, unknown>
}

/**
 * Open the images in `paths` as the drives `disk0`, `disk1`, … of the IDE controller.
 * @throws CliError `ERR_DISK_UNREADABLE`, `ERR_USAGE` for more than four
 */
export async function openDisks(paths: readonly string[]): Promise<OpenDisks> {
  if (paths.length > MAXIMUM_DISKS) {
    throw new CliError('ERR_USAGE', `${paths.length} disks are more than the ${MAXIMUM_DISKS} that there is room for`)
  }
  const stack = new AsyncDisposableStack()
  const disks = new Map<string, Disk>()
  try {
    for (const path of paths) disks.set(`disk${disks.size}`, stack.use(await FileDisk.open(path)))
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
  return {
    devices: disks.size === 0 ? [] : [{ plugin: CONTROLLER, options: { drives: [...disks.keys()] } }],
    services: new Map([[disksToken.name, disks]]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function unreadable(path: string, why: string, cause?: unknown): CliError {
  return new CliError('ERR_DISK_UNREADABLE', `The disk ${path} cannot be used: ${why}`, {
    hint: 'Give a raw disk image.',
    data: { path },
    cause,
  })
}
