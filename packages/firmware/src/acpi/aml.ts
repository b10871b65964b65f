// A small builder of ACPI Machine Language (ACPI 6.5, chapter 20): each function returns the bytes of one term. What takes a list of
// terms has its length before it, so a tree is built from its leaves. Names are checked: these are the only inputs that could make
// bytes which are not AML.

import { FirmwareError } from '../firmware-error.ts'

/** The bytes of one or more terms. */
export type Aml = Uint8Array

/** Put terms or bytes one after the other. */
export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const result = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

const EXT_OP = 0x5b

/**
 * NameString (20.2.2), e.g. `\_SB.PCI0`, `^LNKA`, `COM1`. Segments are padded with underscores.
 *
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION` for what is not a name
 */
export function nameString(name: string): Aml {
  const match = /^(\\|\^*)((?:[A-Z_][A-Z0-9_]{0,3})(?:\.[A-Z_][A-Z0-9_]{0,3})*)?$/.exec(name)
  if (match === null || name === '') {
    throw new FirmwareError('ERR_ACPI_CONFIGURATION', `Not an ACPI name: ${name}`, { data: { name } })
  }
  const prefix = [...match[1]!].map((character) => character.charCodeAt(0))
  const segments = match[2] === undefined ? [] : match[2].split('.').map((segment) => segment.padEnd(4, '_'))
  const bytes = segments.flatMap((segment) => [...segment].map((character) => character.charCodeAt(0)))
  if (segments.length === 0) return concat(prefix, [0])
  if (segments.length === 1) return concat(prefix, bytes)
  if (segments.length === 2) return concat(prefix, [0x2e], bytes)
  return concat(prefix, [0x2f, segments.length], bytes)
}

/** An integer constant in its shortest form (20.2.3). */
export function integer(value: number | bigint): Aml {
  const wide = BigInt.asUintN(64, BigInt(value))
  if (wide <= 1n) return Uint8Array.of(Number(wide))
  if (wide <= 0xffn) return concat([0x0a], littleEndian(wide, 1))
  if (wide <= 0xffffn) return concat([0x0b], littleEndian(wide, 2))
  if (wide <= 0xffff_ffffn) return concat([0x0c], littleEndian(wide, 4))
  return concat([0x0e], littleEndian(wide, 8))
}

/** An ASCII string constant. */
export function string(text: string): Aml {
  return concat([0x0d], new TextEncoder().encode(text), [0])
}

/** A compressed EISA identifier such as `PNP0501` (19.3.4): three letters of five bits and four hexadecimal digits, big-endian. */
export function eisaId(id: string): Aml {
  const match = /^([A-Z]{3})([0-9A-F]{4})$/.exec(id)
  if (match === null)
    throw new FirmwareError('ERR_ACPI_CONFIGURATION', `Not an EISA identifier: ${id}`, { data: { id } })
  let value = 0
  for (const letter of match[1]!) value = value * 32 + letter.charCodeAt(0) - 0x40
  value = value * 0x1_0000 + Number.parseInt(match[2]!, 16)
  return Uint8Array.of(0x0c, value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

/** DefBuffer. */
export function buffer(bytes: Uint8Array): Aml {
  return concat([0x11], withLength(concat(integer(bytes.length), bytes)))
}

/** DefPackage of at most 255 elements. */
export function packageOf(...elements: readonly Aml[]): Aml {
  return concat([0x12], withLength(concat([elements.length], ...elements)))
}

/** DefName: an object with a constant value. */
export function name(path: string, value: Aml): Aml {
  return concat([0x08], nameString(path), value)
}

/** DefScope. */
export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return concat([0x10], withLength(concat(nameString(path), ...terms)))
}

/** DefDevice. */
export function device(path: string, ...terms: readonly Aml[]): Aml {
  return concat([EXT_OP, 0x82], withLength(concat(nameString(path), ...terms)))
}

/** DefMethod. `serialized` methods may create named objects. */
export function method(path: string, argumentCount: number, serialized: boolean, ...terms: readonly Aml[]): Aml {
  const flags = (argumentCount & 7) | (serialized ? 8 : 0)
  return concat([0x14], withLength(concat(nameString(path), [flags], ...terms)))
}

/** DefReturn. */
export function returns(value: Aml): Aml {
  return concat([0xa4], value)
}

/** An argument (0–6) of the method. */
export function argument(index: number): Aml {
  return Uint8Array.of(0x68 + index)
}

/** DefStore: `target = value`. */
export function store(value: Aml, target: Aml): Aml {
  return concat([0x70], value, target)
}

/** DefAnd: the bits that both have; also put into `target` where there is one. */
export function and(a: Aml, b: Aml, target: Aml = Uint8Array.of(0)): Aml {
  return concat([0x7b], a, b, target)
}

/** DefOr. */
export function or(a: Aml, b: Aml, target: Aml = Uint8Array.of(0)): Aml {
  return concat([0x7d], a, b, target)
}

/** DefIfElse. */
export function ifElse(condition: Aml, terms: readonly Aml[], otherwise: readonly Aml[]): Aml {
  return concat([0xa0], withLength(concat(condition, ...terms)), [0xa1], withLength(concat(...otherwise)))
}

/** DefCreateDWordField: `path` is the 32 bits at byte `offset` of a buffer. */
export function doubleWordField(source: Aml, offset: number, path: string): Aml {
  return concat([0x8a], source, integer(offset), nameString(path))
}

/** DefOpRegion in the configuration space of the device that it stands in. */
export function configurationRegion(path: string, offset: number, length: number): Aml {
  const PCI_CONFIG = 2
  return concat([EXT_OP, 0x80], nameString(path), [PCI_CONFIG], integer(offset), integer(length))
}

/** DefField whose names are one byte each, accessed by bytes. */
export function byteFields(region: string, ...names: readonly string[]): Aml {
  const BYTE_ACCESS = 1
  const fields = names.map((field) => concat(nameString(field), [8]))
  return concat([EXT_OP, 0x81], withLength(concat(nameString(region), [BYTE_ACCESS], ...fields)))
}

/** `value` in `bytes` little-endian bytes. */
export function littleEndian(value: number | bigint, bytes: number): Uint8Array {
  const result = new Uint8Array(bytes)
  let rest = BigInt.asUintN(bytes * 8, BigInt(value))
  for (let index = 0; index < bytes; index++) {
    result[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return result
}

/** PkgLength (20.2.4) before `contents`: it counts itself. */
function withLength(contents: Uint8Array): Uint8Array {
  const length = contents.length
  if (length + 1 <= 0x3f) return concat([length + 1], contents)
  const extra = length + 2 <= 0xfff ? 1 : length + 3 <= 0xf_ffff ? 2 : 3
  const total = length + 1 + extra
  const lead = [(extra << 6) | (total & 0xf)]
  for (let index = 0; index < extra; index++) lead.push((total >>> (4 + 8 * index)) & 0xff)
  return concat(lead, contents)
}
