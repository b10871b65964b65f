// Paging (SDM vol. 3, chapter 4): rights and error codes, restart of faulting instructions, accessed and dirty bits, invalidation.
import { mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, PTE, SystemMachine } from './system-machine.ts'

const P = 1
const W = 2
const U = 4
const RSVD = 8
const I = 16
const KERNEL = AT.DATA
const USER = AT.USER_DATA

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})

describe('rights of a page', () => {
  const readOnly = BigInt(KERNEL) | PTE.P
  it.each([
    ['read of a page that is not there', 'kernel', 'read', KERNEL, 0n, `#PF(0)`],
    ['write of a page that is not there', 'kernel', 'write', KERNEL, 0n, `#PF(${W})`],
    ['user read of a page that is not there', 'user', 'read', KERNEL, 0n, `#PF(${U})`],
    ['user write of a page that is not there', 'user', 'write', KERNEL, 0n, `#PF(${U | W})`],
    ['user read of a supervisor page', 'user', 'read', KERNEL, BigInt(KERNEL) | 3n, `#PF(${U | P})`],
    ['user write of a supervisor page', 'user', 'write', KERNEL, BigInt(KERNEL) | 3n, `#PF(${U | W | P})`],
    ['user write of a read-only page', 'user', 'write', USER, BigInt(USER) | 5n, `#PF(${U | W | P})`],
    ['user read of a read-only page', 'user', 'read', USER, BigInt(USER) | 5n, 'ok'],
    ['supervisor read of a user page', 'kernel', 'read', USER, BigInt(USER) | 7n, 'ok'],
    ['supervisor write of a user page', 'kernel', 'write', USER, BigInt(USER) | 7n, 'ok'],
    ['supervisor write of a read-only page, WP clear', 'kernel', 'write', KERNEL, readOnly, 'ok'],
    [
      'a reserved physical address bit',
      'kernel',
      'read',
      KERNEL,
      BigInt(KERNEL) | 3n | (1n << 45n),
      `#PF(${RSVD | P})`,
    ],
    ['the highest physical address bit', 'kernel', 'read', KERNEL, BigInt(KERNEL) | 3n | (1n << 39n), 'ok'],
    [
      'user write and a reserved bit',
      'user',
      'write',
      USER,
      BigInt(USER) | 7n | (1n << 51n),
      `#PF(${RSVD | U | W | P})`,
    ],
  ] as const)('%s', (_, ring, access, address, entry, result) => {
    m.set('cr0', 0x80000033)
    m.setPage(address, entry)
    expect(m[ring]((a) => (access === 'read' ? a.mov('eax', mem(address)) : a.mov(mem(address), 'eax')))).toBe(result)
    if (result !== 'ok') {
      expect(m.events[0]?.cr2).toBe(BigInt(address))
      expect(m.events[0]?.rip).toBe(ring === 'kernel' ? AT.CODE : AT.USER_CODE)
    }
  })

  it('CR0.WP holds for the supervisor', () => {
    m.setPage(KERNEL, BigInt(KERNEL) | PTE.P)
    expect(m.kernel((a) => a.mov(mem(KERNEL), 'eax'))).toBe(`#PF(${W | P})`)
  })
  it('the rights of all levels count', () => {
    m.write64(AT.PD, BigInt(AT.PT) | 3n)
    expect(m.user((a) => a.nop())).toBe(`#PF(${U | P | I})`)
  })
  it('an upper level with a reserved bit', () => {
    m.write64(AT.PD, BigInt(AT.PT) | 7n | (1n << 50n))
    expect(m.vp.cpu.mmu.walk(AT.CODE, 0, 0, false, false)).toBe(false)
    expect(m.vp.cpu.mmu.errorCode).toBe(RSVD | P)
  })
  it('a large page with reserved address bits', () => {
    m.write64(AT.PD + 16, 0x40_2083n)
    expect(m.kernel((a) => a.mov('eax', mem(0x40_0000)))).toBe(`#PF(${RSVD | P})`)
  })
  it('non-canonical addresses are #GP(0), with the stack #SS(0)', () => {
    expect(m.kernel((a) => a.mov('rbx', 0x8000_0000_0000n).mov('eax', mem('rbx')))).toBe('#GP(0)')
    expect(m.kernel((a) => a.mov('rbp', 0x8000_0000_0000n).mov('eax', mem('rbp')))).toBe('#SS(0)')
    expect(m.kernel((a) => a.mov('rbx', 0x7fff_ffff_fffdn).mov('eax', mem('rbx')))).toBe('#GP(0)')
  })
})

