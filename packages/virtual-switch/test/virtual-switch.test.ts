// The switch, against IEEE 802.1Q, and its own promises of room, protection and limits.

import { FRAME_FLAG } from '@partita/interface'
import { FakeClock } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { AGEING_TIME, STALL_TIME, type SwitchPort, TABLE_SIZE, VirtualSwitch } from '../src/index.ts'
import { BROADCAST, frameOf, send, TestAdapter } from './adapter.ts'

const A = '02:00:00:00:00:0a'
const B = '02:00:00:00:00:0b'
const C = '02:00:00:00:00:0c'

interface Set {
  readonly clock: FakeClock
  readonly network: VirtualSwitch
  readonly adapters: readonly [TestAdapter, TestAdapter, TestAdapter]
  readonly ports: readonly [SwitchPort, SwitchPort, SwitchPort]
}

function three(settings: readonly (Record<string, unknown> | undefined)[] = [], options: { mtu?: number } = {}): Set {
  const clock = new FakeClock()
  const network = new VirtualSwitch({ clock, ...options })
  const adapters = [new TestAdapter('a', A), new TestAdapter('b', B), new TestAdapter('c', C)] as const
  const [a, b, c] = adapters.map((adapter, i) => network.connect(adapter, { port: settings[i] }))
  return { clock, network, adapters, ports: [a as SwitchPort, b as SwitchPort, c as SwitchPort] }
}

describe('forwarding', () => {
  it('floods what it does not know, and learns', () => {
    const { adapters, ports, network } = three()
    const [a, b, c] = adapters
    send(ports[0], frameOf(A, B, 'one'))
    expect([a.take(), b.take(), c.take()]).toEqual([[], ['one'], ['one']])
    expect([a.batches, b.batches, c.batches]).toEqual([0, 1, 1])
    send(ports[1], frameOf(B, A, 'two'))
    expect([a.take(), b.take(), c.take()]).toEqual([['two'], [], []])
    send(ports[0], frameOf(A, B, 'three'))
    expect([a.take(), b.take(), c.take()]).toEqual([[], ['three'], []])
    send(ports[0], frameOf(A, BROADCAST, 'four'))
    send(ports[0], frameOf(A, '33:33:00:00:00:01', 'five'))
    expect([a.take(), b.take(), c.take()]).toEqual([[], ['four', 'five'], ['four', 'five']])
    expect(network.addresses).toBe(2)
    expect(ports[0].counters).toMatchObject({
      framesIn: 4,
      bytesIn: 4 * 14 + 3 + 5 + 4 + 4,
      framesOut: 1,
      bytesOut: 17,
    })
  })

  it('forgets after 300 seconds, and when a port goes', async () => {
    const { adapters, ports, clock, network } = three()
    const [, b, c] = adapters
    send(ports[1], frameOf(B, BROADCAST, ''))
    send(ports[0], frameOf(A, B, 'known'))
    c.take()
    clock.advance(AGEING_TIME + 1)
    send(ports[0], frameOf(A, B, 'forgotten'))
    expect(c.take()).toEqual(['forgotten'])
    send(ports[1], frameOf(B, BROADCAST, ''))
    await ports[1][Symbol.asyncDispose]()
    b.take()
    c.take()
    send(ports[0], frameOf(A, B, 'gone'))
    expect([b.take(), c.take()]).toEqual([[], ['gone']])
    expect(network.ports).toHaveLength(2)
    expect(send(ports[1], frameOf(B, A, 'after its end'))).toBe(true)
  })

  it('the table has a bound, whatever a guest makes up', () => {
    const { ports, network } = three([{ spoofing: true }])
    for (let i = 0; i < TABLE_SIZE + 500; i++) {
      send(
        ports[0],
        frameOf(
          `02:00:00:01:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`,
          B,
          '',
        ),
      )
    }
    expect(network.addresses).toBe(TABLE_SIZE)
  })

  it('a frame to an address behind its own port goes nowhere', () => {
    const { adapters, ports } = three([{ spoofing: true }])
    send(ports[0], frameOf('02:00:00:00:00:aa', BROADCAST, ''))
    for (const adapter of adapters) adapter.take()
    send(ports[0], frameOf(A, '02:00:00:00:00:aa', 'hairpin'))
    expect(adapters.map((adapter) => adapter.take())).toEqual([[], [], []])
  })

  it('drops what is no frame, and what is too long', () => {
    const { adapters, ports } = three()
    const tiny = frameOf(A, B, '')
    tiny.end -= 1
    expect(send(ports[0], tiny)).toBe(true)
    expect(send(ports[0], frameOf(A, B, 'x'.repeat(1505)))).toBe(true)
    expect(ports[0].counters.droppedMalformed).toBe(2)
    expect(adapters[1].received).toEqual([])
    send(ports[0], frameOf(A, B, 'x'.repeat(1500)))
    expect(adapters[1].received).toHaveLength(1)
  })
})

