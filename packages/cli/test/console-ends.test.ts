// Ends of the console that are slow: readers that do not read, clients that stay, FIFOs without a reader.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { FileBackend } from '../src/console/file-backend.ts'
import { flushed, patiently } from '../src/console/patience.ts'
import { SocketBackend } from '../src/console/socket-backend.ts'
import { SilenceTimer } from '../src/silence-timer.ts'
import { nodeArguments, start } from './child.ts'
import { writeKernel } from './fake-guest.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-ends-'))
afterAll(() => rmSync(directory, { recursive: true }))
const file = (name: string) => join(directory, name)
const bytes = (text: string) => new TextEncoder().encode(text)
/** More than a socket and a pipe hold. */
const MUCH = new Uint8Array(4 * 1024 * 1024).fill(0x2e)

const TIMEOUT = 120_000

/** Wait until `condition` holds; the test's time limit ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5)
}

function makeFifo(name: string): string {
  expect(spawnSync('mkfifo', [file(name)]).status).toBe(0)
  return file(name)
}

/** Read all that is there without waiting. */
function take(reader: number): string {
  const target = new Uint8Array(0x10000)
  let text = ''
  try {
    for (;;) {
      const count = readSync(reader, target)
      if (count === 0) return text
      text += new TextDecoder().decode(target.subarray(0, count))
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return text
    throw error
  }
}

/** Whether a promise is settled, as a property to look at. */
function watch(promise: Promise<unknown>): { readonly done: boolean } {
  const state = { done: false }
  void promise.then(() => {
    state.done = true
  })
  return state
}

describe('patience', () => {
  it('waits for a reader without limit, and two seconds once the run is ended from outside', async () => {
    vi.useFakeTimers()
    try {
      const ending = new AbortController()
      const late = patiently(new Promise(() => {}), ending.signal)
      const state = watch(late)
      await vi.advanceTimersByTimeAsync(3_600_000)
      ending.abort()
      await vi.advanceTimersByTimeAsync(1999)
      expect(state.done).toBe(false)
      await vi.advanceTimersByTimeAsync(1)
      expect(await late).toBe(false)
      expect(await patiently(Promise.reject(new Error('gone')), ending.signal)).toBe(true)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  it('knows when less than the high-water mark has been read', async () => {
    const waiting: (() => void)[] = []
    const stream = new Writable({ write: (_chunk, _encoding, callback) => void waiting.push(callback) })
    await flushed(stream)
    stream.write('a short tail')
    const state = watch(flushed(stream))
    await delay(0)
    expect(state.done).toBe(false)
    waiting.shift()?.()
    await until(() => waiting.length > 0)
    waiting.shift()?.()
    await until(() => state.done)
  })

  it('does not wait for a reader that has gone', async () => {
    const stream = new Writable({ write: (_chunk, _encoding, callback) => callback(new Error('EPIPE')) })
    stream.on('error', () => {})
    stream.write('x')
    await flushed(stream)
    await flushed(stream)
  })
})

describe('the silence after a panic', () => {
  it('is counted in seconds in which the host runs, and from the last sign of life', async () => {
    vi.useFakeTimers()
    try {
      let ended = 0
      using silence = new SilenceTimer(() => void ended++)
      silence.start()
      await vi.advanceTimersByTimeAsync(59_000)
      silence.touch(true)
      // The host is suspended for an hour: whatever the clock says, one tick comes.
      vi.setSystemTime(Date.now() + 3_600_000)
      await vi.advanceTimersByTimeAsync(59_000)
      expect(ended).toBe(0)
      await vi.advanceTimersByTimeAsync(1000)
      expect(ended).toBe(1)
      silence.start()
      silence.touch(false)
      await vi.advanceTimersByTimeAsync(100_000)
      expect(ended).toBe(1)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('a console in a FIFO', { timeout: TIMEOUT }, () => {
  it('waits for the reader, and for what it reads', async () => {
    const path = makeFifo('read')
    const opening = FileBackend.open(path, new AbortController().signal)
    const opened = watch(opening)
    await delay(50)
    expect(opened.done).toBe(false)
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const backend = await opening
    expect(backend.write(MUCH)).toBe(false)
    backend.write(bytes('END'))
    const state = watch(backend[Symbol.asyncDispose]())
    let length = 0
    let end = ''
    while (!state.done || length < MUCH.length + 3) {
      const text = take(reader)
      length += text.length
      end = (end + text).slice(-3)
      await delay(1)
    }
    expect(end).toBe('END')
    expect(length).toBe(MUCH.length + 3)
    expect(backend.lost).toBe(false)
    closeSync(reader)
  })

  it('gives a reader up that does not read, when the run is ended from outside', async () => {
    const path = makeFifo('unread')
    const ending = new AbortController()
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const backend = await FileBackend.open(path, ending.signal)
    backend.write(MUCH)
    const end = backend[Symbol.asyncDispose]()
    ending.abort()
    await end
    expect(backend.lost).toBe(true)
    closeSync(reader)
  })

  it('ends the run when the reader goes, and the wait for one when the run is ended', async () => {
    const path = makeFifo('left')
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const backend = await FileBackend.open(path)
    const closed = new Promise<void>((resolve) => {
      backend.onClosed = resolve
    })
    closeSync(reader)
    backend.write(bytes('x'))
    await closed
    await backend[Symbol.asyncDispose]()
    expect(backend.lost).toBe(false)
    const ending = new AbortController()
    const opening = FileBackend.open(path, ending.signal)
    ending.abort()
    await expect(opening).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('is a file of its own otherwise', async () => {
    const backend = await FileBackend.open(file('plain'))
    backend.write(bytes('hello'))
    await backend[Symbol.asyncDispose]()
    expect(readFileSync(file('plain'), 'utf8')).toBe('hello')
  })
})

describe('a console on a socket', { timeout: TIMEOUT }, () => {
  async function client(path: string): Promise<Socket & { heard: () => string }> {
    const socket = connect({ path, allowHalfOpen: true })
    socket.on('error', () => {})
    await once(socket, 'connect')
    let heard = ''
    return Object.assign(socket, {
      heard: () => {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) heard += String(chunk)
        return heard
      },
    })
  }
  const input = (backend: SocketBackend) => {
    const target = new Uint8Array(100)
    return new TextDecoder().decode(target.subarray(0, backend.read(target)))
  }

  it('ends while clients keep their ends open: one that does not read, and refused ones that have written', async () => {
    const path = file('stuck')
    const ending = new AbortController()
    const backend = await SocketBackend.open(path, ending.signal)
    const first = await client(path)
    first.write('first')
    let typed = ''
    while (typed !== 'first') {
      typed += input(backend)
      await delay(1)
    }
    const second = await client(path)
    second.write('not heard')
    await until(() => second.heard() === 'partita: another client is connected\r\n')
    backend.write(MUCH)
    const end = backend[Symbol.asyncDispose]()
    const state = watch(end)
    await delay(50)
    expect(state.done).toBe(false)
    ending.abort()
    await end
    expect(backend.lost).toBe(true)
    expect(existsSync(path)).toBe(false)
    first.destroy()
    second.destroy()
  })

  it('waits at the end for a client that reads, and for none that has read', async () => {
    const path = file('slow')
    const backend = await SocketBackend.open(path)
    const reader = await client(path)
    reader.write('x')
    let typed = ''
    while (typed !== 'x') {
      typed += input(backend)
      await delay(1)
    }
    backend.write(MUCH)
    const end = backend[Symbol.asyncDispose]()
    let length = 0
    reader.on('data', (chunk: Buffer) => {
      length += chunk.length
    })
    await end
    await until(() => length === MUCH.length)
    expect(backend.lost).toBe(false)
    reader.destroy()
  })

  it('goes on talking to a client that has said all', async () => {
    const path = file('half')
    const backend = await SocketBackend.open(path)
    const talker = await client(path)
    let ended = false
    talker.on('end', () => {
      ended = true
    })
    talker.end('question')
    let typed = ''
    while (typed !== 'question') {
      typed += input(backend)
      await delay(1)
    }
    backend.write(bytes('answer'))
    await until(() => talker.heard() === 'answer')
    expect(ended).toBe(false)
    // Its place is taken while it is there.
    const other = await client(path)
    await until(() => other.heard().startsWith('partita:'))
    await backend[Symbol.asyncDispose]()
    await until(() => {
      talker.heard()
      return ended
    })
    other.destroy()
  })

  it('takes the next client when the last one has gone, also where it went while it was not read', async () => {
    const path = file('next')
    const backend = await SocketBackend.open(path)
    const first = await client(path)
    // More than is taken from a client ahead of the guest.
    first.write(new Uint8Array(200_000).fill(0x61))
    let wait = true
    backend.onReady = () => {
      wait = false
    }
    await until(() => !wait)
    await delay(50)
    first.destroy()
    await once(first, 'close')
    const second = await client(path)
    second.write(new Uint8Array(4_000_000).fill(0x62))
    // The guest reads on where the first one stopped, and nothing more was taken from the second than fits.
    const target = new Uint8Array(100_000)
    let text = ''
    while (!text.includes('b')) {
      text += new TextDecoder().decode(target.subarray(0, backend.read(target)))
      await delay(1)
    }
    expect(text).toMatch(/^a{65536,200000}b+$/)
    expect(second.heard()).toBe('')
    const end = backend[Symbol.asyncDispose]()
    second.destroy()
    await end
  })
})

describe('partita with a reader that does not read', { timeout: TIMEOUT }, () => {
  it('sees a panic all the same', async () => {
    const child = start('fake', ['--kernel', writeKernel(file('s'), 's')], directory)
    child.process.stdout.pause()
    await until(() => child.process.stdout.readableLength > 0)
    child.process.stdout.resume()
    const { status, stdout, stderr } = await child.result
    expect(status).toBe(100)
    expect(stdout).toMatch(/Kernel panic - not syncing: VFS.*\r\n.*---\[ end \]---\r\n$/)
    expect(stderr).toMatch(/last lines.*Kernel panic.*ERR_GUEST_PANIC/s)
  })

  it('waits for it when the guest has ended', async () => {
    const child = start('fake', ['--kernel', writeKernel(file('w'), 'w'), '--timeout', '100'], directory)
    child.process.stdout.pause()
    const exit = watch(once(child.process, 'exit'))
    await until(() => child.process.stdout.readableLength > 0)
    await delay(1500)
    expect(exit.done).toBe(false)
    child.process.stdout.resume()
    const { status, stdout, stderr } = await child.result
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.match(/the last words\r\n/g)).toHaveLength(2000)
  })

  it('ends at the time-out, and at a signal, though the guest has ended', async () => {
    const run = async (args: string[], signal?: NodeJS.Signals) => {
      const child = start('fake', ['--kernel', writeKernel(file('w'), 'w'), ...args], directory)
      child.process.stdout.pause()
      await until(() => child.process.stdout.readableLength > 0)
      if (signal !== undefined) child.process.kill(signal)
      await once(child.process, 'exit')
      child.process.stdout.resume()
      return child.result
    }
    const ends = await Promise.all([run(['--timeout', '3']), run([], 'SIGTERM')])
    expect(ends[0]).toMatchObject({
      status: 124,
      stderr: 'partita: ERR_TIMEOUT: the guest has ended, but its output was not read within 3 s\n',
    })
    expect(ends[1]).toMatchObject({ status: 143, stderr: 'partita: ERR_INTERRUPTED: ended by SIGTERM\n' })
  })

  it('waits for the reader of a FIFO no longer than the time-out', async () => {
    const args = ['--kernel', writeKernel(file('w'), 'w'), '--timeout', '3', '--serial', `file:${makeFifo('console')}`]
    expect(await start('fake', args, directory).result).toMatchObject({ status: 124 })
    const reader = openSync(file('console'), constants.O_RDONLY | constants.O_NONBLOCK)
    expect(await start('fake', args, directory).result).toMatchObject({ status: 124 })
    closeSync(reader)
  })

  it('says why it ended', async () => {
    const path = makeFifo('errors')
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    expect(() => {
      for (;;) writeSync(writer, '.'.repeat(4096))
    }).toThrow('EAGAIN')
    const child = spawn(process.execPath, nodeArguments('fake', ['--kernel', writeKernel(file('k'), 'k')]), {
      cwd: directory,
      stdio: ['ignore', 'pipe', writer],
    })
    closeSync(writer)
    const exit = once(child, 'exit')
    const exited = watch(exit)
    child.stdout?.resume()
    await once(child.stdout as Socket, 'data')
    await delay(1500)
    expect(exited.done).toBe(false)
    let said = ''
    while (!exited.done) {
      said += take(reader)
      await delay(5)
    }
    said += take(reader)
    closeSync(reader)
    expect((await exit)[0]).toBe(100)
    expect(said).toMatch(/last lines.*Kernel panic.*ERR_GUEST_PANIC/s)
  })
})
