// Which signals end `partita` in order, and which at once. The clock is the test's; command-line.test.ts sends real signals.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { watchSignals } from '../src/end-signals.ts'

let now = 0
const ends: [status: number, signal: string][] = []

function watch() {
  vi.useFakeTimers()
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  ends.length = 0
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never)
  const watching = watchSignals((status, signal) => ends.push([status, signal]))
  return { exit, [Symbol.dispose]: () => watching[Symbol.dispose]() }
}
const signal = (name: NodeJS.Signals) => process.emit(name, name)

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('a signal', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s that comes twice within half a second is one', (name, status) => {
    using watching = watch()
    signal(name)
    now += 500
    signal(name)
    expect(ends).toEqual([[status, name]])
    expect(watching.exit).not.toHaveBeenCalled()
  })

  it('that comes later ends everything at once, with its own status', () => {
    using watching = watch()
    signal('SIGTERM')
    now += 501
    signal('SIGINT')
    expect(ends).toEqual([[143, 'SIGTERM']])
    expect(watching.exit.mock.calls).toEqual([[130]])
  })

  it('has five seconds to end things in order', () => {
    using watching = watch()
    signal('SIGHUP')
    vi.advanceTimersByTime(4999)
    expect(watching.exit).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(watching.exit.mock.calls).toEqual([[129]])
  })

  it('has no time limit after the end', () => {
    const { exit, ...watching } = watch()
    signal('SIGTERM')
    watching[Symbol.dispose]()
    vi.advanceTimersByTime(5000)
    expect(exit).not.toHaveBeenCalled()
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) expect(process.listenerCount(name), name).toBe(0)
  })
})
