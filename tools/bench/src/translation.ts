// `--mode` as options of the software processor.

import { threadCompiler } from '../../../packages/processor-x86/src/translator/thread-compiler.ts'
import type { TranslationOptions } from '../../../packages/processor-x86/src/translator/translator.ts'

/** `off`: the interpreter; `on`: with the translator in a worker; `here`: on the processor's own thread; a number: that threshold. */
export function translationOf(mode: string): TranslationOptions {
  if (mode === 'off') return { mode: 'off' }
  if (mode === 'here') return { mode: 'on' }
  const threshold = mode === 'on' ? {} : { threshold: Number(mode) }
  return { mode: 'on', compiler: threadCompiler(), ...threshold }
}
