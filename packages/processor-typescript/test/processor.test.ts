// Programs in a partition of the real hypervisor: intercepts, interrupts, HLT, exceptions, other processors, saved state.

import { type EventLoop, type HostTime, HV_MSR, Partition, type PartitionOptions } from '@partita/hypervisor'
import { type Logger, silentLogger } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { type Cpu, CpuException, createTypeScriptProcessor, type Program, type Step } from '../src/index.ts'

const MIB = 2 ** 20
type Run = (cpu: Cpu, index: number) => Iterator<Step, void, void>

/** Time passes when nothing else is to be done. */
class TestHost implements HostTime, EventLoop {
  time = 0

  now(): number {
    this.time += 10
    return this.time
  }

  wallTime(): number {
    return 0
  }

  async yield(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.time += 20_000
  }

  after(milliseconds: number, callback: () => void): () => void {
    const forEver = milliseconds >= 0x3fff_ffff
    const event = setImmediate(() => {
      if (forEver) return
      this.time += milliseconds * 1e6
      callback()
    })
    return () => clearImmediate(event)
  }
}

interface Made {
  readonly partition: Partition
  readonly host: TestHost
  readonly errors: string[]
}

function machine(run: Run, options: Partial<PartitionOptions> & { readonly program?: Partial<Program> } = {}): Made {
  const host = new TestHost()
  const errors: string[] = []
  const logger: Logger = {
    log: (level, message, fields) => {
      if (level === 'error') errors.push(`${message} ${String(fields?.['error'])}`)
    },
    child: () => logger,
  }
  const processor = createTypeScriptProcessor(() => ({
    run: (cpu, saved) => run(cpu, typeof saved === 'number' ? saved : -1),
    ...options.program,
  }))
  const partition = new Partition({
    processor,
    ramSize: 2 * MIB,
    hypervisor: 'hyper-v',
    hostTime: host,
    eventLoop: host,
    logger,
    ...options,
  })
  return { partition, host, errors }
}

/** Ends the run with what the program says. */
async function result(run: Run, options?: Parameters<typeof machine>[1]): Promise<unknown> {
  let value: unknown
  const { partition, errors } = machine(function* (cpu, index) {
    const steps = run(cpu, index)
    for (;;) {
      const { done, value: step } = steps.next()
      if (done === true) break
      yield step
    }
  }, options)
  partition.ports.claim(0x500, 1, {
    read: () => 0x5a,
    write: (_offset, _size, written) => {
      value = written
      partition.power.request({ type: 'power-off' })
    },
  })
  const exit = await partition.run()
  return exit.type === 'power-off' ? value : { ...exit, errors }
}

const EXIT = 0x500
const VECTOR = 0x40

