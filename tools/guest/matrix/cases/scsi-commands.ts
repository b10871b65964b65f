// The programs of sg3-utils, which ask a disk everything and check the answers' form, against what the disk is.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { MemoryDisk } from '@partita/disk-images'
import type { GuestCase } from '../case.ts'

const SECTORS = 131_072

export const scsiCommands: GuestCase = {
  name: 'scsi-commands',
  description:
    "sg3-utils' programs find a disk and a DVD drive that answer as SPC, SBC and MMC say, and say the same everywhere",
  async run({ boot }) {
    const disk = new MemoryDisk(SECTORS)
    const guest = await boot({
      disks: {
        plain: { disk, lun: 1 },
        protected: { disk: new MemoryDisk(4096, { readOnly: true }), lun: 2 },
        iso: { disk: new MemoryDisk(4096, { readOnly: true }), dvd: true, lun: 3 },
      },
    })
    const at = (lun: number) => (program: string) => guest.run(program.replace(/$|(?= \|)/, ` $(lun ${lun})`))
    const plain = at(1)

    // Linux was told that each unit was switched on, and went on.
    const log = await guest.run('dmesg')
    equal(log.match(/sd 0:0:0:\d: Power-on or device reset occurred/g)?.length, 3)
    match(log, /\[sd[a-c]\] Write cache: enabled, read cache: enabled, supports DPO and FUA/)

    match(
      await plain('sg_inq'),
      /version=0x06 {2}\[SPC-4\][\s\S]*Msft[\s\S]*Virtual Disk[\s\S]*Unit serial number: plain/,
    )
    const pages = await plain('sg_vpd')
    for (const page of ['sv', 'sn', 'di', 'bl', 'bdc', 'lbpv']) {
      ok(pages.includes(`[${page}]`), `${page} is not among the pages`)
      await plain(`sg_vpd -p ${page}`)
    }
    match(await plain('sg_vpd -p di'), /T10 vendor identification[\s\S]*NAA/)
    match(await plain('sg_vpd -p bdc'), /Non-rotating medium/)
    // Provisioning is told alike in all places.
    match(await plain('sg_vpd -p lbpv'), /\(LBPU\): 1[\s\S]*\(LBPWS\): 1[\s\S]*\(LBPWS10\): 1[\s\S]*thin provisioned/)
    match(
      await plain('sg_vpd -p bl'),
      /Maximum unmap LBA count: 8388608[\s\S]*Maximum write same length: 0x20000 blocks/,
    )
    match(await plain('sg_readcap -l'), /lbpme=1[\s\S]*Number of logical blocks=131072[\s\S]*Logical block length=512/)
    match(await plain('sg_readcap'), /Number of logical blocks=131072/)
    match(await plain('sg_luns'), /imples 4 lun entries|implies 4 lun entries/)

    const commands = await plain('sg_opcodes')
    for (const name of [
      'Read\\(16\\)',
      'Write\\(10\\)',
      'Unmap',
      'Write same\\(16\\)',
      'Get LBA status',
      'Persistent reserve out',
    ])
      match(commands, new RegExp(name, 'i'))
    match(await plain('sg_opcodes --opcode=0x28'), /Command is supported \[conforming to SCSI standard\]/)
    match(await plain('sg_get_lba_status --lba=100'), /LBA: 0x0000000000000064 {2}blocks: +130972 {2}mapped/)

    // Modes: the cache is switched off and on, and the page says so; nothing else may be changed.
    match(await plain('sg_modes -a'), /Caching, page_control: current\n 00 {5}08 12 04/)
    await guest.run(`echo 'write through' >/sys/class/scsi_disk/0:0:0:1/cache_type`)
    match(await plain('sg_modes -a'), /Caching, page_control: current\n 00 {5}08 12 00/)
    await guest.run(`echo 'write back' >/sys/class/scsi_disk/0:0:0:1/cache_type`)
    match(await at(2)('sg_modes'), /WP=1/)

    // Data: what is written can be verified, what is given back may be read.
    await guest.run('dd if=/dev/urandom of=$(lun 1) bs=64k count=16 oflag=direct')
    await plain('sg_verify --lba=0 --count=2048')
    await plain('sg_unmap --lba=8 --num=8 --force')
    await plain('sg_write_same --10 --lba=16 --num=100 --xferlen=512 --in=/dev/zero')
    await plain('sg_write_same --16 --lba=200 --num=100 --unmap --xferlen=512 --in=/dev/zero')
    await plain('sg_write_same --16 --ndob --lba=400 --num=100')
    const zeros = new Uint8Array(100 * 512)
    for (const sector of [16, 200, 400]) {
      const found = new Uint8Array(100 * 512)
      await disk.read(sector, [found])
      deepEqual(found, zeros)
    }
    await plain('sg_sync')
    await plain('sg_start --stop')
    ok((await guest.try('sg_turs $(lun 1)')).status !== 0, 'a stopped disk is ready')
    await plain('sg_start --start')
    await plain('sg_turs -n 5')

    // Reservations.
    const capabilities = await plain('sg_persist --in --report-capabilities')
    match(capabilities, /\(PTPL_C\): 0[\s\S]*\(TMV\): 1[\s\S]*\(PTPL_A\): 0/)
    await plain('sg_persist --out --register --param-sark=abc')
    ok(
      (await guest.try('sg_persist --out --register --param-rk=abc --param-sark=abd --param-aptpl $(lun 1)')).status !==
        0,
    )
    await plain('sg_persist --out --reserve --param-rk=abc --prout-type=3')
    match(
      await plain('sg_persist --in --read-full-status'),
      /Key=0xabc[\s\S]*Reservation holder[\s\S]*Exclusive Access/i,
    )
    await plain('sg_persist --out --release --param-rk=abc --prout-type=3')
    await plain('sg_persist --out --clear --param-rk=abc')
    match(await plain('sg_persist --in --read-keys'), /no registered reservation keys|there are NO registered/i)

    // Whoever asks for what is not there is told so, and nothing breaks.
    for (const command of [
      'sg_vpd -p ei',
      'sg_opcodes --opcode=0x5e',
      'sg_get_lba_status --lba=131072',
      'sg_verify --lba=131000 --count=100',
    ])
      ok((await guest.try(`${command} $(lun 1)`)).status !== 0, command)
    match(await at(3)('sg_inq'), /Virtual DVD-ROM|cd\/dvd/)
    await at(3)('sg_readcap')
    await at(3)('sg_turs')
    await guest.run(
      'fio --thread --name=job --filename=$(lun 1) --direct=1 --rw=randwrite --bs=4k --size=1m --verify=crc32c',
    )
    await guest.powerOff()
  },
}
