// `partita` as a child process: misuse, ends of all kinds, signals, pipes, sockets and a terminal.

import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nodeArguments, partita, start } from './child.ts'
import { type GuestLetter, writeKernel } from './fake-guest.ts'

let directory: string
const file = (name: string) => join(directory, name)
const kernel = (letter: GuestLetter) => writeKernel(file(`kernel-${letter.charCodeAt(0)}`), letter)
const withFile = (name: string, content: string, args: string[]) => {
  writeFileSync(file(name), content)
  return args
}
/** An image of one sector. */
const image = (name: string) => {
  writeFileSync(file(name), new Uint8Array(512))
  return file(name)
}
const run = (letter: GuestLetter, args: string[] = [], input = '') =>
  partita('fake', ['--kernel', kernel(letter), ...args], directory, input)

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'partita-cli-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

describe('partita', { concurrent: false }, () => {
  it('explains itself', async () => {
    const help = await partita('main', ['--help'], directory)
    expect(help).toMatchObject({ status: 0, stderr: '' })
    expect(help.stdout).toContain('plugins')
    const runHelp = await partita('main', ['run', '--help'], directory)
    for (const option of [
      '--config',
      '--kernel',
      '--initrd',
      '--append',
      '--memory',
      '--processors',
      '--disk',
      '--hypervisor',
      '--network',
      '--forward',
      '--capture',
      '--mac',
      '--machine',
      '--trace',
      '--serial',
      '--timeout',
      '--device',
      '--guest-file',
      '--module',
      'Exit status',
    ]) {
      expect(runHelp.stdout).toContain(option)
    }
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    expect(await partita('main', ['--version'], directory)).toMatchObject({ status: 0, stdout: `${version}\n` })
  })

  it('keeps its compiled modules in the cache directory, and starts where it cannot', async () => {
    const version = async (cache: string, env: Record<string, string> = {}) =>
      await start('main', ['--version'], directory, { NODE_COMPILE_CACHE: '', XDG_CACHE_HOME: cache, ...env }).result
    mkdirSync(file('cache'))
    expect(await version(file('cache'), { NODE_DISABLE_COMPILE_CACHE: '1' })).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(file('cache/partita/modules'))).toEqual([])
    expect(await version(file('cache'))).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(file('cache/partita/modules'), { recursive: true }).length).toBeGreaterThan(50)
    expect(await version(file('cache'))).toMatchObject({ status: 0, stderr: '' })
    mkdirSync(file('cache/partita/modules/former'))
    for (let n = 0; n <= 5000; n++) writeFileSync(file(`cache/partita/modules/former/${n}`), '')
    expect(await version(file('cache'))).toMatchObject({ status: 0, stderr: '' })
    expect(existsSync(file('cache/partita/modules/former'))).toBe(false)
    expect(await version('/proc/nowhere')).toMatchObject({ status: 0, stderr: '' })
  })
  it('lists plug-ins', async () => {
    const table = await partita('fake', ['plugins'], directory)
    expect(table.status).toBe(0)
    expect(table.stdout).toMatch(/^NAME +KIND +VERSION +CONTRACT +FROM +DESCRIPTION\n/)
    expect(table.stdout).toMatch(/^@partita\/emulated-chipset\/pit +emulated-device +\S+ +1 +built-in +\S/m)
    const json = await partita('fake', ['plugins', '--json'], directory)
    expect((JSON.parse(json.stdout) as { name: string }[]).map(({ name }) => name)).toContain(
      '@partita/emulated-serial',
    )
    expect(await partita('fake', ['plugins', 'no-such-package'], directory)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('ERR_PLUGIN_UNKNOWN'),
    })
  })

  describe('ends with the status of its guest', () => {
    it.each([
      ['p', 0, ''],
      ['x', 33, ''],
      ['b', 0, ''],
      ['t', 102, 'partita: ERR_GUEST_TRIPLE_FAULT: virtual processor 0 shut down (triple fault)\n'],
    ] as const)('%s', async (letter, status, stderr) => {
      expect(await run(letter)).toMatchObject({ status, stderr })
    })

    it('panic', async () => {
      const { status, stdout, stderr } = await run('k')
      expect(status).toBe(100)
      expect(stdout).toContain('Kernel panic')
      expect(stderr).toMatch(/last lines.*Call Trace.*Kernel panic - not syncing: VFS.*ERR_GUEST_PANIC/s)
    })

    it('time-out, and a panic that hangs until then', async () => {
      expect(await run('h', ['--timeout', '3'])).toMatchObject({
        status: 124,
        stdout: 'hello from the guest\r\n',
        stderr:
          'partita: the last lines of the console:\n  hello from the guest\npartita: ERR_TIMEOUT: the guest did not end within 3 s\n',
      })
      expect(await run('l', ['--timeout', '5'])).toMatchObject({
        status: 100,
        stderr: expect.stringContaining('ERR_GUEST_PANIC'),
      })
    })

    it('a fault of the host', async () => {
      expect(await run('!')).toMatchObject({
        status: 70,
        stderr: expect.stringMatching(/^partita: ERR_HOST: TypeError: a fault of the host\nhint: .+\n$/),
      })
    })
  })

  describe('says what is wrong in one line with a code, and a hint', () => {
    const cases: [what: string, args: () => string[], code: string, hint?: RegExp][] = [
      ['unknown option', () => ['--kernal', 'x'], 'ERR_USAGE', /--kernel/],
      ['unknown command', () => ['start'], 'ERR_USAGE'],
      ['missing value', () => ['--kernel'], 'ERR_USAGE'],
      ['root disk for a kernel', () => ['--kernel', kernel('p'), '--root', file('root')], 'ERR_USAGE', /--disk/],
      ['no root disk for a kernel', () => ['--kernel', kernel('p'), '--no-root'], 'ERR_USAGE', /--disk/],
      ['firmware that is none', () => ['--firmware', 'uefi'], 'ERR_USAGE', /bios:FILE/],
      ['kernel with firmware', () => ['--firmware', 'bios', '--kernel', kernel('p')], 'ERR_USAGE', /without it/],
      ['words for a kernel with firmware', () => ['--firmware', 'bios', '--append', 'quiet'], 'ERR_USAGE'],
      ['firmware in generation 2', () => ['--firmware', 'bios', '--machine', 'gen2'], 'ERR_USAGE', /gen2/],
      ['missing firmware', () => ['--firmware', `bios:${file('missing')}`], 'ERR_FILE_UNREADABLE'],
      ['firmware that is a kernel', () => ['--firmware', `bios:${kernel('p')}`], 'ERR_FIRMWARE_IMAGE'],
      ['initrd without kernel', () => ['--initrd', kernel('p')], 'ERR_USAGE', /kernel/],
      ['memory that is none', () => ['--kernel', kernel('p'), '--memory', 'much'], 'ERR_USAGE', /512M/],
      ['too little memory', () => ['--kernel', kernel('p'), '--memory', '64K'], 'ERR_VM_CONFIGURATION'],
      ['too little memory for the kernel', () => ['--kernel', kernel('p'), '--memory', '1M'], 'ERR_MEMORY_TOO_SMALL'],
      ['too much memory', () => ['--kernel', kernel('p'), '--memory', '4G'], 'ERR_VM_CONFIGURATION'],
      [
        'memory that is no number of pages',
        () => ['--kernel', kernel('p'), '--memory', '4097K'],
        'ERR_VM_CONFIGURATION',
      ],
      ['no processors', () => ['--kernel', kernel('p'), '--processors', '0'], 'ERR_USAGE', /--processors 2/],
      ['processors that are no number', () => ['--kernel', kernel('p'), '--processors', '1.5'], 'ERR_USAGE'],
      ['time that is none', () => ['--kernel', kernel('p'), '--timeout', 'soon'], 'ERR_USAGE'],
      ['serial port that leads nowhere', () => ['--kernel', kernel('p'), '--serial', 'tcp:1'], 'ERR_USAGE'],
      [
        'serial file in no directory',
        () => ['--kernel', kernel('p'), '--serial', `file:${file('no/such')}`],
        'ERR_SERIAL',
      ],
      ['socket where a file is', () => ['--kernel', kernel('p'), '--serial', `unix:${kernel('p')}`], 'ERR_SERIAL'],
      ['socket in no directory', () => ['--kernel', kernel('p'), '--serial', `unix:${file('no/such')}`], 'ERR_SERIAL'],
      ['missing kernel', () => ['--kernel', file('missing')], 'ERR_FILE_UNREADABLE'],
      ['kernel that is a directory', () => ['--kernel', directory], 'ERR_FILE_UNREADABLE'],
      ['kernel that is a device', () => ['--kernel', '/dev/null'], 'ERR_FILE_UNREADABLE'],
      ['missing initrd', () => ['--kernel', kernel('p'), '--initrd', file('missing')], 'ERR_FILE_UNREADABLE'],
      ['empty kernel', () => withFile('empty', '', ['--kernel', file('empty')]), 'ERR_KERNEL_EMPTY'],
      ['truncated kernel', () => withFile('short', 'MZ', ['--kernel', file('short')]), 'ERR_KERNEL_TRUNCATED'],
      [
        'foreign kernel',
        () => withFile('text', 'This is no kernel.\n'.repeat(999), ['--kernel', file('text')]),
        'ERR_KERNEL_FORMAT',
      ],
      [
        'unknown plug-in',
        () => ['--kernel', kernel('p'), '--device', 'emulated-cereal'],
        'ERR_PLUGIN_UNKNOWN',
        /emulated-serial/,
      ],
      [
        'unknown option of a plug-in',
        () => ['--kernel', kernel('p'), '--device', 'emulated-serial,base=0x2f8,colour=red'],
        'ERR_PLUGIN_OPTIONS',
      ],
      [
        'device in another’s place',
        () => ['--kernel', kernel('p'), '--device', 'emulated-serial,backend=other'],
        'ERR_PORT_CONFLICT',
      ],
      ['package without plug-ins', () => ['--kernel', kernel('p'), '--device', 'valibot'], 'ERR_PLUGIN_INVALID'],
      ['missing disk', () => ['--kernel', kernel('p'), '--disk', file('missing')], 'ERR_DISK_OPEN'],
      ['disk that is a directory', () => ['--kernel', kernel('p'), '--disk', directory], 'ERR_DISK_OPEN'],
      [
        'empty disk',
        () => withFile('no-disk', '', ['--kernel', kernel('p'), '--disk', file('no-disk')]),
        'ERR_DISK_FORMAT',
      ],
      [
        'five disks on the IDE controller',
        () => [
          '--kernel',
          kernel('p'),
          ...['a', 'b', 'c', 'd', 'e'].flatMap((name) => ['--disk', `${file(name)},ide`]),
        ],
        'ERR_USAGE',
      ],
      [
        'SCSI disk without the Hyper-V interface',
        () => ['--kernel', kernel('p'), '--hypervisor', 'none', '--disk', `${file('a')},scsi`],
        'ERR_USAGE',
        /--hypervisor none/,
      ],
      [
        'two drives at one place of the IDE controller',
        () => [
          '--kernel',
          kernel('p'),
          ...['a', 'b'].flatMap((name) => ['--disk', `${file(name)},ide,controller=1,lun=1`]),
        ],
        'ERR_USAGE',
        /channels/,
      ],
      [
        'IDE disks of both kinds',
        () => ['--kernel', kernel('p'), '--disk', `${file('a')},ide`, '--disk', `${file('b')},ide,plain`],
        'ERR_USAGE',
        /all of them, or none/,
      ],
      [
        'two disks in one place',
        () => ['--kernel', kernel('p'), ...['b', 'c'].flatMap((name) => ['--disk', `${image(name)},lun=1`])],
        'ERR_STORAGE_LUN',
      ],
      ['network that there is not', () => ['--kernel', kernel('p'), '--network', 'lan'], 'ERR_USAGE', /loopback/],
      [
        'network without the Hyper-V interface',
        () => ['--kernel', kernel('p'), '--network', 'loopback', '--hypervisor', 'none'],
        'ERR_USAGE',
        /--hypervisor none/,
      ],
      [
        'forward of what is no port',
        () => ['--kernel', kernel('p'), '--forward', 'tcp:22'],
        'ERR_USAGE',
        /tcp:2222:22/,
      ],
      [
        'forward without NAT',
        () => ['--kernel', kernel('p'), '--network', 'none', '--forward', 'tcp:2222:22'],
        'ERR_USAGE',
        /address of its own/,
      ],
      [
        'capture of nothing',
        () => ['--kernel', kernel('p'), '--network', 'none', '--capture', file('c')],
        'ERR_USAGE',
        /--network nat/,
      ],
      [
        'capture in no directory',
        () => ['--kernel', kernel('p'), '--capture', join(directory, 'none', 'c')],
        'ERR_NETWORK_CAPTURE',
      ],
      ['address of no adapter', () => ['--kernel', kernel('p'), '--mac', '01:02'], 'ERR_USAGE', /02:15:5d/],
      [
        'generation that there is not',
        () => ['--kernel', kernel('p'), '--machine', 'gen3'],
        'ERR_USAGE',
        /generation 1/,
      ],
      ['trace of what there is not', () => ['--kernel', kernel('p'), '--trace', 'disk'], 'ERR_USAGE', /--trace vmbus/],
    ]
    it.each(cases)('%s', async (_what, args, code, hint) => {
      const { status, stdout, stderr } = await partita('fake', args(), directory)
      expect(stdout).toBe('')
      expect(stderr.split('\n')[0]).toMatch(new RegExp(`^partita: ${code}: .+`))
      expect(stderr.split('\n').length).toBeLessThanOrEqual(3)
      if (hint !== undefined) expect(stderr).toMatch(new RegExp(`\nhint: .*${hint.source}`))
      expect(status).toBe(2)
    })

    it('names options as they were written', async () => {
      for (const [args, message] of [
        [['--firmware', 'bios', '--no-root'], '--no-root does not go with --firmware'],
        [['--firmware', 'bios', '--root', file('r')], '--root does not go with --firmware'],
        [['--firmware', 'bios', '--module', 'loop'], '--module does not go with --firmware'],
        [['--kernel', kernel('p'), '--no-root'], '--no-root is for the default guest'],
        [['--kernel', kernel('p'), '--root', file('r')], '--root is for the default guest'],
      ] as const) {
        const { stderr } = await partita('fake', args, directory)
        expect(stderr.split('\n')[0]).toBe(`partita: ERR_USAGE: ${message}`)
      }
    })

    it.skipIf(process.getuid?.() === 0)('unreadable files', async () => {
      writeFileSync(file('secret'), 'x'.repeat(512))
      chmodSync(file('secret'), 0)
      expect((await partita('fake', ['--kernel', file('secret')], directory)).stderr).toContain('ERR_FILE_UNREADABLE')
      expect((await partita('fake', ['--kernel', kernel('p'), '--disk', file('secret')], directory)).stderr).toContain(
        'ERR_DISK_OPEN',
      )
    })

    it('a missing kernel is named together with the system’s reason', async () => {
      expect((await partita('main', ['--kernel', './missing'], directory)).stderr).toBe(
        'partita: ERR_FILE_UNREADABLE: The kernel ./missing cannot be read: no such file or directory\nhint: Check the path of the kernel.\n',
      )
    })
  })

  it('feeds the console from a pipe, in both directions without loss, and goes on at the end of the input', async () => {
    const child = start('fake', ['--kernel', kernel('e')], directory)
    const text = 'A lazy brown fox. '.repeat(100)
    child.process.stdin.end(`${text}!`)
    await child.saw(`${text}!`)
    child.process.kill('SIGTERM')
    expect(await child.result).toMatchObject({ status: 143, stdout: `ready\r\n${text}!` })
    expect(await run('e', [], 'abcq')).toMatchObject({ status: 0, stdout: 'ready\r\nabc', stderr: '' })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('ends in order at %s', async (signal, status) => {
    const socket = file(`socket-${signal}`)
    const child = start(
      'fake',
      [
        '--kernel',
        kernel('e'),
        '--device',
        'emulated-serial,base=0x2f8,irq=3,backend=none',
        '--serial',
        `unix:${socket}`,
      ],
      directory,
    )
    // While a machine is being made, nothing ends in the seconds that an orderly end has.
    await answers(socket)
    child.process.kill(signal)
    expect(await child.result).toMatchObject({ status, signal: null })
    expect(existsSync(socket)).toBe(false)
  })

  it('ends at a signal while nobody reads its output', async () => {
    const child = start('fake', ['--kernel', kernel('f')], directory)
    await child.saw('0123')
    child.process.stdout.pause()
    await until(() => child.process.stdout.readableLength > 0)
    child.process.kill('SIGTERM')
    await new Promise((resolve) => child.process.on('exit', resolve))
    child.process.stdout.resume()
    expect(await child.result).toMatchObject({ status: 143 })
  })

  it('ends when its output is closed', async () => {
    const child = start('fake', ['--kernel', kernel('f')], directory)
    await child.saw('0123')
    child.process.stdout.destroy()
    expect(await child.result).toMatchObject({ status: 129, signal: null, stderr: '' })
  })

  it('writes the console to a file', async () => {
    expect(await run('p', ['--serial', `file:${file('console.log')}`])).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    })
    expect(readFileSync(file('console.log'), 'utf8')).toBe('hello from the guest\r\n')
  })

  it('serves the console on a socket, to one client at a time, and removes the socket', async () => {
    const path = file('console.sock')
    const child = start('fake', ['--kernel', kernel('e'), '--serial', `unix:${path}`], directory)
    await until(() => existsSync(path))
    const talk = (text: string, expected: string): Promise<string> =>
      new Promise<string>((resolve, reject) => {
        let heard = ''
        const client = connect(path, () => client.write(text))
        client.on('data', (data) => {
          heard += data.toString()
          if (heard.includes(expected)) client.destroy()
        })
        client.on('error', (error: NodeJS.ErrnoException) => {
          // bound, but not listening yet
          if (error.code === 'ECONNREFUSED') setTimeout(() => resolve(talk(text, expected)), 5)
          else reject(error)
        })
        client.on('close', (failed) => {
          if (!failed) resolve(heard)
        })
      })
    expect(await talk('one', 'one')).toContain('one')
    const first = connect(path)
    await new Promise((resolve) => first.on('connect', resolve))
    expect(await talk('', 'connected')).toContain('another client is connected')
    expect((await partita('fake', ['--kernel', kernel('e'), '--serial', `unix:${path}`], directory)).stderr).toContain(
      'another process is using it',
    )
    expect(existsSync(path)).toBe(true)
    first.write('q')
    expect(await child.result).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(existsSync(path)).toBe(false)
    first.destroy()
  })

  it('takes the place of a socket that a killed process left behind', async () => {
    const path = file('stale.sock')
    const killed = start('fake', ['--kernel', kernel('h'), '--serial', `unix:${path}`], directory)
    await until(() => existsSync(path))
    killed.process.kill('SIGKILL')
    await killed.result
    expect(existsSync(path)).toBe(true)
    expect(await run('p', ['--serial', `unix:${path}`])).toMatchObject({ status: 0 })
    expect(existsSync(path)).toBe(false)
  })

  it('has disks on all controllers, and on plain hardware', async () => {
    const disks = (...words: string[]) => words.flatMap((word, i) => ['--disk', `${image(`many-${i}`)}${word}`])
    expect(
      await run(
        'p',
        disks('', ',ro', ',dvd', ',ide', ',ide,ro', ',ide,dvd,controller=1', ',controller=2,lun=9', ',lun=63'),
      ),
    ).toMatchObject({
      status: 0,
      stderr: '',
    })
    expect(await run('p', ['--hypervisor', 'none', ...disks('', ',ro', ',ide', ',dvd')])).toMatchObject({
      status: 0,
      stderr: '',
    })
  })

  it('gives the guest a disk, which no second one may have at the same time', async () => {
    writeFileSync(file('disk.img'), new Uint8Array(1024 * 1024))
    const child = start('fake', ['--kernel', kernel('h'), '--disk', file('disk.img')], directory)
    await child.saw('hello')
    expect(await run('p', ['--disk', file('disk.img')])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('ERR_DISK_LOCKED'),
    })
    child.process.kill('SIGINT')
    expect(await child.result).toMatchObject({ status: 130 })
    expect(await run('p', ['--disk', file('disk.img')])).toMatchObject({ status: 0, stderr: '' })
  })

  it('runs a stranger’s device', async () => {
    mkdirSync(file('device'))
    writeFileSync(
      file('device/package.json'),
      JSON.stringify({
        name: 'door-bell',
        type: 'module',
        exports: './index.js',
        partita: {
          plugins: [{ name: 'door-bell', kind: 'emulated-device', contract: 1, description: 'Rings', export: '.' }],
        },
      }),
    )
    writeFileSync(
      file('device/index.js'),
      `import { writeFileSync } from 'node:fs'
       export default {
         name: 'door-bell', kind: 'emulated-device', contract: 1, description: 'Rings', needs: [{ name: 'partita/port-io' }], provides: [],
         options: { '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } },
         create(context) {
           writeFileSync(${JSON.stringify(file('bell'))}, JSON.stringify(context.options))
           return { async [Symbol.asyncDispose]() {} }
         },
       }`,
    )
    expect(await run('p', ['--device', './device,times=3,loud,name=ding'])).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(readFileSync(file('bell'), 'utf8'))).toEqual({ times: 3, loud: true, name: 'ding' })
    expect((await partita('fake', ['plugins', './device'], directory)).stdout).toContain('door-bell')
  })
})

