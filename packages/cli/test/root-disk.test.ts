// End to end: the default guest on its root disk. What it wrote is looked at with the host's e2fsprogs, which know nothing of Partita.

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants, copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { hostFilesystemTools } from '../src/default-guest/filesystem-tools.ts'
import { ensureDefaultGuest, makeScratchRootDisk } from '../src/default-guest/index.ts'
import { partita, start } from './child.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-root-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})
const tools = hostFilesystemTools(process.env)
if (tools === undefined) console.warn('skipped: no e2fsprogs on this machine')

/** Half a MiB of lines, and what `seq` and `sha256sum` in the guest are to say of them. */
const LINES = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join('')
const SUM = createHash('sha256').update(LINES).digest('hex')

/** The `/sbin/init` of a disk that was made before the guest said when its console is set up. */
const FORMER = `sed -i '/partita_ready/d' /sbin/init`

const SYNCED = `
${FORMER}
mkdir /records && cd /records && seq 100000 >lines && sync
sha256sum lines
i=0; while [ $i -lt 300 ]; do echo $i >file$i; i=$((i + 1)); done
mv file7 renamed; rm file8; ln -s lines link; ln lines hard; truncate -s 12345 file9; truncate -s 0 file10; sync
echo SYNC""ED
`

function fsck(image: string, ...options: string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(tools!.e2fsck[0], ['-f', ...options, image])
  return { status, output: `${stdout}${stderr}` }
}

function fileOf(image: string, path: string): Buffer {
  const parameters = ['-R', `cat ${path}`, image]
  return execFileSync(tools!.debugfs[0], parameters, { stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 24 })
}

describe.skipIf(guest === undefined || tools === undefined)('a root disk that is kept', () => {
  const root = join(directory, 'root.img')

  test('holds what was synced when Partita was killed under writes', { timeout: 600_000 }, async () => {
    const child = start('main', ['run', '--root', root, '--timeout', '580'], directory)
    child.process.stdin.write(SYNCED)
    await child.saw(SUM)
    await child.saw('SYNCED')
    // Files come and go until the end.
    child.process.stdin.write('echo GO""ES; while :; do cp lines more; mv more again; tar cf files.tar file*; done\n')
    await child.saw('GOES')
    // Any moment in the middle of it will do.
    await new Promise((resolve) => setTimeout(resolve, 700))
    child.process.kill('SIGKILL')
    expect((await child.result).signal).toBe('SIGKILL')

    const copy = join(directory, 'copy.img')
    copyFileSync(root, copy, constants.COPYFILE_EXCL)
    // 1: the journal was replayed, or there was something harmless to correct after it.
    expect(fsck(copy, '-p').status).toBeLessThanOrEqual(1)
    expect(fsck(copy, '-n')).toMatchObject({ status: 0 })
    expect(fileOf(copy, '/records/lines').equals(Buffer.from(LINES))).toBe(true)
    expect(fileOf(copy, '/records/hard').equals(Buffer.from(LINES))).toBe(true)
    expect(fileOf(copy, '/records/renamed').toString()).toBe('7\n')
    expect(fileOf(copy, '/records/file8').toString()).toBe('')
    expect(fileOf(copy, '/records/file9').equals(Buffer.concat([Buffer.from('9\n'), Buffer.alloc(12343)]))).toBe(true)
  })

  test('goes on on another controller, and is clean after the guest switched itself off', {
    timeout: 600_000,
  }, async () => {
    const input = `
cd /records && sha256sum hard && ls file* | wc -l
echo "FILE SYSTEM $(grep -c '^/dev/sda / ext4 rw' /proc/mounts), DRIVER $(ls -d /sys/module/ata_piix)"
rm -r file1* && seq 1000 >left-by-this-run
sleep 1000 >/dev/null &
poweroff
`
    const { status, stdout, stderr } = await partita(
      'main',
      ['run', '--root', root, '--hypervisor', 'none', '--append', 'loglevel=7', '--timeout', '580'],
      directory,
      input,
    )
    expect(status, stderr).toBe(0)
    // Nothing is echoed: input waits until the console is set up, whatever the kernel says before.
    expect(stdout).toContain('Linux version')
    expect(stdout).not.toContain('sha256sum hard')
    expect(stdout).toContain(`${SUM}  hard`)
    expect(stdout).toMatch(/^.*\b298\r?$/m)
    expect(stdout).toContain('FILE SYSTEM 1, DRIVER /sys/module/ata_piix')
    expect(fsck(root, '-n')).toMatchObject({ status: 0, output: expect.not.stringContaining('recover') })
    expect(fileOf(root, '/records/left-by-this-run').toString().split('\n')).toHaveLength(1001)
    expect(fileOf(root, '/records/lines').equals(Buffer.from(LINES))).toBe(true)
  })
})

describe.skipIf(guest === undefined)('a root disk that is thrown away', () => {
  const guests = dirname(dirname(guest?.rootDisk ?? ''))
  const ofProcess = (pid: number | undefined): string[] =>
    readdirSync(guests).filter((name) => name.startsWith('.') && name.includes(`-${pid}-`))

  test('is on the VMBus, and leaves nothing when Partita is killed', { timeout: 600_000 }, async () => {
    const child = start('main', ['run', '--timeout', '580'], directory)
    child.process.stdin.write('echo "ROOT $(grep -c "^/dev/sda / ext4 rw" /proc/mounts)"\n')
    await child.saw('ROOT 1')
    const [made] = ofProcess(child.process.pid)
    expect(made).toBeDefined()
    expect(readdirSync(join(guests, made ?? ''))).not.toContain('root.img')
    child.process.kill('SIGKILL')
    const { stdout } = await child.result
    expect(stdout).toMatch(/clocksource hyperv_clocksource_tsc_page/)
    expect(stdout).toMatch(/VMBus devices: .*SCSI controller/)
    expect(stdout).toMatch(/sda +8:0 +0 +256M +0 disk +\//)
    // The next run tidies up.
    makeScratchRootDisk(guest!)[Symbol.dispose]()
    expect(ofProcess(child.process.pid)).toEqual([])
    expect(existsSync(guest!.rootDisk)).toBe(true)
  })

  test('that does not come leaves a shell in the initial RAM disk', { timeout: 600_000 }, async () => {
    const { status, stdout, stderr } = await partita(
      'main',
      ['run', '--no-root', '--append', 'root=LABEL=nowhere partita_root_wait=1 loglevel=7', '--timeout', '580'],
      directory,
      'echo "ROOT $(grep -c ext4 /proc/mounts)"\nexit\n',
    )
    expect(status, stderr).toBe(0)
    expect(stdout).toContain('No disk with the file system LABEL=nowhere within 1 seconds')
    expect(stdout).toContain('ROOT 0')
    expect(stdout).toContain('Linux version')
    expect(stdout).not.toContain('echo "ROOT')
  })
})
