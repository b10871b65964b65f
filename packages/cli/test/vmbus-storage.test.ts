// Disks over the VMBus, end to end: the stock Debian kernel's hv_storvsc and ext4 work on images, and the host looks at them with e2fsprogs and by itself.

import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DiskError, MemoryDisk } from '@partita/disk-images'
import { openRawDisk } from '@partita/disk-images/node'
import { DISK_ERROR, type Disk, disksToken, type Logger } from '@partita/interface'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { storageControlToken } from '@partita/synthetic-storage/vsp'
import { afterAll, describe, expect, test } from 'vitest'
import { fileOperations, sumsInImage, sumsTold } from '../../../tools/storage/file-operations.ts'
import {
  examine,
  makeFileSystem,
  makeImages,
  missingPrograms,
  run,
  uncleanStop,
} from '../../../tools/storage/unclean-stop.ts'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { partita, start } from './child.ts'
import { GuestConsole } from './guest-console.ts'

const MEBIBYTE = 2 ** 20
const STORAGE = '@partita/synthetic-storage/vsp'

const directory = mkdtempSync(join(tmpdir(), 'partita-storage-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const file = (name: string): string => join(directory, name)

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})
const missing = missingPrograms()
if (missing.length > 0) console.warn(`skipped in part: this host has no ${missing.join(', ')}`)

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/**
 * Linux names disks in the order in which it is done with looking at them, so they are found by their place. It looks in the background, and a disk is there when it can be
 * opened.
 */
const NAMES =
  'lun() { local disk; until { disk=/dev/$(ls /sys/bus/scsi/devices/0:0:0:$1/block) && true <$disk; } 2>/dev/null; do usleep 20000; done; echo $disk; }'

/** A disk that fails when it is told to. */
class FaultyDisk extends MemoryDisk {
  failure: DiskError | undefined
  override read(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.failure === undefined ? super.read(sector, segments) : Promise.reject(this.failure)
  }
  override write(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.failure === undefined ? super.write(sector, segments) : Promise.reject(this.failure)
  }
}

/** A guest in this process with the disks of one controller. */
async function machine(disks: ReadonlyMap<string, Disk>, luns: readonly object[]) {
  if (guest === undefined) throw new Error('there is no guest')
  const errors: string[] = []
  const logger: Logger = {
    log: (level, message) => void (level === 'error' && errors.push(message)),
    child: () => logger,
  }
  const console = new GuestConsole()
  const vm = await VirtualMachine.create(
    {
      memory: 256 * MEBIBYTE,
      devices: DEFAULT_DEVICES.map((device) =>
        device.plugin === STORAGE ? { ...device, options: { controllers: [{ luns }] } } : device,
      ),
      boot: {
        kernel: guest.kernel,
        initrd: guest.initrd,
        commandLine: `${guest.commandLine} ${guest.pipedInputWord}`,
      },
    },
    {
      registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
      readFile,
      logger,
      characterBackends: new Map([['console', console]]),
      services: new Map([[disksToken.name, disks]]),
    },
  )
  return { vm, console, errors }
}

