import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as protocol from '../src/protocol.ts'

const { MESSAGE_RULES, MESSAGE_TYPE, VMBUS_VERSION, checkMessage, formatMessage } = protocol

function message(type: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  if (length >= 4) new DataView(bytes.buffer).setUint32(0, type, true)
  return bytes
}

describe('messages', () => {
  it('have the sizes that Linux has', () => {
    // sizeof of the structs in include/linux/hyperv.h.
    expect({
      offer: protocol.OfferChannel.size,
      rescind: protocol.RescindChannelOffer.size,
      open: protocol.OpenChannel.size,
      openResult: protocol.OpenChannelResult.size,
      close: protocol.CloseChannel.size,
      gpadlHeader: protocol.GpadlHeader.size,
      gpadlBody: protocol.GpadlBody.size,
      gpadlCreated: protocol.GpadlCreated.size,
      gpadlTeardown: protocol.GpadlTeardown.size,
      gpadlTorndown: protocol.GpadlTorndown.size,
      released: protocol.RelIdReleased.size,
      contact: protocol.InitiateContact.size,
      versionResponse: protocol.VersionResponse.size,
      connect: protocol.TlConnectRequest.size,
      modify: protocol.ModifyChannel.size,
      modified: protocol.ModifyChannelResponse.size,
    }).toEqual({
      offer: 196,
      rescind: 12,
      open: 148,
      openResult: 20,
      close: 12,
      gpadlHeader: 20,
      gpadlBody: 16,
      gpadlCreated: 20,
      gpadlTeardown: 16,
      gpadlTorndown: 12,
      released: 12,
      contact: 40,
      versionResponse: 16,
      connect: 40,
      modify: 16,
      modified: 16,
    })
    expect(protocol.InitiateContactTarget.size).toBe(protocol.InitiateContact.size)
    expect(protocol.VersionResponse2.size).toBe(20)
    expect(protocol.OfferChannel.offsets).toMatchObject({
      relid: 184,
      monitorId: 188,
      connectionId: 192,
      userDefined: 60,
    })
    expect(protocol.OpenChannel.offsets).toMatchObject({ ringGpadlId: 16, downstreamPageOffset: 24, userData: 28 })
  })

  it('fit in a SynIC message', () => {
    for (const { minimum } of MESSAGE_RULES.values()) expect(minimum).toBeLessThanOrEqual(protocol.MAX_MESSAGE_SIZE)
  })

  it('are of use from their shortest length on, from their side, since their version', () => {
    for (const [type, { sender, minimum, since, name, feature = 0, longer }] of MESSAGE_RULES) {
      const other = sender === 'client' ? 'server' : 'client'
      const check = (length: number, side: 'client' | 'server', version: number, features = feature) =>
        checkMessage(new DataView(message(type, length).buffer), side, version, features)
      expect(check(minimum, sender, VMBUS_VERSION.V6_0)).toMatchObject({ name })
      expect(check(240, sender, VMBUS_VERSION.V6_0)).toMatchObject({ name })
      expect(check(minimum - 1, sender, VMBUS_VERSION.V6_0)).toBe('short')
      expect(check(minimum, other, VMBUS_VERSION.V6_0)).toBe('unexpected')
      if (since > 0) expect(check(minimum, sender, since - 1)).toBe('unexpected')
      if (feature !== 0) expect(check(minimum, sender, VMBUS_VERSION.V6_0, 0xffff & ~feature)).toBe('unexpected')
      if (longer === undefined) continue
      expect(check(longer.minimum - 1, sender, VMBUS_VERSION.V6_0, longer.features)).toBe('short')
      expect(check(longer.minimum, sender, VMBUS_VERSION.V6_0, longer.features)).toMatchObject({ name })
    }
    expect(checkMessage(new DataView(message(30, 240).buffer), 'client', VMBUS_VERSION.V6_0)).toBe('unknown')
    expect(checkMessage(new DataView(message(0, 240).buffer), 'client', VMBUS_VERSION.V6_0)).toBe('unknown')
  })

  it('exist since the versions that introduced them', () => {
    const since = (type: number) => MESSAGE_RULES.get(type)?.since
    expect(since(MESSAGE_TYPE.INITIATE_CONTACT)).toBe(0)
    expect(since(MESSAGE_TYPE.MODIFY_CHANNEL)).toBe(VMBUS_VERSION.V4_1)
    expect(since(MESSAGE_TYPE.MODIFY_CHANNEL_RESPONSE)).toBe(VMBUS_VERSION.V5_3)
    expect(since(MESSAGE_TYPE.TL_CONNECT_REQUEST)).toBe(VMBUS_VERSION.V4_0)
    for (const type of [25, 26, 27, 28, 29]) expect(since(type)).toBe(VMBUS_VERSION.V6_0)
  })
})

describe('a dump', () => {
  it('of any bytes is a short line', () => {
    fc.assert(
      fc.property(fc.nat(32), fc.uint8Array({ maxLength: 240 }), (type, bytes) => {
        if (bytes.length >= 4) new DataView(bytes.buffer).setUint32(0, type, true)
        const line = formatMessage(bytes)
        expect(line.length).toBeLessThan(400)
        expect(line).not.toContain('\n')
      }),
    )
    expect(formatMessage(message(5, 7))).toBe('7 bytes: shorter than a message')
    expect(formatMessage(message(5, 30))).toBe('OPEN_CHANNEL, cut off after 30 bytes')
    expect(formatMessage(message(99, 30))).toBe('message 99, 30 bytes')
    expect(formatMessage(message(16, 8))).toBe('UNLOAD')
    // What the third field means depends on the version that is proposed.
    const contact = message(14, 40)
    contact.set([3, 0, 5, 0], 8)
    contact[16] = 2
    expect(formatMessage(contact)).toMatch(/^INITIATE_CONTACT version=5\.3 targetVp=\d+ sint=2 vtl=/)
    contact.set([0, 0, 4, 0], 8)
    expect(formatMessage(contact)).toMatch(/^INITIATE_CONTACT version=4\.0 targetVp=\d+ interruptPage=0x/)
  })
})
