// Plug-ins and kernels for tests of the registry and of virtual machines.

import {
  clockToken,
  definePlugin,
  type Plugin,
  type PluginInstance,
  portIoToken,
  powerControlToken,
  processorToken,
  type ServiceToken,
} from '@partita/interface'
import * as v from 'valibot'
import { FakeProcessor, type Script } from '../../hypervisor/test/fakes.ts'
import { type PackageSource, PluginRegistry } from '../src/index.ts'

/** A source without packages. */
export const emptySource: PackageSource = {
  async find() {
    return undefined
  },
  async loadFile(path) {
    throw Object.assign(new Error(`no such file ${path}`), { code: 'ERR_MODULE_ABSENT' })
  },
}

export interface FakePluginOptions {
  readonly name: string
  readonly kind?: Plugin['kind']
  readonly needs?: readonly ServiceToken<unknown>[]
  readonly uses?: readonly ServiceToken<unknown>[]
  readonly provides?: readonly ServiceToken<unknown>[]
  readonly contract?: number
  readonly options?: Plugin['options']
  readonly create?: Plugin['create']
}

/** A plug-in that notes in `log` what happens to it. */
export function fakePlugin(log: string[], options: FakePluginOptions): Plugin {
  const { name } = options
  const provides = options.provides ?? []
  return definePlugin<unknown>({
    name,
    kind: options.kind ?? 'emulated-device',
    contract: options.contract ?? 1,
    description: `The fake ${name}`,
    options: options.options ?? v.optional(v.strictObject({}), {}),
    needs: options.needs ?? [],
    ...(options.uses && { uses: options.uses }),
    provides,
    create:
      options.create ??
      ((context): PluginInstance => {
        log.push(`create ${context.id}`)
        let value = 0
        return {
          services: Object.fromEntries(provides.map((token) => [token.name, `${token.name} of ${name}`])),
          start: () => void log.push(`start ${context.id}`),
          stop: () => void log.push(`stop ${context.id}`),
          reset: () => void log.push(`reset ${context.id}`),
          save: () => ({ version: 1, data: { value: ++value } }),
          restore: (state) => void log.push(`restore ${context.id} ${JSON.stringify(state.data)}`),
          async [Symbol.asyncDispose]() {
            log.push(`dispose ${context.id}`)
          },
        }
      }),
  })
}

/** A processor plug-in whose processor runs `script`. */
export function processorPlugin(
  log: string[],
  script: Script,
  name = 'fake-processor',
): { plugin: Plugin; processor: FakeProcessor } {
  const processor = new FakeProcessor(script)
  const plugin = fakePlugin(log, {
    name,
    kind: 'processor',
    provides: [processorToken],
    create: (context) => {
      log.push(`create ${context.id}`)
      return {
        services: { [processorToken.name]: processor },
        async [Symbol.asyncDispose]() {
          log.push(`dispose ${context.id}`)
        },
      }
    },
  })
  return { plugin, processor }
}

/** A device at port 0xF4 that turns what is written into a power request. */
export const powerPlugin: Plugin = definePlugin<unknown>({
  name: 'power',
  kind: 'emulated-device',
  contract: 1,
  description: 'Port 0xF4: 0 power-off, 1 reset, else debug exit',
  options: v.optional(v.strictObject({}), {}),
  needs: [portIoToken, powerControlToken, clockToken],
  provides: [],
  create(context) {
    const power = context.get(powerControlToken)
    const claim = context.get(portIoToken).claim(0xf4, 1, {
      read: () => 0xff,
      write: (_offset, _size, value) =>
        power.request(
          value === 0 ? { type: 'power-off' } : value === 1 ? { type: 'reset' } : { type: 'debug-exit', code: value },
        ),
    })
    return {
      async [Symbol.asyncDispose]() {
        claim[Symbol.dispose]()
      },
    }
  },
})

export function registryOf(...plugins: Plugin[]): PluginRegistry {
  return new PluginRegistry({ source: emptySource, packages: [], plugins: plugins as Plugin<never>[] })
}

/** A multiboot kernel without an ELF header (Multiboot 0.6.96, "address fields"), at 1 MiB, whose code is `code`. */
export function multibootKernel(code: Uint8Array): Uint8Array {
  const LOAD = 0x100000
  const HEADER_LENGTH = 32
  const FLAGS = 0x10000
  const MAGIC = 0x1badb002
  const image = new Uint8Array(HEADER_LENGTH + code.length)
  const view = new DataView(image.buffer)
  const end = LOAD + image.length
  for (const [index, word] of [MAGIC, FLAGS, -(MAGIC + FLAGS), LOAD, LOAD, end, end, LOAD + HEADER_LENGTH].entries()) {
    view.setUint32(index * 4, word >>> 0, true)
  }
  image.set(code, HEADER_LENGTH)
  return image
}
