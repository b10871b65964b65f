// What the root disk of a guest holds besides busybox and the kernel's modules, and how large it is.

/** `test` has programs that examine storage: fio and all of e2fsprogs. */
export type GuestVariant = 'default' | 'test'

interface Variant {
  /** Debian packages; the libraries that they depend on come along. */
  readonly packages: readonly string[]
  /** Programs of these packages. */
  readonly programs: readonly string[]
  /** Kernel modules besides those that every guest has. */
  readonly modules?: readonly string[]
  /** Bytes of the root disk. */
  readonly size: number
}

const MEBIBYTE = 1024 * 1024

export const VARIANTS: Readonly<Record<GuestVariant, Variant>> = {
  default: { packages: ['util-linux'], programs: ['lsblk'], size: 256 * MEBIBYTE },
  test: {
    packages: ['util-linux', 'fio', 'e2fsprogs'],
    programs: ['lsblk', 'fio', 'mke2fs', 'mkfs.ext4', 'e2fsck', 'debugfs', 'dumpe2fs', 'tune2fs', 'resize2fs'],
    // Disks of another machine, to compare with.
    modules: ['virtio_pci', 'virtio_blk'],
    size: 1024 * MEBIBYTE,
  },
}
