// A guest's code on the software processor uses the Hyper-V interface: what the hypervisor's tests do with fake processors, with real instructions.

import { type SynicPorts, synicPortsToken } from '@partita/interface'
import { type Assembler, dword, mem, qword, ref } from '@partita/testkit/assembler'
import { longModeKernel, protectedModeKernel } from '@partita/testkit/test-kernels'
import { describe, expect, it } from 'vitest'
import { PluginRegistry, VirtualMachine, type VmOutcome } from '../src/index.ts'
import { NodePackageSource } from '../src/node.ts'
import { partitionToken } from '../src/partition-plugin.ts'
import { fakePlugin } from './fake-machine.ts'

const MIB = 2 ** 20
const GPA = {
  HYPERCALL: 0x40_0000,
  SIMP: 0x40_1000,
  SIEFP: 0x40_2000,
  TSC: 0x40_3000,
  INPUT: 0x40_4000,
  IDT: 0x40_5000,
} as const
const SELECTOR_CODE64 = 0x18

interface Run {
  readonly outcome: VmOutcome
  readonly vm: VirtualMachine
}

/** Run a kernel. `serve` is the root partition's side. */
async function run(kernel: Uint8Array, more: object = {}, serve: (ports: SynicPorts) => void = () => {}): Promise<Run> {
  const registry = new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) })
  const vm = await VirtualMachine.create(
    { memory: 8 * MIB, boot: { kernel: 'kernel' }, onReset: 'end', ...more },
    { registry, readFile: async () => kernel },
  )
  if (vm.partition.hyperV !== undefined) serve(vm.partition.hyperV.synicPorts)
  const outcome = await vm.run()
  await vm[Symbol.asyncDispose]()
  return { outcome, vm }
}

/** The value that the kernel leaves in EAX, from its exit code. */
const value = ({ outcome }: Run): number => (outcome.type === 'debug-exit' ? outcome.code >> 1 : -1)

const writeMsr = (a: Assembler, index: number, low: number, high = 0): Assembler =>
  a.mov('ecx', index).mov('eax', low).mov('edx', high).wrmsr()
const enableHypercalls = (a: Assembler): Assembler =>
  writeMsr(writeMsr(a, 0x40000000, 0, 0x81000601), 0x40000001, GPA.HYPERCALL | 1)
/** A fast hypercall through the page; RAX has the result. */
const hypercall = (a: Assembler, control: number, rdx: number | bigint = 0, r8: number | bigint = 0): Assembler =>
  a.mov('rcx', control).mov('rdx', rdx).mov('r8', r8).mov('rax', GPA.HYPERCALL).call('rax')
/** Interrupt gates for vectors, at the labels of their handlers. */
function loadIdt(a: Assembler, handlers: Readonly<Record<number, string>>): Assembler {
  for (const [vector, label] of Object.entries(handlers)) {
    const gate = GPA.IDT + Number(vector) * 16
    a.mov('eax', ref(label))
      .mov('edx', 'eax')
      .and('edx', 0xffff)
      .or('edx', SELECTOR_CODE64 << 16)
      .mov(dword(gate), 'edx')
    a.and('eax', 0xffff_0000)
      .or('eax', 0x8e00)
      .mov(dword(gate + 4), 'eax')
    a.mov(dword(gate + 8), 0)
  }
  return a
    .lidt(mem(ref('idtr')))
    .jmp('go')
    .label('idtr')
    .words(0xfff)
    .qwords(GPA.IDT)
    .label('go')
}

