// Many bytes through user-mode NAT, with their checksums: to the guest, and through the guest back to the host.

import { equal, ok } from 'node:assert/strict'
import { natControlToken } from '@partita/virtual-switch/nat'
import type { GuestCase } from '../case.ts'
import { Content, checksumServer, eventually, HOST, natDevices, serve } from '../network.ts'

export const natTransfer: GuestCase = {
  name: 'nat-transfer',
  description:
    'what wget gets from an HTTP server of the host (1 GiB, or --mebibytes) has its checksum, and what the guest passes on to another server, too',
  timeout: 3600,
  async run({ boot, mebibytes }) {
    const content = new Content(mebibytes)
    await using web = await serve(new Map([['/content', () => content.blocks()]]))
    await using receiver = await checksumServer()
    const guest = await boot({ devices: natDevices() })
    const source = `wget -q -O - http://${HOST}:${web.port}/content`
    const seconds = async (command: string): Promise<{ output: string; rate: string }> => {
      const { user, system } = process.cpuUsage()
      const output = await guest.run(command, 3000)
      const after = process.cpuUsage()
      const used = (after.user + after.system - user - system) / 1e6
      return { output, rate: `${(used * (1024 / mebibytes)).toFixed(0)} s of processor time a GiB` }
    }
    const plain = await seconds(`${source} | wc -c`)
    equal(plain.output.trim(), String(mebibytes * 2 ** 20))
    console.log(`  to the guest: ${plain.rate}`)
    const summed = await seconds(`${source} | sha256sum`)
    ok(summed.output.includes(content.sha256), summed.output)
    const passed = await seconds(`${source} | nc ${HOST} ${receiver.port}`)
    equal(await receiver.sha256, content.sha256)
    console.log(`  to the guest and back: ${passed.rate}`)
    const nat = guest.vm.find(natControlToken)
    await eventually(
      () => nat?.report().tcpConnections === 0,
      () => `connections are left: ${JSON.stringify(nat?.report())}`,
    )
    equal(nat?.report().heldBytes, 0)
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
