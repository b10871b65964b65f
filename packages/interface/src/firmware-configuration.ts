// What a virtual machine tells the firmware in its ROM: items by number and files by name, as QEMU's fw_cfg device has them.

/** The device that firmware reads its configuration from, for whoever puts it there. */
export interface FirmwareConfiguration {
  /**
   * Give the item `key` these bytes, or take it away.
   * @throws PartitaError `ERR_FIRMWARE_ITEM` for a number that is none of the host's to give
   */
  setItem(key: number, data: Uint8Array | undefined): void
  /**
   * Give the file `name` these bytes, or take it away. Names are ASCII, of at most 55 characters.
   * @throws PartitaError `ERR_FIRMWARE_ITEM` for another name, and for more files than there is room for
   */
  setFile(name: string, data: Uint8Array | undefined): void
}
