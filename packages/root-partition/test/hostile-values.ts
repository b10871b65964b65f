// Values that throw when somebody looks at them, and what became of machines that met them.

import { expect } from 'vitest'
import { machine, off } from './failing-machine.ts'

// biome-ignore lint/suspicious/noExplicitAny: what is given is wrong on purpose.
export type Any = any
export const fail = (): never => {
  throw new TypeError('no')
}
export const reject = async (): Promise<never> => fail()
export const turn = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))
export const disposable: AsyncDisposable = { async [Symbol.asyncDispose]() {} }

/** Something of which every look throws. */
export const thorny = (target: object = class {}): object =>
  new Proxy(
    target,
    Object.fromEntries(
      Object.getOwnPropertyNames(Reflect).map((trap) => [
        trap,
        () => {
          throw new Error('a trap')
        },
      ]),
    ),
  )

/** The failures of a machine with `devices` after its end. */
export async function failures(setup: Parameters<typeof machine>[0]): Promise<string[]> {
  const { vm, messages } = await machine({ script: off, ...setup })
  expect(await vm.run()).toEqual({ type: 'power-off' })
  await turn()
  return messages()
}
