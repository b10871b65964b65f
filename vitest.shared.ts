/**
 * What every package's tests share: imports between packages resolve to their sources, in vitest's own
 * resolver and in the Node processes and worker threads that tests start.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config'

const SOURCE_CONDITIONS: string[] = ['@partita/source', 'module', 'node', 'development|production']

const shared: ViteUserConfig = defineConfig({
  resolve: { conditions: SOURCE_CONDITIONS },
  ssr: { resolve: { conditions: SOURCE_CONDITIONS, externalConditions: ['@partita/source', 'node'] } },
  test: {
    include: ['{src,test}/**/*.test.ts', '*.test.ts'],
    execArgv: ['--conditions=@partita/source'],
    // A test in vain ends late; one on a machine with other work to do ends well.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})

export default shared
