import { DELIVERY_MODE, type InterruptMessage, type Timer } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { type HostTime, hostEventLoop, hostTime, MAXIMUM_RAM, Partition, type PartitionOptions } from '../src/index.ts'
import { FakeHost, FakeProcessor, type FakeProcessorVp, type Script } from './fakes.ts'

const MIB = 2 ** 20

function machine(script: Script, options: Partial<PartitionOptions> = {}) {
  const host = new FakeHost()
  const processor = new FakeProcessor(script)
  const partition = new Partition({ processor, ramSize: 2 * MIB, hostTime: host, eventLoop: host, ...options })
  return { host, processor, partition, vp: processor.processors[0] as FakeProcessorVp }
}

const fixed = (vector: number, destination: number, more: Partial<InterruptMessage> = {}): InterruptMessage => ({
  vector,
  destination,
  deliveryMode: DELIVERY_MODE.FIXED,
  logical: false,
  level: false,
  ...more,
})

describe('Partition', () => {
  it('maps RAM as a PC does', () => {
    const { partition } = machine(() => 'halt')
    expect(partition.memory.ranges()).toEqual([
      { gpa: 0, length: 0xa0000, access: 7 },
      { gpa: 0xc0000, length: 2 * MIB - 0xc0000, access: 7 },
    ])
    expect(partition.memory.ramSize).toBe(2 * MIB)
  })

  it('refuses impossible sizes of RAM and says which are possible', () => {
    for (const ramSize of [0, 4096, MIB - 4096, MIB + 1, Number.NaN, 65 * MIB, MAXIMUM_RAM + 4096]) {
      expect(() => new Partition({ processor: new FakeProcessor(), ramSize })).toThrow(
        expect.objectContaining({ code: 'ERR_PARTITION_MEMORY', hint: expect.stringContaining('64 MiB') }),
      )
    }
  })

  it('hands each intercept to its table', async () => {
    const log: string[] = []
    const { partition } = machine((vp) => {
      const { intercepts } = vp
      intercepts.portWrite(0, 0xf4, 1, 3)
      log.push(`in ${intercepts.portRead(0, 0xf4, 1)}`)
      intercepts.mmioWrite(0, 0xfed00010, 4, 9)
      log.push(`mmio ${intercepts.mmioRead(0, 0xfed00010, 4)}`)
      const registers = Uint32Array.of(0, 0, 0xffffffff, 0)
      intercepts.cpuid(0, 1, 0, registers)
      log.push(`cpuid ${registers[2]?.toString(16)}`)
      const value = new BigUint64Array(1)
      log.push(`rdmsr ${intercepts.msrRead(0, 0x123, value)} ${value[0]}`)
      log.push(`wrmsr ${intercepts.msrWrite(0, 0x124, 1n)}`)
      log.push(`vmcall ${intercepts.hypercall(0)}`)
      log.push(`inta ${intercepts.acknowledgeInterrupt(0)}`)
      intercepts.endOfInterrupt(0, 0x31, true)
      intercepts.endOfInterrupt(0, 0x32, false)
      intercepts.sendInterrupt(0, fixed(0x40, 0))
      return 'shutdown'
    })
    partition.ports.claim(0xf4, 1, { read: () => 42, write: (_offset, _size, value) => log.push(`out ${value}`) })
    partition.mmio.claim(0xfed00000, 0x1000, {
      read: (offset) => offset,
      write: (offset, _size, value) => log.push(`store ${offset} ${value}`),
    })
    partition.msrs.register(0x123, { read: () => 77n })
    partition.interrupts.setAcknowledge(() => 0x20)
    partition.interrupts.onEndOfInterrupt((vector) => log.push(`eoi ${vector}`))
    expect(await partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
    expect(log).toEqual([
      'out 3',
      'in 42',
      'store 16 9',
      'mmio 16',
      'cpuid 7fffffff',
      'rdmsr true 77',
      'wrmsr false',
      'vmcall false',
      'inta 32',
      'eoi 49',
    ])
    expect((partition.virtualProcessors[0] as FakeProcessorVp).received.map(({ vector }) => vector)).toEqual([0x40])
  })

  it('ends with the guest’s power request at the end of the slice, and asks the processor to leave it', async () => {
    const { partition } = machine((vp) => {
      vp.intercepts.portWrite(0, 0xf4, 1, 5)
      expect(vp.exitRequested).toBe(true)
      return 'budget'
    })
    partition.ports.claim(0xf4, 1, {
      read: () => 0,
      write: (_offset, _size, value) => {
        partition.power.request({ type: 'debug-exit', code: value * 2 + 1 })
        partition.power.request({ type: 'power-off' })
      },
    })
    expect(await partition.run()).toEqual({ type: 'debug-exit', code: 11 })
  })

  it('lets host faults through and can be asked for its state afterwards', async () => {
    const { partition } = machine((vp) => {
      vp.intercepts.portRead(0, 0x10, 1)
      return 'budget'
    })
    partition.ports.claim(0x10, 1, {
      read: () => {
        throw new TypeError('broken device')
      },
      write: () => {},
    })
    await expect(partition.run()).rejects.toThrow('broken device')
    expect(partition.running).toBe(false)
  })

  it('wakes a halted processor by a timer at its deadline', async () => {
    let timer: Timer
    const at: number[] = []
    const { partition, host } = machine((vp) => {
      at.push(partition.clock.now())
      if (vp.received.length > 0) return 'shutdown'
      timer.arm(10e6)
      return 'halt'
    })
    timer = partition.clock.createTimer(() => partition.interrupts.send(fixed(0x30, 0)))
    expect(await partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
    expect(at).toEqual([0, 10e6])
    expect(host.waits).toEqual([10])
    expect(host.yields).toBe(0)
  })

  it('wakes a halted processor for its own APIC timer', async () => {
    const { partition, vp } = machine((vp) => {
      if (vp.nextDeadline === Infinity) {
        vp.nextDeadline = 25e6
        return 'halt'
      }
      return partition.clock.now() >= 25e6 ? 'shutdown' : 'halt'
    })
    await partition.run()
    expect(vp.budgets.length).toBe(2)
  })

  it('wakes a halted processor for an event from outside, without running it before', async () => {
    const { partition, host, vp } = machine((vp) => (vp.externalInterrupt ? 'shutdown' : 'halt'))
    host.at(500e6, () => partition.interrupts.setExternalInterrupt(true))
    expect(await partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
    expect(vp.budgets.length).toBe(2)
    expect(host.time).toBeGreaterThanOrEqual(500e6)
    expect(host.time).toBeLessThan(501e6)
  })

  it('hears of a timer armed from outside while it waits', async () => {
    const { partition, host } = machine((vp) => (vp.received.length > 0 ? 'shutdown' : 'halt'))
    const timer = partition.clock.createTimer(() => partition.interrupts.send(fixed(0x30, 0)))
    host.at(5e6, () => timer.arm(partition.clock.now() + 7e6))
    await partition.run()
    expect(host.time).toBeGreaterThanOrEqual(12e6)
    expect(host.time).toBeLessThan(12.1e6)
  })

  it('lets a device that wakes it finish what it is doing before the guest answers', async () => {
    let busy = false
    const { partition, host } = machine((vp) => {
      if (!vp.externalInterrupt) return 'halt'
      expect(busy).toBe(false)
      return 'shutdown'
    })
    const complete = async () => {
      busy = true
      partition.interrupts.setExternalInterrupt(true)
      for (let step = 0; step < 10; step++) await Promise.resolve()
      busy = false
    }
    host.at(1e6, () => void complete())
    expect((await partition.run()).type).toBe('triple-fault')
  })

  it('ends a wait for ever when it is asked to', async () => {
    const { partition, host } = machine(() => 'halt')
    host.at(3e9, () => partition.power.request({ type: 'power-off' }))
    expect(await partition.run()).toEqual({ type: 'power-off' })
    expect(host.time).toBeGreaterThanOrEqual(3e9)
    expect(host.time).toBeLessThan(3.001e9)
  })

  it('lets the event loop have its turn about every 8 ms of running, and finds slices of about a millisecond', async () => {
    const blocksPerNanosecond = 0.05
    const lengths: number[] = []
    const { partition, host } = machine((_vp, budget) => {
      const length = budget / blocksPerNanosecond
      host.time += length
      lengths.push(length)
      return host.time > 400e6 ? 'shutdown' : 'budget'
    })
    await partition.run()
    for (const length of lengths.slice(20)) {
      expect(length).toBeGreaterThan(0.8e6)
      expect(length).toBeLessThan(1.3e6)
    }
    expect(Math.max(...lengths)).toBeLessThan(3e6)
    expect(host.yields).toBeGreaterThanOrEqual(40)
    expect(host.yields).toBeLessThanOrEqual(52)
  })

  it('shortens slices to meet deadlines', async () => {
    let worst = 0
    const timerHost: { fired: number } = { fired: 0 }
    const { partition, host } = machine((_vp, budget) => {
      host.time += budget / 0.05
      return timerHost.fired >= 200 ? 'shutdown' : 'budget'
    })
    const timer = partition.clock.createTimer(() => {
      timerHost.fired++
      if (timerHost.fired > 100) worst = Math.max(worst, partition.clock.now() - deadline)
      deadline = partition.clock.now() + 300e3
      timer.arm(deadline)
    })
    let deadline = 300e3
    timer.arm(deadline)
    await partition.run()
    expect(worst).toBeLessThan(60e3)
  })

  it('cuts a slice short when the guest arms a timer within it', async () => {
    const { partition } = machine((vp) => {
      timer.arm(partition.clock.now() + 1)
      expect(vp.exitRequested).toBe(true)
      return 'shutdown'
    })
    const timer = partition.clock.createTimer(() => {})
    await partition.run()
  })

  it('waits in host timers when a guest sleeps much and computes little, however short its sleeps are', async () => {
    let sleeps = 0
    const { partition, host } = machine((vp) => {
      host.time += 5e3
      vp.nextDeadline = partition.clock.now() + 0.5e6
      return sleeps++ > 2000 ? 'shutdown' : 'halt'
    })
    await partition.run()
    // Each fake yield takes a microsecond: spinning alone would need 500 a sleep.
    expect(host.yields).toBeLessThan(30 * sleeps)
    expect(host.waits.length).toBeGreaterThan(1000)
  })

  it('runs several processors in turn, and leaves those alone that wait for a startup IPI', async () => {
    const order: number[] = []
    const { partition, processor } = machine(
      (vp) => {
        order.push(vp.index)
        if (vp.index === 2 && vp.received.length === 0) return 'wait-for-sipi'
        if (order.length === 5) partition.interrupts.send(fixed(0x8, 2, { deliveryMode: DELIVERY_MODE.STARTUP }))
        return order.length > 9 ? 'shutdown' : 'budget'
      },
      { virtualProcessors: 3 },
    )
    await partition.run()
    expect(order.slice(0, 8)).toEqual([0, 1, 2, 0, 1, 2, 0, 1])
    expect(processor.processors[2]?.received[0]?.deliveryMode).toBe(DELIVERY_MODE.STARTUP)
  })

  it('routes messages by physical id, logical set, broadcast and lowest priority', () => {
    const { partition, processor } = machine(() => 'halt', { virtualProcessors: 3 })
    const take = (message: InterruptMessage): number[] => {
      for (const vp of processor.processors) vp.received.length = 0
      partition.interrupts.send(message)
      return processor.processors.filter((vp) => vp.received.length > 0).map((vp) => vp.index)
    }
    expect(take(fixed(0x20, 1))).toEqual([1])
    expect(take(fixed(0x20, 7))).toEqual([])
    expect(take(fixed(0x20, 0xff))).toEqual([0, 1, 2])
    expect(take(fixed(0x20, 0b101, { logical: true }))).toEqual([0, 2])
    const lowest = fixed(0x20, 0b111, { logical: true, deliveryMode: DELIVERY_MODE.LOWEST_PRIORITY })
    expect([take(lowest), take(lowest), take(lowest), take(lowest)]).toEqual([[0], [1], [2], [0]])
    expect(take({ ...lowest, destination: 0 })).toEqual([])
  })

  it('stops telling of EOIs when the subscription is disposed of', () => {
    const { partition } = machine(() => 'halt')
    const seen: number[] = []
    const subscription = partition.interrupts.onEndOfInterrupt((vector) => seen.push(vector))
    partition.interrupts.endOfInterrupt(1)
    subscription[Symbol.dispose]()
    partition.interrupts.endOfInterrupt(2)
    expect(seen).toEqual([1])
  })

  it('pauses with time standing still, and goes on', async () => {
    const { partition, host, vp } = machine(() => 'halt')
    const first = partition.run()
    host.time += 5e6
    await partition.pause()
    expect(await first).toEqual({ type: 'paused' })
    const paused = partition.clock.now()
    host.time += 1e9
    expect(partition.clock.now()).toBe(paused)
    vp.script = () => 'shutdown'
    partition.interrupts.setExternalInterrupt(true)
    expect((await partition.run()).type).toBe('triple-fault')
    await partition.pause()
  })

  it('refuses what needs a stopped partition while it runs, and everything after disposal', async () => {
    const { partition, vp } = machine(() => 'halt')
    const run = partition.run()
    const state = expect.objectContaining({ code: 'ERR_PARTITION_STATE' })
    await expect(partition.run()).rejects.toThrow(state)
    expect(() => partition.reset()).toThrow(state)
    expect(() => partition.save()).toThrow(state)
    await partition.pause()
    await run
    partition[Symbol.dispose]()
    partition[Symbol.dispose]()
    expect(vp.disposed).toBe(true)
    await expect(partition.run()).rejects.toThrow(state)
  })

  it('resets its processors', async () => {
    const { partition, vp } = machine((vp) => (vp.resets.length > 0 ? 'shutdown' : 'halt'))
    partition.power.request({ type: 'reset' })
    expect(await partition.run()).toEqual({ type: 'reset' })
    partition.power.request({ type: 'power-off' })
    partition.reset()
    expect(vp.resets).toEqual(['power-on'])
    expect(await partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
  })

  it('saves and restores, and refuses states of others', () => {
    const { partition, vp } = machine(() => 'halt')
    partition.clock.set(123456)
    vp.setRegister('rip', 0xfff0n)
    const state = structuredClone(partition.save())
    const other = machine(() => 'halt')
    other.partition.restore(state)
    expect(other.partition.clock.now()).toBe(123456)
    expect(other.vp.getRegister('rip')).toBe(0xfff0n)
    const invalid = expect.objectContaining({ code: 'ERR_STATE_INVALID' })
    expect(() => partition.restore({ ...state, version: 2 })).toThrow(invalid)
    expect(() => partition.restore({ version: 1, data: {} })).toThrow(invalid)
    expect(() => machine(() => 'halt', { virtualProcessors: 2 }).partition.restore(state)).toThrow(invalid)
  })

  it('answers what is done already before it waits, without the event loop', async () => {
    const done = Promise.resolve()
    let requests = 0
    const { partition, host } = machine((vp) => {
      if (requests++ > 100) return 'shutdown'
      // A device that the guest has asked for something, and two that wait for its answer.
      void done
        .then(() => {})
        .then(() => {})
        .then(() => partition.interrupts.send(fixed(0x40, 0)))
      vp.nextDeadline = Number.POSITIVE_INFINITY
      return 'halt'
    })
    await partition.run()
    expect(host.waits).toEqual([])
    expect(host.yields).toBe(0)
  })

  it('looks at the clock seldom for a guest with a few timers a second', async () => {
    let wakes = 0
    const processor = new FakeProcessor((vp) => {
      if (wakes++ > 12) return 'shutdown'
      vp.nextDeadline = partition.clock.now() + 40e6
      return 'halt'
    })
    let reads = 0
    const counted: HostTime = { ...hostTime, now: () => hostTime.now() + 0 * reads++ }
    const partition = new Partition({ processor, ramSize: MIB, hostTime: counted, eventLoop: hostEventLoop })
    const start = performance.now()
    await partition.run()
    const elapsed = performance.now() - start
    expect(elapsed).toBeGreaterThan(450)
    expect(reads).toBeLessThan(400)
  })
})
