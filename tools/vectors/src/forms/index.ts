/** All forms, in the order of the vector files. */
import type { Form } from '../form.ts'
import { arithmetic } from './arithmetic.ts'
import { bits } from './bits.ts'
import { jumps, stack, strings } from './control.ts'
import { exceptions } from './exceptions.ts'
import { mmx } from './mmx.ts'
import { moves } from './moves.ts'
import { multiply } from './multiply.ts'
import { shifts } from './shifts.ts'
import { float } from './sse-float.ts'
import { integer } from './sse-integer.ts'
import { state, x87 } from './x87.ts'

/** Every form; names are unique. */
export function allForms(): Form[] {
  const forms = [
    arithmetic,
    multiply,
    shifts,
    bits,
    moves,
    stack,
    jumps,
    strings,
    exceptions,
    x87,
    state,
    mmx,
    integer,
    float,
  ].flatMap((family) => family())
  // The same instruction with the same kind of address may come twice, for instance at two alignments.
  const seen = new Map<string, number>()
  return forms.map((form) => {
    const n = (seen.get(form.name) ?? 0) + 1
    seen.set(form.name, n)
    return n === 1 ? form : { ...form, name: `${form.name} #${n}` }
  })
}
