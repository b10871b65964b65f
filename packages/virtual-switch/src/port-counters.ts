// What went through a port, and what did not.

/** Counters of one port. In is from the adapter, out is to it. A segmented frame counts as what was handed over. */
export interface PortCounters {
  /** Frames from the adapter that were let in. */
  framesIn: number
  /** Bytes of those, from the Ethernet header on. */
  bytesIn: number
  /** Frames that the adapter has taken. */
  framesOut: number
  /** Bytes of those. */
  bytesOut: number
  /** From another address than the adapter's. */
  droppedSpoofed: number
  /** In a VLAN that the port is not in. */
  droppedVlan: number
  /** Too short, too long, or not what its flags say. */
  droppedMalformed: number
  /** The adapter had no room: copies of a flooded frame, and what came while it had taken nothing for long. */
  droppedNoRoom: number
}

/** All zero. */
export function noTraffic(): PortCounters {
  return {
    framesIn: 0,
    bytesIn: 0,
    framesOut: 0,
    bytesOut: 0,
    droppedSpoofed: 0,
    droppedVlan: 0,
    droppedMalformed: 0,
    droppedNoRoom: 0,
  }
}
