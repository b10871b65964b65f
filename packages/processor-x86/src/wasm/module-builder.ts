// Builds a WebAssembly module in the binary format (Core Specification 2.0, section 5.5): types, imports, functions, one table, exports.

import { type ResultType, signedLeb, unsignedLeb, VALUE_TYPE, type ValueType } from './expression.ts'
import {
  type BranchHint,
  ByteWriter,
  FunctionEmitter,
  type FunctionReference,
  type TypeReference,
} from './function-emitter.ts'

interface DefinedFunction extends FunctionReference {
  body: Uint8Array | undefined
  hints: readonly BranchHint[]
}

export class ModuleBuilder {
  readonly #types: { params: readonly ValueType[]; result: ResultType }[] = []
  readonly #typeIndex = new Map<string, number>()
  readonly #imports: { name: string; type: number }[] = []
  readonly #functions: DefinedFunction[] = []
  readonly #exports: { name: string; index: number }[] = []
  readonly #elements: number[] = []
  readonly #names = new Map<number, string>()
  #sealed = false

  /** `memory`: pages (64 KiB) of the imported shared memory `env.memory`. */
  readonly memory: { readonly initial: number; readonly maximum: number; readonly shared: boolean }

  /** Place in the imported table `env.table` of the first function given to {@link ModuleBuilder.element}. */
  readonly tableBase: number

  constructor(memory: { readonly initial: number; readonly maximum: number; readonly shared: boolean }, tableBase = 0) {
    this.memory = memory
    this.tableBase = tableBase
  }

  type(params: readonly ValueType[], result: ResultType): TypeReference {
    const key = `${params.join()}>${result}`
    let index = this.#typeIndex.get(key)
    if (index === undefined) {
      index = this.#types.push({ params, result }) - 1
      this.#typeIndex.set(key, index)
    }
    return { index, params, result }
  }

  /** Import `env.name`. All imports come before the first function. */
  import(name: string, params: readonly ValueType[], result: ResultType): FunctionReference {
    if (this.#sealed) throw new Error('imports come first')
    const index = this.#imports.push({ name, type: this.type(params, result).index }) - 1
    return { name, params, result, index }
  }

  /** Declare a function, so that others can call it; its body may follow later with {@link ModuleBuilder.define}. */
  declare(name: string, params: readonly ValueType[], result: ResultType): FunctionReference {
    this.#sealed = true
    this.type(params, result)
    const index = this.#imports.length + this.#functions.length
    const f: DefinedFunction = { name, params, result, index, body: undefined, hints: [] }
    this.#functions.push(f)
    this.#names.set(index, name)
    return f
  }

  define(reference: FunctionReference, body: (emitter: FunctionEmitter) => void): void {
    const emitter = new FunctionEmitter(reference.params)
    body(emitter)
    this.defineFrom(reference, emitter)
  }

  defineFrom(reference: FunctionReference, emitter: FunctionEmitter): void {
    const f = this.#functions[reference.index - this.#imports.length]
    if (!f || f.body) throw new Error(`${reference.name} cannot be defined`)
    f.body = emitter.finish()
    f.hints = emitter.hints
  }

  /** Declare and define. */
  function(
    name: string,
    params: readonly ValueType[],
    result: ResultType,
    body: (emitter: FunctionEmitter) => void,
  ): FunctionReference {
    const reference = this.declare(name, params, result)
    this.define(reference, body)
    return reference
  }

  export(reference: FunctionReference, name: string = reference.name): void {
    this.#exports.push({ name, index: reference.index })
  }

  /** Append a function to the table; returns its index there. */
  element(reference: FunctionReference): number {
    return this.tableBase + this.#elements.push(reference.index) - 1
  }

  build(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter()
    out.append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    const section = (id: number, body: (w: ByteWriter) => void): void => {
      const w = new ByteWriter()
      body(w)
      out.u8(id)
      out.append(unsignedLeb(w.length))
      out.append(w.result())
    }
    const text = (w: ByteWriter, value: string): void => {
      const bytes = new TextEncoder().encode(value)
      w.append(unsignedLeb(bytes.length))
      w.append(bytes)
    }
    section(1, (w) => {
      w.append(unsignedLeb(this.#types.length))
      for (const t of this.#types) {
        w.u8(0x60)
        w.append(unsignedLeb(t.params.length))
        for (const p of t.params) w.u8(VALUE_TYPE[p])
        w.append(unsignedLeb(t.result === 'void' ? 0 : 1))
        if (t.result !== 'void') w.u8(VALUE_TYPE[t.result])
      }
    })
    section(2, (w) => {
      w.append(unsignedLeb(this.#imports.length + 2))
      for (const f of this.#imports) {
        text(w, 'env')
        text(w, f.name)
        w.u8(0)
        w.append(unsignedLeb(f.type))
      }
      text(w, 'env')
      text(w, 'memory')
      w.u8(2)
      w.u8(this.memory.shared ? 3 : 1)
      w.append(unsignedLeb(this.memory.initial))
      w.append(unsignedLeb(this.memory.maximum))
      text(w, 'env')
      text(w, 'table')
      w.append([1, 0x70, 0, 0])
    })
    section(3, (w) => {
      w.append(unsignedLeb(this.#functions.length))
      for (const f of this.#functions) w.append(unsignedLeb(this.type(f.params, f.result).index))
    })
    section(7, (w) => {
      w.append(unsignedLeb(this.#exports.length))
      for (const e of this.#exports) {
        text(w, e.name)
        w.u8(0)
        w.append(unsignedLeb(e.index))
      }
    })
    if (this.#elements.length > 0) {
      section(9, (w) => {
        w.append([1, 0, 0x41, ...signedLeb(this.tableBase), 0x0b])
        w.append(unsignedLeb(this.#elements.length))
        for (const index of this.#elements) w.append(unsignedLeb(index))
      })
    }
    const hinted = this.#functions.filter(({ hints }) => hints.length > 0)
    if (hinted.length > 0) {
      section(0, (w) => {
        text(w, 'metadata.code.branch_hint')
        w.append(unsignedLeb(hinted.length))
        for (const { index, hints } of hinted) {
          w.append(unsignedLeb(index))
          w.append(unsignedLeb(hints.length))
          for (const { offset, likely } of hints) {
            w.append(unsignedLeb(offset))
            w.append([1, likely ? 1 : 0])
          }
        }
      })
    }
    section(10, (w) => {
      w.append(unsignedLeb(this.#functions.length))
      for (const f of this.#functions) {
        if (!f.body) throw new Error(`${f.name} has no body`)
        w.append(unsignedLeb(f.body.length))
        w.append(f.body)
      }
    })
    section(0, (w) => {
      text(w, 'name')
      const names = new ByteWriter()
      names.append(unsignedLeb(this.#names.size))
      for (const [index, name] of this.#names) {
        names.append(unsignedLeb(index))
        text(names, name)
      }
      w.u8(1)
      w.append(unsignedLeb(names.length))
      w.append(names.result())
    })
    return out.result().slice() as Uint8Array<ArrayBuffer>
  }
}
