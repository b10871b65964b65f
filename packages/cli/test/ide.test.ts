// Drives of the emulated IDE controller, end to end: the stock Debian kernel leaves disks to hv_storvsc, as on Hyper-V, and takes them with ata_piix when it is told to; one disk, two ways to it. CD drive
// and media changes with sr_mod.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { MemoryDisk } from '@partita/disk-images'
import { ideControlToken } from '@partita/emulated-ide'
import { DISK_ERROR, type Disk, disksToken, PartitaError } from '@partita/interface'
import { GENERATION_1_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { GuestConsole } from './guest-console.ts'

const MEBIBYTE = 2 ** 20
const SECTORS = 65_536
const STORAGE = '@partita/synthetic-storage/vsp'
const IDE = '@partita/emulated-ide'

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
/** Have reads of a sector fail. */
function spoil(disk: MemoryDisk, bad: number): void {
  const read = disk.read.bind(disk)
  disk.read = async (sector, segments) => {
    const count = segments.reduce((sum, { length }) => sum + length, 0) / 512
    if (sector <= bad && bad < sector + count) throw new PartitaError(DISK_ERROR.IO, 'a bad sector')
    await read(sector, segments)
  }
}
const noise = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + seed) ^ (i >> 7) ^ (i >> 15))

