// A back end with a panic watcher between it and the device.

import type { CharacterBackend } from '@partita/interface'
import type { PanicWatcher } from './panic-watcher.ts'

/** Passes everything on, and shows it to `watcher`. */
export function watched(backend: CharacterBackend, watcher: PanicWatcher, onActivity: () => void): CharacterBackend {
  return {
    write(data: Uint8Array): boolean {
      watcher.output(data)
      onActivity()
      return backend.write(data)
    },
    read(target: Uint8Array): number {
      const count = backend.read(target)
      if (count > 0) {
        watcher.input()
        onActivity()
      }
      return count
    },
    get onReady(): (() => void) | undefined {
      return backend.onReady
    },
    set onReady(callback: (() => void) | undefined) {
      backend.onReady = callback
    },
  }
}
