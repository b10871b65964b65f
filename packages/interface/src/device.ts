// Capabilities that the root partition gives to devices: ports, MMIO, interrupt lines, PCI, power. A device sees these and nothing
// of the machine around it.

/** Width of one access in bytes. Wider accesses of the processor are split. */
export type AccessSize = 1 | 2 | 4

/** A range of I/O ports. `offset` is relative to the range's base; an access never crosses the range's end. */
export interface PortHandler {
  /** Answer a read of the guest, of `size` bytes: an unsigned number in that range. */
  read(offset: number, size: AccessSize): number
  /** The guest writes `value`, unsigned, of `size` bytes. */
  write(offset: number, size: AccessSize, value: number): void
}

/** A region of memory-mapped registers. `offset` is relative to the region's base. Values are unsigned. */
export interface MmioHandler {
  /** Answer a read of the guest, of `size` bytes: an unsigned number in that range. */
  read(offset: number, size: AccessSize): number
  /** The guest writes `value`, unsigned, of `size` bytes. */
  write(offset: number, size: AccessSize, value: number): void
}

/** Where a device claims I/O ports. An unclaimed port reads as all ones and ignores writes. */
export interface PortIo {
  /**
   * Claim `[base, base + length)`.
   * @throws PartitaError `ERR_PORT_CONFLICT` when another device has one of the ports
   */
  claim(base: number, length: number, handler: PortHandler): Disposable
}

/** Where a device claims guest physical address ranges. */
export interface Mmio {
  /**
   * Claim `[gpa, gpa + length)`, whole pages.
   * @throws PartitaError `ERR_MMIO_CONFLICT` when RAM or another device is there
   */
  claim(gpa: number, length: number, handler: MmioHandler): Disposable
}

/** One wire to the interrupt controllers, level-sensitive: set true, and false again. An edge is a true that follows a false. */
export interface InterruptLine {
  /** Drive the wire. Setting what it is already is no edge. */
  set(asserted: boolean): void
}

/** The global system interrupts of the ACPI specification: 0–15 are the ISA lines, wired to the PICs and the I/O APIC. */
export interface InterruptLines {
  /**
   * A new output on the wire of a global system interrupt, 0–23: outputs on one wire are ORed, so who asks twice has two.
   * @throws PartitaError `ERR_INTERRUPT_LINE` when there is none of that number
   */
  line(gsi: number): InterruptLine
}

/** How an interrupt message is delivered (Intel SDM vol. 3, 11.6.1 and 11.11). */
export const DELIVERY_MODE = { FIXED: 0, LOWEST_PRIORITY: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXT_INT: 7 } as const
/** One of {@link DELIVERY_MODE}. */
export type DeliveryMode = (typeof DELIVERY_MODE)[keyof typeof DELIVERY_MODE]

/** A message to local APICs, as an I/O APIC, an MSI or HvCallAssertVirtualInterrupt sends it. */
export interface InterruptMessage {
  /**
   * The vector to raise, 16–255. For STARTUP the page number at which the processor begins; without meaning for the modes that have a fixed one (NMI, INIT,
   * SMI, EXT_INT).
   */
  readonly vector: number
  /** What the local APIC makes of it. */
  readonly deliveryMode: DeliveryMode
  /** APIC id (physical) or set of logical destinations. */
  readonly destination: number
  /** Whether {@link InterruptMessage.destination} is a set of logical destinations (Intel SDM vol. 3, 11.6.2.2). */
  readonly logical: boolean
  /** Whether it is level-triggered: the EOI of its vector is reported to {@link InterruptMessages.onEndOfInterrupt}. */
  readonly level: boolean
}

/** The way from the interrupt controllers to the virtual processors. */
export interface InterruptMessages {
  /** Deliver a message to the local APICs that it is for; without one it is lost. */
  send(message: InterruptMessage): void
  /** The INTR pin of the boot processor, driven by the 8259A pair. */
  setExternalInterrupt(asserted: boolean): void
  /** Install who answers the processor's interrupt acknowledge cycle (the 8259A pair): returns the vector. */
  setAcknowledge(acknowledge: () => number): void
  /** Be told of the EOI of a level-triggered vector (the I/O APIC). */
  onEndOfInterrupt(callback: (vector: number) => void): Disposable
}

/** Why a partition ends. `code` is the exit code that a test kernel asked for (isa-debug-exit). */
export type PowerEvent =
  | { readonly type: 'power-off' }
  | { readonly type: 'reset' }
  | { readonly type: 'debug-exit'; readonly code: number }

/** Power requests of the guest. They take effect at the end of the instruction that caused them. */
export interface PowerControl {
  /** The first request before the partition stops wins. */
  request(event: PowerEvent): void
}

/** The gate of address line 20, which a PC has at port 0x92 and at its keyboard controller. */
export interface A20Gate {
  /** While false, bit 20 of every address that a processor sends is 0: the second MiB is the first one again, as on an 8086. */
  enabled: boolean
}

/** The A20M# pin of the processors, which the chipset drives. */
export interface AddressLine20 {
  /** Whether address line 20 is let through. Processors that cannot mask it, as today's, let it through always. */
  connect(connected: boolean): void
}

/** Who answers accesses to a range of guest physical addresses that RAM stands behind. */
export interface RamDecoding {
  /** Reads go to RAM, and else to a ROM or to devices there. */
  readonly read: boolean
  /** Writes go to RAM, and else to devices there; a ROM ignores them. */
  readonly write: boolean
}

/**
 * What the host bridge of a PC decides about the first megabyte: where RAM answers, and where the ROM. RAM keeps its contents while it does not answer.
 */
export interface ShadowRam {
  /**
   * Decode `[gpa, gpa + length)`, whole pages of 0xA0000–0xFFFFF. At power-on RAM answers from 0xC0000 on, and not in the legacy video window below; from 0xA0000 to
   * 0xBFFFF reads and writes go the same way.
   * @throws PartitaError `ERR_GPA_RANGE` for other ranges
   */
  decode(gpa: number, length: number, decoding: RamDecoding): void
}

/**
 * The host's end of a character device (UART). The device pulls input, so that a guest that does not read grows nothing.
 */
export interface CharacterBackend {
  /** Bytes from the guest. False asks the device to hold back until {@link CharacterBackend.onReady} is called; the bytes were taken all the same. */
  write(data: Uint8Array): boolean
  /** Copy at most `target.length` waiting bytes to `target`; returns how many. */
  read(target: Uint8Array): number
  /** Set by the device: called when input has arrived or output has room again. */
  onReady: (() => void) | undefined
}

/** One PCI function's configuration space, 256 bytes, addressed in aligned double words (PCI 3.0, chapter 6). */
export interface PciFunction {
  /** The double word at `offset` (0–252, a multiple of 4), unsigned. */
  readConfig(offset: number): number
  /** `mask` has ones in the bits that the access writes. */
  writeConfig(offset: number, value: number, mask: number): void
}

/** The conventional PCI bus 0. */
export interface PciBus {
  /**
   * Plug a function in.
   * @throws PartitaError `ERR_PCI_CONFLICT` when the slot is taken
   */
  attach(device: number, fn: number, pciFunction: PciFunction): Disposable
  /** A new output on INTA–INTD (0–3) of a device, which is routed to a global system interrupt. Outputs on one pin are ORed: each function has its own. */
  interrupt(device: number, pin: number): InterruptLine
}
