// Translated code by itself: loops and calls over pages, mappings and bytes that change under it, exact faults and counts, what is kept and what goes. Each program is long enough to
// become hot.

import { dword } from '@partita/testkit/assembler'
import { describe, expect, it } from 'vitest'
import {
  type CompileJob,
  inlineCompiler,
  RegionCompilation,
  type RegionCompiler,
} from '../src/translator/compilation.ts'
import { threadCompiler } from '../src/translator/thread-compiler.ts'
import type { TranslationOptions } from '../src/translator/translator.ts'
import { AT, PTE, SystemMachine } from './system-machine.ts'

const PAGE = 4096
const MIXED: TranslationOptions = { mode: 'on', threshold: 2 }
/** Instructions that are certainly hot. */
const LONG = 4_000_000
const FAR = AT.DATA
const OTHER = AT.DATA + 0x1000

function machine(options: TranslationOptions = MIXED): SystemMachine {
  return new SystemMachine('long', options)
}
/** Runs to the end of the program. */
function finish(m: SystemMachine): void {
  for (let n = 0; n < 1000 && m.vp.cpu.activity === 0; n++) m.run(LONG)
}
/** The share of a machine's instructions that was translated. */
function translated(m: SystemMachine): number {
  return (m.vp.translationStatistics()?.executed ?? 0) / m.vp.instructionCount
}

describe('hot code', () => {
  it('is translated, and counts what it executes', () => {
    const results = [MIXED, { mode: 'off' } as const, { mode: 'on', threshold: 1 } as const].map((options) => {
      const m = machine(options)
      m.kernel((a) =>
        a.mov('ecx', 100_000).label('loop').add('eax', 'ecx').xor('eax', 0x55).dec('ecx').jcc('ne', 'loop'),
      )
      finish(m)
      return { rax: m.get('rax'), count: m.vp.instructionCount, share: translated(m) }
    })
    const [mixed, interpreted, all] = results
    expect(mixed?.rax).toBe(interpreted?.rax)
    expect(all?.rax).toBe(interpreted?.rax)
    expect(mixed?.count).toBe(interpreted?.count)
    expect(all?.count).toBe(interpreted?.count)
    expect(mixed?.share).toBeGreaterThan(0.9)
    expect(interpreted?.share).toBe(0)
  })
  it('stays in a loop that lies over the end of a page, with an instruction across it', () => {
    const m = machine()
    const loop = AT.CODE + PAGE - 3
    m.program(loop, 64, (a) =>
      a.label('loop').add('eax', 'ecx').add('edx', 0x01234567).dec('ecx').jcc('ne', 'loop').hlt(),
    )
    m.set('rcx', 200_000)
    m.set('rax', 0)
    m.set('rdx', 0)
    m.start(loop)
    finish(m)
    expect(m.get('rax')).toBe(BigInt.asUintN(32, (200_000n * 200_001n) / 2n))
    expect(m.get('rdx')).toBe(BigInt.asUintN(32, 200_000n * 0x01234567n))
    expect(translated(m)).toBeGreaterThan(0.9)
  })
  it('calls functions of other pages and comes back', () => {
    const m = machine()
    m.program(FAR, 64, (a) => a.add('eax', 3).ret())
    m.kernel((a) => {
      a.mov('ecx', 100_000).mov('eax', 0).label('loop')
      a.bytes(0xe8).bytes(...bytes32(FAR - (a.here + 4)))
      a.dec('ecx').jcc('ne', 'loop')
    })
    finish(m)
    expect(m.get('rax')).toBe(300_000n)
    expect(translated(m)).toBeGreaterThan(0.9)
  })
  it('takes in what an indirect jump in a hot loop leads to', () => {
    const m = machine({ ...MIXED, threshold: 24 })
    m.program(FAR, 64, (a) => {
      // eight bodies of 64 bytes, all of which lead back to the loop
      for (let n = 0; n < 8; n++) {
        a.at(FAR + n * 64).add('eax', n + 1)
        for (let i = 0; i < 4; i++) a.xor('edx', 'eax')
        a.jmp('rsi')
      }
    })
    m.kernel((a) => {
      a.mov('ecx', 400_000)
        .mov('eax', 0)
        .mov('rsi', AT.CODE + 0x80)
        .jmp('rsi')
      a.at(AT.CODE + 0x80)
        .label('loop')
        .dec('ecx')
        .jcc('e', 'end')
      a.mov('ebx', 'ecx').and('ebx', 7).shl('ebx', 6).add('ebx', FAR).jmp('rbx')
      a.label('end')
    })
    finish(m)
    expect(m.get('rax')).toBe((400_000n / 8n) * 36n - 1n)
    expect(translated(m)).toBeGreaterThan(0.95)
  })
  it('is found where a block ends without a jump', () => {
    const m = machine({ ...MIXED, threshold: 24 })
    m.program(FAR, 64, (a) => {
      // too long for one block
      for (let i = 0; i < 60; i++) a.xor('edx', 'eax')
      a.add('eax', 3).ret()
    })
    m.kernel((a) => {
      a.mov('ecx', 100_000).mov('eax', 0).mov('edx', 0).mov('rbx', FAR).label('loop')
      // CALL RBX
      a.bytes(0xff, 0xd3).dec('ecx').jcc('ne', 'loop')
    })
    finish(m)
    expect(m.get('rax')).toBe(300_000n)
    expect(translated(m)).toBeGreaterThan(0.95)
  })
  it('is found in a guest that halts after a few instructions each time', () => {
    const m = machine({ ...MIXED, threshold: 24 })
    m.program(AT.CODE, 64, (a) => {
      a.label('loop')
      for (let i = 0; i < 30; i++) a.xor('edx', 'eax')
      a.inc('ecx').hlt().jmp('loop')
    })
    m.set('rcx', 0)
    m.start()
    for (let n = 0; n < 10_000; n++) {
      expect(m.run(LONG)).toBe('halt')
      m.vp.cpu.activity = 0
    }
    expect(m.get('rcx')).toBe(10_000n)
    expect(translated(m)).toBeGreaterThan(0.8)
  })
  it('leaves a loop without an end when the slice is over', () => {
    const m = machine()
    m.program(AT.CODE, 64, (a) => a.label('loop').inc('eax').jmp('loop'))
    m.start()
    for (let n = 0; n < 10; n++) {
      const before = m.vp.instructionCount
      expect(m.run(1_000_000)).toBe('budget')
      expect(m.vp.instructionCount - before).toBeGreaterThanOrEqual(1_000_000)
      expect(m.vp.instructionCount - before).toBeLessThan(1_001_000)
    }
    expect(translated(m)).toBeGreaterThan(0.9)
  })
})

