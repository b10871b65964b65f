// The processor states that boot protocols ask for: long mode with an identity map (Linux/x86 boot protocol, "64-bit boot protocol")
// and flat 32-bit protected mode (Multiboot 0.6.96, section 3.2; Multiboot2 2.0, section 3.2).

import { GENERAL_REGISTERS, type GuestMemory, type RegisterName, type SegmentName } from '@partita/interface'
import type { BootProcessor } from './boot.ts'
import { viewOf } from './bytes.ts'
import { store } from './physical-memory.ts'

/** Segment attributes as the contract lays them out: access byte, then AVL, L, D/B and G from bit 12. */
const CODE64 = 0xa09b
const CODE32 = 0xc09b
const DATA = 0xc093
const BUSY_TSS32 = 0x008b
const UNUSABLE = 0x1_0000
/** The same segments as descriptors, with base 0 and limit 0xFFFFF pages. */
const CODE64_DESCRIPTOR = 0x00af_9b00_0000_ffffn
const CODE32_DESCRIPTOR = 0x00cf_9b00_0000_ffffn
const DATA_DESCRIPTOR = 0x00cf_9300_0000_ffffn

const CODE_SELECTOR = 0x10
const DATA_SELECTOR = 0x18
const GDT_ENTRIES = 4

const CR0_PE = 1n
const CR0_ET = 1n << 4n
const CR0_PG = 1n << 31n
const CR4_PAE = 1n << 5n
const EFER_LME = 1n << 8n
const EFER_LMA = 1n << 10n

const DATA_SEGMENTS: readonly SegmentName[] = ['ds', 'es', 'ss', 'fs', 'gs']

/** Pages that {@link writeIdentityMap} needs. */
const IDENTITY_MAP_PAGES = 6

/** Map the first 4 GiB to themselves with 2 MiB pages: one PML4, one PDPT, four page directories, from `gpa` on. */
export function writeIdentityMap(memory: GuestMemory, gpa: number): void {
  const tables = new Uint8Array(IDENTITY_MAP_PAGES * 0x1000)
  const view = viewOf(tables)
  const PRESENT_WRITABLE = 0x3n
  const LARGE = 0x80n
  view.setBigUint64(0, BigInt(gpa + 0x1000) | PRESENT_WRITABLE, true)
  for (let gigabyte = 0; gigabyte < 4; gigabyte++) {
    const directory = 0x2000 + gigabyte * 0x1000
    view.setBigUint64(0x1000 + gigabyte * 8, BigInt(gpa + directory) | PRESENT_WRITABLE, true)
    for (let entry = 0; entry < 512; entry++) {
      const address = BigInt(gigabyte * 512 + entry) << 21n
      view.setBigUint64(directory + entry * 8, address | PRESENT_WRITABLE | LARGE, true)
    }
  }
  store(memory, gpa, tables, 'The page table')
}

/** Where a loader has put what the processor starts with, and where it starts. */
export interface EntryState {
  readonly entry: number
  /** Guest physical address for a GDT of 32 bytes. */
  readonly gdt: number
  /** Registers that are not 0. */
  readonly registers: Readonly<Partial<Record<RegisterName, number>>>
}

/** 64-bit mode: CS 0x10, data segments 0x18, paging with the tables at `pageTable`, interrupts off. */
export function enterLongMode(memory: GuestMemory, vp: BootProcessor, state: EntryState, pageTable: number): void {
  writeGdt(memory, state.gdt, CODE64_DESCRIPTOR)
  vp.setRegister('cr0', CR0_PE | CR0_ET)
  vp.setRegister('cr3', BigInt(pageTable))
  vp.setRegister('cr4', CR4_PAE)
  vp.setRegister('efer', EFER_LME | EFER_LMA)
  vp.setRegister('cr0', CR0_PE | CR0_ET | CR0_PG)
  setState(vp, state, CODE64)
}

/** Flat 32-bit protected mode without paging: CS 0x10, data segments 0x18, interrupts off. */
export function enterProtectedMode(memory: GuestMemory, vp: BootProcessor, state: EntryState): void {
  writeGdt(memory, state.gdt, CODE32_DESCRIPTOR)
  vp.setRegister('cr0', CR0_PE | CR0_ET)
  vp.setRegister('cr3', 0n)
  vp.setRegister('cr4', 0n)
  vp.setRegister('efer', 0n)
  setState(vp, state, CODE32)
}

function writeGdt(memory: GuestMemory, gpa: number, code: bigint): void {
  const gdt = new Uint8Array(GDT_ENTRIES * 8)
  const view = viewOf(gdt)
  view.setBigUint64(CODE_SELECTOR, code, true)
  view.setBigUint64(DATA_SELECTOR, DATA_DESCRIPTOR, true)
  store(memory, gpa, gdt, 'The descriptor table')
}

function setState(vp: BootProcessor, state: EntryState, code: number): void {
  vp.setDescriptorTable('gdtr', BigInt(state.gdt), GDT_ENTRIES * 8 - 1)
  // An exception before the kernel has a table of its own is a triple fault, and not an accident in low memory.
  vp.setDescriptorTable('idtr', 0n, 0)
  vp.setSegment('cs', { selector: CODE_SELECTOR, base: 0n, limit: 0xffff_ffff, attributes: code })
  for (const name of DATA_SEGMENTS) {
    vp.setSegment(name, { selector: DATA_SELECTOR, base: 0n, limit: 0xffff_ffff, attributes: DATA })
  }
  vp.setSegment('tr', { selector: 0, base: 0n, limit: 0xffff, attributes: BUSY_TSS32 })
  vp.setSegment('ldtr', { selector: 0, base: 0n, limit: 0, attributes: UNUSABLE })
  for (const name of GENERAL_REGISTERS) vp.setRegister(name, BigInt(state.registers[name] ?? 0))
  vp.setRegister('cr2', 0n)
  vp.setRegister('rflags', 2n)
  vp.setRegister('rip', BigInt(state.entry))
}
