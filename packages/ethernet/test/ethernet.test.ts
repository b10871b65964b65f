// Headers, checksums and segments against packets that are made another way, and against random bytes.

import { FRAME_FLAG } from '@partita/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checksumOf,
  ETHER_TYPE,
  Frame,
  FrameConversion,
  FrameHeaders,
  finishedChecksum,
  foldSum,
  formatMacAddress,
  getU16,
  getU32,
  insertVlanTag,
  isMulticast,
  parseMacAddress,
  readMacAddress,
  Segmenter,
  sumWords,
  transportChecksum,
  transportChecksumIsRight,
  writeMacAddress,
} from '../src/index.ts'
import { makePartial, packet, plainSum } from './packets.ts'

const bytesOf = (length: number, seed = 7): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 17 + (at >> 8)) & 255)

describe('the Internet checksum', () => {
  it('is RFC 1071', () => {
    // The example of section 3.
    const data = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)
    expect(foldSum(sumWords(data, 0, 8))).toBe(0xddf2)
    expect(checksumOf(sumWords(data, 0, 8))).toBe(0x220d)
  })

  it('is the plain sum, for any bytes and any place', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 90 }), fc.nat(5), (data, start) => {
        const from = Math.min(start, data.length)
        const sum = foldSum(sumWords(data, from, data.length))
        expect(sum % 0xffff).toBe(plainSum([...data.subarray(from)]) % 0xffff)
      }),
    )
  })
})

const shapes = fc.record({
  version: fc.constantFrom(4 as const, 6 as const),
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  payload: fc.uint8Array({ maxLength: 300 }),
  ipOptions: fc.constantFrom(0, 8, 16),
  tcpOptions: fc.constantFrom(0, 4, 12, 40),
  tags: fc.nat(2),
})

describe('headers', () => {
  it('are found where they are', () => {
    fc.assert(
      fc.property(shapes, fc.nat(20), fc.nat(9), (shape, before, padding) => {
        const made = packet(shape)
        const bytes = new Uint8Array(before + made.bytes.length + padding)
        bytes.set(made.bytes, before)
        const headers = new FrameHeaders()
        expect(headers.parse(bytes, before, bytes.length)).toBe(true)
        expect(headers.ipVersion).toBe(shape.version)
        expect(headers.transport).toBe(before + made.transport)
        expect(headers.transport + headers.checksumField).toBe(before + made.checksum)
        expect(bytes.length - padding).toBe(headers.packetEnd)
        expect(headers.packetEnd - headers.payload).toBe(shape.payload.length)
        expect(transportChecksumIsRight(bytes, headers)).toBe(true)
        expect(transportChecksum(bytes, headers)).toBe(getU16(bytes, before + made.checksum))
        bytes[headers.packetEnd - 1] = (bytes[headers.packetEnd - 1] as number) ^ 0x10
        expect(transportChecksumIsRight(bytes, headers)).toBe(false)
      }),
    )
  })

  it('are never outside of the frame, whatever is in it', () => {
    const headers = new FrameHeaders()
    fc.assert(
      fc.property(
        shapes,
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }),
        fc.nat(400),
        (shape, changes, cut) => {
          const { bytes } = packet(shape)
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          const end = Math.max(0, bytes.length - cut)
          headers.parse(bytes, 0, end)
          expect(headers.packetEnd).toBeLessThanOrEqual(end)
          if (headers.payload > 0) {
            expect(headers.payload).toBeLessThanOrEqual(headers.packetEnd)
            expect(headers.transport + headers.checksumField + 2).toBeLessThanOrEqual(headers.payload)
          }
          if (headers.transport > 0) expect(headers.transport).toBeLessThan(headers.packetEnd)
        },
      ),
    )
  })

  it('of fragments are told: only the first has a transport header', () => {
    const headers = new FrameHeaders()
    const { bytes } = packet({ version: 4, protocol: 'udp', payload: bytesOf(32) })
    bytes[20] = 0x20
    headers.parse(bytes, 0, bytes.length)
    expect([headers.fragment, headers.transport]).toEqual([true, 34])
    bytes[21] = 9
    headers.parse(bytes, 0, bytes.length)
    expect([headers.fragment, headers.transport]).toEqual([true, 0])
    const arp = new Uint8Array(42)
    arp.set([8, 6], 12)
    expect(headers.parse(arp, 0, 42)).toBe(false)
    expect([headers.etherType, headers.network]).toEqual([ETHER_TYPE.ARP, 14])
  })
})

