// What the `@example`s of doc comments take for granted: the names that stand beside them in their files, and things that every program has in some form.

export {}

declare global {
  const MemoryDisk: typeof import('@partita/disk-images').MemoryDisk
  const Partition: typeof import('@partita/hypervisor').Partition
  const PartitaError: typeof import('@partita/interface').PartitaError
  const PluginRegistry: typeof import('@partita/root-partition').PluginRegistry
  const NodePackageSource: typeof import('@partita/root-partition/node').NodePackageSource
  const VirtualMachine: typeof import('@partita/root-partition').VirtualMachine
  const Assembler: typeof import('@partita/testkit/assembler').Assembler
  const FakeClock: typeof import('@partita/testkit').FakeClock
  const FakeMachine: typeof import('@partita/testkit').FakeMachine
  const FakePortIo: typeof import('@partita/testkit').FakePortIo
  const emulatedDeviceChecks: typeof import('@partita/testkit').emulatedDeviceChecks
  const createProcessor: typeof import('@partita/processor-x86').createProcessor
  const ConfigSpace: typeof import('../../packages/emulated-chipset/src/pci-functions.ts').ConfigSpace
  const PCI_CONFIG: typeof import('../../packages/emulated-chipset/src/pci-functions.ts').PCI_CONFIG
  const createProgressReporter: typeof import('../../packages/cli/src/default-guest/index.ts').createProgressReporter
  const ensureDefaultGuest: typeof import('../../packages/cli/src/default-guest/index.ts').ensureDefaultGuest
  const bootGuest: typeof import('@partita/guest').bootGuest
  const ideControlToken: typeof import('@partita/emulated-ide').ideControlToken
  const storageDriver: typeof import('@partita/synthetic-storage/vsc').storageDriver
  const BlockUnit: typeof import('@partita/scsi').BlockUnit
  const DvdUnit: typeof import('@partita/scsi').DvdUnit
  const ScsiCommand: typeof import('@partita/scsi').ScsiCommand
  const ScsiTarget: typeof import('@partita/scsi').ScsiTarget
  const DIRECTION: typeof import('@partita/scsi').DIRECTION
  const typeScriptProcessor: typeof import('@partita/processor-typescript').typeScriptProcessor
  const Kernel: typeof import('@partita/guest/kernel').Kernel
  type VmbusDevice = import('@partita/interface').VmbusDevice
  type Network = import('@partita/interface').Network

  const backend: import('@partita/interface').CharacterBackend
  const bootSector: Uint8Array
  const buffer: Uint8Array
  const command: import('@partita/scsi').ScsiCommand
  const disk: import('@partita/interface').Disk
  const exitDevice: import('@partita/interface').PortHandler
  const initrd: Uint8Array
  const iso: import('@partita/interface').Disk
  const kernel: Uint8Array
  const lun: number
  const log: unknown[]
  const memory: import('@partita/interface').GuestMemory
  const packageJson: { partita: import('@partita/interface').PluginManifest }
  const processor: import('@partita/interface').Processor
  // biome-ignore lint/suspicious/noExplicitAny: a plug-in with any options
  const plugin: import('@partita/interface').Plugin<any>
  const readFile: import('@partita/root-partition').ReadFile
  const registry: import('@partita/root-partition').PluginRegistry
  // biome-ignore lint/suspicious/noExplicitAny: a plug-in with any options
  const serial: import('@partita/interface').Plugin<any>
  const target: import('@partita/scsi').ScsiTarget
  const test: (name: string, run: () => unknown) => void
  const uart: import('@partita/interface').PortHandler
  const vm: import('@partita/root-partition').VirtualMachine
  const vmbus: import('@partita/interface').Vmbus
  const vp: import('@partita/interface').VirtualProcessor
}
