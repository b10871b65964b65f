// The devices of the ACPI namespace, read from AML (ACPI 6.5, chapter 20) without an interpreter: objects with constant values are there as they stand, methods are stepped over. That is
// all that it takes to find a bus.

import { type AcpiResource, readResources } from './resources.ts'

/** A Device object. */
export interface AcpiDevice {
  /** `\_SB_.VMOD.VMBS` */
  readonly path: string
  /** _HID, or the empty string: `PNP0501`, `VMBus`. */
  readonly hardwareId: string
  /** _UID, or 0. */
  readonly uniqueId: number | string
  /** _CRS */
  readonly resources: readonly AcpiResource[]
}

type Value = number | string | Uint8Array | undefined

const OP = {
  ZERO: 0x00,
  ONE: 0x01,
  ALIAS: 0x06,
  NAME: 0x08,
  BYTE: 0x0a,
  WORD: 0x0b,
  DWORD: 0x0c,
  STRING: 0x0d,
  QWORD: 0x0e,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  VAR_PACKAGE: 0x13,
  METHOD: 0x14,
  EXTERNAL: 0x15,
  DUAL_NAME: 0x2e,
  MULTI_NAME: 0x2f,
  EXTENDED: 0x5b,
  ONES: 0xff,
} as const
/** Behind {@link OP.EXTENDED}. */
const EXTENDED = {
  MUTEX: 0x01,
  EVENT: 0x02,
  REGION: 0x80,
  FIELD: 0x81,
  DEVICE: 0x82,
  PROCESSOR: 0x83,
  POWER_RESOURCE: 0x84,
  THERMAL_ZONE: 0x85,
  INDEX_FIELD: 0x86,
  BANK_FIELD: 0x87,
} as const
/** Scopes within scopes that are followed. */
const DEPTH_MAXIMUM = 16

interface MutableDevice {
  readonly path: string
  readonly values: Map<string, Value>
}

/** The devices in the order of the table. What cannot be read ends the scope that it stands in, and no more. */
export function readNamespace(aml: Uint8Array): AcpiDevice[] {
  const reader = new Reader(aml)
  reader.terms(aml.length, '\\', undefined, 0)
  return reader.devices.map(({ path, values }) => {
    const crs = values.get('_CRS')
    return {
      path,
      hardwareId: hardwareId(values.get('_HID')),
      uniqueId: scalar(values.get('_UID')),
      resources: crs instanceof Uint8Array ? readResources(crs) : [],
    }
  })
}

function scalar(value: Value): number | string {
  return typeof value === 'string' || typeof value === 'number' ? value : 0
}

/** A string, or an EISA identifier: three letters of five bits and four digits, big-endian. */
function hardwareId(value: Value): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'number') return ''
  const id = [24, 16, 8, 0].reduce((word, shift, index) => word | (((value >>> shift) & 0xff) << (index * 8)), 0) >>> 0
  const letter = (shift: number): string => String.fromCharCode(0x40 + ((id >>> shift) & 31))
  return letter(26) + letter(21) + letter(16) + (id & 0xffff).toString(16).toUpperCase().padStart(4, '0')
}

class Unreadable extends Error {}

class Reader {
  readonly devices: MutableDevice[] = []
  readonly #aml: Uint8Array
  #at = 0

  constructor(aml: Uint8Array) {
    this.#aml = aml
  }