describe('a program', () => {
  it('gets to ports, CPUID, MSRs and memory', async () => {
    const seen: unknown[] = []
    await result(function* (cpu) {
      seen.push(cpu.portRead(EXIT, 1), cpu.cpuid(0).eax, cpu.cpuid(0x4000_0001).eax, cpu.readMsr(HV_MSR.VP_INDEX))
      const { ebx, edx, ecx } = cpu.cpuid(0)
      seen.push(new TextDecoder().decode(Uint32Array.of(ebx, edx, ecx)))
      seen.push(cpu.cpuid(1).ecx >>> 31)
      seen.push(cpu.memory.writeU32(0x1000, 77), cpu.memory.readU32(0x1000), cpu.memory.readU32(0x8000_0000))
      seen.push(cpu.mmioRead(0xfec0_0000, 4), cpu.timeStampCounter > 0n)
      cpu.portWrite(EXIT, 1, 0)
      yield 'halt'
    })
    expect(seen).toEqual([0x5a, 1, 0x3123_7648, 0n, 'TypeScriptVP', 1, true, 77, undefined, 0xffff_ffff, true])
  })

  it('catches general protection faults, and calls the hypercall page alone', async () => {
    const caught: string[] = []
    const attempt = (what: () => void): void => {
      try {
        what()
        caught.push('')
      } catch (error) {
        caught.push(error instanceof CpuException ? `#${error.vector}` : String(error))
      }
    }
    await result(function* (cpu) {
      attempt(() => cpu.readMsr(0x4000_0fff))
      attempt(() => cpu.writeMsr(0x80b, 1n))
      // Not enabled yet: there is nothing to call.
      attempt(() => cpu.call(0x3000, 0n, 0n, 0n))
      cpu.writeMsr(HV_MSR.GUEST_OS_ID, 1n)
      cpu.writeMsr(HV_MSR.HYPERCALL, 0x3001n)
      // HvCallNotifyLongSpinWait, fast; an unknown call.
      attempt(() => caught.push(String(cpu.call(0x3000, 0x10008n, 1000n, 0n))))
      attempt(() => caught.push(String(cpu.call(0x3000, 0x7777n, 0n, 0n))))
      attempt(() => cpu.call(0x9000_0000, 0n, 0n, 0n))
      attempt(() => cpu.memory.writeU8(0x3000, 0))
      cpu.portWrite(EXIT, 1, 0)
      yield 'halt'
    })
    expect(caught).toEqual(['#13', '#13', '#6', '0', '', '2', '', '#14', ''])
  })

  it('sleeps in HLT until its timer interrupts it, and its handlers are not interrupted', async () => {
    const order: string[] = []
    const value = await result(function* (cpu) {
      cpu.setInterruptHandler(VECTOR, () => {
        order.push(`timer ${cpu.interruptsEnabled}`)
        cpu.writeMsr(HV_MSR.EOI, 0n)
      })
      cpu.interruptsEnabled = true
      cpu.writeMsr(HV_MSR.STIMER0_CONFIG, 8n | (BigInt(VECTOR) << 4n) | (1n << 12n))
      for (let round = 0; round < 3; round++) {
        const now = cpu.readMsr(HV_MSR.TIME_REF_COUNT)
        cpu.writeMsr(HV_MSR.STIMER0_COUNT, now + 5_000n)
        yield 'halt'
        const slept = Number(cpu.readMsr(HV_MSR.TIME_REF_COUNT) - now)
        order.push(slept >= 5_000 && slept < 40_000 ? 'woke' : `woke after ${slept}`)
      }
      cpu.portWrite(EXIT, 1, 3)
      yield 'halt'
    })
    expect(value).toBe(3)
    expect(order).toEqual(['timer false', 'woke', 'timer false', 'woke', 'timer false', 'woke'])
  })

  it('gets the most urgent interrupt first, and none that its priority holds back', async () => {
    const order: number[] = []
    await result(function* (cpu) {
      for (const vector of [0x31, 0x45, 0x52, 0x9f]) {
        cpu.setInterruptHandler(vector, () => {
          order.push(vector)
          cpu.writeMsr(0x80b, 0n)
        })
        cpu.writeMsr(0x83f, BigInt(vector))
      }
      cpu.writeMsr(0x808, 0x50n)
      cpu.interruptsEnabled = true
      yield 'pause'
      order.push(0)
      cpu.writeMsr(0x808, 0n)
      yield 'pause'
      cpu.portWrite(EXIT, 1, 0)
      yield 'halt'
    })
    expect(order).toEqual([0x9f, 0, 0x52, 0x45, 0x31])
  })

  it('wakes its processor from behind an await, and can use nothing else there', async () => {
    const refused: unknown[] = []
    const value = await result(function* (cpu) {
      let answer = 0
      cpu.setInterruptHandler(VECTOR, () => cpu.writeMsr(HV_MSR.EOI, 0n))
      cpu.interruptsEnabled = true
      void (async () => {
        await Promise.resolve()
        for (const use of [
          () => cpu.cpuid(0),
          () => cpu.portRead(0, 1),
          () => cpu.call(0x3000, 0n, 0n, 0n),
          () => {
            cpu.interruptsEnabled = false
          },
        ])
          try {
            use()
          } catch (error) {
            refused.push((error as { code?: unknown }).code)
          }
        cpu.memory.writeU32(0x2000, 42)
        answer = cpu.memory.readU32(0x2000) ?? 0
        cpu.wake(VECTOR)
      })()
      while (answer === 0) yield 'halt'
      cpu.portWrite(EXIT, 1, answer)
      yield 'halt'
    })
    expect(value).toBe(42)
    expect(refused).toEqual(Array.from({ length: 4 }, () => 'ERR_PROCESSOR_STATE'))
  })

  it('shuts its processor down by what it does not catch, and by interrupts without a handler', async () => {
    const bug = await result(function* () {
      yield 'pause'
      throw new Error('a bug')
    })
    expect(bug).toMatchObject({ type: 'triple-fault', vpIndex: 0, errors: [expect.stringContaining('a bug')] })
    const unhandled = await result(function* (cpu) {
      cpu.interruptsEnabled = true
      cpu.writeMsr(0x83f, 0x77n)
      yield 'halt'
    })
    expect(unhandled).toMatchObject({ type: 'triple-fault', errors: [expect.stringContaining('Interrupt 119')] })
  })

  it('is no reason for a device that fails to go unnoticed', async () => {
    const { partition } = machine(function* (cpu) {
      try {
        cpu.portRead(0x600, 1)
      } catch {}
      yield 'halt'
    })
    partition.ports.claim(0x600, 1, {
      read() {
        throw new Error('broken device')
      },
      write() {},
    })
    await expect(partition.run()).rejects.toThrow('broken device')
  })

  it('gives way in a loop without end, to timers and to who stops the partition', async () => {
    let turns = 0
    const { partition, host } = machine(function* (cpu) {
      for (;;) {
        turns++
        host.time += 1000
        cpu.readMsr(HV_MSR.TIME_REF_COUNT)
        yield 'pause'
      }
    })
    const timer = partition.clock.createTimer(() => partition.power.request({ type: 'reset' }))
    timer.arm(3e6)
    expect(await partition.run()).toEqual({ type: 'reset' })
    expect(turns).toBeGreaterThan(2800)
    expect(turns).toBeLessThan(3100)
  })
})

