// The program of the translator's own thread: compiles the regions that it is sent. See `translator/thread-compiler.ts`, which starts it.

import { type CompileJob, type CompileResult, RegionCompilation } from './translator/compilation.ts'
import { Rehearsal } from './translator/rehearsal.ts'

const compilation = new RegionCompilation()
const rehearsal = new Rehearsal()

interface Port {
  postMessage(message: CompileResult): void
  on(event: 'message', listener: (job: CompileJob) => void): void
}
const { process } = globalThis as unknown as {
  process?: { getBuiltinModule?(name: 'node:worker_threads'): { readonly workerData: { readonly port: Port } } }
}

function run(job: CompileJob): CompileResult {
  const result = compilation.run(job)
  rehearsal.run(result, job.memory.byteLength, job.settled)
  return result
}

const port = process?.getBuiltinModule?.('node:worker_threads').workerData.port
if (port) port.on('message', (job) => port.postMessage(run(job)))
else {
  const scope = globalThis as unknown as {
    onmessage: (event: { readonly data: CompileJob }) => void
    postMessage(message: CompileResult): void
  }
  scope.onmessage = ({ data }) => scope.postMessage(run(data))
}
