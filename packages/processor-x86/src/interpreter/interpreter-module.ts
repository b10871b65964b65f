// The interpreter's WebAssembly module: `run`, which executes records of blocks until something needs TypeScript, and a function for each instruction
// form that is not inline in it.

import type { DecodedForm } from '../decoder/opcode-map.ts'
import type { Semantics } from '../instruction/definition.ts'
import type { LazyFlags } from '../instruction/emitter.ts'
import type { HelperContext, HelperFunction } from '../instruction/helper.ts'
import { emitUnitCheck } from '../instruction/unit-check.ts'
import { FILE, RECORD, STATE, STATUS } from '../state-layout.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import type { FunctionReference, Label, Local } from '../wasm/function-emitter.ts'
import { ModuleBuilder } from '../wasm/module-builder.ts'
import { addressFunctions } from './address-functions.ts'
import { emitCount } from './execution-profile.ts'
import { HANDLER } from './handler.ts'
import { InterpreterEmitter, type RuntimeFunctions } from './interpreter-emitter.ts'
import { jumpEntry } from './jump-entry.ts'
import { regionAccess } from './region-access.ts'

/** What the module calls. `lo` and `hi` are the halves of a linear address. */
export interface RuntimeImports {
  readSlow(lo: number, hi: number, bytes: number): number
  writeSlow(lo: number, hi: number, bytes: number): number
  modifyBegin(lo: number, hi: number, bytes: number): number
  modifyCommit(lo: number, hi: number, bytes: number): void
  probe(lo: number, hi: number, bytes: number): number
  /** The same for translated code, which may be told to leave the access to the interpreter: see REFUSED. */
  regionRead(lo: number, hi: number, bytes: number): number
  regionWrite(lo: number, hi: number, bytes: number): number
  regionModify(lo: number, hi: number, bytes: number): number
  /** The record of the block at STATE.RIP, or 0 with a fault pending or an exit asked for. */
  findBlock(): number
  /** Like findBlock, and remembers the answer in the CHAIN field of the record. */
  link(record: number): number
  /** The clock, in nanoseconds. */
  now(): number
  /** Execute system instruction form `form`; returns a STATUS. */
  system(form: number, record: number): number
}

export interface InterpreterExports {
  /** Execute from the record `start`, or from the block at STATE.RIP for 0; returns STATUS.FAULT, STATUS.EXIT or STATUS.LEAVE. */
  run(start: number): number
}

type SharedFunctions = Omit<RuntimeFunctions, 'now' | 'helper'>

/** The slow paths of memory accesses, with addresses whole, and the address functions: exported, for the modules of forms to import. */
function defineShared(module: ModuleBuilder, base: number): SharedFunctions {
  const slow = (name: string, result: 'i32' | 'void'): FunctionReference =>
    module.import(name, ['i32', 'i32', 'i32'], result)
  const imports = {
    readSlow: slow('readSlow', 'i32'),
    writeSlow: slow('writeSlow', 'i32'),
    modifyBegin: slow('modifyBegin', 'i32'),
    probe: slow('probe', 'i32'),
    modifyCommit: slow('modifyCommit', 'void'),
  }
  const forRegions = {
    read: slow('regionRead', 'i32'),
    write: slow('regionWrite', 'i32'),
    modify: slow('regionModify', 'i32'),
  }
  const wrap = (target: FunctionReference): FunctionReference =>
    module.function(`${target.name}64`, ['i64', 'i32'], target.result, (e) => {
      const address = e.get(e.parameter(0))
      const high = i32.wrap_i64(i64.shr_u(address, i64.const(32)))
      const call = e.call(target, i32.wrap_i64(address), high, e.get(e.parameter(1)))
      if (target.result === 'void') e.do(call)
      else e.return(call)
    })
  const shared = {
    readSlow: wrap(imports.readSlow),
    writeSlow: wrap(imports.writeSlow),
    modifyBegin: wrap(imports.modifyBegin),
    modifyCommit: wrap(imports.modifyCommit),
    probe: wrap(imports.probe),
    ...addressFunctions(module, base),
  }
  for (const reference of [...Object.values(shared), ...regionAccess(module, base, forRegions)])
    module.export(reference)
  return shared
}
/** The same in the module of a form: it has few functions, and so is quickly made. */
function importShared(module: ModuleBuilder): SharedFunctions {
  const access = (name: string, result: 'i32' | 'void'): FunctionReference =>
    module.import(`${name}64`, ['i64', 'i32'], result)
  return {
    readSlow: access('readSlow', 'i32'),
    writeSlow: access('writeSlow', 'i32'),
    modifyBegin: access('modifyBegin', 'i32'),
    modifyCommit: access('modifyCommit', 'void'),
    probe: access('probe', 'i32'),
    effective: module.import('effective', ['i32'], 'i64'),
    segment: module.import('segment', ['i32', 'i64', 'i32'], 'i64'),
    linear: module.import('linear', ['i32', 'i32'], 'i64'),
  }
}

