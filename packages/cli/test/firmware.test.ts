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

/** A new file in the tests' directory. */
function file(name: string, contents: Uint8Array): string {
  const path = join(mkdtempSync(join(directory, 'media-')), name)
  writeFileSync(path, contents)
  return path
}

function run(...args: string[]) {
  return partita('main', ['run', '--memory', '32M', '--timeout', '110', ...args], directory)
}

/** The lines on the console, without what sets the terminal up. */
function lines(stdout: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are control sequences
  return stdout.replace(/\x1b(?:c|\[[?\d;]*[A-Za-z])/g, '').split('\r\n')
}

describe.skipIf(firmware === undefined)('partita run --firmware bios', { timeout: 120_000 }, () => {
  /** The firmware's first line: upstream's version, and Debian's. */
  const version = firmware?.version ?? ''
  const banner = `SeaBIOS (version ${version.split('-')[0]}-debian-${version})`

  test('boots a sector from an IDE disk', async () => {
    const disk = file('disk.img', bootDisk('Words of a disk.'))
    const { status, stdout, stderr } = await run('--firmware', 'bios', '--disk', disk)
    expect(stderr).toBe('')
    expect(lines(stdout)).toEqual([banner, 'Booting from Hard Disk...', 'Words of a disk.'])
    expect(status).toBe(STATUS)
  })

  test('boots a CD that stands before a disk, on two processors of plain hardware', async () => {
    const cd = file('cd.iso', bootCd('Words of a CD.'))
    const disk = file('disk.img', bootDisk('Words of a disk behind it.'))
    const args = ['--disk', `${cd},ro,dvd`, '--disk', disk, '--processors', '2', '--hypervisor', 'none']
    const { status, stdout, stderr } = await run('--firmware', 'bios', ...args)
    expect(stderr).toBe('')
    expect(lines(stdout)).toEqual([banner, 'Booting from DVD/CD...', 'Words of a CD.'])
    expect(status).toBe(STATUS)
  })

  test('boots an image of the user’s own', async () => {
    const disk = file('disk.img', bootDisk('Words for another image.'))
    const { status, stdout, stderr } = await run('--firmware', `bios:${firmware?.image}`, '--disk', disk)
    expect(stderr).toBe('')
    expect(lines(stdout)).toEqual([banner, 'Booting from Hard Disk...', 'Words for another image.'])
    expect(status).toBe(STATUS)
  })

  test.each([
    ['1000 bytes', new Uint8Array(1000), '1000 bytes are not the size of a BIOS image'],
    ['zeros', new Uint8Array(65_536), 'The BIOS image does not end with a jump, where the processor starts'],
  ])('refuses an image that is none: %s', async (_, contents, reason) => {
    const image = file('image.bin', contents)
    const { status, stdout, stderr } = await run('--firmware', `bios:${image}`)
    expect(stdout).toBe('')
    expect(stderr.split('\n')[0]).toBe(`partita: ERR_FIRMWARE_IMAGE: ${reason}`)
    expect(status).toBe(2)
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
