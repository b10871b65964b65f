// Reads the files that a user names, with errors that a user understands.

import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { CliError, systemMessage } from './cli-error.ts'

/** No kernel or ramdisk is larger. */
const MAXIMUM_LENGTH = 2 ** 31 - 1

/**
 * Read a kernel, an initial ramdisk, a module.
 * @throws CliError `ERR_FILE_UNREADABLE`
 */
export async function readInputFile(path: string, what: string): Promise<Uint8Array> {
  try {
    // Without O_NONBLOCK the opening of a named pipe would wait for its other end.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) throw unreadable(path, what, stat.isDirectory() ? 'it is a directory' : 'it is not a file')
    if (stat.size > MAXIMUM_LENGTH) throw unreadable(path, what, 'it is too large')
    return await file.readFile()
  } catch (cause) {
    throw cause instanceof CliError ? cause : unreadable(path, what, systemMessage(cause), cause)
  }
}

/** Bytes that nobody else has, whose memory is given back when they are disposed of. */
export function disposable(bytes: Uint8Array): Uint8Array & Disposable {
  return Object.assign(bytes, {
    [Symbol.dispose]() {
      const { buffer } = bytes
      if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0)
    },
  })
}

function unreadable(path: string, what: string, why: string, cause?: unknown): CliError {
  return new CliError('ERR_FILE_UNREADABLE', `The ${what} ${path} cannot be read: ${why}`, {
    hint: `Check the path of the ${what}.`,
    data: { path },
    cause,
  })
}
