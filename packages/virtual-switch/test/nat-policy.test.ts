// Where guests may go: the host itself, name servers, and what rules say of them.

import type { Logger, LogLevel } from '@partita/interface'
import { FakeClock } from '@partita/testkit'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { NatGateway, natOptionsSchema, VirtualSwitch } from '../src/index.ts'
import { NodeNatHost } from '../src/nat.node.ts'
import { F, NatGuest, TestHost } from './nat-guest.ts'

let from = 40_000

/** Where a connection of the guest comes out; `undefined`: nowhere, it is refused. */
function reaches(guest: NatGuest, to: string, port: number): string | undefined {
  const { tcp } = guest.host
  const before = tcp.length
  guest.tcp(to, port, { flags: F.SYN, sequence: 5 }, from++)
  return tcp.length === before ? undefined : `${tcp.at(-1)?.address}:${tcp.at(-1)?.port}`
}

/** Where a question for a name comes out. */
function asks(guest: NatGuest, server: string): string | undefined {
  const before = guest.host.udp.length
  guest.udp(server, 53, 'question', from++)
  const sent = guest.host.udp.length === before ? undefined : guest.host.udp.at(-1)?.sent.at(-1)
  return sent && `${sent.address}:${sent.port}`
}

describe('the host', () => {
  const names = ['192.0.2.100', '2001:db8::100', '2002:c000:264::1', '64:ff9b::192.0.2.100']

  it('is out of reach by the addresses of its interfaces', async () => {
    await using guest = await NatGuest.start()
    let echoes = 0
    guest.host.echo = async () => {
      echoes++
      return true
    }
    for (const name of names) {
      expect(reaches(guest, name, 22), name).toBeUndefined()
      guest.udp(name, 53, 'x')
    }
    guest.ip(1, '192.0.2.100', Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1))
    expect([guest.host.udp, echoes]).toEqual([[], 0])
    expect(reaches(guest, '192.0.2.101', 22)).toBe('192.0.2.101:22')
    // Its name server is asked for the guest, and that is another matter.
    guest.host.servers = ['192.0.2.100']
    expect(asks(guest, '10.0.2.3')).toBe('192.0.2.100:53')
  })

  it('is in reach by them where its loopback is', async () => {
    await using guest = await NatGuest.start({ hostLoopback: true })
    for (const name of names)
      expect(reaches(guest, name, 22), name).toBe(
        `${name.replace('192.0.2.100', (all) => (name === all ? all : 'c000:264'))}:22`,
      )
  })

  it('has the addresses that it has now', async () => {
    await using guest = await NatGuest.start()
    expect(reaches(guest, '192.0.2.200', 22)).toBeDefined()
    guest.host.interfaces = ['192.0.2.200']
    guest.clock.advance(1e9)
    expect(reaches(guest, '192.0.2.200', 22)).toBeUndefined()
    expect(reaches(guest, '192.0.2.100', 22)).toBeDefined()
  })

  it('with Node tells of its interfaces', () => {
    using host = new NodeNatHost()
    expect(host.ownAddresses()).toContain('127.0.0.1')
  })

  it('that does not tell of its addresses has none', async () => {
    await using guest = await NatGuest.start()
    Object.defineProperty(guest.host, 'ownAddresses', { value: undefined })
    expect(reaches(guest, '192.0.2.100', 22)).toBeDefined()
  })
})

it('no packet for a link or for the guests’ own network goes out, echo requests among them', async () => {
  await using guest = await NatGuest.start({ hostLoopback: true })
  const asked: string[] = []
  guest.host.echo = async (address) => {
    asked.push(address)
    return true
  }
  const nobody = ['169.254.169.254', '10.0.2.77', 'fe80::99', 'fd50:6172:7469::77', 'ff02::99', '2002:a9fe:a9fe::1']
  for (const to of nobody) {
    expect(reaches(guest, to, 80), to).toBeUndefined()
    guest.udp(to, 80, 'x', from++)
    guest.ip(to.includes(':') ? 58 : 1, to, Uint8Array.of(to.includes(':') ? 128 : 8, 0, 0, 0, 0, 1, 0, 1))
  }
  // Nor from an address that the guest does not have.
  for (const own of ['fe80::15', '2001:db8::77'])
    guest.ip6(58, '2001:db8::7', Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 1), { from: own })
  expect([guest.host.udp, asked]).toEqual([[], []])
  guest.ip6(58, '2001:db8::7', Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 1))
  expect(asked).toEqual(['2001:db8::7'])
})

