// Images on file systems that have no hard links, as FAT and exFAT have none: link(2) is refused there.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { createRawImage, openRawDisk } from '../src/raw.node.ts'

const links = vi.hoisted(() => ({ tried: 0 }))
vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof import('node:fs/promises')>()),
  link: () => {
    links.tried++
    return Promise.reject(Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' }))
  },
}))

const directory = await mkdtemp(join(tmpdir(), 'partita-disk-'))
afterAll(() => rm(directory, { recursive: true, force: true }))

it('are locked, and given back', async () => {
  const image = join(directory, 'disk.img')
  await createRawImage(image, 5120)
  const disk = await openRawDisk(image)
  expect(links.tried).toBe(1)
  expect((await readdir(directory)).sort()).toEqual(['disk.img', 'disk.img.lock'])
  await expect(openRawDisk(image)).rejects.toMatchObject({ code: 'ERR_DISK_LOCKED', data: { pid: process.pid } })
  await disk[Symbol.asyncDispose]()
  expect(await readdir(directory)).toEqual(['disk.img'])
})