describe('execution', () => {
  it('NX, with the fetch bit in the error code', () => {
    m.setPage(USER, BigInt(USER) | 7n | PTE.NX)
    expect(m.user((a) => a.mov('rax', USER).jmp('rax'))).toBe(`#PF(${U | P | I})`)
    expect(m.events[0]?.rip).toBe(USER)
    expect(m.events[0]?.cr2).toBe(BigInt(USER))
  })
  it('NX is a reserved bit without EFER.NXE', () => {
    m.set('efer', 0x501)
    m.setPage(USER, BigInt(USER) | 7n | PTE.NX)
    expect(m.user((a) => a.mov('eax', mem(USER)))).toBe(`#PF(${U | P | RSVD})`)
  })
  it('SMEP keeps the supervisor out of user code', () => {
    m.program(USER, 64, (a) => a.hlt())
    expect(m.kernel((a) => a.mov('rax', USER).jmp('rax'))).toBe('ok')
    m.set('cr4', CR4.PAE | CR4.SMEP)
    expect(m.kernel((a) => a.mov('rax', USER).jmp('rax'))).toBe(`#PF(${P | I})`)
  })
  it('an instruction across two pages faults at the second, and is restarted', () => {
    const at = USER + 0x1000 - 2
    m.program(at, 64, (a) => a.mov('eax', 0x12345678).int(0x80))
    m.setPage(USER + 0x1000, 0n)
    m.resume = (event) => {
      if (event.vector !== 14) return undefined
      expect(event.cr2).toBe(BigInt(USER + 0x1000))
      expect(event.rip).toBe(at)
      expect(event.error).toBe(U | I)
      m.setPage(USER + 0x1000, BigInt(USER + 0x1000) | 7n)
      return event.rip
    }
    m.user((a) => a.mov('rax', at).jmp('rax'))
    expect(m.vectors).toEqual([14, 0x80])
    expect(m.get('rax')).toBe(0x12345678n)
  })
})

describe('SMAP', () => {
  beforeEach(() => m.set('cr4', CR4.PAE | CR4.SMAP))

  it('keeps the supervisor from user data', () => {
    expect(m.kernel((a) => a.mov('eax', mem(USER)))).toBe(`#PF(${P})`)
    expect(m.kernel((a) => a.mov(mem(USER), 'eax'))).toBe(`#PF(${P | W})`)
  })
  it('but not with EFLAGS.AC, which STAC sets and CLAC clears', () => {
    expect(m.kernel((a) => a.bytes(0x0f, 0x01, 0xcb).mov(mem(USER), 'eax'))).toBe('ok')
    expect(
      m.kernel((a) => a.bytes(0x0f, 0x01, 0xcb).mov('eax', mem(USER)).bytes(0x0f, 0x01, 0xca).mov('eax', mem(USER))),
    ).toBe(`#PF(${P})`)
  })
  it('nor in ring 3, where STAC is undefined', () => {
    expect(m.user((a) => a.mov('eax', mem(USER)))).toBe('ok')
    expect(m.user((a) => a.bytes(0x0f, 0x01, 0xcb))).toBe('#UD')
  })
})

