// The provider against a guest in the same process: Linux' sequences byte by byte, what vmbus.md and others' bug reports warn of, and the way of the data.

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { contiguousRange } from '@partita/vmbus/client'
import { describe, expect, it } from 'vitest'
import { BlockUnit, DvdUnit, PHASE } from '../src/vsp.ts'
import { Guest, INSTANCE, LINUX_PACKET, srbPacket, vstorPacket } from './guest.ts'

const block = (disk: Disk = new MemoryDisk(4096), serial = 'disk'): BlockUnit => new BlockUnit(disk, { serial })
const READ1 = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]

/** A disk whose operations wait until the test lets them finish, in any order. */
class SlowDisk extends MemoryDisk {
  readonly waiting: ((error?: Error) => void)[] = []
  #wait(): Promise<void> {
    return new Promise((resolve, reject) =>
      this.waiting.push((error) => (error === undefined ? resolve() : reject(error))),
    )
  }
  override async read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    await this.#wait()
    await super.read(sector, segments)
  }
  override async write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    await this.#wait()
    await super.write(sector, segments)
  }
  override async flush(): Promise<void> {
    await this.#wait()
  }
}

describe('setting up', () => {
  it('offers the SCSI interface, in which Linux finds its driver', async () => {
    const guest = await new Guest().open()
    expect(guest.pair.client.offers[0]).toMatchObject({
      interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
      instanceId: INSTANCE,
    })
  })

  it('goes as storvsc_channel_init has it', async () => {
    const guest = await new Guest({ subChannels: 3 }).open()
    const check = async (packet: Uint8Array): Promise<DataView> => {
      const answer = await guest.ask(packet)
      // storvsc_on_channel_callback drops completions that are shorter than its struct.
      expect([answer.bytes.length, answer.operation, answer.status]).toEqual([LINUX_PACKET, 1, 0])
      return answer.view
    }
    await check(vstorPacket(7))
    const version = await check(vstorPacket(9, (view) => view.setUint16(12, 0x0602, true)))
    expect(version.getUint16(12, true)).toBe(0x0602)
    const properties = await check(vstorPacket(10))
    expect(properties.getUint16(16, true)).toBe(3) // max_channel_cnt
    expect(properties.getUint32(20, true)).toBe(1) // STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL
    const maximum = properties.getUint32(24, true)
    expect(maximum).toBeGreaterThanOrEqual(65_536)
    expect(maximum % 4096).toBe(0)
    await check(vstorPacket(8))
    expect(guest.controller.state).toEqual({ phase: PHASE.READY, version: 0x0602, subChannels: 0 })
  })

  it('refuses unknown versions until one fits, and is not confused by that', async () => {
    const guest = await new Guest().open()
    await guest.ask(vstorPacket(7))
    for (const version of [0x0700, 0x0603, 0x0000, 0xffff]) {
      const answer = await guest.ask(vstorPacket(9, (view) => view.setUint16(12, version, true)))
      expect([answer.operation, answer.status]).toEqual([1, 0xc0000059])
    }
    expect((await guest.ask(vstorPacket(9, (view) => view.setUint16(12, 0x0501, true)))).status).toBe(0)
    expect(guest.controller.state.version).toBe(0x0501)
  })

  it('has no sub-channels before 5.1, and short requests', async () => {
    for (const version of [0x0200, 0x0402]) {
      const guest = await new Guest().open()
      guest.controller.target.attach(0, block())
      await guest.ask(vstorPacket(7))
      await guest.ask(vstorPacket(9, (view) => view.setUint16(12, version, true)))
      const { view } = await guest.ask(vstorPacket(10))
      expect([view.getUint16(16, true), view.getUint32(20, true)]).toEqual([0, 0])
      await guest.ask(vstorPacket(8))
      const answer = await guest.ask(srbPacket([0, 0, 0, 0, 0, 0], { size: 48 }))
      expect([answer.bytes.length, answer.status, answer.view.getUint8(14)]).toEqual([48, 0, 1])
      const sub = await guest.ask(vstorPacket(13, (packet) => packet.setUint16(12, 1, true)))
      expect(sub.status).toBe(0xc0000184)
    }
  })

  it('answers what comes out of order with a status, and goes on', async () => {
    const guest = await new Guest().open()
    const early = [8, 9, 10, 12, 13, 3, 4, 5, 6]
    for (const operation of early) expect((await guest.ask(vstorPacket(operation))).status).toBe(0xc0000184)
    for (const operation of [0, 1, 2, 11, 14, 99, 0xffffffff])
      expect((await guest.ask(vstorPacket(operation))).status).toBe(0xc0000010)
    await guest.initialize()
    for (const operation of [7, 8, 9, 10]) expect((await guest.ask(vstorPacket(operation))).status).toBe(0xc0000184)
    expect((await guest.ask(vstorPacket(12))).status).toBe(0xc0000010) // no Fibre Channel adapter
    expect(guest.controller.state.phase).toBe(PHASE.READY)
  })

  it('begins anew when the channel is opened again, as on resume and in a crash kernel', async () => {
    const guest = await new Guest().open()
    await guest.initialize()
    const { channel } = guest
    await guest.pair.run(channel.close())
    await guest.open()
    expect(guest.controller.state.phase).toBe(PHASE.BEGIN)
    await guest.initialize(0x0600)
    expect(guest.controller.state.version).toBe(0x0600)
  })

  it('gives sub-channels, which serve requests', async () => {
    const guest = await new Guest({ subChannels: 2 }).open()
    guest.controller.target.attach(0, block())
    await guest.initialize()
    expect((await guest.ask(vstorPacket(13, (view) => view.setUint16(12, 3, true)))).status).toBe(0xc000000d)
    expect((await guest.ask(vstorPacket(13, (view) => view.setUint16(12, 2, true)))).status).toBe(0)
    const offers = guest.pair.client.offers.filter(({ subChannelIndex }) => subChannelIndex > 0)
    expect(offers.map(({ subChannelIndex }) => subChannelIndex)).toEqual([1, 2])
    for (const offer of offers) {
      const sub = await guest.pair.run(guest.pair.client.open(offer, guest.pair.rings(4, 4)))
      guest.listen(sub)
      const answer = await guest.ask(srbPacket([0, 0, 0, 0, 0, 0]), [], sub)
      expect([answer.status, answer.view.getUint8(14)]).toEqual([0, 1])
      // The protocol is set up on the primary channel alone.
      expect((await guest.ask(vstorPacket(7), [], sub)).status).toBe(0xc0000184)
    }
  })
})

