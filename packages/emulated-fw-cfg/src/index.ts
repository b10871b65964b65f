/**
 * QEMU's fw_cfg device as a plug-in: the default export. Firmware in a ROM reads from it what the machine is like: memory, processors, ACPI tables, the order of boot devices. Who makes the machine puts it there
 * through `firmwareConfigurationToken`.
 *
 * @example
 * ```ts
 * import { firmwareConfigurationToken } from '@partita/interface'
 *
 * vm.find(firmwareConfigurationToken)?.setFile('bootorder', new TextEncoder().encode('HALT\n'))
 * ```
 * @packageDocumentation
 */

import {
  definePlugin,
  firmwareConfigurationToken,
  guestMemoryToken,
  type Plugin,
  type PluginInstance,
  portIoToken,
} from '@partita/interface'
import * as v from 'valibot'
import { FW_CFG_DMA_PORTS, FW_CFG_PORT, FwCfg } from './fw-cfg.ts'
import { FwCfgItems } from './items.ts'

export { FW_CFG_DMA, FW_CFG_PORT, FwCfg } from './fw-cfg.ts'
export { FwCfgError } from './fw-cfg-error.ts'
export { FW_CFG_KEY, FwCfgItems } from './items.ts'

/** Options of `@partita/emulated-fw-cfg`: none. */
export type FwCfgOptions = Record<string, never>

/** The plug-in: the configuration of firmware. */
const plugin: Plugin<FwCfgOptions> = definePlugin<FwCfgOptions>({
  name: '@partita/emulated-fw-cfg',
  kind: 'emulated-device',
  contract: 1,
  description: "The configuration of firmware: QEMU's fw_cfg device",
  options: v.strictObject({}),
  needs: [portIoToken, guestMemoryToken],
  provides: [firmwareConfigurationToken],
  create: (context): PluginInstance => {
    const ports = context.get(portIoToken)
    const items = new FwCfgItems()
    const device = new FwCfg(items, context.get(guestMemoryToken))
    using owning = new DisposableStack()
    owning.use(ports.claim(FW_CFG_PORT.SELECTOR, 2, device.ports))
    owning.use(ports.claim(FW_CFG_PORT.DMA, FW_CFG_DMA_PORTS, device.dmaPorts))
    const owned = owning.move()
    return {
      services: { [firmwareConfigurationToken.name]: items },
      save: () => device.save(),
      restore: (state) => device.restore(state),
      reset: () => device.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
