import { silentLogger } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { Notices, withNotices } from '../src/notices.ts'

function fixture(raw = false) {
  const written: string[] = []
  const clock = { now: 5000 }
  const notices = new Notices({ write: (text) => void written.push(text), now: () => clock.now, raw })
  return { notices, written, clock }
}

describe('Notices', () => {
  it('writes lines as the terminal needs them', () => {
    const plain = fixture()
    plain.notices.error('the disk is full')
    plain.clock.now += 1234
    plain.notices.trace('vmbus', '-> OFFER')
    expect(plain.written).toEqual(['partita: the disk is full\n', 'vmbus 1.234 -> OFFER\n'])
    const raw = fixture(true)
    raw.notices.error('x')
    expect(raw.written).toEqual(['partita: x\r\n'])
  })

  it('leaves lines out when there are too many at once, and says how many', () => {
    const { notices, written, clock } = fixture()
    for (let i = 0; i < 20_000; i++) notices.trace('vmbus', 'x')
    expect(written).toHaveLength(5000)
    clock.now += 1000
    for (let i = 0; i < 20_000; i++) notices.trace('vmbus', 'x')
    expect(written).toHaveLength(5000 + 1 + 500)
    expect(written[5000]).toBe('partita: 15000 lines are left out here: too many at once\n')
    notices.conclude(['the end'])
    expect(written.slice(-2)).toEqual(['partita: 19500 lines are left out here: too many at once\n', 'the end\n'])
  })
})

describe('withNotices', () => {
  it('shows errors, warnings that name a plug-in, and the trace of the plug-ins that are traced', () => {
    const { notices, written } = fixture()
    const rules = { errors: true, traces: new Map([['@partita/vmbus', 'vmbus']]) }
    const logger = withNotices(silentLogger, notices, rules)
    const bus = logger.child({ plugin: '@partita/vmbus' }).child({ part: 'ring' })
    const other = logger.child({ plugin: 'other' })
    bus.log('trace', 'a')
    bus.log('debug', 'b')
    other.log('trace', 'c')
    other.log('error', 'd')
    other.log('warn', 'e')
    other.log('warn', 'f', { plugin: 'slow' })
    expect(written).toEqual(['vmbus 0.000 a\n', 'partita: d\n', 'partita: f\n'])
  })

  it('passes everything on, and leaves errors to a log that is shown', () => {
    const { notices, written } = fixture()
    const logged: unknown[] = []
    const log = { log: (...entry: unknown[]) => void logged.push(entry), child: () => log }
    withNotices(log, notices, { errors: false, traces: new Map() }).child({ plugin: 'x' }).log('error', 'm', { a: 1 })
    expect(logged).toEqual([['error', 'm', { a: 1 }]])
    expect(written).toEqual([])
  })
})
