// What runs on the processor: a program in TypeScript. It is a coroutine; what an instruction is to machine code, the way from one `yield` to the next is to it.

import type { SavedValue } from '@partita/interface'
import type { Cpu } from './cpu.ts'

/**
 * Why a program gives its processor away: `halt` is HLT, which lasts until an interrupt has been delivered; `pause` lets interrupts in and the rest of the machine have its turn.
 */
export type Step = 'halt' | 'pause'

/** A program: one for all processors of a partition, as they share its memory. */
export interface Program {
  /**
   * Called when a processor starts: the boot processor at power-on, with the registers as the firmware left them, any other by a startup IPI or
   * HvCallStartVirtualProcessor. With `saved` it goes on from a saved state. A program that returns has halted for good, and its interrupt handlers still run.
   */
  run(cpu: Cpu, saved?: SavedValue): Iterator<Step, void, void>
  /** What {@link Program.run} needs to go on on processor `index`: plain data. Without it, a restored processor starts its program anew. */
  save?(index: number): SavedValue
  /** Power is gone (reset, restore of another state, disposal): nothing of this program runs any more. */
  end?(): void
}

/** Makes a program, for each power-on of a partition anew. */
export type ProgramFactory = () => Program
