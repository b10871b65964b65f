/**
 * What every PCI function needs: a configuration space made from a table of registers. How functions come to a bus is `pciBusToken` of `@partita/interface`.
 *
 * @example
 * ```ts
 * import { ConfigSpace, PCI_COMMAND, PCI_CONFIG } from '@partita/pci'
 *
 * const space = new ConfigSpace([
 *   [PCI_CONFIG.ID, 0x0001_1234, 0],
 *   [PCI_CONFIG.COMMAND_STATUS, 0, PCI_COMMAND.IO],
 * ])
 * ```
 * @packageDocumentation
 */
export {
  BAR_IO,
  type ConfigRegister,
  ConfigSpace,
  INTEL,
  MULTI_FUNCTION,
  PCI_COMMAND,
  PCI_CONFIG,
  RECEIVED_MASTER_ABORT,
  STATUS_ERRORS,
} from './config-space.ts'
export { PciError } from './pci-error.ts'
