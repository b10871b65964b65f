// End to end: SeaBIOS from Debian's package starts the machine, and boots a program from an IDE disk and from a CD. The program (boot-media.ts) goes through the BIOS for disk and screen, and looks at address line
// 20 and at the shadow RAM with its own eyes.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryDisk } from '@partita/disk-images'
import { disksToken } from '@partita/interface'
import { BIOS_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { afterAll, describe, expect, test } from 'vitest'
import { ensureFirmware } from '../src/default-guest/index.ts'
import { BOOTED, bootCd, bootDisk } from './boot-media.ts'
import { partita } from './child.ts'
import { GuestConsole } from './guest-console.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-firmware-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const firmware = await ensureFirmware().catch((error: unknown) => {
  console.warn(`skipped: no firmware on this machine: ${String(error)}`)
  return undefined
})

const STATUS = (BOOTED << 1) | 1

function run(...args: string[]) {
  return partita('main', ['run', '--firmware', 'bios', '--memory', '32M', '--timeout', '110', ...args], directory)
}

describe.skipIf(firmware === undefined)('partita run --firmware bios', { timeout: 120_000 }, () => {
  test('boots a sector from an IDE disk', async () => {
    const disk = join(directory, 'disk.img')
    writeFileSync(disk, bootDisk('Words of a disk.'))
    const { status, stdout, stderr } = await run('--disk', disk)
    expect(stderr).toBe('')
    expect(stdout).toContain(`SeaBIOS (version ${firmware?.version.split('-')[0] ?? ''}`)
    expect(stdout).toContain('Booting from Hard Disk...')
    expect(stdout).toContain('Words of a disk.')
    expect(status).toBe(STATUS)
  })

  test('boots a CD that stands before a disk, on two processors of plain hardware', async () => {
    const [cd, disk] = [join(directory, 'cd.iso'), join(directory, 'empty.img')]
    writeFileSync(cd, bootCd('Words of a CD.'))
    writeFileSync(disk, new Uint8Array(65_536))
    const args = ['--disk', `${cd},ro,dvd`, '--disk', disk, '--processors', '2', '--hypervisor', 'none']
    const { status, stdout, stderr } = await run(...args)
    expect(stderr).toBe('')
    expect(stdout).toContain('Booting from DVD/CD...')
    expect(stdout).toContain('Words of a CD.')
    expect(status).toBe(STATUS)
  })

  test('boots an image of the user’s own, and says what is wrong with one that is none', async () => {
    const disk = join(directory, 'disk.img')
    writeFileSync(join(directory, 'short.bin'), new Uint8Array(1000))
    writeFileSync(join(directory, 'zeros.bin'), new Uint8Array(65_536))
    for (const [image, reason] of [
      ['short.bin', 'not the size of a BIOS image'],
      ['zeros.bin', 'does not end with a jump'],
    ] as const) {
      const { status, stderr } = await partita('main', ['run', '--firmware', `bios:${image}`], directory)
      expect(stderr).toContain('ERR_FIRMWARE_IMAGE')
      expect(stderr).toContain(reason)
      expect(status).toBe(2)
    }
    const { status } = await partita(
      'main',
      ['run', '--firmware', `bios:${firmware?.image}`, '--memory', '32M', '--timeout', '110', '--disk', disk],
      directory,
    )
    expect(status).toBe(STATUS)
  })

  test('goes on in another machine from the middle of the firmware', async () => {
    const machine = async (console: GuestConsole): Promise<VirtualMachine> => {
      const image = bootDisk('Words of a saved machine.')
      const disk = new MemoryDisk(image.length / 512)
      await disk.write(0, [image])
      return VirtualMachine.create(
        {
          memory: 32 * 2 ** 20,
          devices: BIOS_DEVICES.map((device) =>
            device.plugin === '@partita/emulated-ide' ? { ...device, options: { drives: ['disk'] } } : device,
          ),
          boot: { type: 'bios', firmware: firmware?.image },
        },
        {
          registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
          readFile,
          characterBackends: new Map([['console', console]]),
          services: new Map([[disksToken.name, new Map([['disk', disk]])]]),
        },
      )
    }
    const before = new GuestConsole()
    await using first = await machine(before)
    const run = first.run()
    await before.saw('SeaBIOS (version')
    await first.pause()
    const saved = structuredClone(first.save())
    await first.stop()
    await run
    const after = new GuestConsole()
    await using second = await machine(after)
    second.restore(saved)
    expect(await second.run()).toEqual({ type: 'debug-exit', code: STATUS })
    expect(before.text).not.toContain('Words')
    expect(after.text).toContain('Words of a saved machine.')
  })
})
