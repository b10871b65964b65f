import { describe, expect, it } from 'vitest'
import { readCorpus } from './fuzz/corpus.ts'
import { fuzz, runInput } from './fuzz/fuzz.ts'
import { observe } from './fuzz/observed.ts'

describe('hostile guests and devices', () => {
  it('of the corpus do not hurt the host', async () => {
    const corpus = readCorpus()
    expect(corpus.length).toBeGreaterThan(50)
    const features = new Set<string>()
    for (const input of corpus) for (const feature of (await runInput(input)).features) features.add(feature)
    // The corpus is worth its place: it gets deep into every part.
    expect(features.size).toBeGreaterThan(1500)
    const events = [...features].join('\n')
    for (const event of [
      'open, rings',
      'migrated',
      'offer taken back',
      'GPADL # refused',
      'device failed',
      'a range of # pages',
      'torn',
    ])
      expect(events).toContain(event)
  })

  it('made anew do not either', async () => {
    const result = await fuzz({ corpus: [], steps: 60_000, seed: 20_260 })
    expect(result.steps).toBeGreaterThanOrEqual(60_000)
  })

  it('do the same for the same input', async () => {
    const [input] = readCorpus()
    const first = await runInput(input as Uint8Array)
    const second = await runInput(input as Uint8Array)
    expect([...second.features]).toEqual([...first.features])
  })
})

describe('observed memory', () => {
  it('tells of each read, and lets it be changed before', () => {
    const buffer = new SharedArrayBuffer(64)
    const before = new Uint8Array(buffer)
    const log: string[] = []
    const { Int32Array: original } = globalThis
    const { load } = Atomics
    {
      using _ = observe(buffer, {
        before(offset, length) {
          log.push(`${offset}+${length}`)
          before[8] = (before[8] as number) + 1
        },
        read: (offset, length) => log.push(`read ${offset}+${length}`),
      })
      const words = new Int32Array(buffer, 8, 4)
      const bytes = new Uint8Array(buffer, 8, 8)
      const view = new DataView(buffer, 8)
      const own = new Uint8Array(4)
      // A read that is done twice gives two values.
      expect([words[0], words[0], words.length, words[4]]).toEqual([1, 2, 4, undefined])
      expect([Atomics.load(words, 0), bytes[0], view.getUint16(0, true)]).toEqual([3, 4, 5])
      own.set(new Uint8Array(buffer, 8, 2), 1)
      expect(own).toEqual(Uint8Array.of(0, 6, 0, 0))
      expect(log.filter((line) => line.startsWith('read'))).toEqual([
        'read 8+4',
        'read 8+4',
        'read 8+4',
        'read 8+1',
        'read 8+2',
        'read 8+1',
        'read 9+1',
      ])
      log.length = 0
      words[1] = 7
      bytes.set(own, 4)
      Atomics.store(words, 3, 9)
      view.setUint8(0, 1)
      expect(log).toEqual(['12+4', '12+4', '20+4', '8+1'])
      // What would go unseen does not go at all, and other memory is nobody's business.
      expect(() => bytes.slice()).toThrow('slice')
      expect(() => [...bytes]).toThrow('iterator')
      log.length = 0
      expect(new Int32Array(own.buffer)[0]).toBe(0x600)
      expect(log).toEqual([])
    }
    expect([Int32Array, Atomics.load]).toEqual([original, load])
    expect(new Uint8Array(buffer, 12, 4)).toEqual(Uint8Array.of(0, 6, 0, 0))
    expect(log).toEqual([])
  })
})
