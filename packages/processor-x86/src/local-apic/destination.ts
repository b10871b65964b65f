// Which local APICs a message is for (SDM vol. 3, 11.6.2 and 11.12.10).

import type { InterruptMessage } from '@partita/interface'
import { BROADCAST, BROADCAST_8 } from './registers.ts'

/** The logical id that a local APIC has in x2APIC mode: cluster in bits 31–16, one bit of 16 below. */
export function logicalX2ApicId(apicId: number): number {
  return (((apicId >>> 4) << 16) | (1 << (apicId & 15))) >>> 0
}

export function isX2ApicDestination({ destination, logical }: InterruptMessage, apicId: number): boolean {
  if (destination === BROADCAST) return true
  // I/O APICs and MSIs have eight bits for a destination.
  if (!logical) return destination === apicId || destination === BROADCAST_8
  const own = logicalX2ApicId(apicId)
  return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0
}

/** `ldr` and `dfr` as the registers read. */
export function isXApicDestination(message: InterruptMessage, apicId: number, ldr: number, dfr: number): boolean {
  const { destination } = message
  if (destination === BROADCAST || destination === BROADCAST_8) return true
  if (!message.logical) return destination === (apicId & 0xff)
  if (destination > BROADCAST_8) return false
  const own = ldr >>> 24
  switch (dfr >>> 28) {
    case 0xf:
      return (destination & own) !== 0
    case 0:
      return destination >>> 4 === own >>> 4 && (destination & own & 15) !== 0
    default:
      return false
  }
}
