/**
 * One unclean stop: a guest writes records to a file system and to a bare disk, and says of each when its flush is complete; the process of the virtual
 * machine is killed (SIGKILL) in the middle; then the host looks whether the file system is whole and every record that was acknowledged is there.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Programs of e2fsprogs that this needs. */
export const E2FSPROGS: readonly string[] = ['mke2fs', 'e2fsck', 'debugfs']

const PATH: string = `${process.env['PATH']}:/usr/sbin:/sbin`
const MEBIBYTE: number = 2 ** 20
const FILE_SYSTEM_SIZE: number = 48 * MEBIBYTE
/** No other disk has this size: the guest finds it by that. */
const BARE_DISK_SIZE: number = 33 * MEBIBYTE
/** Bytes of a record. */
const RECORD_SIZE: number = 16_384
/** So many records go around on the bare disk, and the file system, before the oldest are written over. */
const RECORDS: number = 512

/** Seconds after which a guest that has not got as far as its stop hangs. */
const TIMEOUT: number = 3600

/** Which of {@link E2FSPROGS} this host does not have. */
export function missingPrograms(): string[] {
  return E2FSPROGS.filter((name) => spawnSync(name, ['-V'], { env: { ...process.env, PATH } }).error !== undefined)
}

/** Run a program to its end. */
export function run(program: string, args: readonly string[]): { status: number; output: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    env: { ...process.env, PATH },
    encoding: 'utf8',
    maxBuffer: 64 * MEBIBYTE,
  })
  if (error !== undefined) throw error
  return { status: status ?? 255, output: stdout + stderr }
}

/** Make an ext4 image with a label, without root's rights. */
export function makeFileSystem(path: string, size: number, label: string): void {
  writeFileSync(path, '')
  truncateSync(path, size)
  const { status, output } = run('mke2fs', ['-q', '-F', '-t', 'ext4', '-L', label, path])
  if (status !== 0) throw new Error(`mke2fs: ${output}`)
}

/** The images of a series of stops. */
export interface StopImages {
  readonly fileSystem: string
  readonly bareDisk: string
}

/** Make empty images in `directory`. */
export function makeImages(directory: string): StopImages {
  mkdirSync(directory, { recursive: true })
  const images = { fileSystem: join(directory, 'file-system.img'), bareDisk: join(directory, 'bare-disk.img') }
  makeFileSystem(images.fileSystem, FILE_SYSTEM_SIZE, 'records')
  writeFileSync(images.bareDisk, '')
  truncateSync(images.bareDisk, BARE_DISK_SIZE)
  return images
}

/** What the guest's shell gets to do. `run` tells the records of one stop from those of another. */
function guestScript(stop: number): string {
  return `
until findfs LABEL=records >/dev/null 2>&1; do usleep 20000; done
mount -t ext4 LABEL=records /mnt || exit
while [ -z "$bare" ]; do
  for disk in /sys/block/sd*; do
    read -r sectors <$disk/size && [ $sectors = ${BARE_DISK_SIZE / 512} ] && bare=/dev/\${disk##*/}
  done
  usleep 20000
done 2>/dev/null
until true <$bare; do usleep 20000; done 2>/dev/null
(while :; do dd if=/dev/urandom of=/mnt/noise bs=64k count=16; mv /mnt/noise /mnt/old-noise; rm /mnt/old-noise; done) 2>/dev/null &
cat >/tmp/load <<'END'
i=0
while :; do
  n=$((i % ${RECORDS}))
  record="record ${stop} $i"
  if [ $((i & 1)) = 0 ]; then yes "$record" | dd of=/mnt/$n bs=${RECORD_SIZE} count=1 iflag=fullblock conv=fsync
  else yes "$record" | dd of=$1 bs=${RECORD_SIZE} count=1 seek=$n iflag=fullblock conv=fsync,notrunc
  fi 2>/dev/null && echo "ACKNOWLEDGED $i"
  i=$((i + 1))
done
END
sh /tmp/load $bare
`
}

