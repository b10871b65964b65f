// The counters of the channels of a VMBus as a table, for the end of `--trace vmbus`.

import type { VmbusChannelInfo } from '@partita/interface'

/** The kinds of devices, by interface. */
const INTERFACES: ReadonlyMap<string, string> = new Map([
  ['ba6163d9-04a1-4d29-b605-72e2ffb1dc7f', 'SCSI controller'],
  ['32412632-86cb-44a2-9b5c-50d1417354f5', 'IDE disk'],
  ['f8615163-df3e-46c5-913f-f2d2f965ed0e', 'network adapter'],
  ['525074dc-8985-46e2-8057-a307dc18a502', 'dynamic memory'],
  ['0e0b6031-5213-4934-818b-38d90ced39db', 'shutdown'],
  ['9527e630-d0ae-497b-adce-e80ab0175caf', 'time synchronization'],
  ['57164f39-9115-4e78-ab55-382f3bd5422d', 'heartbeat'],
  ['a9a0f4e7-5a45-4d96-b827-8a841e8c03e6', 'key-value pairs'],
  ['35fa2e29-ea23-4236-96ae-3a6ebacba440', 'volume snapshots'],
  ['34d14be3-dee4-41c8-9ae7-6b174977c192', 'file copy'],
  ['f912ad6d-2b17-48ea-bd65-f927a61c7684', 'keyboard'],
  ['cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a', 'mouse'],
  ['da0a7802-e377-4aac-8e77-0558eb1073f8', 'video'],
  ['44c4f61d-4444-4400-9d52-802e27ede19f', 'PCI'],
])

const HEADINGS = [
  'channel',
  'device',
  'state',
  'opens',
  'packets in',
  'out',
  'bytes in',
  'out',
  'signals in',
  'out',
  'spared',
  'ring full',
] as const
/** The columns that hold text; numbers stand to the right. */
const TEXT_COLUMNS = 3

/** One line of headings, and one for each channel: in is from the guest, out is to it. */
export function reportChannels(channels: readonly VmbusChannelInfo[]): string[] {
  const rows: readonly (readonly string[])[] = [
    HEADINGS,
    ...channels.map((channel) => {
      const { counters } = channel
      return [
        channel.relid === 0 ? '-' : String(channel.relid),
        nameOf(channel),
        channel.revoked ? 'revoked' : channel.state,
        ...[
          counters.opens,
          counters.packetsIn,
          counters.packetsOut,
          counters.bytesIn,
          counters.bytesOut,
          counters.signalsIn,
          counters.signalsOut,
          counters.signalsSpared,
          counters.ringFull,
        ].map(String),
      ]
    }),
  ]
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)))
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number
        return column < TEXT_COLUMNS ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

/** `SCSI controller 9d3f5b1e-…`, and of a sub-channel its number. */
function nameOf({ interfaceId, instanceId, subChannelIndex }: VmbusChannelInfo): string {
  const kind = INTERFACES.get(interfaceId.toLowerCase()) ?? interfaceId
  return `${kind} ${instanceId}${subChannelIndex === 0 ? '' : ` sub-channel ${subChannelIndex}`}`
}
