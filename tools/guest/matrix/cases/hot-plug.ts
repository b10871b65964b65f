// Disks that come and go while others work, and while they work themselves.

import { deepEqual, equal, match } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { MemoryDisk } from '@partita/disk-images'
import type { GuestCase } from '../case.ts'

const ROUNDS = 12
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

export const hotPlug: GuestCase = {
  name: 'hot-plug',
  description: `disks are added and removed ${ROUNDS} times while fio verifies another; one is taken away amid its own load, and comes back`,
  async run({ boot }) {
    const guest = await boot({ processors: 2, disks: { loaded: { disk: new MemoryDisk(131_072), lun: 1 } } })
    const { storage } = guest
    await guest.run(
      'fio --thread --name=job --filename=$(lun 1) --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=4k-64k --size=32m --time_based --runtime=8 ' +
        '--verify=crc32c --verify_fatal=1 >/tmp/fio 2>&1 && echo FIO-IS-CONTENT >>/tmp/fio &',
    )
    for (let round = 0; round < ROUNDS; round++) {
      const contents = new Uint8Array(256 * 1024).fill(round + 1)
      const lun = 2 + (round % 62)
      storage.attach(0, new MemoryDisk(4096, { contents }), { serial: `round ${round}`, lun })
      const sum = await guest.run(
        `until [ -d /sys/bus/scsi/devices/0:0:0:${lun}/block ]; do usleep 20000; done; dd if=$(lun ${lun}) bs=64k count=4 iflag=direct 2>/dev/null | sha256sum`,
      )
      // The shell may tell of a job that has ended.
      equal(/[0-9a-f]{64}/.exec(sum)?.[0], sha256(contents))
      await storage.detach(0, lun)
      await guest.run(`while [ -d /sys/bus/scsi/devices/0:0:0:${lun} ]; do usleep 20000; done`)
    }
    match(await guest.run('until ! pidof fio; do sleep 1; done >/dev/null; tail -1 /tmp/fio'), /^FIO-IS-CONTENT$/m)
    equal(await guest.complaints(), '')

    // Amid its load.
    const disk = new MemoryDisk(131_072)
    storage.attach(0, disk, { serial: 'taken', lun: 40 })
    await guest.run('until [ -d /sys/bus/scsi/devices/0:0:0:40/block ]; do usleep 20000; done')
    const from = guest.console.text.length
    // In the foreground: busybox takes the end of a background process, while it waits for a line, for the end of its input.
    guest.console.type(
      'echo LO""AD; while dd if=/dev/zero of=$(lun 40) bs=64k count=800 oflag=direct 2>/dev/null; do :; done; echo OV""ER',
    )
    await guest.saw('LOAD', from)
    await new Promise((resolve) => setTimeout(resolve, 500))
    await storage.detach(0, 40)
    await guest.saw('OVER', from)
    await guest.run('while [ -d /sys/bus/scsi/devices/0:0:0:40 ]; do usleep 20000; done')
    // It is free again, and the guest finds on it what it had written.
    const written = new Uint8Array(64 * 1024)
    await disk.read(0, [written])
    deepEqual(written, new Uint8Array(64 * 1024))
    storage.attach(0, disk, { serial: 'taken', lun: 40 })
    await guest.run(
      'until [ -d /sys/bus/scsi/devices/0:0:0:40/block ]; do usleep 20000; done; dd if=$(lun 40) of=/dev/null bs=1M count=4',
    )
    const log = (await guest.try('dmesg | grep -E "WARNING|BUG|Oops|hung task|stall"')).output
    equal(log, '')
    deepEqual(guest.errors, [])
    await guest.powerOff()
  },
}
