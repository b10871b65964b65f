/** The beginning of what `npm run lockstep -- boot` does: the default guest on the interpreter and on translated code. */
import { expect, test } from 'vitest'
import { ensureDefaultGuest } from '../../../packages/cli/src/default-guest/index.ts'
import { bootInLockStep } from './boot.node.ts'

const INSTRUCTIONS = 12e6

test('the default guest boots in lock-step', { timeout: 300_000 }, async () => {
  const result = await bootInLockStep({
    guest: await ensureDefaultGuest(),
    memory: 128 * 2 ** 20,
    first: 'off',
    second: '1',
    slice: 20_000,
    instructions: INSTRUCTIONS,
  })
  expect(result.report).toBeUndefined()
  expect(result.stopped).toBeUndefined()
  expect(result.instructions).toBeGreaterThanOrEqual(INSTRUCTIONS)
  expect(result.regions[0]).toBe(0)
  expect(result.regions[1]).toBeGreaterThan(100)
})
