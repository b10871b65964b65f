// `growth`: what an instruction costs while the code that is hot grows from 100 to 50,000 regions: a chain of small loops, far from each other and in no order, executed
// round and round. A translator that compiles well may still drown in its own output.

import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Assembler, mem } from '@partita/testkit/assembler'
import { SingleStepMachine } from '../../../packages/processor-x86/src/testing/single-step.ts'
import type { TranslationOptions } from '../../../packages/processor-x86/src/translator/translator.ts'
import type { Arguments } from './arguments.ts'
import { Scratch } from './programs/runners.ts'
import { median } from './statistics.ts'
import { table } from './table.ts'
import { translationOf } from './translation.ts'

const run = promisify(execFile)

const REGIONS = [100, 300, 1000, 3000, 10_000, 20_000, 50_000]
/** Instructions of one measurement, about, and the fewest rounds. */
const INSTRUCTIONS = 40e6
const ROUNDS_MINIMUM = 6
/** Runs without progress, and milliseconds, after which a state is taken for the last one. */
const SETTLED = 3
const SETTLING = 3000
const CODE = 0x4000_0000
const DATA = 0x6000_0000
const DATA_SIZE = 65536
const STACK = 0x7000_0000
const END = 0x3fff_f000
const PAGE = 4096
/** Bytes from one region to the next, and how many of them the region may begin late. */
const STRIDE = 160
const JITTER = 64
/** Times that a region's loop goes round. */
const LOOPS = 4
const SLICE = 100_000
const GPR = { RAX: 0, RSP: 4, RSI: 6, RDI: 7 } as const

interface Chain {
  readonly code: Uint8Array
  /** Address of the first region. */
  readonly entry: number
}

/** xorshift32: the same chain each time. */
function generator(): (below: number) => number {
  let x = 0x2545f491
  return (below) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % below
  }
}

/** `count` regions that lead to each other in random order, `rsi` times; `rdi` is the data. */
function makeChain(count: number): Chain {
  const random = generator()
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = random(i + 1)
    const [a, b] = [order[i] as number, order[j] as number]
    order[i] = b
    order[j] = a
  }
  const follower = new Map(order.map((region, i) => [region, order[i + 1]]))
  const a = new Assembler({ origin: CODE, bits: 64 })
  for (let region = 0; region < count; region++) {
    a.at(CODE + region * STRIDE + random(JITTER))
    a.label(`region${region}`)
    a.mov('ecx', LOOPS)
    a.label(`loop${region}`)
    a.add('rax', 'rcx')
    a.mov('rdx', mem('rdi', random(DATA_SIZE / 8) * 8))
    a.xor('rax', 'rdx')
    a.rol('rax', 1 + random(60))
    a.mov(mem('rdi', random(DATA_SIZE / 8) * 8), 'rax')
    a.cmp('al', random(256))
    a.jcc('b', `skip${region}`)
    a.add('rbx', region)
    a.label(`skip${region}`)
    a.dec('ecx')
    a.jcc('ne', `loop${region}`)
    const next = follower.get(region)
    a.jmp(next === undefined ? 'turn' : `region${next}`)
  }
  a.at(CODE + count * STRIDE)
  a.label('turn')
  a.dec('rsi')
  a.jcc('ne', `region${order[0]}`)
  a.ret()
  const entry = `region${order[0]}`
  return { entry: a.addressOf(entry), code: a.assemble() }
}

/** Nanoseconds for each instruction, and the checksum. */
interface Cost {
  readonly nanoseconds: number
  readonly checksum: bigint
}

class PartitaChain {
  readonly #machine: SingleStepMachine
  readonly #entry: number

  constructor({ code, entry }: Chain, translation: TranslationOptions) {
    const machine = new SingleStepMachine(translation)
    this.#machine = machine
    this.#entry = entry
    machine.map(BigInt(CODE), code.length, { write: false, execute: true })
    machine.map(BigInt(DATA), DATA_SIZE, { write: true, execute: false })
    machine.map(BigInt(STACK), PAGE, { write: true, execute: false })
    machine.map(BigInt(END), PAGE, { write: false, execute: true })
    machine.writeMemory(BigInt(CODE), code)
    machine.writeMemory(BigInt(END), Uint8Array.of(0x0f, 0x0b))
  }

