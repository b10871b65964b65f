// A guest of QEMU at the switch that a guest of Partita has made: `-netdev stream` is how it joins.

import { equal, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import { GuestProcess } from '../../../bench/src/guest-process.ts'
import { QEMU } from '../../../bench/src/qemu.ts'
import { type GuestCase, Skipped } from '../case.ts'
import { readCapture } from '../network.ts'

const MEBIBYTES = 4
const MAC = { ours: '02:15:5d:00:00:01', theirs: '02:15:5d:00:00:02' } as const
const DONE = 'the-command-is-done'

export const qemuNeighbour: GuestCase = {
  name: 'qemu-neighbour',
  description:
    'a guest of QEMU joins the shared switch of a guest of Partita; they ping each other, files arrive whole both ways, and a capture is clean',
  timeout: 1200,
  async run({ boot, directory }) {
    const help = spawnSync(QEMU, ['-netdev', 'help'], { encoding: 'utf8' })
    if (!/^stream$/m.test(help.stdout ?? '')) throw new Skipped(`there is no ${QEMU} with -netdev stream (from 7.2 on)`)
    const path = join(directory, 'switch')
    const capture = join(directory, 'guest.pcapng')
    const own = await boot({
      devices: [
        { plugin: '@partita/virtual-switch/shared', options: { path, capture } },
        { plugin: '@partita/synthetic-network/vsp', options: { adapters: [{ macAddress: MAC.ours }] } },
      ],
    })
    await own.run('ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up')
    const image = await ensureDefaultGuest({ variant: 'test' })
    const append = `${image.commandLine} ${image.pipedInputWord} panic=-1 no_timer_check partita_network=no`
    await using peer = new GuestProcess({
      label: "QEMU's guest",
      command: QEMU,
      args: [
        ...['-machine', 'pc', '-accel', 'tcg', '-m', '256M', '-nodefaults', '-display', 'none', '-no-reboot'],
        ...['-serial', 'stdio', '-kernel', image.kernel, '-initrd', image.initrd, '-append', append],
        ...['-netdev', `stream,id=net,server=off,addr.type=unix,addr.path=${path}`],
        ...['-device', `virtio-net-pci,netdev=net,mac=${MAC.theirs}`],
      ],
    })
    await peer.prompt()
    const run = async (command: string): Promise<string> => {
      const output = await peer.command(`${command}; echo ${DONE} $? .`, `${DONE} `)
      await peer.printed(' .')
      return output
    }
    await run('modprobe virtio_pci; modprobe virtio_net; until [ -e /sys/class/net/eth0 ]; do usleep 50000; done')
    await run('ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up')
    ok((await own.run('ping -c 3 192.0.2.2')).includes('3 packets received'))
    ok((await run('ping -c 3 -s 4000 192.0.2.1')).includes('3 packets received'))
    // A file there and back: the guests' own checksums are of the same bytes.
    await own.run(`dd if=/dev/urandom of=/tmp/file bs=1M count=${MEBIBYTES} 2>/dev/null && httpd -p 80 -h /tmp`)
    const sum = (await own.run('sha256sum </tmp/file')).trim().split(' ')[0] as string
    await run('wget -q -O /tmp/file http://192.0.2.1/file && httpd -p 80 -h /tmp')
    ok((await run('sha256sum </tmp/file')).includes(sum), 'the file has changed on its way')
    await own.run('wget -q -O /tmp/back http://192.0.2.2/file')
    equal((await own.run('sha256sum </tmp/back')).trim().split(' ')[0], sum)
    equal(await own.complaints(), '')
    await own.powerOff()
    const { frames, counts, wrong } = readCapture(capture, [`eth.src == ${MAC.theirs} && tcp`])
    console.log(`  ${frames} frames`)
    ok((counts[0] ?? 0) > (MEBIBYTES * 2 ** 20) / 1500, 'frames of QEMU are missing in the capture')
    equal(wrong, '')
  },
}
