// Names of the ways to execute, as the command line has them.

import { inlineCompiler, RegionCompilation } from '../../../packages/processor-x86/src/translator/compilation.ts'
import type { TranslationOptions } from '../../../packages/processor-x86/src/translator/translator.ts'

/** `off`: interpreter; `1`: everything is translated before its first execution; `step`: an instruction a region; `on`: as by default, with a compiler that answers at once; another number: that threshold. */
export function modeOf(name: string): TranslationOptions {
  if (name === 'off') return { mode: 'off' }
  // As in use, but that what is compiled is there at once: so that a run can be repeated.
  if (name === 'on')
    return {
      mode: 'on',
      compiler: { ...inlineCompiler(new RegionCompilation()), consolidation: { regions: 64, period: 30_000_000 } },
    }
  if (name === 'step') return { mode: 'on', threshold: 1, instructions: 1 }
  const threshold = Number(name)
  if (!(Number.isInteger(threshold) && threshold >= 1))
    throw new RangeError(`${name} is no mode: off, on, step or a threshold`)
  return { mode: 'on', threshold }
}
