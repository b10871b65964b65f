// The local APIC (Intel SDM vol. 3, chapter 11), as far as a program needs one: it takes interrupt messages, orders them by priority, and sends IPIs. Its registers are MSRs
// (x2APIC mode, 11.12), and those of the TLFS; there is no timer and no local vector table, since a guest of Hyper-V has synthetic timers.

import { DELIVERY_MODE, type DeliveryMode, type InterruptMessage, type VirtualLocalApic } from '@partita/interface'
import { VectorSet } from './vector-set.ts'

/** MSRs of x2APIC mode. */
const MSR = {
  ID: 0x802,
  VERSION: 0x803,
  TPR: 0x808,
  PPR: 0x80a,
  EOI: 0x80b,
  LDR: 0x80d,
  ICR: 0x830,
  SELF_IPI: 0x83f,
} as const
const VERSION = 0x14
/** Vectors below are reserved. */
const FIRST_VECTOR = 16
const BROADCAST = 0xff
const BROADCAST_X2 = 0xffff_ffff

/** Fields of ICR (figure 11-12). */
const ICR = { LOGICAL: 1n << 11n, LEVEL: 1n << 15n } as const
const SHORTHAND = { DESTINATION: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const

/** What the processor is told. */
export interface LocalApicOptions {
  readonly apicId: number
  send(message: InterruptMessage): void
  endOfInterrupt(vector: number, level: boolean): void
}

/** One local APIC. */
export class LocalApic implements VirtualLocalApic {
  /** 8 bits; its high half is a priority class, and interrupts of that class and below wait. */
  tpr = 0
  nmiPending = false
  initPending = false
  /** A startup IPI came. */
  startupPending = false
  readonly irr: VectorSet = new VectorSet()
  readonly isr: VectorSet = new VectorSet()
  readonly tmr: VectorSet = new VectorSet()
  readonly #autoEoi = new VectorSet()
  readonly #eoiNotify = new VectorSet()
  readonly #options: LocalApicOptions
  #icr = 0n
  #sendingToOthers = false

  constructor(options: LocalApicOptions) {
    this.#options = options
  }

  /** The power-on state, or that after INIT. */
  reset(): void {
    this.tpr = 0
    this.nmiPending = false
    this.initPending = false
    this.startupPending = false
    for (const set of [this.irr, this.isr, this.tmr]) set.clear()
    this.#icr = 0n
  }

  // --- interrupts

  /** Take a message, if it is for this one. */
  receive(message: InterruptMessage): boolean {
    if (this.#sendingToOthers || !this.#isDestination(message)) return false
    switch (message.deliveryMode) {
      case DELIVERY_MODE.FIXED:
      case DELIVERY_MODE.LOWEST_PRIORITY:
        if (message.vector < FIRST_VECTOR || message.vector > 255) return true
        this.irr.set(message.vector, true)
        this.tmr.set(message.vector, message.level)
        return true
      case DELIVERY_MODE.NMI:
        this.nmiPending = true
        return true
      case DELIVERY_MODE.INIT:
        this.initPending = true
        this.startupPending = false
        return true
      case DELIVERY_MODE.STARTUP:
        this.startupPending = true
        return true
      default:
        return true
    }
  }

  /** The vector that the processor would take now, or -1 (11.8.3: the processor priority). */
  get deliverable(): number {
    const vector = this.irr.highest
    return vector >= 0 && vector >> 4 > this.ppr >> 4 ? vector : -1
  }

  get ppr(): number {
    const inService = Math.max(this.isr.highest, 0)
    return this.tpr >> 4 >= inService >> 4 ? this.tpr : inService & 0xf0
  }

  /** The processor takes `vector`. */
  accept(vector: number): void {
    this.irr.set(vector, false)
    this.isr.set(vector, true)
    if (this.#autoEoi.has(vector)) this.endOfInterrupt()
  }

  endOfInterrupt(): void {
    const vector = this.isr.highest
    if (vector < 0) return
    this.isr.set(vector, false)
    const level = this.tmr.has(vector)
    if (level || this.#eoiNotify.has(vector)) this.#options.endOfInterrupt(vector, level)
  }

  setAutoEoi(vector: number, automatic: boolean): void {
    this.#autoEoi.set(vector, automatic)
  }

  setEoiNotify(vector: number, notify: boolean): void {
    this.#eoiNotify.set(vector, notify)
  }

  /** EOI is required, always: the assist page never says otherwise. */
  setEoiAssist(page: { readonly words: Int32Array } | undefined): void {
    if (page !== undefined) Atomics.and(page.words, 0, ~1)
  }

  /** Physical destinations are APIC ids; logical ones are sets, in the flat model below 256 and in x2APIC's clusters above. */
  #isDestination({ destination, logical }: InterruptMessage): boolean {
    const { apicId } = this.#options
    if (destination === BROADCAST || destination === BROADCAST_X2) return true
    if (!logical) return destination === apicId
    if (destination < 0x1_0000) return apicId < 8 && (destination & (1 << apicId)) !== 0
    return destination >>> 16 === apicId >> 4 && (destination & (1 << (apicId & 15))) !== 0
  }

  // --- registers

  get icr(): bigint {
    return this.#icr
  }

  set icr(value: bigint) {
    this.#icr = value
    const message: InterruptMessage = {
      vector: Number(value & 0xffn),
      deliveryMode: Number((value >> 8n) & 7n) as DeliveryMode,
      destination: Number(value >> 32n),
      logical: (value & ICR.LOGICAL) !== 0n,
      level: (value & ICR.LEVEL) !== 0n,
    }
    const shorthand = Number((value >> 18n) & 3n)
    if (shorthand === SHORTHAND.DESTINATION) this.#options.send(message)
    else if (shorthand === SHORTHAND.SELF)
      this.#options.send({ ...message, destination: this.#options.apicId, logical: false })
    else {
      this.#sendingToOthers = shorthand === SHORTHAND.OTHERS
      try {
        this.#options.send({ ...message, destination: BROADCAST, logical: false })
      } finally {
        this.#sendingToOthers = false
      }
    }
  }

  /** `undefined`: there is no such register. */
  readMsr(index: number): bigint | undefined {
    const { apicId } = this.#options
    switch (index) {
      case MSR.ID:
        return BigInt(apicId)
      case MSR.VERSION:
        return BigInt(VERSION)
      case MSR.TPR:
        return BigInt(this.tpr)
      case MSR.PPR:
        return BigInt(this.ppr)
      case MSR.LDR:
        return BigInt(((apicId >> 4) << 16) | (1 << (apicId & 15)))
      case MSR.ICR:
        return this.#icr
      default:
        return undefined
    }
  }

  /** False: there is no such register, or it cannot hold the value. */
  writeMsr(index: number, value: bigint): boolean {
    switch (index) {
      case MSR.TPR:
        if (value > 0xffn) return false
        this.tpr = Number(value)
        return true
      case MSR.EOI:
        if (value !== 0n) return false
        this.endOfInterrupt()
        return true
      case MSR.ICR:
        this.icr = value
        return true
      case MSR.SELF_IPI:
        if (value > 0xffn) return false
        this.#options.send({
          vector: Number(value),
          deliveryMode: DELIVERY_MODE.FIXED,
          destination: this.#options.apicId,
          logical: false,
          level: false,
        })
        return true
      default:
        return false
    }
  }

  // --- saved state

  save(): { readonly [key: string]: number | bigint | boolean | readonly number[] } {
    return {
      tpr: this.tpr,
      icr: this.#icr,
      nmiPending: this.nmiPending,
      irr: [...this.irr.words],
      isr: [...this.isr.words],
      tmr: [...this.tmr.words],
    }
  }

  restore(state: { readonly [key: string]: unknown }): void {
    this.reset()
    this.tpr = Number(state['tpr']) & 0xff
    this.#icr = BigInt.asUintN(64, state['icr'] as bigint)
    this.nmiPending = state['nmiPending'] === true
    for (const name of ['irr', 'isr', 'tmr'] as const) this[name].words.set(state[name] as readonly number[])
  }
}