describe('scanning', () => {
  it('INQUIRY on an absent LUN answers 7Fh', async () => {
    const guest = await new Guest().open()
    await guest.initialize()
    for (const where of [{ lun: 0 }, { lun: 63 }, { lun: 200 }, { target: 1 }, { path: 7, target: 1 }]) {
      const { srb, scsi, data, transferred } = await guest.scsi([0x12, 0, 0, 0, 36, 0], { ...where, room: 36 })
      expect([srb, scsi, data[0], transferred]).toEqual([1, 0, 0x7f, 36])
    }
  })

  it('finds units through REPORT LUNS, also where LUN 0 is absent', async () => {
    const guest = await new Guest().open()
    for (const lun of [3, 63]) guest.controller.target.attach(lun, block())
    await guest.initialize()
    const cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0]
    const { data, transferred } = await guest.scsi(cdb)
    expect([transferred, data[3], data[9], data[17]]).toEqual([24, 16, 3, 63])
    const elsewhere = await guest.scsi(cdb, { target: 1 })
    expect([elsewhere.srb, elsewhere.transferred, elsewhere.data[3]]).toEqual([1, 8, 0])
  })

  it('other commands to an absent LUN make Linux remove it: INVALID_LUN', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block())
    await guest.initialize()
    for (const where of [{ lun: 1 }, { target: 1 }, { path: 1 }]) {
      const { srb, scsi, answer } = await guest.scsi([0, 0, 0, 0, 0, 0], { ...where, room: 0 })
      expect([srb, scsi, answer.status]).toEqual([0x20, 2, 0xc00000c0])
    }
  })

  it('sense data come in the packet, marked as valid', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block(new MemoryDisk(8)))
    await guest.initialize()
    const { srb, scsi, sense, transferred, answer } = await guest.scsi([0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0])
    expect([srb, scsi, sense, transferred]).toEqual([0x84, 2, '05/21/00', 0])
    expect(answer.view.getUint8(21)).toBe(0x14)
    expect(answer.bytes[28]).toBe(0x70)
  })

  it('a reservation conflict is a status without sense data', async () => {
    const guest = await new Guest({ initiator: 1 }).open()
    const unit = block()
    guest.controller.target.attach(0, unit)
    await guest.initialize()
    unit.base.reservations.restore({ generation: 1, type: 3, holder: 9, registrations: [[9, 1n]] })
    expect(await guest.scsi(READ1)).toMatchObject({ srb: 4, scsi: 0x18, sense: '' })
  })
})

