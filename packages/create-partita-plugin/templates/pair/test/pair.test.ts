// Provider and driver together: a guest in TypeScript boots, finds the device on the VMBus and loads the driver for it.

import { bootGuest } from '@partita/guest'
import { describe, expect, it } from 'vitest'
import { myDeviceDriver } from '../src/vsc.ts'
import plugin from '../src/vsp.ts'

describe('the pair', () => {
  it('counts', async () => {
    await using guest = await bootGuest({
      providers: [{ plugin, options: { start: 40 } }],
      drivers: [myDeviceDriver],
    })
    const counter = await guest.device(myDeviceDriver)
    expect(await counter.add(2)).toBe(42)
    expect(await Promise.all([1, 2, 3].map((value) => counter.add(value)))).toEqual([43, 45, 48])
    expect(await counter.read()).toBe(48)
  })

  it('is driven anew after the guest has slept', async () => {
    await using guest = await bootGuest({ providers: [plugin], drivers: [myDeviceDriver] })
    const before = await guest.device(myDeviceDriver)
    await before.add(5)
    await guest.suspend()
    await expect(before.read()).rejects.toMatchObject({ code: expect.stringContaining('ERR_') })
    await guest.resume()
    const after = await guest.device(myDeviceDriver)
    expect(await after.read()).toBe(5)
  })
})
