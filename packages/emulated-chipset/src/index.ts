/**
 * The emulated chipset of a PC, a plug-in a part: `@partita/emulated-chipset/pic`, `./pit`, `./rtc`, `./io-apic`, `./interrupt-lines`, `./power-management`, `./reset`,
 * `./pci` and `./debug-exit`. This entry has the services and the constants that other packages may need.
 *
 * @example
 * ```ts
 * import pit from '@partita/emulated-chipset/pit'
 * import { powerButtonToken } from '@partita/emulated-chipset'
 * ```
 * @packageDocumentation
 */
export { ChipsetError } from './chipset-error.ts'
export { PIIX4_DEVICE, pciInterruptGsi } from './pci.ts'
export { PM_OFFSET, SLEEP_TYPE_S5, SMI_COMMAND } from './power-management.ts'
export {
  type InterruptController,
  ioApicToken,
  type PowerButton,
  type PowerManagementBlock,
  picToken,
  powerButtonToken,
  powerManagementBlockToken,
  type ResetRegisterHost,
  resetRegisterHostToken,
} from './tokens.ts'
