// Random inputs, and mutations of known ones, from a seed.

/** A small generator (mulberry32): the same numbers for the same seed. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** Small numbers, flags of TCP, protocols: what fields often hold. */
const LIKELY: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 20, 24, 25, 58, 64, 67, 80, 128, 133, 135, 255]

export function randomInput(random: () => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () =>
    random() < 0.4 ? (LIKELY[Math.floor(random() * LIKELY.length)] ?? 0) : Math.floor(random() * 256),
  )
}

/** A known input with a few bytes changed, taken out, or repeated. */
export function mutate(random: () => number, known: Uint8Array): Uint8Array {
  let bytes = known.slice()
  const count = 1 + Math.floor(random() * 6)
  for (let i = 0; i < count && bytes.length > 0; i++) {
    const at = Math.floor(random() * bytes.length)
    const length = 1 + Math.floor(random() * 16)
    const kind = random()
    if (kind < 0.6) bytes[at] = Math.floor(random() * 256)
    else if (kind < 0.8) bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)])
    else bytes = Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)])
  }
  return bytes
}
