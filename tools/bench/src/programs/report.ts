// The tables of `programs`: ratios of paired runs, their spread, and geometric means by group.

import { geometricMean, median } from '../statistics.ts'
import { table } from '../table.ts'
import { verdict } from '../verdict.ts'
import type { Length, Measurement } from './index.ts'
import type { ProgramResult } from './result.ts'

/** Times of QEMU TCG, geometric means. */
const TARGETS: Readonly<Record<string, number>> = { integer: 1, float: 0.3, x87: 1, memory: 0.8, kernel: 1, tools: 1 }
const TARGET_OVERALL = 0.7
/** Of any one program. */
const TARGET_WORST = 2
/** At a tenth of the length. */
const TARGET_SHORT = 1.5

const OWN = 'Partita'
/** Whom the targets are about. */
const QEMU = 'QEMU TCG'
const NATIVE = 'native'
type Kind = 'wall' | 'thread' | 'processor'

/** Of one program at one length. */
interface Line {
  readonly group: string
  readonly name: string
  readonly seconds: number
  readonly peerSeconds: number | undefined
  readonly nativeSeconds: number
  /** Partita's time by the peer's: medians over the pairs of runs. */
  readonly wall: number | undefined
  readonly thread: number | undefined
  /** The first pair of runs: code that was never executed before. */
  readonly first: number | undefined
  readonly processor: number | undefined
  /** Smallest and largest ratio of the busiest threads. */
  readonly spread: readonly [number, number] | undefined
  readonly native: number
  readonly peerNative: number | undefined
}

function ratios(a: readonly ProgramResult[], b: readonly ProgramResult[], kind: Kind): number[] {
  return a.map((one, run) => one[kind] / (b[run] as ProgramResult)[kind])
}

function lineOf({ program, results }: Measurement, peerName: string): Line {
  const own = results[OWN] as readonly ProgramResult[]
  const peer = results[peerName]
  const native = results[NATIVE] as readonly ProgramResult[]
  const seconds = (list: readonly ProgramResult[]): number => median(list.map(({ thread }) => thread))
  const pairs = peer && ratios(own, peer, 'thread')
  return {
    group: program.group,
    name: program.name,
    seconds: seconds(own),
    peerSeconds: peer && seconds(peer),
    nativeSeconds: seconds(native),
    wall: peer && median(ratios(own, peer, 'wall')),
    thread: pairs && median(pairs),
    first: pairs?.[0],
    processor: peer && median(ratios(own, peer, 'processor')),
    spread: pairs && [Math.min(...pairs), Math.max(...pairs)],
    native: median(ratios(own, native, 'thread')),
    peerNative: peer && median(ratios(peer, native, 'thread')),
  }
}

const show = (value: number | undefined, digits = 2): string => value?.toFixed(digits) ?? '-'

/** @param runs of each program on each machine
 * @param peer whom Partita is compared with */
export function report(measurements: readonly Measurement[], runs: number, peer: string = QEMU): string {
  const lines = (length: Length): Line[] =>
    measurements.filter((one) => one.length === length).map((one) => lineOf(one, peer))
  const full = lines('full')
  const short = lines('tenth')
  const out = [
    `Seconds of processor time of the busiest thread, medians of ${runs} alternating runs. The ratios to ${peer} are medians over pairs of runs: of the busiest threads (with that of the first`,
    `pair, smallest and largest), by the guest's clock, and of whole processes. The last columns are times of the host's own. Targets are compared with the busiest threads.`,
    '',
    ...section('full length', full, peer),
    '',
    ...section('a tenth of it', short, peer),
    '',
    groupTable(full, short, peer),
    '',
    ...(peer === QEMU ? verdicts(full, short) : []),
  ]
  return out.join('\n')
}

function section(title: string, lines: readonly Line[], peer: string): string[] {
  const header = [
    title,
    OWN,
    peer,
    NATIVE,
    'thread',
    'first',
    'least',
    'most',
    'clock',
    'process',
    `${OWN}/native`,
    `${peer}/native`,
  ]
  return [
    table([
      header,
      ...lines.map((one) => [
        one.name,
        show(one.seconds, 3),
        show(one.peerSeconds, 3),
        show(one.nativeSeconds, 3),
        show(one.thread),
        show(one.first),
        show(one.spread?.[0]),
        show(one.spread?.[1]),
        show(one.wall),
        show(one.processor),
        show(one.native, 1),
        show(one.peerNative, 1),
      ]),
    ]),
  ]
}

function mean(lines: readonly Line[], value: (line: Line) => number | undefined): number | undefined {
  const values = lines.map(value).filter((one) => one !== undefined)
  return values.length === 0 ? undefined : geometricMean(values)
}

function groupTable(full: readonly Line[], short: readonly Line[], peer: string): string {
  const row = (name: string, keep: (line: Line) => boolean): string[] => {
    const [a, b] = [full.filter(keep), short.filter(keep)]
    return [
      name,
      show(mean(a, (line) => line.thread)),
      show(mean(a, (line) => line.first)),
      show(mean(a, (line) => line.wall)),
      show(mean(a, (line) => line.processor)),
      show(mean(b, (line) => line.thread)),
      show(mean(b, (line) => line.wall)),
      show(mean(b, (line) => line.processor)),
      show(
        mean(a, (line) => line.native),
        1,
      ),
      show(
        mean(a, (line) => line.peerNative),
        1,
      ),
    ]
  }
  const groups = [...new Set(full.map(({ group }) => group))]
  return table([
    [
      'geometric means',
      `thread/${peer}`,
      'first',
      'clock',
      'process',
      'tenth, thread',
      'clock',
      'process',
      `${OWN}/native`,
      `${peer}/native`,
    ],
    ...groups.map((group) => row(group, (line) => line.group === group)),
    row('all', () => true),
  ])
}

function verdicts(full: readonly Line[], short: readonly Line[]): string[] {
  if (mean(full, ({ thread }) => thread) === undefined) return []
  const unit = `times ${QEMU}`
  const groups = [...new Set(full.map(({ group }) => group))]
  const out = groups.map((group) => {
    const value = mean(
      full.filter((line) => line.group === group),
      ({ thread }) => thread,
    ) as number
    return verdict(group, value, TARGETS[group] ?? 1, unit)
  })
  out.push(verdict('all', mean(full, ({ thread }) => thread) as number, TARGET_OVERALL, unit))
  const worst = full.reduce((a, b) => ((a.thread ?? 0) >= (b.thread ?? 0) ? a : b))
  out.push(verdict(`worst, ${worst.name}`, worst.thread as number, TARGET_WORST, unit))
  const first = full.reduce((a, b) => ((a.first ?? 0) >= (b.first ?? 0) ? a : b))
  out.push(
    `first runs, all: ${show(mean(full, (line) => line.first))} ${unit}, worst: ${first.name}, ${show(first.first)}`,
  )
  out.push(verdict('a tenth of the length, all', mean(short, ({ thread }) => thread) as number, TARGET_SHORT, unit))
  const worstShort = short.reduce((a, b) => ((a.thread ?? 0) >= (b.thread ?? 0) ? a : b))
  out.push(`a tenth of the length, worst: ${worstShort.name}, ${show(worstShort.thread)} ${unit}`)
  return out
}
