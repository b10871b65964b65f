import { describe, expect, it } from 'vitest'
import { type Registers, RegisterTraffic, Segment, type Way } from './register-traffic.ts'

const [A, B, C] = [1, 2, 4]
/** What edges and exits were told, by name. */
function recorder(): {
  readonly told: Record<string, Registers>
  readonly by: (name: string) => (r: Registers) => void
} {
  const told: Record<string, Registers> = {}
  return {
    told,
    by: (name) => (registers) => {
      told[name] = registers
    },
  }
}
function way(segment: Segment, held: Registers, changed: Registers): Way {
  return { segment, held, changed }
}

describe('RegisterTraffic', () => {
  it('stores at an exit what was changed on the way there, and nothing else', () => {
    const traffic = new RegisterTraffic()
    const { told, by } = recorder()
    const entry = new Segment(true)
    traffic.exit(way(entry, A | B, B), by('changed'))
    traffic.exit(way(entry, A, 0), by('unchanged'))
    traffic.solve()
    expect(told).toEqual({ changed: B, unchanged: 0 })
  })
  it('stores at the exits of a loop what is changed behind them', () => {
    const traffic = new RegisterTraffic()
    const { told, by } = recorder()
    const entry = new Segment(true)
    traffic.exit(entry.start(), by('before'))
    const first = traffic.exits
    traffic.exit(way(entry, A, 0), by('inside'))
    traffic.comesRound(first, A)
    traffic.solve()
    expect(told).toEqual({ before: 0, inside: A })
  })
  it('loads before a loop what is read in it, and nothing when it goes round', () => {
    const traffic = new RegisterTraffic()
    const { told, by } = recorder()
    const loop = new Segment(false)
    loop.read = A | B
    traffic.edge(way(new Segment(true), A, 0), loop, by('into'))
    traffic.edge(way(loop, A, A), loop, by('again'))
    traffic.exit(way(loop, 0, 0), by('out'))
    traffic.solve()
    expect(told).toEqual({ into: B, again: 0, out: A })
  })
  it('loads on other ways what one way has changed', () => {
    const traffic = new RegisterTraffic()
    const { told, by } = recorder()
    const entry = new Segment(true)
    const merge = new Segment(false)
    traffic.edge(way(entry, A | C, C), merge, by('changed'))
    traffic.edge(way(entry, A, 0), merge, by('unchanged'))
    traffic.exit(merge.start(), by('out'))
    traffic.solve()
    expect(told).toEqual({ changed: 0, unchanged: C, out: C })
  })
  it('knows through other segments what is read and changed', () => {
    const traffic = new RegisterTraffic()
    const { told, by } = recorder()
    const [first, second] = [new Segment(false), new Segment(false)]
    second.read = B
    traffic.edge(way(new Segment(true), A, A), first, by('first'))
    traffic.edge(first.start(), second, by('second'))
    traffic.exit(second.start(), by('out'))
    traffic.solve()
    expect(told).toEqual({ first: B, second: 0, out: A })
  })
})
