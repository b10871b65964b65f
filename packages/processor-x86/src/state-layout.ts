// Where a virtual processor's state lies in the partition's WebAssembly memory. All offsets are relative to the VP's state area, which is
// a constant of the code generated for that VP.

/** Numbers of the general registers as instructions encode them. */
export const GPR = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const

/** Segment register numbers as instructions encode them (SDM vol. 2, table 2-1 "sreg"). */
export const SEGMENT = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const

/**
 * The register file: what an address or an operand can name with one byte, so that an effective address needs no branch.
 * Sixteen general registers, then pseudo registers.
 */
export const FILE = {
  GPR: 0,
  /** Always 0: the base, index or segment base that an address does not have. */
  ZERO: 128,
  /** RIP of the first instruction of the current block. */
  BLOCK_RIP: 136,
  /** The constant 4096, for RIP-relative displacements that would overflow. */
  PAGE: 144,
  /** Segment bases, 8 bytes each, ES CS SS DS FS GS. */
  SEGMENT_BASE: 152,
} as const

/** Offsets in a VP's state area. */
export const STATE = {
  /** 8 bytes each; see {@link FILE}. */
  FILE: 0,
  /** i64: RIP when no block is running, and where control goes after a block ended. In legacy modes EIP. */
  RIP: 256,
  /** The lazy flags, i64 each: see `instruction/flags.ts`. */
  FLAG_X: 264,
  FLAG_Y: 272,
  FLAG_S: 280,
  FLAG_ZERO: 288,
  FLAG_SIGN: 296,
  /** i32: the bits of EFLAGS other than CF PF AF ZF SF OF and DF. */
  FLAGS_REST: 304,
  /** i32: 0 (DF clear) or 1 (DF set). */
  DIRECTION: 308,
  /** i32: the pending exception's vector, its error code, whether it has one. */
  FAULT_VECTOR: 312,
  FAULT_ERROR: 316,
  /** i64: linear address of a page fault (becomes CR2), or DR6 bits of a debug exception. */
  FAULT_ADDRESS: 320,
  /** i32: current privilege level. */
  CPL: 328,
  /** i32: not 0 when `run` shall return to its caller at the end of the block. */
  EXIT_REQUEST: 332,
  /** i32: record of the instruction that left `run`. */
  RECORD: 336,
  /** i32: offset in the memory of the TLB in use (see CACHES). */
  CONTEXT: 340,
  /** i32: instructions left in this slice. */
  BUDGET: 344,
  /** i32: bits that decide how code is decoded: see `decoder/mode.ts`. */
  MODE: 348,
  /** i64 each. */
  CR0: 352,
  CR2: 360,
  CR3: 368,
  CR4: 376,
  CR8: 384,
  EFER: 392,
  XCR0: 400,
  /** i64 each: DR0–DR3, DR6, DR7. */
  DR0: 408,
  DR6: 440,
  DR7: 448,
  /** i64: instructions executed. */
  INSTRUCTIONS: 456,
  /** i32: not 0 while a legacy-mode address broke a segment limit or type: vector of the fault (12 or 13) that the access shall raise. */
  SEGMENT_FAULT: 464,
  /** i32: stack address mask in legacy modes: 0xFFFF or 0xFFFFFFFF. */
  STACK_MASK: 468,
  /** Per segment register ES…TR 16 bytes: u32 selector, u32 attributes, u32 limit (bytes, granularity applied), u32 unused. Bases are in the register file; LDTR's and TR's follow. */
  SEGMENTS: 480,
  LDTR_BASE: 608,
  TR_BASE: 616,
  GDTR_BASE: 624,
  GDTR_LIMIT: 632,
  IDTR_BASE: 640,
  IDTR_LIMIT: 648,
  /** i32: MXCSR. */
  MXCSR: 656,
  /** i32 each: x87 control word, status word without TOP, TOP (0–7), tag bits (bit n set: physical register n is in use). */
  X87_CONTROL: 660,
  X87_STATUS: 664,
  X87_TOP: 668,
  X87_TAGS: 672,
  /** i32: last x87 opcode (11 bits); i64 each: last instruction and data pointer; i32 selectors. */
  X87_OPCODE: 676,
  X87_INSTRUCTION: 680,
  X87_DATA: 688,
  X87_CS: 696,
  X87_DS: 700,
  /** Eight x87 registers R0–R7 by physical number, 16 bytes each: u64 significand, u16 sign and exponent. MMn is the significand of Rn. */
  X87: 704,
  /** Sixteen XMM registers, 16 bytes each. */
  XMM: 832,
  /** 64 bytes: values on their way through a slow path (page-crossing and MMIO accesses). */
  SCRATCH: 1088,
  /** i64 each: the MSRs that fast system calls, SWAPGS and RDTSCP use. The other MSRs live in JavaScript. */
  KERNEL_GS_BASE: 1152,
  STAR: 1160,
  LSTAR: 1168,
  CSTAR: 1176,
  SFMASK: 1184,
  SYSENTER_CS: 1192,
  SYSENTER_ESP: 1200,
  SYSENTER_EIP: 1208,
  TSC_AUX: 1216,
  /** i32: x87 exceptions of a conversion, between its calculation and its store. */
  X87_FLAGS: 1224,
  /** i32: offset in the memory of the jump cache in use. */
  JUMPS: 1228,
  /** i32 each: what CONTEXT is for the supervisor with EFLAGS.AC, and for the user without. */
  CONTEXT_ACCESS: 1232,
  CONTEXT_USER: 1236,
  /** i32: what JUMPS is for the user. */
  JUMPS_USER: 1240,
  /** i32: 0 when no interrupt waits for EFLAGS.IF. Not 0 when one may. */
  INTERRUPT_WAITING: 1244,
  /** i64: RIP after the last STI that set EFLAGS.IF since `run` was entered; not canonical when there was none. */
  SHADOW: 1248,
  /** i64: added to the clock's count, the time-stamp counter. */
  TSC_OFFSET: 1256,
  /** i32: vector of the exception that SSE instructions raise by CR0.EM, CR0.TS and CR4.OSFXSR (#UD or #NM), 0 none. */
  SSE_FAULT: 1264,
  /** i32: instructions left in this slice for translated code, beside BUDGET. */
  RESERVE: 1268,
  END: 1280,
} as const