describe.skipIf(guest === undefined || missing.length > 0)('a file system over the VMBus', () => {
  test('holds what the guest wrote, and is clean', { timeout: 600_000 }, async () => {
    const image = file('work.img')
    makeFileSystem(image, 96 * MEBIBYTE, 'work')
    // Two processors: hv_storvsc opens a sub-channel for the second one.
    const args = ['run', '--processors', '2', '--timeout', '580', '--trace', 'vmbus', '--disk', image]
    const { status, stdout, stderr } = await partita('main', args, directory, `${fileOperations(1500)}exit\n`)
    expect(status, stderr).toBe(0)
    expect(stdout).toContain('UNMOUNTED')
    expect(run('e2fsck', ['-fn', image])).toMatchObject({ status: 0 })
    const found = sumsInImage(image, directory)
    expect(found.size).toBeGreaterThan(1400)
    expect(found).toEqual(sumsTold(stdout))
    expect(stdout).toMatch(/2 PROCESSORS, 2 CHANNELS/)
    // `--trace vmbus`: the way of the storage channel from the first contact on, and what came through it.
    for (const line of [
      /^vmbus \d+\.\d{3} <- INITIATE_CONTACT version=5\.3 /m,
      /^vmbus \d+\.\d{3} -> OFFER_CHANNEL interfaceId=ba6163d9-04a1-4d29-b605-72e2ffb1dc7f /m,
      /^vmbus \d+\.\d{3} channel 1: open, rings of \d+ and \d+ bytes$/m,
      /^vmbus \d+\.\d{3} <- OPEN_CHANNEL relid=\d+ .* targetVp=1 /m,
      /^channel +device +state +opens +packets in +out /m,
    ])
      expect(stderr).toMatch(line)
    const channels = [...stderr.matchAll(/^\d +SCSI controller [-0-9a-f]+ (?:sub-channel 1)? +open +(.+)$/gm)]
    expect(channels).toHaveLength(2)
    for (const [, counters = ''] of channels) {
      const [opens = 0, packetsIn = 0, packetsOut = 0] = counters.split(/ +/).map(Number)
      expect(opens).toBe(1)
      expect(packetsIn).toBeGreaterThan(100)
      expect(packetsOut).toBe(packetsIn)
    }
  })

  test('loses nothing that was flushed when the process is killed', { timeout: 600_000 }, async () => {
    const options = {
      images: makeImages(file('stop')),
      stop: 1,
      acknowledgements: 40,
      delay: 50,
      start: (args: readonly string[]) => start('main', args, directory).process,
      directory: file('stop'),
    }
    const result = await uncleanStop(options)
    expect(result).toMatchObject({ problems: [], replayed: true })
    expect(result.acknowledged).toBeGreaterThanOrEqual(40)
    // A loss would be seen: the record 39 is on the bare disk, in place 39.
    const bytes = readFileSync(options.images.bareDisk)
    bytes[39 * 16_384 + 5000] = 0xff
    writeFileSync(options.images.bareDisk, bytes)
    expect(examine(options, [38, 39]).problems).toEqual([expect.stringMatching(/^record 39 of stop 1 is lost/)])
  })
})

