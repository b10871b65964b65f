/** Random programs on this machine's own processor, which has the last word, where there is one and a compiler. `npm run lockstep -- native 100000` is the full run. */
import { describe, expect, test } from 'vitest'
import { NativeMachine, runNatively } from './native.node.ts'

const COUNT = Number(process.env['PARTITA_LOCKSTEP_PROGRAMS'] ?? 400)

function missing(): string | undefined {
  try {
    new NativeMachine()[Symbol.dispose]()
    return undefined
  } catch (error) {
    return (error as Error).message.split('\n')[0]
  }
}
const reason = missing()
if (reason !== undefined) console.log(`no programs are run natively: ${reason}`)

describe.skipIf(reason !== undefined)('the real processor', () => {
  test.each(['off', '1'])('and mode %s', { timeout: 120_000 }, (mode) => {
    const { programs, exceptions, failures } = runNatively({ mode, seed: 1, count: mode === 'off' ? COUNT : COUNT / 4 })
    expect(failures.map(({ report }) => report).join('\n')).toBe('')
    expect(exceptions).toBeGreaterThan(programs)
  })
})
