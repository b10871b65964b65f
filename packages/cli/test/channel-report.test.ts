import { describe, expect, it } from 'vitest'
import { reportChannels } from '../src/channel-report.ts'

const none = {
  opens: 0,
  packetsIn: 0,
  packetsOut: 0,
  bytesIn: 0,
  bytesOut: 0,
  signalsIn: 0,
  signalsOut: 0,
  signalsSpared: 0,
  ringFull: 0,
}

describe('reportChannels', () => {
  it('makes a table of counters', () => {
    const scsi = {
      interfaceId: 'BA6163D9-04a1-4d29-b605-72e2ffb1dc7f',
      instanceId: '00000000-0000-0000-0000-000000000001',
      revoked: false,
    }
    const lines = reportChannels([
      {
        ...scsi,
        subChannelIndex: 0,
        relid: 1,
        state: 'open',
        counters: {
          opens: 2,
          packetsIn: 1000,
          packetsOut: 999,
          bytesIn: 64_000,
          bytesOut: 63_936,
          signalsIn: 17,
          signalsOut: 31,
          signalsSpared: 40,
          ringFull: 3,
        },
      },
      { ...scsi, subChannelIndex: 3, relid: 0, state: 'closed', counters: none },
      {
        ...scsi,
        interfaceId: 'f'.repeat(8),
        subChannelIndex: 0,
        relid: 12,
        state: 'closed',
        revoked: true,
        counters: none,
      },
    ])
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      [
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
      ],
      [
        '1',
        'SCSI controller 00000000-0000-0000-0000-000000000001',
        'open',
        '2',
        '1000',
        '999',
        '64000',
        '63936',
        '17',
        '31',
        '40',
        '3',
      ],
      ['-', 'SCSI controller 00000000-0000-0000-0000-000000000001 sub-channel 3', 'closed', ...Array(9).fill('0')],
      ['12', 'ffffffff 00000000-0000-0000-0000-000000000001', 'revoked', ...Array(9).fill('0')],
    ])
    // Numbers stand below each other.
    expect(new Set(lines.map((line) => line.length)).size).toBe(1)
  })

  it('has headings alone for a bus without devices', () => {
    expect(reportChannels([])).toHaveLength(1)
  })
})