describe('restart', () => {
  it('an instruction with two memory operands changes nothing when the second faults', () => {
    m.setPage(USER + 0x1000, 0n)
    m.write32(USER + 0xffc, 0x11111111)
    const state: bigint[] = []
    m.resume = (event) => {
      if (event.vector !== 14) return undefined
      state.push(m.get('rsi'), m.get('rdi'), m.get('rcx'))
      m.setPage(USER + 0x1000, BigInt(USER + 0x1000) | 7n)
      return event.rip
    }
    m.user((a) =>
      a
        .mov('rsi', USER)
        .mov('rdi', USER + 0xff0)
        .mov('ecx', 8)
        .rep()
        .movs(32),
    )
    // four elements went before the fault
    expect(state).toEqual([BigInt(USER + 16), BigInt(USER + 0x1000), 4n])
    expect(m.vectors).toEqual([14, 0x80])
    expect(m.get('rcx')).toBe(0n)
  })
  it('PUSH leaves RSP, and a read-modify-write its operand', () => {
    m.setPage(AT.USER_STACK - 0x1000, BigInt(AT.USER_STACK - 0x1000) | 5n)
    expect(m.user((a) => a.push('rax'))).toBe(`#PF(${U | W | P})`)
    expect(m.events[0]?.rsp).toBe(AT.USER_STACK)
    expect(m.events[0]?.cr2).toBe(BigInt(AT.USER_STACK - 8))
    m.setPage(USER, BigInt(USER) | 5n)
    expect(m.user((a) => a.stc().add(mem(USER), 'eax'))).toBe(`#PF(${U | W | P})`)
    expect((m.events[0]?.flags ?? 0) & 1).toBe(1)
  })
  it('a store across two pages writes nothing when the second page is missing', () => {
    m.setPage(USER + 0x1000, 0n)
    m.write32(USER + 0xffc, 0)
    expect(m.user((a) => a.mov('eax', -1).mov(mem(USER + 0xffe), 'eax'))).toBe(`#PF(${U | W})`)
    expect(m.events[0]?.cr2).toBe(BigInt(USER + 0x1000))
    expect(m.read(USER + 0xffc, 4)).toBe(0)
  })
})

describe('accessed and dirty bits', () => {
  it('a read sets A on the way, a write D on the page', () => {
    m.kernel((a) => a.mov('eax', mem(KERNEL)))
    expect(m.page(KERNEL) & (PTE.A | PTE.D)).toBe(PTE.A)
    expect(m.read64(AT.PD) & PTE.A).toBe(PTE.A)
    expect(m.read64(AT.PML4) & PTE.A).toBe(PTE.A)
    m.kernel((a) => a.mov('eax', mem(KERNEL)).mov(mem(KERNEL), 'eax'))
    expect(m.page(KERNEL) & (PTE.A | PTE.D)).toBe(PTE.A | PTE.D)
  })
  it('a large page has its own', () => {
    m.kernel((a) => a.mov(mem(0x20_0000), 'eax'))
    expect(m.read64(AT.PD + 8) & (PTE.A | PTE.D)).toBe(PTE.A | PTE.D)
  })
  it('a fault sets neither', () => {
    m.setPage(USER, BigInt(USER) | 5n)
    m.user((a) => a.mov(mem(USER), 'eax'))
    expect(m.page(USER) & PTE.D).toBe(0n)
  })
})

