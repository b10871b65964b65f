// What string instructions do to whole runs of elements inside a page, at offsets in the memory: copies, fills, comparisons.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import type { FunctionEmitter, Label } from '../wasm/function-emitter.ts'

/** Runs up to here are copied and filled by a loop: calling the host's memmove costs more. */
const SHORT = 96

const ZERO = i32.const(0)
const EIGHT = i32.const(8)

/** `while (condition) body`. */
function whileLoop(e: FunctionEmitter, condition: () => Expr, body: (leave: Label) => void): void {
  e.block((leave) => {
    e.loop((again) => {
      e.brIf(leave, i32.eqz(condition()))
      body(leave)
      e.br(again)
    })
  })
}

/**
 * (target, source, bytes, element size, backward) → 1, or 0 when it did nothing because the runs overlap in a way that must be done by elements. Copies as a sequence of
 * elements would: overlapping so that the copy reads what it has written repeats the first elements.
 */
export const COPY_RUN: HelperFunction = helperFunction(
  'copy-run',
  ['i32', 'i32', 'i32', 'i32', 'i32'],
  'i32',
  (e, [target, source, bytes, size, backward]) => {
    if (!target || !source || !bytes || !size || !backward) throw new TypeError('copy-run')
    const at = e.local('i32')
    const step = e.local('i32')
    const distance = e.let(i32.sub(target, source))
    e.if(i32.eqz(i32.or(backward, i32.lt_u(distance, bytes))), () => {
      e.if(i32.gt_u(bytes, i32.const(SHORT)), () => {
        e.memoryCopy(target, source, bytes)
        e.return(i32.const(1))
      })
      // the source is ahead, or the runs are apart: eight bytes at a time read nothing that was written
      e.set(at, ZERO)
      whileLoop(
        e,
        () => i32.le_u(i32.add(e.get(at), EIGHT), bytes),
        () => {
          e.do(i64.store(i32.add(target, e.get(at)), i64.load(i32.add(source, e.get(at)))))
          e.set(at, i32.add(e.get(at), EIGHT))
        },
      )
      whileLoop(
        e,
        () => i32.lt_u(e.get(at), bytes),
        () => {
          e.do(i32.store8(i32.add(target, e.get(at)), i32.load8_u(i32.add(source, e.get(at)))))
          e.set(at, i32.add(e.get(at), i32.const(1)))
        },
      )
      e.return(i32.const(1))
    })
    e.if(backward, () => {
      // downwards the target may overlap only above the source
      e.if(i32.lt_u(i32.sub(i32.sub(source, target), i32.const(1)), i32.sub(bytes, i32.const(1))), () => e.return(ZERO))
      e.memoryCopy(target, source, bytes)
      e.return(i32.const(1))
    })
    e.if(i32.eqz(distance), () => e.return(i32.const(1)))
    e.if(i32.lt_u(distance, size), () => e.return(ZERO))
    // the first `distance` bytes repeat; what is already there doubles each time
    e.memoryCopy(target, source, distance)
    e.set(at, distance)
    whileLoop(
      e,
      () => i32.lt_u(e.get(at), bytes),
      () => {
        e.set(step, i32.add(e.get(at), distance))
        e.if(i32.gt_u(e.get(step), i32.sub(bytes, e.get(at))), () => e.set(step, i32.sub(bytes, e.get(at))))
        e.memoryCopy(i32.add(target, e.get(at)), source, e.get(step))
        e.set(at, i32.add(e.get(at), e.get(step)))
      },
    )
    e.return(i32.const(1))
  },
)

/** (target, bytes, pattern): fill with the 8 bytes of `pattern`, which repeats an element; `bytes` is a multiple of the element's size. */
export const FILL_RUN: HelperFunction = helperFunction(
  'fill-run',
  ['i32', 'i32', 'i64'],
  'void',
  (e, [target, bytes, pattern]) => {
    if (!target || !bytes || !pattern) throw new TypeError('fill-run')
    e.if(i32.and(i32.gt_u(bytes, i32.const(SHORT)), i64.eq(pattern, i64.rotl(pattern, i64.const(8)))), () => {
      e.memoryFill(target, i32.wrap_i64(i64.and(pattern, i64.const(0xff))), bytes)
      e.return()
    })
    const at = e.local('i32')
    const rest = e.local('i64')
    e.set(at, ZERO)
    whileLoop(
      e,
      () => i32.le_u(i32.add(e.get(at), EIGHT), bytes),
      () => {
        e.do(i64.store(i32.add(target, e.get(at)), pattern))
        e.set(at, i32.add(e.get(at), EIGHT))
      },
    )
    e.set(rest, pattern)
    whileLoop(
      e,
      () => i32.lt_u(e.get(at), bytes),
      () => {
        e.do(i64.store8(i32.add(target, e.get(at)), e.get(rest)))
        e.set(rest, i64.shr_u(e.get(rest), EIGHT64))
        e.set(at, i32.add(e.get(at), i32.const(1)))
      },
    )
    e.return()
  },
)
const EIGHT64 = i64.const(8)

/** (a, b, bytes) → how many bytes from the start are equal. */
export const EQUAL_RUN: HelperFunction = helperFunction(
  'equal-run',
  ['i32', 'i32', 'i32'],
  'i32',
  (e, [a, b, bytes]) => {
    if (!a || !b || !bytes) throw new TypeError('equal-run')
    const at = e.local('i32')
    const difference = e.local('i64')
    e.set(at, ZERO)
    whileLoop(
      e,
      () => i32.le_u(i32.add(e.get(at), EIGHT), bytes),
      () => {
        e.set(difference, i64.xor(i64.load(i32.add(a, e.get(at))), i64.load(i32.add(b, e.get(at)))))
        e.if(i32.eqz(i64.eqz(e.get(difference))), () =>
          e.return(i32.add(e.get(at), i32.shr_u(i32.wrap_i64(i64.ctz(e.get(difference))), i32.const(3)))),
        )
        e.set(at, i32.add(e.get(at), EIGHT))
      },
    )
    whileLoop(
      e,
      () => i32.lt_u(e.get(at), bytes),
      (leave) => {
        e.brIf(leave, i32.ne(i32.load8_u(i32.add(a, e.get(at))), i32.load8_u(i32.add(b, e.get(at)))))
        e.set(at, i32.add(e.get(at), i32.const(1)))
      },
    )
    e.return(e.get(at))
  },
)

/** (run, bytes, value, equal) → how many bytes of elements from the start are all equal (or, with `equal` 0, all unequal) to the value. */
function scanRun(size: 1 | 2 | 4 | 8): HelperFunction {
  const load = { 1: i64.load8_u, 2: i64.load16_u, 4: i64.load32_u, 8: i64.load }[size]
  return helperFunction(`scan-run-${size}`, ['i32', 'i32', 'i64', 'i32'], 'i32', (e, [run, bytes, value, equal]) => {
    if (!run || !bytes || !value || !equal) throw new TypeError('scan-run')
    const at = e.local('i32')
    e.set(at, ZERO)
    whileLoop(
      e,
      () => i32.lt_u(e.get(at), bytes),
      (leave) => {
        e.brIf(leave, i32.xor(i64.eq(load(i32.add(run, e.get(at))), value), equal))
        e.set(at, i32.add(e.get(at), i32.const(size)))
      },
    )
    e.return(e.get(at))
  })
}
export const SCAN_RUN: Readonly<Record<number, HelperFunction>> = {
  1: scanRun(1),
  2: scanRun(2),
  4: scanRun(4),
  8: scanRun(8),
}
