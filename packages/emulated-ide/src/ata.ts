// Registers, bits and commands of ATA (ATA/ATAPI-7 volume 1, T13/1532D), as far as a disk has them.

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

export const ERROR = { ICRC: 0x80, UNC: 0x40, IDNF: 0x10, ABRT: 0x04 } as const
/** Diagnostic code 1: no error (section 6.13). */
export const DIAGNOSTIC_PASSED = 0x01

export const DEVICE = { LBA: 0x40, SECOND: 0x10, HEAD: 0x0f, FIXED: 0xa0 } as const
/** Device control register. */
export const CONTROL = { NIEN: 0x02, SRST: 0x04, HOB: 0x80 } as const

/** What a command does. */
type Action =
  | 'read-sectors'
  | 'read-multiple'
  | 'read-dma'
  | 'write-sectors'
  | 'write-multiple'
  | 'write-dma'
  | 'read-verify'
  | 'seek'
  | 'native-max'
  | 'flush'
  | 'identify'
  | 'set-features'
  | 'set-multiple'
  | 'initialize-parameters'
  | 'check-power'
  | 'diagnostic'
  | 'nothing'

/** One row of the command table. `ext` has 48-bit addresses. */
export interface Command {
  readonly name: string
  readonly action: Action
  readonly ext: boolean
}

function command(name: string, action: Action): Command {
  return { name, action, ext: name.endsWith(' EXT') }
}

/** Commands by code. One that is missing here is aborted, as are NOP and those of packet devices. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map([
  [0x10, command('RECALIBRATE', 'nothing')],
  [0x20, command('READ SECTOR(S)', 'read-sectors')],
  [0x21, command('READ SECTOR(S) without retry', 'read-sectors')],
  [0x24, command('READ SECTOR(S) EXT', 'read-sectors')],
  [0x25, command('READ DMA EXT', 'read-dma')],
  [0x27, command('READ NATIVE MAX ADDRESS EXT', 'native-max')],
  [0x29, command('READ MULTIPLE EXT', 'read-multiple')],
  [0x30, command('WRITE SECTOR(S)', 'write-sectors')],
  [0x31, command('WRITE SECTOR(S) without retry', 'write-sectors')],
  [0x34, command('WRITE SECTOR(S) EXT', 'write-sectors')],
  [0x35, command('WRITE DMA EXT', 'write-dma')],
  [0x39, command('WRITE MULTIPLE EXT', 'write-multiple')],
  [0x40, command('READ VERIFY SECTOR(S)', 'read-verify')],
  [0x41, command('READ VERIFY SECTOR(S) without retry', 'read-verify')],
  [0x42, command('READ VERIFY SECTOR(S) EXT', 'read-verify')],
  [0x70, command('SEEK', 'seek')],
  [0x90, command('EXECUTE DEVICE DIAGNOSTIC', 'diagnostic')],
  [0x91, command('INITIALIZE DEVICE PARAMETERS', 'initialize-parameters')],
  [0xc4, command('READ MULTIPLE', 'read-multiple')],
  [0xc5, command('WRITE MULTIPLE', 'write-multiple')],
  [0xc6, command('SET MULTIPLE MODE', 'set-multiple')],
  [0xc8, command('READ DMA', 'read-dma')],
  [0xc9, command('READ DMA without retry', 'read-dma')],
  [0xca, command('WRITE DMA', 'write-dma')],
  [0xcb, command('WRITE DMA without retry', 'write-dma')],
  [0xe0, command('STANDBY IMMEDIATE', 'flush')],
  [0xe1, command('IDLE IMMEDIATE', 'nothing')],
  [0xe2, command('STANDBY', 'flush')],
  [0xe3, command('IDLE', 'nothing')],
  [0xe5, command('CHECK POWER MODE', 'check-power')],
  [0xe6, command('SLEEP', 'flush')],
  [0xe7, command('FLUSH CACHE', 'flush')],
  [0xea, command('FLUSH CACHE EXT', 'flush')],
  [0xec, command('IDENTIFY DEVICE', 'identify')],
  [0xef, command('SET FEATURES', 'set-features')],
  [0xf8, command('READ NATIVE MAX ADDRESS', 'native-max')],
])

/** Subcommands of SET FEATURES that a disk takes (section 6.51). */
export const FEATURE = {
  ENABLE_WRITE_CACHE: 0x02,
  SET_TRANSFER_MODE: 0x03,
  DISABLE_LOOK_AHEAD: 0x55,
  KEEP_SETTINGS: 0x66,
  DISABLE_WRITE_CACHE: 0x82,
  ENABLE_LOOK_AHEAD: 0xaa,
  REVERT_SETTINGS: 0xcc,
} as const

/** Most sectors of a block of READ and WRITE MULTIPLE. */
export const MAXIMUM_MULTIPLE = 16
/** Highest modes that can be set. */
export const MAXIMUM_MODE = { PIO: 4, MULTIWORD_DMA: 2, ULTRA_DMA: 5 } as const
