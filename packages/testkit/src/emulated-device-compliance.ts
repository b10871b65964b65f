// The compliance suite that every emulated device runs, built in or a stranger's: what the root partition, a guest and a saved state may expect of a plug-in of
// kind `emulated-device`.

import {
  PartitaError,
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginInstance,
  type PluginManifest,
  type SavedState,
  type SavedValue,
} from '@partita/interface'
import fc from 'fast-check'
import type { ComplianceCheck } from './compliance/check.ts'
import { type DeviceAccess, deviceAccesses, performAccess } from './device-access.ts'
import { FakeMachine } from './fake-machine.ts'

/** A device under test. */
export interface EmulatedDeviceSubject {
  // biome-ignore lint/suspicious/noExplicitAny: a suite for plug-ins with any options
  readonly plugin: Plugin<any>
  /** The key `partita` of its `package.json`. */
  readonly manifest: PluginManifest
  /** Options that the schema takes; the first ones are what the suite starts the device with. Default: `{}`. */
  readonly options?: readonly unknown[]
  /** Options that the schema refuses, in addition to unknown keys and what is no object. */
  readonly invalidOptions?: readonly unknown[]
  /** Provide services that the device needs beyond those of {@link FakeMachine}. `twin` is a machine whose saved state this one will be given. */
  readonly prepare?: (machine: FakeMachine, twin?: FakeMachine) => void | Promise<void>
  /** Largest saved state in bytes, about. Default: 4096. */
  readonly maximumState?: number
  /** Runs of each property. Default: 100. */
  readonly runs?: number
}

function fail(message: string): never {
  throw new Error(message)
}

/** Whether two pieces of plain data are the same. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))]
  return left.length === right.size && left.every(([key, value]) => right.has(key) && same(value, right.get(key)))
}

function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (!same(actual, expected)) fail(`${what}: ${inspect(actual)} instead of ${inspect(expected)}`)
}

function inspect(value: unknown): string {
  return (
    JSON.stringify(value, (_key, item) =>
      typeof item === 'bigint' ? `${item}n` : item instanceof Uint8Array ? [...item] : item,
    ) ?? 'undefined'
  )
}

/** Bytes that a saved value takes, about. @throws Error when it is not plain data */
function measure(value: SavedValue, path: string): number {
  switch (typeof value) {
    case 'boolean':
      return 1
    case 'bigint':
      return 8
    case 'string':
      return value.length
    case 'number':
      return Number.isFinite(value) ? 8 : fail(`${path} is ${value}`)
    case 'object': {
      if (value === null) return 1
      if (value instanceof Uint8Array) return value.length
      if (Array.isArray(value))
        return value.reduce((sum: number, item: SavedValue, i) => sum + measure(item, `${path}[${i}]`), 0)
      if (Object.getPrototypeOf(value) !== Object.prototype) fail(`${path} is no plain object`)
      return Object.entries(value).reduce((sum, [key, item]) => sum + measure(item, `${path}.${key}`), 0)
    }
    default:
      return fail(`${path} is a ${typeof value}`)
  }
}

/** Copies of `value` with one leaf or key changed each. */
function* mutations(value: SavedValue): Generator<SavedValue> {
  if (typeof value === 'number')
    yield* [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 52, value + 1, 'x', null]
  else if (typeof value === 'boolean') yield* [!value, 2]
  else if (value === null) yield* [0, {}]
  else if (value instanceof Uint8Array) yield* [value.map((byte) => ~byte), new Uint8Array(value.length + 1), 'x']
  else if (Array.isArray(value)) {
    yield value.slice(1)
    yield [...value, 0]
    for (let i = 0; i < Math.min(value.length, 4); i++)
      for (const item of mutations(value[i])) yield value.with(i, item)
  } else if (typeof value === 'object') {
    yield { ...value, surprise: 1 }
    for (const [key, item] of Object.entries(value)) {
      const { [key]: _gone, ...rest } = value as Record<string, SavedValue>
      yield rest
      for (const changed of mutations(item)) yield { ...rest, [key]: changed }
    }
  }
}

interface Started extends AsyncDisposable {
  readonly machine: FakeMachine
  readonly instance: PluginInstance
}

/**
 * The checks of the suite, for any test runner.
 *
 * @example
 * ```ts
 * for (const check of emulatedDeviceChecks({ plugin: serial, manifest: packageJson.partita })) test(check.name, check.run)
 * ```
 */
