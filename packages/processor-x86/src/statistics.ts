// What a virtual processor has to tell of its work, as lines of text.

import type { TranslationStatistics } from './translator/translator.ts'

/** How often generated code came back to TypeScript, by reason. */
export interface ProcessorExits {
  /** A slice or the interval between two samples was over. */
  budget: number
  exception: number
  /** Translated code left an instruction to the interpreter: a device's memory, code that changes, the unusual case of a system instruction. */
  leave: number
  /** An interrupt, or somebody outside, asked for it. */
  requested: number
  /** A system instruction ended the slice. */
  system: number
}

export interface ProcessorFigures {
  readonly index: number
  readonly instructions: number
  readonly exits: Readonly<ProcessorExits>
  /** Walks of page tables. */
  readonly walks: number
  readonly blocksDecoded: number
  readonly translation: TranslationStatistics | undefined
}

const number = (value: number): string => Math.round(value).toLocaleString('en-US')
const percent = (part: number, whole: number): string => `${whole === 0 ? 0 : ((100 * part) / whole).toFixed(1)} %`
const milliseconds = (value: number): string => `${value.toFixed(0)} ms`

export function describeProcessor(
  figures: ProcessorFigures,
  symbol: (address: bigint) => string | undefined = () => undefined,
): string[] {
  const { index, instructions, exits, walks, blocksDecoded, translation } = figures
  const lines = [
    `processor ${index}: ${number(instructions)} instructions, ${number(blocksDecoded)} blocks decoded, ${number(walks)} page walks (TLB misses)`,
    `  returns from generated code: ${number(exits.budget)} budget, ${number(exits.exception)} exceptions, ${number(exits.leave)} left to the interpreter, ${number(exits.requested)} requested, ${number(exits.system)} system instructions`,
  ]
  if (!translation) return [...lines, '  everything is interpreted']
  const { executed } = translation
  lines.push(
    `  interpreted ${number(instructions - executed)} (${percent(instructions - executed, instructions)}), translated ${number(executed)} (${percent(executed, instructions)})`,
    `  regions: ${number(translation.translated)} made of ${number(translation.instructions)} instructions in ${number(translation.jobs)} jobs, ${number(translation.regions)} in use in ${number(translation.modules)} modules, ${number(translation.dropped)} dropped, ${number(translation.evicted)} evicted, ${number(translation.consolidated)} compiled anew`,
    `  ${number(translation.bytes)} bytes of WebAssembly, emitted in ${milliseconds(translation.emitTime)}, compiled in ${milliseconds(translation.compileTime)}`,
  )
  for (const { rip, instructions: count } of translation.top) {
    const name = symbol(rip)
    lines.push(
      `  ${number(count).padStart(15)} ${percent(count, instructions).padStart(7)}  ${rip.toString(16).padStart(16, '0')}${name === undefined ? '' : ` ${name}`}`,
    )
  }
  return lines
}