  /** A list of terms up to `end`. */
  terms(end: number, scope: string, device: MutableDevice | undefined, depth: number): void {
    try {
      while (this.#at < end) this.#term(scope, device, depth)
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
    }
    this.#at = end
  }

  #term(scope: string, device: MutableDevice | undefined, depth: number): void {
    switch (this.#byte()) {
      case OP.NAME: {
        const name = this.#name(scope)
        const value = this.#value()
        if (device !== undefined && name.startsWith(device.path)) device.values.set(name.slice(-4), value)
        return
      }
      case OP.SCOPE: {
        const end = this.#package()
        if (depth < DEPTH_MAXIMUM) this.terms(end, this.#name(scope), undefined, depth + 1)
        this.#at = end
        return
      }
      case OP.METHOD:
        this.#at = this.#package()
        return
      case OP.ALIAS:
        this.#name(scope)
        this.#name(scope)
        return
      case OP.EXTERNAL:
        this.#name(scope)
        this.#at += 2
        return
      case OP.EXTENDED:
        this.#extended(scope, depth)
        return
      default:
        throw new Unreadable()
    }
  }

  #extended(scope: string, depth: number): void {
    switch (this.#byte()) {
      case EXTENDED.DEVICE: {
        const end = this.#package()
        const device = { path: this.#name(scope), values: new Map<string, Value>() }
        this.devices.push(device)
        if (depth < DEPTH_MAXIMUM) this.terms(end, device.path, device, depth + 1)
        this.#at = end
        return
      }
      case EXTENDED.MUTEX:
        this.#name(scope)
        this.#byte()
        return
      case EXTENDED.EVENT:
        this.#name(scope)
        return
      case EXTENDED.REGION:
        this.#name(scope)
        this.#byte()
        this.#value()
        this.#value()
        return
      case EXTENDED.FIELD:
      case EXTENDED.INDEX_FIELD:
      case EXTENDED.BANK_FIELD:
      case EXTENDED.PROCESSOR:
      case EXTENDED.POWER_RESOURCE:
      case EXTENDED.THERMAL_ZONE:
        this.#at = this.#package()
        return
      default:
        throw new Unreadable()
    }
  }

  /** DataRefObject (20.2.3); a package's elements are of no use here. */
  #value(): Value {
    const opcode = this.#byte()
    switch (opcode) {
      case OP.ZERO:
      case OP.ONE:
        return opcode
      case OP.ONES:
        return 0xffff_ffff
      case OP.BYTE:
        return this.#integer(1)
      case OP.WORD:
        return this.#integer(2)
      case OP.DWORD:
        return this.#integer(4)
      case OP.QWORD:
        return this.#integer(8)
      case OP.STRING: {
        const end = this.#aml.indexOf(0, this.#at)
        if (end < 0) throw new Unreadable()
        const text = new TextDecoder().decode(this.#aml.subarray(this.#at, end))
        this.#at = end + 1
        return text
      }
      case OP.BUFFER: {
        const end = this.#package()
        this.#value()
        const bytes = this.#aml.subarray(this.#at, end)
        this.#at = end
        return bytes
      }
      case OP.PACKAGE:
      case OP.VAR_PACKAGE:
        this.#at = this.#package()
        return undefined
      default:
        throw new Unreadable()
    }
  }

  #byte(): number {
    const byte = this.#aml[this.#at++]
    if (byte === undefined) throw new Unreadable()
    return byte
  }

  #integer(bytes: number): number {
    let value = 0
    for (let index = 0; index < bytes; index++) value += this.#byte() * 2 ** (8 * index)
    return value
  }

  /** PkgLength (20.2.4): where the package ends. */
  #package(): number {
    const start = this.#at
    const lead = this.#byte()
    const extra = lead >>> 6
    let length = extra === 0 ? lead & 0x3f : lead & 0x0f
    for (let index = 0; index < extra; index++) length |= this.#byte() << (4 + 8 * index)
    const end = start + length
    if (end > this.#aml.length || end < this.#at) throw new Unreadable()
    return end
  }

  /** NameString (20.2.2), made absolute. */
  #name(scope: string): string {
    let base = scope
    let lead = this.#byte()
    if (lead === 0x5c) {
      base = '\\'
      lead = this.#byte()
    }
    for (; lead === 0x5e; lead = this.#byte()) base = base.includes('.') ? base.slice(0, base.lastIndexOf('.')) : '\\'
    let count = 1
    if (lead === 0) return base
    if (lead === OP.DUAL_NAME) count = 2
    else if (lead === OP.MULTI_NAME) count = this.#byte()
    else this.#at--
    const segments = Array.from({ length: count }, () => {
      const segment = String.fromCharCode(this.#byte(), this.#byte(), this.#byte(), this.#byte())
      if (!/^[A-Z_][A-Z0-9_]{3}$/.test(segment)) throw new Unreadable()
      return segment
    })
    return (base === '\\' ? base : `${base}.`) + segments.join('.')
  }
}
