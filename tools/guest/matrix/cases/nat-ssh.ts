// dropbear in the guest, behind a port of the host that is forwarded; OpenSSH on the host.

import { equal, ok } from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type GuestCase, Skipped } from '../case.ts'
import { freePort, natDevices } from '../network.ts'

const SIZE = 4 * 2 ** 20

export const natSsh: GuestCase = {
  name: 'nat-ssh',
  description: "the host's ssh runs commands in the guest through a forwarded port, and copies a file there and back",
  async run({ boot, directory }) {
    const key = join(directory, 'key')
    const made = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    if (made.status !== 0) throw new Skipped('there is no OpenSSH client on this host')
    const port = await freePort()
    const guest = await boot({ devices: natDevices({ forwards: [{ hostPort: port, guestPort: 22 }] }) })
    await guest.run('mkdir -p /root/.ssh /dev/pts && chmod 700 /root /root/.ssh && mount -t devpts none /dev/pts')
    await guest.run(`echo '${readFileSync(`${key}.pub`, 'utf8').trim()}' >/root/.ssh/authorized_keys`)
    await guest.run('dropbearkey -t ed25519 -f /root/host-key >/dev/null 2>&1 && dropbear -s -r /root/host-key -p 22')
    const ssh = async (command: string, input?: Uint8Array): Promise<Buffer> => {
      const settings = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR']
      const child: ChildProcess = spawn(
        'ssh',
        [
          ...['-F', '/dev/null', '-i', key, '-p', String(port)],
          ...settings.flatMap((setting) => ['-o', setting]),
          ...['root@127.0.0.1', command],
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      )
      child.stdin?.on('error', () => {})
      child.stdin?.end(input)
      const closed = new Promise<number | null>((resolve) => child.on('close', resolve))
      const output = await buffer(child.stdout as NonNullable<typeof child.stdout>)
      equal(await closed, 0, `ssh … ${command}`)
      return output
    }
    equal((await ssh('uname -s; echo $SSH_CONNECTION | cut -d " " -f 4')).toString(), 'Linux\n22\n')
    const content = randomBytes(SIZE)
    const sum = createHash('sha256').update(content).digest('hex')
    ok((await ssh('cat >/tmp/copy && sha256sum /tmp/copy', content)).toString().startsWith(sum))
    ok(content.equals(await ssh('cat /tmp/copy')), 'the file comes back changed')
    equal((await ssh('sleep 1; echo still here')).toString(), 'still here\n')
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
