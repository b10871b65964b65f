// What a value of the interrupt command register asks for (SDM vol. 3, 11.6.1 and 11.12.9).

import { DELIVERY_MODE, type DeliveryMode, type InterruptMessage } from '@partita/interface'
import { BROADCAST, BROADCAST_8, FIRST_VECTOR, ICR, SHORTHAND } from './registers.ts'

export function shorthandOf(low: number): number {
  return (low >>> ICR.SHORTHAND_SHIFT) & 3
}

/** Whether it sends a vector that is not a legal one. */
export function sendsIllegalVector(low: number): boolean {
  const mode = (low >>> ICR.DELIVERY_MODE_SHIFT) & 7
  return (low & ICR.VECTOR) < FIRST_VECTOR && (mode === DELIVERY_MODE.FIXED || mode === DELIVERY_MODE.LOWEST_PRIORITY)
}

/** The message to send, or undefined when the value means nothing. `high` is the high half: 8 bits of destination at its top, or 32 in x2APIC mode. */
export function commandMessage(low: number, high: number, x2Apic: boolean): InterruptMessage | undefined {
  const deliveryMode = ((low >>> ICR.DELIVERY_MODE_SHIFT) & 7) as DeliveryMode
  switch (deliveryMode) {
    case DELIVERY_MODE.FIXED:
    case DELIVERY_MODE.LOWEST_PRIORITY:
    case DELIVERY_MODE.SMI:
    case DELIVERY_MODE.NMI:
    case DELIVERY_MODE.STARTUP:
      break
    case DELIVERY_MODE.INIT:
      // INIT level de-assert only synchronized the arbitration ids of processors before the Pentium 4.
      if ((low & (ICR.LEVEL | ICR.ASSERT)) === ICR.LEVEL) return undefined
      break
    default:
      return undefined
  }
  let destination = BROADCAST
  let logical = false
  if (shorthandOf(low) === SHORTHAND.NONE) {
    logical = (low & ICR.LOGICAL) !== 0
    destination = x2Apic ? high : high >>> 24
    if (!logical && destination === BROADCAST_8) {
      // From x2APIC mode this is one id, which no local APIC has, since receivers take it for an eight-bit broadcast.
      if (x2Apic) return undefined
      destination = BROADCAST
    }
  }
  // Interprocessor interrupts are edges, whatever the trigger mode says.
  return { vector: low & ICR.VECTOR, deliveryMode, destination, logical, level: false }
}
