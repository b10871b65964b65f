// Facts of the 8259A data sheet (231468) and of the PIIX4's edge/level control registers.
import { FakeMachine } from '@partita/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import pic from '../src/pic.ts'
import { picToken } from '../src/tokens.ts'

/** Initialise as a PC's operating system does: vectors 0x20 and 0x28, cascade on 2, 8086 mode, everything open. */
async function initialised(icw4 = 0x01) {
  const machine = new FakeMachine()
  const instance = await machine.start(pic)
  const { ports } = machine
  for (const [base, vector, cascade] of [
    [0x20, 0x20, 0x04],
    [0xa0, 0x28, 0x02],
  ] as const) {
    ports.write(base, 0x11)
    ports.write(base + 1, vector)
    ports.write(base + 1, cascade)
    ports.write(base + 1, icw4)
    ports.write(base + 1, 0x00)
  }
  return { machine, ports, instance, messages: machine.messages, pic: machine.service(picToken) }
}

describe('8259A pair', () => {
  it('delivers the vector of an edge on the master and blocks it until its EOI', async () => {
    const { pic, ports, messages } = await initialised()
    pic.setInput(1, true)
    expect(messages.externalInterrupt).toBe(true)
    expect(messages.acknowledge()).toBe(0x21)
    expect(messages.externalInterrupt).toBe(false)
    pic.setInput(1, false)
    pic.setInput(1, true)
    expect(messages.externalInterrupt).toBe(false)
    ports.write(0x20, 0x20)
    expect(messages.externalInterrupt).toBe(true)
  })

  it('delivers slave interrupts through input 2, and 8 before 3', async () => {
    const { pic, messages } = await initialised()
    pic.setInput(3, true)
    pic.setInput(8, true)
    expect(messages.acknowledge()).toBe(0x28)
  })

  it('keeps lower priorities waiting while a higher one is in service', async () => {
    const { pic, ports, messages } = await initialised()
    pic.setInput(3, true)
    expect(messages.acknowledge()).toBe(0x23)
    pic.setInput(4, true)
    expect(messages.externalInterrupt).toBe(false)
    pic.setInput(0, true)
    expect(messages.acknowledge()).toBe(0x20)
    ports.write(0x20, 0x20) // ends 0, the highest in service
    expect(messages.externalInterrupt).toBe(false)
    ports.write(0x20, 0x63) // specific EOI of 3
    expect(messages.acknowledge()).toBe(0x24)
  })

  it('gives spurious vector 7 when the request is gone, with nothing in service', async () => {
    const { pic, ports, messages } = await initialised()
    pic.setInput(5, true)
    pic.setInput(5, false)
    expect(messages.externalInterrupt).toBe(false)
    expect(messages.acknowledge()).toBe(0x27)
    ports.write(0x20, 0x0b)
    expect(ports.read(0x20)).toBe(0)
  })

  it('shows the cascade to a poll of the master, and the slave has its own', async () => {
    const { pic, ports } = await initialised()
    pic.setInput(12, true)
    ports.write(0x20, 0x0c)
    expect(ports.read(0x20)).toBe(0x82)
    ports.write(0xa0, 0x0c)
    expect(ports.read(0xa0)).toBe(0x84)
    ports.write(0x20, 0x0b)
    expect(ports.read(0x20)).toBe(0x04)
  })

  it('masks with OCW1 and shows requests all the same', async () => {
    const { pic, ports, messages } = await initialised()
    ports.write(0x21, 0xff)
    pic.setInput(6, true)
    expect(messages.externalInterrupt).toBe(false)
    ports.write(0x20, 0x0a)
    expect(ports.read(0x20)).toBe(0x40)
    expect(ports.read(0x21)).toBe(0xff)
    ports.write(0x21, 0xbf)
    expect(messages.acknowledge()).toBe(0x26)
  })

  it('repeats a level-triggered request after EOI while it is asserted', async () => {
    const { pic, ports, messages } = await initialised()
    ports.write(0x4d1, 0x0c) // 10 and 11
    pic.setInput(11, true)
    expect(messages.acknowledge()).toBe(0x2b)
    ports.write(0xa0, 0x20)
    ports.write(0x20, 0x20)
    expect(messages.acknowledge()).toBe(0x2b)
    pic.setInput(11, false)
    ports.write(0xa0, 0x20)
    ports.write(0x20, 0x20)
    expect(messages.externalInterrupt).toBe(false)
  })

  it('keeps 0, 1, 2, 8 and 13 edge-triggered in the ELCR', async () => {
    const { ports } = await initialised()
    ports.write(0x4d0, 0xff)
    ports.write(0x4d1, 0xff)
    expect(ports.read(0x4d0)).toBe(0xf8)
    expect(ports.read(0x4d1)).toBe(0xde)
    expect(ports.read(0x4d0, 2)).toBe(0xdef8)
  })

  it('rotates the priority with an EOI', async () => {
    const { pic, ports, messages } = await initialised()
    pic.setInput(0, true)
    expect(messages.acknowledge()).toBe(0x20)
    ports.write(0x20, 0xa0) // rotate on non-specific EOI: 0 is the lowest now
    pic.setInput(0, false)
    pic.setInput(0, true)
    pic.setInput(7, true)
    expect(messages.acknowledge()).toBe(0x27)
    ports.write(0x20, 0x20)
    ports.write(0x20, 0xc5) // set priority: 5 is the lowest, 6 the highest
    pic.setInput(6, true)
    pic.setInput(1, true)
    expect(messages.acknowledge()).toBe(0x26)
  })

  it('puts nothing in service with automatic EOI, and rotates where asked', async () => {
    const { pic, ports, messages } = await initialised(0x03)
    pic.setInput(1, true)
    expect(messages.acknowledge()).toBe(0x21)
    ports.write(0x20, 0x0b)
    expect(ports.read(0x20)).toBe(0)
    ports.write(0x20, 0x80) // rotate in automatic EOI mode
    pic.setInput(0, true)
    expect(messages.acknowledge()).toBe(0x20)
    pic.setInput(0, false)
    pic.setInput(0, true)
    pic.setInput(6, true)
    expect(messages.acknowledge()).toBe(0x26)
  })

  it('lets lower priorities through in special mask mode when the level in service is masked', async () => {
    const { pic, ports, messages } = await initialised()
    pic.setInput(3, true)
    expect(messages.acknowledge()).toBe(0x23)
    pic.setInput(6, true)
    ports.write(0x21, 0x08)
    expect(messages.externalInterrupt).toBe(false)
    ports.write(0x20, 0x68)
    expect(messages.acknowledge()).toBe(0x26)
    // A non-specific EOI leaves the masked 3 alone.
    ports.write(0x20, 0x20)
    ports.write(0x20, 0x0b)
    expect(ports.read(0x20)).toBe(0x08)
  })

  it('answers a poll with the request and acknowledges it', async () => {
    const { pic, ports } = await initialised()
    ports.write(0x20, 0x0c)
    expect(ports.read(0x20)).toBe(0)
    pic.setInput(4, true)
    ports.write(0x20, 0x0c)
    expect(ports.read(0x20)).toBe(0x84)
    ports.write(0x20, 0x0b)
    expect(ports.read(0x20)).toBe(0x10)
  })

  it('lets the slave interrupt itself in special fully nested mode', async () => {
    const { pic, messages } = await initialised(0x11)
    pic.setInput(14, true)
    expect(messages.acknowledge()).toBe(0x2e)
    pic.setInput(9, true)
    expect(messages.externalInterrupt).toBe(true)
    expect(messages.acknowledge()).toBe(0x29)
  })

  it('takes ICW4 only when ICW1 asks for it, and none of ICW3 in single mode', async () => {
    const { ports } = await initialised()
    ports.write(0x20, 0x12) // single, no ICW4
    ports.write(0x21, 0x40)
    ports.write(0x21, 0xa5) // OCW1 already
    expect(ports.read(0x21)).toBe(0xa5)
  })

  it('restores what was in service and pending', async () => {
    const { pic: inputs, instance, ports } = await initialised()
    inputs.setInput(3, true)
    inputs.setInput(9, true)
    ports.write(0x21, 0x08)
    const state = instance.save!()
    const other = new FakeMachine()
    const copy = await other.start(pic)
    copy.restore!(structuredClone(state))
    expect(copy.save!()).toEqual(state)
    expect(other.messages.externalInterrupt).toBe(true)
    expect(other.messages.acknowledge()).toBe(0x29)
    // A wire that was asserted when it was saved is driven again: no second edge.
    other.service(picToken).setInput(3, true)
    other.ports.write(0xa0, 0x20)
    other.ports.write(0x20, 0x20)
    expect(other.messages.externalInterrupt).toBe(false)
    other.ports.write(0x21, 0)
    expect(other.messages.acknowledge()).toBe(0x23)
  })

  it('asserts INTR exactly when an acknowledge cycle would find a request', async () => {
    const step = fc.oneof(
      fc.record({ input: fc.integer({ min: 0, max: 15 }), level: fc.boolean() }),
      fc.record({
        port: fc.constantFrom(0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1),
        value: fc.integer({ min: 0, max: 255 }),
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { pic, ports, messages } = await initialised()
        for (const s of steps) {
          if ('input' in s) pic.setInput(s.input, s.level)
          else ports.write(s.port, s.value)
          if (!messages.externalInterrupt) continue
          const vector = messages.acknowledge()
          expect(vector).toBeGreaterThanOrEqual(0)
          expect(vector).toBeLessThan(256)
        }
      }),
    )
  })
})
