import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { link, mkdtemp, open, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lockByProgram, lockOpenFile } from '../src/file-lock.node.ts'
import { punchHoleByProgram } from '../src/punch-hole.node.ts'
import { mayBeQuick } from '../src/quick-path.node.ts'
import { createRawImage, openRawDisk } from '../src/raw.node.ts'

let directory: string
let image: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'partita-disk-'))
  image = join(directory, 'disk.img')
})
afterEach(() => rm(directory, { recursive: true, force: true }))

describe('raw image', () => {
  it('is the file, byte for byte, scattered and gathered', async () => {
    await createRawImage(image, 64 * 1024)
    await using disk = await openRawDisk(image)
    expect([disk.sectorSize, disk.sectorCount, disk.readOnly]).toEqual([512, 128, false])
    const data = Uint8Array.from({ length: 2048 }, (_, i) => (i * 11) & 0xff)
    await disk.write(7, [data.subarray(0, 5), data.subarray(5, 5), data.subarray(5, 1029), data.subarray(1029)])
    await disk.flush()
    expect(new Uint8Array(await readFile(image)).slice(7 * 512, 7 * 512 + 2048)).toEqual(data)
    const [a, b] = [new Uint8Array(1000), new Uint8Array(1048)]
    await disk.read(7, [a, b])
    expect(Uint8Array.from([...a, ...b])).toEqual(data)
  })

  it('has moved a few sectors when the call returns, where the file system is of this machine', async (context) => {
    await createRawImage(image, 64 * 1024)
    if (!(await mayBeQuick(image))) context.skip('the file system for temporary files may be one of a network')
    await using disk = await openRawDisk(image)
    const data = new Uint8Array(1024).fill(7)
    expect(disk.write(1, [data])).toBeUndefined()
    const back = [new Uint8Array(512), new Uint8Array(512)]
    expect(disk.read(1, back)).toBeUndefined()
    expect(back[1]).toEqual(data.subarray(512))
    // Errors are rejections, also of what is quick.
    await expect(disk.read(127, back)).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
  })

  it('works in more segments than one system call takes', async () => {
    await createRawImage(image, 4096 * 512)
    await using disk = await openRawDisk(image)
    const segments = Array.from({ length: 3000 }, (_, i) => new Uint8Array(512).fill(i & 0xff))
    await disk.write(10, segments)
    const back = new Uint8Array(3000 * 512)
    await disk.read(10, [back])
    for (let i = 0; i < 3000; i++) expect(back[i * 512 + 100]).toBe(i & 0xff)
  })

  it('works on shared memory, as guests have it', async () => {
    await createRawImage(image, 4096)
    await using disk = await openRawDisk(image)
    const memory = new Uint8Array(new SharedArrayBuffer(2048))
    memory.fill(0x3c, 512, 1024)
    await disk.write(1, [memory.subarray(512, 1024)])
    await disk.read(1, [memory.subarray(1024, 1536)])
    expect(memory[1500]).toBe(0x3c)
  })

  it('stays sparse', async () => {
    await createRawImage(image, 1024 * 1024 * 1024)
    await using disk = await openRawDisk(image)
    await disk.write(1_000_000, [new Uint8Array(512).fill(1)])
    await disk.flush()
    const status = await stat(image)
    expect(status.size).toBe(1024 * 1024 * 1024)
    expect(status.blocks * 512).toBeLessThan(1024 * 1024)
  })

  it('ends with zeros where the file ends early', async () => {
    await writeFile(image, new Uint8Array(700).fill(9))
    await using disk = await openRawDisk(image)
    expect(disk.sectorCount).toBe(2)
    const data = new Uint8Array(1024).fill(1)
    await disk.read(0, [data])
    expect([data[699], data[700], data[1023]]).toEqual([9, 0, 0])
  })

  it('fails where the file was truncated under it, and writes nothing more', async () => {
    await writeFile(image, new Uint8Array(64 * 1024).fill(9))
    await using disk = await openRawDisk(image)
    await truncate(image, 4096)
    const data = new Uint8Array(8192)
    await disk.read(0, [data.subarray(0, 4096)])
    expect(data[4095]).toBe(9)
    await expect(disk.read(0, [data])).rejects.toMatchObject({ code: 'ERR_DISK_IO', data: { code: 'TRUNCATED' } })
    await expect(disk.read(100, [data])).rejects.toMatchObject({ code: 'ERR_DISK_IO' })
    await expect(disk.write(100, [data])).rejects.toMatchObject({ code: 'ERR_DISK_IO', data: { size: 4096 } })
    await expect(disk.zero?.(100, 1)).rejects.toMatchObject({ code: 'ERR_DISK_IO' })
    await expect(disk.flush()).rejects.toMatchObject({ code: 'ERR_DISK_IO' })
    expect((await stat(image)).size).toBe(4096)
  })

  it('gives discarded blocks back, and zeroes exactly what it is told to', async () => {
    await writeFile(image, new Uint8Array(1024 * 1024).fill(9))
    await using disk = await openRawDisk(image)
    await disk.flush()
    const before = (await stat(image)).blocks
    await disk.discard?.(0, 1024)
    await disk.zero?.(1025, 3)
    await disk.flush()
    const after = await stat(image)
    expect(after.size).toBe(1024 * 1024)
    if (disk.discard !== undefined) expect(after.blocks).toBeLessThanOrEqual(before - 1000)
    const data = new Uint8Array(6 * 512)
    await disk.read(1024, [data])
    expect([data[511], data[512], data[4 * 512 - 1], data[4 * 512]]).toEqual([9, 0, 0, 9])
    await expect(disk.zero?.(2047, 2)).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
    await expect(disk.discard?.(2048, 1)).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
  })

  /** What a script prints whose files can be as long as `kibibytes`. A limit of the size of files stands for a file system that is full; its signal is ignored, so that calls fail. */
  function printedWithin(kibibytes: number, script: string): Promise<string> {
    const bash = `trap "" XFSZ; ulimit -f ${kibibytes}; exec "$0" "$@"`
    const node = [process.execPath, '--conditions=@partita/source', '--input-type=module', '-e', script]
    const child = spawn('bash', ['-c', bash, ...node], { stdio: ['ignore', 'pipe', 'inherit'] })
    return text(child.stdout)
  }
  const module = JSON.stringify(new URL('../src/raw.node.ts', import.meta.url).href)

  it.skipIf(process.platform !== 'linux')('says so when there is no room for what was written', async () => {
    await createRawImage(image, 256 * 1024)
    const script = `const { openRawDisk } = await import(${module}); const disk = await openRawDisk(${JSON.stringify(image)})
      await disk.write(0, [new Uint8Array(8192).fill(1)])
      await disk.write(64, [new Uint8Array(512)]).catch((error) => console.log(error.code, error.data.code))
      await disk[Symbol.asyncDispose]()`
    expect((await printedWithin(8, script)).trim()).toBe('ERR_DISK_FULL EFBIG')
    expect((await readFile(image))[8191]).toBe(1)
  })

  it.skipIf(process.platform !== 'linux')('is not left empty when it cannot be made as large', async () => {
    const script = `const { createRawImage } = await import(${module})
      await createRawImage(${JSON.stringify(image)}, 256 * 1024).catch((error) => console.log(error.code))`
    expect((await printedWithin(8, script)).trim()).toBe('ERR_DISK_FULL')
    expect(await readdir(directory)).toEqual([])
    await createRawImage(image, 256 * 1024)
  })

  it.skipIf(process.platform !== 'linux')('punches the same holes through the program', async () => {
    await writeFile(image, new Uint8Array(256 * 1024).fill(9))
    await using file = await open(image, 'r+')
    await file.sync()
    expect(await punchHoleByProgram(file.fd, 65_536, 131_072)).toBe(true)
    const data = await readFile(image)
    expect([data[65_535], data[65_536], data[196_607], data[196_608]]).toEqual([9, 0, 0, 9])
    expect((await file.stat()).blocks).toBe(256)
    expect(await punchHoleByProgram(file.fd, 0, 0)).toBe(false)
  })

  it('refuses what is no image', async () => {
    await expect(openRawDisk(image)).rejects.toMatchObject({ code: 'ERR_DISK_OPEN' })
    await writeFile(image, '')
    await expect(openRawDisk(image)).rejects.toMatchObject({ code: 'ERR_DISK_FORMAT' })
    await expect(openRawDisk(directory, { readOnly: true })).rejects.toMatchObject({ code: 'ERR_DISK_FORMAT' })
    await expect(createRawImage(image, 512)).rejects.toMatchObject({ code: 'ERR_DISK_EXISTS' })
    await expect(createRawImage(join(directory, 'new'), 513)).rejects.toMatchObject({ code: 'ERR_DISK_FORMAT' })
    expect(await readdir(directory)).toEqual(['disk.img'])
  })

  it('refuses operations by code', async () => {
    await createRawImage(image, 5120)
    const disk = await openRawDisk(image, { readOnly: true })
    await expect(disk.write(0, [new Uint8Array(512)])).rejects.toMatchObject({ code: 'ERR_DISK_READ_ONLY' })
    await expect(disk.read(10, [new Uint8Array(512)])).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
    await disk[Symbol.asyncDispose]()
    await disk[Symbol.asyncDispose]()
    await expect(disk.read(0, [new Uint8Array(512)])).rejects.toMatchObject({ code: 'ERR_DISK_CLOSED' })
  })
})

