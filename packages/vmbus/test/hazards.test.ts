// What goes wrong with a VMBus, and the test that stands against it. Each hazard was met by somebody: most are in the history of Linux' drivers or of OpenVMM. The
// table is checked, so that no test goes away without another in its place; what had no test elsewhere is tested here.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CONTROL, READ, RingMemory, RingReader, RingWriter } from '../src/ring.ts'

/** Hazard, file, and the test's name (the beginning of it). */
const HAZARDS: readonly (readonly [string, string, string])[] = [
  // Connection.
  [
    'a proposal without an answer: the guest waits for ever',
    'server-connection',
    'refuses versions before 2.4 and unknown ones',
  ],
  ['a proposal for another SINT without an answer', 'server-connection', 'refuses a SINT that is not the bus’s'],
  ['an answer without connection id from 5.0 on', 'server-connection', 'answers in 16 bytes with a connection id'],
  ['posts to the connection of the other versions', 'client', 'posts to connection 4 and names the SINT'],
  ['both connections are served', 'plugin', 'carries a device over a SynIC'],
  ['offers that are requested twice', 'server-offers', 'are delivered once per connection'],
  ['numbers that change over a hibernation', 'server-offers', 'are sorted by interface, order and instance'],
  ['more channels than event flags', 'server-offers', 'number at most 2,047'],
  [
    'an offer with a shared interrupt, or a monitor bit that nobody looks at',
    'server-offers',
    'carry a dedicated interrupt',
  ],
  ['messages that are too short', 'server-connection', 'ignores messages that are too short'],
  ['messages of another version', 'server-connection', 'ignores everything before contact'],
  ['a modification that is not acknowledged at 5.3', 'server-channels', 'follow a modification to another processor'],
  ['a re-open while the close is under way: close has no reply', 'server-channels', 'open again after a close'],
  ['a re-open that is closed before its turn', 'server-channels', 'answer a re-open that is closed'],
  ['a primary that is rescinded before its sub-channels', 'server-channels', 'are rescinded before their primary'],
  ['an open that crosses a rescind', 'server-offers', 'answers an open that crosses it'],
  [
    'a number that is used again before it is released',
    'server-offers',
    'closes the channel at once, and keeps the number',
  ],
  [
    'a new device that the guest takes for the old one',
    'server-offers',
    'wait for the guest to release the old device',
  ],
  ['an unload that is acknowledged before devices let go', 'server-connection', 'by unload closes everything'],
  ['a crash kernel that finds the old connection', 'server-connection', 'is implied by a new contact'],
  ['a kernel of another version after kexec', 'server-connection', 'by unload at %s may be followed by a kernel'],
  ['hypervisor sockets that nobody answers', 'server-offers', 'are refused where nobody serves them'],
  ['a guest that posts and never looks', 'server-connection', 'turns a guest away that sends and never looks'],
  // GPADLs.
  ['a receive buffer of 147 messages that takes long', 'gpadl', 'of 16 MiB come in one header and 146 bodies'],
  ['messages that are padded to the maximum', 'gpadl', 'may come in messages that are padded'],
  ['ranges that are looked at before they are complete', 'gpadl', 'are looked at when they are complete'],
  [
    'a GPADL for a revoked channel: Linux mishandles a refusal',
    'server-offers',
    'closes the channel at once, and keeps the number',
  ],
  ['GPADLs without end', 'gpadl', 'are bounded: a guest cannot grow the host'],
  ['a GPADL that goes while a device uses it', 'channel', 'refer to GPADLs of their channel'],
  ['a device that lets go when the number is another’s', 'channel', 'that a device lets go of too late'],
  // Opening.
  ['a split that leaves one ring without pages', 'server-channels', 'are refused for a GPADL that is no ring'],
  ['signals before the device has opened', 'server-channels', 'have their event port before the device opens'],
  [
    'an interrupt before the result of the open: storvsc hangs',
    'server-channels',
    'send no interrupt before the result',
  ],
  // Rings.
  ['control words in other places', 'ring', 'lie in the ring as the specification has them'],
  ['a longer header than the packet has: the length underflows', 'ring', 'breaks with %s'],
  ['a ring that is filled up looks empty', 'ring', 'is never used up'],
  ['pointers that are no places', 'ring', 'opens only with pointers that are places in it'],
  ['pointers that become no places', 'ring', 'breaks for good: %s'],
  ['the other side’s pointer in this side’s place', 'ring', 'does not move the pointers that are this side’s own'],
  ['a signal too many, or one too few, of the writer', 'ring', 'are due exactly when the ring was empty'],
  ['a signal too many, or one too few, of the reader', 'ring', 'are due when the free bytes pass'],
  ['a writer that waits for the reader, who is done', 'ring', 'are not needed when there is room by the time'],
  ['a reader that sleeps while a packet comes', 'hazards', 'is woken by a packet that comes while it goes to sleep'],
  ['a lost signal between two threads', 'ring', 'lose no packet and no signal'],
  ['a saved state that forgets who waits for a signal', 'save-restore', 'signal the guest, so that neither side waits'],
  ['a saved state that forgets who waits for room', 'save-restore', 'tell a device that waits for room'],
  ['a monitor page that is read as another', 'monitor', 'has a bit for each of 128 channels'],
  ['packets that change while they are looked at', 'ring', 'gives a packet that the other side cannot change'],
  ['bytes that are looked at twice', 'ring', 'looks at each byte once'],
  ['a pointer that is read twice', 'hazards', 'has one value of the other side’s pointer'],
  ['a pointer that is another at each look: the host looks for ever', 'channel', 'leaves a guest alone whose pointer'],
  ['memory that changes at any time', 'fuzz', 'made anew do not either'],
]

