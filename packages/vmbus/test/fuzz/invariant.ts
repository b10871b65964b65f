// What has to hold, whatever a guest does.

/** @throws Error */
export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`invariant: ${what}`)
}
