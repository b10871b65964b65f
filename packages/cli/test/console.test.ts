import { PassThrough, Writable } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { InputQueue } from '../src/console/input-queue.ts'
import { PanicWatcher } from '../src/console/panic-watcher.ts'
import { ReadyMark } from '../src/console/ready-mark.ts'
import { StdioBackend } from '../src/console/stdio-backend.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
/** All that has been written. */
const shown = (output: PassThrough): string => {
  let text = ''
  for (let chunk = output.read(); chunk !== null; chunk = output.read()) text += String(chunk)
  return text
}

describe('InputQueue', () => {
  it('keeps bytes in order, whatever the sizes are', () => {
    void fc.assert(
      fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.nat(60))), (steps) => {
        const queue = new InputQueue()
        const model: number[] = []
        for (const step of steps) {
          if (typeof step === 'number') {
            const target = new Uint8Array(step)
            const count = queue.read(target)
            expect([...target.subarray(0, count)]).toEqual(model.splice(0, step))
          } else {
            queue.push(step)
            model.push(...step)
          }
          expect(queue.length).toBe(model.length)
        }
      }),
    )
  })

  it('makes its source wait while the guest does not read', () => {
    const queue = new InputQueue()
    const calls: string[] = []
    queue.source = { pause: () => calls.push('pause'), resume: () => calls.push('resume') }
    queue.push(new Uint8Array(0x10000))
    expect(calls).toEqual([])
    queue.push(new Uint8Array(1))
    queue.push(new Uint8Array(1))
    expect(calls).toEqual(['pause'])
    queue.read(new Uint8Array(0x7000))
    expect(calls).toEqual(['pause'])
    queue.read(new Uint8Array(0x2000))
    expect(calls).toEqual(['pause', 'resume'])
  })

  it('makes the next source wait too, where the guest has not read what the last one left', () => {
    const queue = new InputQueue()
    const calls: string[] = []
    queue.source = { pause: () => calls.push('pause 1'), resume: () => calls.push('resume 1') }
    queue.push(new Uint8Array(0x10001))
    queue.source = undefined
    queue.source = { pause: () => calls.push('pause 2'), resume: () => calls.push('resume 2') }
    expect(calls).toEqual(['pause 1', 'pause 2'])
    queue.read(new Uint8Array(0x9000))
    expect(calls).toEqual(['pause 1', 'pause 2', 'resume 2'])
    queue.source = { pause: () => calls.push('pause 3'), resume: () => calls.push('resume 3') }
    expect(calls).toHaveLength(3)
  })
})

describe('ReadyMark', () => {
  it('finds the mark in pieces of any size, and takes nothing else away', () => {
    void fc.assert(
      fc.property(
        fc.array(fc.constantFrom('\x1b', '\x1b[', '\x1b[?70', '[?7057h', '\x1b[?7057l', 'text'), { maxLength: 8 }),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
        (before, marked, sizes) => {
          const text = `${before.join(' ')} `
          const data = bytes(`${text}${marked ? '\x1b[?7057h\x1b[?7057h' : ''}after\x1b[?`)
          const mark = new ReadyMark('\x1b[?7057h')
          let shown = ''
          for (let at = 0, i = 0; at < data.length; i++) {
            const end = at + (sizes[i % sizes.length] as number)
            shown += new TextDecoder().decode(mark.remove(data.subarray(at, end)))
            at = end
          }
          expect(mark.seen).toBe(marked)
          expect(shown).toBe(`${text}${marked ? '\x1b[?7057h' : ''}after${marked ? '\x1b[?' : ''}`)
          expect(new TextDecoder().decode(mark.rest())).toBe(marked ? '' : '\x1b[?')
        },
      ),
    )
  })
})

