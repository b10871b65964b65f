// Who in a VM has claimed what: so that a collision names both sides.

import { PartitaError } from '@partita/interface'

/** What can collide. */
type ClaimKind = 'port' | 'mmio' | 'pci' | 'vmbus' | 'connection'

interface Claim {
  readonly kind: ClaimKind
  readonly id: string
  readonly start: number
  /** After the last. */
  readonly end: number
  /** Of things that are no numbers. */
  readonly key: string | undefined
  readonly name: string
}

/** The claims of all plug-ins of one VM. */
export class Claims {
  readonly #claims = new Set<Claim>()

  /** Note what `id` has. `name` says it in a sentence. */
  add(kind: ClaimKind, id: string, name: string, start: number, end: number, key?: string): Disposable {
    const claim: Claim = { kind, id, start, end, key, name }
    this.#claims.add(claim)
    return { [Symbol.dispose]: () => void this.#claims.delete(claim) }
  }

  /** Who has some of it. */
  find(kind: ClaimKind, start: number, end: number, key?: string): { id: string; name: string } | undefined {
    for (const claim of this.#claims)
      if (claim.kind === kind && (key === undefined ? claim.start < end && start < claim.end : claim.key === key))
        return claim
    return undefined
  }
}

/** The error for a collision of `id`, which wants `name`, with `other`. */
export function collision(
  code: string,
  id: string,
  name: string,
  other: { readonly id: string; readonly name: string },
  cause?: unknown,
): PartitaError {
  return new PartitaError(
    code,
    `${other.id} and ${id} collide: the first has ${other.name}, the second wants ${name}`,
    {
      hint: 'Give one of them another place in its options, or leave one of them out.',
      data: { plugins: [other.id, id] },
      ...(cause !== undefined && { cause }),
    },
  )
}

/** `0x3f8–0x3ff`, or `0x80` for one alone. */
export function formatRange(start: number, end: number): string {
  const first = `0x${start.toString(16)}`
  return end - start === 1 ? first : `${first}–0x${(end - 1).toString(16)}`
}
