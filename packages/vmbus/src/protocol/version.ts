// Versions of the VMBus channel protocol, `major << 16 | minor`. A client proposes one at a time, from the newest down.

/** The versions there are. */
export const VMBUS_VERSION = {
  V0_13: 0x0000_000d,
  V1_1: 0x0001_0001,
  V2_4: 0x0002_0004,
  V3_0: 0x0003_0000,
  V4_0: 0x0004_0000,
  V4_1: 0x0004_0001,
  V5_0: 0x0005_0000,
  V5_1: 0x0005_0001,
  V5_2: 0x0005_0002,
  V5_3: 0x0005_0003,
  V6_0: 0x0006_0000,
} as const

/** The versions that Partita speaks, newest first. Before 2.4 there were no dedicated interrupts, and channels shared a page of flags. */
export const SUPPORTED_VERSIONS: readonly number[] = [
  VMBUS_VERSION.V6_0,
  VMBUS_VERSION.V5_3,
  VMBUS_VERSION.V5_2,
  VMBUS_VERSION.V5_1,
  VMBUS_VERSION.V5_0,
  VMBUS_VERSION.V4_1,
  VMBUS_VERSION.V4_0,
  VMBUS_VERSION.V3_0,
  VMBUS_VERSION.V2_4,
]

/** `5.3`. */
export function formatVersion(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`
}
