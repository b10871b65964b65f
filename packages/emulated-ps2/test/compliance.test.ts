import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import ps2 from '../src/index.ts'

emulatedDeviceCompliance({
  plugin: ps2,
  manifest: packageJson.partita,
  options: [{}, { keyboard: false }, { mouse: false }],
  invalidOptions: [{ keyboard: 1 }, { mouse: 'yes' }, { rate: 3 }],
})