/** Bytes of the state area; the caches follow it. */
export const STATE_AREA = 4096

/**
 * A TLB, direct-mapped by linear page: entries of 16 bytes, i64 linear page address, i32 offset in memory, i32 flags (see `translation-cache.ts`); first those
 * for reads, then those for writes.
 */
export const TLB_ENTRIES = 4096
export const TLB: { readonly READ: number; readonly WRITE: number; readonly SIZE: number } = {
  READ: 0,
  WRITE: TLB_ENTRIES * 16,
  SIZE: TLB_ENTRIES * 32,
}
/** A jump cache, direct-mapped by RIP (its bits exclusive-or those from bit 12 on): entries of 16 bytes, i64 RIP, i32 record, i32 flags. */
export const JUMP_ENTRIES = 32768
const JUMP_SIZE = JUMP_ENTRIES * 16

/** Process contexts whose translations are kept. */
export const CONTEXT_SETS = 8
/**
 * The caches, relative to the state area's end. The supervisor's are shared by all process contexts; each set has a TLB of the supervisor with access to user
 * pages (EFLAGS.AC under SMAP), and a TLB and a jump cache of the user. UNUSED is a TLB that never holds anything.
 */
export const CACHES: {
  readonly SUPERVISOR: number
  readonly SUPERVISOR_JUMPS: number
  readonly UNUSED: number
  readonly SETS: number
  readonly SET: { readonly ACCESS: number; readonly USER: number; readonly USER_JUMPS: number; readonly SIZE: number }
  readonly SIZE: number
} = {
  SUPERVISOR: 0,
  SUPERVISOR_JUMPS: TLB.SIZE,
  UNUSED: TLB.SIZE + JUMP_SIZE,
  SETS: 2 * TLB.SIZE + JUMP_SIZE,
  SET: { ACCESS: 0, USER: TLB.SIZE, USER_JUMPS: 2 * TLB.SIZE, SIZE: 2 * TLB.SIZE + JUMP_SIZE },
  SIZE: (1 + CONTEXT_SETS) * (2 * TLB.SIZE + JUMP_SIZE),
}

/** Fields of a decoded record (32 bytes). */
export const RECORD = {
  /** u16: number of the handler inside `run` */
  HANDLER: 0,
  /** u16: index in the function table, for handlers outside `run` */
  FUNCTION: 2,
  /** u8: register named by ModRM.rm: offset in the register file (general), or number × 16 (XMM, MMX, x87), or number (others); with a memory operand the ModRM byte */
  RM: 4,
  /** u8: register named by ModRM.reg or the opcode's low bits, likewise */
  REG: 5,
  /** u8 each: offsets in the register file */
  BASE: 6,
  INDEX: 7,
  /** u8: 0–3 */
  SCALE: 8,
  /** u8: offset in the register file of the segment's base, or of ZERO */
  SEGMENT_BASE: 9,
  /** u8: bytes of the instruction */
  LENGTH: 10,
  /** u8: bits 0–1 address size (0: 64, 1: 32, 2: 16), bit 2: check segment limits, bits 3–5: segment number */
  FLAGS: 11,
  /** i32 */
  DISPLACEMENT: 12,
  /** i64, sign-extended; of a jump: target minus BLOCK_RIP */
  IMMEDIATE: 16,
  /** u16: offset of the instruction from BLOCK_RIP */
  OFFSET: 24,
  /** u16: instructions in the block up to and with this one */
  COUNT: 26,
  /** u32: record that a direct jump inside the page goes to, 0 unknown; for VEX instructions: u8 register file offset of VEX.vvvv */
  CHAIN: 28,
  SIZE: 32,
} as const

/** What a handler outside `run` returns. */
export const STATUS = {
  /** go on with the next record */
  NEXT: 0,
  /** an exception is pending in STATE.FAULT_… */
  FAULT: 1,
  /** the block has ended; STATE.RIP holds the target */
  JUMP: 2,
  /** return from `run`; STATE.RIP is where to resume */
  EXIT: 3,
  /** from translated code: the interpreter shall execute the instruction at STATE.RIP alone; nothing of it has been done */
  LEAVE: 4,
} as const

/** What the slow paths of translated code answer when they do not do an access; anything else is an offset in memory. */
export const REFUSED = {
  /** An exception is pending. */
  FAULT: 0,
  /** Nothing has changed: the interpreter shall execute the instruction (a device's memory, or code that changes itself). */
  LEAVE: 1,
} as const
