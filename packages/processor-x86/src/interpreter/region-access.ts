// The accesses of translated code where it knows no better: by the TLB, in two pieces over the end of a page, or else by the slow path.

import { STATE, TLB } from '../state-layout.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import type { FunctionEmitter, FunctionReference } from '../wasm/function-emitter.ts'
import type { ModuleBuilder } from '../wasm/module-builder.ts'
import { tlbEntry } from './tlb-entry.ts'

const PAGE = 4096
/** An access in two pieces is done with two words of this many bytes. */
const WORD = 8

/** (page i64, distance i64, bytes) → what the slow path answers, for the address that is the sum; see `RegionFunctions`. */
export function regionAccess(
  module: ModuleBuilder,
  base: number,
  slow: Readonly<Record<'read' | 'write' | 'modify', FunctionReference>>,
): FunctionReference[] {
  const scratch = i32.const(base + STATE.SCRATCH)
  const access = (
    target: FunctionReference,
    tlb: number,
    one: (e: FunctionEmitter, host: Expr, bytes: Expr) => void,
    two: (e: FunctionEmitter, pieces: Pieces) => void,
  ): FunctionReference =>
    module.function(`${target.name}64`, ['i64', 'i64', 'i32'], 'i32', (e) => {
      const address = e.let(i64.add(e.get(e.parameter(0)), e.get(e.parameter(1))))
      const bytes = e.get(e.parameter(2))
      const look = (at: Expr): { readonly entry: Expr; readonly place: Expr } => {
        const entry = e.let(tlbEntry(i32.load(i32.const(0), base + STATE.CONTEXT), at))
        return { entry, place: e.let(i64.sub(at, i64.load(entry, tlb))) }
      }
      const { entry, place } = look(address)
      e.if(i64.lt_u(place, i64.const(PAGE)), () => {
        const offset = e.let(i32.wrap_i64(place))
        const host = e.let(i32.add(offset, i32.load(entry, tlb + 8)))
        const first = e.let(i32.sub(i32.const(PAGE), offset))
        e.if(i32.le_u(bytes, first), () => one(e, host, bytes))
        e.if(i32.le_u(bytes, i32.const(WORD)), () => {
          const next = look(e.let(i64.add(address, i64.extend_i32_u(first))))
          e.if(i64.eqz(next.place), () => {
            const bits = e.let(i64.extend_i32_u(i32.shl(first, i32.const(3))))
            two(e, {
              end: e.let(i32.add(host, i32.sub(first, i32.const(WORD)))),
              start: e.let(i32.load(next.entry, tlb + 8)),
              bits,
              rest: e.let(i64.sub(i64.extend_i32_u(i32.shl(bytes, i32.const(3))), bits)),
            })
          })
        })
      })
      const high = i32.wrap_i64(i64.shr_u(address, i64.const(32)))
      e.return(e.call(target, i32.wrap_i64(address), high, bytes))
    })

  /** STATE.SCRATCH becomes what is there. */
  const gather = (e: FunctionEmitter, { end, start, bits }: Pieces): void => {
    const low = i64.shr_u(i64.load(end), i64.sub(i64.const(64), bits))
    e.do(i64.store(scratch, i64.or(low, i64.shl(i64.load(start), bits))))
    e.return(scratch)
  }
  /** What is there becomes STATE.SCRATCH. */
  const scatter = (e: FunctionEmitter, { end, start, bits, rest }: Pieces): void => {
    const value = e.let(i64.load(scratch))
    const kept = i64.shr_u(i64.shl(i64.load(end), bits), bits)
    e.do(i64.store(end, i64.or(kept, i64.shl(value, i64.sub(i64.const(64), bits)))))
    const mask = e.let(i64.sub(i64.shl(i64.const(1), rest), i64.const(1)))
    const others = i64.and(i64.load(start), i64.xor(mask, i64.const(-1)))
    e.do(i64.store(start, i64.or(others, i64.and(i64.shr_u(value, bits), mask))))
    e.return(i32.const(0))
  }
  return [
    access(slow.read, TLB.READ, (e, host) => e.return(host), gather),
    access(
      slow.write,
      TLB.WRITE,
      (e, host, bytes) => {
        e.memoryCopy(host, scratch, bytes)
        e.return(i32.const(0))
      },
      scatter,
    ),
    access(slow.modify, TLB.WRITE, (e, host) => e.return(host), gather),
  ]
}

/** Where the two pieces of an access are. */
interface Pieces {
  /** i32: the last word of the first page, and the first one of the second. */
  readonly end: Expr
  readonly start: Expr
  /** i64: bits in the first page, and in the second; neither is 0 or 64. */
  readonly bits: Expr
  readonly rest: Expr
}