describe('what changes under translated code', () => {
  /** Calls FAR 50,000 times, does `between`, and calls it 50,000 times again; the program of FAR adds a number to RAX. */
  function twice(
    m: SystemMachine,
    between: (a: Parameters<Parameters<SystemMachine['kernel']>[0]>[0]) => unknown,
  ): void {
    m.program(FAR, 64, (a) => a.add('eax', 0x1000_0001).ret())
    m.kernel((a) => {
      a.mov('edi', 2).mov('eax', 0).label('again').mov('ecx', 50_000).label('loop')
      a.bytes(0xe8).bytes(...bytes32(FAR - (a.here + 4)))
      a.dec('ecx').jcc('ne', 'loop').dec('edi').jcc('e', 'end')
      between(a)
      a.jmp('again').label('end')
    })
    finish(m)
  }
  it('another page is mapped there, and INVLPG says so', () => {
    const m = machine()
    m.program(OTHER, 64, (a) => a.add('eax', 0x1000_0100).ret())
    twice(m, (a) => a.mov(dword(AT.PT + (FAR / PAGE) * 8), OTHER | 3).bytes(0x0f, 0x01, 0x3c, 0x25, ...bytes32(FAR)))
    expect(m.get('rax')).toBe(BigInt.asUintN(32, 50_000n * (0x1000_0001n + 0x1000_0100n)))
    expect(translated(m)).toBeGreaterThan(0.8)
  })
  it('another page is mapped there, and a write of CR3 says so', () => {
    const m = machine()
    m.program(OTHER, 64, (a) => a.add('eax', 0x1000_0100).ret())
    twice(m, (a) => a.mov(dword(AT.PT + (FAR / PAGE) * 8), OTHER | 3).bytes(0x0f, 0x20, 0xdb, 0x0f, 0x22, 0xdb))
    expect(m.get('rax')).toBe(BigInt.asUintN(32, 50_000n * (0x1000_0001n + 0x1000_0100n)))
  })
  it('a store to a function of another page', () => {
    const m = machine()
    // add eax, imm32 is 05 and the immediate
    twice(m, (a) => a.mov(dword(FAR + 1), 0x1000_0100))
    expect(m.get('rax')).toBe(BigInt.asUintN(32, 50_000n * (0x1000_0001n + 0x1000_0100n)))
    expect(m.vp.translationStatistics()?.dropped).toBeGreaterThan(0)
  })
  it('a store of the loop to its own next instruction', () => {
    const m = machine()
    m.kernel((a) => {
      a.mov('ecx', 20_000).mov('eax', 0).label('loop')
      // mov [next + 1], cl; next: add eax, imm32
      a.bytes(0x88, 0x0c, 0x25)
        .bytes(...bytes32(a.here + 5))
        .bytes(0x05, 0, 0, 0, 0)
      a.dec('ecx').jcc('ne', 'loop')
    })
    finish(m)
    let sum = 0
    for (let n = 1; n <= 20_000; n++) sum += n & 0xff
    expect(m.get('rax')).toBe(BigInt(sum))
  })
  it('a device writes to it', () => {
    const m = machine()
    m.program(AT.CODE, 64, (a) => a.label('loop').mov('eax', 1).jmp('loop'))
    m.start()
    m.run(LONG)
    expect(translated(m)).toBeGreaterThan(0.9)
    m.load(AT.CODE + 1, Uint8Array.of(2))
    m.run(1000)
    expect(m.get('rax')).toBe(2n)
  })
})

