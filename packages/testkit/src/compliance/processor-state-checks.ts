// Checks of a processor's state: power-on and INIT, registers from outside, code that changes, saving in the middle of anything, time stamps, memory.

import { PartitaError, type RegisterName, type SavedState } from '@partita/interface'
import { byte, dword, mem } from '../assembler.ts'
import { type ComplianceCheck, expectEqual, expectThat, fail, plainCheck, randomCheck } from './check.ts'
import { AT, ProcessorBench } from './processor-bench.ts'
import type { ProcessorSubject } from './processor-compliance.ts'
import { randomProgram } from './processor-programs.ts'

const GENERAL = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const satisfies readonly RegisterName[]

/** A copy of a bench's memory and processor in another one. */
function carryOver(from: ProcessorBench, to: ProcessorBench): void {
  const state = structuredClone(from.vp.save())
  to.clock.skip(from.clock.now() - to.clock.now())
  to.bytes.set(from.bytes)
  to.memory.written(0, from.bytes.length)
  to.vp.restore(state)
}

export function processorStateChecks(subject: ProcessorSubject, runs: number): ComplianceCheck[] {
  const { create } = subject
  return [
    plainCheck('makes memory of whole pages, zeroed, and refuses other sizes with ERR_PROCESSOR_MEMORY', () => {
      const processor = create()
      const memory = processor.createMemory(1024 * 1024)
      expectEqual(memory.ramSize, 1024 * 1024, 'ramSize')
      expectEqual(memory.ramOffset % 4096, 0, 'ramOffset, in its page')
      const ram = new Uint8Array(memory.buffer, memory.ramOffset, memory.ramSize)
      expectThat(
        ram.every((value) => value === 0),
        'fresh memory is not zeroed',
      )
      for (const size of [0, -4096, 100, 4096.5, processor.maximumRam + 4096, Number.NaN]) {
        try {
          processor.createMemory(size)
        } catch (error) {
          if (error instanceof PartitaError && error.code === 'ERR_PROCESSOR_MEMORY') continue
          throw error
        }
        fail(`a memory of ${size} bytes is made`)
      }
    }),
    plainCheck('is at power-on and after INIT as the SDM says, table 9-1', () => {
      using bench = new ProcessorBench(create(), 'power-on')
      const { vp } = bench
      const check = (when: string): void => {
        expectEqual(
          [bench.get('rip'), bench.get('rflags'), bench.get('cr3'), bench.get('cr4'), bench.get('cr2')],
          [0xfff0n, 2n, 0n, 0n, 0n],
          `RIP, RFLAGS, CR3, CR4, CR2 ${when}`,
        )
        const { selector, base, limit } = vp.getSegment('cs')
        expectEqual([selector, base, limit], [0xf000, 0xffff_0000n, 0xffff], `CS ${when}`)
        for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const) {
          const segment = vp.getSegment(name)
          expectEqual([segment.selector, segment.base, segment.limit], [0, 0n, 0xffff], `${name} ${when}`)
        }
        for (const name of GENERAL) if (name !== 'rdx') expectEqual(bench.get(name), 0n, `${name} ${when}`)
        expectEqual(bench.get('cr0') & ~0x6000_0000n, 0x10n, `CR0 without its cache bits ${when}`)
        expectEqual([bench.get('efer'), vp.is64Bit], [0n, false], `EFER ${when}`)
      }
      check('at power-on')
      expectEqual(bench.get('cr0'), 0x6000_0010n, 'CR0 at power-on')
      for (const name of GENERAL) bench.set(name, 0x1111)
      bench.set('rip', 0x1234)
      vp.setSegment('cs', { selector: 8, base: 0n, limit: 0xffff_ffff, attributes: 0xc09b })
      vp.reset('init')
      check('after INIT')
      vp.reset('power-on')
      check('after a reset')
    }),
    randomCheck('has the registers that it is given', subject, runs, (random) => {
      using bench = new ProcessorBench(create())
      const { vp } = bench
      const values = new Map(GENERAL.map((name) => [name, (BigInt(random.edgy()) << 32n) | BigInt(random.edgy())]))
      for (const [name, value] of values) bench.set(name, value)
      const xmm = Array.from({ length: 16 }, () => random.bytes(16))
      for (const [index, value] of xmm.entries()) vp.setXmm(index, value)
      const segment = { selector: 0x33, base: BigInt(random.edgy()), limit: random.edgy(), attributes: 0xc0f3 }
      vp.setSegment('fs', segment)
      for (const [name, value] of values) expectEqual(bench.get(name), value, name)
      for (const [index, value] of xmm.entries()) expectEqual([...vp.getXmm(index)], [...value], `XMM${index}`)
      expectEqual(vp.getSegment('fs'), segment, 'FS')
      // And so do programs.
      bench.set('rsp', AT.STACK)
      expectEqual(
        bench.kernel((a) => a.mov(mem(AT.DATA), 'rbx').mov(mem(AT.DATA + 8), 'r13')),
        'ok',
        'the program',
      )
      expectEqual(
        [bench.view.getBigUint64(AT.DATA, true), bench.view.getBigUint64(AT.DATA + 8, true)],
        [values.get('rbx'), values.get('r13')],
        'what a program finds',
      )
    }),
    plainCheck('translates addresses as its page tables do, and forgets translations when it is told to', () => {
      using bench = new ProcessorBench(create())
      const { vp } = bench
      bench.setPage(AT.DATA, BigInt(AT.USER_DATA) | 3n)
      expectEqual(vp.translateLinear(BigInt(AT.DATA + 0x123)), AT.USER_DATA + 0x123, 'a page that is elsewhere')
      bench.write32(AT.USER_DATA, 0x1111)
      bench.write32(AT.USER_DATA + 0x1000, 0x2222)
      expectEqual(
        bench.kernel((a) => a.mov('eax', mem(AT.DATA))),
        'ok',
        'the program',
      )
      expectEqual(bench.get('rax'), 0x1111n, 'what it read')
      bench.setPage(AT.DATA, BigInt(AT.USER_DATA + 0x1000) | 3n)
      expectEqual(
        bench.kernel((a) => a.mov('eax', mem(AT.DATA))),
        'ok',
        'the program',
      )
      expectEqual(bench.get('rax'), 0x2222n, 'what it read when the page was another')
      bench.setPage(AT.DATA, 0n)
      expectEqual(vp.translateLinear(BigInt(AT.DATA)), -1, 'a page that is not there')
    }),
    plainCheck('sees code that has changed: by itself, and by the host', () => {
      using bench = new ProcessorBench(create())
      bench.load(AT.DATA, 64, (a) => a.mov('eax', 1).ret())
      const program = bench.kernel((a) =>
        a
          .mov('rbx', AT.DATA)
          .call('rbx')
          .mov('esi', 'eax')
          .mov(byte('rbx', 1), 2)
          .call('rbx')
          .mov('edi', 'eax')
          // Of the block that is running.
          .mov('rdx', { label: 'patched', addend: 1 })
          .mov(byte('rdx'), 9)
          .label('patched')
          .mov('ecx', 5),
      )
      expectEqual(program, 'ok', 'the program')
      expectEqual([bench.get('rsi'), bench.get('rdi'), bench.get('rcx')], [1n, 2n, 9n], 'what the code did')
      bench.bytes[AT.DATA + 1] = 3
      bench.memory.written(AT.DATA + 1, 1)
      expectEqual(
        bench.kernel((a) => a.mov('rbx', AT.DATA).call('rbx')),
        'ok',
        'the second program',
      )
      expectEqual(bench.get('rax'), 3n, 'what the code did that the host changed')
    }),
    randomCheck('goes on elsewhere from a state that was saved between any two slices', subject, runs, (random) => {
      const processor = create()
      const { write, registers } = randomProgram(random, 150)
      using first = new ProcessorBench(processor)
      first.vp.setXmm(3, random.bytes(16))
      const xmm = [...first.vp.getXmm(3)]
      first.load(AT.CODE, 64, (a) => {
        a.mov('ecx', 50)
          .label('spin')
          .mov(dword(AT.DATA + 0x800), 'ecx')
          .loop('spin')
        write(a)
        a.cli().hlt()
      })
      first.set('rip', AT.CODE)
      for (let slices = random.below(60); slices > 0; slices--) first.vp.run(1)
      expectEqual(structuredClone(first.vp.save()), structuredClone(first.vp.save()), 'the state, saved twice')
      using second = new ProcessorBench(processor, 'power-on')
      carryOver(first, second)
      for (const bench of [first, second]) {
        expectEqual(bench.run(), 'halt', 'the end of the program')
        for (const [register, value] of registers) expectEqual(bench.get(register), value, register)
        expectEqual([...bench.vp.getXmm(3)], xmm, 'XMM3')
      }
      expectEqual(second.vp.instructionCount, first.vp.instructionCount, 'instructions')
    }),
    plainCheck('saves interrupts that wait, and a halt', () => {
      const processor = create()
      using first = new ProcessorBench(processor)
      first.kernel((a) => ProcessorBench.enableApic(a))
      first.load(AT.CODE, 64, (a) => a.sti().hlt().mov('ebx', 7).cli().hlt())
      first.set('rip', AT.CODE)
      first.run()
      first.vp.receiveInterrupt({ vector: 0x66, deliveryMode: 0, destination: 0, logical: false, level: false })
      using second = new ProcessorBench(processor, 'power-on')
      carryOver(first, second)
      second.resume = ({ rip }) => rip
      second.run()
      expectEqual(
        [second.events.map(({ vector }) => vector), second.get('rbx')],
        [[0x66], 7n],
        'events, and what the program did',
      )
    }),
    plainCheck('refuses a state that is not one with ERR_STATE_INVALID', () => {
      using bench = new ProcessorBench(create())
      const good = structuredClone(bench.vp.save())
      const wrong: SavedState[] = [
        { version: good.version + 1, data: good.data },
        { version: -1, data: {} },
        { version: good.version, data: {} },
      ]
      for (const state of wrong) {
        try {
          bench.vp.restore(state)
        } catch (error) {
          if (error instanceof PartitaError && error.code === 'ERR_STATE_INVALID') continue
          throw error
        }
        fail(`a state of version ${state.version} with ${Object.keys(state.data).length} keys is taken`)
      }
      bench.vp.restore(good)
      expectEqual(
        bench.kernel((a) => a.mov('eax', 4)),
        'ok',
        'a program after that',
      )
    }),
    plainCheck('counts time stamps by reference time', () => {
      const processor = create()
      using bench = new ProcessorBench(processor)
      const read = (): bigint => {
        expectEqual(
          bench.kernel((a) => a.rdtsc().shl('rdx', 32).or('rax', 'rdx')),
          'ok',
          'RDTSC',
        )
        return bench.get('rax')
      }
      const before = read()
      bench.clock.skip(1e9)
      const after = read()
      expectThat(bench.vp.timeStampCounter >= after, 'timeStampCounter is behind what a guest reads')
      const passed = Number(after - before)
      expectThat(
        Math.abs(passed - processor.timeStampFrequency) < processor.timeStampFrequency / 1000,
        `${passed} in a second`,
      )
    }),
    plainCheck('sleeps when the hypervisor says so, until an interrupt is pending, let in or not', () => {
      using bench = new ProcessorBench(create())
      bench.kernel((a) => ProcessorBench.enableApic(a))
      bench.msrRead = () => {
        bench.vp.idle()
        return true
      }
      bench.load(AT.CODE, 64, (a) => a.cli().mov('ecx', 0x4000_00f0).rdmsr().mov('ebx', 11).hlt())
      bench.set('rbx', 0)
      bench.set('rip', AT.CODE)
      expectEqual([bench.run(), bench.get('rbx')], ['halt', 0n], 'asleep')
      bench.vp.receiveInterrupt({ vector: 0x66, deliveryMode: 0, destination: 0, logical: false, level: false })
      expectEqual([bench.run(), bench.get('rbx')], ['halt', 11n], 'awake')
      expectEqual(bench.events.length, 0, 'events with IF clear')
    }),
  ]
}