describe('further processors', () => {
  it('start by INIT and startup messages, and interrupt each other', async () => {
    const started: bigint[] = []
    const value = await result(
      function* (cpu) {
        const index = cpu.readMsr(HV_MSR.VP_INDEX)
        started.push(index)
        let interrupts = 0
        for (const vector of [VECTOR + 1, VECTOR + 2])
          cpu.setInterruptHandler(vector, () => {
            interrupts++
            cpu.writeMsr(HV_MSR.EOI, 0n)
          })
        cpu.interruptsEnabled = true
        if (index === 0n) {
          for (const target of [1n, 2n])
            for (const command of [0x4500n, 0x4600n]) cpu.writeMsr(HV_MSR.ICR, (target << 32n) | command)
          while (interrupts < 2) yield 'halt'
          cpu.portWrite(EXIT, 1, started.length)
        } else cpu.writeMsr(0x830, BigInt(VECTOR) + index)
        yield 'halt'
      },
      { virtualProcessors: 3 },
    )
    expect(value).toBe(3)
    expect(started).toEqual([0n, 1n, 2n])
  })
})

describe('saved state', () => {
  it('has registers, interrupts and what the program gives; the program goes on in another partition', async () => {
    const make = (): Made & { readonly log: unknown[] } => {
      const log: unknown[] = []
      let count = 0
      const made = machine(
        function* (cpu, saved) {
          log.push(saved < 0 ? 'boot' : `resume ${saved}`)
          count = Math.max(saved, 0)
          cpu.setInterruptHandler(VECTOR, () => {
            count++
            cpu.writeMsr(HV_MSR.EOI, 0n)
          })
          if (saved < 0) {
            cpu.writeMsr(0x10, 1_000_000n)
            cpu.writeMsr(0x83f, BigInt(VECTOR))
            yield 'halt'
          }
          cpu.interruptsEnabled = true
          yield 'pause'
          log.push(count, cpu.readMsr(0x10) >= 1_000_000n)
        },
        { program: { save: () => 40, end: () => void log.push('end') } },
      )
      return { ...made, log }
    }
    const first = make()
    const running = first.partition.run()
    await new Promise((resolve) => setImmediate(resolve))
    await first.partition.pause()
    await running
    const state = structuredClone(first.partition.save())
    expect(first.log).toEqual(['boot'])
    const second = make()
    second.partition.restore(state)
    second.partition.restore(state)
    const again = second.partition.run()
    await new Promise((resolve) => setImmediate(resolve))
    await second.partition.pause()
    await again
    // The interrupt that was pending came first.
    expect(second.log).toEqual(['resume 40', 41, true])
    second.partition.reset()
    expect(second.log.at(-1)).toBe('end')
    expect(() => second.partition.virtualProcessors[0]?.restore({ version: 9, data: {} })).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
    )
  })
})

describe('the processor', () => {
  it('refuses sizes of memory that are not possible, and the memory of another processor', () => {
    const processor = createTypeScriptProcessor(() => ({ *run() {} }))
    for (const size of [0, 100, 4 * 2 ** 30, Number.NaN])
      expect(() => processor.createMemory(size)).toThrow(expect.objectContaining({ code: 'ERR_PROCESSOR_MEMORY' }))
    const options = {
      index: 0,
      apicId: 0,
      memory: {} as never,
      intercepts: {} as never,
      clock: {} as never,
      logger: silentLogger,
    }
    expect(() => processor.createVirtualProcessor(options)).toThrow(
      expect.objectContaining({ code: 'ERR_PROCESSOR_MEMORY' }),
    )
  })
})
