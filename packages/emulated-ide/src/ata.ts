// Registers and bits of ATA (ATA/ATAPI-7 volume 1, T13/1532D) that all drives share.

/** Bytes of an ATA sector. */
export const SECTOR_SIZE = 512

/** Command block registers, offsets from the channel's base. */
export const REGISTER = {
  DATA: 0,
  ERROR: 1,
  FEATURES: 1,
  COUNT: 2,
  LBA_LOW: 3,
  LBA_MID: 4,
  LBA_HIGH: 5,
  DEVICE: 6,
  STATUS: 7,
  COMMAND: 7,
} as const

export const STATUS = { BSY: 0x80, DRDY: 0x40, DF: 0x20, DSC: 0x10, DRQ: 0x08, ERR: 0x01 } as const
/** Ready, with nothing under way. */
export const READY: number = STATUS.DRDY | STATUS.DSC

export const ERROR = { UNC: 0x40, IDNF: 0x10, ABRT: 0x04 } as const
/** Diagnostic code 1: no error (section 6.13). */
export const DIAGNOSTIC_PASSED = 0x01

export const DEVICE = { LBA: 0x40, SECOND: 0x10, HEAD: 0x0f, FIXED: 0xa0 } as const
/** Device control register. */
export const CONTROL = { NIEN: 0x02, SRST: 0x04, HOB: 0x80 } as const

/** The last sector that 28 bits can name. */
export const LARGEST_LBA28 = 0x0fff_ffff

/** Power modes as CHECK POWER MODE tells them (section 6.7); a drive that sleeps tells nothing. */
export const POWER = { STANDBY: 0x00, IDLE: 0x80, ACTIVE: 0xff, SLEEP: 0x01 } as const
/** One of {@link POWER}. */
export type Power = (typeof POWER)[keyof typeof POWER]

/** Commands that disks and packet devices have alike, and that the channel knows. */
export const SHARED_COMMAND = { DEVICE_RESET: 0x08, EXECUTE_DEVICE_DIAGNOSTIC: 0x90 } as const

/** Most sectors of a block of READ and WRITE MULTIPLE. */
export const MAXIMUM_MULTIPLE = 16
/** Most sectors with the ranges of one DATA SET MANAGEMENT. */
export const MAXIMUM_TRIM_SECTORS = 8
/** Highest modes that can be set. */
export const MAXIMUM_MODE = { PIO: 4, MULTIWORD_DMA: 2, ULTRA_DMA: 5 } as const
