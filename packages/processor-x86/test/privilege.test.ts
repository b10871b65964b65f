// Privilege (SDM vol. 3, chapter 5): what ring 3 may not do, I/O privilege, UMIP; control registers and what they refuse.
import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, RFLAGS, SystemMachine } from './system-machine.ts'

type Write = (a: Assembler) => unknown

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})

describe('ring 3', () => {
  it.each<[string, Write]>([
    ['HLT', (a) => a.hlt()],
    ['CLI', (a) => a.cli()],
    ['STI', (a) => a.sti()],
    ['MOV from CR0', (a) => a.mov('rax', 'cr0')],
    ['MOV to CR3', (a) => a.mov('cr3', 'rax')],
    ['CLTS', (a) => a.clts()],
    ['LMSW', (a) => a.lmsw('eax')],
    ['LGDT', (a) => a.lgdt(mem(AT.USER_DATA))],
    ['LIDT', (a) => a.lidt(mem(AT.USER_DATA))],
    ['LLDT', (a) => a.xor('eax', 'eax').lldt('ax')],
    ['LTR', (a) => a.ltr('ax')],
    ['RDMSR', (a) => a.rdmsr()],
    ['WRMSR', (a) => a.wrmsr()],
    ['INVLPG', (a) => a.invlpg(mem(0))],
    ['INVPCID', (a) => a.bytes(0x66, 0x0f, 0x38, 0x82, 0x00)],
    ['WBINVD', (a) => a.wbinvd()],
    ['INVD', (a) => a.bytes(0x0f, 0x08)],
    ['SWAPGS', (a) => a.swapgs()],
    ['SYSRET', (a) => a.sysret()],
    ['SYSEXIT', (a) => a.sysexit()],
    ['IN', (a) => a.in('al', 0x60)],
    ['OUT', (a) => a.out(0x60, 'al')],
    ['INS', (a) => a.mov('edx', 0x60).mov('rdi', AT.USER_DATA).ins(8)],
  ])('%s is #GP(0)', (_, write) => {
    // SYSEXIT is #GP for a null selector, too: give it one
    m.vp.cpu.msrs.write(0x174, 8n)
    expect(m.user(write)).toBe('#GP(0)')
  })
  it.each<[string, Write]>([
    ['SGDT', (a) => a.sgdt(mem(AT.USER_DATA))],
    ['SIDT', (a) => a.sidt(mem(AT.USER_DATA))],
    ['SLDT', (a) => a.sldt('eax')],
    ['STR', (a) => a.str('eax')],
    ['SMSW', (a) => a.smsw('eax')],
  ])('%s is allowed, unless CR4.UMIP', (_, write) => {
    expect(m.user(write)).toBe('ok')
    m.set('cr4', CR4.PAE | CR4.UMIP)
    expect(m.user(write)).toBe('#GP(0)')
    expect(m.kernel(write)).toBe('ok')
  })
  it('RDTSC is forbidden by CR4.TSD', () => {
    expect(m.user((a) => a.rdtsc())).toBe('ok')
    m.set('cr4', CR4.PAE | 4)
    expect(m.user((a) => a.rdtsc())).toBe('#GP(0)')
    expect(m.user((a) => a.bytes(0x0f, 0x01, 0xf9))).toBe('#GP(0)')
    expect(m.kernel((a) => a.rdtsc())).toBe('ok')
  })
  it('RDFSBASE and its kin need CR4.FSGSBASE', () => {
    const write: Write = (a) =>
      a.mov('rax', 0x1234_5678_9abcn).bytes(0xf3, 0x48, 0x0f, 0xae, 0xd0).bytes(0xf3, 0x48, 0x0f, 0xae, 0xc1)
    expect(m.user(write)).toBe('#UD')
    m.set('cr4', CR4.PAE | CR4.FSGSBASE)
    expect(m.user(write)).toBe('ok')
    expect(m.get('rcx')).toBe(0x1234_5678_9abcn)
    expect(m.user((a) => a.mov('rax', 0x8000_0000_0000n).bytes(0xf3, 0x48, 0x0f, 0xae, 0xd8))).toBe('#GP(0)')
  })
})

