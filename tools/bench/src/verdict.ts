// Measured against the target.

/** For what shall be small: one line. */
export function verdict(name: string, value: number, target: number, unit: string): string {
  return `${name}: target at most ${target} ${unit}; measured ${value.toFixed(2)}: ${value <= target ? 'met' : 'missed'}`
}

/** For what shall be large: one line. */
export function verdictAtLeast(name: string, value: number, target: number, unit: string): string {
  return `${name}: target at least ${target} ${unit}; measured ${value.toFixed(2)}: ${value >= target ? 'met' : 'missed'}`
}
