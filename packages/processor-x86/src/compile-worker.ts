// The program of the translator's own thread: compiles the regions that it is sent. See `translator/thread-compiler.ts`, which starts it.

import { type CompileJob, type CompileResult, RegionCompilation } from './translator/compilation.ts'
import { Rehearsal } from './translator/rehearsal.ts'

/** Measured: the default guest boots a fifth faster on two cores; 5 gives a little less, 19 no more. */
const NICENESS = 10
const LEAST_PRIORITY = 19

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

yieldToGuest()
const port = process?.getBuiltinModule?.('node:worker_threads').workerData.port
if (port) port.on('message', (job) => port.postMessage(run(job)))
else {
  const scope = globalThis as unknown as {
    onmessage: (event: { readonly data: CompileJob }) => void
    postMessage(message: CompileResult): void
  }
  scope.onmessage = ({ data }) => scope.postMessage(run(data))
}
