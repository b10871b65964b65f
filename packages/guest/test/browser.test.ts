// The guest with all that it runs on, bundled for a browser, boots where there is nothing of Node.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { build } from 'tsup'
import { afterAll, describe, expect, it } from 'vitest'

const PROGRAM = `
import { MemoryDisk } from '@partita/disk-images'
import { bootGuest } from '@partita/guest'
import { storageDriver } from '@partita/synthetic-storage/vsc'

export async function run(): Promise<string> {
  await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(2048) } })
  const disk = (await guest.device(storageDriver)).disk(0)
  await disk.write(7, new Uint8Array(512).fill(7))
  const sector = new Uint8Array(512)
  await disk.read(7, sector)
  return guest.deviceTree() + sector[511]
}
`
/** What browsers have that is no part of the language. */
const WEB = {
  AbortController,
  AbortSignal,
  Event,
  EventTarget,
  MessageChannel,
  TextDecoder,
  TextEncoder,
  clearTimeout,
  console,
  performance,
  queueMicrotask,
  setTimeout,
}

/** Where the packages are found from. */
const scratch = mkdtempSync(join(import.meta.dirname, '.browser-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe('in a browser', () => {
  it('boots, and uses a disk', async () => {
    writeFileSync(join(scratch, 'program.ts'), PROGRAM)
    await build({
      entry: [join(scratch, 'program.ts')],
      outDir: scratch,
      config: false,
      format: 'iife',
      globalName: 'program',
      platform: 'browser',
      target: 'es2022',
      noExternal: [/./],
      silent: true,
      esbuildOptions(options) {
        options.conditions = ['@partita/source']
      },
    })
    const code = readFileSync(join(scratch, 'program.global.js'), 'utf8')
    const context = createContext({ ...WEB })
    const answer = (await runInContext(`${code}\nprogram.run()`, context)) as string
    expect(answer).toContain('lun0: Msft Virtual Disk, 1 MiB')
    expect(answer.at(-1)).toBe('7')
  })
})
