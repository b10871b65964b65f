// The program of the translator's own thread: compiles the regions that it is sent. See `translator/thread-compiler.ts`, which starts it.

import { type CompileJob, type CompileResult, RegionCompilation } from './translator/compilation.ts'
import { Rehearsal } from './translator/rehearsal.ts'

/** Measured: the default guest boots a fifth faster on two cores; 5 gives a little less, 19 no more. */
const NICENESS = 10
const LEAST_PRIORITY = 19
/** V8's, in about bytes of machine code executed. */
const TIERING_BUDGET = 100_000
/** Milliseconds after which the modules are all there, and most of their functions compiled. */
const LOADED = 1000

const compilation = new RegionCompilation()
const rehearsal = new Rehearsal()

interface Port {
  postMessage(message: CompileResult): void
  on(event: 'message', listener: (job: CompileJob) => void): void
}
interface Os {
  getPriority(): number
  setPriority(priority: number): void
}
const { process } = globalThis as unknown as {
  process?: {
    readonly platform: string
    getBuiltinModule?(name: 'node:worker_threads'): { readonly workerData: { readonly port: Port } }
    getBuiltinModule?(name: 'node:os'): Os
    getBuiltinModule?(name: 'node:v8'): { setFlagsFromString(flags: string): void }
    getBuiltinModule?(name: 'node:module'): { flushCompileCache(): void }
  }
}

function run(job: CompileJob): CompileResult {
  const result = compilation.run(job)
  rehearsal.run(result, job.memory.byteLength, job.settled)
  return result
}

/** Where there are fewer cores than threads, the guest comes first. On Linux alone "this process" is this thread. */
function yieldToGuest(): void {
  const os = process?.platform === 'linux' ? process.getBuiltinModule?.('node:os') : undefined
  try {
    os?.setPriority(Math.min(os.getPriority() + NICENESS, LEAST_PRIORITY))
  } catch {
    // the host does not allow it
  }
}

/**
 * Every region is hot: V8 shall not wait for 13 million bytes of it to be executed before it compiles it well. Measured: 10,000 costs more than it gives, a million is late. The flag
 * is the process's, and set here because compiled modules are kept by flags: a thread that begins with others finds none that the program has kept.
 */
function compileWellSoon(): void {
  process?.getBuiltinModule?.('node:v8').setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET}`)
}

/** If the program keeps compiled modules (`module.enableCompileCache`), keep this thread's: Node does it at the end of a thread only, which one of a killed process does not come to. */
function keepCompiledModules(): void {
  const modules = process?.getBuiltinModule?.('node:module')
  if (modules) (setTimeout(() => modules.flushCompileCache(), LOADED) as unknown as { unref(): void }).unref()
}

yieldToGuest()
compileWellSoon()
keepCompiledModules()
const port = process?.getBuiltinModule?.('node:worker_threads').workerData.port
if (port) port.on('message', (job) => port.postMessage(run(job)))
else {
  const scope = globalThis as unknown as {
    onmessage: (event: { readonly data: CompileJob }) => void
    postMessage(message: CompileResult): void
  }
  scope.onmessage = ({ data }) => scope.postMessage(run(data))
}