// util-linux's script gives a program a terminal.
const hasTerminal = spawnSync('script', ['--version']).status === 0

describe.skipIf(!hasTerminal)('partita on a terminal', () => {
  /** Run in a terminal, type `input` once the screen shows `prompt`, and tell the terminal's settings before and after. */
  async function inTerminal(letter: GuestLetter, prompt: string, input: string, args = '', environment = '') {
    const command = [process.execPath, ...nodeArguments('fake', ['--kernel', kernel(letter)])]
    const words = command.map((word) => `'${word}'`).join(' ')
    const steps = `stty -g >${file('before')}; ${environment} ${words} ${args}; echo $? >${file('status')}; stty -g >${file('after')}`
    const terminal = spawn('script', ['-qec', steps, '/dev/null'], { cwd: directory })
    let screen = ''
    let typed = false
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      screen += text
      if (typed || !screen.includes(prompt)) return
      typed = true
      terminal.stdin.write(input)
    })
    await new Promise((resolve) => terminal.on('close', resolve))
    const read = (name: string) => readFileSync(file(name), 'utf8').trim()
    return { before: read('before'), after: read('after'), screen, status: Number(read('status')) }
  }

  it('says how to quit, quits by the escape key, and restores the terminal', async () => {
    const { before, after, screen, status } = await inTerminal('h', 'hello from the guest', '\x1d')
    expect(screen).toContain('Ctrl-] quits')
    expect(status).toBe(130)
    expect(after).toBe(before)
  })

  it('gives every other key to the guest', async () => {
    const { before, after, screen, status } = await inTerminal('e', 'ready', 'a\x03b\rq')
    expect(screen).toContain('ready\r\na\x03b\r')
    expect(status).toBe(0)
    expect(after).toBe(before)
  })

  // Of no plug-in, so that nothing smaller than the run can end.
  const thrower = `const timer = setInterval(() => {
    if (!process.stdin.isRaw) return
    clearInterval(timer)
    throw new Error('escaped')
  }, 10)
  timer.unref()`

  it.each([
    ['a fault of the host', '!', '', 70, ''],
    ['an exception in the event loop', 'h', '', 70, 'NODE_OPTIONS=--import=./thrower.mjs'],
    ['a time-out', 'h', '--timeout 0.3', 124, ''],
    // The standard input of what a script starts in the background is /dev/null, unless it is named.
    [
      'a signal',
      'h',
      '<&3 & pid=$!; while [ "$(stty -g)" = "$(cat before)" ]; do sleep 0.1; done; kill -TERM $pid; wait $pid',
      143,
      'exec 3<&0;',
    ],
  ] as const)('restores the terminal after %s', async (_what, letter, args, expected, environment) => {
    writeFileSync(file('thrower.mjs'), thrower)
    const { before, after, status } = await inTerminal(letter, '', '', args, environment)
    expect(status).toBe(expected)
    expect(after).toBe(before)
  })
})

/** Wait until an echoing guest answers on the socket at `path`. */
async function answers(path: string): Promise<void> {
  for (let heard = ''; !heard.includes('x'); ) {
    const socket = connect(path, () => socket.write('x'))
    await new Promise<void>((resolve) => {
      socket.on('data', (data) => {
        heard += data.toString()
        if (heard.includes('x')) resolve()
      })
      // It is not there yet, or not listening.
      socket.on('error', () => setTimeout(resolve, 10))
    })
    socket.destroy()
  }
}

/** Wait until `condition` holds; the test's time limit ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
}
