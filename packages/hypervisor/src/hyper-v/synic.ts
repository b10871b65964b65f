// The synthetic interrupt controller of one virtual processor (TLFS, "Inter-Partition Communication"): message slots with a queue behind each, event flags,
// and the sixteen interrupt sources.

import type { SavedValue, VirtualLocalApic } from '@partita/interface'
import type { OverlayPage } from '../overlay-page.ts'
import { HV_MSR, PAGE_MSR, pageAddress } from './msr.ts'
import { stateArray, stateBytes, stateInvalid, stateNumber, stateObject, stateU64 } from './saved-values.ts'
import {
  EVENT_FLAG_COUNT,
  EVENT_FLAGS_SIZE,
  FIRST_VECTOR,
  MESSAGE_PAYLOAD_MAXIMUM,
  MESSAGE_PENDING,
  MESSAGE_QUEUE_LIMIT,
  MESSAGE_TYPE,
  SCONTROL_ENABLE,
  SINT,
  SINT_COUNT,
  SLOT,
  SYNIC_VERSION,
  TIMER_COUNT,
} from './synic-pages.ts'

/** What a SynIC works with. */
export interface SynicOptions {
  readonly localApic: VirtualLocalApic
  readonly messagePage: OverlayPage
  readonly eventPage: OverlayPage
  /** Interrupt the processor, edge-triggered. */
  raise(vector: number): void
  /** Reference time in units of 100 ns. */
  referenceTime(): bigint
  /** A SINT's queue that had no room has some. */
  slotFree(sint: number): void
}

/** A message that waits for its slot. */
interface QueuedMessage {
  readonly type: number
  readonly payload: Uint8Array
  /** The synthetic timer whose message buffer this is, or -1. */
  readonly timer: number
}

/** Offset of the delivery time in a timer's message, and the payload's size (HV_TIMER_MESSAGE_PAYLOAD). */
const TIMER_PAYLOAD = { INDEX: 0, EXPIRATION: 8, DELIVERY: 16, SIZE: 24 } as const

export class Synic {
  readonly #options: SynicOptions
  readonly #sints: BigUint64Array = new BigUint64Array(SINT_COUNT).fill(SINT.RESET)
  readonly #queues: QueuedMessage[][] = Array.from({ length: SINT_COUNT }, () => [])
  #scontrol = 0n
  #siefp = 0n
  #simp = 0n
  /** SINTs that had no room for a message, a bit each. */
  #starved = 0
  /** Timers whose message waits, a bit each. */
  #timersQueued = 0

  constructor(options: SynicOptions) {
    this.#options = options
  }

  // --- registers

  /** The register at an MSR address, or `undefined` for #GP. */
  read(index: number): bigint | undefined {
    switch (index) {
      case HV_MSR.SCONTROL:
        return this.#scontrol
      case HV_MSR.SVERSION:
        return SYNIC_VERSION
      case HV_MSR.SIEFP:
        return this.#siefp
      case HV_MSR.SIMP:
        return this.#simp
      case HV_MSR.EOM:
        return 0n
      default:
        return this.#sints[index - HV_MSR.SINT0]
    }
  }

  /** False for #GP. */
  write(index: number, value: bigint): boolean {
    switch (index) {
      case HV_MSR.SCONTROL:
        this.#scontrol = value
        this.#deliverAll()
        return true
      case HV_MSR.SVERSION:
        return false
      case HV_MSR.SIEFP:
        this.#siefp = value
        this.#options.eventPage.place(pageAddress(value))
        return true
      case HV_MSR.SIMP:
        this.#simp = value
        this.#options.messagePage.place(pageAddress(value))
        this.#deliverAll()
        return true
      case HV_MSR.EOM:
        this.#deliverAll()
        return true
      default:
        return this.#writeSint(index - HV_MSR.SINT0, value)
    }
  }

