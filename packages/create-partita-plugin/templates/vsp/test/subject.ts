// The provider as the compliance suite and the fuzzer see it: its options, and what a guest says to it.

import type { VspSubject } from '@partita/testkit'
import packageJson from '../package.json' with { type: 'json' }
import { OPERATION, Response, STATUS } from '../src/protocol.ts'
import plugin from '../src/vsp.ts'
import { request } from './requests.ts'

export const subject = {
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
} satisfies VspSubject
