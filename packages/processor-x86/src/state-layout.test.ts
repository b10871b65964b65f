// The fields of a virtual processor's state area: where they lie, checked against the sizes that their users give them.

import { expect, test } from 'vitest'
import { STATE } from './state-layout.ts'
import { DATA, X87Machine } from './testing/x87-machine.ts'

test('no two fields begin at the same place', () => {
  const places = new Map<number, string>()
  for (const [name, offset] of Object.entries(STATE)) {
    expect(places.get(offset), `${name} and another field are at ${offset}`).toBeUndefined()
    places.set(offset, name)
  }
})

test.each([
  ['FLD1, FISTP m32', 'D9E8', 'DB1F'],
  ['FLDPI, FISTP m64', 'D9EB', 'DF3F'],
  ['FLDPI, FSTP m32', 'D9EB', 'D91F'],
  ['FLDPI, FBSTP', 'D9EB', 'DF37'],
  ['FLD1, FSTP m80', 'D9E8', 'DB3F'],
])('%s leaves IA32_KERNEL_GS_BASE as it is', (_, ...code) => {
  const machine = new X87Machine()
  machine.write(0, new Uint8Array(64))
  machine.cpu.set64(STATE.KERNEL_GS_BASE, 0xffff_8880_1234_5678n)
  expect(machine.run(...code).exception).toBeNull()
  expect(machine.read(0, 16).getBigUint64(0, true), `nothing stored at ${DATA}`).not.toBe(0n)
  expect(machine.cpu.get64(STATE.KERNEL_GS_BASE)).toBe(0xffff_8880_1234_5678n)
})