describe('I/O privilege', () => {
  const allow = (port: number): void => {
    const at = AT.TSS + 0x68 + (port >> 5) * 4
    m.write32(at, m.read(at, 4) & ~(1 << (port & 31)))
  }
  it('the bitmap allows ports one by one', () => {
    allow(0x80)
    expect(m.user((a) => a.out(0x80, 'al'))).toBe('ok')
    expect(m.user((a) => a.out(0x81, 'al'))).toBe('#GP(0)')
    expect(m.user((a) => a.out(0x80, 'ax'))).toBe('#GP(0)')
    allow(0x81)
    expect(m.user((a) => a.out(0x80, 'ax'))).toBe('ok')
    expect(m.user((a) => a.out(0x80, 'eax'))).toBe('#GP(0)')
    expect(m.ports.map(({ size }) => size)).toEqual([1, 2])
  })
  it('across two bytes of the bitmap', () => {
    allow(0x67)
    expect(m.user((a) => a.in('ax', 0x67))).toBe('#GP(0)')
    allow(0x68)
    expect(m.user((a) => a.in('ax', 0x67))).toBe('ok')
  })
  it('a port beyond the limit of the TSS is forbidden', () => {
    allow(0x80)
    m.vp.setSegment('tr', { selector: 0x30, base: BigInt(AT.TSS), limit: 0x68 + 0x10, attributes: 0x8b })
    expect(m.user((a) => a.out(0x80, 'al'))).toBe('#GP(0)')
    m.vp.setSegment('tr', { selector: 0x30, base: BigInt(AT.TSS), limit: 0x68 + 0x11, attributes: 0x8b })
    expect(m.user((a) => a.out(0x80, 'al'))).toBe('ok')
  })
  it('IOPL 3 allows all of it, CLI and STI too', () => {
    m.program(AT.USER_CODE, 64, (a) => a.cli().out(0x80, 'al').sti().int(0x80))
    m.set('rflags', 0x3202)
    m.startUser()
    expect(m.vectors).toEqual([0x80])
    expect((m.events[0]?.flags ?? 0) & 0x200).toBe(0x200)
  })
  it('POPF changes IF and IOPL only as far as the privilege goes', () => {
    const flagsAfter = (rflags: number, image: number): number => {
      m.events.length = 0
      m.program(AT.USER_CODE, 64, (a) => a.push(image).popf().int(0x80))
      m.set('rflags', rflags)
      m.startUser()
      return m.events[0]?.flags ?? 0
    }
    expect(flagsAfter(2, 0x3200)).toBe(2)
    expect(flagsAfter(0x202, 0)).toBe(0x202)
    expect(flagsAfter(0x3002, 0x200)).toBe(0x3202)
    expect(flagsAfter(2, RFLAGS.NT | RFLAGS.AC | 0x20_0000 | RFLAGS.CF)).toBe(
      RFLAGS.NT | RFLAGS.AC | 0x20_0000 | RFLAGS.CF | 2,
    )
    expect(flagsAfter(2, RFLAGS.RF | RFLAGS.VM | 0x18_0000)).toBe(2)
  })
  it('POPF of ring 0 changes all', () => {
    m.kernel((a) =>
      a
        .push(0x3000 | RFLAGS.NT)
        .popf()
        .pushf()
        .pop('rax')
        .out(0x80, 'eax')
        .push(2)
        .popf(),
    )
    expect(m.output(0x80)).toEqual([0x7002])
  })
})

describe('string I/O', () => {
  it('moves elements and leaves the registers right', () => {
    let next = 0
    m.portRead = () => 0x1111 * ++next
    m.kernel((a) => a.mov('edx', 0x1f0).mov('rdi', AT.DATA).mov('ecx', 600).rep().ins(16))
    expect(next).toBe(600)
    expect(m.read(AT.DATA, 4)).toBe(0x2222_1111)
    expect(m.read(AT.DATA + 1198, 2)).toBe((0x1111 * 600) & 0xffff)
    expect([m.get('rcx'), m.get('rdi')]).toEqual([0n, BigInt(AT.DATA + 1200)])
    m.kernel((a) =>
      a
        .mov('edx', 0x1f0)
        .mov('rsi', AT.DATA + 2)
        .mov('ecx', 2)
        .std()
        .rep()
        .outs(16)
        .cld(),
    )
    expect(m.output(0x1f0)).toEqual([0x2222, 0x1111])
    expect(m.get('rsi')).toBe(BigInt(AT.DATA - 2))
  })
  it('reads no port when the page cannot be written', () => {
    let reads = 0
    m.portRead = () => reads++
    m.setPage(AT.DATA + 0x1000, 0n)
    expect(
      m.kernel((a) =>
        a
          .mov('edx', 0x1f0)
          .mov('rdi', AT.DATA + 0xffc)
          .mov('ecx', 4)
          .rep()
          .ins(16),
      ),
    ).toBe('#PF(2)')
    expect(reads).toBe(2)
    expect([m.get('rcx'), m.get('rdi')]).toEqual([2n, BigInt(AT.DATA + 0x1000)])
  })
})