describe('PanicWatcher', () => {
  it('finds a panic across pieces, with and without time stamps', () => {
    for (const text of [
      'Kernel panic - not syncing: Attempted to kill init!\n',
      '[    1.234567] Kernel panic - not syncing: VFS\r\n',
      '\x1b[0m[    1.234567][    T1] Kernel panic - not syncing: VFS\r\n',
    ]) {
      const watcher = new PanicWatcher()
      const data = bytes(`noise\r\n${text}`)
      for (let index = 0; index < data.length; index++) {
        expect(watcher.panicked).toBe(false)
        watcher.output(data.subarray(index, index + 1))
      }
      expect(watcher.panicked).toBe(true)
      watcher.input()
      expect(watcher.panicked).toBe(false)
    }
  })

  it('is not taken in by the words elsewhere', () => {
    const watcher = new PanicWatcher()
    watcher.output(bytes('echo Kernel panic - not syncing\r\nlog: "Kernel panic - not syncing"\r\nKernel panics\r\n'))
    expect(watcher.panicked).toBe(false)
  })

  it('keeps the reason of a panic through a long trace', () => {
    const watcher = new PanicWatcher()
    watcher.output(bytes('[ 1.0] Kernel panic - not syncing: sysrq triggered crash\n'))
    expect(watcher.lastLines()).toHaveLength(1)
    for (let line = 0; line < 99; line++) watcher.output(bytes(`[ 1.${line}] trace\n`))
    expect(watcher.lastLines()[0]).toContain('sysrq triggered crash')
    expect(watcher.lastLines()).toHaveLength(31)
    watcher.input()
    expect(watcher.lastLines()[0]).toContain('trace')
  })

  it('keeps the last lines, bounded and without control characters', () => {
    const watcher = new PanicWatcher()
    for (let line = 0; line < 1000; line++) watcher.output(bytes(`line ${line} ${'x'.repeat(line)}\r\n\r\n`))
    watcher.output(bytes('\x1b[31mred\x07\x1b[0m and a rest'))
    const lines = watcher.lastLines()
    expect(lines).toHaveLength(31)
    expect(lines[0]).toMatch(/^line 970 x+$/)
    expect(Math.max(...lines.map(({ length }) => length))).toBe(240)
    expect(lines.at(-1)).toBe('red and a rest')
    watcher.output(new Uint8Array(1e6))
    expect(watcher.lastLines().at(-1)).toBe('red and a rest')
  })
})