describe('A guest on the Hyper-V interface', () => {
  it('finds it by CPUID, and calls through the hypercall page', async () => {
    const kernel = longModeKernel((a) => {
      a.mov('eax', 1).cpuid().shr('ecx', 31).mov('ebp', 'ecx')
      a.mov('eax', 0x40000001).cpuid().sub('eax', 0x31237648).jcc('nz', 'wrong')
      enableHypercalls(a)
      a.cmp(dword(GPA.HYPERCALL), 0xc3c1010f | 0).jcc('nz', 'wrong')
      hypercall(a, 0x10008, 1000).test('rax', 'rax').jcc('nz', 'wrong')
      hypercall(a, 0x7777).cmp('rax', 2).jcc('nz', 'wrong')
      a.lea('eax', mem({ base: 'rbp', displacement: 40 })).jmp('exit')
      a.label('wrong').mov('eax', 99)
    })
    expect(value(await run(kernel))).toBe(41)
  })

  it('is refused a hypercall from 32-bit code only where its values are wrong', async () => {
    const kernel = protectedModeKernel((a) => {
      writeMsr(writeMsr(a, 0x40000000, 0, 0x81000601), 0x40000001, GPA.HYPERCALL | 1)
      // EDX:EAX control, EBX:ECX input: HvCallSignalEvent, fast, connection id 5, flag 3.
      a.mov('edx', 0).mov('eax', 0x1005d).mov('ebx', 3).mov('ecx', 5).mov('edi', 0).mov('esi', 0)
      a.mov('ebp', GPA.HYPERCALL).call('ebp')
      a.add('eax', 'edx')
    })
    const flags: number[] = []
    const result = await run(kernel, {}, (ports) => void ports.createEventPort(5, (flag) => flags.push(flag)))
    expect(value(result)).toBe(0)
    expect(flags).toEqual([3])
  })

  it('takes its timer interrupt in direct mode, and ends it by the synthetic EOI', async () => {
    const kernel = longModeKernel((a) => {
      loadIdt(a, { 237: 'tick' })
      writeMsr(a, 0x400000b0, 0x1ed9)
      a.xor('ebp', 'ebp')
      a.label('again')
      // On a slow host the time may be over before HLT: the interrupt waits for STI.
      a.cli().mov('ecx', 0x40000020).rdmsr().add('eax', 5000).adc('edx', 0).mov('ecx', 0x400000b1).wrmsr()
      a.sti().hlt().cmp('ebp', 3).jcc('b', 'again')
      a.cli().mov('eax', 'ebp').jmp('exit')
      a.label('tick').inc('ebp')
      a.push('rax').push('rcx').push('rdx')
      writeMsr(a, 0x40000070, 0)
      a.pop('rdx').pop('rcx').pop('rax').iret()
    })
    expect(value(await run(kernel))).toBe(3)
  })

  it('sleeps in GUEST_IDLE with interrupts disabled until one is pending', async () => {
    const kernel = longModeKernel((a) => {
      loadIdt(a, { 237: 'tick' })
      a.xor('ebp', 'ebp').cli()
      writeMsr(a, 0x400000b0, 0x1ed8)
      a.mov('ecx', 0x40000020).rdmsr().add('eax', 20_000).adc('edx', 0).mov('ecx', 0x400000b1).wrmsr()
      a.mov('r12', 'rax')
      a.mov('ecx', 0x400000f0).rdmsr()
      // Awake: the interrupt has not come through yet.
      a.cmp('ebp', 0).jcc('nz', 'wrong')
      a.mov('ecx', 0x40000020).rdmsr().cmp('eax', 'r12d').jcc('b', 'wrong')
      a.sti().nop().cli().mov('eax', 'ebp').jmp('exit')
      a.label('tick').inc('ebp').iret()
      a.label('wrong').mov('eax', 99)
    })
    expect(value(await run(kernel))).toBe(1)
  })

  it('computes the time from the reference page as the counter tells it, after it has set its time stamp too', async () => {
    const kernel = longModeKernel((a) => {
      writeMsr(a, 0x40000021, GPA.TSC | 1)
      a.mov('ebp', 2).label('again')
      a.rdtsc().shl('rdx', 32).or('rax', 'rdx')
      a.mul(qword(GPA.TSC + 8))
        .add('rdx', qword(GPA.TSC + 16))
        .mov('r12', 'rdx')
      a.mov('ecx', 0x40000020).rdmsr().shl('rdx', 32).or('rax', 'rdx')
      a.sub('rax', 'r12').add('rax', 10)
      // Within a second, and not before: the host may be busy.
      a.cmp('rax', 10_000_000).mov('eax', 99).jcc('ae', 'exit')
      // 275 seconds ahead.
      writeMsr(a, 0x10, 0, 0x80)
      a.dec('ebp').jcc('nz', 'again')
      a.mov('eax', dword(GPA.TSC))
    })
    // The sequence: the page was made once, and once more for each write.
    expect(value(await run(kernel))).toBe(3)
  })

  it('gets messages and events with AutoEOI: a second interrupt comes without an EOI', async () => {
    const kernel = longModeKernel((a) => {
      loadIdt(a, { 81: 'interrupt' })
      enableHypercalls(a)
      writeMsr(a, 0x40000083, GPA.SIMP | 1)
      writeMsr(a, 0x40000082, GPA.SIEFP | 1)
      writeMsr(a, 0x40000092, 0x2_0051)
      writeMsr(a, 0x40000080, 1)
      a.xor('ebp', 'ebp').sti()
      // The root partition answers each signal with a message and an event flag.
      for (let round = 0; round < 2; round++) {
        hypercall(a, 0x1005d, 5).nop()
        a.add('ebp', dword(GPA.SIMP + 2 * 256)).add('ebp', dword(GPA.SIEFP + 2 * 256))
        a.mov(dword(GPA.SIMP + 2 * 256), 0).mov(dword(GPA.SIEFP + 2 * 256), 0)
      }
      a.cli().mov('eax', 'ebp').jmp('exit')
      a.label('interrupt').add('ebp', 16).iret()
    })
    const result = await run(kernel, {}, (ports) => {
      ports.createEventPort(5, () => {
        expect(ports.postMessage(0, 2, 3, new Uint8Array(8))).toBe(true)
        expect(ports.signalEvent(0, 2, 2)).toBe(true)
      })
    })
    // Each round: message type 3, flags 4, and at least one interrupt.
    const sum = value(result)
    expect(sum % 16).toBe(14)
    expect(sum >> 4).toBeGreaterThanOrEqual(2)
  })

  it('gets the next message at its EOI', async () => {
    const kernel = longModeKernel((a) => {
      loadIdt(a, { 82: 'interrupt' })
      enableHypercalls(a)
      writeMsr(a, 0x40000083, GPA.SIMP | 1)
      writeMsr(a, 0x40000092, 0x52)
      writeMsr(a, 0x40000080, 1)
      a.xor('ebp', 'ebp').sti()
      hypercall(a, 0x1005d, 5).nop().nop().nop()
      a.cli().mov('eax', 'ebp').jmp('exit')
      a.label('interrupt').push('rax').push('rcx').push('rdx')
      // In order: 1, 2, 3 as hexadecimal digits, the highest first.
      a.shl('ebp', 2)
        .add('ebp', dword(GPA.SIMP + 2 * 256))
        .mov(dword(GPA.SIMP + 2 * 256), 0)
      writeMsr(a, 0x40000070, 0)
      a.pop('rdx').pop('rcx').pop('rax').iret()
    })
    const result = await run(kernel, {}, (ports) => {
      ports.createEventPort(5, () => {
        for (const type of [1, 2, 3]) ports.postMessage(0, 2, type, new Uint8Array(0))
      })
    })
    expect(value(result)).toBe((1 << 4) | (2 << 2) | 3)
  })

  it('ends its run with a reset, or with a crash report and its message', async () => {
    expect((await run(longModeKernel((a) => writeMsr(a, 0x40000003, 1).hlt()))).outcome).toEqual({ type: 'reset' })
    const crash = longModeKernel((a) => {
      for (let index = 0; index < 3; index++) writeMsr(a, 0x40000100 + index, index + 1)
      a.mov('eax', ref('text')).mov('edx', 0).mov('ecx', 0x40000103).wrmsr()
      writeMsr(a, 0x40000104, 5)
      writeMsr(a, 0x40000105, 0, 0xc0000000).hlt()
      a.label('text').bytes(...new TextEncoder().encode('Aiee!'))
    })
    const { outcome } = await run(crash)
    expect(outcome).toMatchObject({ type: 'guest-crash', message: 'Aiee!' })
    expect((outcome as { parameters: readonly bigint[] }).parameters.slice(0, 3)).toEqual([1n, 2n, 3n])
  })

  it('sees plain hardware where the configuration says so', async () => {
    const kernel = longModeKernel((a) => {
      a.mov('eax', 1).cpuid().shr('ecx', 31).mov('ebp', 'ecx')
      a.mov('eax', 0x40000000).cpuid().add('eax', 'ebp')
    })
    const { vm, outcome } = await run(kernel, { hypervisor: 'none' })
    expect(outcome).toEqual({ type: 'debug-exit', code: 1 })
    expect(vm.partition.hyperV).toBeUndefined()
    await expect(
      VirtualMachine.create(
        { memory: 8 * MIB, hypervisor: 'xen' },
        {
          registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
          readFile: async () => kernel,
        },
      ),
    ).rejects.toThrow(expect.objectContaining({ code: 'ERR_VM_CONFIGURATION' }))
  })
})

