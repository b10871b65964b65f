// What every driver has to do: work with a host that answers late, out of order, twice, wrongly or never, with full rings, and when its device is taken away.

import { vscCompliance } from '@partita/testkit/vitest'
import { myDeviceDriver } from '../src/vsc.ts'
import { MyDevice } from '../src/vsp.ts'

vscCompliance({
  driver: myDeviceDriver,
  host: () => new MyDevice(7),
  // Nothing is added, so that operations do not disturb each other.
  operate: async (counter, n) => {
    const total = n % 2 === 0 ? await counter.read() : await counter.add(0)
    if (total !== 7) throw new Error(`${total} instead of 7`)
  },
})
