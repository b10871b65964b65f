// New inputs: out of nothing, and out of known ones.

import type { RandomSource } from '../compliance/random-source.ts'

/** `length` bytes; `likely` ones, which mean something to what is fuzzed, make up two fifths. */
export function randomInput(random: RandomSource, length: number, likely: readonly number[] = []): Uint8Array {
  return Uint8Array.from({ length }, () =>
    likely.length > 0 && random.chance(2, 5) ? random.pick(likely) : random.below(256),
  )
}

/** A known input with a few bytes changed, taken out, or repeated, or with the end of one of `others`; at most `longest` bytes. */
export function mutateInput(
  random: RandomSource,
  known: Uint8Array,
  others: readonly Uint8Array[] = [],
  longest = 4096,
): Uint8Array {
  let bytes: Uint8Array = known.slice()
  const changes = 1 + random.below(6)
  for (let change = 0; change < changes && bytes.length > 0; change++) {
    const at = random.below(bytes.length)
    const length = 1 + random.below(16)
    const kind = random.below(20)
    if (kind < 12) bytes[at] = random.below(256)
    else if (kind < 15) bytes = concatenate(bytes.subarray(0, at), bytes.subarray(at + length))
    else if (kind < 19 || others.length === 0) bytes = concatenate(bytes.subarray(0, at + length), bytes.subarray(at))
    else {
      const other = random.pick(others)
      bytes = concatenate(bytes.subarray(0, at), other.subarray(random.below(other.length + 1)))
    }
  }
  return bytes.subarray(0, longest)
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}
