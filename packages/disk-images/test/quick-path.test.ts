// When a file is asked at once: by a clock that the test turns.

import { expect, test } from 'vitest'
import { QuickPath } from '../src/quick-path.node.ts'

const KIBIBYTE = 1024

function pathWithClock(local = true) {
  let time = 0
  const path = new QuickPath(local, () => time)
  const call = (milliseconds: number): boolean => {
    if (!path.take(4096)) return false
    path.run(() => {
      time += milliseconds
    })
    return true
  }
  return { path, call }
}

test('short calls are made at once, large ones never', () => {
  const { path, call } = pathWithClock()
  for (let i = 0; i < 1000; i++) expect(call(0.002)).toBe(true)
  expect(path.take(256 * KIBIBYTE)).toBe(true)
  expect(path.take(256 * KIBIBYTE + 512)).toBe(false)
})

test('after a slow one there is a pause, which doubles while there are more', () => {
  const { call } = pathWithClock()
  const pauses: number[] = []
  for (let i = 0; i < 9; i++) {
    expect(call(10)).toBe(true)
    let pause = 0
    // the call that ends the pause is quick, and makes the next pause one shorter
    while (!call(0.002)) pause++
    pauses.push(pause)
  }
  expect(pauses).toEqual([64, 127, 253, 505, 1009, 2017, 4033, 4095, 4095])
})

test('a slow call that fails counts, too', () => {
  const { path } = pathWithClock()
  let time = 0
  const failing = new QuickPath(true, () => time)
  expect(() =>
    failing.run(() => {
      time += 100
      throw new Error('EIO')
    }),
  ).toThrow('EIO')
  expect(failing.take(512)).toBe(false)
  expect(path.take(512)).toBe(true)
})

test('a file of a network is never asked at once', () => {
  const { path } = pathWithClock(false)
  for (let i = 0; i < 10_000; i++) expect(path.take(512)).toBe(false)
})
