// REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35): a unit's commands as it tells them to an initiator.

import { be16, be32, putBe16, putBe32 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import { SENSE } from './sense.ts'

/** A command, or one service action of a command, with its CDB usage data. */
export interface CommandUsage {
  /** The operation code, and behind it for each byte of the CDB the bits that are looked at; a service action stands in its field itself. */
  readonly usage: Uint8Array
  readonly serviceAction?: number
  /** Is there only where blocks can be given back. */
  readonly provisioning?: boolean
}

const SUPPORT = { NOT_SUPPORTED: 1, STANDARD: 3 } as const
const REPORT = { ALL: 0, ONE_COMMAND: 1, ONE_SERVICE_ACTION: 2, ONE_OF_EITHER: 3 } as const
const TIMEOUTS_LENGTH = 12

/** Command timeouts descriptor (SPC-4, 6.35.4): no time is known. */
function putTimeouts(data: Uint8Array, at: number): void {
  putBe16(data, at, TIMEOUTS_LENGTH - 2)
}

/** Serve REPORT SUPPORTED OPERATION CODES. */
export function reportSupportedCommands(commands: readonly CommandUsage[], command: ScsiCommand): undefined {
  const { cdb } = command
  const timeouts = ((cdb[2] as number) & 0x80) !== 0
  const option = (cdb[2] as number) & 0x07
  const opcode = cdb[3] as number
  const serviceAction = be16(cdb, 4)
  const allocation = be32(cdb, 6)
  if (option === REPORT.ALL) return command.answer(all(commands, timeouts), allocation)
  if (option > REPORT.ONE_OF_EITHER) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const those = commands.filter(({ usage }) => usage[0] === opcode)
  const hasServiceActions = those.some((one) => one.serviceAction !== undefined)
  if (
    (option === REPORT.ONE_COMMAND && hasServiceActions) ||
    (option === REPORT.ONE_SERVICE_ACTION && those.length > 0 && !hasServiceActions)
  )
    return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const wanted = those.find(
    (one) => (one.serviceAction ?? (option === REPORT.ONE_COMMAND ? serviceAction : 0)) === serviceAction,
  )
  return command.answer(one(wanted, timeouts), allocation)
}

function all(commands: readonly CommandUsage[], timeouts: boolean): Uint8Array {
  const size = 8 + (timeouts ? TIMEOUTS_LENGTH : 0)
  const data = new Uint8Array(4 + commands.length * size)
  putBe32(data, 0, data.length - 4)
  commands.forEach(({ usage, serviceAction }, i) => {
    const at = 4 + i * size
    data[at] = usage[0] as number
    putBe16(data, at + 2, serviceAction ?? 0)
    data[at + 5] = (timeouts ? 0x02 : 0) | (serviceAction === undefined ? 0 : 0x01)
    putBe16(data, at + 6, usage.length)
    if (timeouts) putTimeouts(data, at + 8)
  })
  return data
}

function one(command: CommandUsage | undefined, timeouts: boolean): Uint8Array {
  if (command === undefined) return Uint8Array.of(0, SUPPORT.NOT_SUPPORTED, 0, 0)
  const { usage } = command
  const data = new Uint8Array(4 + usage.length + (timeouts ? TIMEOUTS_LENGTH : 0))
  data[1] = SUPPORT.STANDARD | (timeouts ? 0x80 : 0)
  putBe16(data, 2, usage.length)
  data.set(usage, 4)
  if (timeouts) putTimeouts(data, 4 + usage.length)
  return data
}