const reassemble = (shape: {
  version: 4 | 6
  length: number
  gsoSize: number
  tcpOptions: number
  tag: boolean
  first: number
}): void => {
  const { version, length, gsoSize, tcpOptions, tag, first } = shape
  const payload = bytesOf(length)
  const whole = packet({
    version,
    protocol: 'tcp',
    payload,
    tcpOptions,
    sequence: 0xffff_ff00,
    id: 0xfffe,
    tcpFlags: 0x99,
  })
  makePartial(whole, version)
  const frame = new Frame().plain(whole.bytes)
  frame.flags = (version === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6) | FRAME_FLAG.CHECKSUM_PARTIAL
  frame.checksumStart = whole.transport
  frame.checksumOffset = whole.checksum
  frame.gsoSize = gsoSize
  if (tag) {
    frame.flags |= FRAME_FLAG.VLAN
    frame.vlan = 0x6123
  }
  const before = whole.bytes.slice()
  const conversion = new FrameConversion()
  const count = conversion.begin(frame, 0, first)
  expect(count).toBe(Math.max(1, Math.ceil(length / gsoSize)))
  const headers = new FrameHeaders()
  let at = first * gsoSize
  let index = first
  for (let part = conversion.next(); part !== undefined; part = conversion.next()) {
    const { bytes, start, end } = part
    expect(part.flags).toBe(FRAME_FLAG.CHECKSUM_VALID)
    expect(headers.parse(bytes, start, end)).toBe(true)
    expect(headers.network - start).toBe(tag ? 18 : 14)
    if (tag) expect([getU16(bytes, start + 12), getU16(bytes, start + 14)]).toEqual([0x8100, 0x6123])
    expect(headers.packetEnd).toBe(end)
    expect(transportChecksumIsRight(bytes, headers)).toBe(true)
    if (version === 4) {
      expect(foldSum(sumWords(bytes, headers.network, headers.transport))).toBe(0xffff)
      expect(getU16(bytes, headers.network + 4)).toBe((0xfffe + index) & 0xffff)
    }
    expect(getU32(bytes, headers.transport + 4)).toBe((0xffff_ff00 + at) >>> 0)
    const data = bytes.subarray(headers.payload, end)
    expect(data).toEqual(payload.subarray(at, at + gsoSize))
    at += data.length
    const last = index === count - 1
    // FIN and PSH go with the last segment, CWR with the first.
    expect(bytes[headers.transport + 13]).toBe((last ? 0x19 : 0x10) | (index === 0 ? 0x80 : 0))
    index++
  }
  expect(index).toBe(Math.max(count, first))
  if (first < count) expect(at).toBe(length)
  expect(whole.bytes).toEqual(before)
}

