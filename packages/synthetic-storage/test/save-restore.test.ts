// Saving a controller with its bus and going on elsewhere: nothing is lost, nothing is answered twice.

import { MemoryDisk } from '@partita/disk-images'
import { contiguousRange } from '@partita/vmbus/client'
import { describe, expect, it } from 'vitest'
import { BlockUnit, PHASE, StorageController } from '../src/vsp.ts'
import { Guest, INSTANCE, srbPacket } from './guest.ts'

const READ1 = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]

class SlowDisk extends MemoryDisk {
  readonly waiting: (() => void)[] = []
  override async read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    await new Promise<void>((resolve) => this.waiting.push(resolve))
    await super.read(sector, segments)
  }
}

function send(guest: Guest, count: number): number[] {
  return Array.from({ length: count }, () =>
    guest.send(srbPacket(READ1, { dataIn: 1, length: 512 }), [contiguousRange(1000 * 4096, 512)]),
  )
}

describe('stopping', () => {
  it('waits for what is in service, and takes nothing new until the start', async () => {
    const guest = await new Guest().open()
    const disk = new SlowDisk(64)
    guest.controller.target.attach(0, new BlockUnit(disk, { serial: 's' }))
    await guest.initialize()
    const first = send(guest, 3)
    await guest.settle()
    let stopped = false
    const stopping = guest.controller.stop().then(() => (stopped = true))
    const second = send(guest, 2)
    await guest.settle()
    expect([stopped, disk.waiting.length]).toEqual([false, 3])
    for (const finish of disk.waiting.splice(0)) finish()
    await stopping
    await guest.settle()
    expect(guest.answers.splice(0).map(({ transaction }) => transaction)).toEqual(first)
    expect(disk.waiting.length).toBe(0)
    guest.controller.start()
    await guest.settle()
    expect(disk.waiting.length).toBe(2)
    for (const finish of disk.waiting.splice(0)) finish()
    await guest.settle()
    expect(guest.answers.map(({ transaction }) => transaction)).toEqual(second)
  })
})

describe('a saved controller', () => {
  it('has what was agreed on, and the state of its units', async () => {
    const guest = await new Guest().open()
    const unit = new BlockUnit(new MemoryDisk(64), { serial: 's' })
    guest.controller.target.attach(7, unit)
    await guest.initialize(0x0600)
    unit.writeCache = false
    await guest.controller.stop()
    const state = structuredClone(guest.controller.save())

    const other = new StorageController({ instanceId: INSTANCE })
    const otherUnit = new BlockUnit(new MemoryDisk(64), { serial: 's' })
    other.target.attach(7, otherUnit)
    other.restore(state)
    expect(other.state).toEqual({ phase: PHASE.READY, version: 0x0600, subChannels: 0 })
    expect(otherUnit.writeCache).toBe(false)
  })

  it('sends completions that found no room once there is some', async () => {
    const guest = await new Guest().open(1)
    guest.controller.target.attach(0, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    await guest.initialize()
    const { channel } = guest
    const signalled = channel.signalled.bind(channel)
    let asleep = true
    channel.signalled = () => {
      if (!asleep) signalled()
    }
    const ids: number[] = []
    for (let i = 0; i < 4; i++) {
      ids.push(...send(guest, 18))
      await guest.settle()
    }
    await guest.controller.stop()
    const state = structuredClone(guest.controller.save())
    const pending = (state.data['pending'] as { completions: unknown[] }[])[0]?.completions ?? []
    expect(pending.length).toBeGreaterThan(0)
    // The same state, in the same place: what waits goes out, and only once.
    guest.controller.restore(state)
    guest.controller.start()
    asleep = false
    for (let i = 0; i < 10; i++) {
      channel.signalled()
      await guest.settle()
    }
    expect(guest.answers.map(({ transaction }) => transaction).sort((a, b) => a - b)).toEqual(ids)
  })

  it('is refused by another', async () => {
    const guest = await new Guest().open()
    guest.controller.target.attach(0, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    const state = guest.controller.save()
    const empty = new StorageController({ instanceId: INSTANCE })
    for (const wrong of [
      state,
      { ...state, version: 2 },
      { version: 1, data: {} },
      { version: 1, data: { ...state.data, phase: 9 } },
    ])
      expect(() => empty.restore(wrong)).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
    expect(empty.state.phase).toBe(PHASE.BEGIN)
  })

  it('is as new after a reset', async () => {
    const guest = await new Guest().open()
    const unit = new BlockUnit(new MemoryDisk(64), { serial: 's' })
    guest.controller.target.attach(0, unit)
    await guest.initialize()
    await guest.scsi([0x1b, 0, 0, 0, 0, 0], { room: 0 })
    guest.pair.server.reset()
    guest.controller.reset()
    await guest.settle()
    expect([guest.controller.state.phase, unit.started]).toEqual([PHASE.BEGIN, true])
  })
})
