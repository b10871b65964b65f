// An initiator for tests: builds CDBs from hex text and runs them.

import { DIRECTION, type LogicalUnit, ScsiCommand, type ScsiTarget } from '../src/index.ts'

/** What came of a command, in a form that compares well. */
export interface Outcome {
  readonly status: number
  /** Sense key, ASC and ASCQ as in `05/24/00`; empty without sense data. */
  readonly sense: string
  readonly transferred: number
  readonly data: Uint8Array
  readonly command: ScsiCommand
}

const hex = (value: number | undefined): string => (value ?? 0).toString(16).padStart(2, '0')

export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(/\s+/).filter(Boolean), (byte) => Number.parseInt(byte, 16))
}

/** Sense key, ASC and ASCQ of fixed-format sense data. */
export function senseText(sense: Uint8Array): string {
  return `${hex((sense[2] ?? 0) & 0xf)}/${hex(sense[12])}/${hex(sense[13])}`
}

export interface RunOptions {
  /** Bytes to the unit. */
  readonly out?: Uint8Array
  /** Room for bytes from the unit. Default: 4096. */
  readonly room?: number
  readonly initiator?: number
  readonly lun?: number
  /** The buffer in pieces of this many bytes. */
  readonly pieces?: number
}

/** Run one command, given as hex text, at a unit or a target. */
export async function run(
  where: LogicalUnit | ScsiTarget,
  cdb: string | Uint8Array,
  options: RunOptions = {},
): Promise<Outcome> {
  const command = new ScsiCommand()
  command.cdb.set(typeof cdb === 'string' ? bytes(cdb) : cdb)
  command.initiator = options.initiator ?? 0
  const data = options.out ?? new Uint8Array(options.room ?? 4096)
  command.direction = options.out === undefined ? DIRECTION.IN : DIRECTION.OUT
  const piece = options.pieces ?? Math.max(1, data.length)
  for (let at = 0; at < data.length; at += piece) command.segments.push(data.subarray(at, at + piece))
  command.length = data.length
  await ('luns' in where ? where.execute(options.lun ?? 0, command) : where.execute(command))
  return {
    status: command.status,
    sense: command.senseLength === 0 ? '' : senseText(command.sense),
    transferred: command.transferred,
    data,
    command,
  }
}

export const be16 = (data: Uint8Array, at: number): number => new DataView(data.buffer, data.byteOffset).getUint16(at)
export const be32 = (data: Uint8Array, at: number): number => new DataView(data.buffer, data.byteOffset).getUint32(at)
export const be64 = (data: Uint8Array, at: number): bigint =>
  new DataView(data.buffer, data.byteOffset).getBigUint64(at)
export const ascii = (data: Uint8Array, at: number, length: number): string =>
  new TextDecoder('latin1').decode(data.slice(at, at + length))
