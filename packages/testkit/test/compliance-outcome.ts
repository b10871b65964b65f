// What a suite says of a subject, for the tests of the suites.

import { expect } from 'vitest'
import { type ComplianceCheck, ComplianceError } from '../src/index.ts'

/** Run one check: the error with which it fails, or `undefined`. */
export async function outcome(checks: readonly ComplianceCheck[], name: string): Promise<ComplianceError | undefined> {
  const check = checks.find((one) => one.name === name)
  if (check === undefined) throw new Error(`there is no check '${name}'`)
  return await check.run().then(
    () => undefined,
    (error: unknown) => {
      expect(error).toBeInstanceOf(ComplianceError)
      return error as ComplianceError
    },
  )
}
