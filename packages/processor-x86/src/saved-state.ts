// What of a virtual processor is saved: the state area, the local APIC, MSRs, and what lies between two instructions.

import { PartitaError, type SavedState } from '@partita/interface'
import type { Cpu } from './cpu.ts'
import { STATE } from './state-layout.ts'

/** What the loop that runs the processor keeps. */
export interface RunningState {
  readonly idle: boolean
  readonly externalInterrupt: boolean
  readonly instructions: number
}

export function saveProcessor(cpu: Cpu, running: RunningState): SavedState {
  const { msrs } = cpu
  return {
    version: 1,
    data: {
      registers: cpu.u8.slice(cpu.base, cpu.base + STATE.END),
      apic: { ...cpu.apic.save() },
      activity: cpu.activity,
      interruptShadow: cpu.interruptShadow,
      nmiBlocked: cpu.nmiBlocked,
      idle: running.idle,
      externalInterrupt: running.externalInterrupt,
      instructions: running.instructions,
      tsc: msrs.readTsc(),
      tscAdjust: msrs.tscAdjust,
      msrs: [
        msrs.star,
        msrs.lstar,
        msrs.cstar,
        msrs.fmask,
        msrs.kernelGsBase,
        msrs.tscAux,
        msrs.sysenterCs,
        msrs.sysenterEsp,
        msrs.sysenterEip,
        msrs.pat,
        msrs.miscEnable,
        msrs.specCtrl,
        msrs.mtrrDefType,
        ...msrs.mtrr,
      ],
    },
  }
}

/**
 * Put a saved state into a processor, whose decoded code, caches and mode are to be renewed after it.
 * @throws PartitaError `ERR_STATE_INVALID`
 */
export function restoreProcessor(cpu: Cpu, state: SavedState): RunningState {
  const { msrs } = cpu
  const {
    registers,
    apic,
    activity,
    interruptShadow,
    nmiBlocked,
    externalInterrupt,
    instructions,
    tsc,
    tscAdjust,
    msrs: values,
  } = state.data
  if (
    state.version !== 1 ||
    !(registers instanceof Uint8Array) ||
    registers.length !== STATE.END ||
    typeof activity !== 'number' ||
    !(activity in [0, 1, 2, 3]) ||
    typeof interruptShadow !== 'boolean' ||
    typeof nmiBlocked !== 'boolean' ||
    typeof externalInterrupt !== 'boolean' ||
    typeof instructions !== 'number' ||
    typeof tsc !== 'bigint' ||
    typeof tscAdjust !== 'bigint' ||
    !Array.isArray(values) ||
    values.length !== 13 + msrs.mtrr.length ||
    !values.every((v) => typeof v === 'bigint')
  ) {
    throw new PartitaError('ERR_STATE_INVALID', 'The saved state is not one of this processor')
  }
  cpu.apic.restore(apic as unknown as SavedState)
  cpu.u8.set(registers, cpu.base)
  cpu.activity = activity as typeof cpu.activity
  cpu.interruptShadow = interruptShadow
  cpu.nmiBlocked = nmiBlocked
  const [
    star,
    lstar,
    cstar,
    fmask,
    kernelGsBase,
    tscAux,
    sysenterCs,
    sysenterEsp,
    sysenterEip,
    pat,
    miscEnable,
    specCtrl,
    mtrrDefType,
    ...mtrr
  ] = values as bigint[]
  Object.assign(msrs, {
    star,
    lstar,
    cstar,
    fmask,
    kernelGsBase,
    tscAux,
    sysenterCs,
    sysenterEsp,
    sysenterEip,
    pat,
    miscEnable,
    specCtrl,
    mtrrDefType,
  })
  msrs.mtrr.set(mtrr)
  msrs.tscOffset = BigInt.asUintN(64, msrs.tscOffset + tsc - msrs.readTsc())
  msrs.tscAdjust = tscAdjust
  return { idle: state.data['idle'] === true, externalInterrupt, instructions }
}
