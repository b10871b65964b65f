// Resource descriptors of _CRS (ACPI 6.5, section 6.4): ports, interrupts and memory that a device has, or passes on to those behind it.

/** One resource. */
export interface AcpiResource {
  /** What the range is one of. */
  readonly type: 'ports' | 'memory' | 'interrupt'
  /** First port, address, or the interrupt's number. */
  readonly start: number
  /** Ports or bytes; 1 for an interrupt. */
  readonly length: number
}

/** Small descriptors have their length in the tag. */
const SMALL = { IRQ: 4, PORTS: 8, FIXED_PORTS: 9, END: 15 } as const
const LARGE = {
  MEMORY32: 0x85,
  FIXED_MEMORY32: 0x86,
  DWORD: 0x87,
  WORD: 0x88,
  EXTENDED_INTERRUPT: 0x89,
  QWORD: 0x8a,
} as const
/** Resource types of address space descriptors. */
const SPACE_TYPES = ['memory', 'ports'] as const

/** The resources up to the end tag, or to where it makes no sense. */
export function readResources(bytes: Uint8Array): AcpiResource[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const resources: AcpiResource[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = view.getUint8(at)
    const isLarge = (tag & 0x80) !== 0
    if (isLarge && at + 3 > bytes.length) break
    const body = at + (isLarge ? 3 : 1)
    const length = isLarge ? view.getUint16(at + 1, true) : tag & 7
    if (body + length > bytes.length || tag >> 3 === SMALL.END) break
    resources.push(...(isLarge ? large(view, tag, body, length) : small(view, tag >> 3, body, length)))
    at = body + length
  }
  return resources
}

function small(view: DataView, type: number, at: number, length: number): AcpiResource[] {
  if (type === SMALL.IRQ && length >= 2) {
    const mask = view.getUint16(at, true)
    const lines = Array.from({ length: 16 }, (_, line) => line).filter((line) => (mask & (1 << line)) !== 0)
    return lines.map((start) => ({ type: 'interrupt', start, length: 1 }))
  }
  if (type === SMALL.PORTS && length >= 7)
    return [{ type: 'ports', start: view.getUint16(at + 1, true), length: view.getUint8(at + 6) }]
  if (type === SMALL.FIXED_PORTS && length >= 3)
    return [{ type: 'ports', start: view.getUint16(at, true), length: view.getUint8(at + 2) }]
  return []
}

function large(view: DataView, tag: number, at: number, length: number): AcpiResource[] {
  switch (tag) {
    case LARGE.FIXED_MEMORY32:
      if (length < 9) return []
      return [{ type: 'memory', start: view.getUint32(at + 1, true), length: view.getUint32(at + 5, true) }]
    case LARGE.MEMORY32:
      if (length < 17) return []
      return [{ type: 'memory', start: view.getUint32(at + 1, true), length: view.getUint32(at + 13, true) }]
    case LARGE.EXTENDED_INTERRUPT:
      if (length < 6) return []
      return [{ type: 'interrupt', start: view.getUint32(at + 2, true), length: 1 }]
    case LARGE.WORD:
      return space(view, at, length, 2, (offset) => view.getUint16(offset, true))
    case LARGE.DWORD:
      return space(view, at, length, 4, (offset) => view.getUint32(offset, true))
    case LARGE.QWORD:
      return space(view, at, length, 8, (offset) => Number(view.getBigUint64(offset, true)))
    default:
      return []
  }
}

/** Type, two bytes of flags; granularity, minimum, maximum, translation, length. */
function space(
  view: DataView,
  at: number,
  length: number,
  width: number,
  field: (offset: number) => number,
): AcpiResource[] {
  const type = SPACE_TYPES[view.getUint8(at)]
  if (length < 3 + 5 * width || type === undefined) return []
  return [{ type, start: field(at + 3 + width), length: field(at + 3 + 4 * width) }]
}
