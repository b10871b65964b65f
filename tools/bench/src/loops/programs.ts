// The hot loops: position-independent functions of the System V ABI, machine code that is the same for every processor that runs it. RDI is a buffer of
// BUFFER_SIZE bytes, the checksum comes back in EAX. Each is written as a compiler writes the C above it, and fills the buffer by itself.

import { Assembler, byte, mem, qword } from '@partita/testkit/assembler'

export const BUFFER_SIZE = 0x100000

export interface LoopProgram {
  readonly name: string
  readonly code: Uint8Array
  /** The same computation in JavaScript. */
  readonly checksum: () => number
}

/** Small, so that its C is easy to see; far from random, but neither zero nor regular enough to be predicted. */
const PATTERN_FACTOR = 167
const PATTERN_START = 13

const CRC_BYTES = 65536
const CRC_PASSES = 8
const CRC_POLYNOMIAL = 0xedb88320

/**
 * ```c
 * unsigned crc(const unsigned char *p) {
 *   unsigned sum = 0;
 *   for (int pass = 8; pass; pass--) {
 *     unsigned c = ~0u;
 *     for (int i = 0; i < 65536; i++) {
 *       c ^= p[i];
 *       for (int k = 8; k; k--) c = (c >> 1) ^ (0xedb88320 & -(c & 1));
 *     }
 *     sum += ~c;
 *   }
 *   return sum;
 * }
 * ```
 */
function crc(): Uint8Array {
  return pattern(new Assembler(), CRC_BYTES)
    .mov('r8d', CRC_PASSES)
    .xor('r9d', 'r9d')
    .label('pass')
    .mov('rsi', 'rdi')
    .lea('r10', mem('rdi', CRC_BYTES))
    .mov('eax', 0xffffffff)
    .label('byte')
    .movzx('ecx', byte('rsi'))
    .xor('eax', 'ecx')
    .mov('ecx', 8)
    .label('bit')
    .mov('edx', 'eax')
    .and('edx', 1)
    .neg('edx')
    .and('edx', CRC_POLYNOMIAL)
    .shr('eax', 1)
    .xor('eax', 'edx')
    .sub('ecx', 1)
    .jccShort('ne', 'bit')
    .add('rsi', 1)
    .cmp('rsi', 'r10')
    .jccShort('ne', 'byte')
    .not('eax')
    .add('r9d', 'eax')
    .sub('r8d', 1)
    .jccShort('ne', 'pass')
    .mov('eax', 'r9d')
    .ret()
    .assemble()
}
function crcChecksum(): number {
  let value = 0xffffffff
  for (let i = 0; i < CRC_BYTES; i++) {
    value ^= patternByte(i)
    for (let k = 0; k < 8; k++) value = (value >>> 1) ^ (CRC_POLYNOMIAL & -(value & 1))
  }
  return Math.imul(~value, CRC_PASSES) >>> 0
}

const SIEVE_SIZE = 200_000
const SIEVE_PASSES = 20

/**
 * ```c
 * unsigned sieve(unsigned char *p) {
 *   unsigned count = 0;
 *   for (int pass = 20; pass; pass--) {
 *     for (unsigned i = 0; i < 200000; i++) p[i] = 1;
 *     for (unsigned i = 2; i < 200000; i++) {
 *       if (!p[i]) continue;
 *       count++;
 *       for (unsigned j = i * 2; j < 200000; j += i) p[j] = 0;
 *     }
 *   }
 *   return count;
 * }
 * ```
 */
function sieve(): Uint8Array {
  return new Assembler()
    .mov('r8d', SIEVE_PASSES)
    .xor('eax', 'eax')
    .label('pass')
    .xor('ecx', 'ecx')
    .label('fill')
    .mov(byte({ base: 'rdi', index: 'rcx' }), 1)
    .add('rcx', 1)
    .cmp('rcx', SIEVE_SIZE)
    .jccShort('ne', 'fill')
    .mov('ecx', 2)
    .label('candidate')
    .cmp(byte({ base: 'rdi', index: 'rcx' }), 0)
    .jccShort('e', 'composite')
    .add('eax', 1)
    .lea('edx', mem({ base: 'rcx', index: 'rcx' }))
    .cmp('edx', SIEVE_SIZE)
    .jccShort('ae', 'composite')
    .label('strike')
    .mov('esi', 'edx')
    .add('edx', 'ecx')
    .mov(byte({ base: 'rdi', index: 'rsi' }), 0)
    .cmp('edx', SIEVE_SIZE)
    .jccShort('b', 'strike')
    .label('composite')
    .add('ecx', 1)
    .cmp('ecx', SIEVE_SIZE)
    .jccShort('ne', 'candidate')
    .sub('r8d', 1)
    .jccShort('ne', 'pass')
    .ret()
    .assemble()
}
function sieveChecksum(): number {
  const composite = new Uint8Array(SIEVE_SIZE)
  let count = 0
  for (let i = 2; i < SIEVE_SIZE; i++) {
    if (composite[i]) continue
    count++
    for (let j = i * 2; j < SIEVE_SIZE; j += i) composite[j] = 1
  }
  return count * SIEVE_PASSES
}

const COPY_WORDS = 8192
const COPY_PASSES = 1000

