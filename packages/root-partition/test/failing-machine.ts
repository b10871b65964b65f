// A machine for plug-ins that fail: a processor that runs a script, a way to power off, and what was said of failures.

import {
  type CharacterBackend,
  definePlugin,
  type Logger,
  type Plugin,
  type PluginContext,
  type PluginInstance,
  type ServiceToken,
} from '@partita/interface'
import * as v from 'valibot'
import { FakeHost, type FakeProcessorVp, type Script } from '../../hypervisor/test/fakes.ts'
import {
  type HostTimer,
  type PackageSource,
  type PluginFailure,
  PluginRegistry,
  type PluginTracker,
  VirtualMachine,
} from '../src/index.ts'
import { emptySource, multibootKernel, powerPlugin, processorPlugin } from './fake-machine.ts'

const MIB = 2 ** 20
const disposable = { async [Symbol.asyncDispose]() {} }

/** A plug-in named `name` that needs `needs`, and does `create`. */
export function device(
  name: string,
  needs: readonly ServiceToken<unknown>[],
  create: (context: PluginContext) => unknown,
  more: Partial<Plugin> = {},
): Plugin {
  return definePlugin<unknown>({
    name,
    kind: 'emulated-device',
    contract: 1,
    description: name,
    options: v.unknown(),
    needs,
    provides: [],
    create: (context) => ({ ...disposable, ...(create(context) as Partial<PluginInstance> | undefined) }),
    ...more,
  })
}

/** Of a machine. */
interface Setup {
  readonly devices: readonly Plugin[]
  /** Further plug-ins of the registry. */
  readonly plugins?: readonly Plugin[]
  readonly script?: Script
  readonly configuration?: object
  readonly services?: ReadonlyMap<string, unknown>
  readonly characterBackends?: ReadonlyMap<string, CharacterBackend>
  readonly source?: PackageSource
  readonly tracker?: PluginTracker
  readonly hostTimer?: HostTimer
}

/** A machine and what was said of it. */
export interface FailingMachine {
  readonly vm: VirtualMachine
  readonly host: FakeHost
  readonly failures: readonly PluginFailure[]
  /** What was logged as an error. */
  readonly errors: readonly string[]
  /** What was logged as a warning. */
  readonly warnings: readonly string[]
  /** Messages of the failures. */
  messages(): string[]
}

/** A machine that runs `script` and then switches itself off. */
export async function machine({
  devices,
  plugins = [],
  script = () => 'halt',
  configuration = {},
  services,
  characterBackends,
  source = emptySource,
  tracker,
  hostTimer,
}: Setup): Promise<FailingMachine> {
  const log: string[] = []
  const failures: PluginFailure[] = []
  const { plugin } = processorPlugin(log, script)
  const host = new FakeHost()
  const errors: string[] = []
  const warnings: string[] = []
  const logger: Logger = {
    log: (level, message) => {
      if (level === 'error') errors.push(message)
      if (level === 'warn') warnings.push(message)
    },
    child: () => logger,
  }
  const registry = new PluginRegistry({
    source,
    packages: [],
    plugins: [plugin, powerPlugin, ...plugins, ...devices] as Plugin<never>[],
  })
  const vm = await VirtualMachine.create(
    {
      processor: 'fake-processor',
      memory: 4 * MIB,
      devices: ['power', ...devices.map(({ name }) => name)],
      boot: { kernel: 'kernel' },
      ...configuration,
    },
    {
      registry,
      hostTime: host,
      eventLoop: host,
      logger,
      readFile: async () => multibootKernel(Uint8Array.of(0xf4)),
      onPluginFailure: (failure) => failures.push(failure),
      ...(services && { services }),
      ...(characterBackends && { characterBackends }),
      ...(tracker && { tracker }),
      ...(hostTimer && { hostTimer }),
    },
  )
  return { vm, host, failures, errors, warnings, messages: () => failures.map(({ message }) => message) }
}

/** A script's last step. */
export const off = (vp: FakeProcessorVp): 'budget' => {
  vp.intercepts.portWrite(0, 0xf4, 1, 0)
  return 'budget'
}
