import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  parseDevice,
  parseDisk,
  parseFirmware,
  parseForward,
  parseHypervisor,
  parseMac,
  parseMachine,
  parseMemory,
  parseNetwork,
  parseProcessors,
  parseSerial,
  parseTimeout,
  parseTrace,
} from '../src/option-values.ts'

const MIB = 2 ** 20
const usage = expect.objectContaining({ code: 'ERR_USAGE' })

describe('parseMemory', () => {
  it.each([
    ['512M', 512 * MIB],
    ['512', 512 * MIB],
    ['1G', 1024 * MIB],
    ['1.5G', 1536 * MIB],
    ['2GiB', 2048 * MIB],
    ['64mb', 64 * MIB],
    ['65536k', 64 * MIB],
  ])('%s', (text, bytes) => expect(parseMemory(text)).toBe(bytes))

  it.each(['', 'M', '-1M', '1T', '1e3', '0x10', '1 000', 'NaN', '1.3K3', '0.0001K', '99999999999999999G'])(
    'refuses %j',
    (text) => {
      expect(() => parseMemory(text)).toThrow(usage)
    },
  )
})

describe('parseProcessors', () => {
  it.each([
    ['1', 1],
    ['04', 4],
    ['64', 64],
  ])('%s', (text, count) => expect(parseProcessors(text)).toBe(count))
  it.each(['', '0', '-1', '65', '1.5', '2 ', 'two', '1e1', '999999999999999999999'])('refuses %j', (text) =>
    expect(() => parseProcessors(text)).toThrow(usage),
  )
})

describe('parseTimeout', () => {
  it.each([
    ['30', 30],
    ['2.5', 2.5],
    ['10s', 10],
  ])('%s', (text, seconds) => expect(parseTimeout(text)).toBe(seconds))
  it.each(['', '0', '-1', '1m', 'soon', '1e9', '99999999'])('refuses %j', (text) =>
    expect(() => parseTimeout(text)).toThrow(usage),
  )
})

describe('parseDevice', () => {
  it('takes plug-in and options apart', () => {
    expect(parseDevice('@a/b')).toEqual({ plugin: '@a/b', options: {} })
    expect(parseDevice('./x.ts,base=0x3f8,irq=-4,rate=1.5,on,off=false,name=a=b,empty=')).toEqual({
      plugin: './x.ts',
      options: { base: 0x3f8, irq: -4, rate: 1.5, on: true, off: false, name: 'a=b', empty: '' },
    })
  })
  it.each(['', ',a=1', 'x,', 'x,=1', 'x,a=1,a=2'])('refuses %j', (text) =>
    expect(() => parseDevice(text)).toThrow(usage),
  )

  it('never throws anything else', () => {
    void fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(parseDevice(text).plugin).not.toBe('')
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_USAGE' })
        }
      }),
    )
  })
})

describe('parseSerial', () => {
  it('knows three kinds', () => {
    expect(parseSerial('stdio')).toEqual({ type: 'stdio' })
    expect(parseSerial('file:a:b')).toEqual({ type: 'file', path: 'a:b' })
    expect(parseSerial('unix:/run/x')).toEqual({ type: 'unix', path: '/run/x' })
  })
  it.each(['', 'file:', 'unix:', 'tty', 'stdio:'])('refuses %j', (text) =>
    expect(() => parseSerial(text)).toThrow(usage),
  )
})