describe('data', () => {
  it('goes between the disk and scattered pages, and the processor is told what was stored', async () => {
    const guest = await new Guest().open()
    const disk = new MemoryDisk(64)
    guest.controller.target.attach(0, block(disk))
    await guest.initialize()
    const { memory } = guest.pair
    // Three pages in falling order; 2,560 + 4,096 + 1,536 bytes.
    const pages = [900, 800, 700]
    const range = { byteOffset: 1536, byteCount: 8192, pages }
    const content = Uint8Array.from({ length: 8192 }, (_, i) => (i * 13 + (i >> 8)) & 0xff)
    memory.write(900 * 4096 + 1536, content.subarray(0, 2560))
    memory.write(800 * 4096, content.subarray(2560, 6656))
    memory.write(700 * 4096, content.subarray(6656))
    const announced = memory.announced
    const write = await guest.ask(srbPacket([0x2a, 0, 0, 0, 0, 5, 0, 0, 16, 0], { dataIn: 0, length: 8192 }), [range])
    expect([write.view.getUint8(14), write.view.getUint32(24, true)]).toEqual([1, 8192])
    const stored = new Uint8Array(8192)
    await disk.read(5, [stored])
    expect(stored).toEqual(content)
    expect(memory.announced - announced).toBeLessThan(1024) // rings alone

    for (const page of pages) memory.fill(page * 4096, 4096, 0)
    const before = memory.announced
    const read = await guest.ask(srbPacket([0x28, 0, 0, 0, 0, 5, 0, 0, 16, 0], { dataIn: 1, length: 8192 }), [range])
    expect(read.view.getUint8(14)).toBe(1)
    expect(memory.announced - before).toBeGreaterThanOrEqual(8192)
    const back = new Uint8Array(8192)
    memory.read(900 * 4096 + 1536, back.subarray(0, 2560))
    memory.read(800 * 4096, back.subarray(2560, 6656))
    memory.read(700 * 4096, back.subarray(6656))
    expect(back).toEqual(content)
    expect(memory.readU8(900 * 4096 + 1535)).toBe(0)
    expect(memory.readU8(700 * 4096 + 1536)).toBe(0)
  })

  it('outside of the guest, or longer than its ranges, is refused', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block())
    await guest.initialize()
    const ask = async (length: number, pages: number[], byteCount: number): Promise<number[]> => {
      const answer = await guest.ask(srbPacket(READ1, { dataIn: 1, length }), [{ byteOffset: 0, byteCount, pages }])
      return [answer.view.getUint8(14), answer.view.getUint32(24, true)]
    }
    expect(await ask(512, [2 ** 20], 512)).toEqual([0x84, 0])
    expect(await ask(512, [2 ** 52 - 1], 512)).toEqual([0x84, 0])
    expect(await ask(8192, [1000, 2 ** 30], 8192)).toEqual([0x84, 0])
    expect(await ask(1024, [1000], 512)).toEqual([0x84, 0])
    expect(await ask(0xffff_ffff, [1000], 512)).toEqual([0x84, 0])
    expect(await ask(512, [1000], 512)).toEqual([1, 512])
  })

  it('a CDB longer than 16 bytes is refused, a short one is padded with what follows it', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block())
    await guest.initialize()
    expect((await guest.scsi(READ1, { cdbLength: 17 })).srb).toBe(0x84)
    expect((await guest.scsi(READ1, { cdbLength: 255 })).srb).toBe(0x84)
    expect((await guest.scsi(READ1)).srb).toBe(1)
  })

  it('many requests are in flight, and complete in the order of the disk', async () => {
    const guest = await new Guest({ queueDepth: 8 }).open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(0, block(disk))
    await guest.initialize()
    const ids = Array.from({ length: 12 }, (_, i) =>
      guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange((1000 + i) * 4096, 512)]),
    )
    await guest.settle()
    // The depth is bounded: the rest waits in the ring.
    expect([disk.waiting.length, guest.controller.inFlight]).toEqual([8, 8])
    for (const finish of disk.waiting.splice(0).reverse()) finish()
    await guest.settle()
    expect(guest.answers.map(({ transaction }) => transaction)).toEqual(ids.slice(0, 8).reverse())
    for (const finish of disk.waiting.splice(0)) finish()
    await guest.settle()
    expect(guest.answers.map(({ transaction }) => transaction).sort((a, b) => a - b)).toEqual(ids)
    expect(guest.controller.inFlight).toBe(0)
  })

  it('a guest that does not take completions holds up itself alone, and loses none', async () => {
    const guest = await new Guest({ queueDepth: 200 }).open(1)
    guest.controller.target.attach(0, block())
    await guest.initialize()
    // The guest's bell is off: completions fill its ring of one page.
    const { channel } = guest
    const handler = channel.onPacket
    const seen: number[] = []
    let asleep = true
    const signalled = channel.signalled.bind(channel)
    channel.signalled = () => {
      if (!asleep) signalled()
    }
    channel.onPacket = (packet) => {
      seen.push(packet.transactionLow)
      handler?.(packet)
    }
    const ids: number[] = []
    const push = async (): Promise<void> => {
      for (let i = 0; i < 20; i++)
        ids.push(guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange(1000 * 4096, 512)]))
      await guest.settle()
    }
    for (let i = 0; i < 4; i++) await push()
    expect(seen).toEqual([])
    const counters = guest.pair.server.channels()[0]?.counters
    expect(counters?.ringFull).toBeGreaterThan(0)
    asleep = false
    for (let i = 0; i < 10; i++) {
      channel.signalled()
      await guest.settle()
    }
    expect(seen.sort((a, b) => a - b)).toEqual(ids)
  })
})

