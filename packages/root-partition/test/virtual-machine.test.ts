import { type FirmwareConfiguration, firmwareConfigurationToken, type Plugin } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { FakeHost, type Script } from '../../hypervisor/test/fakes.ts'
import {
  MemoryManager,
  parseVmConfiguration,
  RootPartitionError,
  VirtualMachine,
  type VirtualMachineServices,
} from '../src/index.ts'
import { fakePlugin, multibootKernel, powerPlugin, processorPlugin, registryOf } from './fake-machine.ts'

const MIB = 2 ** 20
const code = (expected: string, more: object = {}) => expect.objectContaining({ code: expected, ...more })

interface Setup {
  readonly script: Script
  readonly devices?: Plugin[]
  readonly configuration?: object
  readonly services?: Partial<VirtualMachineServices>
}

async function machine({ script, devices = [], configuration = {}, services = {} }: Setup) {
  const log: string[] = []
  const host = new FakeHost()
  const { plugin, processor } = processorPlugin(log, script)
  const all = [powerPlugin, ...devices]
  const reads: string[] = []
  const vm = await VirtualMachine.create(
    {
      processor: 'fake-processor',
      memory: 4 * MIB,
      devices: all.map(({ name }) => name),
      boot: { kernel: 'kernel' },
      ...configuration,
    },
    {
      registry: registryOf(plugin, ...all),
      hostTime: host,
      eventLoop: host,
      readFile: async (name) => {
        reads.push(name)
        return multibootKernel(Uint8Array.of(0xf4))
      },
      ...services,
    },
  )
  return { vm, log, host, processor, reads }
}

const out =
  (...values: number[]): Script =>
  (vp) => {
    vp.intercepts.portWrite(0, 0xf4, 1, values.length > 1 ? (values.shift() as number) : (values[0] as number))
    return 'budget'
  }

