// INQUIRY (SPC-4, 6.6) and the vital product data pages (SPC-4, 7.8; SBC-3, 6.6) as data.

import { be16, putAscii, putBe16, putBe32 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import { SENSE } from './sense.ts'
import { DEVICE_TYPE, type UnitIdentity } from './unit.ts'

/** Vital product data pages. */
export const VPD = {
  SUPPORTED_PAGES: 0x00,
  UNIT_SERIAL_NUMBER: 0x80,
  DEVICE_IDENTIFICATION: 0x83,
  BLOCK_LIMITS: 0xb0,
  BLOCK_DEVICE_CHARACTERISTICS: 0xb1,
  LOGICAL_BLOCK_PROVISIONING: 0xb2,
} as const

/** Version descriptors (SPC-4, table 149). */
const VERSION = { SAM_5: 0x00a0, SPC_4: 0x0460, SBC_3: 0x04c0, MMC_6: 0x04e0 } as const
const STANDARD_LENGTH = 96

/** Peripheral qualifier 011b and device type 1Fh: there is no logical unit here (SPC-4, 6.6.2). */
const NO_LOGICAL_UNIT = 0x7f

/** What INQUIRY says of a kind of unit. */
export interface InquiryFacts {
  /** Peripheral device type: 0x00 for disks, 0x05 for CD and DVD drives; with a qualifier in bits 7–5. */
  readonly deviceType: number
  /** RMB: the medium comes and goes. */
  readonly removable: boolean
  /** Vendor, product, revision and serial number. */
  readonly identity: UnitIdentity
  /** The bodies of the VPD pages besides 00h, 80h and 83h: what follows the four bytes of the header. */
  readonly pages: ReadonlyMap<number, Uint8Array>
}

/** Standard INQUIRY data. */
function standardInquiry(facts: InquiryFacts): Uint8Array {
  const data = new Uint8Array(STANDARD_LENGTH)
  data[0] = facts.deviceType
  data[1] = facts.removable ? 0x80 : 0x00
  data[2] = 0x06 // SPC-4
  data[3] = 0x02 // response data format
  data[4] = STANDARD_LENGTH - 5
  data[7] = 0x02 // CMDQUE
  putAscii(data, 8, 8, facts.identity.vendor)
  putAscii(data, 16, 16, facts.identity.product)
  putAscii(data, 32, 4, facts.identity.revision)
  putBe16(data, 58, VERSION.SAM_5)
  putBe16(data, 60, VERSION.SPC_4)
  putBe16(data, 62, facts.deviceType === DEVICE_TYPE.CD_DVD ? VERSION.MMC_6 : VERSION.SBC_3)
  return data
}

/**
 * A name of 60 bits from text: the two halves of FNV-1a, the second over the text backwards. Stable, and different for different serial numbers as far as
 * chance allows; it need not withstand an adversary, who could as well copy the serial number.
 */
function hash60(text: string): readonly [number, number] {
  let high = 0x811c9dc5
  let low = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    high = Math.imul(high ^ text.charCodeAt(i), 0x01000193)
    low = Math.imul(low ^ text.charCodeAt(text.length - 1 - i), 0x01000193)
  }
  return [(high >>> 0) & 0x0fff_ffff, low >>> 0]
}

/** VPD page 83h: a T10 vendor-ID designator and a locally assigned NAA (SPC-4, 7.8.6). */
function deviceIdentification(identity: UnitIdentity): Uint8Array {
  const text = identity.product.padEnd(16) + identity.serial
  const data = new Uint8Array(4 + 8 + text.length + 4 + 8)
  data[0] = 0x02 // ASCII
  data[1] = 0x01 // T10 vendor ID, of the logical unit
  data[3] = 8 + text.length
  putAscii(data, 4, 8, identity.vendor)
  putAscii(data, 12, text.length, text)
  const at = 12 + text.length
  data[at] = 0x01 // binary
  data[at + 1] = 0x03 // NAA, of the logical unit
  data[at + 3] = 8
  const [high, low] = hash60(`${identity.vendor}\0${identity.product}\0${identity.serial}`)
  putBe32(data, at + 4, (0x3000_0000 | high) >>> 0) // NAA 3h: locally assigned
  putBe32(data, at + 8, low)
  return data
}

function vpdBody(facts: InquiryFacts, page: number): Uint8Array | undefined {
  switch (page) {
    case VPD.SUPPORTED_PAGES:
      return Uint8Array.from(
        [VPD.SUPPORTED_PAGES, VPD.UNIT_SERIAL_NUMBER, VPD.DEVICE_IDENTIFICATION, ...facts.pages.keys()].sort(
          (a, b) => a - b,
        ),
      )
    case VPD.UNIT_SERIAL_NUMBER: {
      const data = new Uint8Array(facts.identity.serial.length)
      putAscii(data, 0, data.length, facts.identity.serial)
      return data
    }
    case VPD.DEVICE_IDENTIFICATION:
      return deviceIdentification(facts.identity)
    default:
      return facts.pages.get(page)
  }
}

/** Serve INQUIRY. */
export function inquiry(facts: InquiryFacts, command: ScsiCommand): undefined {
  const { cdb } = command
  const allocation = be16(cdb, 3)
  const page = cdb[2] as number
  const flags = cdb[1] as number
  if ((flags & 0x01) === 0) {
    // Without EVPD the page code has to be zero; CMDDT is obsolete.
    if (page !== 0 || (flags & 0x02) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    return command.answer(standardInquiry(facts), allocation)
  }
  const body = vpdBody(facts, page)
  if (body === undefined) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const data = new Uint8Array(4 + body.length)
  data[0] = facts.deviceType
  data[1] = page
  putBe16(data, 2, body.length)
  data.set(body, 4)
  return command.answer(data, allocation)
}

/** Serve INQUIRY where there is no logical unit (SPC-4, 6.6.2): no page, and a device type that says so. */
export function inquiryOfNothing(identity: UnitIdentity, command: ScsiCommand): undefined {
  if (((command.cdb[1] as number) & 0x03) !== 0 || command.cdb[2] !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const data = standardInquiry({
    deviceType: NO_LOGICAL_UNIT,
    removable: false,
    identity,
    pages: new Map(),
  })
  return command.answer(data, be16(command.cdb, 3))
}