describe('faults of the host', () => {
  it('reach the guest as sense data, and the log once', async () => {
    const lines: string[] = []
    const logger = {
      log: (level: string, message: string) => void lines.push(`${level} ${message}`),
      child: () => logger,
    }
    const guest = await new Guest({ logger }).open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(5, block(disk))
    await guest.initialize()
    for (const [code, sense] of [
      [DISK_ERROR.IO, '03/0c/00'],
      [DISK_ERROR.FULL, '07/27/07'],
      [DISK_ERROR.FULL, '07/27/07'],
    ] as const) {
      const id = guest.send(srbPacket([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], { lun: 5, dataIn: 0, length: 512 }), [
        contiguousRange(1000 * 4096, 512),
      ])
      await guest.settle()
      disk.waiting.shift()?.(new PartitaError(code, `no (${code})`))
      await guest.settle()
      const answer = guest.answers.find(({ transaction }) => transaction === id)
      expect(answer?.view.getUint8(14)).toBe(0x84)
      const [key, asc, ascq] = [answer?.bytes[30], answer?.bytes[40], answer?.bytes[41]]
      expect([key, asc, ascq].map((byte) => byte?.toString(16).padStart(2, '0')).join('/')).toBe(sense)
    }
    expect(lines).toEqual(['error disk at LUN 5: no (ERR_DISK_IO)', 'error disk at LUN 5: no (ERR_DISK_FULL)'])
  })
})

describe('reset', () => {
  it('is answered when what was under way is complete, and told by unit attention', async () => {
    const guest = await new Guest().open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(0, block(disk))
    guest.controller.target.attach(1, block())
    await guest.initialize()
    await guest.scsi([0, 0, 0, 0, 0, 0], { lun: 1, room: 0 })
    const read = guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange(1000 * 4096, 512)])
    const reset = guest.send(vstorPacket(6))
    await guest.settle()
    expect(guest.answers).toEqual([])
    disk.waiting.shift()?.()
    await guest.settle()
    expect(guest.answers.map(({ transaction, status }) => [transaction, status])).toEqual([
      [read, 0],
      [reset, 0],
    ])
    expect((await guest.scsi([0, 0, 0, 0, 0, 0], { room: 0 })).sense).toBe('06/29/02')
    expect((await guest.scsi([0, 0, 0, 0, 0, 0], { lun: 1, room: 0 })).sense).toBe('06/29/02')
    // RESET_LUN is for one unit.
    expect((await guest.ask(vstorPacket(4, (view) => view.setUint8(19, 1)))).status).toBe(0)
    expect((await guest.scsi([0, 0, 0, 0, 0, 0], { room: 0 })).srb).toBe(1)
    expect((await guest.scsi([0, 0, 0, 0, 0, 0], { lun: 1, room: 0 })).sense).toBe('06/29/03')
    expect((await guest.ask(vstorPacket(5))).status).toBe(0)
  })
})

