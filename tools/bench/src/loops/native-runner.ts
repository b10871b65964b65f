// The loops on the host's own processor: a C program that copies each into executable memory and calls it, compiled with gcc.

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type LoopResult, type LoopRunner, UnavailableError } from './loop-runner.ts'
import { BUFFER_SIZE, type LoopProgram } from './programs.ts'

const run = promisify(execFile)

export class NativeRunner implements LoopRunner {
  readonly label = 'native'
  readonly #directory: string
  readonly #program: string

  private constructor(directory: string, program: string) {
    this.#directory = directory
    this.#program = program
  }

  /** @throws UnavailableError without gcc, or on another processor than x86-64 */
  static async create(programs: readonly LoopProgram[]): Promise<NativeRunner> {
    if (process.arch !== 'x64' || process.platform !== 'linux') {
      throw new UnavailableError('the native peer needs Linux on x86-64')
    }
    const directory = await mkdtemp(join(tmpdir(), 'partita-bench-'))
    const source = join(directory, 'loops.c')
    const program = join(directory, 'loops')
    try {
      await writeFile(source, cSource(programs))
      await run('gcc', ['-O2', '-o', program, source])
    } catch (error) {
      await rm(directory, { recursive: true, force: true })
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new UnavailableError('the native peer needs a compiler: apt-get install gcc libc6-dev')
    }
    return new NativeRunner(directory, program)
  }

  async run(): Promise<LoopResult[]> {
    const { stdout } = await run(this.#program)
    return stdout
      .trim()
      .split('\n')
      .map((line) => {
        const [name = '', nanoseconds, checksum] = line.split(' ')
        return { name, seconds: Number(nanoseconds) / 1e9, checksum: Number(checksum) }
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function cSource(programs: readonly LoopProgram[]): string {
  const table = programs.map(
    ({ name, code }) => `  { "${name}", ${code.length}, (const unsigned char[]){ ${code.join(',')} } },`,
  )
  return `#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static const struct { const char *name; size_t size; const unsigned char *code; } programs[] = {
${table.join('\n')}
};
int main(void) {
  unsigned char *buffer = mmap(0, ${BUFFER_SIZE}, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (buffer == MAP_FAILED) return 1;
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
    unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    memcpy(code, programs[i].code, programs[i].size);
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC)) return 1;
    struct timespec start, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    unsigned checksum = ((unsigned (*)(unsigned char *))code)(buffer);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    printf("%s %lld %u\\n", programs[i].name, (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec, checksum);
  }
  return 0;
}
`
}
