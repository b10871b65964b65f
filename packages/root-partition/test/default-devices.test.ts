// The built-in plug-ins as a VM gets them when its configuration names no devices, with a fake processor.

import { disksToken } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { FakeHost, type Script } from '../../hypervisor/test/fakes.ts'
import {
  BUILT_IN_PACKAGES,
  DEFAULT_DEVICES,
  DEFAULT_PROCESSOR,
  GENERATION_1_DEVICES,
  PLAIN_DEVICES,
  PluginRegistry,
  VirtualMachine,
} from '../src/index.ts'
import { NodePackageSource } from '../src/node.ts'
import { multibootKernel, processorPlugin } from './fake-machine.ts'

async function machine(
  script: Script,
  devices?: unknown[],
  services?: ReadonlyMap<string, unknown>,
  hypervisor: 'hyper-v' | 'none' = 'hyper-v',
) {
  const host = new FakeHost()
  const registry = new PluginRegistry({
    source: new NodePackageSource({ directory: import.meta.dirname }),
    packages: BUILT_IN_PACKAGES.filter((name) => name !== DEFAULT_PROCESSOR),
    plugins: [processorPlugin([], script, DEFAULT_PROCESSOR).plugin as never],
  })
  const vm = await VirtualMachine.create(
    { memory: 4 * 2 ** 20, hypervisor, boot: { kernel: 'kernel' }, ...(devices && { devices }) },
    {
      registry,
      hostTime: host,
      eventLoop: host,
      readFile: async () => multibootKernel(Uint8Array.of(0xf4)),
      ...(services && { services }),
    },
  )
  return { vm, host }
}

describe('the default devices', () => {
  it('start in order of need, whatever the order of the list is', async () => {
    const { vm } = await machine(() => 'halt', [...DEFAULT_DEVICES].reverse())
    expect([...vm.plugins].sort()).toEqual(
      [DEFAULT_PROCESSOR, '@partita/root-partition/partition', ...DEFAULT_DEVICES.map(({ plugin }) => plugin)].sort(),
    )
    const position = (name: string) => vm.plugins.indexOf(`@partita/${name}`)
    expect(position('processor-x86')).toBe(0)
    expect(position('root-partition/partition')).toBe(1)
    for (const controller of ['pic', 'io-apic']) {
      expect(position(`emulated-chipset/${controller}`)).toBeLessThan(position('emulated-chipset/interrupt-lines'))
    }
    expect(position('emulated-chipset/interrupt-lines')).toBeLessThan(position('emulated-serial'))
    await vm[Symbol.asyncDispose]()
  })

  it('deliver the periodic timer’s interrupt through the 8259A pair', async () => {
    const vectors: number[] = []
    let programmed = false
    const { vm, host } = await machine((vp) => {
      const { intercepts } = vp
      const out = (port: number, value: number) => intercepts.portWrite(0, port, 1, value)
      if (!programmed) {
        programmed = true
        // ICW1–4 of the master with base 0x20, all but IRQ 0 masked; counter 0 in mode 2 with 11,932 ticks, 100 Hz.
        for (const [port, value] of [
          [0x20, 0x11],
          [0x21, 0x20],
          [0x21, 0x04],
          [0x21, 0x01],
          [0x21, 0xfe],
        ] as const)
          out(port, value)
        for (const [port, value] of [
          [0x43, 0x34],
          [0x40, 11_932 & 0xff],
          [0x40, 11_932 >> 8],
        ] as const)
          out(port, value)
      }
      if (vp.externalInterrupt) {
        vectors.push(intercepts.acknowledgeInterrupt(0))
        out(0x20, 0x20)
      }
      return vectors.length === 10 ? 'shutdown' : 'halt'
    })
    expect((await vm.run()).type).toBe('triple-fault')
    expect(vectors).toEqual(Array(10).fill(0x20))
    // The first comes when the counter is set to mode 2, which drives its output high; then nine periods.
    expect(host.time).toBeGreaterThan(89e6)
    expect(host.time).toBeLessThan(105e6)
  })

  it('carry their state over to another machine', async () => {
    const first = await machine((vp) => {
      // Something in each: PIC masks, a PIT counter, CMOS, PCI address, UART scratch register.
      for (const [port, value] of [
        [0x21, 0xa5],
        [0x43, 0x34],
        [0x40, 0x10],
        [0x40, 0x20],
        [0x70, 0x20],
        [0x71, 0x77],
        [0x3ff, 0x5a],
      ] as const) {
        vp.intercepts.portWrite(0, port, 1, value)
      }
      vp.intercepts.portWrite(0, 0xcf8, 4, 0x80000000)
      return 'halt'
    })
    const run = first.vm.run()
    first.host.at(5e6, () => void first.vm.stop())
    expect(await run).toEqual({ type: 'stopped' })
    const saved = structuredClone(first.vm.save())
    expect(Object.keys(saved.units).sort()).toEqual(DEFAULT_DEVICES.map(({ plugin }) => plugin).sort())
    const second = await machine((vp) => {
      expect(vp.intercepts.portRead(0, 0x21, 1)).toBe(0xa5)
      expect(vp.intercepts.portRead(0, 0x71, 1)).toBe(0x77)
      expect(vp.intercepts.portRead(0, 0x3ff, 1)).toBe(0x5a)
      expect(vp.intercepts.portRead(0, 0xcf8, 4)).toBe(0x80000000)
      return 'shutdown'
    })
    second.vm.restore(saved)
    expect(second.vm.save()).toEqual(saved)
    expect((await second.vm.run()).type).toBe('triple-fault')
  })

  it('are those of a plain PC without the Hyper-V interface', async () => {
    const { vm } = await machine(() => 'shutdown', undefined, undefined, 'none')
    expect([...vm.plugins].sort()).toEqual(
      [DEFAULT_PROCESSOR, '@partita/root-partition/partition', ...PLAIN_DEVICES.map(({ plugin }) => plugin)].sort(),
    )
    await vm.run()
    const tables = new TextDecoder('latin1').decode(vm.partition.memory.view(0xe0000, 0x20000))
    expect(tables).toContain('RSD PTR ')
    expect(tables).not.toContain('VMBus')
    // Whoever asks for the VMBus all the same hears what is missing.
    await expect(machine(() => 'halt', [...DEFAULT_DEVICES], undefined, 'none')).rejects.toMatchObject({
      code: 'ERR_PLUGIN_NEEDS',
      message: '@partita/vmbus needs partita/synic-ports, which nothing provides',
    })
  })

  it('are described to the guest in ACPI tables', async () => {
    const { vm } = await machine(() => 'shutdown')
    await vm.run()
    const bytes = vm.partition.memory.view(0xe0000, 0x20000) as Uint8Array
    expect(new TextDecoder('latin1').decode(bytes)).toContain('RSD PTR ')
    // The node by which a guest finds the VMBus.
    expect(new TextDecoder('latin1').decode(bytes)).toContain('VMBus')
    const bare = await machine(() => 'shutdown', [])
    await bare.vm.run()
    expect(new TextDecoder('latin1').decode(bare.vm.partition.memory.view(0xe0000, 0x20000))).not.toContain('RSD PTR ')
  })

  it('take a disk', async () => {
    const disks = new Map([
      [
        'disk0',
        {
          sectorSize: 512,
          physicalSectorSize: 512,
          sectorCount: 2048,
          readOnly: true,
          async read() {},
          async write() {},
          async flush() {},
          async [Symbol.asyncDispose]() {},
        },
      ],
    ])
    const ide = { plugin: 'emulated-ide', options: { drives: ['disk0'] } }
    const { vm } = await machine(
      (vp) => {
        // IDENTIFY DEVICE is accepted: no error, and the drive is ready.
        vp.intercepts.portWrite(0, 0x1f6, 1, 0xa0)
        const status = vp.intercepts.portRead(0, 0x1f7, 1)
        expect(status & 0x41).toBe(0x40)
        return 'shutdown'
      },
      [...DEFAULT_DEVICES, ide],
      new Map([[disksToken.name, disks]]),
    )
    expect((await vm.run()).type).toBe('triple-fault')
    await expect(machine(() => 'halt', [...DEFAULT_DEVICES, ide])).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_IDE_DISK_UNKNOWN' }),
    )
  })
})

