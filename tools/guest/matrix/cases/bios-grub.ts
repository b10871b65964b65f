// SeaBIOS, GRUB and Debian's kernel from an IDE disk, to a shell on the serial console; then a restart; then the same disk by the command.

import { equal, match, ok } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { openRawDisk } from '@partita/disk-images/node'
import { disksToken } from '@partita/interface'
import { BIOS_DEVICES, type PluginConfiguration, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { ensureDefaultGuest, ensureFirmware } from '../../../../packages/cli/src/default-guest/index.ts'
import { start } from '../../../../packages/cli/test/child.ts'
import { GuestConsole } from '../../../../packages/cli/test/guest-console.ts'
import type { GuestCase } from '../case.ts'
import { deadline } from '../deadline.ts'
import { GRUB_WORDS, makeGrubDisk } from '../grub-disk.ts'

const BOOT_SECONDS = 300
/** By the clock. */
const COMMAND_SECONDS = 1800
const PROMPT = 'root# '

/** The machine's devices with one disk on the IDE controller, which the VMBus has, too. */
function devices(): PluginConfiguration[] {
  const own: Readonly<Record<string, unknown>> = {
    '@partita/emulated-ide': { drives: ['disk'] },
    '@partita/synthetic-storage/vsp': { ide: [{ channel: 0, device: 0, disk: 'disk' }] },
  }
  return BIOS_DEVICES.map((device) =>
    device.plugin in own ? { plugin: device.plugin, options: own[device.plugin] } : device,
  )
}

/** In this process, where both sides can be looked at; a restart; a file that stays on the disk. */
async function bootHere(path: string): Promise<void> {
  const firmware = await ensureFirmware()
  await using disk = await openRawDisk(path)
  const console = new GuestConsole()
  await using vm = await VirtualMachine.create(
    {
      memory: 512 * 2 ** 20,
      devices: devices(),
      boot: { type: 'bios', firmware: firmware.image },
    },
    {
      registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
      readFile,
      characterBackends: new Map([['console', console]]),
      services: new Map([[disksToken.name, new Map([['disk', disk]])]]),
    },
  )
  const end = vm.run()
  end.catch(() => {})
  const within = async <T>(promise: Promise<T>, what: string): Promise<T> => {
    using limit = deadline(
      BOOT_SECONDS,
      () => `no sign of ${what}; the console ends with\n${console.text.slice(-3000)}`,
    )
    return await Promise.race([
      promise,
      limit.late,
      end.then((outcome) => {
        throw new Error(`the machine ended with ${outcome.type} before ${what}\n${console.text.slice(-3000)}`)
      }),
    ])
  }
  const command = async (line: string): Promise<string> => {
    const { output, status } = await within(console.run(line), `the end of ${line}`)
    equal(status, 0, `${line}\n${output}`)
    return output
  }

  await within(console.saw(PROMPT), 'the prompt')
  ok(console.text.includes('SeaBIOS (version'), 'SeaBIOS says nothing')
  ok(console.text.includes(GRUB_WORDS), 'GRUB says nothing')
  match(await command('cat /proc/cmdline'), /BOOT_IMAGE=\/boot\/vmlinuz/)
  match(
    await command('cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name'),
    /Microsoft Corporation\s+Virtual Machine/,
  )
  match(await command('cat /sys/class/dmi/id/bios_vendor'), /SeaBIOS/)
  // The root file system is on the disk, by way of the VMBus.
  match(await command('grep " / " /proc/mounts'), /\/dev\/sda1 \/ ext4 rw/)
  match(await command('readlink -f /sys/block/sda'), /VMBUS|vmbus/i)
  match(await command('cat /sys/bus/pci/devices/0000:00:00.0/device'), /0x1237/)
  match(await command('dmesg | grep "Interrupt link"'), /LNKA configured for IRQ 10/)
  const complaints = await within(
    console.run('dmesg | grep -E "ACPI (BIOS )?(Error|Warning)|WARNING:|BUG:|I/O error"'),
    'the log',
  )
  equal(complaints.output.trim(), '')
  await command('echo kept >/root/kept && sync')

  const from = console.text.length
  console.type('reboot -f')
  await within(console.saw(GRUB_WORDS, from), 'GRUB after the restart')
  await within(console.saw(PROMPT, from), 'the prompt after the restart')
  match(await command('cat /root/kept'), /kept/)
  console.type('poweroff -f')
  equal((await end).type, 'power-off')
}

/** As a user does it: the command with the disk, its console on standard input and output. */
async function bootByCommand(path: string, directory: string): Promise<void> {
  const options = ['--firmware', 'bios', '--disk', path, '--memory', '512M', '--timeout', String(COMMAND_SECONDS)]
  const child = start('main', ['run', ...options], directory)
  try {
    await child.saw(PROMPT)
    child.process.stdin.write('cat /root/kept /proc/cmdline && grep " / " /proc/mounts && echo "seen" "all"\n')
    await child.saw('seen all')
    child.process.stdin.write('poweroff -f\n')
    const { status, stdout, stderr } = await child.result
    equal(stderr, '')
    equal(status, 0, stdout.slice(-3000))
    for (const words of [
      /SeaBIOS \(version/,
      new RegExp(GRUB_WORDS),
      /# kept\r\n/,
      /BOOT_IMAGE=\/boot\/vmlinuz/,
      /\/dev\/sda1 \/ ext4 rw/,
    ])
      match(stdout, words)
  } finally {
    child.process.kill('SIGKILL')
  }
}

export const biosGrub: GuestCase = {
  name: 'bios-grub',
  description:
    'SeaBIOS boots GRUB, which boots Debian’s kernel, to a shell; the disk is on the VMBus then; again after a restart, and by `partita run --firmware bios --disk`',
  timeout: 1200,
  async run({ directory }) {
    const path = await makeGrubDisk(directory, await ensureDefaultGuest())
    await bootHere(path)
    await bootByCommand(path, directory)
  },
}