describe('segments', () => {
  it('make up the packet that they were cut from', () => {
    fc.assert(
      fc.property(
        fc.record({
          version: fc.constantFrom(4 as const, 6 as const),
          length: fc.nat(3000),
          gsoSize: fc.integer({ min: 40, max: 1500 }),
          tcpOptions: fc.constantFrom(0, 12),
          tag: fc.boolean(),
          first: fc.nat(3),
        }),
        reassemble,
      ),
      { numRuns: 60 },
    )
  })

  it('are none of a frame that is not what it claims to be', () => {
    const segmenter = new Segmenter()
    const frame = new Frame().plain(packet({ version: 4, protocol: 'udp', payload: bytesOf(100) }).bytes)
    frame.flags = FRAME_FLAG.GSO_TCP4
    frame.gsoSize = 50
    expect(segmenter.begin(frame)).toBe(0)
    expect(segmenter.next()).toBe(false)
    frame.plain(packet({ version: 4, protocol: 'tcp', payload: bytesOf(100) }).bytes)
    frame.flags = FRAME_FLAG.GSO_TCP6
    frame.gsoSize = 50
    expect(segmenter.begin(frame)).toBe(0)
    frame.flags = FRAME_FLAG.GSO_TCP4
    expect(segmenter.begin(frame)).toBe(2)
    frame.gsoSize = 0
    expect(segmenter.begin(frame)).toBe(0)
  })
})

describe('a conversion', () => {
  it('finishes checksums and puts tags in, and leaves alone what is accepted', () => {
    fc.assert(
      fc.property(shapes, fc.boolean(), fc.nat(7), ({ tags: _tags, ipOptions: _options, ...shape }, tag, accepts) => {
        const made = packet(shape)
        const right = made.bytes.slice()
        makePartial(made, shape.version)
        const frame = new Frame().plain(made.bytes)
        frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (tag ? FRAME_FLAG.VLAN : 0)
        frame.checksumStart = made.transport
        frame.checksumOffset = made.checksum
        frame.vlan = 0x0fff
        expect(finishedChecksum(frame)).toBe(getU16(right, made.checksum))
        const conversion = new FrameConversion()
        expect(conversion.begin(frame, accepts)).toBe(1)
        const part = conversion.next()
        expect(conversion.next()).toBeUndefined()
        if (part === undefined) throw new Error('no frame')
        const partial = (accepts & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0
        const tagged = tag && (accepts & FRAME_FLAG.VLAN) === 0
        const expected = (partial ? made.bytes : right).slice()
        const found = part.bytes.slice(part.start, part.end)
        expect(found).toEqual(
          tagged
            ? Uint8Array.from([...expected.subarray(0, 12), 0x81, 0, 0x0f, 0xff, ...expected.subarray(12)])
            : expected,
        )
        expect((part.flags & FRAME_FLAG.VLAN) !== 0).toBe(tag && !tagged)
        expect((part.flags & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0).toBe(partial)
        if (partial) expect(finishedChecksum(part)).toBe(getU16(right, made.checksum))
      }),
    )
  })

  it('puts a tag into the room before the frame', () => {
    const bytes = bytesOf(40)
    const frame = bytes.slice(10)
    expect(insertVlanTag(bytes, 10, 0x2005)).toBe(6)
    expect(bytes.slice(6)).toEqual(Uint8Array.from([...frame.slice(0, 12), 0x81, 0, 0x20, 5, ...frame.slice(12)]))
  })
})

describe('MAC addresses', () => {
  it('are text, bytes and numbers', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 48 - 1 }), (address) => {
        const bytes = new Uint8Array(8)
        writeMacAddress(bytes, 1, address)
        expect(readMacAddress(bytes, 1)).toBe(address)
        const text = formatMacAddress(address)
        expect(text.split(':').map((part) => Number.parseInt(part, 16))).toEqual([...bytes.subarray(1, 7)])
        expect(parseMacAddress(text)).toBe(address)
        expect(isMulticast(address)).toBe(((bytes[1] as number) & 1) === 1)
      }),
    )
    expect(parseMacAddress('02-15-5D-0a-0b-0c')).toBe(0x02155d0a0b0c)
    expect(parseMacAddress('02155d0A0b0c')).toBe(0x02155d0a0b0c)
    for (const text of ['', '02:15', '02:15:5d:0a:0b:0c:0d', '02:15-5d:0a:0b:0c', 'g2:15:5d:0a:0b:0c'])
      expect(parseMacAddress(text)).toBeUndefined()
  })
})