describe('protection', () => {
  it('another source address is dropped, and the guest’s change of address changes nothing', () => {
    const { adapters, ports } = three()
    send(ports[0], frameOf(C, B, 'as c'))
    adapters[0].macAddress = C
    ports[0].adapterChanged()
    send(ports[0], frameOf(C, B, 'as c again'))
    expect(adapters[1].take()).toEqual([])
    expect(ports[0].counters.droppedSpoofed).toBe(2)
  })

  it('where spoofing is allowed it passes, but for group addresses', () => {
    const { adapters, ports } = three([{ spoofing: true }])
    send(ports[0], frameOf(C, B, 'as c'))
    send(ports[0], frameOf('01:00:5e:00:00:01', B, 'as a group'))
    expect(adapters[1].take()).toEqual(['as c'])
  })

  it('settings that are none', () => {
    const { network } = three()
    for (const port of [
      { vlan: 4095 },
      { vlan: { mode: 'trunk', allowed: [1.5] } },
      { sendLimit: -1 },
      { color: 'red' },
      7,
    ]) {
      expect(() => network.connect(new TestAdapter('x', A), { port: port as Record<string, unknown> })).toThrowError(
        expect.objectContaining({ code: 'ERR_NETWORK_PORT' }),
      )
    }
    expect(network.ports).toHaveLength(3)
  })
})

function tagged(frame: ReturnType<typeof frameOf>, tci: number): ReturnType<typeof frameOf> {
  const bytes = new Uint8Array(frame.bytes.length + 4)
  bytes.set(frame.bytes.subarray(0, 12))
  bytes.set([0x81, 0x00, tci >> 8, tci & 0xff], 12)
  bytes.set(frame.bytes.subarray(12), 16)
  return frame.plain(bytes)
}

describe('VLANs', () => {
  it('access ports of different VLANs do not see each other', () => {
    const { adapters, ports } = three([{ vlan: 7 }, { vlan: { mode: 'access', id: 7 } }, { vlan: 8 }])
    send(ports[0], frameOf(A, BROADCAST, 'seven'))
    send(ports[0], frameOf(A, C, 'to c'))
    expect(adapters.map((adapter) => adapter.take())).toEqual([[], ['seven', 'to c'], []])
    // A tag of its own does not get a guest out.
    send(ports[0], tagged(frameOf(A, C, 'hop'), 8))
    expect(adapters[2].take()).toEqual([])
    expect(ports[0].counters.droppedVlan).toBe(1)
  })

  it('a known address in another VLAN is not reached', () => {
    const { adapters, ports } = three([{ vlan: 7 }, { vlan: 8 }])
    send(ports[1], frameOf(B, BROADCAST, ''))
    send(ports[0], frameOf(A, B, 'across'))
    expect(adapters[1].take()).toEqual([])
  })

  it('a trunk has tags, but for its native VLAN', () => {
    const { adapters, ports } = three([
      { vlan: 7 },
      { vlan: { mode: 'trunk', allowed: [7, 9], native: 1 } },
      { vlan: 1 },
    ])
    adapters[1].accepts = FRAME_FLAG.VLAN
    send(ports[0], frameOf(A, BROADCAST, 'seven'))
    send(ports[2], frameOf(C, BROADCAST, 'one'))
    const [seven, one] = adapters[1].received.splice(0)
    expect([seven?.flags, seven?.vlan, seven?.text]).toEqual([FRAME_FLAG.VLAN, 7, 'seven'])
    expect([one?.flags, one?.text]).toEqual([0, 'one'])
    // An adapter that takes no tags beside the frame has them inside.
    adapters[1].accepts = 0
    send(ports[0], frameOf(A, BROADCAST, 'seven'))
    expect([...(adapters[1].received[0]?.bytes.subarray(12, 18) ?? [])]).toEqual([0x81, 0x00, 0x00, 0x07, 0x88, 0xb5])
    // From the trunk: tagged in its bytes, beside them, untagged, and in a VLAN that it does not have.
    send(ports[1], tagged(frameOf(B, A, 'in the bytes'), 0xe007))
    const beside = frameOf(B, A, 'beside')
    beside.flags = FRAME_FLAG.VLAN
    beside.vlan = 7
    send(ports[1], beside)
    send(ports[1], frameOf(B, C, 'native'))
    send(ports[1], tagged(frameOf(B, A, 'not allowed'), 8))
    expect(adapters[0].take()).toEqual(['in the bytes', 'beside'])
    expect(adapters[2].take()).toEqual(['native'])
    expect(ports[1].counters.droppedVlan).toBe(1)
  })
})

