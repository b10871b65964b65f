// The network over the VMBus, end to end: the stock Debian kernel's hv_netvsc with a small host at the other end of the cable.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { type Logger, networkToken, type VmbusChannelInfo, vmbusServerToken } from '@partita/interface'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { NETWORK_INTERFACE_ID } from '@partita/synthetic-network/protocol'
import { networkControlToken } from '@partita/synthetic-network/vsp'
import { describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { GuestConsole } from './guest-console.ts'
import { chargen, NetworkHost } from './network-host.ts'

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
const NIC = '@partita/synthetic-network/vsp'
/** All that a frame may leave to its receiver. */
const EVERYTHING = 31

async function machine(host: NetworkHost, console: GuestConsole, errors: string[]): Promise<VirtualMachine> {
  if (guest === undefined) throw new Error('there is no guest')
  const logger: Logger = {
    log: (level, message, data) => void (level === 'error' && errors.push(`${message} ${String(data?.['error'])}`)),
    child: () => logger,
  }
  return VirtualMachine.create(
    {
      memory: 256 * 2 ** 20,
      virtualProcessors: 2,
      devices: [...DEFAULT_DEVICES, { plugin: NIC, options: { adapters: [{ macAddress: '02:15:5d:01:02:03' }] } }],
      boot: {
        kernel: guest.kernel,
        initrd: guest.initrd,
        commandLine: `${guest.commandLine} ${guest.pipedInputWord} partita_network=no`,
      },
    },
    {
      registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
      readFile,
      logger,
      characterBackends: new Map([['console', console]]),
      services: new Map([[networkToken.name, host]]),
    },
  )
}

describe.skipIf(guest === undefined)('hv_netvsc', () => {
  test('reaches a host, both ways, with all its offloads', { timeout: 600_000 }, async () => {
    const host = new NetworkHost()
    const console = new GuestConsole()
    const errors: string[] = []
    await using vm = await machine(host, console, errors)
    const end = vm.run()
    await console.saw('root# ')
    const run = async (command: string): Promise<string> => {
      const { output, status } = await console.run(command)
      expect(status, `${command}\n${output}`).toBe(0)
      return output
    }
    expect(await run('cat /sys/class/net/eth0/address')).toBe('02:15:5d:01:02:03\n')
    await run('echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set eth0 up')
    await run('ip addr add 10.9.8.2/24 dev eth0 && ip addr add fd00::2/64 dev eth0')
    expect(await run('ip link show eth0; cat /sys/class/net/eth0/speed')).toMatch(
      /eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500[\s\S]*\n10000\n$/,
    )
    // Two processors: the driver opens a sub-channel for the second one, in the background.
    const channels = (): readonly VmbusChannelInfo[] =>
      vm
        .find(vmbusServerToken)
        ?.channels()
        .filter(({ interfaceId }) => interfaceId === NETWORK_INTERFACE_ID) ?? []
    while (!channels().some(({ subChannelIndex, state }) => subChannelIndex > 0 && state === 'open')) await delay(20)
    expect(channels().map(({ subChannelIndex, state }) => [subChannelIndex, state])).toEqual([
      [0, 'open'],
      [1, 'open'],
    ])
    for (const address of ['10.9.8.1', 'fd00::1'])
      expect(await run(`ping -c 3 -i 0.1 -s 1000 ${address}`)).toContain('3 packets received')

    // Checksums and segments by the adapter's hand, and left to the network.
    const text = sha256(chargen(host.text))
    for (const address of ['10.9.8.1', 'fd00::1'])
      for (const accepts of [0, EVERYTHING]) {
        host.accepts = accepts
        host.large = accepts !== 0
        host.longestFrame = 0
        expect(await run(`nc ${address} 19 </dev/null >/tmp/text; sha256sum </tmp/text`)).toContain(text)
        await run(`nc ${address} 9 </tmp/text`)
        if (accepts === 0) expect(host.longestFrame).toBe(1514)
        else expect(host.longestFrame).toBeGreaterThan(1514)
      }
    expect(host.taken).toEqual(new Array(4).fill(text))
    const { statistics } = vm.find(networkControlToken)?.adapters[0] ?? {}
    expect(statistics?.largeSends).toBeGreaterThan(4)
    // Linux takes large frames in one piece.
    expect(statistics?.coalesced).toBeGreaterThan(4)
    expect(channels().every(({ counters }) => counters.packetsIn > 0 && counters.packetsOut > 0)).toBe(true)

    // Each of these takes the driver down to its channel and up again.
    for (const mtu of [9000, 576]) {
      await run(`ip link set eth0 mtu ${mtu}`)
      host.longestFrame = 0
      await run('ping -c 2 -i 0.1 -s 8000 -W 1 10.9.8.1; true')
      expect(host.longestFrame).toBe(mtu === 9000 ? 8042 : 586)
    }
    await run(
      'ip link set eth0 mtu 1500; ip link set eth0 down; ip link set eth0 address 02:15:5d:0a:0b:0c; ip link set eth0 up',
    )
    expect(host.adapter.macAddress).toBe('02:15:5d:0a:0b:0c')
    expect(await run('ping -c 1 10.9.8.1')).toContain('1 packets received')

    host.linkUp = false
    host.adapter.portChanged()
    await run('until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do usleep 10000; done')
    host.linkUp = true
    host.linkSpeed = 2.5e9
    host.adapter.portChanged()
    await run('until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do usleep 10000; done')
    expect(await run('cat /sys/class/net/eth0/speed; ping -c 1 10.9.8.1')).toMatch(/^2500\n[\s\S]*1 packets received/)

    expect([host.problems, errors]).toEqual([[], []])
    expect(await run('dmesg | grep -i -e netvsc -e eth0 | grep -i -e err -e fail -e invalid -e unknown; true')).toBe('')
    console.type('exit')
    expect(await end).toEqual({ type: 'power-off' })
  })
})