describe('parseDisk', () => {
  const plain = { readOnly: false, dvd: false }
  it('takes file and words apart', () => {
    expect(parseDisk('a.img')).toEqual({ path: 'a.img', ...plain })
    expect(parseDisk('a.img,ro')).toEqual({ path: 'a.img', ...plain, readOnly: true })
    expect(parseDisk('x.iso,dvd')).toEqual({ path: 'x.iso', readOnly: true, dvd: true })
    expect(parseDisk('a.img,ide,ro')).toEqual({ path: 'a.img', ...plain, readOnly: true, bus: 'ide' })
    expect(parseDisk('a.img,scsi,controller=3,lun=63')).toEqual({
      path: 'a.img',
      ...plain,
      bus: 'scsi',
      controller: 3,
      lun: 63,
    })
  })
  it('knows places on the IDE controller, and disks that are on it alone', () => {
    expect(parseDisk('x.iso,ide,dvd,controller=1')).toEqual({
      path: 'x.iso',
      readOnly: true,
      dvd: true,
      bus: 'ide',
      controller: 1,
    })
    expect(parseDisk('a,ide,plain,lun=1')).toEqual({ path: 'a', ...plain, bus: 'ide', plain: true, lun: 1 })
  })
  it('leaves commas in names of files', () => {
    expect(parseDisk('a,b.img,ro').path).toBe('a,b.img')
    expect(parseDisk('ro').path).toBe('ro')
    expect(parseDisk('ro,ro')).toMatchObject({ path: 'ro', readOnly: true })
  })
  it.each([
    '',
    ',ro',
    'a,ro,ro',
    'a,ide,lun=2',
    'a,ide,controller=2',
    'a,plain',
    'a,scsi,ide',
    'a,lun=64',
    'a,controller=16',
    'a,lun=1,lun=2',
  ])('refuses %j', (text) => expect(() => parseDisk(text)).toThrow(usage))
})

it('parseNetwork knows what networks there are', () => {
  for (const type of ['none', 'loopback'] as const) expect(parseNetwork(type)).toEqual({ type })
  expect(parseNetwork('nat')).toEqual({ type: 'nat', hostLoopback: false })
  expect(parseNetwork('nat,host')).toEqual({ type: 'nat', hostLoopback: true })
  expect(parseNetwork('tap:tap0')).toEqual({ type: 'tap', name: 'tap0' })
  expect(parseNetwork('switch:/run/a b')).toEqual({ type: 'switch', path: '/run/a b' })
  for (const text of ['', 'lan', 'None', 'tap', 'tap:', 'switch:', 'nat,loopback'])
    expect(() => parseNetwork(text)).toThrow(usage)
})

it('parseForward knows protocols, addresses and ports', () => {
  expect(parseForward('tcp:2222:22')).toEqual({ protocol: 'tcp', hostPort: 2222, guestPort: 22 })
  expect(parseForward('udp:0.0.0.0:5353:53')).toEqual({
    protocol: 'udp',
    hostAddress: '0.0.0.0',
    hostPort: 5353,
    guestPort: 53,
  })
  expect(parseForward('tcp:[::1]:8080:80')).toMatchObject({ hostAddress: '::1', hostPort: 8080 })
  for (const text of ['', '2222:22', 'tcp:22', 'tcp:0:22', 'tcp:22:65536', 'sctp:1:2', 'tcp:::1:8080:80'])
    expect(() => parseForward(text)).toThrow(usage)
})

it('parseFirmware', () => {
  expect(parseFirmware('bios')).toEqual({ type: 'bios' })
  expect(parseFirmware('bios:/a:b')).toEqual({ type: 'bios', path: '/a:b' })
  for (const text of ['', 'uefi', 'bios:', 'Bios']) expect(() => parseFirmware(text)).toThrow(usage)
})

it('parseMac and parseMachine', () => {
  expect(parseMac('02-15-5D-00-00-FF')).toBe('02:15:5d:00:00:ff')
  for (const text of ['', '02:15:5d:00:00', '03:15:5d:00:00:01', '02155d000001'])
    expect(() => parseMac(text)).toThrow(usage)
  expect(parseMachine('gen1')).toBe('gen1')
  for (const text of ['', 'gen3', 'Gen1']) expect(() => parseMachine(text)).toThrow(usage)
})

describe('parseHypervisor and parseTrace', () => {
  it('know their words', () => {
    expect(parseHypervisor('hyper-v')).toBe('hyper-v')
    expect(parseHypervisor('none')).toBe('none')
    expect(parseTrace('vmbus')).toBe('vmbus')
    for (const text of ['', 'kvm', 'Hyper-V']) expect(() => parseHypervisor(text)).toThrow(usage)
    for (const text of ['', 'all', 'vmbus,storage']) expect(() => parseTrace(text)).toThrow(usage)
  })
})
