import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReferenceClock } from '../src/index.ts'
import { FakeHost } from './fakes.ts'

function running(): { host: FakeHost; clock: ReferenceClock } {
  const host = new FakeHost()
  const clock = new ReferenceClock(host)
  clock.start()
  return { host, clock }
}

describe('ReferenceClock', () => {
  it('starts at zero and stands still while stopped', () => {
    const host = new FakeHost()
    const clock = new ReferenceClock(host)
    host.time += 50
    expect(clock.now()).toBe(0)
    clock.start()
    host.time += 100.7
    expect(clock.now()).toBe(100)
    clock.stop()
    host.time += 1000
    expect(clock.now()).toBe(100)
    clock.stop()
    clock.start()
    clock.start()
    host.time += 11
    expect(clock.now()).toBe(111)
    clock.set(5000)
    host.time += 1
    expect(clock.now()).toBe(5001)
    expect(clock.wallTime()).toBe(host.wall)
  })

  it('fires timers once, in the order of their deadlines, not before', () => {
    const { host, clock } = running()
    const fired: string[] = []
    const timers = ['c', 'a', 'b'].map((name) => clock.createTimer(() => fired.push(name)))
    timers[0]?.arm(300)
    timers[1]?.arm(100)
    timers[2]?.arm(200)
    expect(clock.nextDeadline).toBe(100)
    host.time += 99
    clock.runDue()
    expect(fired).toEqual([])
    host.time += 101
    clock.runDue()
    expect(fired).toEqual(['a', 'b'])
    expect(timers[1]?.deadline).toBe(Infinity)
    timers[0]?.arm(1000)
    expect(clock.nextDeadline).toBe(1000)
    timers[0]?.arm(Infinity)
    expect(clock.nextDeadline).toBe(Infinity)
    timers[0]?.cancel()
    host.time += 5000
    clock.runDue()
    expect(fired).toEqual(['a', 'b'])
  })

  it('lets a timer arm itself again from its callback, and does not run for ever on a period shorter than its service', () => {
    const { host, clock } = running()
    let count = 0
    const periodic = clock.createTimer(() => {
      count++
      periodic.arm(count * 10)
    })
    periodic.arm(0)
    host.time += 95
    clock.runDue()
    expect(count).toBe(10)
    let stuck = 0
    const greedy = clock.createTimer(() => {
      stuck++
      greedy.arm(0)
    })
    greedy.arm(0)
    clock.runDue()
    expect(stuck).toBeGreaterThan(1000)
    expect(stuck).toBeLessThan(100_000)
  })

  it('tells of a deadline that comes before all others', () => {
    const { clock } = running()
    const earlier: number[] = []
    clock.onEarlierDeadline = (deadline) => earlier.push(deadline)
    clock.createTimer(() => {}).arm(100)
    clock.createTimer(() => {}).arm(200)
    clock.createTimer(() => {}).arm(50)
    expect(earlier).toEqual([100, 50])
  })

  it('behaves as a sorted list does', () => {
    const operation = fc.record({
      timer: fc.nat(9),
      action: fc.constantFrom('arm', 'arm', 'cancel', 'advance'),
      value: fc.nat(1000),
    })
    void fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const { host, clock } = running()
        const fired: number[] = []
        const timers = Array.from({ length: 10 }, (_, index) => clock.createTimer(() => fired.push(index)))
        const model = new Map<number, number>()
        for (const { timer, action, value } of operations) {
          if (action === 'arm') {
            timers[timer]?.arm(value)
            model.set(timer, value)
          } else if (action === 'cancel') {
            timers[timer]?.cancel()
            model.delete(timer)
          } else {
            host.time += value / 4
            const due = [...model].filter(([, deadline]) => deadline <= clock.now()).sort((a, b) => a[1] - b[1])
            const before = new Map(model)
            fired.length = 0
            clock.runDue()
            expect(fired.map((index) => before.get(index))).toEqual(due.map(([, deadline]) => deadline))
            expect([...fired].sort()).toEqual(due.map(([index]) => index).sort())
            for (const [index] of due) model.delete(index)
          }
          expect(clock.nextDeadline).toBe(Math.min(Infinity, ...model.values()))
          for (const [index, armed] of timers.entries()) expect(armed.deadline).toBe(model.get(index) ?? Infinity)
        }
      }),
    )
  })
})