describe('the devices of generation 1', () => {
  it('mask address line 20 from port 0x92 and from the keyboard controller, until a reset', async () => {
    const { vm } = await machine(() => 'halt', [...GENERATION_1_DEVICES])
    const line: boolean[] = []
    Object.assign(vm.partition.virtualProcessors[0] as object, {
      setAddressLine20: (connected: boolean) => void line.push(connected),
    })
    const { ports } = vm.partition
    ports.write(0x92, 1, 0)
    expect(line.at(-1)).toBe(false)
    ports.write(0x64, 1, 0xdf)
    expect([line.at(-1), ports.read(0x92, 1)]).toEqual([true, 2])
    ports.write(0x64, 1, 0xd1)
    ports.write(0x60, 1, 0xcd) // the output port without A20
    expect([line.at(-1), ports.read(0x92, 1)]).toEqual([false, 0])
    await vm.reset()
    expect([line.at(-1), ports.read(0x92, 1)]).toEqual([true, 2])
    await vm[Symbol.asyncDispose]()
  })

  it('decode RAM in the first megabyte as the host bridge says, also after a restore', async () => {
    const start = async () => (await machine(() => 'halt', [...GENERATION_1_DEVICES])).vm
    const vm = await start()
    const pam = (value: number): void => {
      vm.partition.ports.write(0xcf8, 4, 0x8000_0058)
      vm.partition.ports.write(0xcfd, 1, value)
    }
    const at = 0xf_8000
    expect(vm.partition.memory.writeU8(at, 0x5a)).toBe(true)
    pam(0x10)
    expect([vm.partition.memory.writeU8(at, 1), vm.partition.memory.readU8(at)]).toEqual([false, 0x5a])
    pam(0)
    expect(vm.partition.memory.readU8(at)).toBeUndefined()
    const saved = structuredClone(vm.save())
    await vm.reset()
    expect(vm.partition.memory.readU8(at)).toBe(0x5a)
    const other = await start()
    other.restore(saved)
    expect(other.partition.memory.readU8(at)).toBeUndefined()
    other.partition.ports.write(0xcf8, 4, 0x8000_0058)
    other.partition.ports.write(0xcfd, 1, 0x30)
    expect(other.partition.memory.readU8(at)).toBe(0x5a)
    for (const each of [vm, other]) await each[Symbol.asyncDispose]()
  })
})