describe('VirtualMachine', () => {
  it('boots a multiboot kernel and ends with the guest’s wish', async () => {
    const { vm, log, processor } = await machine({
      script: (vp) => {
        expect(vp.getRegister('rax')).toBe(0x2badb002n)
        expect(vp.getRegister('rip')).toBe(0x100020n)
        return out(33)(vp, 0)
      },
    })
    expect(vm.plugins).toEqual(['fake-processor', '@partita/root-partition/partition', 'power'])
    expect(await vm.run()).toEqual({ type: 'debug-exit', code: 33 })
    expect(vm.partition.memory.readU8(0x100020)).toBe(0xf4)
    await vm[Symbol.asyncDispose]()
    await vm[Symbol.asyncDispose]()
    expect(log).toEqual(['create fake-processor', 'dispose fake-processor'])
    expect(processor.processors[0]?.disposed).toBe(true)
    await expect(vm.run()).rejects.toThrow(code('ERR_VM_STATE'))
    await expect(vm.reset()).rejects.toThrow(code('ERR_VM_STATE'))
  })

  it('tells power-off, triple fault and host faults apart', async () => {
    expect(await (await machine({ script: out(0) })).vm.run()).toEqual({ type: 'power-off' })
    expect(await (await machine({ script: () => 'shutdown' })).vm.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
    const log: string[] = []
    const { vm } = await machine({
      script: () => {
        throw new TypeError('host fault')
      },
      devices: [fakePlugin(log, { name: 'device' })],
    })
    await expect(vm.run()).rejects.toThrow('host fault')
    expect(log).toEqual(['create device', 'start device', 'stop device'])
    expect(vm.state).toBe('stopped')
  })

  it('really resets and boots again when the guest asks for it, in the order of need', async () => {
    const log: string[] = []
    const { vm, processor, reads } = await machine({
      script: out(1, 1, 0),
      devices: [fakePlugin(log, { name: 'device' })],
    })
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(processor.processors[0]?.resets).toEqual(['power-on', 'power-on'])
    expect(reads).toEqual(['kernel', 'kernel', 'kernel'])
    expect(log).toEqual([
      'create device',
      ...[
        'start device',
        'stop device',
        'reset device',
        'start device',
        'stop device',
        'reset device',
        'start device',
        'stop device',
      ],
    ])
  })

  it('ends with a reset where the configuration or the embedder says so', async () => {
    expect(await (await machine({ script: out(1), configuration: { onReset: 'end' } })).vm.run()).toEqual({
      type: 'reset',
    })
    let asked = 0
    const { vm, reads } = await machine({ script: out(1), services: { beforeRestart: () => ++asked < 3 } })
    expect(await vm.run()).toEqual({ type: 'reset' })
    expect(reads.length).toBe(3)
    // The next run boots anew.
    expect(await vm.run()).toEqual({ type: 'reset' })
    expect(reads.length).toBe(4)
  })

  it('pauses, saves, goes on, and goes on from the saved state in another machine', async () => {
    const script: Script = (vp) => {
      const count = vp.getRegister('rbx') + 1n
      vp.setRegister('rbx', count)
      if (vp.externalInterrupt) vp.intercepts.portWrite(0, 0xf4, 1, Number(count))
      return 'halt'
    }
    const first = await machine({ script, devices: [fakePlugin([], { name: 'device' })] })
    const run = first.vm.run()
    expect(() => first.vm.save()).toThrow(code('ERR_VM_STATE'))
    expect(() => first.vm.restore(undefined as never)).toThrow(code('ERR_VM_STATE'))
    expect(() => first.vm.resume()).toThrow(code('ERR_VM_STATE'))
    await Promise.all([first.vm.pause(), first.vm.pause()])
    expect(first.vm.state).toBe('paused')
    first.vm.partition.memory.writeU32(0x3ffff0, 0xc0ffee)
    first.processor.processors[0]?.setRegister('rbx', 40n)
    const saved = structuredClone(first.vm.save())
    expect(saved.ram.length).toBeLessThan(64)
    first.vm.resume()
    await first.vm.pause()
    first.vm.resume()
    first.vm.partition.interrupts.setExternalInterrupt(true)
    expect((await run).type).toBe('debug-exit')

    const log: string[] = []
    const second = await machine({ script, devices: [fakePlugin(log, { name: 'device' })] })
    second.vm.partition.memory.writeU32(0x200000, 0xdead)
    second.vm.restore(saved)
    expect(log.at(-1)).toBe('restore device {"value":1}')
    expect(second.vm.partition.memory.readU32(0x3ffff0)).toBe(0xc0ffee)
    expect(second.vm.partition.memory.readU32(0x200000)).toBe(0)
    expect(second.vm.partition.clock.now()).toBe(saved.partition.data['referenceTime'])
    second.vm.partition.interrupts.setExternalInterrupt(true)
    expect(await second.vm.run()).toEqual({ type: 'debug-exit', code: 41 })
    expect(second.reads).toEqual([])

    const other = await machine({ script, configuration: { memory: 8 * MIB } })
    expect(() => other.vm.restore(saved)).toThrow(code('ERR_STATE_INVALID'))
    expect(() => second.vm.restore({ ...saved, version: 7 })).toThrow(code('ERR_STATE_INVALID'))
    expect(() => second.vm.restore({ ...saved, ram: [{ gpa: 4 * MIB, data: new Uint8Array(1) }] })).toThrow(
      code('ERR_STATE_INVALID'),
    )
  })

  it('stops a guest that runs, one that is paused, and one that is about to start', async () => {
    const running = await machine({ script: () => 'halt' })
    const run = running.vm.run()
    running.host.at(1e9, () => void running.vm.stop())
    expect(await run).toEqual({ type: 'stopped' })
    const paused = await machine({ script: () => 'halt' })
    const pausedRun = paused.vm.run()
    await paused.vm.pause()
    await paused.vm.stop()
    expect(await pausedRun).toEqual({ type: 'stopped' })
    const starting = await machine({ script: () => 'halt' })
    const startingRun = starting.vm.run()
    await starting.vm.stop()
    expect(await startingRun).toEqual({ type: 'stopped' })
    await starting.vm.stop()
    const disposed = await machine({ script: () => 'halt' })
    const disposedRun = disposed.vm.run()
    await disposed.vm[Symbol.asyncDispose]()
    expect(await disposedRun).toEqual({ type: 'stopped' })
  })

  it('resets from outside, running or paused', async () => {
    let boots = 0
    const { vm, reads, host, processor } = await machine({ script: () => 'halt', configuration: { onReset: 'end' } })
    const run = vm.run()
    host.at(1e9, () => void vm.reset())
    host.at(2e9, () => {
      boots = reads.length
      void vm.stop()
    })
    expect(await run).toEqual({ type: 'stopped' })
    expect(boots).toBe(2)
    const again = vm.run()
    await vm.pause()
    await vm.reset()
    expect(processor.processors[0]?.resets.length).toBe(2)
    await vm.stop()
    await again
  })

  it('reports files that cannot be read and kernels that are none, and can be tried again', async () => {
    let content: Uint8Array | undefined
    const { vm } = await machine({
      script: out(0),
      services: {
        readFile: async (name) => {
          if (content === undefined) throw new Error(`ENOENT: ${name}`)
          return content
        },
      },
    })
    await expect(vm.run()).rejects.toThrow(
      code('ERR_FILE_UNREADABLE', { message: 'The kernel kernel cannot be read: ENOENT: kernel' }),
    )
    content = new Uint8Array(5000)
    await expect(vm.run()).rejects.toThrow(code('ERR_KERNEL_FORMAT'))
    content = multibootKernel(Uint8Array.of(1))
    expect(await vm.run()).toEqual({ type: 'power-off' })
    const { vm: nothing } = await machine({ script: out(0), configuration: { boot: undefined } })
    await expect(nothing.run()).rejects.toThrow(code('ERR_VM_CONFIGURATION'))
  })

  it('disposes of files once they are in the partition, and of those that cannot be loaded', async () => {
    const disposed: string[] = []
    let content: Uint8Array = new Uint8Array(5000)
    const { vm } = await machine({
      script: out(0),
      services: {
        readFile: async (name) => Object.assign(content.slice(), { [Symbol.dispose]: () => void disposed.push(name) }),
      },
    })
    await expect(vm.run()).rejects.toThrow(code('ERR_KERNEL_FORMAT'))
    expect(disposed).toEqual(['kernel'])
    content = multibootKernel(Uint8Array.of(1))
    expect(await vm.run()).toEqual({ type: 'power-off' })
    expect(disposed).toEqual(['kernel', 'kernel'])
  })

  it('starts nothing when anything in the configuration is wrong', async () => {
    const log: string[] = []
    const device = fakePlugin(log, { name: 'device' })
    const { plugin } = processorPlugin(log, () => 'halt')
    const create = (devices: unknown[], more: object = {}) =>
      VirtualMachine.create(
        { processor: 'fake-processor', memory: 4 * MIB, devices, ...more },
        { registry: registryOf(plugin, device), readFile: async () => new Uint8Array() },
      )
    await expect(create(['device', 'devise'])).rejects.toThrow(
      code('ERR_PLUGIN_UNKNOWN', { hint: 'Did you mean device?' }),
    )
    await expect(create([{ plugin: 'device', options: { speed: 1 } }])).rejects.toThrow(code('ERR_PLUGIN_OPTIONS'))
    await expect(create(['device', 'fake-processor'])).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
    await expect(create([], { processor: 'device' })).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
    await expect(create([], { memory: 1 })).rejects.toThrow(code('ERR_VM_CONFIGURATION'))
    expect(log).toEqual([])
  })

  it('gives memory back when a device cannot be created', async () => {
    const memoryManager = new MemoryManager(10 * MIB)
    const log: string[] = []
    const failing = fakePlugin(log, {
      name: 'failing',
      create: () => {
        log.push(`${memoryManager.reserved / MIB} MiB`)
        throw new RootPartitionError('ERR_FILE_UNREADABLE', 'no')
      },
    })
    const { plugin } = processorPlugin(log, () => 'halt')
    const services = { registry: registryOf(plugin, failing), readFile: async () => new Uint8Array(), memoryManager }
    const needed = { processor: 'fake-processor', memory: 4 * MIB }
    // Nothing needs the partition here but the order of the list: the failing device comes after it.
    await expect(VirtualMachine.create({ ...needed, devices: ['failing'] }, services)).rejects.toThrow(
      code('ERR_FILE_UNREADABLE'),
    )
    expect(log).toContain('4 MiB')
    expect(memoryManager.reserved).toBe(0)
    const vm = await VirtualMachine.create({ ...needed, devices: [] }, services)
    await expect(VirtualMachine.create({ ...needed, memory: 8 * MIB, devices: [] }, services)).rejects.toThrow(
      code('ERR_MEMORY_EXHAUSTED', { hint: 'At most 6 MiB are available.' }),
    )
    await vm[Symbol.asyncDispose]()
    expect(memoryManager.reserved).toBe(0)
  })
})

describe('parseVmConfiguration', () => {
  it('completes a small one', () => {
    const configuration = parseVmConfiguration({
      memory: 64 * MIB,
      boot: { kernel: 'k' },
      devices: ['a', { plugin: 'b', options: { c: 1 }, id: 'd' }],
    })
    expect(configuration).toEqual({
      name: 'vm',
      processor: { plugin: '@partita/processor-x86' },
      memory: 64 * MIB,
      virtualProcessors: 1,
      hypervisor: 'hyper-v',
      devices: [{ plugin: 'a' }, { plugin: 'b', options: { c: 1 }, id: 'd' }],
      boot: { type: 'auto', kernel: 'k', commandLine: '', modules: [] },
      onReset: 'restart',
      onPluginFailure: 'continue',
      onGuestCrash: 'end',
    })
  })

  it('names the wrong place', () => {
    const wrong = (more: object) => {
      try {
        parseVmConfiguration({ memory: 64 * MIB, ...more })
      } catch (error) {
        return (error as Error).message
      }
      return 'nothing wrong'
    }
    expect(wrong({})).toBe('nothing wrong')
    expect(wrong({ memory: 1024 })).toContain('memory: must be at least 1 MiB')
    expect(wrong({ memory: 4 * 1024 * MIB })).toContain('memory: must be at most 3072 MiB')
    expect(wrong({ memory: 2 * MIB + 1 })).toContain('memory: must be whole pages')
    expect(wrong({ memory: undefined })).toContain('memory')
    expect(wrong({ colour: 'red' })).toContain('colour')
    expect(wrong({ boot: { kernel: '' } })).toContain('boot.kernel: must name a file')
    expect(wrong({ boot: { type: 'grub', kernel: 'x' } })).toContain('boot.type')
    expect(wrong({ virtualProcessors: 0 })).toContain('virtualProcessors')
    expect(wrong({ devices: [{}] })).toContain('devices.0')
  })
})

describe('firmware in a ROM', () => {
  const ROM = 64 * 1024
  const rom = (): Uint8Array => {
    const image = new Uint8Array(ROM).fill(0x90)
    image[ROM - 16] = 0xea
    return image
  }
  /** What firmware is told. */
  function told() {
    const given = new Map<number | string, Uint8Array | undefined>()
    const configuration: FirmwareConfiguration = {
      setItem: (key, data) => void given.set(key, data),
      setFile: (name, data) => void given.set(name, data),
    }
    const plugin = fakePlugin([], {
      name: 'fw-cfg',
      provides: [firmwareConfigurationToken],
      create: () => ({
        services: { [firmwareConfigurationToken.name]: configuration },
        async [Symbol.asyncDispose]() {},
      }),
    })
    return { given, plugin }
  }
  const boot = { type: 'bios', firmware: 'rom', order: [2] }

  it('stands where the processor starts, knows the machine, and is there after a reset', async () => {
    const { given, plugin } = told()
    let starts = 0
    const { vm, reads } = await machine({
      devices: [plugin],
      configuration: { boot },
      services: { readFile: async () => rom() },
      script: (vp) => {
        vp.intercepts.portWrite(0, 0xf4, 1, starts++ === 0 ? 1 : 7)
        return 'budget'
      },
    })
    expect(vm.partition.memory.readU8(0xffff_fff0)).toBe(0xea)
    expect(new TextDecoder().decode(given.get('bootorder'))).toBe('/pci@i0cf8/ide@7,1/drive@1/disk@0\n\0')
    expect([...(given.get(5) ?? [])]).toEqual([1, 0])
    expect(reads).toEqual([])
    expect(await vm.run()).toEqual({ type: 'debug-exit', code: 7 })
    expect(vm.partition.memory.readU8(0xffff_fff0)).toBe(0xea)
  })

  it('says what is missing or wrong before anything runs', async () => {
    const script = out(1)
    await expect(
      machine({ script, configuration: { boot }, services: { readFile: async () => rom() } }),
    ).rejects.toThrow(code('ERR_VM_CONFIGURATION', { hint: expect.stringContaining('emulated-fw-cfg') }))
    const broken = { script, configuration: { boot }, devices: [told().plugin] }
    await expect(machine({ ...broken, services: { readFile: async () => new Uint8Array(100) } })).rejects.toThrow(
      code('ERR_FIRMWARE_IMAGE'),
    )
    const unreadable = { readFile: () => Promise.reject(new Error('gone')) }
    await expect(machine({ ...broken, services: unreadable })).rejects.toThrow(code('ERR_FILE_UNREADABLE'))
  })

  it('has devices of its own, and a configuration of its own', () => {
    const devices = (configuration: object): string[] =>
      parseVmConfiguration({ memory: 4 * MIB, boot, ...configuration }).devices.map(({ plugin }) => plugin)
    expect(devices({})).toEqual(
      expect.arrayContaining(['@partita/emulated-fw-cfg', '@partita/emulated-ide', '@partita/vmbus']),
    )
    expect(devices({ hypervisor: 'none' })).toContain('@partita/emulated-fw-cfg')
    expect(devices({ hypervisor: 'none' })).not.toContain('@partita/vmbus')
    for (const wrong of [
      { type: 'bios' },
      { ...boot, order: [4] },
      { ...boot, kernel: 'vmlinuz' },
      { type: 'uefi', kernel: 'k' },
    ])
      expect(() => parseVmConfiguration({ memory: 4 * MIB, boot: wrong })).toThrow(code('ERR_VM_CONFIGURATION'))
    expect(parseVmConfiguration({ memory: 4 * MIB, boot: { type: 'bios', firmware: 'rom' } }).boot).toEqual({
      type: 'bios',
      firmware: 'rom',
      order: [0, 1, 2, 3],
    })
  })
})
