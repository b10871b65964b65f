// The watchdog of docs/writing-a-device.md: with fakes, against the compliance suite, and in a VM that loads it as a stranger's package.

import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { FakeMachine } from '@partita/testkit'
import { protectedModeKernel } from '@partita/testkit/test-kernels'
import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import { describe, expect, it } from 'vitest'
import watchdog from './index.ts'
import packageJson from './package.json' with { type: 'json' }

const PORT = 0x510
const MILLISECOND = 1e6

describe('the watchdog', () => {
  it('resets the machine that does not come back in time', async () => {
    await using machine = new FakeMachine()
    await machine.start(watchdog)
    machine.ports.write(PORT, 20, 4)
    machine.clock.advance(15 * MILLISECOND)
    expect(machine.ports.read(PORT, 4)).toBe(5)
    machine.ports.write(PORT, 20, 4)
    machine.clock.advance(19 * MILLISECOND)
    expect(machine.power.events).toEqual([])
    machine.clock.advance(MILLISECOND)
    expect(machine.power.events).toEqual([{ type: 'reset' }])
  })

  it('is switched off by 0', async () => {
    await using machine = new FakeMachine()
    await machine.start(watchdog, { base: 0x580 })
    machine.ports.write(0x580, 20, 4)
    machine.ports.write(0x580, 0, 4)
    machine.clock.advance(1000 * MILLISECOND)
    expect(machine.power.events).toEqual([])
  })
})

emulatedDeviceCompliance({
  plugin: watchdog,
  manifest: packageJson.partita,
  options: [{}, { base: 0x580 }],
  invalidOptions: [{ base: -1 }, { base: 0xfffe }],
})

it('works in a virtual machine', async () => {
  // Arms the watchdog, and hangs.
  const kernel = protectedModeKernel((a) =>
    a.mov('eax', 5).mov('edx', PORT).out('dx', 'eax').label('hang').jmpShort('hang'),
  )
  const registry = new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) })
  await using vm = await VirtualMachine.create(
    { memory: 16 * 2 ** 20, devices: ['.'], boot: { kernel: 'kernel' }, onReset: 'end' },
    { registry, readFile: async () => kernel },
  )
  expect(await vm.run()).toEqual({ type: 'reset' })
})
