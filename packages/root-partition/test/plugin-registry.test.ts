import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Plugin } from '@partita/interface'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PackageSource, PluginRegistry, planPlugins } from '../src/index.ts'
import { isPath, NodePackageSource } from '../src/node.ts'
import { emptySource, fakePlugin, registryOf } from './fake-machine.ts'

const run = promisify(execFile)
const code = (expected: string, more: object = {}) => expect.objectContaining({ code: expected, ...more })

/** What is loaded says the same as `plugin`, and is made of it. */
const loadedOf = (plugin: Plugin) => ({ ...plugin, create: expect.any(Function) })

const entry = (name: string, more: object = {}) => ({
  name,
  kind: 'emulated-device',
  contract: 1,
  description: `About ${name}`,
  export: '.',
  ...more,
})

const moduleText = (name: string, more = '') => `
globalThis.partitaLoaded = (globalThis.partitaLoaded ?? []).concat('${name}')
export default {
  name: '${name}', kind: 'emulated-device', contract: 1, description: 'd', needs: [], provides: [],
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  create: () => ({ async [Symbol.asyncDispose]() {} }),
  ${more}
}`

/** Packages in memory: name → package.json and modules. */
function sourceOf(
  packages: Record<string, { json: unknown; modules?: Record<string, unknown> }>,
  loaded: string[] = [],
): PackageSource {
  return {
    async find(name) {
      const found = packages[name]
      return (
        found && {
          json: found.json,
          location: name,
          async load(exportPath) {
            loaded.push(`${name} ${exportPath}`)
            return { default: found.modules?.[exportPath] }
          },
        }
      )
    },
    loadFile: emptySource.loadFile,
  }
}

