// What hdparm, smartctl and sg_inq make of the drives of the emulated IDE controller.

import { equal, match, ok } from 'node:assert/strict'
import { MemoryDisk } from '@partita/disk-images'
import type { GuestCase } from '../case.ts'
import { ataTrouble, disksAt, PLAIN } from './ide-disks.ts'

const SECTORS = 262_144

export const idePrograms: GuestCase = {
  name: 'ide-programs',
  description: 'hdparm, smartctl and sg_inq read the identity, the capabilities and the health of IDE drives',
  async run({ boot }) {
    const disk = new MemoryDisk(SECTORS)
    const cd = new MemoryDisk(4096, { readOnly: true })
    const guest = await boot({ drives: [{ disk }, null, { disk: cd, dvd: true }], append: PLAIN })
    const [name] = await disksAt(guest, '/ata')
    ok(name !== undefined)

    const identity = await guest.run(`hdparm -I /dev/${name}`)
    match(identity, /ATA device, with non-removable media/)
    match(identity, /Model Number: +Partita Virtual Disk/)
    match(identity, /Serial Number: +drive0/)
    match(identity, new RegExp(`LBA48 {2}user addressable sectors: +${SECTORS}`))
    match(identity, new RegExp(`LBA {4}user addressable sectors: +${SECTORS}`))
    match(identity, /device size with M = 1024\*1024: +128 MBytes/)
    match(identity, /Nominal Media Rotation Rate: Solid State Device/)
    // A PIIX4 has Ultra DMA up to mode 2.
    match(identity, /DMA: .*\*udma2 udma3 udma4 udma5/)
    for (const feature of [
      'SMART feature set',
      'Write cache',
      'Look-ahead',
      'Host Protected Area feature set',
      '48-bit Address feature set',
      'Mandatory FLUSH_CACHE',
      'FLUSH_CACHE_EXT',
      'WRITE_\\{DMA\\|MULTIPLE\\}_FUA_EXT',
      'SMART error logging',
      'SMART self-test',
      'Data Set Management TRIM supported',
    ])
      match(identity, new RegExp(`\\*\\t${feature}`))
    // Settings go there and back.
    match(await guest.run(`hdparm -W0 /dev/${name}`), /write-caching = +0 \(off\)/)
    ok(!/\*\s+Write cache/.test(await guest.run(`hdparm -I /dev/${name}`)), 'the write cache is on')
    match(await guest.run(`hdparm -W1 /dev/${name}`), /write-caching = +1 \(on\)/)
    match(await guest.run(`hdparm -C /dev/${name}`), /drive state is: +active\/idle/)
    match(await guest.run(`hdparm -y /dev/${name}; hdparm -C /dev/${name}`), /drive state is: +standby/)
    match(await guest.run(`hdparm -N /dev/${name}`), new RegExp(`max sectors += ${SECTORS}/${SECTORS}`))

    // Smartctl's status has bits for what it does not like.
    const health = await guest.run(`smartctl -a /dev/${name}`)
    match(health, /Device Model: +Partita Virtual Disk/)
    match(health, /Serial Number: +drive0/)
    match(health, /User Capacity: +134,217,728 bytes/)
    match(health, /TRIM Command: +Available/)
    match(health, /SMART support is: Available/)
    match(health, /SMART support is: Enabled/)
    match(health, /SMART overall-health self-assessment test result: PASSED/)
    match(health, /No Errors Logged/)
    ok(!/checksum|invalid|error:/i.test(health), health)
    await guest.run(`smartctl -t short /dev/${name}`)
    match(await guest.run(`smartctl -l selftest /dev/${name}`), /# 1 +Short offline +Completed without error/)

    // By the kernel's translation of SCSI, and the drive's own answer.
    const translated = await guest.run(`sg_inq /dev/${name}`)
    match(translated, /Vendor identification: ATA[\s\S]*Product identification: Partita Virtual/)
    match(translated, /Unit serial number: +drive0/)
    match(await guest.run(`sg_readcap /dev/${name}`), new RegExp(`Number of logical blocks=${SECTORS}`))
    match(await guest.run(`sg_vpd -p ai /dev/${name}`), /model: Partita Virtual Disk/)
    match(await guest.run('sg_inq /dev/sr0'), /PQual=0 {2}PDT=5 {2}RMB=1[\s\S]*cd\/dvd/)
    match(
      await guest.run('smartctl -i /dev/sr0'),
      /Product: +Virtual CD.ROM[\s\S]*Serial number: +drive2[\s\S]*Device type: +CD.DVD/,
    )

    equal(await ataTrouble(guest), '')
    await guest.powerOff()
  },
}