describe('The root partition', () => {
  it('gives plug-ins the SynIC, and what lies under overlay pages is saved with RAM', async () => {
    const log: string[] = []
    let ports: SynicPorts | undefined
    const plugin = fakePlugin(log, {
      name: 'listener',
      needs: [synicPortsToken, partitionToken],
      create: (context) => {
        ports = context.get(synicPortsToken)
        return { async [Symbol.asyncDispose]() {} }
      },
    })
    const kernel = longModeKernel((a) => {
      a.mov(dword(GPA.HYPERCALL), 0x1234567).mov(dword(GPA.SIMP), 0x7654321)
      enableHypercalls(a)
      writeMsr(a, 0x40000083, GPA.SIMP | 1)
      a.mov(dword(GPA.SIMP + 64), 0x42)
      a.cli().hlt()
    })
    const create = () =>
      VirtualMachine.create(
        { memory: 8 * MIB, boot: { kernel: 'kernel' }, devices: ['listener'] },
        {
          registry: new PluginRegistry({
            source: new NodePackageSource({ directory: import.meta.dirname }),
            plugins: [plugin as never],
          }),
          readFile: async () => kernel,
          acpi: false,
        },
      )
    const first = await create()
    expect(ports).toBeDefined()
    const running = first.run()
    while (first.partition.memory.readU32(GPA.SIMP + 64) !== 0x42) await new Promise((resolve) => setImmediate(resolve))
    await first.stop()
    expect(await running).toEqual({ type: 'stopped' })
    const saved = structuredClone(first.save())
    expect(first.partition.memory.readU32(GPA.HYPERCALL)).toBe(0xc3c1010f)

    const second = await create()
    second.restore(saved)
    // Twice: into a machine whose overlays are in place, too.
    second.restore(saved)
    const { memory } = second.partition
    expect(memory.readU32(GPA.HYPERCALL)).toBe(0xc3c1010f)
    expect([memory.readU32(GPA.SIMP), memory.readU32(GPA.SIMP + 64)]).toEqual([0, 0x42])
    expect(memory.baseView(GPA.HYPERCALL, 4)).toEqual(Uint8Array.of(0x67, 0x45, 0x23, 0x01))
    expect(memory.baseView(GPA.SIMP, 4)).toEqual(Uint8Array.of(0x21, 0x43, 0x65, 0x07))
    await first[Symbol.asyncDispose]()
    await second[Symbol.asyncDispose]()
  })
})
