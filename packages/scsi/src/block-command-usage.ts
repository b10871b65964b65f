// The CDB usage data of a disk's commands (SPC-4, 6.35.3): what REPORT SUPPORTED OPERATION CODES tells of block-commands.ts.

import type { CommandUsage } from './supported-commands.ts'

/** `28 e8 ffffffff 00 ffff 04` as bytes. The last one is CONTROL, of which NACA is looked at. */
function usage(hex: string): Uint8Array {
  const digits = hex.replaceAll(' ', '')
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16))
}

const PLAIN: readonly string[] = [
  '00 00000000 04', // TEST UNIT READY
  '03 01 0000 ff 04', // REQUEST SENSE
  '08 1fffff ff 04', // READ (6)
  '0a 1fffff ff 04', // WRITE (6)
  '12 03 ff ffff 04', // INQUIRY
  '15 11 0000 ff 04', // MODE SELECT (6)
  '1a 08 ff ff ff 04', // MODE SENSE (6)
  '1b 00 00 00 f3 04', // START STOP UNIT
  '1e 00 00 00 00 04', // PREVENT ALLOW MEDIUM REMOVAL
  '25 00 00000000 0000 00 04', // READ CAPACITY (10)
  '28 e8 ffffffff 00 ffff 04', // READ (10)
  '2a e8 ffffffff 00 ffff 04', // WRITE (10)
  '2f e6 ffffffff 00 ffff 04', // VERIFY (10)
  '35 00 ffffffff 00 ffff 04', // SYNCHRONIZE CACHE (10)
  '41 ff ffffffff 00 ffff 04', // WRITE SAME (10)
  '55 11 0000000000 ffff 04', // MODE SELECT (10)
  '5a 18 ffff 000000 ffff 04', // MODE SENSE (10)
  '88 e8 ffffffffffffffff ffffffff 00 04', // READ (16)
  '8a e8 ffffffffffffffff ffffffff 00 04', // WRITE (16)
  '8f e6 ffffffffffffffff ffffffff 00 04', // VERIFY (16)
  '91 00 ffffffffffffffff ffffffff 00 04', // SYNCHRONIZE CACHE (16)
  '93 ff ffffffffffffffff ffffffff 00 04', // WRITE SAME (16)
  'a0 00 ff 000000 ffffffff 00 04', // REPORT LUNS, which the target serves
  'a8 e8 ffffffff ffffffff 00 04', // READ (12)
  'aa e8 ffffffff ffffffff 00 04', // WRITE (12)
]

const SERVICE_ACTIONS: readonly (readonly [before: string, actions: readonly number[], after: string])[] = [
  ['5e', [0, 1, 2, 3], '0000000000 ffff 04'], // PERSISTENT RESERVE IN
  ['5f', [0, 1, 2, 3, 4, 5, 6], 'ff 0000 ffffffff 04'], // PERSISTENT RESERVE OUT
  ['9e', [0x10], '0000000000000000 ffffffff 00 04'], // READ CAPACITY (16)
  ['a3', [0x0c], '87 ff ffff ffffffff 00 04'], // REPORT SUPPORTED OPERATION CODES
]

/** In the order of operation codes and service actions. */
export const BLOCK_COMMAND_USAGE: readonly CommandUsage[] = [
  ...PLAIN.map((hex): CommandUsage => ({ usage: usage(hex) })),
  { usage: usage('42 01 0000000000 ffff 04'), provisioning: true }, // UNMAP
  ...SERVICE_ACTIONS.flatMap(([before, actions, after]) =>
    actions.map(
      (serviceAction): CommandUsage => ({
        usage: usage(`${before} ${serviceAction.toString(16).padStart(2, '0')} ${after}`),
        serviceAction,
      }),
    ),
  ),
  // GET LBA STATUS
  { usage: usage('9e 12 ffffffffffffffff ffffffff 00 04'), serviceAction: 0x12, provisioning: true },
].sort((a, b) => (a.usage[0] as number) - (b.usage[0] as number) || (a.serviceAction ?? 0) - (b.serviceAction ?? 0))
