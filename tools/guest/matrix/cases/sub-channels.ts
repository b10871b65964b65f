// A controller's sub-channels: Linux opens one for each processor beyond the first, and sends a request through the channel of the processor that it is made on.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { MemoryDisk } from '@partita/disk-images'
import type { GuestCase } from '../case.ts'
import type { MatrixGuest } from '../machine.ts'

const SECTORS = 65_536
/** fio's verification by `processors` writers, each bound to its own processor. */
const load = (processors: number, disk: string): string =>
  `fio --thread --name=job --filename=${disk} --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --size=4m \
--numjobs=${processors} --offset_increment=8m --cpus_allowed=0-${processors - 1} --cpus_allowed_policy=split --verify=crc32c --verify_fatal=1`

/** Packets of the open channels of a controller, by sub-channel. */
function packets(guest: MatrixGuest, controller: number): Map<number, number> {
  const instance = guest.storage.controllers[controller]?.offer.instanceId
  return new Map(
    guest.channels
      .filter(({ instanceId, state }) => instanceId === instance && state === 'open')
      .map(({ subChannelIndex, counters }) => [subChannelIndex, counters.packetsIn]),
  )
}

async function withProcessors(boot: Parameters<GuestCase['run']>[0]['boot'], processors: number): Promise<void> {
  const disk = new MemoryDisk(SECTORS)
  const guest = await boot({ processors, disks: { other: { disk, controller: 1, lun: 7 } } })
  equal((await guest.run('nproc')).trim(), String(processors))
  const instance = guest.storage.controllers[1]?.offer.instanceId as string
  const expected = Array.from({ length: processors }, (_, index) => index)
  const look = async (): Promise<void> => {
    deepEqual([...packets(guest, 1).keys()].sort(), expected)
    const shown = await guest.run(`cat /sys/bus/vmbus/devices/${instance}/channels/*/cpu | sort -n`)
    deepEqual(shown.trim().split(/\s+/).map(Number), expected)
    const name = (await guest.run('ls -d /sys/bus/scsi/devices/*:0:0:7/block/*')).trim().split('/').at(-1)
    const before = packets(guest, 1)
    ok(/err= 0/.test(await guest.run(load(processors, `/dev/${name}`))), 'fio says nothing')
    const after = packets(guest, 1)
    for (const index of expected) {
      const sent = (after.get(index) ?? 0) - (before.get(index) ?? 0)
      ok(sent >= 1000, `sub-channel ${index} of ${processors} had ${sent} packets of more than 2000`)
    }
  }
  await look()
  // Closed with its sub-channels, offered anew, and opened again.
  const driver = '/sys/bus/vmbus/drivers/hv_storvsc'
  await guest.run(`echo ${instance} >${driver}/unbind`)
  equal(packets(guest, 1).size, 0)
  await guest.run(
    `echo ${instance} >${driver}/bind; until ls -d /sys/bus/scsi/devices/*:0:0:7/block/*; do usleep 50000; done`,
  )
  await look()
  equal(await guest.complaints(), '')
  await guest.powerOff()
}

export const subChannels: GuestCase = {
  name: 'sub-channels',
  description:
    'with 2 and 4 processors Linux opens a channel for each, all of them carry what fio verifies, and they survive an unbound driver',
  async run({ boot }) {
    await withProcessors(boot, 2)
    await withProcessors(boot, 4)
  },
}
