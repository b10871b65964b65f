// The state of a processor after power-on and after INIT (SDM vol. 3, table 9-1).

import { ACTIVITY, type Cpu, FLAG } from './cpu.ts'
import { SIGNATURE } from './cpuid.ts'
import { setDescriptorTable } from './register-access.ts'
import { GPR, SEGMENT, STATE } from './state-layout.ts'

export function resetProcessor(cpu: Cpu, kind: 'power-on' | 'init'): void {
  for (let r = 0; r < 16; r++) cpu.setGpr(r, 0n)
  cpu.setGpr(GPR.RDX, BigInt(SIGNATURE))
  cpu.set64(STATE.RIP, 0xfff0n)
  const caching = kind === 'init' ? cpu.get64(STATE.CR0) & 0x60000000n : 0x60000000n
  cpu.set64(STATE.CR0, caching | 0x10n)
  for (const field of [STATE.CR2, STATE.CR3, STATE.CR4, STATE.CR8, STATE.EFER]) cpu.set64(field, 0n)
  for (const s of [SEGMENT.ES, SEGMENT.SS, SEGMENT.DS, SEGMENT.FS, SEGMENT.GS]) cpu.setSegment(s, 0, 0n, 0xffff, 0x93)
  cpu.setSegment(SEGMENT.CS, 0xf000, 0xffff0000n, 0xffff, 0x9b)
  cpu.setSegment(SEGMENT.LDTR, 0, 0n, 0xffff, 0x82)
  cpu.setSegment(SEGMENT.TR, 0, 0n, 0xffff, 0x8b)
  setDescriptorTable(cpu, 'gdtr', 0n, 0xffff)
  setDescriptorTable(cpu, 'idtr', 0n, 0xffff)
  for (let n = 0; n < 4; n++) cpu.set64(STATE.DR0 + n * 8, 0n)
  cpu.set64(STATE.DR6, 0xffff0ff0n)
  cpu.set64(STATE.DR7, 0x400n)
  cpu.set32(STATE.CPL, 0)
  cpu.flags = FLAG.FIXED
  cpu.interruptShadow = false
  cpu.nmiBlocked = false
  cpu.activity =
    kind === 'init' && cpu.index !== 0
      ? ACTIVITY.WAIT_FOR_SIPI
      : cpu.index === 0
        ? ACTIVITY.RUNNING
        : ACTIVITY.WAIT_FOR_SIPI
  if (kind === 'power-on') {
    cpu.set64(STATE.XCR0, 1n)
    cpu.set32(STATE.MXCSR, 0x1f80)
    cpu.set32(STATE.X87_CONTROL, 0x40)
    cpu.set32(STATE.X87_STATUS, 0)
    cpu.set32(STATE.X87_TOP, 0)
    cpu.set32(STATE.X87_TAGS, 0xff)
    cpu.u8.fill(0, cpu.base + STATE.X87, cpu.base + STATE.SCRATCH)
    cpu.msrs.reset()
  }
  cpu.apic.reset(kind)
  cpu.mmu.watching = false
  cpu.mmu.flush(true)
  cpu.updateMode()
  cpu.updateUnits()
}