/**
 * ```c
 * unsigned copy(unsigned long *d) {
 *   const unsigned long *s = d + 8192;
 *   unsigned long sum = 0;
 *   for (int pass = 1000; pass; pass--)
 *     for (int i = 0; i < 8192; i++) { d[i] = s[i]; sum += s[i]; }
 *   return sum;
 * }
 * ```
 */
function copy(): Uint8Array {
  const bytes = COPY_WORDS * 8
  return pattern(new Assembler(), bytes * 2)
    .mov('r8d', COPY_PASSES)
    .xor('eax', 'eax')
    .lea('rsi', mem('rdi', bytes))
    .label('pass')
    .xor('ecx', 'ecx')
    .label('word')
    .mov('rdx', qword({ base: 'rsi', index: 'rcx', scale: 8 }))
    .mov(qword({ base: 'rdi', index: 'rcx', scale: 8 }), 'rdx')
    .add('rcx', 1)
    .add('rax', 'rdx')
    .cmp('rcx', COPY_WORDS)
    .jccShort('ne', 'word')
    .sub('r8d', 1)
    .jccShort('ne', 'pass')
    .ret()
    .assemble()
}
function copyChecksum(): number {
  let sum = 0
  for (let i = 0; i < COPY_WORDS; i++) {
    const at = COPY_WORDS * 8 + i * 8
    // the low half is enough: a carry never comes down
    for (let k = 0; k < 4; k++) sum += patternByte(at + k) * 2 ** (8 * k)
  }
  return Number(BigInt.asUintN(32, BigInt(sum) * BigInt(COPY_PASSES)))
}

const FIBONACCI = 29

/**
 * ```c
 * unsigned fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
 * ```
 */
function calls(): Uint8Array {
  return new Assembler()
    .mov('edi', FIBONACCI)
    .label('fib')
    .push('rbp')
    .push('rbx')
    .mov('ebx', 'edi')
    .sub('rsp', 8)
    .mov('eax', 'edi')
    .cmp('edi', 1)
    .jccShort('be', 'leave')
    .lea('edi', mem('rdi', -1))
    .call('fib')
    .lea('edi', mem('rbx', -2))
    .mov('ebp', 'eax')
    .call('fib')
    .add('eax', 'ebp')
    .label('leave')
    .add('rsp', 8)
    .pop('rbx')
    .pop('rbp')
    .ret()
    .assemble()
}
function callsChecksum(): number {
  let [a, b] = [0, 1]
  for (let n = 0; n < FIBONACCI; n++) [a, b] = [b, a + b]
  return a
}

const BRANCH_ROUNDS = 2_500_000
const BRANCH_SEED = 0x12345678

/**
 * ```c
 * unsigned branches(void) {
 *   unsigned x = 0x12345678, sum = 0;
 *   for (int i = 2500000; i; i--) {
 *     x ^= x << 13; x ^= x >> 17; x ^= x << 5;
 *     if (x & 1) sum += x; else sum ^= x;
 *     if (x & 256) sum = sum * 3 + 1;
 *   }
 *   return sum;
 * }
 * ```
 */
function branches(): Uint8Array {
  return new Assembler()
    .mov('ecx', BRANCH_SEED)
    .xor('eax', 'eax')
    .mov('esi', BRANCH_ROUNDS)
    .label('round')
    .mov('edx', 'ecx')
    .shl('edx', 13)
    .xor('ecx', 'edx')
    .mov('edx', 'ecx')
    .shr('edx', 17)
    .xor('ecx', 'edx')
    .mov('edx', 'ecx')
    .shl('edx', 5)
    .xor('ecx', 'edx')
    .test('cl', 1)
    .jccShort('e', 'even')
    .add('eax', 'ecx')
    .jmpShort('second')
    .label('even')
    .xor('eax', 'ecx')
    .label('second')
    .test('ch', 1)
    .jccShort('e', 'next')
    .lea('eax', mem({ base: 'rax', index: 'rax', scale: 2, displacement: 1 }))
    .label('next')
    .sub('esi', 1)
    .jccShort('ne', 'round')
    .ret()
    .assemble()
}
function branchesChecksum(): number {
  let x = BRANCH_SEED
  let sum = 0
  for (let i = 0; i < BRANCH_ROUNDS; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    sum = x & 1 ? (sum + x) | 0 : sum ^ x
    if (x & 256) sum = (sum * 3 + 1) | 0
  }
  return sum >>> 0
}

/** `for (i = 0; i < length; i++) p[i] = i * 167 + 13;` */
function pattern(assembler: Assembler, length: number): Assembler {
  return assembler
    .xor('ecx', 'ecx')
    .mov('eax', PATTERN_START)
    .label('pattern')
    .mov(byte({ base: 'rdi', index: 'rcx' }), 'al')
    .add('eax', PATTERN_FACTOR)
    .add('rcx', 1)
    .cmp('rcx', length)
    .jccShort('ne', 'pattern')
}
function patternByte(i: number): number {
  return (i * PATTERN_FACTOR + PATTERN_START) & 0xff
}

/** In the order in which they are run. */
export const LOOP_PROGRAMS: readonly LoopProgram[] = [
  { name: 'crc', code: crc(), checksum: crcChecksum },
  { name: 'sieve', code: sieve(), checksum: sieveChecksum },
  { name: 'copy', code: copy(), checksum: copyChecksum },
  { name: 'calls', code: calls(), checksum: callsChecksum },
  { name: 'branches', code: branches(), checksum: branchesChecksum },
]
