// What the root disk of a guest holds besides busybox and the kernel's modules, and how large it is.

/** `test` has programs that examine storage (fio, e2fsprogs, sg3-utils, hdparm, smartmontools) and networks (iperf3, dropbear, ethtool), and kexec. */
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
    packages: [
      ...['util-linux', 'fio', 'e2fsprogs', 'sg3-utils', 'hdparm', 'smartmontools'],
      ...['kexec-tools', 'ethtool', 'iperf3', 'dropbear-bin'],
    ],
    programs: [
      ...['lsblk', 'blkdiscard', 'taskset', 'hdparm', 'smartctl', 'kexec'],
      ...['ethtool', 'iperf3', 'dropbear', 'dropbearkey'],
      ...['fio', 'mke2fs', 'mkfs.ext4', 'e2fsck', 'debugfs', 'dumpe2fs', 'tune2fs', 'resize2fs'],
      ...['sg_inq', 'sg_vpd', 'sg_readcap', 'sg_luns', 'sg_opcodes', 'sg_modes', 'sg_requests', 'sg_turs', 'sg_raw'],
      ...[
        'sg_get_lba_status',
        'sg_unmap',
        'sg_write_same',
        'sg_verify',
        'sg_sync',
        'sg_start',
        'sg_persist',
        'sg_reset',
      ],
    ],
    // Devices of another machine, to compare with; VLANs on top of an adapter; the PS/2 port of kernels that have not built it in.
    modules: ['virtio_pci', 'virtio_blk', 'virtio_net', '8021q', 'i8042', 'atkbd', 'psmouse'],
    size: 1024 * MEBIBYTE,
  },
}
