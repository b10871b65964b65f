// A running Debian guest is saved, and goes on in another virtual machine: every device and the processor carry their state over.

import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRawDisk } from '@partita/disk-images/node'
import { type Disk, disksToken, vmbusServerToken } from '@partita/interface'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { afterAll, describe, expect, test } from 'vitest'
import { makeFileSystem, missingPrograms, run } from '../../../tools/storage/unclean-stop.ts'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { GuestConsole } from './guest-console.ts'

const MEBIBYTE = 2 ** 20
const STORAGE = '@partita/synthetic-storage/vsp'

const directory = mkdtempSync(join(tmpdir(), 'partita-saved-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})

/** A default machine with the default guest's kernel and initial ramdisk, and disks where some are given. */
async function machine(backend: GuestConsole, disks: ReadonlyMap<string, Disk> = new Map()): Promise<VirtualMachine> {
  if (guest === undefined) throw new Error('there is no guest')
  const luns = [...disks.keys()].map((disk) => ({ disk }))
  return VirtualMachine.create(
    {
      memory: 256 * MEBIBYTE,
      ...(disks.size > 0 && {
        devices: DEFAULT_DEVICES.map((device) =>
          device.plugin === STORAGE ? { ...device, options: { controllers: [{ luns }] } } : device,
        ),
      }),
      boot: {
        kernel: guest.kernel,
        initrd: guest.initrd,
        commandLine: `${guest.commandLine} ${guest.pipedInputWord}`,
      },
    },
    {
      registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
      readFile,
      characterBackends: new Map([['console', backend]]),
      services: new Map([[disksToken.name, disks]]),
    },
  )
}

/** The primary channel of the SCSI controller. */
function channelOf(vm: VirtualMachine) {
  return vm
    .find(vmbusServerToken)
    ?.channels()
    .find(({ subChannelIndex }) => subChannelIndex === 0)
}

describe.skipIf(guest === undefined)('a saved guest', () => {
  test('goes on in another virtual machine', { timeout: 600_000 }, async () => {
    const before = new GuestConsole()
    const first = await machine(before)
    const firstEnd = first.run()
    await before.saw('root# ')
    // In the foreground: busybox takes the end of a background process, while it waits for a line, for the end of its input.
    before.type('ANSWER=42; echo REA""DY; sleep 30; echo AWA""KE')
    await before.saw('READY')
    await first.pause()
    const saved = structuredClone(first.save())
    expect(channelOf(first)).toMatchObject({ relid: 1, state: 'open' })
    await first.stop()
    expect(await firstEnd).toEqual({ type: 'stopped' })
    await first[Symbol.asyncDispose]()

    const after = new GuestConsole()
    await using second = await machine(after)
    second.restore(saved)
    const secondEnd = second.run()
    // a timer that was running, a shell's memory, and the console's lines
    await after.saw('AWAKE')
    expect(await after.run('echo THE ANSWER IS $ANSWER')).toEqual({ output: 'THE ANSWER IS 42\n', status: 0 })
    after.type('exit')
    expect(await secondEnd).toEqual({ type: 'power-off' })
  })

  test.skipIf(missingPrograms().length > 0)(
    'goes on with its disk, whatever was under way',
    { timeout: 600_000 },
    async () => {
      const image = join(directory, 'work.img')
      makeFileSystem(image, 64 * MEBIBYTE, 'work')
      let saved: ReturnType<VirtualMachine['save']>
      {
        const console = new GuestConsole()
        await using disk = await openRawDisk(image)
        await using vm = await machine(console, new Map([['work', disk]]))
        const end = vm.run()
        await console.saw('root# ')
        await console.run(
          'until findfs LABEL=work >/dev/null 2>&1; do usleep 20000; done; mount -t ext4 LABEL=work /mnt; dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null',
        )
        expect((await console.run('sha256sum </tmp/data >/mnt/sum && sync')).status).toBe(0)
        console.type(
          'i=0; while [ $i -lt 6 ]; do dd if=/tmp/data of=/mnt/copy$i bs=16k conv=fsync 2>/dev/null && echo COPIED $i; i=$((i + 1)); done; echo THROUGH',
        )
        await console.saw('COPIED 1')
        await vm.pause()
        saved = structuredClone(vm.save())
        expect(console.text).not.toContain('THROUGH')
        // The one who is saved can go on too, but this one must not: its disk is another's now.
        await vm.stop()
        expect(await end).toEqual({ type: 'stopped' })
      }
      const console = new GuestConsole()
      {
        await using disk = await openRawDisk(image)
        await using vm = await machine(console, new Map([['work', disk]]))
        vm.restore(saved)
        expect(channelOf(vm)).toMatchObject({ relid: 1, state: 'open' })
        const end = vm.run()
        await console.saw('THROUGH')
        // A pause in which nothing is saved.
        await vm.pause()
        vm.resume()
        const sums = await console.run(
          'for i in 0 1 2 3 4 5; do sha256sum </mnt/copy$i; done | sort -u | cmp - /mnt/sum',
        )
        expect(sums).toEqual({ output: '', status: 0 })
        expect((await console.run('umount /mnt && dmesg | grep -E "I/O error|EXT4-fs error|WARNING|BUG"')).output).toBe(
          '',
        )
        console.type('exit')
        expect(await end).toEqual({ type: 'power-off' })
      }
      expect(run('e2fsck', ['-fn', image])).toMatchObject({ status: 0 })
    },
  )
})
