// What goes through a TCP connection of the NAT, against the RFCs that it implements: order, loss, acknowledgements, windows and times.

import { describe, expect, it } from 'vitest'
import { F, NatGuest, type TestTcpSocket } from './nat-guest.ts'

describe('TCP', () => {
  it('what comes out of order is asked for again, what is known is left out', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const send = (offset: number, payload: string): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload })
    send(5, 'world')
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine }])
    send(0, 'hello')
    send(0, 'hello w')
    expect(socket.text).toBe('hello w')
    send(0, 'hello')
    expect(guest.segments().at(-1)).toMatchObject({ acknowledgement: mine + 7 })
  })

  it('what is lost goes again: at once after three duplicates, and after a time', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.events.data(Buffer.from('one'))
    socket.events.data(Buffer.from('two'))
    guest.segments()
    for (let i = 0; i < 3; i++)
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 512 })
    expect(guest.segments()).toMatchObject([{ sequence: remote, payload: 'onetwo' }])
    guest.clock.advance(1e9)
    expect(guest.segments().length).toBeGreaterThan(0)
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + 6, window: 512 })
    guest.clock.advance(100e9)
    expect(guest.segments()).toEqual([])
  })

  it('acknowledgements: with an answer, after a short time, or at once where that was in vain', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    let offset = 0
    const send = (payload: string): void => {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload })
      offset += payload.length
    }
    send('one')
    guest.clock.advance(9e6)
    socket.events.data(Buffer.from('1'))
    expect(guest.segments()).toMatchObject([{ payload: '1', acknowledgement: mine + 3 }])
    guest.clock.advance(1e9 - 10e6)
    expect(guest.segments()).toEqual([])
    // Nobody answers this.
    send('two')
    guest.clock.advance(9e6)
    expect(guest.segments()).toEqual([])
    guest.clock.advance(1e6)
    expect(guest.segments()).toMatchObject([{ payload: '', acknowledgement: mine + 6 }])
    for (let i = 0; i < 16; i++) {
      send('more')
      expect(guest.segments().at(-1)).toMatchObject({ acknowledgement: mine + offset })
    }
    send('x')
    expect(guest.segments()).toEqual([])
    // As much as a segment waits for nobody.
    send('y'.repeat(1459))
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine + offset }])
    expect(socket.written).toHaveLength(offset)
  })

  it('a window that is closed stays closed for a guest that sends a byte at a time', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.buffered = 1024 * 1024
    let offset = 0
    for (const size of [...new Array<number>(46).fill(1400), ...new Array<number>(3000).fill(1)]) {
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine + offset,
        acknowledgement: remote,
        payload: 'x'.repeat(size),
      })
      guest.settle()
      offset = (guest.segments().at(-1)?.acknowledgement ?? 0) - mine
    }
    // The window of the SYN, and not a byte more.
    expect(socket.written).toHaveLength(65_535)
    expect(offset).toBe(65_535)
  })

  it('a window of an older segment is not taken', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const send = (offset: number, payload: string, window: number): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload, window })
    send(0, 'abc', 10)
    send(3, 'def', 20)
    // It comes once more, as it was: 1,280 bytes.
    send(0, 'abc', 10)
    guest.segments()
    socket.events.data(Buffer.alloc(20_000, 'x'))
    expect(guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)).toBe(2560)
  })

  it('what is outside of the window is answered, and acknowledges nothing', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.events.data(Buffer.from('one'))
    guest.segments()
    for (const sequence of [mine - 5, mine + 3_000_000]) {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence, acknowledgement: remote + 3, window: 512 })
      expect(guest.segments()).toMatchObject([{ acknowledgement: mine, payload: '' }])
    }
    guest.clock.advance(1e9)
    expect(guest.segments()).toMatchObject([{ sequence: remote, payload: 'one' }])
  })

  it('a host that sends much: whole segments, and the rest when what is on its way has come', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const received = (): number => guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 65_535 })
    socket.events.data(Buffer.alloc(65_536, 'x'))
    expect(received()).toBe(44 * 1460)
    socket.events.data(Buffer.alloc(65_536, 'y'))
    expect(received()).toBe(44 * 1460)
    const acknowledge = (bytes: number): void =>
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + bytes,
        window: 65_535,
      })
    acknowledge(44 * 1460)
    expect(received()).toBe(0)
    acknowledge(88 * 1460)
    expect(received()).toBe(2 * 65_536 - 88 * 1460)
    // A little is not much, and nothing follows an end.
    socket.events.data(Buffer.from('z'))
    expect(received()).toBe(1)
    socket.events.data(Buffer.alloc(65_536, 'x'))
    socket.events.ended()
    expect(received()).toBe(65_536)
  })

  it('segments of the size that the guest wants, as many at once as it has room for', async () => {
    await using guest = await NatGuest.start()
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 999, options: [2, 4, 0, 100, 1, 3, 3, 7] })
    const socket = guest.host.tcp.at(-1) as TestTcpSocket
    socket.events.connected()
    const remote = ((guest.segments()[0]?.sequence ?? 0) + 1) >>> 0
    guest.adapter.accepts = 0x1f
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement: remote, window: 65_535 })
    socket.events.data(Buffer.alloc(60_000, 'x'))
    const sizes = guest.adapter.received.map(({ bytes }) => bytes.length - 54)
    expect(Math.max(...sizes)).toBe(6400)
    expect(sizes.reduce((sum, size) => sum + size)).toBe(60_000)
  })

  it('time-outs follow what is measured, and double', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    let acknowledged = 0
    const times = (until: number): number[] => {
      const begin = guest.clock.now()
      const found: number[] = []
      while (guest.clock.now() - begin < until) {
        guest.clock.advance(100e6)
        if (guest.segments().length > 0) found.push(Math.round((guest.clock.now() - begin) / 1e9))
      }
      return found
    }
    const exchange = (delay: number): void => {
      socket.events.data(Buffer.from('x'))
      guest.clock.advance(delay)
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + ++acknowledged,
        window: 512,
      })
      guest.segments()
    }
    exchange(1e6)
    socket.events.data(Buffer.from('y'))
    guest.segments()
    expect(times(20e9)).toEqual([1, 3, 7, 15])
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + ++acknowledged, window: 512 })
    // A guest that takes 900 ms has more than a second.
    for (let i = 0; i < 20; i++) exchange(900e6)
    socket.events.data(Buffer.from('z'))
    guest.segments()
    const [first] = times(4e9)
    expect(first).toBeGreaterThanOrEqual(1)
    exchange(900e6)
  })

  it('a guest that has room for a part of what comes at once gets all of it, once', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const text = Array.from({ length: 40_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')
    const window = (acknowledged: number): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + acknowledged, window: 512 })
    guest.adapter.room = 3
    socket.events.data(Buffer.from(text))
    let received = ''
    let sent = 0
    for (let rounds = 0; received.length < text.length && rounds < 200; rounds++) {
      for (const { sequence, payload } of guest.segments()) {
        sent += payload.length
        if (sequence - remote === received.length) received += payload
      }
      // More comes from the host while the guest has a part of a segment.
      if (rounds === 2) socket.events.data(Buffer.from(text))
      guest.adapter.room = 3
      if (rounds % 2 === 0) window(received.length)
      guest.port.resume()
    }
    expect(received.slice(0, text.length)).toBe(text)
    expect(sent).toBeLessThan(2.2 * text.length)
  })

  it('a window that is closed is asked about, and never exceeded', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const window = (bytes: number, acknowledged: number): void =>
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + acknowledged,
        window: bytes / 128,
      })
    window(1280, 0)
    socket.events.data(Buffer.alloc(5000, 'x'))
    let sent = guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    expect(sent).toBe(1280)
    window(0, 1280)
    guest.clock.advance(20e9)
    const probes = guest.segments()
    expect(probes.length).toBeGreaterThan(3)
    expect(probes.every(({ payload, sequence }) => payload.length === 1 && sequence === remote + 1280)).toBe(true)
    // It lives, for as long as it answers.
    for (let i = 0; i < 30; i++) {
      window(0, 1280)
      guest.clock.advance(15e9)
    }
    guest.segments()
    window(65_536, 1280)
    sent = guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    expect(sent).toBeGreaterThanOrEqual(5000 - 1280 - 1)
    expect(socket.aborted).toBe(false)
  })

  it('a host that takes nothing closes the window, and one that is ahead is paused', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.buffered = 1024 * 1024
    let offset = 0
    let window = 1
    for (let i = 0; window > 0 && i < 4000; i++) {
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine + offset,
        acknowledgement: remote,
        window: 512,
        payload: 'x'.repeat(1400),
      })
      guest.settle()
      const [last] = guest.segments().slice(-1)
      offset = (last?.acknowledgement ?? mine) - mine
      window = last?.window ?? 0
    }
    expect(window).toBe(0)
    expect(socket.written).toHaveLength(offset)
    socket.buffered = 0
    socket.events.drained()
    expect(guest.segments().at(-1)?.window).toBe(8192)
    for (let i = 0; i < 20; i++) socket.events.data(Buffer.alloc(65_536))
    expect(socket.paused).toBe(true)
    expect(guest.gateway.report().heldBytes).toBe(20 * (65_536 + 512))
  })
})
