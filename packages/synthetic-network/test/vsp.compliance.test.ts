// The provider against the compliance suite, as a guest's netvsc speaks to it.

import { networkToken } from '@partita/interface'
import type { FakeGuest, GuestExchange, GuestStep } from '@partita/testkit'
import { vspCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import plugin from '../src/vsp.ts'
import { TestNetwork } from './test-network.ts'

const PAGES = 4

function message(type: number, words: readonly number[] = []): Uint8Array {
  const bytes = new Uint8Array(40)
  const view = new DataView(bytes.buffer)
  for (const [at, word] of [type, ...words].entries()) view.setUint32(at * 4, word, true)
  return bytes
}

/** A message of the set-up, with a success at a place of its answer. */
function control(name: string, payload: Uint8Array, type: number, statusAt: number): GuestExchange {
  return {
    name,
    payload,
    check: ({ view }) => {
      if (view.getUint32(0, true) !== type || view.getUint32(statusAt, true) !== 1)
        throw new Error(`answer ${view.getUint32(0, true)}, status ${view.getUint32(statusAt, true)}`)
    },
  }
}

function buffer(name: string, type: number, id: number): GuestStep {
  return async (guest: FakeGuest) => {
    const gpadl = await guest.createGpadl(guest.memory.allocatePages(PAGES))
    return control(name, message(type, [gpadl, id]), type + 1, 4)
  }
}

function rndis(name: string, words: readonly number[]): GuestExchange {
  const contents = new Uint8Array(words.length * 4)
  const view = new DataView(contents.buffer)
  for (const [at, word] of words.entries()) view.setUint32(at * 4, word, true)
  return {
    name,
    payload: message(107, [1, 0xffffffff, 0]),
    buffer: { size: contents.length, contents },
    check: ({ view: answer }) => {
      if (answer.getUint32(0, true) !== 108 || answer.getUint32(4, true) !== 1) throw new Error('RNDIS is refused')
    },
  }
}

/** A frame of its own length; or one that makes no sense, whose status says so. */
function request(n: number): GuestExchange {
  const length = 60 + (n % 1000)
  const contents = new Uint8Array(44 + length).fill(n)
  const view = new DataView(contents.buffer)
  const wrong = n % 5 === 4
  for (const [at, word] of [1, wrong ? 7 : contents.length, 36, length, 0, 0, 0, 0, 0, 0, 0].entries())
    view.setUint32(at * 4, word, true)
  return {
    name: 'frame',
    payload: message(107, [0, 0xffffffff, 0]),
    buffer: { size: contents.length, contents },
    check: ({ view: answer }) => {
      const status = answer.getUint32(4, true)
      if (answer.getUint32(0, true) !== 108 || status !== (wrong ? 5 : 1)) throw new Error(`status ${status}`)
    },
  }
}

vspCompliance({
  plugin,
  manifest: packageJson.partita,
  options: [{}, { adapters: [{ macAddress: '02:00:00:00:00:01' }, { connected: false }], queues: 1 }],
  invalidOptions: [{ queues: 0 }, { adapters: [{ macAddress: '01:00:00:00:00:00' }] }, { maximumVersion: '3' }],
  prepare: (machine) => machine.provide(networkToken, new TestNetwork()),
  setup: [
    control('INIT', message(1, [0x60001, 0x60001]), 2, 12),
    { name: 'NDIS_CONFIG', payload: message(125, [1514, 0, 0xac, 0]), answer: 'none' },
    { name: 'NDIS_VERSION', payload: message(100, [6, 30]), answer: 'none' },
    buffer('receive buffer', 101, 0xcafe),
    buffer('send buffer', 104, 0),
    rndis('INITIALIZE', [2, 24, 1, 1, 0, 0x4000]),
    rndis('packet filter', [5, 32, 2, 0x1010e, 4, 20, 0, 13]),
  ],
  ramSize: 8 * 1024 * 1024,
  request,
  respond: () => message(108, [1]).subarray(0, 8),
})