describe('faults in translated code', () => {
  it('say where, and leave everything as it was before the instruction', () => {
    const m = machine()
    const buffer = 0x40_0000
    const missing = 0x60_0000
    m.write64(AT.PD + (missing >> 21) * 8, 0n)
    m.kernel((a) => {
      a.mov('rdi', buffer).mov('edx', 0).label('loop')
      a.add('edx', 1).label('store')
      // mov [rdi + 4], edx
      a.bytes(0x89, 0x57, 0x04).add('rdi', 8).jmp('loop')
    })
    finish(m)
    const [event] = m.events
    expect(event?.vector).toBe(14)
    expect(event?.error).toBe(2)
    expect(event?.cr2).toBe(BigInt(missing + 4))
    expect(m.get('rdi')).toBe(BigInt(missing))
    expect(m.get('rdx')).toBe(BigInt((missing - buffer) / 8 + 1))
    expect(event?.rip).toBe(AT.CODE + (m.read(AT.CODE, 1) === 0x48 ? 7 : 5) + 5 + 3)
    expect(translated(m)).toBeGreaterThan(0.9)
  })
  it('have the flags of the last instruction that set them', () => {
    const flags = [MIXED, { mode: 'off' } as const].map((options) => {
      const m = machine(options)
      m.write64(AT.PD + (0x60_0000 >> 21) * 8, 0n)
      m.kernel((a) => {
        a.mov('rdi', 0x58_0000).mov('edx', 0x7fff_fff0).label('loop').add('edx', 0x11).inc('edx')
        a.bytes(0x89, 0x17).add('rdi', 4).bytes(0xf5).jmp('loop')
      })
      finish(m)
      return m.events[0]?.flags
    })
    expect(flags[0]).toBe(flags[1])
  })
  it('keep what a string instruction has done before', () => {
    const results = [{ mode: 'on', threshold: 1 } as const, { mode: 'off' } as const].map((options) => {
      const m = machine(options)
      m.write64(AT.PD + (0x60_0000 >> 21) * 8, 0n)
      m.load(0x60_0000 - 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
      // rep lodsd
      m.kernel((a) =>
        a
          .mov('rsi', 0x60_0000 - 64)
          .mov('ecx', 100)
          .mov('eax', 0)
          .bytes(0xf3, 0xad),
      )
      finish(m)
      return { rax: m.get('rax'), rcx: m.get('rcx'), rsi: m.get('rsi'), cr2: m.events[0]?.cr2 }
    })
    expect(results[0]).toEqual({ rax: 0x0807_0605n, rcx: 84n, rsi: 0x60_0000n, cr2: 0x60_0000n })
    expect(results[1]).toEqual(results[0])
  })
})

describe('accesses that are near each other', () => {
  /** Two pages that follow each other in the linear address space and lie apart in memory. */
  const LINEAR = 0x8_0000
  function apart(m: SystemMachine): void {
    m.write64(AT.PT + (LINEAR / PAGE) * 8, BigInt(FAR) | 3n)
    m.write64(AT.PT + (LINEAR / PAGE + 1) * 8, BigInt(FAR + 4 * PAGE) | 3n)
  }
  function words(m: SystemMachine, page: number): number[] {
    return Array.from({ length: PAGE / 4 }, (_, i) => m.read(page + i * 4, 4))
  }
  /** What a loop over a window that moves over the end of a page leaves behind, by mode. */
  function everyWay(program: (a: Parameters<Parameters<SystemMachine['kernel']>[0]>[0]) => unknown): unknown[] {
    return [MIXED, { mode: 'off' } as const, { mode: 'on', threshold: 1 } as const].map((options) => {
      const m = machine(options)
      apart(m)
      for (let i = 0; i < PAGE; i += 8) {
        m.write64(FAR + i, BigInt(i) * 0x0101_0101n)
        m.write64(FAR + 4 * PAGE + i, BigInt(i) * 0x1010_1010n)
      }
      m.kernel(program)
      finish(m)
      if (options.mode === 'on') expect(translated(m)).toBeGreaterThan(0.9)
      return { rax: m.get('rax'), rsp: m.get('rsp'), first: words(m, FAR), second: words(m, FAR + 4 * PAGE) }
    })
  }
  it('read and write what is theirs on both sides of the end of a page', () => {
    const [mixed, interpreted, all] = everyWay((a) => {
      a.mov('ebp', 400)
        .label('again')
        .mov('rbx', LINEAR + PAGE - 200)
        .mov('ecx', 100)
        .label('loop')
      // mov rdx, [rbx]; add rax, rdx; mov rdx, [rbx + 56]; add rax, rdx; mov [rbx + 24], rax; add [rbx - 24], rdx; mov rdx, [rbx + 57]
      a.bytes(0x48, 0x8b, 0x13, 0x48, 0x01, 0xd0, 0x48, 0x8b, 0x53, 56, 0x48, 0x01, 0xd0)
      a.bytes(0x48, 0x89, 0x43, 24, 0x48, 0x01, 0x53, 0xe8, 0x48, 0x8b, 0x53, 57)
      a.add('rax', 'rdx').add('rbx', 4).dec('ecx').jcc('ne', 'loop').dec('ebp').jcc('ne', 'again')
    })
    expect(mixed).toEqual(interpreted)
    expect(all).toEqual(interpreted)
  })
  it('of every size read, write and change what lies on both sides of the end of a page', () => {
    const [mixed, interpreted, all] = everyWay((a) => {
      a.mov('ebp', 500)
        .label('again')
        .mov('rbx', LINEAR + PAGE - 8)
        .mov('ecx', 9)
        .label('loop')
      a.bytes(0x48, 0x8b, 0x13, 0x48, 0x01, 0xd0) // mov rdx, [rbx]; add rax, rdx
      a.bytes(0x8b, 0x13, 0x48, 0x01, 0xd0, 0x66, 0x03, 0x03) // mov edx, [rbx]; add rax, rdx; add ax, [rbx]
      a.bytes(0x48, 0x89, 0x03, 0x89, 0x53, 0x10, 0x89, 0x13, 0x66, 0x89, 0x43, 1) // mov [rbx], rax; mov [rbx + 16], edx; mov [rbx], edx; mov [rbx + 1], ax
      a.bytes(0x48, 0x01, 0x03, 0x01, 0x03, 0x66, 0x01, 0x03) // add [rbx], rax, eax, ax
      a.add('rbx', 1).dec('ecx').jcc('ne', 'loop').dec('ebp').jcc('ne', 'again')
    })
    expect(mixed).toEqual(interpreted)
    expect(all).toEqual(interpreted)
  })
  it('go with a stack that grows over the end of a page', () => {
    const [mixed, interpreted, all] = everyWay((a) => {
      a.mov('r8', 'rsp')
        .mov('ebp', 2000)
        .label('again')
        .mov('rsp', LINEAR + PAGE + 88)
        .mov('ecx', 10)
        .label('loop')
      a.bytes(0x50, 0x52, 0x51, 0x58, 0x5a, 0x41, 0x59) // push rax, rdx, rcx; pop rax, rdx, r9
      a.add('rax', 'r9').add('rdx', 'rax').bytes(0x48, 0x83, 0xec, 20).dec('ecx').jcc('ne', 'loop')
      a.dec('ebp').jcc('ne', 'again').mov('rsp', 'r8')
    })
    expect(mixed).toEqual(interpreted)
    expect(all).toEqual(interpreted)
  })
  it('fault where the second one is', () => {
    const m = machine()
    apart(m)
    m.write64(AT.PT + (LINEAR / PAGE + 1) * 8, 0n)
    m.kernel((a) => {
      a.mov('rbx', LINEAR).mov('ecx', 0).label('loop').inc('ecx')
      // mov rdx, [rbx]; mov rdx, [rbx + 40]
      a.bytes(0x48, 0x8b, 0x13).label('second').bytes(0x48, 0x8b, 0x53, 40)
      a.add('rbx', 1).jmp('loop')
    })
    finish(m)
    expect(m.events[0]).toMatchObject({ vector: 14, cr2: BigInt(LINEAR + PAGE) })
    expect(m.get('rbx')).toBe(BigInt(LINEAR + PAGE - 40 - 7))
    expect(m.get('rcx')).toBe(BigInt(PAGE - 40 - 7 + 1))
    expect(translated(m)).toBeGreaterThan(0.5)
  })
  it('to a page that may be read only fault when the second one writes', () => {
    const m = machine()
    apart(m)
    m.write64(AT.PT + (LINEAR / PAGE + 1) * 8, BigInt(FAR + 4 * PAGE) | 1n)
    // CR0.WP: the supervisor, too
    m.set('cr0', m.get('cr0') | 0x1_0000n)
    m.kernel((a) => {
      a.mov('rbx', LINEAR + PAGE - 32 - 4096)
        .mov('ecx', 0)
        .label('loop')
        .inc('ecx')
      // mov rdx, [rbx + 8]; mov [rbx + 16], rcx
      a.bytes(0x48, 0x8b, 0x53, 8, 0x48, 0x89, 0x4b, 16).add('rbx', 1).jmp('loop')
    })
    finish(m)
    expect(m.events[0]).toMatchObject({ vector: 14, error: 3, cr2: BigInt(LINEAR + PAGE) })
  })
})

describe('what is kept', () => {
  it.each([
    { limit: 1, batch: 1 },
    { limit: 4, batch: 4 },
    { limit: 4, batch: 8 },
    { limit: 8, batch: 4 },
    { limit: 13, batch: 4 },
  ])('regions go when there are more than $limit, and come back, with $batch to a job', ({ limit, batch }) => {
    // some come one by one, some together
    const m = machine({
      ...MIXED,
      regions: limit,
      compiler: { ...inlineCompiler(new RegionCompilation()), batch, patience: 200 },
    })
    const functions = 40
    for (let n = 0; n < functions; n++) {
      m.program(AT.DATA + n * PAGE, 64, (a) =>
        a.mov('edx', 3000).label('loop').add('eax', n).dec('edx').jcc('ne', 'loop').ret(),
      )
    }
    m.kernel((a) => {
      // one that is alone, and takes the first place
      a.mov('edx', 300_000).label('alone').dec('edx').jcc('ne', 'alone')
      a.mov('ecx', 5).mov('eax', 0).label('again').mov('rbx', AT.DATA).label('next')
      a.call('rbx')
        .add('rbx', PAGE)
        .bytes(0x48, 0x81, 0xfb, ...bytes32(AT.DATA + functions * PAGE))
        .jcc('ne', 'next')
      a.dec('ecx').jcc('ne', 'again')
    })
    finish(m)
    expect(m.get('rax')).toBe(BigInt((5 * 3000 * functions * (functions - 1)) / 2))
    const statistics = m.vp.translationStatistics()
    expect(statistics?.regions).toBeLessThanOrEqual(limit)
    expect(statistics?.evicted).toBeGreaterThan(functions)
  })
  it('what is executed all the time stays, however old it is', () => {
    const m = machine({ ...MIXED, regions: 8 })
    const functions = 40
    const always = AT.DATA + functions * PAGE
    const loop = (at: number): void =>
      void m.program(at, 64, (a) => a.mov('edx', 4000).label('loop').inc('eax').dec('edx').jcc('ne', 'loop').ret())
    for (let n = 0; n <= functions; n++) loop(AT.DATA + n * PAGE)
    m.kernel((a) => {
      a.mov('ebp', always).mov('ecx', 5).mov('eax', 0).label('again').mov('rbx', AT.DATA).label('next')
      a.call('rbp')
        .call('rbx')
        .add('rbx', PAGE)
        .bytes(0x48, 0x81, 0xfb, ...bytes32(AT.DATA + functions * PAGE))
        .jcc('ne', 'next')
      a.dec('ecx').jcc('ne', 'again')
    })
    finish(m)
    expect(m.get('rax')).toBe(BigInt(5 * functions * 2 * 4000))
    const statistics = m.vp.translationStatistics()
    expect(statistics?.evicted).toBeGreaterThan(4 * functions)
    // each of the others once a round, and little besides
    expect(statistics?.translated).toBeLessThan(5 * functions + 8)
  })
  it('nothing is left of regions after a reset of the decoded code', () => {
    const m = machine()
    m.program(AT.CODE, 64, (a) => a.label('loop').inc('eax').jmp('loop'))
    m.start()
    m.run(LONG)
    expect(m.vp.translationStatistics()?.regions).toBe(1)
    m.vp.restore(m.vp.save())
    expect(m.vp.translationStatistics()?.regions).toBe(0)
    m.run(LONG)
    expect(m.vp.translationStatistics()?.regions).toBe(1)
  })
  it('nor of mappings that no page table has any more', () => {
    const m = machine()
    m.program(FAR, 64, (a) => a.label('loop').inc('eax').jmp('loop'))
    m.start(FAR)
    m.run(LONG)
    m.setPage(FAR, BigInt(FAR) & ~PTE.P)
    m.vp.flushTranslations()
    m.run(100)
    expect(m.events[0]?.vector).toBe(14)
  })
})

describe('regions that are executed once little new is hot', () => {
  const functions = 80
  /** Calls each of the functions again and again, for 120 million instructions or `rounds` times; `str esi` keeps a part to the interpreter, which samples it. */
  function callAll(m: SystemMachine, rounds = 100, first = 5000): void {
    for (let n = 0; n < functions; n++) {
      m.program(AT.DATA + n * PAGE, 64, (a) =>
        a
          .mov('edx', n === 0 ? first : 5000)
          .label('loop')
          .add('eax', n)
          .dec('edx')
          .jcc('ne', 'loop')
          .ret(),
      )
    }
    m.kernel((a) => {
      a.mov('ecx', rounds).mov('eax', 0).label('again').mov('rbx', AT.DATA).label('next')
      a.call('rbx')
        .bytes(0x0f, 0x00, 0xce)
        .add('rbx', PAGE)
        .bytes(0x48, 0x81, 0xfb, ...bytes32(AT.DATA + functions * PAGE))
        .jcc('ne', 'next')
      a.dec('ecx').jcc('ne', 'again')
    })
  }
  const sum = BigInt.asUintN(32, BigInt((100 * 5000 * functions * (functions - 1)) / 2))
  function compiler(regions: number): RegionCompiler & { readonly jobs: CompileJob[] } {
    const compilation = new RegionCompilation()
    const jobs: CompileJob[] = []
    return {
      jobs,
      batch: 4,
      patience: 1,
      consolidation: regions === 0 ? undefined : { regions, period: 30_000_000 },
      compile(job, done) {
        jobs.push(job)
        done(compilation.run(job))
      },
      poll() {},
    }
  }

  it('are compiled anew, many to a module, and take the place of the others', () => {
    const own = compiler(32)
    const m = machine({ ...MIXED, compiler: own })
    callAll(m)
    finish(m)
    expect(m.get('rax')).toBe(sum)
    const statistics = m.vp.translationStatistics()
    expect(statistics?.consolidated).toBeGreaterThanOrEqual(functions)
    expect(statistics?.regions).toBeLessThan(functions + 10)
    expect(statistics?.modules).toBeLessThan(10)
    expect(Math.max(...own.jobs.map(({ regions }) => regions.length))).toBe(32)
    // Each once only.
    expect(statistics?.translated).toBeLessThan(2 * functions + 20)
  })
  it('go when their code changes, like any other', () => {
    const m = machine({ ...MIXED, compiler: compiler(128) })
    callAll(m)
    finish(m)
    const regions = m.vp.translationStatistics()?.regions ?? 0
    // `add eax, imm8` of the first, and of the second.
    for (const n of [0, 1]) m.load(AT.DATA + n * PAGE + 7, Uint8Array.of(9))
    expect(m.vp.translationStatistics()?.regions).toBe(regions - 2)
  })
  it('stay where they are when they are loops that take much of the time', () => {
    const own = compiler(32)
    const m = machine({ ...MIXED, compiler: own })
    callAll(m, 50, 500_000)
    m.start()
    while (m.run(20_000) === 'budget');
    expect(m.get('rax')).toBe(sum / 2n)
    const settled = own.jobs.filter((job) => job.settled).flatMap((job) => job.regions.map(({ name }) => name))
    const loop = (n: number): string => `region ${(AT.DATA + n * PAGE + 5).toString(16)}`
    expect(settled).toContain(loop(1))
    expect(settled).not.toContain(loop(0))
  })
  it('are left alone by a compiler that has no time for it', () => {
    const m = machine({ ...MIXED, compiler: compiler(0) })
    callAll(m)
    finish(m)
    expect(m.get('rax')).toBe(sum)
    expect(m.vp.translationStatistics()?.consolidated).toBe(0)
  })
})

describe('a compiler on a thread of its own', () => {
  it('delivers between slices', async () => {
    using compiler = threadCompiler()
    expect(compiler).toBeDefined()
    const m = machine({ ...MIXED, compiler })
    m.program(AT.CODE, 64, (a) => a.label('loop').inc('eax').jmp('loop'))
    m.start()
    while (m.vp.translationStatistics()?.regions === 0) {
      m.run(100_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const before = m.get('rax')
    const count = m.vp.instructionCount
    m.run(LONG)
    expect((Number(m.get('rax') - before) * 2) / (m.vp.instructionCount - count)).toBeCloseTo(1, 3)
  })
  it('that ends is replaced', () => {
    const m = machine({
      ...MIXED,
      compiler: {
        batch: 8,
        patience: 1,
        consolidation: { regions: 8, period: 30_000_000 },
        compile: (_job, done) => done(undefined),
        poll() {},
      },
    })
    m.program(AT.CODE, 64, (a) => a.label('loop').inc('eax').jmp('loop'))
    m.start()
    m.run(LONG)
    expect(m.vp.translationStatistics()?.regions).toBe(1)
  })
  it('may answer for code that is there no more', () => {
    const compilation = new RegionCompilation()
    let waiting: (() => void) | undefined
    const m = machine({
      ...MIXED,
      compiler: {
        batch: 8,
        patience: 1,
        consolidation: undefined,
        compile(job, done) {
          const result = compilation.run(job)
          waiting = () => done(result)
        },
        poll() {},
      },
    })
    m.program(AT.CODE, 64, (a) => a.label('loop').mov('eax', 1).jmp('loop'))
    m.start()
    m.run(LONG)
    m.load(AT.CODE + 1, Uint8Array.of(2))
    waiting?.()
    expect(m.vp.translationStatistics()?.regions).toBe(0)
    m.run(1000)
    expect(m.get('rax')).toBe(2n)
    expect(m.read(AT.CODE + 1, 1)).toBe(2)
  })
})

function bytes32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]
}
