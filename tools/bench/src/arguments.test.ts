import { describe, expect, it } from 'vitest'
import { parseArguments, UsageError } from './arguments.ts'

const NAMES = ['loops', 'boot']

describe('parseArguments', () => {
  it('takes a name, and runs in any place', () => {
    expect(parseArguments(['loops'], NAMES)).toMatchObject({ name: 'loops', runs: undefined, help: false })
    expect(parseArguments(['boot', '--runs', '7'], NAMES)).toMatchObject({ name: 'boot', runs: 7, help: false })
    expect(parseArguments(['--runs=3', 'boot'], NAMES)).toMatchObject({ name: 'boot', runs: 3, help: false })
  })

  it('takes a part, a time and a file', () => {
    const given = parseArguments(
      ['loops', '--only', 'crc,float', '--minutes', '0.5', '--json', 'a.json', '--mode', '3'],
      NAMES,
    )
    expect(given).toMatchObject({ only: ['crc', 'float'], minutes: 0.5, json: 'a.json', mode: '3' })
    expect(parseArguments(['loops'], NAMES)).toMatchObject({ only: undefined, minutes: undefined, json: undefined })
  })

  it('needs no name with --help', () => {
    expect(parseArguments(['--help'], NAMES).help).toBe(true)
  })

  it.each([
    [[], /loops, boot/],
    [['speed'], /no benchmark speed/],
    [['loops', 'boot'], /One benchmark at a time/],
    [['loops', '--runs', '0'], /whole number/],
    [['loops', '--runs', '2.5'], /whole number/],
    [['loops', '--runs', 'many'], /whole number/],
    [['loops', '--minutes', '0'], /--minutes/],
    [['loops', '--mode', 'fast'], /--mode/],
    [['loops', '--fast'], /--fast/],
  ] as const)('refuses %j', (args, message) => {
    expect(() => parseArguments(args, NAMES)).toThrow(UsageError)
    expect(() => parseArguments(args, NAMES)).toThrow(message)
  })
})
