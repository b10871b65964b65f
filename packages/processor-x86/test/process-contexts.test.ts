// Process-context identifiers (SDM vol. 3, 4.10.1 and 4.10.4): what MOV CR3, INVLPG and INVPCID keep and drop.
import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, PTE, SystemMachine } from './system-machine.ts'

const USER = AT.USER_DATA
const ENTRY = AT.PT + (USER / 4096) * 8
const KEEP = 1n << 63n
const OLD = 0x1111
const NEW = 0x2222

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
  m.write32(USER, OLD)
  m.write32(USER + 0x1000, NEW)
  m.set('cr4', CR4.PAE | CR4.PGE | CR4.PCIDE | CR4.SMAP)
})

const stac = (a: Assembler): Assembler => a.bytes(0x0f, 0x01, 0xcb)
const context = (a: Assembler, pcid: number, keep = false): Assembler =>
  a.mov('rax', BigInt(AT.PML4 | pcid) | (keep ? KEEP : 0n)).mov('cr3', 'rax')
const look = (a: Assembler): Assembler => a.mov('eax', mem(USER)).out(0x80, 'eax')
/** The user page goes elsewhere, and no translation is dropped. */
const move = (a: Assembler, bits = 7): Assembler => a.mov('rax', (USER + 0x1000) | bits).mov(mem(ENTRY), 'rax')
const invpcid = (a: Assembler, type: number, pcid: number, address = 0): Assembler =>
  a.push(address).push(pcid).mov('eax', type).bytes(0x66, 0x0f, 0x38, 0x82, 0x04, 0x24).add('rsp', 16)

function seen(write: (a: Assembler) => unknown): number[] {
  expect(m.kernel((a) => write(stac(a)))).toBe('ok')
  return m.output(0x80)
}

describe('MOV CR3', () => {
  it('with bit 63 keeps the translations of a PCID, and shows them to no other', () => {
    expect(
      seen((a) => {
        look(context(a, 1))
        move(a)
        look(context(a, 2, true))
        look(context(a, 1, true))
        look(context(a, 1))
      }),
    ).toEqual([OLD, NEW, OLD, NEW])
    expect(m.get('cr3')).toBe(BigInt(AT.PML4 | 1))
  })
  it('without it leaves other PCIDs alone', () => {
    expect(
      seen((a) => {
        look(context(a, 1))
        move(a)
        context(a, 2)
        look(context(a, 1, true))
      }),
    ).toEqual([OLD, OLD])
  })
  it('translates right with more PCIDs than are kept', () => {
    const outputs = seen((a) => {
      for (let pcid = 1; pcid <= 20; pcid++) look(context(a, pcid, true))
      move(a)
      for (let pcid = 21; pcid <= 40; pcid++) look(context(a, pcid, true))
      look(context(a, 1, true))
    })
    expect(outputs).toEqual([...new Array<number>(20).fill(OLD), ...new Array<number>(21).fill(NEW)])
  })
  it("keeps the supervisor's own pages with their PCID, too", () => {
    const entry = AT.PT + (AT.DATA / 4096) * 8
    m.write32(AT.DATA, OLD)
    m.write32(AT.DATA + 0x1000, NEW)
    expect(
      seen((a) => {
        context(a, 1).mov('eax', mem(AT.DATA)).out(0x80, 'eax')
        a.mov('rax', AT.DATA + 0x1003).mov(mem(entry), 'rax')
        context(a, 2, true).mov('eax', mem(AT.DATA)).out(0x80, 'eax')
      }),
    ).toEqual([OLD, NEW])
  })
  it('is the same for code', () => {
    m.set('cr4', CR4.PAE | CR4.PGE | CR4.PCIDE)
    m.program(USER, 64, (a) => a.mov('eax', 1).ret())
    m.program(USER + 0x1000, 64, (a) => a.mov('eax', 2).ret())
    const run = (a: Assembler): Assembler => a.mov('rbx', USER).call('rbx').out(0x80, 'eax')
    expect(
      m.kernel((a) => {
        run(context(a, 1))
        move(a)
        run(context(a, 2, true))
        run(context(a, 3))
      }),
    ).toBe('ok')
    expect(m.output(0x80)).toEqual([1, 2, 2])
  })
})

describe('a global page', () => {
  it('stays until it is invalidated, in all PCIDs', () => {
    m.setPage(USER, BigInt(USER) | 7n | PTE.G)
    expect(
      seen((a) => {
        look(context(a, 1))
        look(context(a, 2))
        move(a, 0x107)
        look(context(a, 1))
        a.invlpg(mem(USER))
        look(a)
        look(context(a, 2, true))
      }),
    ).toEqual([OLD, OLD, OLD, NEW, NEW])
  })
  it('that becomes a local one is dropped like any other', () => {
    m.setPage(USER, BigInt(USER) | 7n | PTE.G)
    expect(
      seen((a) => {
        look(context(a, 1))
        a.mov('rax', USER | 7)
          .mov(mem(ENTRY), 'rax')
          .invlpg(mem(USER))
        look(a)
        move(a)
        look(a)
        look(context(a, 1))
      }),
    ).toEqual([OLD, OLD, OLD, NEW])
  })
  it('that was a local one stays', () => {
    expect(
      seen((a) => {
        look(context(a, 1))
        a.mov('rax', USER | 0x107)
          .mov(mem(ENTRY), 'rax')
          .invlpg(mem(USER))
        look(a)
        move(a, 0x107)
        look(context(a, 1))
      }),
    ).toEqual([OLD, OLD, OLD])
  })
})

describe('INVLPG', () => {
  it('is for the present PCID', () => {
    expect(
      seen((a) => {
        look(context(a, 2))
        look(context(a, 1))
        move(a)
        a.invlpg(mem(USER))
        look(a)
        look(context(a, 2, true))
      }),
    ).toEqual([OLD, OLD, NEW, OLD])
  })
})

describe('INVPCID', () => {
  it.each([
    ['one address', 0, 2, USER, [OLD, OLD, NEW]],
    ['one address of another PCID', 0, 1, USER, [OLD, OLD, OLD]],
    ['one PCID', 1, 2, 0, [OLD, OLD, NEW]],
    ['another PCID', 1, 3, 0, [OLD, OLD, OLD]],
    ['all', 2, 0, 0, [OLD, OLD, NEW]],
    ['all but global pages', 3, 0, 0, [OLD, OLD, NEW]],
  ])('of %s', (_, type, pcid, address, expected) => {
    expect(
      seen((a) => {
        look(context(a, 2))
        look(context(a, 1))
        move(a)
        invpcid(a, type, pcid, address)
        look(context(a, 2, true))
      }),
    ).toEqual(expected)
  })
  it.each([
    ['one PCID', 1, 1],
    ['all but global pages', 3, 0],
  ])('of %s keeps global pages', (_, type, pcid) => {
    m.setPage(USER, BigInt(USER) | 7n | PTE.G)
    expect(
      seen((a) => {
        look(context(a, 1))
        move(a, 0x107)
        look(invpcid(a, type, pcid))
      }),
    ).toEqual([OLD, OLD])
  })
})
