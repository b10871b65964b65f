// The manifests of the built-in plug-ins tell of the options that their schemas have, with the defaults that they give.

import { describe, expect, it } from 'vitest'
import { BUILT_IN_PACKAGES, PluginRegistry, parsePackageManifest } from '../src/index.ts'
import { NodePackageSource } from '../src/node.ts'

const registry = new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) })
const listings = await registry.list()

it('there is one for each built-in package', () => {
  expect([...new Set(listings.map((listing) => listing.package))]).toEqual(BUILT_IN_PACKAGES)
  expect(listings.every(({ usable, origin }) => usable && origin === 'built-in')).toBe(true)
})

describe.each(listings)('$name', ({ name, options, kind, guids }) => {
  it('tells of all its options', async () => {
    const { options: schema } = await registry.load(name)
    const entries = (schema as { entries?: Readonly<Record<string, unknown>> }).entries ?? {}
    expect(Object.keys(options)).toEqual(Object.keys(entries))
    for (const { description, type } of Object.values(options))
      expect(description.length * type.length).toBeGreaterThan(0)
  })

  it('tells of their defaults', async () => {
    const { options: schema } = await registry.load(name)
    const result = await schema['~standard'].validate({})
    const required = Object.values(options).some((option) => option.required === true)
    if (required) expect(result.issues).toBeDefined()
    else {
      const defaults = Object.entries(options).filter(([, option]) => option.default !== undefined)
      const told = Object.fromEntries(defaults.map(([key, option]) => [key, option.default]))
      expect((result as { value: unknown }).value).toEqual(told)
    }
  })

  it('names its interfaces where it offers devices on the VMBus', () => {
    if (kind === 'vsp') expect(guids.length).toBeGreaterThan(0)
    else expect(guids).toEqual([])
  })
})

describe('a manifest', () => {
  const plugin = { name: 'p', kind: 'vsp', contract: 1, description: 'd', export: '.' }
  const option = { type: 'number', description: 'd' }
  const line = 'two\nlines'
  const clear = '\u001b[2J'

  it.each<[string, object]>([
    ['name', { name: line }],
    ['name', { name: '' }],
    ['description', { description: clear }],
    ['options.a.description', { options: { a: { ...option, description: line } } }],
    ['options.a.type', { options: { a: { ...option, type: clear } } }],
    ['guids.0.description', { guids: [{ interfaceId: '85725d6e-6a6e-45c0-8de6-d63d4a90cccf', description: line }] }],
  ])('whose %s would spoil a listing is refused', (path, more) => {
    const json = { name: 'package', version: '1.0.0', partita: { plugins: [{ ...plugin, ...more }] } }
    expect(() => parsePackageManifest(json, './package')).toThrow(
      expect.objectContaining({
        code: 'ERR_PLUGIN_INVALID',
        message: expect.stringContaining(`./package is wrong at partita.plugins.0.${path}: `),
      }),
    )
  })
})
