// The programs of the guides: each does what its guide says.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryDisk } from '@partita/disk-images'
import { openRawDisk } from '@partita/disk-images/node'
import { ideControlToken } from '@partita/emulated-ide'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { mem } from '@partita/testkit/assembler'
import { protectedModeKernel } from '@partita/testkit/test-kernels'
import { afterAll, describe, expect, it } from 'vitest'
import { askForCd, insertCd, removeCd } from './change-cd.ts'
import { boot } from './embed.ts'
import { resume, suspend } from './save-and-restore.ts'

const scratch = mkdtempSync(join(tmpdir(), 'partita-examples-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const COM1 = 0x3f8
const PARTITA = join(import.meta.dirname, '../../packages/cli/src/main.ts')
const partita = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, ['--conditions=@partita/source', PARTITA, ...args], { encoding: 'utf8', input: '' })

/** Sends back what it receives, in capitals, and exits with 7 at the end of the line. */
const capitals = protectedModeKernel((a) =>
  a
    .label('wait')
    .mov('edx', COM1 + 5)
    .in('al', 'dx')
    .test('al', 1)
    .jcc('z', 'wait')
    .mov('edx', COM1)
    .in('al', 'dx')
    .cmp('al', 0x0a)
    .jcc('z', 'end')
    .and('al', 0xdf)
    .out('dx', 'al')
    .jmp('wait')
    .label('end')
    .mov('eax', 3),
)

describe('embedding a virtual machine', () => {
  it('gives the console’s output and the outcome', async () => {
    expect(await boot(capitals, 'partita\n', 110_000)).toEqual({
      outcome: { type: 'debug-exit', code: 7 },
      output: 'PARTITA',
    })
  })

  it('ends a guest that goes on for too long', async () => {
    const { outcome } = await boot(
      protectedModeKernel((a) => a.label('hang').jmpShort('hang')),
      '',
      50,
    )
    expect(outcome).toEqual({ type: 'stopped' })
  })
})

describe('saving and restoring', () => {
  it('goes on in another machine', async () => {
    // Counts for longer than it is let run before it is saved.
    const kernel = protectedModeKernel((a) =>
      a.mov('ecx', 60_000_000).label('count').dec('ecx').jcc('nz', 'count').mov('eax', 20),
    )
    const services = {
      registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
      readFile: async () => kernel,
    }
    const configuration = { memory: 16 * 2 ** 20, boot: { kernel: 'kernel' } }
    const saved = structuredClone(await suspend(configuration, services, 20))
    // Without a kernel at hand: the state has all of it.
    const withoutKernel = { ...services, readFile: () => Promise.reject(new Error('no kernel')) }
    expect(await resume(configuration, withoutKernel, saved)).toEqual({ type: 'debug-exit', code: 41 })
  })
})

describe('changing CDs', () => {
  it('goes by the service of the IDE controller', async () => {
    const [first, second] = ['first.iso', 'second.iso'].map((name) => join(scratch, name)) as [string, string]
    writeFileSync(first, new Uint8Array(2048 * 10))
    writeFileSync(second, new Uint8Array(2048 * 20))
    const ide = { plugin: 'emulated-ide', options: { drives: [null, null, { disk: null, dvd: true }] } }
    await using vm = await VirtualMachine.create(
      { memory: 16 * 2 ** 20, devices: [...DEFAULT_DEVICES, ide], boot: { kernel: 'kernel' } },
      {
        registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
        readFile: async () => capitals,
      },
    )
    const sectors = (): number | undefined => vm.find(ideControlToken)?.media(2)?.medium?.sectorCount
    expect(sectors()).toBeUndefined()
    await insertCd(vm, 2, first)
    expect(sectors()).toBe(40)
    await insertCd(vm, 2, second)
    expect(sectors()).toBe(80)
    // Nobody holds the first one any more, and a drive that is none leaves nothing open.
    await expect(insertCd(vm, 0, first)).rejects.toMatchObject({ code: 'ERR_IDE_DRIVE' })
    await (await openRawDisk(first))[Symbol.asyncDispose]()
    askForCd(vm, 2)
    expect(sectors()).toBe(80)
    await removeCd(vm, 2)
    expect(sectors()).toBeUndefined()
    // A medium that cannot be closed: the one that has taken its place is in the drive, and open.
    const stuck = Object.assign(new MemoryDisk(40, { readOnly: true }), {
      [Symbol.asyncDispose]: () => Promise.reject(new Error('it does not close')),
    })
    await vm.find(ideControlToken)?.insert(2, stuck)
    await expect(insertCd(vm, 2, second)).rejects.toThrow('it does not close')
    expect(sectors()).toBe(80)
    await vm
      .find(ideControlToken)
      ?.media(2)
      ?.medium?.read(0, [new Uint8Array(2048)])
    await removeCd(vm, 2)
    await (await openRawDisk(second))[Symbol.asyncDispose]()
  })
})

describe('the TypeScript guest', () => {
  it('does what its page shows', () => {
    const program = join(import.meta.dirname, 'guest.ts')
    const output = execFileSync(process.execPath, ['--conditions=@partita/source', program], { encoding: 'utf8' })
    const page = readFileSync(join(import.meta.dirname, '../typescript-guest.md'), 'utf8')
    expect(output).toContain('HELLO, ROOT PARTITION')
    expect(page).toContain(`\`\`\`\n${output}\`\`\``)
  })
})

describe('test kernels', () => {
  it('made in TypeScript', () => {
    const file = join(scratch, 'sum.elf')
    execFileSync(process.execPath, ['--conditions=@partita/source', join(import.meta.dirname, 'test-kernel.ts'), file])
    expect(partita('run', '--kernel', file, '--timeout', '110')).toEqual(
      expect.objectContaining({ status: 111, stdout: '' }),
    )
  })

  it.skipIf(!existsSync('/usr/bin/gcc'))('made with gcc', () => {
    const file = join(scratch, 'hello.elf')
    const options = ['-m32', '-nostdlib', '-static', '-Wl,--build-id=none', '-Wl,-Ttext=0x200000']
    execFileSync('gcc', [...options, '-o', file, join(import.meta.dirname, 'hello.S')])
    expect(partita('run', '--kernel', file, '--timeout', '110')).toEqual(
      expect.objectContaining({ status: 43, stdout: 'Hello from the bare machine.\n' }),
    )
  })

  it.each([
    [
      'switches the machine off',
      0,
      protectedModeKernel((a) => a.mov('edx', 0x604).mov('eax', 0x2000).out('dx', 'ax').hlt()),
    ],
    ['faults three times', 102, protectedModeKernel((a) => a.lidt(mem(0)).int(3))],
    ['writes to the debug-exit port', 5, protectedModeKernel((a) => a.mov('al', 2).out(0xf4, 'al').hlt())],
  ])('that %s: exit status %i', (name, status, kernel) => {
    const file = join(scratch, `${name}.elf`)
    writeFileSync(file, kernel)
    expect(partita('run', '--kernel', file, '--timeout', '110')).toEqual(
      expect.objectContaining({ status, stdout: '' }),
    )
  })

  it('end with the documented status when they hang', () => {
    const file = join(scratch, 'sum.elf')
    const { status, stderr } = partita('run', '--kernel', file, '--timeout', '0.001')
    expect([111, 124]).toContain(status)
    if (status === 124) expect(stderr).toContain('ERR_TIMEOUT')
  })
})