describe.skipIf(guest === undefined)('IDE drives of a machine of generation 1', () => {
  test('are what a Hyper-V guest expects, and what other guests do', { timeout: 600_000 }, async () => {
    if (guest === undefined) return
    const contents = noise(4 * MEBIBYTE, 1)
    const disk = new MemoryDisk(SECTORS, { contents })
    const images = [noise(3 * MEBIBYTE, 2), noise(2 * MEBIBYTE, 3)] as const
    const [cd, otherCd] = images.map((image) => new MemoryDisk(image.length / 512, { readOnly: true, contents: image }))
    const drives = ['disk', null, { disk: 'cd', dvd: true }]
    const options: Readonly<Record<string, object>> = {
      [IDE]: { drives },
      [STORAGE]: { ide: [{ channel: 0, device: 0, disk: 'disk' }] },
    }
    const console = new GuestConsole()
    await using vm = await VirtualMachine.create(
      {
        memory: 256 * MEBIBYTE,
        devices: GENERATION_1_DEVICES.map((device) => ({
          ...device,
          ...(options[device.plugin] && { options: options[device.plugin] }),
        })),
        boot: {
          kernel: guest.kernel,
          initrd: guest.initrd,
          commandLine: `${guest.commandLine} ${guest.pipedInputWord}`,
        },
      },
      {
        registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
        readFile,
        characterBackends: new Map([['console', console]]),
        services: new Map([
          [
            disksToken.name,
            new Map<string, Disk>([
              ['disk', disk],
              ['cd', cd as MemoryDisk],
            ]),
          ],
        ]),
      },
    )
    const end = vm.run()
    const output = async (command: string): Promise<string> => (await console.run(command)).output
    await console.saw('root# ')

    // As on Hyper-V: the disk is hv_storvsc's, the CD drive ata_piix'.
    expect(await output('cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name')).toContain(
      'Microsoft Corporation\nVirtual Machine\n',
    )
    expect(await output('dmesg | grep ata_piix')).toContain('Hyper-V Virtual Machine detected, ATA device ignore set')
    // It looks for drives in the background; one is there when it can be opened.
    const wait = (name: string) => console.run(`until true </dev/${name}; do usleep 20000; done 2>/dev/null`)
    await wait('sda')
    await wait('sr0')
    const disks = 'for disk in /sys/block/sd*; do readlink -f $disk; done'
    expect(await output(disks)).toMatch(/\/00000000-0000-8899-0000-000000000000\/host\d+\/\S+\/block\/sda\n$/)
    expect(await output('sha256sum /dev/sr0')).toContain(`${sha256(images[0])}  /dev/sr0\n`)
    expect(await output('dd if=/dev/sda bs=1M count=4 2>/dev/null | sha256sum')).toContain(sha256(contents))

    // Another medium, and none.
    const media = vm.find(ideControlToken)
    expect(await media?.insert(2, otherCd as MemoryDisk)).toBe(cd)
    expect(await output('sha256sum /dev/sr0')).toContain(`${sha256(images[1])}  /dev/sr0\n`)
    expect(await media?.remove(2)).toBe(otherCd)
    expect(media?.media(2)).toEqual({ trayOpen: false, locked: false, medium: undefined })
    expect((await console.run('dd if=/dev/sr0 of=/dev/null bs=2k count=1')).output).toContain('No medium found')

    // A guest without Hyper-V's drivers: ata_piix takes the disk, which has two ways to it now.
    expect((await console.run('rmmod ata_piix && modprobe ata_piix prefer_ms_hyperv=0')).status).toBe(0)
    await wait('sdb')
    expect(await output(disks)).toMatch(/\/ata\d\/\S+\/block\/sdb\n$/)
    const log = await output('dmesg | grep "ata[0-9]"')
    expect(log).toMatch(/ATA-8: Partita Virtual Disk, 1\.0, max UDMA\/100/)
    expect(log).toMatch(/65536 sectors, multi \d+: LBA48/)
    const sum = 'dd if=$disk bs=1M skip=8 count=16 iflag=direct 2>/dev/null | sha256sum | cut -c 1-64'
    const write = (target: string): string =>
      `dd if=/dev/urandom of=${target} bs=1M seek=8 count=16 oflag=direct conv=notrunc 2>/dev/null`
    for (const target of ['/dev/sdb', '/dev/sda']) {
      const sums = await output(`${write(target)}; for disk in /dev/sda /dev/sdb; do ${sum}; done`)
      const written = new Uint8Array(16 * MEBIBYTE)
      await disk.read((8 * MEBIBYTE) / 512, [written])
      expect(sums).toContain(`${sha256(written)}\n`.repeat(2))
    }
    // TRIM by the driver of the emulated controller gives memory of the host back.
    const before = disk.allocated
    expect((await console.run('blkdiscard -o 8M -l 16M /dev/sdb')).status).toBe(0)
    expect(disk.allocated).toBe(before - 16 * MEBIBYTE)
    // A partition with a file system, by the emulated controller alone.
    const made = await console.run(
      'printf "n\\np\\n1\\n\\n\\nw\\n" | fdisk /dev/sdb >/dev/null; mke2fs /dev/sdb1 >/dev/null && mount -t ext4 /dev/sdb1 /mnt && dd if=/dev/urandom of=/mnt/file bs=1M count=8 2>/dev/null; a=$(sha256sum </mnt/file); umount /mnt && mount -t ext4 /dev/sdb1 /mnt && [ "$a" = "$(sha256sum </mnt/file)" ] && umount /mnt && echo SAME',
    )
    expect(made.output).toContain('SAME')
    expect(await output('dmesg | grep -icE "lost interrupt|exception|failed command"')).toMatch(/(^|\s)0\n$/)

    // Sectors that the host cannot read: the drivers hear which.
    spoil(disk, 40_003)
    spoil(otherCd as MemoryDisk, 2_401)
    await media?.insert(2, otherCd as MemoryDisk)
    for (const [name, skip] of [
      ['sdb', 40_000 / 64],
      ['sr0', 2_368 / 64],
    ] as const) {
      const read = await console.run(`dd if=/dev/${name} of=/dev/null bs=32k skip=${skip} count=1 iflag=direct`)
      expect([read.status, read.output]).toEqual([1, expect.stringContaining('Input/output error')])
    }
    const errors = await output('dmesg | grep -E "I/O error|res 5|Add. Sense"')
    // Status, error, and the address in the registers: 9C43h.
    expect(errors).toContain('res 51/40:40:43:9c:00/00:00:00:00:00/e0 Emask 0x9 (media error)')
    expect(errors).toContain('I/O error, dev sdb, sector 40003 op 0x0:(READ)')
    // The driver of CDs counts no less than its requests.
    expect(errors).toContain('I/O error, dev sr0, sector 2368 op 0x0:(READ)')
    expect(errors).toMatch(/sr 1:0:0:0: \[sr0\] .*Add\. Sense: Unrecovered read error\n/)
    // And are none the worse for it.
    expect((await console.run('dd if=/dev/sdb of=/dev/null bs=32k skip=626 count=1 iflag=direct')).status).toBe(0)
    console.type('poweroff -f')
    expect(await end).toMatchObject({ type: 'power-off' })
  })
})
