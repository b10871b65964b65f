// How errors are shown, also those that are none.

import { PartitaError } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { formatError, statusOfError } from '../src/cli-error.ts'

describe('formatError', () => {
  const hint = 'hint: This is a fault of Partita or of the host; PARTITA_LOG=debug shows more.\n'

  it.each<[unknown, string]>([
    [new PartitaError('ERR_X', 'a\n  b', { hint: 'c' }), 'partita: ERR_X: a b\nhint: c\n'],
    [new PartitaError('ERR_X', 'a'), 'partita: ERR_X: a\n'],
    [new TypeError('a'), `partita: ERR_HOST: TypeError: a\n${hint}`],
    [Object.assign(new Error('a'), { code: 'ENOENT' }), `partita: ENOENT: a\n${hint}`],
    ['a', `partita: ERR_HOST: a\n${hint}`],
    [undefined, `partita: ERR_HOST: undefined\n${hint}`],
    [null, `partita: ERR_HOST: null\n${hint}`],
  ])('%s', (error, text) => {
    expect(formatError(error)).toBe(text)
  })

  it('goes with a status', () => {
    expect(statusOfError(new PartitaError('ERR_PLUGIN_UNKNOWN', 'a'))).toBe(2)
    expect(statusOfError(new PartitaError('ERR_PLUGIN_FAILED', 'a'))).toBe(70)
    expect(statusOfError(undefined)).toBe(70)
  })
})
