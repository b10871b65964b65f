// "Did you mean …": the nearest of the known names by edit distance.

/** The known names that are about as near to `name` as the nearest one, at most three. */
function nearest(name: string, known: Iterable<string>): string[] {
  const wanted = simple(name)
  const scored: { candidate: string; distance: number }[] = []
  for (const candidate of new Set(known)) {
    const plain = simple(candidate)
    // A last part alone ("pit" of "@partita/emulated-chipset/pit") counts as near.
    const distance = Math.min(
      editDistance(wanted, plain),
      ...plain.split('/').map((part) => editDistance(wanted, part) + 0.5),
    )
    if (distance <= Math.max(2, wanted.length / 3)) scored.push({ candidate, distance })
  }
  const best = Math.min(...scored.map(({ distance }) => distance))
  return scored
    .filter(({ distance }) => distance < best + 1)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}

/** `Did you mean a or b?`, or `undefined` when nothing is near. */
export function didYouMean(name: string, known: Iterable<string>): string | undefined {
  const names = nearest(name, known)
  return names.length === 0 ? undefined : `Did you mean ${names.join(' or ')}?`
}

function simple(name: string): string {
  return name.toLowerCase().replace(/^@partita\//, '')
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
