// Events and what their delivery meets: second exceptions become double faults, third ones shutdown (SDM vol. 3, 6.15, #DF).

import { ACTIVITY, type Cpu, FLAG } from './cpu.ts'
import { deliverFast } from './fast-events.ts'
import { VECTOR } from './instruction/emitter.ts'
import { deliver, type EventKind } from './interrupt-delivery.ts'
import { STATE } from './state-layout.ts'

/** Exceptions that make a second one of theirs a double fault (SDM vol. 3, table 6-5). */
const CONTRIBUTORY = new Set<number>([VECTOR.DE, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP])

/** Deliver the exception that STATE.FAULT_… tells of, or `vector` in its place. */
export function deliverPendingFault(cpu: Cpu, vector: number): void {
  if (vector !== VECTOR.PF) {
    deliverEvent(cpu, vector, 'exception', cpu.get32(STATE.FAULT_ERROR), cpu.get64(STATE.FAULT_ADDRESS))
    return
  }
  // the most frequent one, without anything that has to be allocated
  cpu.set32(STATE.CR2, cpu.get32(STATE.FAULT_ADDRESS))
  cpu.set32(STATE.CR2 + 4, cpu.get32(STATE.FAULT_ADDRESS + 4))
  const error = cpu.get32(STATE.FAULT_ERROR)
  if (cpu.protectedMode && cpu.longMode && deliverFast(cpu, vector, false, error, cpu.flags | FLAG.RF)) return
  deliverEvent(cpu, vector, 'exception', error, cpu.get64(STATE.CR2))
}

/** Deliver an event; what its delivery meets becomes a double fault, or shutdown. */
export function deliverEvent(cpu: Cpu, vector: number, kind: EventKind, errorCode: number, address: bigint): void {
  let current = vector
  let currentKind = kind
  let error = errorCode
  let faultAddress = address
  for (;;) {
    try {
      if (currentKind === 'exception') {
        if (current === VECTOR.PF) cpu.set64(STATE.CR2, faultAddress)
        if (current === VECTOR.DB) {
          cpu.set64(STATE.DR6, (cpu.get64(STATE.DR6) & ~0xfn) | 0xffff0ff0n | faultAddress)
          cpu.set64(STATE.DR7, cpu.get64(STATE.DR7) & ~0x2000n)
        }
      }
      deliver(cpu, current, currentKind, error)
      return
    } catch (thrown) {
      cpu.catchFault(thrown)
      const next = cpu.get32(STATE.FAULT_VECTOR)
      if (currentKind === 'exception' && current === VECTOR.DF) {
        cpu.activity = ACTIVITY.SHUTDOWN
        return
      }
      const double =
        currentKind === 'exception' &&
        ((CONTRIBUTORY.has(current) && CONTRIBUTORY.has(next)) ||
          (current === VECTOR.PF && (CONTRIBUTORY.has(next) || next === VECTOR.PF)))
      current = double ? VECTOR.DF : next
      error = double ? 0 : cpu.get32(STATE.FAULT_ERROR)
      faultAddress = cpu.get64(STATE.FAULT_ADDRESS)
      currentKind = 'exception'
    }
  }
}