describe('PluginRegistry', () => {
  const uart = fakePlugin([], { name: '@partita/devices/uart' })
  const packages = {
    '@partita/devices': {
      json: {
        name: '@partita/devices',
        version: '1.2.3',
        partita: {
          plugins: [
            entry('@partita/devices/uart', { export: './uart' }),
            entry('@partita/devices/pit', { export: './pit' }),
          ],
        },
      },
      modules: { './uart': uart },
    },
    stranger: {
      json: { name: 'stranger', partita: { plugins: [entry('stranger')] } },
      modules: { '.': fakePlugin([], { name: 'stranger' }) },
    },
    old: { json: { name: 'old', partita: { plugins: [entry('old', { contract: 0 })] } } },
    future: { json: { name: 'future', partita: { plugins: [entry('future', { contract: 9 })] } } },
    plain: { json: { name: 'plain' } },
    broken: { json: { name: 'broken', partita: { plugins: [{ name: 'broken' }] } } },
    liar: {
      json: { name: 'liar', partita: { plugins: [entry('liar')] } },
      modules: { '.': fakePlugin([], { name: 'somebody' }) },
    },
    empty: { json: { name: 'empty', partita: { plugins: [entry('empty')] } }, modules: { '.': {} } },
    nothing: { json: { name: 'nothing', partita: { plugins: [entry('nothing')] } } },
  }
  const make = (loaded: string[] = []) =>
    new PluginRegistry({ source: sourceOf(packages, loaded), packages: ['@partita/devices', 'not-installed'] })

  it('lists plug-ins from manifests without loading any', async () => {
    const loaded: string[] = []
    const listing = await make(loaded).list(['old'])
    expect(listing).toEqual([
      {
        name: '@partita/devices/uart',
        kind: 'emulated-device',
        contract: 1,
        description: 'About @partita/devices/uart',
        package: '@partita/devices',
        version: '1.2.3',
        origin: 'built-in',
        location: '@partita/devices',
        guids: [],
        options: {},
        usable: true,
      },
      {
        name: '@partita/devices/pit',
        kind: 'emulated-device',
        contract: 1,
        description: 'About @partita/devices/pit',
        package: '@partita/devices',
        version: '1.2.3',
        origin: 'built-in',
        location: '@partita/devices',
        guids: [],
        options: {},
        usable: true,
      },
      {
        name: 'old',
        kind: 'emulated-device',
        contract: 0,
        description: 'About old',
        package: 'old',
        version: '0.0.0',
        origin: 'package',
        location: 'old',
        guids: [],
        options: {},
        usable: false,
      },
    ])
    expect(loaded).toEqual([])
  })

  it('loads by full name, by short name, and strangers by npm name', async () => {
    const loaded: string[] = []
    const registry = make(loaded)
    expect(await registry.load('@partita/devices/uart')).toEqual(loadedOf(uart))
    expect(await registry.load('devices/uart')).toEqual(loadedOf(uart))
    expect((await registry.load('stranger')).name).toBe('stranger')
    expect(loaded).toEqual(['@partita/devices ./uart', '@partita/devices ./uart', 'stranger .'])
  })

  it('reports unknown names with the nearest ones', async () => {
    const registry = make()
    await expect(registry.load('@partita/devices/uarr')).rejects.toThrow(
      code('ERR_PLUGIN_UNKNOWN', {
        message: 'There is no plug-in @partita/devices/uarr',
        hint: 'Did you mean @partita/devices/uart?',
      }),
    )
    await expect(registry.load('uart')).rejects.toThrow(
      code('ERR_PLUGIN_UNKNOWN', { hint: 'Did you mean @partita/devices/uart?' }),
    )
    await expect(registry.load('zzzzzzzzzz')).rejects.toThrow(
      code('ERR_PLUGIN_UNKNOWN', { hint: expect.stringContaining('partita plugins') }),
    )
    await expect(registry.load('@partita/devices')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
    await expect(registry.load('stranger/other-things')).rejects.toThrow(
      code('ERR_PLUGIN_UNKNOWN', { hint: expect.stringContaining('stranger') }),
    )
    await expect(registry.load('./no/such/file.ts')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
    await expect(registry.list(['no-such-package'])).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
  })

  it('reports other contract versions without loading the module', async () => {
    const loaded: string[] = []
    const registry = make(loaded)
    await expect(registry.load('old')).rejects.toThrow(
      code('ERR_PLUGIN_CONTRACT', { hint: 'Look for a newer version of the plug-in.' }),
    )
    await expect(registry.load('future')).rejects.toThrow(
      code('ERR_PLUGIN_CONTRACT', { hint: expect.stringContaining('Update Partita') }),
    )
    expect(loaded).toEqual([])
    const given = registryOf(fakePlugin([], { name: 'given', contract: 2 }))
    await expect(given.load('given')).rejects.toThrow(code('ERR_PLUGIN_CONTRACT'))
  })

  it('reports packages that are none, and plug-ins that are not what their manifest says', async () => {
    const registry = make()
    for (const name of ['plain', 'broken', 'liar', 'empty', 'nothing']) {
      await expect(registry.load(name), name).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
    }
    await expect(registry.load('liar')).rejects.toThrow('name is somebody, not liar')
    await expect(registry.load('broken')).rejects.toThrow('partita.plugins.0.kind')
    await expect(registry.list(['plain'])).rejects.toThrow('has no key "partita"')
  })
})

describe('PluginRegistry with a broken built-in package', () => {
  it('still finds the others', async () => {
    const good = fakePlugin([], { name: 'good' })
    const packages = {
      broken: { json: { name: 'broken', partita: 7 } },
      good: { json: { name: 'good', partita: { plugins: [entry('good')] } }, modules: { '.': good } },
    }
    const registry = new PluginRegistry({ source: sourceOf(packages), packages: ['broken', 'good'] })
    expect(await registry.load('good')).toEqual(loadedOf(good))
    await expect(registry.load('goof')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN', { hint: 'Did you mean good?' }))
    await expect(registry.load('broken')).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
    await expect(registry.list()).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
  })
})

describe('NodePackageSource', () => {
  let directory: string
  let registry: PluginRegistry

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'partita-plugins-'))
    const put = async (path: string, text: string) => {
      await mkdir(join(directory, path, '..'), { recursive: true })
      await writeFile(join(directory, path), text)
    }
    const manifest = (name: string, exports: unknown, plugins: object[]) =>
      JSON.stringify({ name, type: 'module', ...(exports !== undefined && { exports }), partita: { plugins } })
    await put(
      'node_modules/strange-uart/package.json',
      manifest('strange-uart', { '.': './uart.js' }, [entry('strange-uart')]),
    )
    await put('node_modules/strange-uart/uart.js', moduleText('strange-uart'))
    await put(
      'node_modules/@some/set/package.json',
      manifest('@some/set', { './one': { import: './one.js' }, './two': { node: { import: './two.js' } } }, [
        entry('@some/set/one', { export: './one' }),
        entry('@some/set/two', { export: './two' }),
        entry('@some/set/gone', { export: './gone' }),
      ]),
    )
    await put('node_modules/@some/set/one.js', moduleText('@some/set/one'))
    await put('node_modules/@some/set/two.js', moduleText('@some/set/two'))
    await put('mine/package.json', manifest('mine', undefined, [entry('mine')]))
    await put('mine/index.js', moduleText('mine'))
    await put('single.mjs', moduleText('single'))
    await put('node_modules/neighbour/package.json', '{"name":"neighbour","type":"module","exports":"./index.js"}')
    await put('node_modules/neighbour/index.js', "export const word = 'hello'")
    const documented = entry('documented', {
      kind: 'vsp',
      guids: [{ interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f', description: 'Echo' }],
      options: { speed: { type: 'number', description: 'How fast', default: 1 } },
    })
    await put(
      'documented/package.json',
      JSON.stringify({
        name: 'documented',
        version: '2.0.0',
        type: 'module',
        exports: { '.': './index.js' },
        partita: { plugins: [documented] },
      }),
    )
    await put(
      'documented/index.js',
      moduleText('documented')
        .replace("kind: 'emulated-device'", "kind: 'vsp'")
        .replace('({ value })', "({ issues: [{ message: 'no' }] })"),
    )
    await put('future/package.json', manifest('future', './index.js', [entry('future', { contract: 9 })]))
    await put('future/index.js', moduleText('future'))
    await put('throws.mjs', 'throw new Error("at home")')
    await put('contract.mjs', moduleText('contract', 'contract: 7,'))
    await put('broken/package.json', '{')
    registry = new PluginRegistry({ source: new NodePackageSource({ directory }), packages: [] })
  })
  afterAll(() => rm(directory, { recursive: true }))

  it('lists strangers without running them, then loads them by name and by path', async () => {
    const global = globalThis as { partitaLoaded?: string[] }
    expect((await registry.list(['strange-uart', '@some/set', './mine'])).map(({ name }) => name)).toEqual([
      'strange-uart',
      '@some/set/one',
      '@some/set/two',
      '@some/set/gone',
      'mine',
    ])
    expect(global.partitaLoaded).toBeUndefined()
    for (const [reference, name] of [
      ['strange-uart', 'strange-uart'],
      ['@some/set/one', '@some/set/one'],
      ['@some/set/two', '@some/set/two'],
      ['./mine', 'mine'],
      [join(directory, 'mine'), 'mine'],
      ['./single.mjs', 'single'],
    ] as const) {
      expect((await registry.load(reference)).name).toBe(name)
    }
    expect(global.partitaLoaded).toEqual(['strange-uart', '@some/set/one', '@some/set/two', 'mine', 'single'])
  })

  it('reports what cannot be loaded', async () => {
    await expect(registry.load('./throws.mjs')).rejects.toThrow(
      code('ERR_PLUGIN_LOAD', { message: expect.stringContaining('at home') }),
    )
    await expect(registry.load('./contract.mjs')).rejects.toThrow(code('ERR_PLUGIN_CONTRACT'))
    await expect(registry.load('./missing.mjs')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
    await expect(registry.load('./missing')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
    await expect(registry.load('missing-package')).rejects.toThrow(code('ERR_PLUGIN_UNKNOWN'))
    await expect(registry.load('@some/set/gone')).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
    await expect(registry.load('./broken')).rejects.toThrow(code('ERR_PLUGIN_INVALID'))
  })

  it('loads modules by URL, and lists those without a manifest for nobody', async () => {
    const script = join(import.meta.dirname, 'remote-plugins.ts')
    const { stdout } = await run(process.execPath, ['--conditions=@partita/source', script, directory])
    expect(JSON.parse(stdout)).toEqual({
      plain: 'plain',
      pinned: 'plain',
      changed: expect.stringMatching(/^ERR_PLUGIN_LOAD .* its content has the SHA-256 [0-9a-f]{64}, and not 0{64}$/),
      odd: expect.stringContaining("'#md5=1' is not #sha256= and 64 digits"),
      friendly: 'friendly',
      relative: expect.stringContaining('one module: it cannot import ./plain.js'),
      throws: 'ERR_PLUGIN_LOAD The plug-in ORIGIN/throws.js cannot be loaded: far away',
      contract: expect.stringMatching(/^ERR_PLUGIN_CONTRACT /),
      absent: expect.stringMatching(/^ERR_PLUGIN_UNKNOWN .*404/),
      data: 'data',
      file: 'single',
      directory: 'mine',
      listed: 'ERR_PLUGIN_INVALID',
    })
  })

  it('looks at a module’s manifest before it runs it, and lists it by that', async () => {
    const global = globalThis as { partitaLoaded?: string[] }
    const before = global.partitaLoaded?.length
    expect(await registry.list(['./documented/index.js'])).toEqual([
      {
        name: 'documented',
        kind: 'vsp',
        contract: 1,
        description: 'About documented',
        package: 'documented',
        version: '2.0.0',
        origin: 'path',
        location: join(directory, 'documented'),
        guids: [{ interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f', description: 'Echo' }],
        options: { speed: { type: 'number', description: 'How fast', default: 1 } },
        usable: true,
      },
    ])
    await expect(registry.load('./future/index.js')).rejects.toThrow(code('ERR_PLUGIN_CONTRACT'))
    expect(global.partitaLoaded?.length).toBe(before)
    await expect(planPlugins(registry, [{ plugin: './documented' }], [])).rejects.toThrow(
      code('ERR_PLUGIN_OPTIONS', { hint: 'Its options are speed.' }),
    )
    await expect(registry.list(['./single.mjs'])).rejects.toThrow(
      code('ERR_PLUGIN_INVALID', { hint: expect.stringContaining('package.json') }),
    )
  })

  it('tells paths from npm names', () => {
    expect(['./a', '../a', '.', '/a/b'].map(isPath)).toEqual([true, true, true, true])
    expect(['a', '@a/b', '.a', 'a/b'].map(isPath)).toEqual([false, false, false, false])
  })
})
