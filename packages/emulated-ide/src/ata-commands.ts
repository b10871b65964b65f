// The commands of an ATA disk as a table (ATA/ATAPI-7 volume 1, section 6; DATA SET MANAGEMENT from ATA8-ACS-2, 7.10).

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
  | 'set-max'
  | 'flush'
  | 'identify'
  | 'set-features'
  | 'set-multiple'
  | 'initialize-parameters'
  | 'standby'
  | 'idle'
  | 'sleep'
  | 'check-power'
  | 'diagnostic'
  | 'smart'
  | 'read-log'
  | 'trim'
  | 'read-buffer'
  | 'write-buffer'
  | 'recalibrate'

/** One row of the command table. */
export interface Command {
  readonly name: string
  readonly action: Action
  /** It has 48-bit addresses. */
  readonly ext: boolean
  /** What it writes is on the medium when it ends (forced unit access). */
  readonly durable: boolean
  /** It touches the medium: the drive is active afterwards. */
  readonly usesMedium: boolean
  /** What it does to sectors that it names. A failure leaves the address of the first one with which that cannot be done. */
  readonly access: 'read' | 'write' | undefined
}

const READS: readonly Action[] = ['read-sectors', 'read-multiple', 'read-dma', 'read-verify']

const WRITES: readonly Action[] = ['write-sectors', 'write-multiple', 'write-dma']
const ON_THE_MEDIUM: readonly Action[] = [...READS, ...WRITES, 'seek', 'flush', 'trim', 'recalibrate']

function command(name: string, action: Action): Command {
  return {
    name,
    action,
    ext: name.endsWith(' EXT'),
    durable: name.includes(' FUA '),
    usesMedium: ON_THE_MEDIUM.includes(action),
    access: READS.includes(action) ? 'read' : WRITES.includes(action) ? 'write' : undefined,
  }
}

/** Commands by code. One that is missing here is aborted, as are NOP and those of packet devices. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map([
  [0x06, command('DATA SET MANAGEMENT', 'trim')],
  [0x10, command('RECALIBRATE', 'recalibrate')],
  [0x20, command('READ SECTOR(S)', 'read-sectors')],
  [0x21, command('READ SECTOR(S) without retry', 'read-sectors')],
  [0x24, command('READ SECTOR(S) EXT', 'read-sectors')],
  [0x25, command('READ DMA EXT', 'read-dma')],
  [0x27, command('READ NATIVE MAX ADDRESS EXT', 'native-max')],
  [0x29, command('READ MULTIPLE EXT', 'read-multiple')],
  [0x2f, command('READ LOG EXT', 'read-log')],
  [0x30, command('WRITE SECTOR(S)', 'write-sectors')],
  [0x31, command('WRITE SECTOR(S) without retry', 'write-sectors')],
  [0x34, command('WRITE SECTOR(S) EXT', 'write-sectors')],
  [0x35, command('WRITE DMA EXT', 'write-dma')],
  [0x37, command('SET MAX ADDRESS EXT', 'set-max')],
  [0x39, command('WRITE MULTIPLE EXT', 'write-multiple')],
  [0x3d, command('WRITE DMA FUA EXT', 'write-dma')],
  [0x40, command('READ VERIFY SECTOR(S)', 'read-verify')],
  [0x41, command('READ VERIFY SECTOR(S) without retry', 'read-verify')],
  [0x42, command('READ VERIFY SECTOR(S) EXT', 'read-verify')],
  [0x70, command('SEEK', 'seek')],
  [0x90, command('EXECUTE DEVICE DIAGNOSTIC', 'diagnostic')],
  [0x91, command('INITIALIZE DEVICE PARAMETERS', 'initialize-parameters')],
  [0xb0, command('SMART', 'smart')],
  [0xc4, command('READ MULTIPLE', 'read-multiple')],
  [0xc5, command('WRITE MULTIPLE', 'write-multiple')],
  [0xc6, command('SET MULTIPLE MODE', 'set-multiple')],
  [0xc8, command('READ DMA', 'read-dma')],
  [0xc9, command('READ DMA without retry', 'read-dma')],
  [0xca, command('WRITE DMA', 'write-dma')],
  [0xcb, command('WRITE DMA without retry', 'write-dma')],
  [0xce, command('WRITE MULTIPLE FUA EXT', 'write-multiple')],
  [0xe0, command('STANDBY IMMEDIATE', 'standby')],
  [0xe1, command('IDLE IMMEDIATE', 'idle')],
  [0xe2, command('STANDBY', 'standby')],
  [0xe3, command('IDLE', 'idle')],
  [0xe4, command('READ BUFFER', 'read-buffer')],
  [0xe5, command('CHECK POWER MODE', 'check-power')],
  [0xe6, command('SLEEP', 'sleep')],
  [0xe7, command('FLUSH CACHE', 'flush')],
  [0xe8, command('WRITE BUFFER', 'write-buffer')],
  [0xea, command('FLUSH CACHE EXT', 'flush')],
  [0xec, command('IDENTIFY DEVICE', 'identify')],
  [0xef, command('SET FEATURES', 'set-features')],
  [0xf8, command('READ NATIVE MAX ADDRESS', 'native-max')],
  [0xf9, command('SET MAX ADDRESS', 'set-max')],
])