/** Runtime imports and internal functions shared by `run` and the handlers. */
function runtime(
  module: ModuleBuilder,
  base: number,
  main: boolean,
): RuntimeFunctions & Record<'findBlock' | 'link' | 'system', FunctionReference> {
  const imports = {
    findBlock: module.import('findBlock', [], 'i32'),
    link: module.import('link', ['i32'], 'i32'),
    system: module.import('system', ['i32', 'i32'], 'i32'),
    now: module.import('now', [], 'f64'),
  }
  const shared = main ? defineShared(module, base) : importShared(module)
  const helpers = new Map<HelperFunction, FunctionReference>()
  const context: HelperContext = { state: (field) => base + field, helper: (h) => helper(h) }
  const helper = (h: HelperFunction): FunctionReference => {
    let reference = helpers.get(h)
    if (!reference) {
      reference = module.declare(h.name, h.params, h.result)
      helpers.set(h, reference)
      module.define(reference, (e) => {
        h.body(
          e,
          h.params.map((_, i) => e.get(e.parameter(i))),
          context,
        )
        if (h.result !== 'void') e.unreachable()
      })
    }
    return reference
  }
  return { ...shared, ...imports, helper }
}

/** Emit the function of one form; returns its place in the table. */
function handlerFunction(
  module: ModuleBuilder,
  base: number,
  functions: ReturnType<typeof runtime>,
  decoded: DecodedForm,
): number {
  const { semantics, options } = decoded.form.definition
  const { unit } = options
  const reference = module.declare(decoded.form.key, ['i32'], 'i32')
  const emitter = new InterpreterEmitter(base, functions)
  emitter.form = decoded.form
  if (typeof semantics === 'function') {
    if (unit) emitUnitCheck(emitter, unit)
    ;(semantics as Semantics)(emitter)
    emitter.return(i32.const(STATUS.NEXT))
  } else {
    if (semantics.usual) emitter.scope(() => semantics.usual?.(emitter))
    const status = emitter.let(emitter.call(functions.system, i32.const(decoded.id), emitter.get(emitter.record)))
    emitter.if(i32.gt_u(status, i32.const(STATUS.FAULT)), () => emitter.countBlock())
    emitter.return(status)
  }
  emitter.unreachable()
  module.defineFrom(reference, emitter)
  return module.element(reference)
}

/** One inline handler: a form and the kind of address it is for. */
export interface InlineHandler {
  readonly decoded: DecodedForm
  readonly addressKind: 0 | 1 | 2
}

