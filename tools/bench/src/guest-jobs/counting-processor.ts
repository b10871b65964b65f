// The software processor, with its exits counted on their way to the hypervisor.

import {
  definePlugin,
  type Intercepts,
  PLUGIN_CONTRACT,
  type Plugin,
  type Processor,
  processorToken,
  type VirtualProcessor,
} from '@partita/interface'
import { createProcessor } from '@partita/processor-x86'
import type { Activity } from './activity.ts'

export const COUNTING_PROCESSOR = 'bench-counting-processor'

type ProcessorActivity = Pick<
  Activity,
  'portExits' | 'mmioExits' | 'msrExits' | 'hypercallExits' | 'otherExits' | 'halts' | 'instructions'
>

export class CountingProcessor {
  readonly plugin: Plugin<never>
  readonly #virtualProcessors: VirtualProcessor[] = []
  readonly #counts = { portExits: 0, mmioExits: 0, msrExits: 0, hypercallExits: 0, otherExits: 0, halts: 0 }

  constructor() {
    const software = createProcessor()
    const processor: Processor = {
      ...software,
      createVirtualProcessor: (options) => {
        const vp = software.createVirtualProcessor({ ...options, intercepts: this.#counted(options.intercepts) })
        const run = vp.run.bind(vp)
        vp.run = (budget) => {
          const exit = run(budget)
          if (exit === 'halt') this.#counts.halts++
          return exit
        }
        this.#virtualProcessors.push(vp)
        return vp
      },
    }
    this.plugin = definePlugin<never>({
      name: COUNTING_PROCESSOR,
      kind: 'processor',
      contract: PLUGIN_CONTRACT,
      description: 'The software processor, counting exits',
      options: { '~standard': { version: 1, vendor: 'partita', validate: (value) => ({ value: value as never }) } },
      needs: [],
      provides: [processorToken],
      create: () => ({ services: { [processorToken.name]: processor }, async [Symbol.asyncDispose]() {} }),
    })
  }

  activity(): ProcessorActivity {
    return {
      ...this.#counts,
      instructions: this.#virtualProcessors.reduce((sum, { instructionCount }) => sum + instructionCount, 0),
    }
  }

  #counted(intercepts: Intercepts): Intercepts {
    const counts = this.#counts
    const { timeStampWritten } = intercepts
    return {
      portRead: (vp, port, size) => {
        counts.portExits++
        return intercepts.portRead(vp, port, size)
      },
      portWrite: (vp, port, size, value) => {
        counts.portExits++
        intercepts.portWrite(vp, port, size, value)
      },
      mmioRead: (vp, gpa, size) => {
        counts.mmioExits++
        return intercepts.mmioRead(vp, gpa, size)
      },
      mmioWrite: (vp, gpa, size, value) => {
        counts.mmioExits++
        intercepts.mmioWrite(vp, gpa, size, value)
      },
      msrRead: (vp, index, value) => {
        counts.msrExits++
        return intercepts.msrRead(vp, index, value)
      },
      msrWrite: (vp, index, value) => {
        counts.msrExits++
        return intercepts.msrWrite(vp, index, value)
      },
      hypercall: (vp) => {
        counts.hypercallExits++
        return intercepts.hypercall(vp)
      },
      cpuid: (vp, leaf, subleaf, registers) => {
        counts.otherExits++
        intercepts.cpuid(vp, leaf, subleaf, registers)
      },
      acknowledgeInterrupt: (vp) => {
        counts.otherExits++
        return intercepts.acknowledgeInterrupt(vp)
      },
      endOfInterrupt: (vp, vector, level) => {
        counts.otherExits++
        intercepts.endOfInterrupt(vp, vector, level)
      },
      // The processor has done the work and only passes a message on.
      sendInterrupt: (vp, message) => intercepts.sendInterrupt(vp, message),
      ...(timeStampWritten && { timeStampWritten: (vp: number) => timeStampWritten.call(intercepts, vp) }),
    }
  }
}
