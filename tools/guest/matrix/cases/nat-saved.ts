// A guest that is saved amid a transfer through user-mode NAT, and goes on in another machine, whose NAT knows nothing of it.

import { equal, ok } from 'node:assert/strict'
import { createServer } from 'node:net'
import { natControlToken } from '@partita/virtual-switch/nat'
import type { GuestCase } from '../case.ts'
import { Content, checksumServer, eventually, HOST, listen, natDevices, serve } from '../network.ts'

const MEBIBYTES = 16
/** So much has come when the guest is saved. */
const UNDER_WAY = 2 ** 20

export const natSaved: GuestCase = {
  name: 'nat-saved',
  description:
    'a guest that is saved amid a transfer goes on in another machine: the old connection is reset, and new ones have their checksums, both ways',
  async run({ boot, directory, mebibytes }) {
    const content = new Content(Math.min(mebibytes, MEBIBYTES))
    await using web = await serve(new Map([['/content', () => content.blocks()]]))
    await using receiver = await checksumServer()
    let came = 0
    let ended = false
    const { promise, resolve } = Promise.withResolvers<void>()
    await using sink = await listen(
      createServer((socket) => {
        socket
          .on('data', ({ length }) => {
            came += length
            if (came >= UNDER_WAY) resolve()
          })
          .on('error', () => {})
          .on('close', () => {
            ended = true
          })
      }),
    )
    const first = await boot({ devices: natDevices() })
    first.console.type(`nc ${HOST} ${sink.port} </dev/zero; echo NC ""ENDED`)
    await promise
    const restored = await first.save(directory)
    ok(!first.console.text.includes('NC ENDED'), 'the transfer had ended before')
    await first[Symbol.asyncDispose]()
    await eventually(
      () => ended,
      () => 'the NAT of the first machine leaves a connection open',
    )
    const second = await boot({ devices: natDevices(), restored })
    // Nothing but a reset ends the reading of /dev/zero.
    await second.saw('NC ENDED')
    const received = await second.run(
      `wget -q -O /tmp/content http://${HOST}:${web.port}/content && sha256sum /tmp/content`,
    )
    ok(received.includes(content.sha256), received)
    await second.run(`nc ${HOST} ${receiver.port} </tmp/content`)
    equal(await receiver.sha256, content.sha256)
    await second.run(`ping -c 3 ${HOST}`)
    const nat = second.vm.find(natControlToken)
    await eventually(
      () => nat?.report().tcpConnections === 0,
      () => `connections are left: ${JSON.stringify(nat?.report())}`,
    )
    equal(nat?.report().heldBytes, 0)
    equal(await second.complaints(), '')
    await second.powerOff()
  },
}