describe('control registers', () => {
  const rax =
    (value: number | bigint, write: Write): Write =>
    (a) => {
      a.mov('rax', value)
      write(a)
    }
  it.each<[string, Write, string]>([
    ['CR0: paging without protection', rax(0x8001_0032n, (a) => a.mov('cr0', 'rax')), '#GP(0)'],
    ['CR0: no paging in 64-bit mode', rax(0x1_0033, (a) => a.mov('cr0', 'rax')), '#GP(0)'],
    ['CR0: NW without CD', rax(0xa001_0033n, (a) => a.mov('cr0', 'rax')), '#GP(0)'],
    ['CR0: upper half', rax(0x1_8001_0033n, (a) => a.mov('cr0', 'rax')), '#GP(0)'],
    ['CR0: caches off', rax(0xc001_0033n, (a) => a.mov('cr0', 'rax')), 'ok'],
    ['CR3: above the physical address', rax(1n << 40n, (a) => a.mov('cr3', 'rax')), '#GP(0)'],
    ['CR3: bit 63 without PCIDs', rax((1n << 63n) | BigInt(AT.PML4), (a) => a.mov('cr3', 'rax')), '#GP(0)'],
    ['CR4: a reserved bit', rax(0x20 | (1 << 15), (a) => a.mov('cr4', 'rax')), '#GP(0)'],
    ['CR4: VMXE, which is not offered', rax(0x20 | (1 << 13), (a) => a.mov('cr4', 'rax')), '#GP(0)'],
    ['CR4: no PAE in long mode', rax(0, (a) => a.mov('cr4', 'rax')), '#GP(0)'],
    ['CR4: all that is offered', rax(0x37_0ef8 | 0x6c, (a) => a.mov('cr4', 'rax')), 'ok'],
    [
      'CR4: PCIDE with a PCID in CR3',
      (a) =>
        a
          .mov('eax', AT.PML4 | 8)
          .mov('cr3', 'rax')
          .mov('eax', 0x2_0020)
          .mov('cr4', 'rax'),
      '#GP(0)',
    ],
    [
      'CR3: bit 63 with PCIDs',
      (a) =>
        a
          .mov('eax', 0x2_0020)
          .mov('cr4', 'rax')
          .mov('rax', (1n << 63n) | BigInt(AT.PML4 | 5))
          .mov('cr3', 'rax')
          .mov('rbx', 'cr3'),
      'ok',
    ],
    ['CR8: more than 15', rax(16, (a) => a.bytes(0x44, 0x0f, 0x22, 0xc0)), '#GP(0)'],
    ['EFER: a reserved bit', (a) => a.mov('ecx', 0xc0000080).rdmsr().or('eax', 2).wrmsr(), '#GP(0)'],
    ['EFER: no LME while paging', (a) => a.mov('ecx', 0xc0000080).rdmsr().and('eax', ~0x100).wrmsr(), '#GP(0)'],
  ])('%s', (_, write, result) => {
    expect(m.kernel(write)).toBe(result)
  })
  it('bit 63 of CR3 is not kept', () => {
    m.kernel((a) =>
      a
        .mov('eax', 0x2_0020)
        .mov('cr4', 'rax')
        .mov('rax', (1n << 63n) | BigInt(AT.PML4 | 5))
        .mov('cr3', 'rax')
        .mov('rbx', 'cr3'),
    )
    expect(m.get('rbx')).toBe(BigInt(AT.PML4 | 5))
  })
  it('LMSW sets PE, MP, EM and TS and cannot clear PE; CLTS clears TS', () => {
    m.kernel((a) => a.mov('eax', 0xe).lmsw('eax').smsw('eax').out(0x80, 'eax').clts().smsw('eax').out(0x80, 'eax'))
    expect(m.output(0x80)).toEqual([0x8001003f, 0x80010037])
    const p = new SystemMachine('protected')
    p.kernel((a) => a.mov('eax', 0).lmsw('eax').smsw('eax').out(0x80, 'eax'))
    expect(p.output(0x80)).toEqual([0x31])
  })
  it('SSE and x87 instructions obey CR0 and CR4', () => {
    const sse: Write = (a) => a.bytes(0x0f, 0x57, 0xc0)
    expect(m.kernel(sse)).toBe('#UD')
    m.set('cr4', CR4.PAE | 0x200)
    expect(m.kernel(sse)).toBe('ok')
    m.set('cr0', 0x8001003bn)
    expect(m.kernel(sse)).toBe('#NM')
    expect(m.kernel((a) => a.bytes(0xd9, 0xee))).toBe('#NM')
    expect(m.kernel((a) => a.clts().bytes(0xd9, 0xee))).toBe('ok')
    m.set('cr0', 0x80010037n)
    expect(m.kernel(sse)).toBe('#UD')
    expect(m.kernel((a) => a.bytes(0xd9, 0xee))).toBe('#NM')
  })
})

describe('leaving long mode', () => {
  it('through compatibility mode', () => {
    m.program(AT.CODE, 64, (a) => {
      a.sub('rsp', 16).mov(mem('rsp'), 'rax')
      a.push(0x40)
        .push(AT.CODE + 0x100)
        .retf(64)
      a.fill(AT.CODE + 0x100 - a.here, 0x90).bits(32)
      a.mov('eax', 'cr0').and('eax', 0x7fff_ffff).mov('cr0', 'eax')
      a.mov('ecx', 0xc0000080).rdmsr().out(0x80, 'eax').mov('eax', 'cr0').out(0x81, 'eax').hlt()
    })
    expect(m.start()).toBe('halt')
    expect(m.output(0x80)).toEqual([0x901])
    expect(m.output(0x81)).toEqual([0x1_0033])
  })
})