describe('invalidation', () => {
  /** Read twice with the page moved between the reads, and what `between` does. */
  function moved(between: (a: import('@partita/testkit/assembler').Assembler) => unknown, global = false): number[] {
    m.write32(KERNEL, 0x1111)
    m.write32(KERNEL + 0x1000, 0x2222)
    m.set('cr4', CR4.PAE | CR4.PGE)
    m.setPage(KERNEL, BigInt(KERNEL) | 3n | (global ? PTE.G : 0n))
    const entry = AT.PT + (KERNEL / 4096) * 8
    const result = m.kernel((a) => {
      a.mov('eax', mem(KERNEL)).out(0x80, 'eax')
      a.mov('rax', KERNEL + 0x1000 + 3 + (global ? 0x100 : 0)).mov(mem(entry), 'rax')
      between(a)
      a.mov('eax', mem(KERNEL)).out(0x80, 'eax')
    })
    expect(result).toBe('ok')
    return m.output(0x80)
  }
  it('INVLPG', () => expect(moved((a) => a.invlpg(mem(KERNEL + 8)))).toEqual([0x1111, 0x2222]))
  it('INVLPG of a global page', () => expect(moved((a) => a.invlpg(mem(KERNEL)), true)).toEqual([0x1111, 0x2222]))
  it('a write of CR3', () => expect(moved((a) => a.mov('rax', 'cr3').mov('cr3', 'rax'))).toEqual([0x1111, 0x2222]))
  it('a write of CR3 keeps global pages', () => {
    expect(moved((a) => a.mov('rax', 'cr3').mov('cr3', 'rax'), true)).toEqual([0x1111, 0x1111])
  })
  it('a change of CR4.PGE drops them', () => {
    expect(moved((a) => a.mov('rax', 'cr4').xor('rax', CR4.PGE).mov('cr4', 'rax'), true)).toEqual([0x1111, 0x2222])
  })
  it('INVPCID of all with global pages', () => {
    expect(moved((a) => a.mov('eax', 2).sub('rsp', 16).bytes(0x66, 0x0f, 0x38, 0x82, 0x04, 0x24), true)).toEqual([
      0x1111, 0x2222,
    ])
  })
  it('INVLPG anywhere in a large page drops all of it', () => {
    m.write32(0x20_1000, 0x1111)
    m.write32(0x40_1000, 0x2222)
    m.kernel((a) => {
      a.mov('eax', mem(0x20_1000)).out(0x80, 'eax')
      a.mov('rax', 0x40_0083).mov(mem(AT.PD + 8), 'rax')
      a.invlpg(mem(0x20_f000))
      a.mov('eax', mem(0x20_1000)).out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([0x1111, 0x2222])
  })
  it('code that was moved is fetched anew', () => {
    m.program(AT.DATA, 64, (a) => a.mov('eax', 1).ret())
    m.program(AT.DATA + 0x1000, 64, (a) => a.mov('eax', 2).ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA).call('rbx').out(0x80, 'eax')
      a.mov('rax', AT.DATA + 0x1003).mov(mem(AT.PT + (AT.DATA / 4096) * 8), 'rax')
      a.invlpg(mem(AT.DATA))
      a.call('rbx').out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([1, 2])
  })
})

describe('other paging modes', () => {
  it('1 GiB pages', () => {
    m.write64(AT.PDPT + 8, 0x83n)
    m.write32(AT.DATA, 0xabcd)
    m.kernel((a) => a.mov('eax', mem(0x4000_0000 + AT.DATA)).out(0x80, 'eax'))
    expect(m.output(0x80)).toEqual([0xabcd])
  })
  it('32-bit paging with pages of 4 KiB and 4 MiB', () => {
    const p = new SystemMachine('protected')
    p.write32(AT.PML4, 0x83 | 4)
    p.write32(AT.PML4 + 4, AT.PT | 7)
    p.write32(AT.PT, AT.DATA | 5)
    p.set('cr4', 0x10)
    p.set('cr3', AT.PML4)
    p.set('cr0', 0x80010033)
    p.write32(AT.DATA, 0x5555)
    expect(p.kernel((a) => a.mov('eax', mem(0x40_0000)).out(0x80, 'eax'))).toBe('ok')
    expect(p.output(0x80)).toEqual([0x5555])
    expect(p.kernel((a) => a.mov(mem(0x40_0000), 'eax'))).toBe(`#PF(${W | P})`)
    expect(p.kernel((a) => a.mov('eax', mem(0x40_1000)))).toBe('#PF(0)')
    expect(p.user((a) => a.mov(mem(0x40_0000), 'eax'))).toBe(`#PF(${U | W | P})`)
  })
  it('PAE paging, whose PDPTEs have no rights', () => {
    const p = new SystemMachine('protected')
    p.write64(AT.PDPT, BigInt(AT.PD) | 1n)
    p.write64(AT.PD, 0x83n | 4n)
    p.write64(AT.PD + 8, BigInt(AT.PT) | 7n)
    p.write64(AT.PT, BigInt(AT.DATA) | 7n | PTE.NX)
    p.set('cr4', CR4.PAE)
    p.set('cr3', AT.PDPT)
    p.set('efer', 0x800)
    p.set('cr0', 0x80010033)
    p.write32(AT.DATA, 0x6666)
    expect(p.user((a) => a.mov('eax', mem(0x20_0000)).mov('ebx', 'eax'))).toBe('ok')
    expect(p.get('rbx')).toBe(0x6666n)
    expect(p.user((a) => a.mov('eax', 0x20_0000).jmp('eax'))).toBe(`#PF(${U | P | I})`)
    expect(p.kernel((a) => a.mov('eax', mem(0x4000_0000)))).toBe('#PF(0)')
  })
})