describe.skipIf(guest === undefined)('disks over the VMBus', () => {
  test('come and go while the guest runs, and differ in kind', { timeout: 600_000 }, async () => {
    const contents = Uint8Array.from({ length: 3 * MEBIBYTE }, (_, i) => (i * 31) ^ (i >> 7))
    const disks = new Map<string, Disk>([
      ['protected', new MemoryDisk(4096, { readOnly: true, contents: contents.subarray(0, 2 * MEBIBYTE) })],
      ['iso', new MemoryDisk(6144, { contents })],
    ])
    const luns = [
      { disk: 'protected', lun: 3 },
      { disk: 'iso', dvd: true, lun: 63 },
    ]
    const { vm, console } = await machine(disks, luns)
    await using _vm = vm
    const end = vm.run()
    await console.saw('root# ')
    await console.run(`${NAMES}; lun 3; lun 63`)
    expect(
      (await console.run('cat /sys/block/sda/ro /sys/block/sda/device/scsi_level; sha256sum /dev/sda')).output,
    ).toBe(`1\n7\n${sha256(contents.subarray(0, 2 * MEBIBYTE))}  /dev/sda\n`)
    expect((await console.run('dd if=/dev/zero of=/dev/sda count=1')).status).not.toBe(0)
    expect((await console.run('sha256sum /dev/sr0')).output).toBe(`${sha256(contents)}  /dev/sr0\n`)

    const storage = vm.find(storageControlToken)
    const added = new MemoryDisk(40_960)
    expect(storage?.attach(0, added, { serial: 'added', lun: 5 })).toBe(5)
    await console.run('lun 5')
    const filled = await console.run(
      'yes partita | dd of=/tmp/mib bs=1M count=1 iflag=fullblock; for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do cat /tmp/mib; done | dd of=/dev/sdb bs=1M iflag=fullblock conv=fsync; cat /sys/block/sdb/size',
    )
    expect(filled.output).toContain('20+0 records out\n40960\n')
    const written = new Uint8Array(added.sectorCount * 512)
    await added.read(0, [written])
    expect(sha256(written)).toBe(sha256(Buffer.alloc(20 * MEBIBYTE, 'partita\n')))
    // Twelve readers at a time, each of another part.
    const parts = await console.run(
      'for n in 0 1 2 3 4 5 6 7 8 9 10 11; do dd if=/dev/sdb bs=64k skip=$((n * 24)) count=24 iflag=direct 2>/dev/null | sha256sum & done; wait',
    )
    const part = sha256(Buffer.alloc(24 * 65_536, 'partita\n'))
    expect(parts.output.match(new RegExp(part, 'g'))).toHaveLength(12)

    expect((await storage?.detach(0, 5))?.base.identity.serial).toBe('added')
    await console.run('while [ -b /dev/sdb ]; do usleep 20000; done')
    expect((await console.run('ls /dev/sda /dev/sr0')).status).toBe(0)
    console.type('exit')
    expect(await end).toEqual({ type: 'power-off' })
  })

  test('fail as the guest and the user understand it', { timeout: 600_000 }, async () => {
    const path = file('truncated.img')
    writeFileSync(path, Buffer.alloc(4 * MEBIBYTE, 0x5a))
    await using truncated = await openRawDisk(path)
    const faulty = new FaultyDisk(8192)
    const disks = new Map<string, Disk>([
      ['faulty', faulty],
      ['truncated', truncated],
    ])
    const { vm, console, errors } = await machine(disks, [{ disk: 'faulty' }, { disk: 'truncated' }])
    await using _vm = vm
    const end = vm.run()
    await console.saw('root# ')
    await console.run(NAMES)
    const write = 'dd if=/dev/urandom of=$(lun 0) bs=4k count=1 seek=9 oflag=direct'
    const read = 'dd if=$(lun 0) of=/dev/null bs=4k count=1 skip=20 iflag=direct'

    faulty.failure = new DiskError(DISK_ERROR.FULL, 'the host has no room')
    expect((await console.run(write)).output).toContain('No space left on device')
    faulty.failure = new DiskError(DISK_ERROR.IO, 'the host cannot read')
    // Linux' word for an unrecovered read error.
    expect((await console.run(read)).output).toContain('No data available')
    expect((await console.run(write)).output).toContain('Input/output error')
    const log = (await console.run('dmesg')).output
    expect(log).toMatch(/\[sd[ab]\].*Sense Key : Data Protect/)
    expect(log).toMatch(/\[sd[ab]\].*Sense Key : Medium Error/)
    expect(log).toMatch(/\[sd[ab]\].*Add\. Sense: Unrecovered read error/)
    expect(log).toMatch(/\[sd[ab]\].*Add\. Sense: Write error/)
    // Nothing of it stays.
    faulty.failure = undefined
    expect((await console.run(`${write} && ${read}`)).status).toBe(0)

    truncateSync(path, MEBIBYTE)
    expect((await console.run('dd if=$(lun 1) of=/dev/null bs=64k skip=32 count=1 iflag=direct')).status).not.toBe(0)
    expect((await console.run('dd if=/dev/zero of=$(lun 1) bs=64k count=1 oflag=direct conv=fsync')).status).not.toBe(0)
    // It is not made longer again, with holes where there was data.
    expect(statSync(path).size).toBe(MEBIBYTE)

    for (const message of ['the host has no room', 'the host cannot read', 'has become shorter while it was in use'])
      expect(errors.filter((error) => error.includes(message)).length, message).toBeGreaterThanOrEqual(1)
    // A failing disk does not fill the log.
    expect(errors.length).toBeLessThan(10)
    console.type('exit')
    expect(await end).toEqual({ type: 'power-off' })
  })
})
