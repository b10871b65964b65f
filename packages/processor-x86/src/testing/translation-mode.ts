// In which mode the tests of this package execute: PARTITA_TRANSLATION is `off` (interpreter), `1` (everything is translated before it is executed the first time), `step` (the
// same, an instruction a region, so that translated code can be stepped through) or `on` (what is a little hot is translated).

import type { TranslationOptions } from '../translator/translator.ts'

/** What the environment asks for. */
export function translationMode(): TranslationOptions {
  const wanted = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env[
    'PARTITA_TRANSLATION'
  ]
  if (wanted === '1') return { mode: 'on', threshold: 1 }
  if (wanted === 'step') return { mode: 'on', threshold: 1, instructions: 1 }
  if (wanted === 'on') return { mode: 'on', threshold: 2 }
  return { mode: 'off' }
}
