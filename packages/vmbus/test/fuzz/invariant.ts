// What has to hold, whatever a guest does.

/** Something did not hold. */
export class InvariantError extends Error {
  constructor(what: string) {
    super(`invariant: ${what}`)
  }
}

/** @throws InvariantError */
export function check(condition: boolean, what: string): void {
  if (!condition) throw new InvariantError(what)
}