  #writeSint(sint: number, value: bigint): boolean {
    const vector = Number(value & SINT.VECTOR)
    if (vector < FIRST_VECTOR && (value & SINT.MASKED) === 0n) return false
    const before = this.#vector(sint)
    this.#sints[sint] = value
    this.#updateVector(before)
    if (vector !== before) this.#updateVector(vector)
    return true
  }

  #vector(sint: number): number {
    return Number((this.#sints[sint] as bigint) & SINT.VECTOR)
  }

  /** Whether an event or message of the SINT is let through. Polling unmasks, without interrupts. */
  #interrupts(sint: number): boolean {
    return ((this.#sints[sint] as bigint) & (SINT.MASKED | SINT.POLLING)) === 0n
  }

  #messagesEnabled(): boolean {
    return (this.#scontrol & SCONTROL_ENABLE) !== 0n && (this.#simp & PAGE_MSR.ENABLE) !== 0n
  }

  /** Tell the local APIC what the SINTs of a vector want of it: AutoEOI, and to hear of its EOI while a message waits. */
  #updateVector(vector: number): void {
    if (vector < FIRST_VECTOR) return
    let automatic = false
    let notify = false
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      const value = this.#sints[sint] as bigint
      if (Number(value & SINT.VECTOR) !== vector) continue
      if ((value & (SINT.MASKED | SINT.AUTO_EOI)) === SINT.AUTO_EOI) automatic = true
      if ((this.#queues[sint] as QueuedMessage[]).length > 0) notify = true
    }
    this.#options.localApic.setAutoEoi(vector, automatic)
    this.#options.localApic.setEoiNotify(vector, notify)
  }

  // --- messages

  /** Queue a message, and deliver it if its slot is empty. False when there is no room, the SynIC is disabled or a number is out of range. */
  postMessage(sint: number, type: number, payload: Uint8Array): boolean {
    const queue = this.#queues[sint]
    if (queue === undefined || payload.length > MESSAGE_PAYLOAD_MAXIMUM || type >>> 0 === MESSAGE_TYPE.NONE)
      return false
    let waiting = 0
    for (const { timer } of queue) if (timer < 0) waiting++
    if (!this.#messagesEnabled() || waiting >= MESSAGE_QUEUE_LIMIT) {
      this.#starved |= 1 << sint
      return false
    }
    this.#enqueue(sint, { type: type >>> 0, payload: payload.slice(), timer: -1 })
    return true
  }

  /** A timer expired. Each has one message buffer: while its message waits, another expiration is lost. Times are in units of 100 ns. */
  postTimerMessage(sint: number, timer: number, expirationTime: bigint): void {
    if ((this.#timersQueued & (1 << timer)) !== 0) return
    const payload = new Uint8Array(TIMER_PAYLOAD.SIZE)
    const view = new DataView(payload.buffer)
    view.setUint32(TIMER_PAYLOAD.INDEX, timer, true)
    view.setBigUint64(TIMER_PAYLOAD.EXPIRATION, BigInt.asUintN(64, expirationTime), true)
    this.#timersQueued |= 1 << timer
    this.#enqueue(sint, { type: MESSAGE_TYPE.TIMER_EXPIRED, payload, timer })
  }

  /** The timer's message, if it waits, is not to be delivered. */
  cancelTimerMessage(timer: number): void {
    if ((this.#timersQueued & (1 << timer)) === 0) return
    this.#timersQueued &= ~(1 << timer)
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      const queue = this.#queues[sint] as QueuedMessage[]
      const index = queue.findIndex((message) => message.timer === timer)
      if (index < 0) continue
      queue.splice(index, 1)
      if (queue.length === 0) this.#updateVector(this.#vector(sint))
    }
  }

  #enqueue(sint: number, message: QueuedMessage): void {
    const queue = this.#queues[sint] as QueuedMessage[]
    queue.push(message)
    this.#deliver(sint)
    if (queue.length === 1) this.#updateVector(this.#vector(sint))
  }

  #deliverAll(): void {
    if (!this.#messagesEnabled()) return
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      if ((this.#queues[sint] as QueuedMessage[]).length > 0) this.#deliver(sint)
      this.#feed(sint)
    }
  }

  /** Put the first message of a queue into its slot if that is empty; else mark that one waits. */
  #deliver(sint: number): void {
    const queue = this.#queues[sint] as QueuedMessage[]
    const message = queue[0]
    if (message === undefined || !this.#messagesEnabled()) return
    const { messagePage } = this.#options
    const { words, bytes } = messagePage
    const slot = sint * SLOT.SIZE
    if (Atomics.load(words, slot + SLOT.TYPE) !== MESSAGE_TYPE.NONE) {
      Atomics.or(words, slot + SLOT.SIZE_AND_FLAGS, MESSAGE_PENDING)
      // The guest may have emptied the slot before it could see the flag.
      if (Atomics.load(words, slot + SLOT.TYPE) !== MESSAGE_TYPE.NONE) return
    }
    queue.shift()
    const { payload } = message
    if (message.timer >= 0) {
      this.#timersQueued &= ~(1 << message.timer)
      new DataView(payload.buffer).setBigUint64(TIMER_PAYLOAD.DELIVERY, this.#options.referenceTime(), true)
    }
    words[slot + SLOT.ORIGIN] = 0
    words[slot + SLOT.ORIGIN + 1] = 0
    bytes.set(payload, (slot + SLOT.PAYLOAD) * 4)
    Atomics.store(words, slot + SLOT.SIZE_AND_FLAGS, payload.length | (queue.length > 0 ? MESSAGE_PENDING : 0))
    Atomics.store(words, slot + SLOT.TYPE, message.type | 0)
    messagePage.written(slot * 4, SLOT.SIZE * 4)
    if (queue.length === 0) this.#updateVector(this.#vector(sint))
    if (this.#interrupts(sint)) this.#options.raise(this.#vector(sint))
  }

  /** Tell whoever was refused that there is room. */
  #feed(sint: number): void {
    const bit = 1 << sint
    if ((this.#starved & bit) === 0 || (this.#queues[sint] as QueuedMessage[]).length >= MESSAGE_QUEUE_LIMIT) return
    this.#starved &= ~bit
    this.#options.slotFree(sint)
  }

  /** The guest ended an interrupt of `vector`: the slots of its SINTs may be empty. */
  endOfInterrupt(vector: number): void {
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      if ((this.#queues[sint] as QueuedMessage[]).length === 0 || this.#vector(sint) !== vector) continue
      this.#deliver(sint)
      this.#feed(sint)
    }
  }

  // --- event flags

  /** Set a flag, and interrupt if it was clear. False when it is disabled, masked or out of range. */
  signalEvent(sint: number, flag: number): boolean {
    const value = this.#sints[sint]
    if (value === undefined || !Number.isInteger(flag) || flag < 0 || flag >= EVENT_FLAG_COUNT) return false
    if ((this.#scontrol & SCONTROL_ENABLE) === 0n || (this.#siefp & PAGE_MSR.ENABLE) === 0n) return false
    if ((value & (SINT.MASKED | SINT.POLLING)) === SINT.MASKED) return false
    const { eventPage } = this.#options
    const word = sint * EVENT_FLAGS_SIZE + (flag >>> 5)
    const bit = 1 << (flag & 31)
    if ((Atomics.or(eventPage.words, word, bit) & bit) !== 0) return true
    eventPage.written(word * 4, 4)
    if ((value & SINT.POLLING) === 0n) this.#options.raise(Number(value & SINT.VECTOR))
    return true
  }

  // --- reset and saved state

  reset(): void {
    this.#scontrol = this.#siefp = this.#simp = 0n
    this.#starved = 0
    this.#timersQueued = 0
    const { messagePage, eventPage } = this.#options
    for (const page of [messagePage, eventPage]) {
      page.place(undefined)
      page.set(new Uint8Array(0))
    }
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      const vector = this.#vector(sint)
      this.#sints[sint] = SINT.RESET
      this.#queues[sint] = []
      this.#updateVector(vector)
    }
  }

  save(): SavedValue {
    return {
      scontrol: this.#scontrol,
      siefp: this.#siefp,
      simp: this.#simp,
      sints: [...this.#sints],
      messages: this.#options.messagePage.bytes.slice(),
      events: this.#options.eventPage.bytes.slice(),
      starved: this.#starved,
      queues: this.#queues.map((queue) =>
        queue.map(({ type, payload, timer }) => ({ type, payload: payload.slice(), timer })),
      ),
    }
  }

  /** @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    const state = stateObject(saved, 'synic')
    const messages = stateBytes(state['messages'], 'synic.messages', 4096)
    const events = stateBytes(state['events'], 'synic.events', 4096)
    const sints = stateArray(state['sints'], 'synic.sints', SINT_COUNT).map((value) => stateU64(value, 'synic.sints'))
    let timers = 0
    const queues = stateArray(state['queues'], 'synic.queues', SINT_COUNT).map((saved) => {
      const queue = stateArray(saved, 'synic.queues').map((message): QueuedMessage => {
        const { type, payload, timer } = stateObject(message, 'synic.queues')
        return {
          type: stateNumber(type, 'synic.queues', 1, 0xffffffff),
          payload: stateBytes(payload, 'synic.queues').slice(),
          timer: stateNumber(timer, 'synic.queues', -1, TIMER_COUNT - 1),
        }
      })
      for (const { timer, payload } of queue) {
        if (timer < 0) continue
        if ((timers & (1 << timer)) !== 0 || payload.length !== TIMER_PAYLOAD.SIZE) stateInvalid('synic.queues')
        timers |= 1 << timer
      }
      const posted = queue.filter(({ timer }) => timer < 0)
      if (posted.length > MESSAGE_QUEUE_LIMIT || posted.some(({ payload }) => payload.length > MESSAGE_PAYLOAD_MAXIMUM))
        stateInvalid('synic.queues')
      return queue
    })
    const [scontrol, siefp, simp] = ['scontrol', 'siefp', 'simp'].map((name) => stateU64(state[name], `synic.${name}`))
    const starved = stateNumber(state['starved'], 'synic.starved', 0, 0xffff)
    this.reset()
    this.#options.messagePage.set(messages)
    this.#options.eventPage.set(events)
    this.#scontrol = scontrol as bigint
    this.#siefp = siefp as bigint
    this.#simp = simp as bigint
    this.#starved = starved
    this.#options.eventPage.place(pageAddress(this.#siefp))
    this.#options.messagePage.place(pageAddress(this.#simp))
    for (let sint = 0; sint < SINT_COUNT; sint++) {
      this.#sints[sint] = sints[sint] as bigint
      this.#queues[sint] = queues[sint] as QueuedMessage[]
    }
    this.#timersQueued = timers
    for (let sint = 0; sint < SINT_COUNT; sint++) this.#updateVector(this.#vector(sint))
  }
}
