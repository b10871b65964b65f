// A whole guest in lock-step: registers are compared after each slice, all of memory every now and then. When something differs, the guest is booted again, up to the last place
// where all was the same, and goes on in smaller and smaller steps.

import { setImmediate as turn } from 'node:timers/promises'
import { BootPair, type PairOptions, type SliceEnd } from './boot-pair.node.ts'

/** Slices between two comparisons of memory. */
const MEMORY_INTERVAL = 50
/** Sizes of steps, in instructions, with which the slice that differs is looked at. */
const STEPS = [5, 40, 400]
const SHOWN_INSTRUCTIONS = 16

export interface BootOptions extends PairOptions {
  readonly instructions: number
  readonly progress?: (instructions: number, console: string) => void
}
export interface BootResult {
  readonly instructions: number
  readonly slices: number
  readonly console: string
  /** Regions that the processors translated. */
  readonly regions: readonly [number, number]
  /** Why it came to an end before its time. */
  readonly stopped: SliceEnd | undefined
  /** What differs, for people. */
  readonly report: string | undefined
}

export async function bootInLockStep(options: BootOptions): Promise<BootResult> {
  const pair = await BootPair.boot(options)
  let slices = 0
  let stopped: SliceEnd | undefined
  let good = 0
  while (pair.instructions < options.instructions && stopped === undefined) {
    const end = pair.slice()
    slices++
    if (end !== 'same') stopped = end
    else if (slices % MEMORY_INTERVAL === 0) {
      if (pair.memoryDifferences(1).length > 0) stopped = 'different'
      else good = slices
      // devices have promises, too
      await turn()
      options.progress?.(pair.instructions, pair.a.console.text)
    }
  }
  if (stopped !== 'different' && pair.memoryDifferences(1).length > 0) stopped = 'different'
  const result = {
    instructions: pair.instructions,
    slices,
    console: pair.a.console.text,
    regions: pair.regions,
    stopped,
  }
  if (stopped !== 'different') return { ...result, report: undefined }
  const found = [
    `They differ after ${pair.instructions} instructions, in slice ${slices}.`,
    ...pair.registerDifferences(),
    ...pair.memoryDifferences(),
  ]
  return { ...result, report: `${found.join('\n')}\n${await locate(options, good, slices)}` }
}

/** Boot again; the first `good` slices are known to be the same, one of those up to `bad` is not. */
async function locate(options: BootOptions, good: number, bad: number): Promise<string> {
  // with what happens in between exactly as before
  const replay = async (slices: number): Promise<BootPair> => {
    const pair = await BootPair.boot(options)
    for (let n = 1; n <= slices; n++) {
      pair.slice()
      if (n % MEMORY_INTERVAL === 0) await turn()
    }
    return pair
  }
  let slice = bad
  const rough = await replay(good)
  for (let n = good + 1; n <= bad; n++) {
    const end = rough.slice()
    if (end !== 'same' || rough.memoryDifferences(1).length > 0) {
      slice = n
      break
    }
    if (n % MEMORY_INTERVAL === 0) await turn()
  }
  for (const step of STEPS) {
    const pair = await replay(slice - 1)
    pair.begin()
    const start = pair.instructions
    while (pair.instructions - start < 2 * options.slice) {
      const before = pair.lastRip
      const end = pair.advance(step)
      if (end === 'same' && pair.memoryDifferences(1).length === 0) continue
      return [
        `In steps of about ${step} instructions they differ after ${pair.instructions}:`,
        ...pair.registerDifferences(),
        ...pair.memoryDifferences(),
        `both were the same at ${pair.lastRip.toString(16)}, and a step before at ${before.toString(16)}:`,
        ...pair.code(pair.lastRip, SHOWN_INSTRUCTIONS),
      ].join('\n')
    }
  }
  return `In small steps slice ${slice} is the same on both.`
}