describe('units that come and go', () => {
  it('are announced, in packets of the size that Windows wants', async () => {
    for (const [version, size] of [
      [0x0602, 64],
      [0x0402, 48],
    ] as const) {
      const guest = await new Guest().open()
      await guest.initialize(version)
      guest.controller.target.attach(0, block())
      await guest.settle()
      const [packet] = guest.answers.splice(0)
      expect([packet?.type, packet?.transaction, packet?.operation, packet?.bytes.length]).toEqual([6, 0, 11, size])
      await guest.scsi([0, 0, 0, 0, 0, 0], { room: 0 })
      await guest.controller.target.detach(0)
      await guest.settle()
      expect(guest.answers.splice(0).map(({ operation }) => operation)).toEqual([11])
      // storvsc_host_scan: a TEST UNIT READY finds out that the unit is gone.
      expect((await guest.scsi([0, 0, 0, 0, 0, 0], { room: 0 })).srb).toBe(0x20)
    }
  })

  it('are not announced to who cannot know it, or looks anyway', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block())
    await guest.initialize(0x0200)
    guest.controller.target.attach(1, block())
    await guest.settle()
    expect(guest.answers).toEqual([])
  })

  it('a removed unit finishes what it has begun', async () => {
    const guest = await new Guest().open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(0, block(disk))
    await guest.initialize()
    guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange(1000 * 4096, 512)])
    await guest.settle()
    let removed = false
    const removing = guest.controller.target.detach(0).then(() => (removed = true))
    await guest.settle()
    expect(removed).toBe(false)
    disk.waiting.shift()?.()
    await removing
    await guest.settle()
    expect(guest.answers.map(({ operation }) => operation).sort((a, b) => a - b)).toEqual([1, 11])
  })

  it('a DVD is read in blocks of 2,048 bytes', async () => {
    const guest = await new Guest().open()
    const iso = new MemoryDisk(64, { readOnly: true, contents: new Uint8Array(64 * 512).fill(9) })
    guest.controller.target.attach(0, new DvdUnit({ serial: 'dvd' }, iso))
    await guest.initialize()
    expect((await guest.scsi([0x12, 0, 0, 0, 96, 0])).data[0]).toBe(5)
    const { transferred, data } = await guest.scsi([0x28, 0, 0, 0, 0, 15, 0, 0, 1, 0])
    expect([transferred, data[2047], data[2048]]).toEqual([2048, 9, 0xee])
  })
})

describe('hostile packets', () => {
  it('too short for what they say, they are refused', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, block())
    await guest.initialize()
    expect((await guest.ask(new Uint8Array(8))).status).toBe(0xc000000d)
    expect((await guest.ask(vstorPacket(3, undefined, 16))).status).toBe(0xc000000d)
    expect((await guest.ask(vstorPacket(3, undefined, 40))).status).toBe(0xc000000d)
    expect((await guest.ask(vstorPacket(4, undefined, 16))).status).toBe(0xc000000d)
  })

  it('longer than any packet, they are answered at the largest size', async () => {
    const guest = await new Guest().open()
    const answer = await guest.ask(vstorPacket(7, undefined, 200))
    expect([answer.bytes.length, answer.status]).toEqual([64, 0])
  })

  it('that want no completion, or complete nothing, are dropped', async () => {
    const guest = await new Guest().open()
    guest.channel.send(vstorPacket(7), 5, 0, 0)
    guest.channel.complete(6, 0, vstorPacket(7))
    await guest.settle()
    expect(guest.answers).toEqual([])
    await guest.initialize()
  })

  it('a ring that could not take an answer is refused at once', async () => {
    const { controller } = new Guest()
    const channel = { subChannelIndex: 0, restored: false, maxPayload: 40 }
    expect(controller.open(channel as Parameters<typeof controller.open>[0])).toBeUndefined()
    expect(
      controller.open({ ...channel, subChannelIndex: 5, maxPayload: 4000 } as Parameters<typeof controller.open>[0]),
    ).toBeUndefined()
  })

  it('closing waits for the disk, which then stores into nothing of the guest', async () => {
    const guest = await new Guest().open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(0, block(disk))
    await guest.initialize()
    guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange(1000 * 4096, 512)])
    await guest.settle()
    const closing = guest.channel.close()
    await guest.settle()
    expect(guest.pair.server.channels()[0]?.state).toBe('closing')
    disk.waiting.shift()?.()
    await guest.settle()
    await guest.pair.run(closing)
    expect(guest.pair.server.channels()[0]?.state).toBe('closed')
    expect(guest.answers).toEqual([])
  })
})