  /** Instructions too: they depend on the data. */
  async run(rounds: number): Promise<Cost & { readonly instructions: number }> {
    const machine = this.#machine
    const state = machine.get()
    state.gpr.fill(0n)
    state.gpr[GPR.RDI] = BigInt(DATA)
    state.gpr[GPR.RSI] = BigInt(rounds)
    state.gpr[GPR.RSP] = BigInt(STACK + PAGE - 8)
    state.rip = BigInt(this.#entry)
    state.rflags = 0x202n
    machine.set(state)
    machine.writeMemory(BigInt(DATA), new Uint8Array(DATA_SIZE))
    machine.writeMemory(BigInt(STACK + PAGE - 8), new Uint8Array(BigUint64Array.of(BigInt(END)).buffer))
    const { vp } = machine
    const before = vp.instructionCount
    const start = process.threadCpuUsage()
    // the event loop has its turn as in a virtual machine: what a worker has compiled comes by it
    while (vp.cpu.cpl === 3) {
      vp.run(SLICE)
      await turn()
    }
    const { exception } = machine.run(1)
    const { user, system } = process.threadCpuUsage(start)
    const after = machine.get()
    if (exception !== 6 || after.rip !== BigInt(END))
      throw new Error(`exception ${exception} at ${after.rip.toString(16)}`)
    const instructions = vp.instructionCount - before
    return { nanoseconds: ((user + system) * 1e3) / instructions, checksum: after.gpr[GPR.RAX] as bigint, instructions }
  }
}

/** On the host's own processor. @returns undefined where there is no compiler */
async function nativeChain(
  scratch: string,
): Promise<((chain: Chain, rounds: number, instructions: number) => Promise<Cost>) | undefined> {
  const program = join(scratch, 'chain')
  try {
    await writeFile(`${program}.c`, NATIVE_SOURCE)
    await run('gcc', ['-O2', '-o', program, `${program}.c`])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
  return async ({ code, entry }, rounds, instructions) => {
    await writeFile(`${program}.bin`, code)
    const { stdout } = await run(program, [`${program}.bin`, `${entry}`, `${rounds}`])
    const [nanoseconds, checksum] = stdout.trim().split(' ')
    return { nanoseconds: Number(nanoseconds) / instructions, checksum: BigInt(checksum as string) }
  }
}

const NATIVE_SOURCE = `#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
int main(int argc, char **argv) {
  int file = open(argv[1], O_RDONLY);
  struct stat s;
  if (argc != 4 || fstat(file, &s)) return 1;
  void *code = mmap((void *)${CODE}, s.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0);
  char *data = mmap((void *)${DATA}, ${DATA_SIZE}, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (code == MAP_FAILED || data == MAP_FAILED) return 1;
  struct timespec start, end;
  unsigned long rax = 0, entry = strtoul(argv[2], 0, 10), rounds = strtoul(argv[3], 0, 10);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  __asm__ volatile("xor %%ebx, %%ebx\\n call *%3" : "+a"(rax), "+S"(rounds), "+D"(data) : "r"(entry) : "rbx", "rcx", "rdx", "memory", "cc");
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  printf("%ld %lu\\n", (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec, rax);
  return 0;
}
`

export async function growth(runs: number, given: Arguments): Promise<void> {
  const translation = translationOf(given.mode ?? 'on')
  await using scratch = await Scratch.create()
  const native = await nativeChain(scratch.path)
  const rows: string[][] = []
  let first: { own: number; native: number } | undefined
  for (const count of REGIONS) {
    const chain = makeChain(count)
    const own = new PartitaChain(chain, translation)
    const once = await own.run(1)
    const rounds = Math.max(ROUNDS_MINIMUM, Math.round(INSTRUCTIONS / once.instructions))
    const warm = await own.run(rounds)
    // until it becomes no better: a worker that compiles has its own pace
    const begin = performance.now()
    let best = warm.nanoseconds
    for (let idle = 0; idle < SETTLED || performance.now() - begin < SETTLING; idle++) {
      const { nanoseconds } = await own.run(rounds)
      if (nanoseconds < best * 0.95) idle = -1
      best = Math.min(best, nanoseconds)
    }
    const costs: Cost[] = []
    const peers: Cost[] = []
    for (let n = 0; n < runs; n++) {
      costs.push(await own.run(rounds))
      if (native !== undefined) peers.push(await native(chain, rounds, warm.instructions))
    }
    for (const { checksum } of peers) {
      if (checksum !== warm.checksum)
        throw new Error(`${count} regions: checksum ${warm.checksum}, natively ${checksum}`)
    }
    const cost = median(costs.map(({ nanoseconds }) => nanoseconds))
    const peer = peers.length === 0 ? Number.NaN : median(peers.map(({ nanoseconds }) => nanoseconds))
    first ??= { own: cost, native: peer }
    rows.push([
      `${count}`,
      (once.instructions / LOOPS / 1e3).toFixed(0),
      once.nanoseconds.toFixed(1),
      warm.nanoseconds.toFixed(2),
      cost.toFixed(2),
      (cost / first.own).toFixed(2),
      peer.toFixed(2),
      (peer / first.native).toFixed(2),
    ])
  }
  console.log(
    `Nanoseconds of processor time for each instruction, medians of ${runs} runs; slowdown against ${REGIONS[0]} regions`,
  )
  const header = ['regions', '10³ instructions', 'first round', 'next rounds', 'then', 'slowdown', 'native', 'slowdown']
  console.log(table([header, ...rows]))
}
