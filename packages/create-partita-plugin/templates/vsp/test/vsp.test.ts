// What the provider answers.

import { FakeGuest } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { OPERATION, Response, STATUS } from '../src/protocol.ts'
import plugin from '../src/vsp.ts'
import { request } from './requests.ts'

/** A guest with an open channel, and a function that asks. */
async function boot(options: object = {}) {
  const guest = await FakeGuest.boot(plugin, { options })
  await guest.open()
  const ask = async (payload: Uint8Array) => {
    const { view } = await guest.ask({ payload })
    const { status, total } = new Response(view)
    return { status, total }
  }
  return { guest, ask, [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose]() }
}

describe('the counter', () => {
  it('adds, and wraps at 32 bits', async () => {
    await using counter = await boot({ start: 5 })
    expect(await counter.ask(request(OPERATION.READ))).toEqual({ status: STATUS.SUCCESS, total: 5 })
    expect(await counter.ask(request(OPERATION.ADD, 2))).toEqual({ status: STATUS.SUCCESS, total: 7 })
    expect(await counter.ask(request(OPERATION.ADD, 0xffff_ffff))).toEqual({ status: STATUS.SUCCESS, total: 6 })
  })

  it('refuses what makes no sense', async () => {
    await using counter = await boot()
    expect(await counter.ask(request(99, 1))).toEqual({ status: STATUS.INVALID, total: 0 })
    expect(await counter.ask(new Uint8Array(0))).toEqual({ status: STATUS.INVALID, total: 0 })
  })

  it('goes on counting after it was saved and restored', async () => {
    await using counter = await boot()
    await counter.ask(request(OPERATION.ADD, 40))
    await counter.guest.migrate()
    expect(await counter.ask(request(OPERATION.ADD, 2))).toEqual({ status: STATUS.SUCCESS, total: 42 })
  })
})
