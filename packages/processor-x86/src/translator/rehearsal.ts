// Engines compile a WebAssembly function when it is called first. A thread of its own calls each new function once, in a memory that nobody else has, so that the virtual
// processor's thread finds it compiled: the code belongs to the module, which both share.

import type { CompileResult } from './compilation.ts'

const WASM_PAGE = 65536
const TABLE_SIZE = 65536
/** Calls after which V8 gives a function to its optimising compiler: each executes some 300 bytes of it. */
const OFTEN = 500

/** Calls functions of regions on zeros. There the budget is 0, so that no loop goes round more than once, and the slow paths refuse every access. */
export class Rehearsal {
  #size = 0
  #imports: WebAssembly.Imports | undefined
  readonly #table = new WebAssembly.Table({ initial: TABLE_SIZE, element: 'anyfunc' })

  /** `size`: bytes of the partition's memory; the one here takes address space only. `often`: so that the engine sets about optimising them before they are used. */
  run(result: CompileResult, size: number, often: boolean): void {
    if (!result.module) return
    try {
      new WebAssembly.Instance(result.module, this.#importsFor(result.module, size))
      for (const region of result.regions) {
        if (!region) continue
        try {
          for (let n = often ? OFTEN : 1; n > 0; n--) this.#table.get(region.place)(0)
        } catch (thrown) {
          // zeros may lead out of memory
          if (!(thrown instanceof WebAssembly.RuntimeError)) throw thrown
        }
        this.#table.set(region.place, null)
      }
    } catch (thrown) {
      // no address space for a second memory: functions are compiled where they are used
      if (!(thrown instanceof RangeError || thrown instanceof WebAssembly.LinkError)) throw thrown
    }
  }

  #importsFor(module: WebAssembly.Module, size: number): WebAssembly.Imports {
    if (!this.#imports || size !== this.#size) {
      const pages = size / WASM_PAGE
      const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
      this.#imports = { env: { memory, table: this.#table, segment: () => 0n } }
      this.#size = size
    }
    const env = this.#imports['env'] as Record<string, WebAssembly.ImportValue>
    for (const { name, kind } of WebAssembly.Module.imports(module)) {
      if (kind === 'function') env[name] ??= () => 0
    }
    return this.#imports
  }
}
