// The fast path to an IDE disk: the stock hv_storvsc takes it for a disk of its own.

import { equal, match, ok } from 'node:assert/strict'
import { MemoryDisk } from '@partita/disk-images'
import type { GuestCase } from '../case.ts'

export const ideAccelerator: GuestCase = {
  name: 'ide-accelerator',
  description:
    'a disk that is offered as the fast path to an IDE disk is found by hv_storvsc under the target of its place, and carries what fio verifies',
  async run({ boot }) {
    const guest = await boot({
      processors: 2,
      ide: [{ channel: 0, device: 1, disk: new MemoryDisk(65_536) }],
    })
    const place = '/sys/bus/vmbus/devices/00000000-0001-8899-0000-000000000000'
    match(await guest.run(`cat ${place}/class_id`), /^\{32412632-86cb-44a2-9b5c-50d1417354f5\}/)
    const path = (await guest.run(`ls -d ${place}/host*/target*/*/block/*`)).trim()
    match(path, /\/target\d+:0:1\/\d+:0:1:0\/block\/sd[a-z]$/)
    const name = path.split('/').at(-1)
    equal((await guest.run(`cat /sys/block/${name}/size`)).trim(), '65536')
    // One channel, whatever the number of processors.
    equal((await guest.run(`ls ${place}/channels | wc -l`)).trim(), '1')
    const job = `fio --thread --name=job --filename=/dev/${name} --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=8k --size=8m --verify=crc32c --verify_fatal=1`
    ok(/err= 0/.test(await guest.run(job)), 'fio says nothing')
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
