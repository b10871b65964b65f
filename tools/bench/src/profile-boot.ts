// `profile-boot`: what a boot of the default guest to its prompt consists of. Once with a processor that counts instruction forms and calls out of
// generated code, once with an ordinary one under the engine's sampling profiler.

import { readFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import {
  definePlugin,
  type PartitionMemory,
  PLUGIN_CONTRACT,
  type Plugin,
  type Processor,
  processorToken,
  type VirtualProcessorOptions,
} from '@partita/interface'
import { createProcessor } from '@partita/processor-x86'
import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import type { SoftwareMemory } from '../../../packages/processor-x86/src/memory.ts'
import { SoftwareVirtualProcessor } from '../../../packages/processor-x86/src/virtual-processor.ts'
import { type BenchGuest, benchGuest } from './bench-guest.ts'
import { GuestConsole, PROMPT } from './guest-console.ts'
import { table } from './table.ts'

const PROCESSOR = 'bench-processor'
/** Lines of each table. */
const SHOWN = 60
const SAMPLE_MICROSECONDS = 500

/** The software processor, with profiles where asked for, and its virtual processors at hand. */
class ProfiledProcessor {
  readonly virtualProcessors: SoftwareVirtualProcessor[] = []
  readonly plugin: Plugin<never>

  constructor(profile: boolean) {
    const processor: Processor = {
      ...createProcessor(),
      createVirtualProcessor: (options: VirtualProcessorOptions) => {
        const memory = options.memory as PartitionMemory as SoftwareMemory
        const vp = new SoftwareVirtualProcessor({ ...options, memory, profile })
        this.virtualProcessors.push(vp)
        return vp
      },
    }
    this.plugin = definePlugin<never>({
      name: PROCESSOR,
      kind: 'processor',
      contract: PLUGIN_CONTRACT,
      description: 'The software processor for profiles',
      options: { '~standard': { version: 1, vendor: 'partita', validate: (value) => ({ value: value as never }) } },
      needs: [],
      provides: [processorToken],
      create: () => ({ services: { [processorToken.name]: processor }, async [Symbol.asyncDispose]() {} }),
    })
  }
}

/** Boot to the prompt; returns seconds. */
async function boot(guest: BenchGuest, processor: ProfiledProcessor): Promise<number> {
  const console = new GuestConsole()
  const registry = new PluginRegistry({
    source: new NodePackageSource({ directory: import.meta.dirname }),
    plugins: [processor.plugin],
  })
  const start = performance.now()
  await using vm = await VirtualMachine.create(
    {
      processor: PROCESSOR,
      memory: guest.memory,
      boot: { kernel: guest.kernel, initrd: guest.initrd, commandLine: guest.commandLine },
      onReset: 'end',
    },
    { registry, readFile, characterBackends: new Map([['console', console]]) },
  )
  const outcome = vm.run()
  const ended = outcome.then(({ type }) => {
    throw new Error(`The guest ended (${type}) before its prompt:\n${console.text}`)
  })
  await Promise.race([console.waitFor(PROMPT), ended])
  const seconds = (performance.now() - start) / 1000
  ended.catch(() => {})
  await vm.stop()
  return seconds
}

export async function profileBoot(runs: number): Promise<void> {
  const guest = await benchGuest()
  for (let run = 0; run < runs; run++) {
    await countForms(guest)
    await sampleHost(guest)
  }
}

async function countForms(guest: BenchGuest): Promise<void> {
  const processor = new ProfiledProcessor(true)
  const seconds = await boot(guest, processor)
  const [vp] = processor.virtualProcessors as [SoftwareVirtualProcessor]
  const profile = vp.executionProfile()
  if (profile === undefined) throw new Error('The processor has no profile')
  const { forms, calls, blocksDecoded } = profile
  const inline = forms.reduce((sum, form) => sum + form.inline, 0)
  const outOfLine = forms.reduce((sum, form) => sum + form.outOfLine, 0)
  const total = inline + outOfLine
  const percent = (count: number): string => ((100 * count) / total).toFixed(3)
  console.log(
    `${(total / 1e6).toFixed(1)} million instructions to the prompt, of ${forms.length} forms; ` +
      `${percent(outOfLine)} % out of line (${seconds.toFixed(1)} s while counting)`,
  )
  console.log(`${blocksDecoded} blocks decoded; instructions between two calls out of generated code:`)
  console.log(
    table([
      ['import', 'calls', 'instructions a call'],
      ...Object.entries(calls)
        .sort(([, a], [, b]) => b - a)
        .map(([name, count]) => [name, `${count}`, count === 0 ? '-' : (total / count).toFixed(0)]),
    ]),
  )
  const list = (title: string, count: (form: (typeof forms)[number]) => number): void => {
    const shown = forms.toSorted((a, b) => count(b) - count(a)).slice(0, SHOWN)
    console.log(`\n${title}`)
    console.log(
      table([['form', 'executed', '%'], ...shown.map((form) => [form.key, `${count(form)}`, percent(count(form))])]),
    )
  }
  list('Most executed out of line', (form) => form.outOfLine)
  list('Most executed inline', (form) => form.inline)
}

async function sampleHost(guest: BenchGuest): Promise<void> {
  using session = new ProfilerSession()
  await session.start()
  const seconds = await boot(guest, new ProfiledProcessor(false))
  const { nodes, samples = [], timeDeltas = [] } = await session.stop()
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.slice(url.lastIndexOf('/') + 1)
      return [
        id,
        `${functionName || '(anonymous)'}${file && !url.startsWith('wasm') ? ` ${file}:${lineNumber + 1}` : ''}`,
      ]
    }),
  )
  const self = new Map<string, number>()
  samples.forEach((id, i) => {
    const name = names.get(id) ?? '?'
    self.set(name, (self.get(name) ?? 0) + (timeDeltas[i] ?? 0) / 1000)
  })
  const total = [...self.values()].reduce((sum, value) => sum + value, 0)
  const shown = [...self].sort(([, a], [, b]) => b - a).slice(0, SHOWN)
  console.log(
    `\nWhere the host's time goes: ${seconds.toFixed(2)} s to the prompt under the sampling profiler, self times`,
  )
  console.log(
    table([
      ['function', 'ms', '%'],
      ...shown.map(([name, value]) => [name, value.toFixed(0), ((100 * value) / total).toFixed(1)]),
    ]),
  )
}

/** The engine's profiler. */
class ProfilerSession implements Disposable {
  readonly #session = new Session()

  async start(): Promise<void> {
    this.#session.connect()
    await this.#session.post('Profiler.enable')
    await this.#session.post('Profiler.setSamplingInterval', { interval: SAMPLE_MICROSECONDS })
    await this.#session.post('Profiler.start')
  }
  async stop(): Promise<import('node:inspector').Profiler.Profile> {
    return (await this.#session.post('Profiler.stop')).profile
  }
  [Symbol.dispose](): void {
    this.#session.disconnect()
  }
}
