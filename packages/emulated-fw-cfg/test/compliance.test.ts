import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import fwCfg from '../src/index.ts'

emulatedDeviceCompliance({ plugin: fwCfg, manifest: packageJson.partita, runs: 60 })
