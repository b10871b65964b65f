// Thousands of short connections through user-mode NAT.

import { equal, ok } from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { natControlToken } from '@partita/virtual-switch/nat'
import type { GuestCase } from '../case.ts'
import { buildNetworkProgram, eventually, HOST, listen, natDevices, serve } from '../network.ts'

const COUNT = 6000
const AT_A_TIME = 8
const openFiles = (): number => readdirSync('/proc/self/fd').length

export const natConnections: GuestCase = {
  name: 'nat-connections',
  description:
    'thousands of short TCP connections, 8 at a time, all carry a byte there and back; neither the NAT nor the process keeps any of them',
  timeout: 1200,
  async run({ boot, directory }) {
    const program = readFileSync(buildNetworkProgram(directory))
    await using web = await serve(new Map([['/network', () => [program]]]))
    let accepted = 0
    const open = new Set<Socket>()
    await using echo = await listen(
      createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        accepted++
        open.add(socket)
        socket.on('close', () => open.delete(socket)).on('error', () => {})
        socket.pipe(socket)
      }),
    )
    const guest = await boot({ devices: natDevices() })
    const nat = guest.vm.find(natControlToken)
    await guest.run(`wget -q -O /tmp/network http://${HOST}:${web.port}/network && chmod +x /tmp/network`)
    const quiet = async (): Promise<void> => {
      await eventually(
        () => nat?.report().tcpConnections === 0 && open.size === 0,
        () => `connections are left: ${JSON.stringify(nat?.report())}, ${open.size} of the server`,
      )
      equal(nat?.report().heldBytes, 0)
    }
    await quiet()
    const files = openFiles()
    const said = await guest.run(`/tmp/network connect ${HOST} ${echo.port} ${COUNT} ${AT_A_TIME}`, 900)
    console.log(`  ${said.trim()}`)
    ok(said.includes(`${COUNT} exchanges`), said)
    equal(accepted, COUNT)
    await quiet()
    ok(openFiles() <= files, `${openFiles()} files are open, ${files} were`)
    // What is cut off amid a transfer goes, too.
    await guest.run(
      `for i in $(seq 50); do nc ${HOST} ${echo.port} </dev/zero >/dev/null & done; sleep 1; kill $(jobs -p); wait`,
    )
    await quiet()
    ok(openFiles() <= files, `${openFiles()} files are open, ${files} were`)
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
