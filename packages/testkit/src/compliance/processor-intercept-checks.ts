// Checks of what a processor asks the hypervisor for: ports, MMIO, CPUID, MSRs, hypercalls; and of slices.

import { GPA_ACCESS } from '@partita/interface'
import { byte, dword, mem, qword, word } from '../assembler.ts'
import { type ComplianceCheck, expectEqual, expectThat, plainCheck } from './check.ts'
import { AT, type BenchAccess, ProcessorBench } from './processor-bench.ts'
import type { ProcessorSubject } from './processor-compliance.ts'

const PAGE = 4096

export function processorInterceptChecks({ create }: ProcessorSubject): ComplianceCheck[] {
  return [
    plainCheck('asks for ports in the size of the access, and gives answers as they are', () => {
      using bench = new ProcessorBench(create())
      bench.answer = (port) => 0x8182_8300 + port
      expectEqual(
        bench.kernel((a) =>
          a
            .mov('rax', -1n)
            .in('al', 0x40)
            .mov('rbx', 'rax')
            .mov('dx', 0x1234)
            .in('ax', 'dx')
            .mov('rsi', 'rax')
            .in('eax', 0x42)
            .mov('rdi', 'rax')
            .out(0x43, 'al')
            .out('dx', 'ax')
            .out('dx', 'eax'),
        ),
        'ok',
        'the program',
      )
      const expected: BenchAccess[] = [
        { type: 'port-read', address: 0x40, size: 1 },
        { type: 'port-read', address: 0x1234, size: 2 },
        { type: 'port-read', address: 0x42, size: 4 },
        { type: 'port-write', address: 0x43, size: 1, value: 0x42 },
        { type: 'port-write', address: 0x1234, size: 2, value: 0x8342 },
        { type: 'port-write', address: 0x1234, size: 4, value: 0x8182_8342 },
      ]
      expectEqual(bench.accesses, expected, 'accesses')
      expectEqual(bench.get('rbx'), 0xffff_ffff_ffff_ff40n, 'RAX after IN AL')
      expectEqual(bench.get('rsi') & 0xffffn, 0x9534n, 'AX after IN AX')
      expectEqual(bench.get('rdi'), 0x8182_8342n, 'RAX after IN EAX')
    }),
    plainCheck('moves strings to and from ports, one element an access', () => {
      using bench = new ProcessorBench(create())
      let next = 10
      bench.answer = () => next++
      for (let at = 0; at < 6; at++) bench.bytes[AT.DATA + at] = at + 1
      bench.memory.written(AT.DATA, 6)
      const program = bench.kernel((a) =>
        a
          .mov('dx', 0x170)
          .mov('rsi', AT.DATA)
          .mov('ecx', 3)
          .cld()
          .rep()
          .outs(16)
          .mov('rdi', AT.DATA + 0x100)
          .mov('ecx', 4)
          .rep()
          .ins(8),
      )
      expectEqual(program, 'ok', 'the program')
      const values = bench.accesses.filter(({ type }) => type === 'port-write').map(({ value }) => value)
      expectEqual(values, [0x0201, 0x0403, 0x0605], 'what was written')
      expectEqual([...bench.bytes.subarray(AT.DATA + 0x100, AT.DATA + 0x105)], [10, 11, 12, 13, 0], 'what was read')
    }),
    plainCheck('asks for addresses without memory, aligned, and split where they are not', () => {
      using bench = new ProcessorBench(create())
      bench.answer = (gpa) => (gpa & 0xff) * 0x0101_0101
      const base = AT.MMIO
      const program = bench.kernel((a) =>
        a
          .mov('rbx', base)
          .mov(byte('rbx', 1), 0x11)
          .mov(word('rbx', 2), 0x2222)
          .mov(dword('rbx', 4), 0x3333_3333)
          .mov('rax', 0x5555_5555_4444_4444n)
          .mov(mem('rbx', 8), 'rax')
          .movzx('ecx', byte('rbx', 0x21))
          .movzx('edx', word('rbx', 0x22))
          .mov('rsi', qword('rbx', 0x30)),
      )
      expectEqual(program, 'ok', 'the program')
      const expected: BenchAccess[] = [
        { type: 'mmio-write', address: base + 1, size: 1, value: 0x11 },
        { type: 'mmio-write', address: base + 2, size: 2, value: 0x2222 },
        { type: 'mmio-write', address: base + 4, size: 4, value: 0x3333_3333 },
        { type: 'mmio-write', address: base + 8, size: 4, value: 0x4444_4444 },
        { type: 'mmio-write', address: base + 12, size: 4, value: 0x5555_5555 },
        { type: 'mmio-read', address: base + 0x21, size: 1 },
        { type: 'mmio-read', address: base + 0x22, size: 2 },
        { type: 'mmio-read', address: base + 0x30, size: 4 },
        { type: 'mmio-read', address: base + 0x34, size: 4 },
      ]
      expectEqual(bench.accesses, expected, 'accesses')
      expectEqual(
        [bench.get('rcx'), bench.get('rdx'), bench.get('rsi')],
        [0x21n, 0x2222n, 0x3434_3434_3030_3030n],
        'what was read',
      )
      bench.accesses.length = 0
      expectEqual(
        bench.kernel((a) => a.mov('rbx', base).mov(dword('rbx', 0x41), 0x0403_0201)),
        'ok',
        'the second program',
      )
      const bytes = bench.accesses.flatMap(({ address, size, value }) =>
        Array.from({ length: size }, (_, at) => [address + at, ((value ?? 0) >>> (8 * at)) & 0xff]),
      )
      expectEqual(
        bytes.sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0)),
        [1, 2, 3, 4].map((value) => [base + 0x40 + value, value]),
        'the bytes of an unaligned write',
      )
      expectThat(
        bench.accesses.every(({ address, size }) => address % size === 0),
        'an access is not aligned to its size',
      )
    }),
    plainCheck('maps pages with their rights: what may not be written is an intercept, what is unmapped too', () => {
      const processor = create()
      using bench = new ProcessorBench(processor)
      const { memory } = bench
      const page = AT.DATA / PAGE
      const offset = memory.ramOffset + AT.DATA
      expectEqual(memory.translate(AT.DATA + 5, GPA_ACCESS.WRITE), offset + 5, 'the offset of a mapped page')
      memory.map(page, 1, offset, GPA_ACCESS.READ | GPA_ACCESS.EXECUTE)
      bench.vp.flushTranslations()
      expectEqual(memory.translate(AT.DATA, GPA_ACCESS.READ), offset, 'the offset for reading')
      expectEqual(memory.translate(AT.DATA, GPA_ACCESS.WRITE), -1, 'the offset for writing')
      bench.write32(AT.DATA, 0x77)
      expectEqual(
        bench.kernel((a) => a.mov('eax', mem(AT.DATA)).mov(mem(AT.DATA + 4), 'eax')),
        'ok',
        'the program',
      )
      expectEqual(bench.get('rax'), 0x77n, 'what was read')
      expectEqual(bench.accesses, [{ type: 'mmio-write', address: AT.DATA + 4, size: 4, value: 0x77 }], 'accesses')
      expectEqual(bench.read32(AT.DATA + 4), 0, 'the page that may not be written')
      memory.unmap(page, 1)
      bench.vp.flushTranslations()
      expectEqual(memory.translate(AT.DATA, GPA_ACCESS.READ), -1, 'the offset of an unmapped page')
      bench.accesses.length = 0
      bench.answer = () => 0x99
      expectEqual(
        bench.kernel((a) => a.mov('eax', mem(AT.DATA))),
        'ok',
        'the second program',
      )
      expectEqual(bench.get('rax'), 0x99n, 'what was read of the unmapped page')
      // An overlay page in its place.
      const overlay = memory.allocateOverlay()
      expectEqual(overlay % PAGE, 0, 'the offset of an overlay page, in its page')
      new Uint8Array(memory.buffer)[overlay] = 0x42
      memory.map(page, 1, overlay, GPA_ACCESS.ALL)
      bench.vp.flushTranslations()
      expectEqual(
        bench.kernel((a) => a.movzx('eax', byte(AT.DATA))),
        'ok',
        'the third program',
      )
      expectEqual(bench.get('rax'), 0x42n, 'what was read of the overlay page')
    }),
    plainCheck('asks for CPUID, MSRs that are not its own, and hypercalls, and raises what it is told', () => {
      using bench = new ProcessorBench(create())
      bench.cpuid = (leaf, subleaf, registers) => {
        if (leaf === 0x4000_0000) registers.set([leaf + 1, subleaf, 3, 4])
      }
      expectEqual(
        bench.kernel((a) => a.mov('eax', 0x4000_0000).mov('ecx', 9).cpuid()),
        'ok',
        'CPUID',
      )
      expectEqual(
        [bench.get('rax'), bench.get('rbx'), bench.get('rcx'), bench.get('rdx')],
        [0x4000_0001n, 9n, 3n, 4n],
        'registers after CPUID',
      )
      let written = 0n
      bench.msrRead = (index, value) => {
        value[0] = BigInt(index) | (5n << 32n)
        return index === 0x4000_0020
      }
      bench.msrWrite = (index, value) => {
        written = value
        return index === 0x4000_0020
      }
      expectEqual(
        bench.kernel((a) =>
          a.mov('ecx', 0x4000_0020).rdmsr().mov('esi', 'eax').mov('edi', 'edx').mov('eax', 7).mov('edx', 8).wrmsr(),
        ),
        'ok',
        'RDMSR and WRMSR',
      )
      expectEqual(
        [bench.get('rsi'), bench.get('rdi'), written],
        [0x4000_0020n, 5n, 0x8_0000_0007n],
        'values of the MSR',
      )
      expectEqual(
        bench.kernel((a) => a.mov('ecx', 0x4000_0021).rdmsr()),
        '#GP(0)',
        'RDMSR of an MSR that is not there',
      )
      expectEqual(
        bench.kernel((a) => a.mov('ecx', 0x4000_0021).wrmsr()),
        '#GP(0)',
        'WRMSR of an MSR that is not there',
      )
      const calls: bigint[] = []
      bench.hypercall = () => {
        calls.push(bench.get('rcx'))
        bench.set('rax', 0x55)
        return true
      }
      expectEqual(
        bench.kernel((a) => a.mov('ecx', 0x5c).vmcall().mov('ebx', 'eax')),
        'ok',
        'VMCALL',
      )
      expectEqual([calls, bench.get('rbx')], [[0x5cn], 0x55n], 'the hypercall and its result')
      bench.hypercall = () => false
      expectEqual(
        bench.kernel((a) => a.vmcall()),
        '#UD',
        'VMCALL that nobody takes',
      )
    }),
    plainCheck('gives up a slice when its budget is used up, and goes on where it was', () => {
      const processor = create()
      const counts: bigint[] = []
      for (const budget of [1, 7, 100_000]) {
        using bench = new ProcessorBench(processor)
        bench.load(AT.CODE, 64, (a) =>
          a.xor('eax', 'eax').mov('ecx', 20_000).label('again').inc('rax').loop('again').cli().hlt(),
        )
        bench.set('rip', AT.CODE)
        let slices = 0
        let last = bench.vp.instructionCount
        for (let exit = bench.vp.run(budget); exit === 'budget'; exit = bench.vp.run(budget)) {
          slices++
          const now = bench.vp.instructionCount
          expectThat(now > last, 'a slice does nothing')
          expectThat(
            now - last < budget * 200 + 2000,
            `${now - last} instructions in a slice with a budget of ${budget}`,
          )
          last = now
        }
        expectThat(slices > 0 === budget < 100_000, `${slices} slices with a budget of ${budget}`)
        counts.push(bench.get('rax'), BigInt(bench.vp.instructionCount))
      }
      expectEqual([counts[0], counts[2], counts[4]], [20_000n, 20_000n, 20_000n], 'what was counted')
      expectEqual([counts[3], counts[5]], [counts[1], counts[1]], 'instructions that were counted')
    }),
    plainCheck('leaves soon when an intercept asks it to', () => {
      using bench = new ProcessorBench(create())
      bench.load(AT.CODE, 64, (a) => a.xor('eax', 'eax').out(0x99, 'al').label('again').inc('rax').jmp('again'))
      bench.onWrite = () => bench.vp.requestExit()
      bench.set('rip', AT.CODE)
      expectEqual(bench.vp.run(1_000_000), 'budget', 'the exit')
      expectThat(bench.get('rax') < 10_000n, `it went on for ${bench.get('rax')} rounds`)
      expectEqual(bench.accesses.length, 1, 'accesses')
    }),
  ]
}
