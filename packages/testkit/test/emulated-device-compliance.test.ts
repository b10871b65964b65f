// The suite for emulated devices: one that does everything right passes, and each check finds those that do not.

import { describe, expect, it } from 'vitest'
import { emulatedDeviceChecks } from '../src/index.ts'
import { outcome } from './compliance-outcome.ts'
import { type DeviceBug, exampleDeviceSubject } from './example-device.ts'

/** The check that is there for a bug. Others may find it too. */
const FOUND_BY: Readonly<Record<DeviceBug, string>> = {
  'is of another contract': 'is a plug-in of this contract, described in one line',
  'is not in the manifest': 'is listed in the manifest of its package as it describes itself',
  'takes any options': 'takes its options and refuses others',
  'asks for an undeclared service': 'asks only for services that it has declared, and starts with every set of options',
  'wakes up differently': 'is the same at each power-on, and asserts no interrupt line then',
  'breaks at odd accesses': 'answers accesses of every size at every alignment, also across the ends of its registers',
  'answers too wide': 'answers every access within its width, whatever a guest does, and never throws',
  'throws on a value': 'answers every access within its width, whatever a guest does, and never throws',
  'keeps a history': 'does not grow, and does not arm timers without bound',
  'saves what is no plain data': 'saves plain data, the same twice, and saving changes nothing',
  'forgets a bit': 'goes on after restore as the original does',
  'restores only when it is fresh': 'restores into a device that was used before',
  'believes any state': 'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
  'keeps its line over a reset': 'is at a reset as at power-on, and lets go of its interrupt lines',
  'keeps a register over a reset': 'is at a reset as at power-on, and lets go of its interrupt lines',
  'leaves its ports': 'gives everything back when it is disposed of, and can be started again',
  'leaves its ports when the page is taken': 'leaves nothing behind when one of its addresses is taken',
  'drops its line in a pause': 'holds its interrupt lines over pauses and saves, without an edge',
  'never interrupts': 'asserts its interrupt line when it has something to say, until a guest has dealt with it',
  'interrupts without being asked': 'asserts its interrupt line only when a guest has asked for it',
  'restores no line': 'carries an asserted interrupt line over a save, once, and drops it at a reset and with itself',
}

const names = emulatedDeviceChecks(exampleDeviceSubject()).map(({ name }) => name)

describe('the suite for emulated devices', () => {
  it.each(names)('passes one that does right: it %s', async (name) => {
    expect(await outcome(emulatedDeviceChecks(exampleDeviceSubject()), name)).toBeUndefined()
  })

  it.each(Object.entries(FOUND_BY))('finds one that %s', async (bug, name) => {
    const error = await outcome(emulatedDeviceChecks(exampleDeviceSubject(bug as DeviceBug)), name)
    expect(error).toMatchObject({ code: 'ERR_COMPLIANCE', data: { check: name } })
  })

  it('has no check that finds nobody', () => {
    expect(new Set(Object.values(FOUND_BY))).toEqual(new Set(names))
  })

  it('says how to repeat a failure, and what failed', async () => {
    const name = 'goes on after restore as the original does'
    const failed = async (): Promise<string> =>
      (await outcome(emulatedDeviceChecks(exampleDeviceSubject('forgets a bit')), name))?.message ?? ''
    expect(await failed()).toMatch(/^.+ instead of .+\n[\s\S]*PARTITA_SEED=1 repeats it\.$/)
    expect(await failed()).toBe(await failed())
  })
})
