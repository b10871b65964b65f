// A capture file on the host. It is written at once, so that it is whole whatever becomes of the process.

import { closeSync, openSync, writeSync } from 'node:fs'
import type { CaptureSink } from './pcapng.ts'
import { SwitchError } from './switch-error.ts'

/** A file for a capture. */
export interface CaptureFile extends Disposable {
  /** Takes the capture, piece by piece. */
  readonly write: CaptureSink
}

/**
 * Make a file, or empty it, for a capture. When it cannot be written any more, `onError` is called once and the rest is dropped.
 * @throws SwitchError `ERR_NETWORK_CAPTURE`
 */
export function openCaptureFile(path: string, onError: (error: SwitchError) => void): CaptureFile {
  const failed = (cause: unknown): SwitchError =>
    new SwitchError('ERR_NETWORK_CAPTURE', `cannot write the capture ${path}: ${(cause as Error).message}`, {
      hint: 'Name a file in a directory that can be written, with room for the traffic.',
      data: { path },
      cause,
    })
  let file: number | undefined
  try {
    file = openSync(path, 'w')
  } catch (error) {
    throw failed(error)
  }
  const close = (): void => {
    if (file !== undefined) closeSync(file)
    file = undefined
  }
  return {
    write: (bytes) => {
      if (file === undefined) return
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      } catch (error) {
        close()
        onError(failed(error))
      }
    },
    [Symbol.dispose]: close,
  }
}
