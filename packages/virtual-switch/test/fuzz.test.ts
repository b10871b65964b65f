// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { expect, it } from 'vitest'
import { runInput } from './fuzz/harness.ts'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url))

/** What comes out, and by which rules it may. */
const WAYS: readonly string[] = ['tcp', 'udp', 'echo'].flatMap((kind) =>
  ['direct 4', 'direct 6', ...(kind === 'echo' ? [] : ['name', 'loopback'])].flatMap((way) =>
    ['', ', allowed'].flatMap((allow) => ['', ', not denied'].map((deny) => `out: ${kind} ${way}${allow}${deny}`)),
  ),
)

/** What guests get. */
const ANSWERS: readonly string[] = [
  'ARP',
  // Echo, and all that is unreachable: networks, hosts, what is forbidden.
  ...['IPv4 ICMP 0 ', 'IPv4 ICMP 3 0', 'IPv4 ICMP 3 1', 'IPv4 ICMP 3 13'],
  ...['IPv6 ICMP 129 ', 'IPv6 ICMP 1 0', 'IPv6 ICMP 1 1', 'IPv6 ICMP 1 3'],
  // A router and its neighbours.
  ...['IPv6 ICMP 134 ', 'IPv6 ICMP 136 '],
  // Connections: to forwarded ports, accepted, acknowledged, with data, ended, refused, reset.
  ...['IPv4 TCP 2 ', 'IPv4 TCP 18 ', 'IPv4 TCP 16 ', 'IPv4 TCP 24 data', 'IPv4 TCP 17 ', 'IPv4 TCP 20 ', 'IPv4 TCP 4 '],
  ...['IPv6 TCP 18 ', 'IPv6 TCP 16 ', 'IPv6 TCP 20 ', 'IPv6 TCP 4 '],
  // Datagrams, whole and not; names; DHCP's offers, acknowledgements; DHCPv6's advertisements and replies.
  ...[
    'IPv4 UDP  ',
    'IPv4 fragment',
    'IPv4 UDP 53 ',
    'IPv4 UDP 67 2',
    'IPv4 UDP 67 5',
    'IPv6 UDP 547 2',
    'IPv6 UDP 547 7',
  ],
]

it('the corpus adds up, and reaches what it is there for', async () => {
  const features = new Set<string>()
  for (const { name, input } of corpus) {
    const outcome = await runInput(input)
    expect(outcome.steps, name).toBeGreaterThan(5)
    for (const feature of outcome.features) features.add(feature)
  }
  expect([...ANSWERS, ...WAYS].filter((feature) => !features.has(feature))).toEqual([])
})

it('random inputs, and mutations of the corpus', async () => {
  const { counts, features } = await fuzz(target, {
    corpus: corpus.map(({ input }) => input),
    steps: 20_000,
    seed: 20_261,
  })
  expect(counts['frames']).toBeGreaterThan(1000)
  expect([...ANSWERS, ...WAYS].filter((feature) => !features.has(feature))).toEqual([])
})