describe('room', () => {
  it('a frame without room stays with its sender, who is told', () => {
    const { adapters, ports } = three()
    const [a, b] = adapters
    send(ports[1], frameOf(B, BROADCAST, ''))
    b.room = 1
    expect(send(ports[0], frameOf(A, B, 'one'))).toBe(true)
    expect(send(ports[0], frameOf(A, B, 'two'))).toBe(false)
    expect(send(ports[2], frameOf(C, B, 'three'))).toBe(false)
    expect(a.writables).toBe(0)
    b.room = 9
    a.onWritable = () => send(ports[0], frameOf(A, B, 'two'))
    ports[1].resume()
    expect([a.writables, adapters[2].writables]).toEqual([1, 1])
    expect(b.take()).toEqual(['one', 'two'])
    expect(ports[0].counters.framesIn).toBe(2)
    expect(ports[1].counters.droppedNoRoom).toBe(0)
  })

  it('nobody waits long for a receiver that takes nothing', () => {
    const { adapters, ports, clock } = three()
    const [a, b, c] = adapters
    send(ports[1], frameOf(B, BROADCAST, ''))
    c.take()
    b.room = 0
    expect(send(ports[0], frameOf(A, B, 'lost'))).toBe(false)
    clock.advance(STALL_TIME)
    expect(a.writables).toBe(1)
    expect(send(ports[0], frameOf(A, B, 'lost'))).toBe(true)
    expect(ports[1].counters.droppedNoRoom).toBe(1)
    b.room = 9
    ports[1].resume()
    expect(send(ports[0], frameOf(A, B, 'taken'))).toBe(true)
    expect(b.take()).toEqual(['taken'])
  })

  it('one full receiver does not hold up a flood', () => {
    const { adapters, ports } = three()
    adapters[1].room = 0
    expect(send(ports[0], frameOf(A, BROADCAST, 'all'))).toBe(true)
    expect([adapters[1].take(), adapters[2].take()]).toEqual([[], ['all']])
    expect(ports[1].counters.droppedNoRoom).toBe(1)
  })

  it('adapters that answer at once, and answer the answer', () => {
    const { adapters, ports } = three()
    const [a, b] = adapters
    let rounds = 0
    b.onReceive = () => {
      send(ports[1], frameOf(B, A, 'pong'))
    }
    a.onReceive = () => {
      if (++rounds < 5) send(ports[0], frameOf(A, B, 'ping'))
    }
    let again = 0
    a.onWritable = () => {
      if (again++ < 10 && rounds < 5) send(ports[0], frameOf(A, B, 'ping'))
    }
    send(ports[0], frameOf(A, B, 'ping'))
    expect(rounds).toBeGreaterThan(1)
    expect(b.take().every((text) => text === 'ping')).toBe(true)
  })

  it('a pulled cable', () => {
    const { adapters, ports } = three()
    send(ports[1], frameOf(B, BROADCAST, ''))
    ports[1].linkUp = false
    expect(adapters[1].portChanges).toBe(1)
    send(ports[0], frameOf(A, B, 'nobody'))
    send(ports[1], frameOf(B, A, 'nothing'))
    expect([adapters[0].take().at(-1), adapters[1].take()]).toEqual(['', []])
    ports[1].linkUp = true
    send(ports[0], frameOf(A, B, 'back'))
    expect(adapters[1].take()).toEqual(['back'])
  })

  it('a change of the MTU is told', () => {
    const { network, adapters, ports } = three()
    network.mtu = 9000
    expect([ports[0].mtu, adapters[0].portChanges]).toEqual([9000, 1])
  })
})

