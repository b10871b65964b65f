// A compiler of regions on a thread of its own: a worker thread of Node.js or a dedicated worker of a browser, whichever there is.

import type { CompileJob, CompileResult, RegionCompiler } from './compilation.ts'
import type { ConsolidationOptions } from './consolidation.ts'

/** Regions of a job: the more, the cheaper each, and the later the first. */
const BATCH = 32
/** About 60,000 instructions: less than starting a job takes. */
const PATIENCE = 64
/**
 * Regions: about as many as are compiled in half a second, which new hot code waits for. Measured: 5 to 18 % more connections and exchanges than without.
 * Period: some two seconds. What is optimised is slow again for a while, for which a program of a second or so has no time. Measured: with 30 million such
 * programs take 1.3 times as long.
 */
const CONSOLIDATION: ConsolidationOptions = { regions: 256, period: 400_000_000 }

/** What this file uses of `node:worker_threads`. */
interface NodePort {
  on(event: 'message', listener: (message: CompileResult) => void): void
  postMessage(message: CompileJob): void
  close(): void
  unref(): void
}
interface NodeWorker {
  on(event: 'error' | 'exit', listener: () => void): void
  terminate(): Promise<number>
  unref(): void
}
interface NodeThreads {
  readonly MessageChannel: new () => { readonly port1: NodePort; readonly port2: NodePort }
  readonly Worker: new (
    url: URL,
    options: { workerData: unknown; transferList: unknown[]; execArgv?: string[]; name: string },
  ) => NodeWorker
  receiveMessageOnPort(port: NodePort): { readonly message: CompileResult } | undefined
}
interface NodeProcess {
  getBuiltinModule?(name: 'node:worker_threads'): NodeThreads
}
interface BrowserWorker {
  onmessage: ((event: { readonly data: CompileResult }) => void) | null
  onerror: (() => void) | null
  postMessage(message: CompileJob): void
  terminate(): void
}

/** A compiler that owns a thread. */
export interface ThreadCompiler extends RegionCompiler, Disposable {}

/** Undefined where no second thread is to be had. The thread starts with the first job, and does not keep the program alive. */
export function threadCompiler(): ThreadCompiler | undefined {
  const { process, Worker } = globalThis as unknown as {
    process?: NodeProcess
    Worker?: new (url: URL, options: { type: 'module' }) => BrowserWorker
  }
  const threads = process?.getBuiltinModule?.('node:worker_threads')
  if (threads) return new OneThread(() => nodeThread(threads), CONSOLIDATION)
  // A browser begins with baseline code whatever it is told: what is well compiled would be slow again for a while
  if (Worker) return new OneThread(() => browserThread(Worker), undefined)
  return undefined
}

/** Where the worker's program is: beside this one's sources, or in the package's built files. */
function program(): URL {
  return import.meta.url.endsWith('.ts')
    ? new URL('../compile-worker.ts', import.meta.url)
    : new URL('./compile-worker.js', import.meta.url)
}

interface Thread {
  post(job: CompileJob): void
  /** A result that has come and was not told yet. */
  poll(): CompileResult | undefined
  end(): void
  onResult: (result: CompileResult) => void
  onEnd: () => void
}

function nodeThread(threads: NodeThreads): Thread {
  const { port1, port2 } = new threads.MessageChannel()
  const url = program()
  const source = url.pathname.endsWith('.ts')
  const worker = new threads.Worker(url, {
    workerData: { port: port2 },
    transferList: [port2],
    name: 'partita-translator',
    ...(source ? { execArgv: ['--conditions=@partita/source'] } : {}),
  })
  const thread: Thread = {
    post: (job) => port1.postMessage(job),
    poll: () => threads.receiveMessageOnPort(port1)?.message,
    end() {
      port1.close()
      void worker.terminate()
    },
    onResult() {},
    onEnd() {},
  }
  port1.on('message', (message) => thread.onResult(message))
  worker.on('error', () => thread.onEnd())
  worker.on('exit', () => thread.onEnd())
  port1.unref()
  worker.unref()
  return thread
}

function browserThread(Worker: new (url: URL, options: { type: 'module' }) => BrowserWorker): Thread {
  const worker = new Worker(program(), { type: 'module' })
  const thread: Thread = {
    post: (job) => worker.postMessage(job),
    poll: () => undefined,
    end: () => worker.terminate(),
    onResult() {},
    onEnd() {},
  }
  worker.onmessage = ({ data }) => thread.onResult(data)
  worker.onerror = () => thread.onEnd()
  return thread
}

class OneThread implements ThreadCompiler {
  readonly batch: number = BATCH
  readonly patience: number = PATIENCE
  readonly consolidation: ConsolidationOptions | undefined
  readonly #start: () => Thread
  #thread: Thread | undefined
  #ended = false
  /** Waiting and running jobs, the running one first. */
  readonly #jobs: { readonly job: CompileJob; readonly done: (result: CompileResult | undefined) => void }[] = []

  constructor(start: () => Thread, consolidation: ConsolidationOptions | undefined) {
    this.#start = start
    this.consolidation = consolidation
  }
  compile(job: CompileJob, done: (result: CompileResult | undefined) => void): void {
    if (this.#ended) {
      done(undefined)
      return
    }
    this.#jobs.push({ job, done })
    if (this.#jobs.length === 1) this.#post()
  }
  #post(): void {
    const first = this.#jobs[0]
    if (!first) return
    if (!this.#thread) {
      let thread: Thread
      try {
        thread = this.#start()
      } catch {
        // the host does not want it: somebody else compiles
        this[Symbol.dispose]()
        return
      }
      thread.onResult = (result) => this.#finish(result)
      thread.onEnd = () => this[Symbol.dispose]()
      this.#thread = thread
    }
    this.#thread.post(first.job)
  }
  #finish(result: CompileResult): void {
    const first = this.#jobs.shift()
    first?.done(result)
    this.#post()
  }
  poll(): void {
    const result = this.#thread?.poll()
    if (result) this.#finish(result)
  }
  [Symbol.dispose](): void {
    if (this.#ended) return
    this.#ended = true
    this.#thread?.end()
    for (const { done } of this.#jobs.splice(0)) done(undefined)
  }
}