/** What is on the disk for a record. */
function recordBytes(stop: number, index: number): Buffer {
  return Buffer.alloc(RECORD_SIZE, `record ${stop} ${index}\n`)
}

/** Options of {@link uncleanStop}. */
export interface UncleanStopOptions {
  readonly images: StopImages
  /** Number of this stop. */
  readonly stop: number
  /** Kill after so many acknowledgements, … */
  readonly acknowledgements: number
  /** … and so many milliseconds. */
  readonly delay: number
  /** Starts `partita` with these arguments, standard input and output being pipes. */
  readonly start: (args: readonly string[]) => ChildProcess
  /** Directory for what is taken out of the images. */
  readonly directory: string
}

/** What came of it. */
export interface UncleanStopResult {
  /** Records that were acknowledged. */
  readonly acknowledged: number
  /** Whether the journal had something to replay. */
  readonly replayed: boolean
  /** What is wrong; empty when nothing is. */
  readonly problems: readonly string[]
}

/** Start, load, kill, look. */
export async function uncleanStop(options: UncleanStopOptions): Promise<UncleanStopResult> {
  const { images, stop } = options
  const child = options.start([
    'run',
    '--timeout',
    String(TIMEOUT),
    '--disk',
    images.fileSystem,
    '--disk',
    images.bareDisk,
  ])
  let output = ''
  let errors = ''
  let killing = false
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (killing || !output.includes(`ACKNOWLEDGED ${options.acknowledgements - 1}\r`)) return
    killing = true
    setTimeout(() => child.kill('SIGKILL'), options.delay)
  })
  child.stdin?.on('error', () => {})
  child.stdin?.write(guestScript(stop))
  await ended
  if (child.signalCode !== 'SIGKILL')
    return {
      acknowledged: 0,
      replayed: false,
      problems: [`the guest ended by itself: ${output.slice(-2000)}${errors}`],
    }
  const acknowledged = [...output.matchAll(/\bACKNOWLEDGED (\d+)\r\n/g)].map((match) => Number(match[1]))
  return { acknowledged: acknowledged.length, ...examine(options, acknowledged) }
}

/** Look at the images after a stop. */
export function examine(
  { images, stop, directory }: UncleanStopOptions,
  acknowledged: readonly number[],
): Omit<UncleanStopResult, 'acknowledged'> {
  const problems: string[] = []
  // Replays the journal, and repairs nothing else: status 1 says that it did, 4 that there is more.
  const replay = run('e2fsck', ['-p', images.fileSystem])
  if (replay.status > 1) problems.push(`e2fsck -p: status ${replay.status}: ${replay.output}`)
  const check = run('e2fsck', ['-fn', images.fileSystem])
  if (check.status !== 0) problems.push(`e2fsck -fn: status ${check.status}: ${check.output}`)
  const taken = join(directory, 'taken')
  rmSync(taken, { recursive: true, force: true })
  mkdirSync(taken)
  run('debugfs', ['-R', `rdump / ${taken}`, images.fileSystem])
  const disk = openSync(images.bareDisk, 'r')
  const last = acknowledged.at(-1) ?? -1
  for (const index of acknowledged) {
    // Its place belongs to a newer one, or to the one that was being written.
    if (index + RECORDS <= last + 1) continue
    const place = index % RECORDS
    const found = index % 2 === 0 ? fileBytes(join(taken, String(place))) : Buffer.alloc(RECORD_SIZE)
    if (index % 2 === 1) readSync(disk, found, 0, RECORD_SIZE, place * RECORD_SIZE)
    if (!found.equals(recordBytes(stop, index)))
      problems.push(`record ${index} of stop ${stop} is lost: ${JSON.stringify(found.toString('latin1', 0, 40))}`)
  }
  closeSync(disk)
  return { replayed: /recovering journal/.test(replay.output), problems }
}

function fileBytes(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    return Buffer.alloc(0)
  }
}

/** Starts `partita` from its sources. */
export function startPartita(args: readonly string[]): ChildProcess {
  const main = new URL('../../packages/cli/src/main.ts', import.meta.url).pathname
  return spawn(process.execPath, ['--conditions=@partita/source', main, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
}
