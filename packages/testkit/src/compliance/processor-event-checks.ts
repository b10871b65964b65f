// Checks of a processor's events: exceptions and their error codes, the protection of memory, interrupts, halts, timers, shutdown.

import { DELIVERY_MODE, type InterruptMessage } from '@partita/interface'
import { type Assembler, mem } from '../assembler.ts'
import { type ComplianceCheck, expectEqual, expectThat, plainCheck } from './check.ts'
import { AT, ProcessorBench, PTE } from './processor-bench.ts'
import type { ProcessorSubject } from './processor-compliance.ts'

function fixed(vector: number, level = false): InterruptMessage {
  return { vector, deliveryMode: DELIVERY_MODE.FIXED, destination: 0, logical: false, level }
}

export function processorEventChecks({ create }: ProcessorSubject): ComplianceCheck[] {
  return [
    plainCheck('raises exceptions with their error codes, at the instruction that caused them', () => {
      using bench = new ProcessorBench(create())
      for (const [write, name] of [
        [(a) => a.xor('ecx', 'ecx').div('ecx'), '#DE'],
        [(a) => a.ud2(), '#UD'],
        [(a) => a.mov('rbx', 0x8000_0000_0000n).mov('eax', mem('rbx')), '#GP(0)'],
        [(a) => a.mov('rbp', 0x8000_0000_0000n).mov('eax', mem('rbp')), '#SS(0)'],
        [(a) => a.mov('eax', 0x18).mov('ss', 'ax'), '#GP(24)'],
        [(a) => a.mov('rax', 0x5000_0000).mov('rbx', mem('rax')), '#PF(0)'],
        [(a) => a.mov('rax', 0x5000_0000).mov(mem('rax'), 'rbx'), '#PF(2)'],
      ] as const satisfies readonly (readonly [(a: Assembler) => Assembler, string])[]) {
        expectEqual(bench.kernel(write), name, 'the event')
        if (name.startsWith('#PF')) expectEqual(bench.events[0]?.cr2, 0x5000_0000, 'CR2')
      }
      // A fault is restarted, and has changed nothing before.
      let faults = 0
      bench.setPage(AT.DATA, 0n)
      bench.resume = ({ vector, rip }) => {
        faults++
        if (vector !== 14) return undefined
        expectEqual(bench.get('rbx'), 5n, 'RBX at the fault')
        bench.write32(AT.DATA, 37)
        bench.setPage(AT.DATA, BigInt(AT.DATA) | 3n)
        return rip
      }
      bench.kernel((a) => a.mov('rbx', 5).add('rbx', mem(AT.DATA)))
      expectEqual([faults, bench.get('rbx')], [1, 42n], 'faults, and the result of the restarted instruction')
    }),
    plainCheck('keeps programs out of pages that are not theirs, not for writing, or not for code', () => {
      using bench = new ProcessorBench(create())
      const page = BigInt(AT.USER_DATA)
      const kernelPage = BigInt(AT.DATA)
      for (const [ring, access, address, entry, name] of [
        ['user', 'read', AT.USER_DATA, page | 7n, 'ok'],
        ['user', 'write', AT.USER_DATA, page | 7n, 'ok'],
        ['user', 'read', AT.USER_DATA, page | 5n, 'ok'],
        ['user', 'write', AT.USER_DATA, page | 5n, '#PF(7)'],
        ['user', 'read', AT.USER_DATA, page | 3n, '#PF(5)'],
        ['user', 'read', AT.USER_DATA, 0n, '#PF(4)'],
        ['user', 'write', AT.USER_DATA, 0n, '#PF(6)'],
        ['user', 'run', AT.USER_DATA, page | 7n, 'ok'],
        ['user', 'run', AT.USER_DATA, page | 7n | PTE.NX, '#PF(21)'],
        ['user', 'read', AT.DATA, kernelPage | 3n, '#PF(5)'],
        ['user', 'port', 0, 0n, '#GP(0)'],
        ['user', 'halt', 0, 0n, '#GP(0)'],
        ['kernel', 'write', AT.DATA, kernelPage | 3n, 'ok'],
        ['kernel', 'write', AT.DATA, kernelPage | 1n, '#PF(3)'],
        ['kernel', 'run', AT.DATA, kernelPage | 3n | PTE.NX, '#PF(17)'],
      ] as const) {
        if (address !== 0) bench.setPage(address, entry)
        bench.load(address === 0 ? AT.USER_DATA : address, 64, (a) =>
          ring === 'user' ? a.int(0x80) : ProcessorBench.end(a),
        )
        const result = bench[ring]((a) => {
          if (access === 'read') a.mov('eax', mem(address))
          else if (access === 'write') a.mov(mem(address), 'eax')
          else if (access === 'run') a.mov('rax', address).jmp('rax')
          else if (access === 'port') a.out(0x80, 'al')
          else a.hlt()
        })
        expectEqual(result, name, `${ring} ${access} at ${address.toString(16)} with the entry ${entry.toString(16)}`)
        if (address !== 0) bench.setPage(address, BigInt(address) | (address >= AT.USER_CODE ? 7n : 3n))
      }
    }),
    plainCheck('halts until an interrupt comes that it lets in', () => {
      using bench = new ProcessorBench(create())
      expectEqual(
        bench.kernel((a) => ProcessorBench.enableApic(a)),
        'ok',
        'switching the local APIC on',
      )
      bench.load(AT.CODE, 64, (a) => a.sti().hlt().mov('ebx', 7).cli().label('sleep').hlt().jmp('sleep'))
      bench.resume = ({ rip }) => {
        bench.vp.localApic.endOfInterrupt()
        return rip
      }
      bench.set('rbx', 0)
      bench.set('rip', AT.CODE)
      expectEqual(bench.run(), 'halt', 'the exit at HLT')
      expectEqual([bench.vp.run(100), bench.get('rbx')], ['halt', 0n], 'a run without an interrupt')
      expectEqual(bench.vp.receiveInterrupt(fixed(0x50)), true, 'whether the interrupt is accepted')
      expectEqual(
        bench.vp.receiveInterrupt({ ...fixed(0x51), destination: 7 }),
        false,
        'whether one for another is accepted',
      )
      expectEqual([bench.run(), bench.get('rbx')], ['halt', 7n], 'a run with an interrupt')
      expectEqual(
        bench.events.map(({ vector }) => vector),
        [0x50],
        'events',
      )
      // With IF clear it waits.
      bench.vp.receiveInterrupt(fixed(0x52))
      expectEqual(bench.vp.run(100), 'halt', 'a run with IF clear')
      expectEqual(bench.events.length, 1, 'events with IF clear')
      // An NMI does not.
      bench.vp.receiveInterrupt({ ...fixed(2), deliveryMode: DELIVERY_MODE.NMI })
      bench.run()
      expectEqual(bench.events.at(-1)?.vector, 2, 'the vector of an NMI')
    }),
    plainCheck(
      'delivers interrupts by their priority, one class after the other, and tells of the end of level-triggered ones',
      () => {
        using bench = new ProcessorBench(create())
        bench.kernel((a) => ProcessorBench.enableApic(a))
        for (const [vector, level] of [
          [0x45, false],
          [0x91, true],
          [0x93, false],
          [0x62, true],
        ] as const)
          bench.vp.receiveInterrupt(fixed(vector, level))
        bench.resume = ({ rip }) => rip
        // The guest ends each by its EOI register, when it has come back.
        bench.load(AT.CODE, 64, (a) => {
          a.mov('ebx', 4).label('again').sti().nop().nop().cli()
          ProcessorBench.wrmsr(a, 0x80b, 0).dec('ebx').jcc('nz', 'again')
          ProcessorBench.end(a)
        })
        bench.set('rip', AT.CODE)
        bench.run()
        expectEqual(
          bench.events.map(({ vector }) => vector),
          [0x93, 0x91, 0x62, 0x45],
          'the order',
        )
        expectEqual(
          bench.endOfInterrupts.filter(({ level }) => level),
          [
            { vector: 0x91, level: true },
            { vector: 0x62, level: true },
          ],
          'ends of interrupts that were told',
        )
      },
    ),
    plainCheck('asks for the vector of an interrupt at its pin, while the pin is asserted', () => {
      using bench = new ProcessorBench(create())
      let asked = 0
      bench.acknowledge = () => {
        asked++
        bench.vp.setExternalInterrupt(false)
        return 0x28
      }
      bench.resume = ({ rip }) => rip
      bench.vp.setExternalInterrupt(true)
      expectEqual(
        bench.kernel((a) => a.nop()),
        'ok',
        'a program with IF clear',
      )
      expectEqual(asked, 0, 'times that it was asked with IF clear')
      bench.kernel((a) => a.sti().nop().nop())
      expectEqual([asked, bench.events.map(({ vector }) => vector)], [1, [0x28]], 'times that it was asked, and events')
    }),
    plainCheck('starts where a startup message says', () => {
      // The first processor of a machine would start by itself.
      using bench = new ProcessorBench(create(), 'power-on', 1)
      bench.vp.receiveInterrupt({ ...fixed(0), destination: 1, deliveryMode: DELIVERY_MODE.INIT, level: true })
      expectEqual([bench.vp.run(10), bench.vp.waitingForStartup], ['wait-for-sipi', true], 'after INIT')
      bench.load(0x9000, 16, (a) => a.mov('ax', 'cs').mov('bx', 0x1234).cli().hlt())
      bench.vp.receiveInterrupt({ ...fixed(9), destination: 1, deliveryMode: DELIVERY_MODE.STARTUP })
      expectEqual([bench.run(), bench.vp.waitingForStartup], ['halt', false], 'after a startup message')
      expectEqual(
        [bench.get('rax') & 0xffffn, bench.get('rbx') & 0xffffn],
        [0x900n, 0x1234n],
        'CS, and what the program did',
      )
    }),
    plainCheck('sends what a guest writes to the interrupt command register', () => {
      using bench = new ProcessorBench(create())
      bench.resume = ({ rip }) => {
        bench.vp.localApic.endOfInterrupt()
        return rip
      }
      bench.kernel((a) => {
        ProcessorBench.enableApic(a)
        ProcessorBench.wrmsr(a, 0x830, 0x4061).sti().nop().nop()
      })
      expectEqual(
        bench.sent.map(({ vector, deliveryMode }) => [vector, deliveryMode]),
        [[0x61, 0]],
        'what was sent',
      )
      expectEqual(
        bench.events.map(({ vector }) => vector),
        [0x61],
        'events',
      )
    }),
    plainCheck('fires the timer of its local APIC when its time has come, and says when that is', () => {
      const processor = create()
      using bench = new ProcessorBench(processor)
      expectEqual(bench.vp.nextDeadline, Number.POSITIVE_INFINITY, 'the deadline of a timer that is off')
      bench.resume = ({ rip }) => {
        bench.vp.localApic.endOfInterrupt()
        return rip
      }
      bench.load(AT.CODE, 64, (a) => {
        ProcessorBench.enableApic(a)
        ProcessorBench.wrmsr(a, 0x832, 0x70)
        ProcessorBench.wrmsr(a, 0x83e, 0b1011)
        ProcessorBench.wrmsr(a, 0x838, 500_000).sti().hlt().mov('ebx', 3).cli().hlt()
      })
      bench.set('rbx', 0)
      bench.set('rip', AT.CODE)
      expectEqual(bench.run(), 'halt', 'the exit')
      const due = (500_000 / processor.apicTimerFrequency) * 1e9
      const { nextDeadline } = bench.vp
      expectThat(Math.abs(nextDeadline - due) <= 100, `the deadline is ${nextDeadline} instead of ${due}`)
      bench.clock.skip(nextDeadline - 1000)
      expectEqual([bench.vp.run(100), bench.get('rbx')], ['halt', 0n], 'a microsecond before')
      bench.clock.skip(1001)
      expectEqual([bench.run(), bench.get('rbx')], ['halt', 3n], 'when the time has come')
      expectEqual(
        bench.events.map(({ vector }) => vector),
        [0x70],
        'events',
      )
      expectEqual(bench.vp.nextDeadline, Number.POSITIVE_INFINITY, 'the deadline of a timer that has fired')
    }),
    plainCheck('shuts down after a fault without handlers', () => {
      using bench = new ProcessorBench(create())
      bench.vp.setDescriptorTable('idtr', 0n, 0)
      expectEqual(
        bench.kernel((a) => a.ud2()),
        'shutdown',
        'the exit',
      )
      expectEqual(bench.vp.run(100), 'shutdown', 'a run after that')
    }),
  ]
}