describe('rules hold for what is behind the gateway', () => {
  it.each([
    // Its loopback: by its own address, or by the gateway's.
    [{ allow: ['127.0.0.1:8080'] }, ['127.0.0.1:8080', undefined, undefined]],
    [{ allow: ['10.0.2.2:8080'] }, ['127.0.0.1:8080', undefined, '::1:8080']],
    [{ allow: ['[::1]:8080'] }, [undefined, undefined, '::1:8080']],
    [{ allow: ['10.0.2.0/24'] }, ['127.0.0.1:8080', '127.0.0.1:22', '::1:8080']],
    [{ deny: ['127.0.0.0/8:22'] }, ['127.0.0.1:8080', undefined, '::1:8080']],
    [{ deny: ['[fd50:6172:7469::2]:8080'] }, [undefined, '127.0.0.1:22', undefined]],
    [{ deny: ['127.0.0.1'], allow: ['10.0.2.2'] }, [undefined, undefined, '::1:8080']],
    // A network of the world's that has the gateway's among many others is not about it.
    [{ deny: ['10.0.0.0/8', 'fd00::/8'] }, ['127.0.0.1:8080', '127.0.0.1:22', '::1:8080']],
    [{ allow: ['10.0.0.0/8'] }, [undefined, undefined, undefined]],
  ])('%j: loopback', async (rules, expected) => {
    await using guest = await NatGuest.start({ hostLoopback: true, ...rules })
    expect([
      reaches(guest, '10.0.2.2', 8080),
      reaches(guest, '10.0.2.2', 22),
      reaches(guest, 'fd50:6172:7469::2', 8080),
    ]).toEqual(expected)
  })

  it('and do not open the loopback by themselves', async () => {
    await using guest = await NatGuest.start({ allow: ['127.0.0.1', '10.0.2.2', '::1'] })
    for (const to of ['10.0.2.2', '127.0.0.1', 'fd50:6172:7469::2', '::1'])
      expect(reaches(guest, to, 80)).toBeUndefined()
  })

  it.each([
    [{ allow: ['192.0.2.7:443'] }, undefined],
    [{ allow: ['192.0.2.7:443', '10.0.2.3:53'] }, '192.0.2.53:53'],
    [{ allow: ['192.0.2.54:5353'] }, '192.0.2.54:5353'],
    [{ allow: ['192.0.2.54:53'] }, undefined],
    [{ deny: ['192.0.2.53'] }, '192.0.2.54:5353'],
    [{ deny: ['10.0.2.3'] }, undefined],
    [{ deny: ['10.0.2.2'] }, '192.0.2.53:53'],
    [{ deny: ['10.0.0.0/8'] }, '192.0.2.53:53'],
  ])('%j: names', async (rules, expected) => {
    await using guest = await NatGuest.start(rules)
    for (const server of ['10.0.2.3', 'fd50:6172:7469::3']) {
      expect(asks(guest, server)).toBe(expected)
      expect(reaches(guest, server, 53)).toBe(expected)
      expect(reaches(guest, server, 54)).toBeUndefined()
    }
  })

  it('a network without names says so', async () => {
    const said = async (options: object): Promise<string[]> => {
      const clock = new FakeClock()
      const lines: string[] = []
      const logger: Logger = {
        log: (level: LogLevel, message) => void lines.push(`${level}: ${message}`),
        child: () => logger,
      }
      const gateway = new NatGateway({
        clock,
        host: new TestHost(),
        options: v.parse(natOptionsSchema, options),
        logger,
      })
      await gateway.start(new VirtualSwitch({ clock }).connect(gateway, { port: { spoofing: true } }))
      return lines
    }
    expect(await said({})).toEqual([])
    expect(await said({ deny: ['192.0.2.53:53', '192.0.2.54:5353'] })).toEqual([
      'warn: guests have no names: there is no name server, or the rules permit none',
    ])
  })
})
