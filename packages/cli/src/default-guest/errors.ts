// The errors of the default guest: everything that can keep the command line from having a kernel and an initramfs.

import { PartitaError, type PartitaErrorOptions } from '@partita/interface'

/**
 * What went wrong:
 *
 * - `ERR_GUEST_NO_APT`: one of Debian's tools (`apt-get`, `apt-cache`, `dpkg-deb`) is not on the PATH
 * - `ERR_GUEST_DOWNLOAD`: the archive could not be reached, or what it sent was refused by apt
 * - `ERR_GUEST_NO_PACKAGE`: apt works, but its sources have no such package (on Ubuntu, for instance)
 * - `ERR_GUEST_PACKAGE`: a package could not be unpacked, or does not contain what it should
 * - `ERR_GUEST_MODULE`: Debian's kernel has no module of that name
 * - `ERR_GUEST_IMAGE`: the root disk could not be made
 * - `ERR_GUEST_CACHE`: the cache directory could not be read or written
 */
type DefaultGuestErrorCode =
  | 'ERR_GUEST_NO_APT'
  | 'ERR_GUEST_DOWNLOAD'
  | 'ERR_GUEST_NO_PACKAGE'
  | 'ERR_GUEST_PACKAGE'
  | 'ERR_GUEST_MODULE'
  | 'ERR_GUEST_IMAGE'
  | 'ERR_GUEST_CACHE'

/** A default guest could not be had; `hint` says how to go on. */
export class DefaultGuestError extends PartitaError {
  declare readonly code: DefaultGuestErrorCode

  constructor(code: DefaultGuestErrorCode, message: string, options?: PartitaErrorOptions) {
    super(code, message, options)
  }
}

/** The way out that always works. */
export const OWN_FILES_HINT: string = 'Give a kernel and an initramfs of your own with --kernel and --initrd.'
