// The TAP interface with this host's own stack behind it: its ping asks an adapter on the switch. It needs root, and a kernel with tun.

import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { checksumOf, Frame, getU16, IP_PROTOCOL, putU16, sumWords } from '@partita/ethernet'
import { FakeClock } from '@partita/testkit'
import { expect, it } from 'vitest'
import { VirtualSwitch } from '../src/index.ts'
import { TapAdapter } from '../src/tap.node.ts'
import { TestAdapter } from './adapter.ts'

const MAC = '02:00:00:00:00:99'

function reasonNot(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
    execFileSync('ip', ['-V'], { stdio: 'ignore' })
    execFileSync('ping', ['-V'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs /dev/net/tun, ip and ping'
  }
}

const reason = reasonNot()
if (reason !== undefined) console.log(`skipped: TAP ${reason}`)

it.skipIf(reason !== undefined)('the host’s ping reaches an adapter', async () => {
  const name = `ptst${process.pid % 100_000}`
  const network = new VirtualSwitch({ clock: new FakeClock() })
  const adapter = new TestAdapter('guest', MAC)
  const port = network.connect(adapter)
  using tap = new TapAdapter(name, (error) => {
    throw error
  })
  tap.start(network.connect(tap, { port: { spoofing: true } }))
  execFileSync('ip', ['addr', 'add', '198.51.100.1/24', 'dev', name])
  execFileSync('ip', ['link', 'set', name, 'up'])
  execFileSync('ip', ['neigh', 'add', '198.51.100.2', 'lladdr', MAC, 'dev', name])
  // Answers echo requests.
  adapter.onReceive = () => {
    const frame = adapter.received.pop()?.bytes
    if (frame === undefined || getU16(frame, 12) !== 0x0800 || frame[23] !== IP_PROTOCOL.ICMP || frame[34] !== 8) return
    const answer = frame.slice()
    answer.set(frame.subarray(6, 12), 0)
    answer.set(frame.subarray(0, 6), 6)
    answer.set(frame.subarray(30, 34), 26)
    answer.set(frame.subarray(26, 30), 30)
    answer[34] = 0
    putU16(answer, 36, 0)
    putU16(answer, 36, checksumOf(sumWords(answer, 34, answer.length)))
    port.send(new Frame().plain(answer))
    port.sendEnd()
  }
  const { spawn } = await import('node:child_process')
  let output = ''
  const ping = spawn('ping', ['-n', '-c', '3', '-w', '60', '-i', '0.2', '-s', '1000', '198.51.100.2'])
  ping.stdout.on('data', (chunk) => {
    output += chunk
  })
  const status = await new Promise((resolve) => ping.on('exit', resolve))
  expect(output).toContain('3 received')
  expect(status).toBe(0)
})

it('an interface that the user cannot have', () => {
  expect(() => new TapAdapter('a/b', () => {})).toThrowError(expect.objectContaining({ code: 'ERR_NETWORK_TAP' }))
})