describe('StdioBackend', () => {
  function backend(interactive: boolean, output: Writable = new PassThrough()) {
    const input = new PassThrough()
    let escapes = 0
    const made = new StdioBackend({
      input,
      output,
      interactive,
      onEscape: () => void escapes++,
      endOfInput: (last) => Uint8Array.of(last ?? 0, 4),
    })
    const read = () => {
      const target = new Uint8Array(100)
      return new TextDecoder().decode(target.subarray(0, made.read(target)))
    }
    return { input, made, read, escapes: () => escapes }
  }

  it('holds the guest back while nobody reads, and copies what it is given', async () => {
    const written: Uint8Array[] = []
    const waiting: (() => void)[] = []
    const output = new Writable({
      highWaterMark: 4,
      write(chunk: Uint8Array, _encoding, callback) {
        written.push(chunk)
        waiting.push(callback)
      },
    })
    const { made } = backend(false, output)
    const ready = new Promise<void>((resolve) => {
      made.onReady = resolve
    })
    const data = bytes('abcd')
    expect(made.write(data)).toBe(false)
    data.fill(0)
    waiting.shift()?.()
    await ready
    expect(new TextDecoder().decode(written[0])).toBe('abcd')
  })

  it('holds input until the guest has said something, where it is told so', async () => {
    const input = new PassThrough()
    const made = new StdioBackend({
      input,
      output: new PassThrough(),
      interactive: false,
      onEscape: () => {},
      waitForOutput: true,
    })
    input.end('abc')
    await new Promise((resolve) => input.on('end', resolve))
    const target = new Uint8Array(8)
    expect(made.read(target)).toBe(0)
    const ready = new Promise<void>((resolve) => {
      made.onReady = resolve
    })
    made.write(bytes('hello'))
    await ready
    expect(made.read(target)).toBe(3)
  })

  it('holds input until the guest has said its mark, which is not shown', async () => {
    const input = new PassThrough()
    const output = new PassThrough()
    const made = new StdioBackend({
      input,
      output,
      interactive: false,
      onEscape: () => {},
      waitForOutput: true,
      readyMark: '\x1b[?7057h',
    })
    input.end('abc')
    await new Promise((resolve) => input.on('end', resolve))
    made.write(bytes('[    1.0] a message of the kernel\r\n\x1b[?70'))
    await Promise.resolve()
    const target = new Uint8Array(8)
    expect(made.read(target)).toBe(0)
    const ready = new Promise<void>((resolve) => {
      made.onReady = resolve
    })
    made.write(bytes('57h# \x1b[?7057h'))
    await ready
    expect(made.read(target)).toBe(3)
    expect(shown(output)).toBe('[    1.0] a message of the kernel\r\n# \x1b[?7057h')
  })

  it('shows at the end what might have been the mark', async () => {
    const output = new PassThrough()
    const made = new StdioBackend({
      input: new PassThrough(),
      output,
      interactive: false,
      onEscape: () => {},
      readyMark: '\x1b[?7057h',
    })
    made.write(bytes('x\x1b[?70'))
    await made[Symbol.asyncDispose]()
    expect(shown(output)).toBe('x\x1b[?70')
  })

  it('knows the escape key on a terminal, and nothing special in a pipe', async () => {
    const terminal = backend(true)
    terminal.input.write('ab')
    terminal.input.write('c\x1dd')
    const pipe = backend(false)
    pipe.input.end('c\x1d')
    await new Promise((resolve) => pipe.input.on('end', resolve))
    expect(terminal.read()).toBe('ab')
    expect(terminal.escapes()).toBe(1)
    expect(pipe.read()).toBe('c\x1d\x1d\x04')
    expect(pipe.escapes()).toBe(0)
  })

  it('tells once that the other side has gone, and swallows output from then on', async () => {
    const output = new Writable({ write: (_chunk, _encoding, callback) => callback(new Error('EPIPE')) })
    const { made } = backend(false, output)
    let closed = 0
    await new Promise<void>((resolve) => {
      made.onClosed = () => {
        closed++
        resolve()
      }
      made.write(bytes('x'))
    })
    expect(made.write(bytes('y'))).toBe(true)
    await made[Symbol.asyncDispose]()
    expect(closed).toBe(1)
  })

  it('waits at the end for the reader, unless the run is ended from outside', async () => {
    vi.useFakeTimers()
    try {
      for (const outside of [false, true]) {
        const waiting: (() => void)[] = []
        const output = new Writable({ write: (_chunk, _encoding, callback) => void waiting.push(callback) })
        const ending = new AbortController()
        const made = new StdioBackend({
          input: new PassThrough(),
          output,
          interactive: false,
          onEscape: () => {},
          ending: ending.signal,
        })
        made.write(bytes('the last words'))
        let ended = false
        const end = made[Symbol.asyncDispose]().then(() => {
          ended = true
        })
        await vi.advanceTimersByTimeAsync(3_600_000)
        expect(ended).toBe(false)
        if (outside) {
          ending.abort()
          await vi.advanceTimersByTimeAsync(1999)
          expect(ended).toBe(false)
          await vi.advanceTimersByTimeAsync(1)
        } else {
          while (waiting.length > 0) {
            waiting.shift()?.()
            await vi.advanceTimersByTimeAsync(0)
          }
        }
        expect(ended).toBe(true)
        await end
        expect(vi.getTimerCount()).toBe(0)
      }
    } finally {
      vi.useRealTimers()
    }
  })

  it('takes the end of a terminal for its closing', async () => {
    const { input, made } = backend(true)
    const closed = new Promise<void>((resolve) => {
      made.onClosed = resolve
    })
    input.end()
    await closed
  })
})
