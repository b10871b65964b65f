// What every provider has to do: opening and closing at any time, malformed packets, full rings, save and restore in every state, nothing left behind.

import { vspCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import { OPERATION, Response, STATUS } from '../src/protocol.ts'
import plugin from '../src/vsp.ts'
import { request } from './requests.ts'

vspCompliance({
  plugin,
  manifest: packageJson.partita,
  options: [{}, { start: 7 }],
  invalidOptions: [{ start: -1 }, { start: 'one' }],
  request: (n) => ({
    name: `request ${n}`,
    payload: request(n % 2 === 0 ? OPERATION.ADD : OPERATION.READ, n),
    check: ({ view }) => {
      const { status } = new Response(view)
      if (status !== STATUS.SUCCESS) throw new Error(`status ${status}`)
    },
  }),
})