describe('a flush that fails', () => {
  /** Replaces datasync of open files; the system fails one call and takes the next, as Linux does after a failed writeback. */
  async function datasync(call: () => Promise<void>): Promise<Disposable & { readonly calls: number }> {
    await using file = await open(image, 'r')
    const spy = vi.spyOn(Object.getPrototypeOf(file) as { datasync(): Promise<void> }, 'datasync')
    spy.mockImplementation(call)
    return {
      get calls(): number {
        return spy.mock.calls.length
      },
      [Symbol.dispose]: () => spy.mockRestore(),
    }
  }
  const lost = (): Error => Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })

  it('fails again until the image is opened again, and so does closing it', async () => {
    await createRawImage(image, 5120)
    let calls = 0
    using _failing = await datasync(async () => {
      if (calls++ === 1) throw lost()
    })
    const disk = await openRawDisk(image)
    await disk.flush()
    await disk.write(0, [new Uint8Array(512).fill(1)])
    const error = { code: 'ERR_DISK_IO', data: { code: 'EIO' } }
    await expect(disk.flush()).rejects.toMatchObject(error)
    await expect(disk.flush()).rejects.toMatchObject(error)
    await disk.write(1, [new Uint8Array(512).fill(1)])
    await expect(disk.flush()).rejects.toMatchObject(error)
    await expect(disk[Symbol.asyncDispose]()).rejects.toMatchObject(error)
    await using again = await openRawDisk(image)
    await again.flush()
    expect(calls).toBe(3)
  })

  it('fails for all that were under way, of which the system tells one', async () => {
    await createRawImage(image, 5120)
    const calls: PromiseWithResolvers<void>[] = []
    using failing = await datasync(() => {
      const call = Promise.withResolvers<void>()
      calls.push(call)
      return call.promise
    })
    const disk = await openRawDisk(image)
    const flushes = Promise.allSettled([disk.flush(), disk.flush(), disk.flush()])
    await vi.waitFor(() => expect(failing.calls).toBeGreaterThan(0), 60_000)
    calls[0]?.reject(lost())
    for (const call of calls.slice(1)) call.resolve()
    expect((await flushes).map((result) => result.status)).toEqual(['rejected', 'rejected', 'rejected'])
    await expect(disk[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'ERR_DISK_IO' })
  })

  it('is asked of the system once for all that came while another was under way', async () => {
    await createRawImage(image, 5120)
    const calls: PromiseWithResolvers<void>[] = []
    using _slow = await datasync(() => {
      const call = Promise.withResolvers<void>()
      calls.push(call)
      return call.promise
    })
    const disk = await openRawDisk(image)
    let done = 0
    const count = (): void => void done++
    const flushes = [disk.flush().then(count), disk.flush().then(count), disk.flush().then(count)]
    await vi.waitFor(() => expect(calls.length).toBe(1), 60_000)
    calls[0]?.resolve()
    await vi.waitFor(() => expect(calls.length).toBe(2), 60_000)
    expect(done).toBe(1)
    calls[1]?.resolve()
    await Promise.all(flushes)
    const closed = disk[Symbol.asyncDispose]()
    await vi.waitFor(() => expect(calls.length).toBe(3), 60_000)
    calls[2]?.resolve()
    await closed
  })
})