/** Build a module with functions for `forms` (their table indices are set, counted from `tableBase`), and `run`. */
export function buildInterpreterModule(options: {
  readonly base: number
  readonly memory: { readonly initial: number; readonly maximum: number; readonly shared: boolean }
  readonly forms: readonly DecodedForm[]
  /** Handlers inside `run`; without it the module has no `run`. */
  readonly inline?: readonly InlineHandler[]
  readonly tableBase: number
  /** Where executions are counted; see `execution-profile.ts`. */
  readonly counters?: number | undefined
}): Uint8Array<ArrayBuffer> {
  const { base, forms } = options
  const module = new ModuleBuilder(options.memory, options.tableBase)
  const functions = runtime(module, base, options.inline !== undefined)
  for (const form of forms) form.functionIndex = handlerFunction(module, base, functions, form)
  if (options.inline) runFunction(module, base, functions, options.inline, options.counters)
  return module.build()
}

/** `run`. */
function runFunction(
  module: ModuleBuilder,
  base: number,
  functions: ReturnType<typeof runtime>,
  inline: readonly InlineHandler[],
  counters: number | undefined,
): void {
  const handlerType = module.type(['i32'], 'i32')

  const run = module.declare('run', ['i32'], 'i32')
  const e = new InterpreterEmitter(base, functions)
  const start = e.parameter(0)
  const record = e.local('i32')
  e.record = record
  const context = e.local('i32')
  const target = e.local('i64')
  const flagNames = ['x', 'y', 's', 'zero', 'sign'] as const
  const flagFields = {
    x: STATE.FLAG_X,
    y: STATE.FLAG_Y,
    s: STATE.FLAG_S,
    zero: STATE.FLAG_ZERO,
    sign: STATE.FLAG_SIGN,
  } as const
  const flags = Object.fromEntries(flagNames.map((name) => [name, e.local('i64')])) as Record<keyof LazyFlags, Local>
  const field32 = (f: number): Expr => i32.load(i32.const(0), base + f)
  const field64 = (f: number): Expr => i64.load(i32.const(0), base + f)
  const loadFlags = (): void => {
    for (const name of flagNames) e.set(flags[name], field64(flagFields[name]))
  }
  const storeFlags = (): void => {
    for (const name of flagNames) e.do(i64.store(i32.const(0), e.get(flags[name]), base + flagFields[name]))
  }

  loadFlags()
  e.set(context, field32(STATE.CONTEXT))
  e.set(target, field64(STATE.RIP))
  e.block((fault) => {
    e.block((exit) => {
      e.loop((outer) => {
        e.block((enter) => {
          e.do(i64.store(i32.const(0), e.get(target), base + STATE.RIP))
          e.if(e.get(start), () => {
            e.set(record, e.get(start))
            e.set(start, i32.const(0))
            e.do(i64.store(i32.const(0), e.get(target), base + STATE.FILE + FILE.BLOCK_RIP))
            e.br(enter)
          })
          e.brIf(exit, i32.lt_s(field32(STATE.BUDGET), i32.const(0)))
          const entry = e.let(jumpEntry(e, base, e.get(target)))
          e.if(i64.eq(i64.load(entry), e.get(target)), () => {
            e.set(record, i32.load(entry, 8))
            e.do(i64.store(i32.const(0), e.get(target), base + STATE.FILE + FILE.BLOCK_RIP))
            e.br(enter)
          })
          storeFlags()
          e.set(record, e.call(functions.findBlock))
          e.do(i64.store(i32.const(0), e.get(target), base + STATE.FILE + FILE.BLOCK_RIP))
          e.brIf(enter, e.get(record))
          e.do(i32.store(i32.const(0), i32.const(0), base + STATE.RECORD))
          e.return(i32.const(STATUS.FAULT))
        })
        e.loop((next) => {
          e.block((link) => {
            const handlers = inline
            const labels: Label[] = []
            const bodies: (() => void)[] = []
            const inlineContext = { flags, context, target, next, outer, fault, link }
            e.inline = inlineContext
            bodies.push(() => {
              // LOOKUP
              e.set(target, e.currentRip())
              e.do(i64.store(i32.const(0), e.get(target), base + STATE.RIP))
              storeFlags()
              e.set(record, e.call(functions.findBlock))
              e.do(i64.store(i32.const(0), e.get(target), base + STATE.FILE + FILE.BLOCK_RIP))
              e.brIf(next, e.get(record))
              e.do(i32.store(i32.const(0), i32.const(0), base + STATE.RECORD))
              e.return(i32.const(STATUS.FAULT))
            })
            bodies.push(() => {
              // CONTINUE
              e.set(target, e.currentRip())
              e.countBlock()
              e.br(outer)
            })
            bodies.push(() => {
              // CALL
              storeFlags()
              const status = e.let(
                e.callIndirect(handlerType, i32.load16_u(e.get(record), RECORD.FUNCTION), e.get(record)),
              )
              loadFlags()
              e.set(context, field32(STATE.CONTEXT))
              e.if(i32.eqz(status), () => {
                e.set(record, i32.add(e.get(record), i32.const(RECORD.SIZE)))
                e.br(next)
              })
              e.brIf(fault, i32.eq(status, i32.const(STATUS.FAULT)))
              e.set(target, field64(STATE.RIP))
              e.brIf(outer, i32.eq(status, i32.const(STATUS.JUMP)))
              e.br(exit)
            })
            bodies.push(() => {
              // REGION
              storeFlags()
              const status = e.let(
                e.callIndirect(handlerType, i32.load16_u(e.get(record), RECORD.FUNCTION), e.get(record)),
              )
              loadFlags()
              e.set(context, field32(STATE.CONTEXT))
              e.set(target, field64(STATE.RIP))
              e.brIf(outer, i32.eq(status, i32.const(STATUS.JUMP)))
              e.do(i32.store(i32.const(0), i32.const(0), base + STATE.RECORD))
              e.return(status)
            })
            handlers.forEach(({ decoded, addressKind }, i) => {
              const number = HANDLER.FIRST_INLINE + i
              if (addressKind === 2) decoded.inlineFull = number
              // the handler for full addresses serves simple ones, too, where they have none of their own
              if (addressKind !== 2 || decoded.inlineSimple < 0) decoded.inlineSimple = number
              bodies.push(() => {
                e.form = decoded.form
                e.addressKind = addressKind
                const { unit } = decoded.form.definition.options
                if (unit) emitUnitCheck(e, unit)
                ;(decoded.form.definition.semantics as Semantics)(e)
                e.set(record, i32.add(e.get(record), i32.const(RECORD.SIZE)))
                e.br(next)
              })
            })
            // nested blocks, so that br_table reaches each body
            const nest = (i: number): void => {
              if (i < 0) {
                if (counters !== undefined) emitCount(e, record, counters, HANDLER.CALL)
                e.brTable(i32.load16_u(e.get(record), RECORD.HANDLER), labels, labels[0] as Label)
                return
              }
              e.block((label) => {
                labels[i] = label
                nest(i - 1)
              })
              e.scope(() => bodies[i]?.())
            }
            nest(bodies.length - 1)
          })
          // link: the target of a direct jump inside the page is not known yet, or the slice is over
          e.do(i64.store(i32.const(0), e.get(target), base + STATE.RIP))
          e.brIf(exit, i32.lt_s(field32(STATE.BUDGET), i32.const(0)))
          storeFlags()
          e.set(record, e.call(functions.link, e.get(record)))
          e.do(i64.store(i32.const(0), e.get(target), base + STATE.FILE + FILE.BLOCK_RIP))
          e.brIf(next, e.get(record))
          e.do(i32.store(i32.const(0), i32.const(0), base + STATE.RECORD))
          e.return(i32.const(STATUS.FAULT))
        })
      })
      e.unreachable()
    })
    // exit
    storeFlags()
    e.do(i32.store(i32.const(0), e.get(record), base + STATE.RECORD))
    e.return(i32.const(STATUS.EXIT))
  })
  // fault in an instruction
  storeFlags()
  e.do(i32.store(i32.const(0), e.get(record), base + STATE.RECORD))
  e.return(i32.const(STATUS.FAULT))
  e.inline = undefined
  e.unreachable()
  module.defineFrom(run, e)
  module.export(run)
}