const sources = new Map<string, string>()
function source(file: string): string {
  const known = sources.get(file)
  if (known !== undefined) return known
  const text = readFileSync(new URL(`./${file}.test.ts`, import.meta.url), 'utf8')
  sources.set(file, text)
  return text
}

describe('the tests against hazards', () => {
  it.each(HAZARDS)('%s', (_hazard, file, name) => {
    // A test, not the table's own line.
    expect(source(file)).toMatch(
      new RegExp(`(it|it\\.each\\([^)]*\\)|\\]\\))\\(\\s*['\`]${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`),
    )
  })
})

describe('a reader', () => {
  const ends = () => {
    const memory = RingMemory.fromBuffer(new SharedArrayBuffer(2 * 4096)) as RingMemory
    return { memory, reader: RingReader.open(memory) as RingReader, writer: RingWriter.open(memory) as RingWriter }
  }

  it('is woken by a packet that comes while it goes to sleep', () => {
    const { memory, reader, writer } = ends()
    reader.mask()
    expect(reader.next()).toBe(READ.EMPTY)
    // Between its last look and its unmasking: the writer sees the mask, and sends no signal.
    writer.writeInBand(new Uint8Array(8))
    expect(Atomics.load(memory.control, CONTROL.INTERRUPT_MASK)).toBe(1)
    writer.commit()
    expect(reader.unmask()).toBe(true)
    reader.mask()
    expect(reader.next()).toBe(READ.PACKET)
    expect(reader.next()).toBe(READ.EMPTY)
    expect(reader.unmask()).toBe(false)
  })

  it('has one value of the other side’s pointer for a packet, whatever becomes of it', () => {
    const { memory, reader, writer } = ends()
    for (let count = 0; count < 3; count++) writer.writeInBand(new Uint8Array(16).fill(count))
    writer.commit()
    expect(reader.peek()).toBe(READ.PACKET)
    // Less, more, and none at all: what was seen once stays.
    for (const value of [8, 4088, 0xffff_fff8 | 0, 3]) {
      Atomics.store(memory.control, CONTROL.IN, value)
      expect(reader.peek()).toBe(READ.PACKET)
      expect(reader.packet.payload()).toEqual(new Uint8Array(16))
    }
    for (let count = 0; count < 3; count++) {
      expect(reader.next()).toBe(READ.PACKET)
      expect(reader.packet.payload()).toEqual(new Uint8Array(16).fill(count))
    }
    expect(reader.next()).toBe(READ.BROKEN)
  })
})
