/**
 * The root of the test run: one vitest project for each directory in `packages/` and `tools/`, with the
 * directory's own `vitest.config.ts` where it has one, and one for the examples of `docs/`.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, mergeConfig, type TestProjectConfiguration, type ViteUserConfig } from 'vitest/config'
import shared from './vitest.shared.ts'

const here: string = import.meta.dirname

const projects: TestProjectConfiguration[] = ['packages', 'tools']
  .filter((parent) => existsSync(join(here, parent)))
  .flatMap((parent) => readdirSync(join(here, parent)).map((name) => ({ name, root: join(here, parent, name) })))
  .filter(({ root }) => statSync(root).isDirectory())
  .map(({ name, root }) =>
    existsSync(join(root, 'vitest.config.ts')) ? root : mergeConfig(shared, { root, test: { name } }),
  )

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [...projects, join(here, 'docs/examples')],
    coverage: { provider: 'v8', include: ['packages/*/src/**/*.ts'], reportsDirectory: 'coverage' },
  },
})

export default config
