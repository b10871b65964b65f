// The end-to-end test: the command line boots the real default guest, commands run in it, and what they print is compared with what the host works out itself.

import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { partita, start } from './child.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-boot-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Why the guest cannot be had here, or undefined. */
async function unavailable(): Promise<string | undefined> {
  try {
    await ensureDefaultGuest()
    return undefined
  } catch (error) {
    return String(error)
  }
}
const reason = await unavailable()
if (reason !== undefined) console.warn(`skipped: no default guest on this machine: ${reason}`)

const SIXTEEN_MIB = 16 * 1024 * 1024

/** What `awk` is asked to add up, in the same order and with the same roundings; scaling by a power of two is exact. */
function sum(): string {
  let s = 0
  for (let i = 1; i <= 100000; i++) s += i / (i + 0.1) - 1 / (i * 3)
  const whole = Math.floor(s)
  return `${whole} ${(s - whole) * 2 ** 36}`
}

/** The example of a start in the repository's README: its commands, and its lines with other numbers in them. */
function readmeExample(): { readonly commands: readonly string[]; readonly lines: readonly RegExp[] } {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const block = /```\n(Linux .*?)```/s.exec(readme)?.[1] ?? ''
  const commands: string[] = []
  const lines: RegExp[] = []
  for (const line of block.split('\n')) {
    const command = /^partita:.*?# (.*)$/.exec(line)?.[1]
    if (command !== undefined) commands.push(command)
    else if (/\w/.test(line)) {
      const pattern = line.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replace(/\d+/g, '\\d+')
      lines.push(new RegExp(`${pattern.replace(/ +/g, ' +')}\r?$`, 'm'))
    }
  }
  return { commands, lines }
}

const EXAMPLE = readmeExample()

const COMMANDS = `
${EXAMPLE.commands.join('\n')}
echo "CLOCK $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "TIMER $(cat /sys/devices/system/clockevents/clockevent0/current_device)"
echo "STIMER $(grep HVS: /proc/interrupts)"
echo "DETECTED $(dmesg | grep 'Hypervisor detected')"
uname -a
echo "MODEL $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2)"
echo "FLAGS $(grep -m1 '^flags' /proc/cpuinfo | cut -d: -f2)"
echo "SUM $(dd if=/dev/zero bs=1M count=16 2>/dev/null | tr "\\000" p | sha256sum)"
echo "AWK $(awk 'BEGIN { s = 0; for (i = 1; i <= 100000; i++) s += i / (i + 0.1) - 1 / (i * 3); f = int(s); printf "%d %.0f", f, (s - f) * 68719476736 }')"
echo "WARN $(dmesg | grep -c -E 'WARNING|BUG|Oops|segfault|trap ')"
exit
`

describe.skipIf(reason !== undefined)('the default guest', () => {
  test('boots, computes what the host computes, and powers off', { timeout: 300_000 }, async () => {
    const guest = await ensureDefaultGuest()
    const { status, stdout, stderr } = await partita('main', ['run', '--timeout', '280'], directory, COMMANDS)
    expect(status, stderr).toBe(0)
    expect(stdout).toContain(`Linux partita ${guest.version.match(/[\d.]+-\d+-cloud-amd64/)?.[0] ?? '6.'}`)
    expect(stdout).toMatch(/MODEL +Partita Software Processor/)
    for (const flag of ['sse4_2', 'aes', 'pclmulqdq', 'bmi2', 'adx', 'xsave', 'rdrand', 'cx16', 'movbe']) {
      expect(stdout).toMatch(new RegExp(`FLAGS .*\\b${flag}\\b`))
    }
    // nothing is offered that is not there
    expect(stdout).not.toMatch(/FLAGS .*\b(?:avx|avx2|fma|sha_ni)\b/)
    expect(stdout).toContain(`SUM ${createHash('sha256').update(Buffer.alloc(SIXTEEN_MIB, 'p')).digest('hex')}`)
    expect(stdout).toContain(`AWK ${sum()}`)
    expect(stdout).toContain('WARN 0')
    // The guest finds Hyper-V, and has its time from it.
    expect(stdout).toMatch(/DETECTED .*Hypervisor detected: Microsoft Hyper-V/)
    expect(stdout).toMatch(/CLOCK hyperv_clocksource_tsc_page\r?$/m)
    expect(stdout).toMatch(/TIMER Hyper-V clockevent\r?$/m)
    const ticks = /STIMER HVS: +(\d+) +Hyper-V stimer0 interrupts/.exec(stdout)?.[1]
    expect(Number(ticks)).toBeGreaterThan(10)
    // What the README shows is what is seen.
    expect(EXAMPLE.commands).toHaveLength(2)
    expect(EXAMPLE.lines).toHaveLength(4)
    for (const line of EXAMPLE.lines) expect(stdout).toMatch(line)
  })

  test('says everything to a reader that takes its time', { timeout: 300_000 }, async () => {
    const lines = 1500
    const commands = `echo GO; yes "$(printf %063d 0)" | head -n ${lines}; echo END\nexit\n`
    const runs = [['run'], ['run', '--no-root']].map(async (args) => {
      const child = start('main', args, directory)
      child.process.stdin.end(commands)
      await child.saw('GO')
      child.process.stdout.pause()
      // Longer than the guest takes to its end when it does not wait.
      await delay(6000)
      child.process.stdout.resume()
      const { status, stdout, stderr } = await child.result
      expect(status, stderr).toBe(0)
      expect(stdout.match(/^0{63}\r$/gm)).toHaveLength(lines)
      expect(stdout).toMatch(/\nEND\r\n/)
    })
    await Promise.all(runs)
  })
})