describe('lock', () => {
  it('keeps a second writer out, by any name of the image, until the first is gone', async () => {
    await createRawImage(image, 5120)
    const link = join(directory, 'link.img')
    await symlink(image, link)
    const disk = await openRawDisk(image)
    await expect(openRawDisk(image)).rejects.toMatchObject({
      code: 'ERR_DISK_LOCKED',
      data: { lock: `${image}.lock`, host: hostname(), pid: process.pid },
    })
    await expect(openRawDisk(link)).rejects.toMatchObject({ code: 'ERR_DISK_LOCKED' })
    await using reader = await openRawDisk(image, { readOnly: true })
    expect(reader.readOnly).toBe(true)
    await disk[Symbol.asyncDispose]()
    await using again = await openRawDisk(link)
    expect(again.readOnly).toBe(false)
  })

  it.skipIf(process.platform !== 'linux')('keeps a second writer out by another hard link, too', async () => {
    await createRawImage(image, 5120)
    const other = join(directory, 'other.img')
    await link(image, other)
    const disk = await openRawDisk(image)
    await expect(openRawDisk(other)).rejects.toMatchObject({ code: 'ERR_DISK_LOCKED' })
    await using _reader = await openRawDisk(other, { readOnly: true })
    await disk[Symbol.asyncDispose]()
    await (await openRawDisk(other))[Symbol.asyncDispose]()
    expect((await readdir(directory)).sort()).toEqual(['disk.img', 'other.img'])
  })

  it.skipIf(process.platform !== 'linux')(
    'of the open file is taken by the program where there is no call',
    async () => {
      await createRawImage(image, 5120)
      const probe = join(directory, 'probe')
      const first = await open(image, 'r+')
      const second = await open(image, 'r+')
      expect(await lockOpenFile(first.fd, probe, lockByProgram)).toBe(true)
      expect(await lockOpenFile(second.fd, probe, lockByProgram)).toBe(false)
      expect(await lockOpenFile(second.fd, probe)).toBe(false)
      // Refused although nobody has it: such a file system knows no locks.
      expect(await lockOpenFile(second.fd, probe, () => false)).toBe(undefined)
      expect(await lockOpenFile(second.fd, probe, () => undefined)).toBe(undefined)
      expect(await readdir(directory)).toEqual(['disk.img'])
      await first.close()
      expect(await lockOpenFile(second.fd, probe, lockByProgram)).toBe(true)
      await second.close()
    },
  )

  it('leaves nothing behind', async () => {
    await createRawImage(image, 5120)
    await (await openRawDisk(image))[Symbol.asyncDispose]()
    expect(await readdir(directory)).toEqual(['disk.img'])
  })

  it('lets one of many in', async () => {
    await createRawImage(image, 5120)
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => openRawDisk(image)))
    const open = results.filter((result) => result.status === 'fulfilled')
    expect(open.length).toBe(1)
    for (const result of open) await result.value[Symbol.asyncDispose]()
  })

  /** Another process opens the image. */
  async function otherOwner(): Promise<ChildProcess> {
    const module = JSON.stringify(new URL('../src/raw.node.ts', import.meta.url).href)
    const script = `const { openRawDisk } = await import(${module}); await openRawDisk(${JSON.stringify(image)}); console.log('open'); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--conditions=@partita/source', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    return child
  }
  async function kill(child: ChildProcess): Promise<void> {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  it('is taken over from a process that was killed, and respected while it lives', async () => {
    await createRawImage(image, 5120)
    const child = await otherOwner()
    await expect(openRawDisk(image)).rejects.toMatchObject({ code: 'ERR_DISK_LOCKED', data: { pid: child.pid } })
    await kill(child)
    await using disk = await openRawDisk(image)
    expect(disk.sectorCount).toBe(10)
  })

  it.skipIf(process.platform !== 'linux')('is taken over from a container that was killed', async () => {
    await createRawImage(image, 5120)
    const lock = `${image}.lock`
    const child = await otherOwner()
    // Its host has a name of its own, and its process a number that is another's here.
    await writeFile(lock, JSON.stringify({ ...JSON.parse(await readFile(lock, 'utf8')), pid: 1, host: 'a container' }))
    await expect(openRawDisk(image)).rejects.toMatchObject({
      code: 'ERR_DISK_LOCKED',
      hint: 'Stop process 1 on the host a container, or open the disk read-only.',
      data: { lock, host: 'a container', pid: 1 },
    })
    await kill(child)
    await using disk = await openRawDisk(image)
    expect(disk.sectorCount).toBe(10)
    expect(JSON.parse(await readFile(lock, 'utf8'))).toMatchObject({ host: hostname(), pid: process.pid })
  })

  it('is respected when nobody here can tell whether its owner lives, and says what decides it', async () => {
    await createRawImage(image, 5120)
    const lock = `${image}.lock`
    await writeFile(
      lock,
      JSON.stringify({ pid: 1, host: 'another host', started: '1', token: 'x', file: 'another boot/1/1' }),
    )
    const refused = { code: 'ERR_DISK_LOCKED', message: `${image} may be in use by another VM` }
    await expect(openRawDisk(image)).rejects.toMatchObject({
      ...refused,
      hint: `The file ${lock} says that process 1 on the host another host uses it: delete it if that is gone, or open the disk read-only.`,
      data: { lock, host: 'another host', pid: 1 },
    })
    await writeFile(lock, 'something else')
    await expect(openRawDisk(image)).rejects.toMatchObject({
      ...refused,
      hint: `The file ${lock} is there and does not say whose it is: delete it if no VM uses the image, or open the disk read-only.`,
      data: { lock, host: null, pid: null },
    })
    expect((await readdir(directory)).sort()).toEqual(['disk.img', 'disk.img.lock'])
    await rm(lock)
    await using disk = await openRawDisk(image)
    expect(disk.sectorCount).toBe(10)
  })

  it.skipIf(process.platform !== 'linux')('counts for nothing when a loss of power has emptied it', async () => {
    await createRawImage(image, 5120)
    await writeFile(`${image}.lock`, '')
    await (await openRawDisk(image))[Symbol.asyncDispose]()
    expect(await readdir(directory)).toEqual(['disk.img'])
  })
})