export function emulatedDeviceChecks(subject: EmulatedDeviceSubject): readonly ComplianceCheck[] {
  const { plugin, manifest } = subject
  const validOptions = subject.options ?? [{}]
  const runs = { numRuns: subject.runs ?? 100 }

  const start = async (twin?: FakeMachine): Promise<Started> => {
    const machine = new FakeMachine()
    await subject.prepare?.(machine, twin)
    const instance = await machine.start(plugin, validOptions[0])
    return { machine, instance, [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose]() }
  }
  const perform = async (to: Started, accesses: readonly DeviceAccess[]): Promise<void> => {
    for (const access of accesses) await performAccess(to.machine, to.instance, access)
    await performAccess(to.machine, to.instance, { type: 'pause' })
  }
  const save = (instance: PluginInstance): SavedState => {
    const state = instance.save?.() ?? fail('the device has no save()')
    return structuredClone(state)
  }
  const restore = (instance: PluginInstance, state: SavedState): void =>
    (instance.restore ?? fail('the device has no restore()')).call(instance, state)

  const checks: [string, () => Promise<void>][] = [
    [
      'is a plug-in of this contract, described in one line',
      async () => {
        expectEqual(plugin.contract, PLUGIN_CONTRACT, 'contract')
        expectEqual(plugin.kind, 'emulated-device', 'kind')
        if (!/^\S.{5,98}\S$/.test(plugin.description)) fail(`description: ${plugin.description}`)
      },
    ],
    [
      'is listed in the manifest of its package as it describes itself',
      async () => {
        const entry =
          manifest.plugins.find(({ name }) => name === plugin.name) ?? fail(`${plugin.name} is not in the manifest`)
        const { name, kind, contract, description } = plugin
        expectEqual({ ...entry, export: '' }, { name, kind, contract, description, export: '' }, 'manifest')
      },
    ],
    [
      'takes its options and refuses others',
      async () => {
        for (const options of validOptions) {
          const { issues } = await plugin.options['~standard'].validate(options)
          if (issues !== undefined) fail(`${inspect(options)} is refused: ${issues[0]?.message}`)
        }
        for (const options of [{ noSuchOption: 1 }, 'text', 5, null, ...(subject.invalidOptions ?? [])]) {
          const { issues } = await plugin.options['~standard'].validate(options)
          if (issues === undefined) fail(`${inspect(options)} is taken`)
        }
      },
    ],
    [
      'asks only for services that it has declared, and starts with every set of options',
      async () => {
        for (const options of validOptions) {
          await using machine = new FakeMachine()
          await subject.prepare?.(machine)
          await machine.start(plugin, options)
        }
      },
    ],
    [
      'answers every access within its width, whatever a guest does, and never throws',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), async (accesses) => {
            await using device = await start()
            await perform(device, accesses)
          }),
          runs,
        ),
    ],
    [
      'does not grow, and does not arm timers without bound',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(200), async (accesses) => {
            await using device = await start()
            await perform(device, accesses)
            const size = measure(save(device.instance).data, 'data')
            if (size > (subject.maximumState ?? 4096)) fail(`its state has ${size} bytes`)
            if (device.machine.clock.armedTimers > 16) fail(`${device.machine.clock.armedTimers} timers are armed`)
          }),
          { numRuns: Math.ceil(runs.numRuns / 4) },
        ),
    ],
    [
      'saves plain data, the same twice, and saving changes nothing',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), async (accesses) => {
            await using device = await start()
            await perform(device, accesses)
            const first = save(device.instance)
            if (!Number.isInteger(first.version)) fail(`version ${first.version}`)
            measure(first.data, 'data')
            expectEqual(save(device.instance), first, 'second state')
          }),
          runs,
        ),
    ],
    [
      'goes on after restore as the original does',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), deviceAccesses(30), async (before, after) => {
            await using original = await start()
            await perform(original, before)
            const state = save(original.instance)
            await using copy = await start(original.machine)
            copy.machine.clock.skip(original.machine.clock.now())
            copy.machine.memory.bytes.set(original.machine.memory.bytes)
            copy.machine.console.adopt(original.machine.console)
            restore(copy.instance, state)
            expectEqual(save(copy.instance), state, 'state after restore')
            expectEqual(
              copy.machine.lines.asserted.toSorted(),
              original.machine.lines.asserted.toSorted(),
              'interrupt lines after restore',
            )
            for (const access of after) {
              const expected = await performAccess(original.machine, original.instance, access)
              const actual = await performAccess(copy.machine, copy.instance, access)
              expectEqual(actual, expected, inspect(access))
              expectEqual(
                copy.machine.lines.asserted.toSorted(),
                original.machine.lines.asserted.toSorted(),
                `interrupt lines after ${inspect(access)}`,
              )
            }
          }),
          runs,
        ),
    ],
    [
      'restores into a device that was used before',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), async (accesses) => {
            await using device = await start()
            const state = save(device.instance)
            await perform(device, accesses)
            restore(device.instance, state)
            expectEqual(save(device.instance), state, 'state after restore')
          }),
          runs,
        ),
    ],
    [
      'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
      async () => {
        await using used = await start()
        await perform(used, fc.sample(deviceAccesses(100), { numRuns: 1, seed: 1 })[0] ?? [])
        const good = save(used.instance)
        const wrong: SavedState[] = [
          { version: good.version + 1, data: good.data },
          { version: -1, data: {} },
        ]
        for (const data of mutations(good.data)) wrong.push({ version: good.version, data: data as SavedState['data'] })
        for (const [index, state] of wrong.entries()) {
          await using device = await start(used.machine)
          const before = save(device.instance)
          try {
            restore(device.instance, state)
          } catch (error) {
            if (!(error instanceof PartitaError && error.code === 'ERR_STATE_INVALID')) throw error
            expectEqual(save(device.instance), before, 'state after a refused restore')
            continue
          }
          if (index < 2) fail(`version ${state.version} is taken`)
          await perform(device, fc.sample(deviceAccesses(40), { numRuns: 1, seed: index })[0] ?? [])
        }
      },
    ],
    [
      'lets go of its interrupt lines at a reset, which leads to one state',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), async (accesses) => {
            await using device = await start()
            await perform(device, accesses)
            device.instance.reset?.()
            expectEqual(device.machine.lines.asserted, [], 'interrupt lines after reset')
            const state = save(device.instance)
            device.instance.reset?.()
            expectEqual(save(device.instance), state, 'state after a second reset')
          }),
          runs,
        ),
    ],
    [
      'gives everything back when it is disposed of, and can be started again',
      () =>
        fc.assert(
          fc.asyncProperty(deviceAccesses(), async (accesses) => {
            const { machine, instance } = await start()
            const claims = machine.ports.claims
            for (const access of accesses) await performAccess(machine, instance, access)
            await instance[Symbol.asyncDispose]()
            await instance[Symbol.asyncDispose]()
            expectNothingLeft(machine)
            await machine.start(plugin, validOptions[0])
            expectEqual(machine.ports.claims, claims, 'ports of the second start')
            await machine[Symbol.asyncDispose]()
          }),
          { numRuns: Math.ceil(runs.numRuns / 4) },
        ),
    ],
    [
      'leaves nothing behind when one of its addresses is taken',
      async () => {
        await using normal = await start()
        const nothing = { read: () => 0, write: () => {} }
        const attempts = [
          ...normal.machine.ports.claims.map(
            ({ base, length }) =>
              (machine: FakeMachine) =>
                machine.ports.claim(base, length, nothing),
          ),
          ...normal.machine.mmio.claims.map(
            ({ base, length }) =>
              (machine: FakeMachine) =>
                machine.mmio.claim(base, length, nothing),
          ),
        ]
        for (const occupy of attempts) {
          const machine = new FakeMachine()
          await subject.prepare?.(machine)
          const occupied = occupy(machine)
          const error = await machine.start(plugin, validOptions[0]).then(
            () => fail('it started all the same'),
            (reason: unknown) => reason,
          )
          if (!(error instanceof PartitaError && /^ERR_(PORT|MMIO)_CONFLICT$/.test(error.code))) throw error
          occupied[Symbol.dispose]()
          expectNothingLeft(machine)
        }
      },
    ],
  ]
  return checks.map(([name, run]) => ({ name, run }))
}

function expectNothingLeft(machine: FakeMachine): void {
  expectEqual(machine.ports.claims, [], 'ports')
  expectEqual(machine.mmio.claims, [], 'MMIO')
  expectEqual(machine.lines.asserted, [], 'interrupt lines')
  expectEqual(machine.messages.listeners, 0, 'listeners to EOIs')
  expectEqual(machine.pci.slots, [], 'PCI functions')
  expectEqual(machine.clock.armedTimers, 0, 'armed timers')
  expectEqual(machine.console.onReady, undefined, "the back end's callback")
}

/**
 * Register the suite with a test runner's `it`.
 *
 * @example
 * ```ts
 * import { describe, it } from 'vitest'
 *
 * describe('compliance', () => emulatedDeviceCompliance({ plugin: serial, manifest: packageJson.partita }, it))
 * ```
 */
export function emulatedDeviceCompliance(
  subject: EmulatedDeviceSubject,
  it: (name: string, run: () => Promise<void>) => unknown,
): void {
  for (const { name, run } of emulatedDeviceChecks(subject)) it(name, run)
}
