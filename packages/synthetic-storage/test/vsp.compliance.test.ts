// The provider against the compliance suite, as a guest's storvsc speaks to it.

import { MemoryDisk } from '@partita/disk-images'
import { disksToken } from '@partita/interface'
import type { GuestExchange } from '@partita/testkit'
import { vspCompliance } from '@partita/testkit/vitest'
import { senseText } from '../../scsi/test/scsi-initiator.ts'
import packageJson from '../package.json' with { type: 'json' }
import plugin from '../src/vsp.ts'
import { srbPacket, vstorPacket } from './guest.ts'

const SECTORS = 256

/** What is on the disk at first: each sector begins with its number. */
function contents(): Uint8Array {
  const bytes = new Uint8Array(SECTORS * 512)
  for (let sector = 0; sector < SECTORS; sector++) bytes[sector * 512] = sector
  return bytes
}

/** A packet that sets the protocol up. */
function control(operation: number, argument = 0): GuestExchange {
  return {
    name: `operation ${operation}`,
    payload: vstorPacket(operation, (view) => view.setUint16(12, argument, true)),
    check: ({ view }) => {
      if (view.getUint32(8, true) !== 0) throw new Error(`status ${view.getUint32(8, true)}`)
    },
  }
}

function succeeded(view: DataView): void {
  if (view.getUint8(14) !== 1) throw new Error(`SRB status ${view.getUint8(14)}`)
}

/** TEST UNIT READY: the first one after power-on is told of that by a unit attention. */
const ready: GuestExchange = {
  name: 'test unit ready',
  payload: srbPacket([0, 0, 0, 0, 0, 0]),
  check: ({ view, payload }) => {
    if (view.getUint8(14) === 0x84 && senseText(payload.subarray(28)) === '06/29/01') return
    succeeded(view)
  },
}

/** READ(10) of one sector, or a WRITE(10) of what a later read does not look at. */
function request(n: number): GuestExchange {
  const sector = n % SECTORS
  if (n % 3 === 2) {
    const cdb = [0x2a, 0, 0, 0, 0, sector, 0, 0, 1, 0]
    const data = new Uint8Array(512).fill(n)
    data[0] = sector
    return {
      name: 'write',
      payload: srbPacket(cdb, { dataIn: 0, length: 512 }),
      buffer: { size: 512, contents: data },
      check: ({ view }) => succeeded(view),
    }
  }
  return {
    name: 'read',
    payload: srbPacket([0x28, 0, 0, 0, 0, sector, 0, 0, 1, 0], { dataIn: 1, length: 512 }),
    buffer: { size: 512, contents: new Uint8Array(512).fill(0xee) },
    check: ({ view, buffer }) => {
      succeeded(view)
      if (buffer[0] !== sector) throw new Error(`the data of sector ${buffer[0]} instead of ${sector}`)
    },
  }
}

vspCompliance({
  plugin,
  manifest: packageJson.partita,
  options: [
    { controllers: [{ luns: [{ disk: 'disk0' }] }] },
    {},
    { controllers: [{ luns: [{ disk: null, dvd: true }] }], subChannels: 0 },
  ],
  invalidOptions: [{ controllers: [{ luns: [{ disk: null }] }] }, { subChannels: 64 }, { maximumTransferBytes: 1 }],
  // A saved machine goes on with the disks that it had.
  prepare: (machine, twin) =>
    machine.provide(
      disksToken,
      twin?.service(disksToken) ?? new Map([['disk0', new MemoryDisk(SECTORS, { contents: contents() })]]),
    ),
  setup: [control(7), control(9, 0x0602), control(10), control(8), ready],
  request,
})
