import { describe, expect, it } from 'vitest'
import { parseResult } from './result.ts'

describe('parseResult', () => {
  it('finds the line among others', () => {
    const text = 'make: nothing\r\nresult crc 00000000deadbeef 1500000000 1250000000\r\npartita:/root# '
    expect(parseResult(text, 'crc')).toEqual({ checksum: '00000000deadbeef', wall: 1.5, thread: 1.25, processor: 1.25 })
  })

  it.each(['', 'result sort 00000000deadbeef 15 14', 'result crc deadbeef 15 14', 'result crc 00000000deadbeef 15'])(
    'not in %j',
    (text) => {
      expect(parseResult(text, 'crc')).toBeUndefined()
    },
  )
})
