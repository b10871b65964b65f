// Effective and linear addresses for the forms that handlers do not compute themselves (SDM vol. 1, 3.7.5; vol. 3, 5.3): full addresses, 16- and 32-bit address
// sizes, and the limit and type checks of legacy modes.

import { MODE } from '../decoder/mode.ts'
import { FILE, RECORD, SEGMENT, STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import type { FunctionReference } from '../wasm/function-emitter.ts'
import type { ModuleBuilder } from '../wasm/module-builder.ts'

/** Not canonical, so it misses every TLB: what an address that broke a segment's rules becomes. */
export const POISON = 0x7000_0000_0000_0000n

export interface AddressFunctions {
  readonly effective: FunctionReference
  readonly segment: FunctionReference
  readonly linear: FunctionReference
}

export function addressFunctions(module: ModuleBuilder, base: number): AddressFunctions {
  const at = (field: number): number => base + field
  const zero = i32.const(0)

  const effective = module.function('effective', ['i32'], 'i64', (e) => {
    const record = e.get(e.parameter(0))
    const file = (field: number): Expr => i64.load(i32.load8_u(record, field), at(STATE.FILE))
    const sum = e.let(
      i64.add(
        i64.add(file(RECORD.BASE), i64.load32_s(record, RECORD.DISPLACEMENT)),
        i64.shl(file(RECORD.INDEX), i64.extend_i32_u(i32.and(i32.load8_u(record, RECORD.SCALE), i32.const(3)))),
      ),
    )
    const size = e.let(i32.and(i32.load8_u(record, RECORD.FLAGS), i32.const(3)))
    e.if(i32.eqz(size), () => e.return(sum))
    e.return(i64.and(sum, select(i32.eq(size, i32.const(1)), i64.const(0xffffffff), i64.const(0xffff))))
  })

  // access: bytes | 0x100 for a write
  const segment = module.function('segment', ['i32', 'i64', 'i32'], 'i64', (e) => {
    const number = e.get(e.parameter(0))
    const offset = e.get(e.parameter(1))
    const access = e.get(e.parameter(2))
    const segmentBase = e.let(i64.load(i32.shl(number, i32.const(3)), at(STATE.FILE + FILE.SEGMENT_BASE)))
    e.if(i32.eq(i32.load(zero, at(STATE.MODE)), i32.const(MODE.LONG)), () => {
      e.if(i32.lt_u(number, i32.const(SEGMENT.FS)), () => e.return(offset))
      e.return(i64.add(offset, segmentBase))
    })
    const entry = e.let(i32.shl(number, i32.const(4)))
    const attributes = e.let(i32.load(entry, at(STATE.SEGMENTS + 4)))
    const limit = e.let(i64.load32_u(entry, at(STATE.SEGMENTS + 8)))
    const bytes = e.let(i32.and(access, i32.const(0xff)))
    const last = e.let(i64.add(offset, i64.extend_i32_u(i32.sub(bytes, i32.const(1)))))
    const bad = e.local('i32')
    // unusable, or not a data or readable code segment
    e.set(bad, i32.and(attributes, i32.const(0x10000)))
    e.if(
      i32.and(attributes, i32.const(8)),
      () =>
        e.set(
          bad,
          i32.or(e.get(bad), i32.or(i32.eqz(i32.and(attributes, i32.const(2))), i32.and(access, i32.const(0x100)))),
        ),
      () =>
        e.if(i32.and(i32.ne(i32.and(access, i32.const(0x100)), zero), i32.eqz(i32.and(attributes, i32.const(2)))), () =>
          e.set(bad, i32.const(1)),
        ),
    )
    // limits: an expand-down segment ends at 64 KiB or 4 GiB by its B bit
    e.if(
      i32.eq(i32.and(attributes, i32.const(0xc)), i32.const(4)),
      () => {
        const top = select(i32.and(attributes, i32.const(0x4000)), i64.const(0xffffffff), i64.const(0xffff))
        e.set(bad, i32.or(e.get(bad), i32.or(i64.le_u(offset, limit), i64.gt_u(last, top))))
      },
      () => e.set(bad, i32.or(e.get(bad), i64.gt_u(last, limit))),
    )
    e.if(e.get(bad), () => {
      e.do(
        i32.store(
          zero,
          select(i32.eq(number, i32.const(SEGMENT.SS)), i32.const(12), i32.const(13)),
          at(STATE.SEGMENT_FAULT),
        ),
      )
      e.return(i64.const(POISON))
    })
    e.return(i64.and(i64.add(offset, segmentBase), i64.const(0xffffffff)))
  })

  const linear = module.function('linear', ['i32', 'i32'], 'i64', (e) => {
    const record = e.get(e.parameter(0))
    const access = e.get(e.parameter(1))
    const flags = e.let(i32.load8_u(record, RECORD.FLAGS))
    const offset = e.let(e.call(effective, record))
    e.if(i32.and(flags, i32.const(4)), () =>
      e.return(e.call(segment, i32.and(i32.shr_u(flags, i32.const(3)), i32.const(7)), offset, access)),
    )
    e.return(i64.add(offset, i64.load(i32.load8_u(record, RECORD.SEGMENT_BASE), at(STATE.FILE))))
  })
  return { effective, segment, linear }
}