/** A large TCP frame over IPv4: four segments of 100 bytes, each of one letter. */
function large(from: string, to: string): ReturnType<typeof frameOf> {
  const frame = frameOf(from, to, '')
  const bytes = new Uint8Array(14 + 20 + 20 + 400)
  bytes.set(frame.bytes.subarray(0, 12))
  bytes.set([0x08, 0x00, 0x45, 0, 0x01, 0xb8, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 12)
  bytes.set([0, 80, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff], 34)
  for (let segment = 0; segment < 4; segment++) bytes.fill(0x61 + segment, 54 + 100 * segment, 154 + 100 * segment)
  frame.plain(bytes)
  frame.flags = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.CHECKSUM_PARTIAL
  frame.checksumStart = 34
  frame.checksumOffset = 50
  frame.gsoSize = 100
  return frame
}

/** Which of its segments an adapter has got; a large frame in one piece has them all. */
function segments({ received }: TestAdapter): string {
  return received
    .splice(0)
    .flatMap(({ bytes }) =>
      Array.from({ length: (bytes.length - 54) / 100 }, (_, i) => String.fromCharCode(bytes[54 + 100 * i] ?? 0)),
    )
    .join('')
}

describe('large frames that find room for a part', () => {
  it('go on with the next segment when they come again', () => {
    const { adapters, ports } = three()
    const [, b] = adapters
    send(ports[1], frameOf(B, BROADCAST, ''))
    b.room = 2
    expect(send(ports[0], large(A, B))).toBe(false)
    b.room = 9
    ports[1].resume()
    expect(send(ports[0], large(A, B))).toBe(true)
    expect(segments(b)).toBe('abcd')
    expect(ports[1].counters).toMatchObject({ framesOut: 4, droppedNoRoom: 0 })
  })

  it.each([0, FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.CHECKSUM_PARTIAL])(
    'one of a flood’s receivers takes nothing from the others, who accept %d',
    (accepts) => {
      const { adapters, ports } = three()
      const [, b, c] = adapters
      b.room = 2
      c.accepts = accepts
      expect(send(ports[0], large(A, BROADCAST))).toBe(true)
      expect([segments(b), segments(c)]).toEqual(['ab', 'abcd'])
      expect([ports[1].counters.framesOut, ports[1].counters.droppedNoRoom]).toEqual([2, 1])
      expect(ports[2].counters).toMatchObject({
        framesOut: accepts === 0 ? 4 : 1,
        droppedNoRoom: 0,
        droppedMalformed: 0,
      })
    },
  )

  it('begin anew for another receiver, and for all', async () => {
    const { adapters, ports } = three([{}, {}, { spoofing: true }])
    const [, b, c] = adapters
    send(ports[1], frameOf(B, BROADCAST, ''))
    c.take()
    b.room = 2
    expect(send(ports[0], large(A, B))).toBe(false)
    // Meanwhile the address is found behind another port.
    send(ports[2], frameOf(B, A, ''))
    expect(send(ports[0], large(A, B))).toBe(true)
    expect([segments(b), segments(c)]).toEqual(['ab', 'abcd'])
    ports[1].resume()
    b.room = 9
    send(ports[1], frameOf(B, BROADCAST, ''))
    c.take()
    b.room = 1
    expect(send(ports[0], large(A, B))).toBe(false)
    await ports[1][Symbol.asyncDispose]()
    expect(send(ports[0], large(A, B))).toBe(true)
    expect(segments(c)).toBe('abcd')
  })
})

describe('limits', () => {
  for (const [name, settings] of [
    ['what a port sends', [{ sendLimit: 8e6 }, {}]],
    ['what a port receives', [{}, { receiveLimit: 8e6 }]],
  ] as const) {
    it(name, () => {
      const { adapters, ports, clock } = three(settings)
      const [a, b] = adapters
      send(ports[1], frameOf(B, BROADCAST, ''))
      const text = 'x'.repeat(986)
      let sent = 0
      const pump = (): void => {
        while (send(ports[0], frameOf(A, B, text))) sent++
      }
      a.onWritable = pump
      pump()
      b.take()
      const burst = sent
      expect(burst * 1000).toBeLessThan(200_000)
      clock.advance(10e9)
      // 8 Mbit/s for ten seconds are 10,000 frames of 1,000 bytes.
      expect(sent - burst).toBeGreaterThan(9900)
      expect(sent - burst).toBeLessThan(10_100)
      expect(b.received.length).toBe(sent - burst)
    })
  }
})

it('an adapter that throws does not end the ports', () => {
  const { adapters, ports } = three()
  const [, b] = adapters
  send(ports[1], frameOf(B, BROADCAST, ''))
  b.onReceive = () => {
    throw new Error('a fault of the host')
  }
  expect(() => send(ports[0], frameOf(A, B, 'one'))).toThrow('a fault of the host')
  b.onReceive = undefined
  b.take()
  expect(send(ports[0], frameOf(A, B, 'two'))).toBe(true)
  expect(b.take()).toEqual(['two'])
})
