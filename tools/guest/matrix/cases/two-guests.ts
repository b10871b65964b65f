// Two guests of two processes at one switch.

import { equal, ok } from 'node:assert/strict'
import { join } from 'node:path'
import type { PluginConfiguration } from '@partita/root-partition'
import { GuestProcess } from '../../../bench/src/guest-process.ts'
import type { GuestCase } from '../case.ts'
import { readCapture } from '../network.ts'

const MAIN = join(import.meta.dirname, '../../../../packages/cli/src/main.ts')
const MEBIBYTES = 16
const DONE = 'the-command-is-done'

function devices(path: string, capture: string): PluginConfiguration[] {
  return [
    { plugin: '@partita/virtual-switch/shared', options: { path, capture } },
    { plugin: '@partita/synthetic-network/vsp', options: { adapters: [{ macAddress: '02:15:5d:00:00:01' }] } },
  ]
}

export const twoGuests: GuestCase = {
  name: 'two-guests',
  description:
    'guests of two processes reach each other over a shared switch, and files arrive whole; a capture of it is clean',
  async run({ boot, directory }) {
    const path = join(directory, 'switch')
    const capture = join(directory, 'guest.pcapng')
    const first = await boot({ devices: devices(path, capture) })
    await using second = new GuestProcess({
      label: 'the second guest',
      command: process.execPath,
      args: [
        ...['--conditions=@partita/source', MAIN, 'run', '--no-root', '--memory', '256M'],
        ...['--network', `switch:${path}`, '--mac', '02:15:5d:00:00:02'],
      ],
    })
    await second.prompt()
    const run = async (command: string): Promise<string> => {
      const output = await second.command(`${command}; echo ${DONE} $? .`, `${DONE} `)
      await second.printed(' .')
      return output
    }
    await first.run('ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up')
    await run('ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up')
    ok((await first.run('ping -c 3 192.0.2.2')).includes('3 packets received'))
    ok((await run('ping -c 3 -s 4000 192.0.2.1')).includes('3 packets received'))
    // A file there and back: the guests' own checksums are of the same bytes.
    await first.run(`dd if=/dev/urandom of=/tmp/file bs=1M count=${MEBIBYTES} 2>/dev/null && httpd -p 80 -h /tmp`)
    const sum = (await first.run('sha256sum </tmp/file')).trim().split(' ')[0] as string
    await run('wget -q -O /tmp/file http://192.0.2.1/file && httpd -p 80 -h /tmp')
    ok((await run('sha256sum </tmp/file')).includes(sum), 'the file has changed on its way')
    await first.run('wget -q -O /tmp/back http://192.0.2.2/file')
    equal((await first.run('sha256sum </tmp/back')).trim().split(' ')[0], sum)
    equal(await first.complaints(), '')
    await first.powerOff()
    const { frames, wrong } = readCapture(capture)
    console.log(`  ${frames} frames`)
    equal(wrong, '')
  },
}
