// What a guest finds at the ports of the machines that `partita run` builds: generation 1 has an IDE controller, a PS/2 controller and the PIIX4's IDE function, and generation 2 has none of them. The machines are the command's own; no
// guest runs in them.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDisks } from '../src/disks.ts'
import { devicesWith, type MachineChoice } from '../src/machine-devices.ts'
import { parseDisk } from '../src/option-values.ts'

const NOBODY = 0xff
const IDE_STATUS = { primary: 0x1f7, secondary: 0x177 } as const
const READY = 0x50
const PS2 = { DATA: 0x60, STATUS: 0x64 } as const
/** Self-test of the PS/2 controller, and its answer. */
const SELF_TEST = { COMMAND: 0xaa, PASSED: 0x55 } as const
const NO_FUNCTION = 0xffff_ffff
const PIIX4_IDE = 0x7111_8086
const PIIX4_ISA = 0x7110_8086

/** A kernel that halts: what is looked at is the machine. */
const KERNEL = Uint8Array.of(
  ...[0x02, 0xb0, 0xad, 0x1b, 0x00, 0x00, 0x01, 0x00, 0xfe, 0x4f, 0x51, 0xe4],
  ...[0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  ...[0x20, 0x00, 0x10, 0x00, 0xf4],
)

const directory = mkdtempSync(join(tmpdir(), 'partita-generations-'))
const image = join(directory, 'disk.img')
beforeAll(() => writeFileSync(image, new Uint8Array(65_536)))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A machine as the command makes it. */
async function machine(
  choice: MachineChoice,
  disks: readonly string[],
): Promise<AsyncDisposable & { vm: VirtualMachine }> {
  await using stack = new AsyncDisposableStack()
  const open = stack.use(await openDisks(disks.map(parseDisk), choice.hypervisor))
  const vm = stack.use(
    await VirtualMachine.create(
      {
        memory: 16 * 2 ** 20,
        hypervisor: choice.hypervisor,
        devices: devicesWith(choice, open.devices),
        boot: { kernel: 'kernel' },
      },
      {
        registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
        readFile: async () => KERNEL,
        services: open.services,
      },
    ),
  )
  const owned = stack.move()
  return { vm, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** What is at the ports of a machine. */
async function look(choice: MachineChoice, disks: readonly string[]): Promise<Record<string, number>> {
  await using made = await machine(choice, disks)
  const { vm } = made
  const { ports } = vm.partition
  const pci = (device: number, fn: number): number => {
    ports.write(0xcf8, 4, 0x8000_0000 | (device << 11) | (fn << 8))
    return ports.read(0xcfc, 4)
  }
  const controller = ports.read(PS2.STATUS, 1)
  ports.write(PS2.STATUS, 1, SELF_TEST.COMMAND)
  return {
    disk: ports.read(IDE_STATUS.primary, 1),
    secondary: ports.read(IDE_STATUS.secondary, 1),
    busMaster: ports.read(0xffa2, 1),
    ps2: controller === NOBODY ? NOBODY : 0,
    selfTest: ports.read(PS2.DATA, 1),
    isa: pci(7, 0),
    ide: pci(7, 1),
  }
}

const NEITHER = {
  disk: NOBODY,
  secondary: NOBODY,
  busMaster: NOBODY,
  ps2: NOBODY,
  selfTest: NOBODY,
  isa: PIIX4_ISA,
  ide: NO_FUNCTION,
}
const BUS_MASTER = 0x60
/** Nobody drives the lines of an empty channel. */
const IDE = { ...NEITHER, busMaster: BUS_MASTER, ide: PIIX4_IDE }
const BOTH = { ...IDE, ps2: 0, selfTest: SELF_TEST.PASSED }

describe.each(['hyper-v', 'none'] as const)('with --hypervisor %s', (hypervisor) => {
  it.each<[string, MachineChoice, readonly string[], Record<string, number>]>([
    ['a machine without --machine', { hypervisor }, [], NEITHER],
    ['--machine gen2', { hypervisor, machine: 'gen2' }, [], NEITHER],
    ['--machine gen1', { hypervisor, machine: 'gen1' }, [], BOTH],
    ['--machine gen1 with an IDE disk', { hypervisor, machine: 'gen1' }, ['ide'], { ...BOTH, disk: READY }],
    ['--machine gen2 with an IDE disk', { hypervisor, machine: 'gen2' }, ['ide'], { ...IDE, disk: READY }],
    ['--firmware bios', { hypervisor, firmware: { type: 'bios' } }, ['ide'], { ...BOTH, disk: READY }],
  ])('%s', async (_, choice, words, expected) => {
    expect(
      await look(
        choice,
        words.map((word) => `${image},${word}`),
      ),
    ).toEqual(expected)
  })
})

it('a guest that puts the bus master on top of other devices loses neither them nor its disks', async () => {
  await using made = await machine({ hypervisor: 'none', machine: 'gen1' }, [`${image},ide`])
  const { ports } = made.vm.partition
  const place = (base: number): number => {
    ports.write(0xcf8, 4, 0x8000_0000 | (7 << 11) | (1 << 8) | 0x20)
    ports.write(0xcfc, 4, base | 1)
    return ports.read(0xcfc, 4)
  }
  ports.write(0x3ff, 1, 0x5a) // the serial port's scratch register
  // PCI configuration itself, the keyboard's, the serial port's and the channels' ports.
  for (const base of [0xcf0, 0x60, 0x3f0, 0x1f0]) {
    expect(place(base)).toBe(base | 1)
    expect([ports.read(IDE_STATUS.primary, 1), ports.read(0x3f6, 1)]).toEqual([READY, READY])
    expect([ports.read(0x3ff, 1), ports.read(PS2.STATUS, 1) & 0x14]).toEqual([0x5a, 0x14])
    expect(ports.read(0xffa2, 1)).toBe(NOBODY)
  }
  place(0xffa0)
  expect(ports.read(0xffa2, 1)).toBe(BUS_MASTER)
})
