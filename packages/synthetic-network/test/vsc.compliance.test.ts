// The driver against the compliance suite, with the provider at the other end.

import { vscCompliance } from '@partita/testkit/vitest'
import { OID } from '../src/protocol.ts'
import { networkDriver } from '../src/vsc.ts'
import { NetworkDevice } from '../src/vsp.ts'
import { deviceOptions } from './machine.ts'
import { TestNetwork } from './test-network.ts'

/** OIDs with answers of their own. */
const ANSWERS: readonly (readonly [oid: number, answer: number])[] = [
  [OID.GEN_MAXIMUM_FRAME_SIZE, 1500],
  [OID.GEN_LINK_SPEED, 100_000_000],
  [OID.GEN_MAXIMUM_TOTAL_SIZE, 1514],
  [OID.ETHERNET_MAXIMUM_LIST_SIZE, 64],
  [OID.GEN_VENDOR_ID, 0xff_ffff],
]

vscCompliance({
  driver: networkDriver,
  host: () => {
    const device = new NetworkDevice(deviceOptions)
    device.connect(new TestNetwork(), {})
    return device
  },
  processorCount: 2,
  burst: 60,
  runs: 4,
  operate: async (nic, n) => {
    // A frame on the way, which nobody waits for, and a question.
    nic.send(new Uint8Array(60 + (n % 100)), n % 2)
    const [oid, expected] = ANSWERS[n % ANSWERS.length] as (typeof ANSWERS)[number]
    const answer = await nic.query(oid)
    const found = new DataView(answer.buffer, answer.byteOffset).getUint32(0, true)
    if (found !== expected) throw new Error(`OID ${oid.toString(16)} is ${found} instead of ${expected}`)
  },
})
