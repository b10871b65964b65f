// The device of docs/writing-a-vsp.md: alone, against the compliance suite, and with its driver in a guest.

import { bootGuest } from '@partita/guest'
import { FakeGuest } from '@partita/testkit'
import { vspCompliance } from '@partita/testkit/vitest'
import { expect, it } from 'vitest'
import packageJson from './package.json' with { type: 'json' }
import { shoutDriver } from './vsc.ts'
import plugin from './vsp.ts'

const encoder = new TextEncoder()

it('gives text back in capitals', async () => {
  await using guest = await FakeGuest.boot(plugin, { options: { mark: '?' } })
  await guest.open()
  const { payload } = await guest.ask({ payload: encoder.encode('hello') })
  expect(new TextDecoder().decode(payload)).toBe('HELLO?\0\0')
})

vspCompliance({
  plugin,
  manifest: packageJson.partita,
  options: [{}, { mark: '…' }],
  invalidOptions: [{ mark: 1 }],
  request: (n) => ({ payload: encoder.encode(`request ${n}`) }),
})

it('talks to its driver in a guest', async () => {
  await using guest = await bootGuest({ providers: [plugin], drivers: [shoutDriver] })
  const device = await guest.device(shoutDriver)
  expect(await device.shout('hello from a guest')).toBe('HELLO FROM A GUEST!')
  expect(guest.deviceTree()).toContain('example-shout/vsc')
})
