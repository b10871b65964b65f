// The local APIC of one virtual processor, xAPIC and x2APIC (SDM vol. 3, chapter 11).

import {
  type Clock,
  DELIVERY_MODE,
  type DeliveryMode,
  type InterruptMessage,
  type Saveable,
  type SavedState,
} from '@partita/interface'
import { commandMessage, sendsIllegalVector, shorthandOf } from './local-apic/command.ts'
import { isX2ApicDestination, isXApicDestination, logicalX2ApicId } from './local-apic/destination.ts'
import { type AssistPage, EoiAssist } from './local-apic/eoi-assist.ts'
import { Interrupts } from './local-apic/interrupts.ts'
import {
  APIC_BASE,
  APIC_BASE_DEFAULT,
  ESR,
  FIRST_VECTOR,
  ICR,
  ICR_WRITABLE,
  LVT,
  LVT_BIT,
  LVT_COUNT,
  LVT_WRITABLE,
  lvtIndex,
  REGISTER,
  readableInX2Apic,
  SHORTHAND,
  SVR,
  SVR_WRITABLE,
  VERSION,
  writableInX2Apic,
} from './local-apic/registers.ts'
import { invalidState, packState, unpackState } from './local-apic/saved-state.ts'
import { ApicTimer, TIMER_MODE } from './local-apic/timer.ts'
import { VectorSet } from './local-apic/vector-set.ts'

export { APIC_TIMER_FREQUENCY } from './local-apic/timer.ts'

const PAGE = 4096
const FIRST_MSR = 0x800
const LAST_MSR = 0x8ff

export interface LocalApicOptions {
  /** The initial APIC id; its low 8 bits in xAPIC mode. */
  readonly apicId: number
  readonly bootProcessor: boolean
  readonly clock: Clock
  readTsc(): bigint
  /** Hz. */
  readonly tscFrequency: number
  /** An interprocessor interrupt. It is offered to every local APIC before this returns, to the sender's too. */
  send(message: InterruptMessage): void
  /** EOI of a level-triggered vector, for the I/O APICs, or of an edge-triggered one that asked for it. */
  endOfInterrupt(vector: number, level: boolean): void
  /** Something happened that may interrupt the processor or change {@link LocalApic.nextDeadline}. */
  changed(): void
}

/** What the registers' mode is: bits 11 and 10 of IA32_APIC_BASE. */
const MODE = { DISABLED: 0, XAPIC: 2, X2APIC: 3 } as const

export class LocalApic implements Saveable {
  readonly apicId: number
  /** Signals that wait for the processor, which clears them when it takes (or, in its present state, drops) them. */
  nmiPending = false
  initPending = false
  /** Vector of a startup IPI, -1 none. */
  startupVector = -1

  readonly #options: LocalApicOptions
  readonly #timer: ApicTimer
  readonly #interrupts: Interrupts
  readonly #eoiNotify: VectorSet = new VectorSet()
  readonly #assist: EoiAssist = new EoiAssist()
  readonly #lvt: Uint32Array = new Uint32Array(LVT_COUNT)
  #apicBase = 0n
  #mode: number = MODE.DISABLED
  /** GPA of the registers; Infinity when they are not in memory. */
  #page = Number.POSITIVE_INFINITY
  #ldr = 0
  #dfr = 0
  #svr = 0
  #esr = 0
  /** Errors since the last write to ESR. */
  #errors = 0
  #icrLow = 0
  #icrHigh = 0
  /** Levels of LINT0 (bit 0) and LINT1 (bit 1). */
  #pins = 0
  /** An ExtINT message came whose INTA cycle has not run. */
  #extIntPending = false
  /** A message to all but this one is under way. */
  #sendingToOthers = false

  constructor(options: LocalApicOptions) {
    this.#options = options
    this.apicId = options.apicId >>> 0
    this.#interrupts = new Interrupts(() => options.changed())
    this.#timer = new ApicTimer({
      clock: options.clock,
      tscFrequency: options.tscFrequency,
      readTsc: () => options.readTsc(),
      fire: () => this.#raiseLocal(LVT.TIMER),
    })
    this.#reset('power-on')
  }

  // --- IA32_APIC_BASE

  get apicBase(): bigint {
    return this.#apicBase
  }

  /** Returns false for #GP(0): a reserved bit or a transition that is not one of SDM vol. 3, figure 11-27. */
  writeApicBase(value: bigint): boolean {
    if ((value & ~(APIC_BASE.BSP | APIC_BASE.X2APIC | APIC_BASE.ENABLE | APIC_BASE.ADDRESS)) !== 0n) return false
    const mode = Number((value >> 10n) & 3n)
    const before = this.#mode
    if (mode === 1) return false
    if (mode === MODE.XAPIC && before === MODE.X2APIC) return false
    if (mode === MODE.X2APIC && before === MODE.DISABLED) return false
    this.#setBase(value)
    if (mode === before) return true
    if (mode === MODE.DISABLED) this.#resetRegisters()
    else if (mode === MODE.X2APIC) {
      this.#ldr = logicalX2ApicId(this.apicId)
      this.#icrHigh = 0
    }
    this.#options.changed()
    return true
  }

  #setBase(value: bigint): void {
    this.#apicBase = value
    this.#mode = Number((value >> 10n) & 3n)
    this.#page = this.#mode === MODE.XAPIC ? Number(value & APIC_BASE.ADDRESS) : Number.POSITIVE_INFINITY
  }

  // --- registers in memory (xAPIC)

  contains(gpa: number): boolean {
    const offset = gpa - this.#page
    return offset >= 0 && offset < PAGE
  }

  /** Only double words at 16-byte steps are defined (SDM vol. 3, 11.4.1); 0 for everything else. */
  /** The page answers in xAPIC mode alone: in x2APIC mode the registers are MSRs (SDM vol. 3, 11.12.2). */
  readMmio(gpa: number, size: 1 | 2 | 4): number {
    if (this.#mode !== MODE.XAPIC || size !== 4 || (gpa & 15) !== 0) return 0
    const register = (gpa & 0xfff) >>> 4
    const value = register === REGISTER.SELF_IPI ? -1 : this.#read(register)
    if (value >= 0) return value
    this.#error(ESR.ILLEGAL_REGISTER)
    return 0
  }

  writeMmio(gpa: number, size: 1 | 2 | 4, value: number): void {
    if (this.#mode !== MODE.XAPIC || size !== 4 || (gpa & 15) !== 0) return
    const register = (gpa & 0xfff) >>> 4
    if (!this.#write(register, value >>> 0) && (register === REGISTER.SELF_IPI || this.#read(register) < 0)) {
      this.#error(ESR.ILLEGAL_REGISTER)
    }
  }

  // --- registers as MSRs (x2APIC; SDM vol. 3, 11.12.1)

  readMsr(index: number): bigint | undefined {
    if (this.#mode !== MODE.X2APIC || index < FIRST_MSR || index > LAST_MSR) return undefined
    const register = index - FIRST_MSR
    if (!readableInX2Apic(register)) return undefined
    const value = this.#read(register)
    if (value < 0) return undefined
    return register === REGISTER.ICR_LOW ? (BigInt(this.#icrHigh) << 32n) | BigInt(value) : BigInt(value)
  }

  writeMsr(index: number, value: bigint): boolean {
    if (this.#mode !== MODE.X2APIC || index < FIRST_MSR || index > LAST_MSR) return false
    const register = index - FIRST_MSR
    let low: number
    let high = 0
    if (register === REGISTER.ICR_LOW) {
      low = Number(value & 0xffff_ffffn)
      high = Number(value >> 32n)
    } else {
      if (value > 0xffff_ffffn) return false
      low = Number(value)
    }
    if (!writableInX2Apic(register, low)) return false
    const lvt = lvtIndex(register)
    if (lvt === LVT.TIMER && timerMode(low) === TIMER_MODE.RESERVED) return false
    if (register === REGISTER.ICR_LOW) this.#icrHigh = high
    // Self IPI is ICR with the shorthand for self, and does not change it (SDM vol. 3, 11.12.11).
    if (register === REGISTER.SELF_IPI) this.#sendCommand(low | (SHORTHAND.SELF << ICR.SHORTHAND_SHIFT))
    else this.#write(register, low)
    return true
  }

  // --- registers

  /** An unsigned value, or -1 when there is no such register. */
  #read(register: number): number {
    const lvt = lvtIndex(register)
    if (lvt >= 0) return this.#lvt[lvt]
    if (register >= REGISTER.ISR && register < REGISTER.ESR) {
      this.#settle()
      const { isr, tmr, irr } = this.#interrupts
      const set = register < REGISTER.TMR ? isr : register < REGISTER.IRR ? tmr : irr
      return set.words[register & 7]
    }
    switch (register) {
      case REGISTER.ID:
        return this.#mode === MODE.X2APIC ? this.apicId : (this.apicId << 24) >>> 0
      case REGISTER.VERSION:
        return VERSION
      case REGISTER.TPR:
        return this.#interrupts.tpr
      case REGISTER.APR:
        this.#settle()
        return this.#interrupts.apr
      case REGISTER.PPR:
        this.#settle()
        return this.#interrupts.ppr
      case REGISTER.EOI:
      case REGISTER.RRD:
        return 0
      case REGISTER.LDR:
        return this.#ldr
      case REGISTER.DFR:
        return this.#dfr
      case REGISTER.SVR:
        return this.#svr
      case REGISTER.ESR:
        return this.#esr
      case REGISTER.ICR_LOW:
        return this.#icrLow
      case REGISTER.ICR_HIGH:
        return this.#icrHigh
      case REGISTER.INITIAL_COUNT:
        return this.#timer.initialCount
      case REGISTER.CURRENT_COUNT:
        this.#timer.check()
        return this.#timer.currentCount()
      case REGISTER.DIVIDE_CONFIGURATION:
        return this.#timer.divideConfiguration
      default:
        return -1
    }
  }

  /** Returns false, with nothing done, for a register that is not writable. */
  #write(register: number, value: number): boolean {
    const lvt = lvtIndex(register)
    if (lvt >= 0) {
      this.#writeLvt(lvt, value)
      return true
    }
    switch (register) {
      case REGISTER.TPR:
        this.#interrupts.tpr = value & 0xff
        return true
      case REGISTER.EOI:
        this.endOfInterrupt()
        return true
      case REGISTER.LDR:
        this.#ldr = (value & 0xff00_0000) >>> 0
        return true
      case REGISTER.DFR:
        this.#dfr = (value | 0x0fff_ffff) >>> 0
        return true
      case REGISTER.SVR:
        this.#writeSvr(value)
        return true
      case REGISTER.ESR:
        this.#esr = this.#errors
        this.#errors = 0
        return true
      case REGISTER.ICR_LOW:
        this.#icrLow = value & ICR_WRITABLE
        this.#sendCommand(this.#icrLow)
        return true
      case REGISTER.ICR_HIGH:
        this.#icrHigh = (value & 0xff00_0000) >>> 0
        return true
      case REGISTER.INITIAL_COUNT:
        this.#timer.check()
        this.#timer.setInitialCount(value)
        this.#options.changed()
        return true
      case REGISTER.DIVIDE_CONFIGURATION:
        this.#timer.check()
        this.#timer.setDivideConfiguration(value)
        this.#options.changed()
        return true
      default:
        return false
    }
  }

  #softwareEnabled(): boolean {
    return (this.#svr & SVR.ENABLE) !== 0
  }

  #writeSvr(value: number): void {
    // What ended before this is let through.
    this.#timer.check()
    this.#svr = value & SVR_WRITABLE
    if (this.#softwareEnabled()) return
    for (let i = 0; i < LVT_COUNT; i++) this.#lvt[i] |= LVT_BIT.MASK
    this.#options.changed()
  }

  #writeLvt(index: number, value: number): void {
    if (index === LVT.TIMER) this.#timer.check()
    const status = this.#lvt[index] & LVT_BIT.REMOTE_IRR
    const mask = this.#softwareEnabled() ? 0 : LVT_BIT.MASK
    this.#lvt[index] = (value & LVT_WRITABLE[index]) | status | mask
    if (index === LVT.TIMER) this.#timer.setMode(timerMode(value))
    if (index === LVT.LINT0 || index === LVT.LINT1) {
      if ((value & LVT_BIT.LEVEL) === 0) this.#lvt[index] &= ~LVT_BIT.REMOTE_IRR
      this.#raiseLevel(index)
    }
    this.#options.changed()
  }

  // --- priorities (SDM vol. 3, 11.8.3)

  /** TPR bits 7–4, which are CR8. */
  get taskPriority(): number {
    return this.#interrupts.tpr >>> 4
  }

  set taskPriority(value: number) {
    this.#interrupts.tpr = (value & 15) << 4
  }

  /** Highest pending vector that PPR lets through, or -1. */
  pendingVector(): number {
    return this.#interrupts.pending
  }

  /** Take the pending vector into service and return it. The spurious vector when none is pending (any more). */
  acknowledge(): number {
    if (this.#interrupts.pending < 0) return this.#svr & SVR.VECTOR
    const vector = this.#interrupts.acknowledge()
    const { irr, isr, tmr } = this.#interrupts
    if (irr.highest < 0 && isr.highest === vector && !tmr.has(vector) && !this.#eoiNotify.has(vector))
      this.#assist.offer()
    return vector
  }

  /**
   * EOI is required from now on; when the guest has ended the interrupt in service by the assist page, that is done here. Before anything that the in-service
   * interrupts have a part in.
   */
  #settle(): void {
    if (this.#assist.takeBack()) this.#interrupts.end()
  }

  /** EOI, from whichever register: the highest vector in service ends. */
  endOfInterrupt(): void {
    this.#settle()
    const vector = this.#interrupts.end()
    if (vector < 0) return
    if (!this.#interrupts.tmr.has(vector)) {
      if (this.#eoiNotify.has(vector)) this.#options.endOfInterrupt(vector, false)
      return
    }
    this.#endLevel(LVT.LINT0, vector)
    this.#endLevel(LVT.LINT1, vector)
    if ((this.#svr & SVR.SUPPRESS_EOI_BROADCAST) === 0 || this.#eoiNotify.has(vector))
      this.#options.endOfInterrupt(vector, true)
  }

  // --- what the synthetic interrupt controller adds (TLFS, "Virtual Interrupt Controller"); resets leave it alone, since it is not the APIC's state

  /** Interrupts of `vector` do not go into service: they end with their delivery. */
  setAutoEoi(vector: number, automatic: boolean): void {
    this.#interrupts.setAutoEoi(vector, automatic)
  }

  /** Report the EOI of `vector` when it is edge-triggered, too. */
  setEoiNotify(vector: number, notify: boolean): void {
    if (!notify) {
      this.#eoiNotify.remove(vector)
      return
    }
    this.#eoiNotify.add(vector)
    if (this.#assist.offered && this.#interrupts.isr.highest === vector) this.#settle()
  }

  /** The page in which the guest sees whether it must say EOI, or none. */
  setEoiAssist(page: AssistPage | undefined): void {
    this.#settle()
    this.#assist.place(page)
  }

  /** ICR, its high half in bits 63–32. */
  get icr(): bigint {
    return (BigInt(this.#icrHigh) << 32n) | BigInt(this.#icrLow)
  }

  set icr(value: bigint) {
    const high = Number((value >> 32n) & 0xffff_ffffn)
    this.#icrHigh = this.#mode === MODE.X2APIC ? high : (high & 0xff00_0000) >>> 0
    this.#icrLow = Number(value & BigInt(ICR_WRITABLE))
    this.#sendCommand(this.#icrLow)
  }

  /** TPR, 8 bits. */
  get tpr(): number {
    return this.#interrupts.tpr
  }

  set tpr(value: number) {
    this.#interrupts.tpr = value & 0xff
  }

  // --- local interrupts (SDM vol. 3, 11.5)

  /** Record an error. LVT error interrupts for the first one after a write to ESR. */
  #error(bit: number): void {
    const first = this.#errors === 0
    this.#errors |= bit
    if (first) this.#raiseLocal(LVT.ERROR)
  }

  /** A local source asks for its interrupt. */
  #raiseLocal(index: number): void {
    const entry = this.#lvt[index]
    if ((entry & LVT_BIT.MASK) !== 0) return
    const mode = ((entry & LVT_BIT.DELIVERY_MODE) >>> LVT_BIT.DELIVERY_MODE_SHIFT) as DeliveryMode
    switch (mode) {
      case DELIVERY_MODE.FIXED: {
        const level = (entry & LVT_BIT.LEVEL) !== 0
        const vector = entry & LVT_BIT.VECTOR
        if (level && vector >= FIRST_VECTOR) this.#lvt[index] |= LVT_BIT.REMOTE_IRR
        this.#accept(vector, level)
        return
      }
      case DELIVERY_MODE.NMI:
      case DELIVERY_MODE.INIT:
        this.#take(mode, 0, false)
        return
      default:
        // ExtINT: see acceptsExternal(). There is no system management mode.
        return
    }
  }

  /** A level-sensitive pin that is asserted asks again, unless it waits for an EOI. */
  #raiseLevel(index: number): void {
    if ((this.#pins & (1 << (index - LVT.LINT0))) === 0) return
    const entry = this.#lvt[index]
    if ((entry & (LVT_BIT.LEVEL | LVT_BIT.REMOTE_IRR | LVT_BIT.DELIVERY_MODE)) === LVT_BIT.LEVEL)
      this.#raiseLocal(index)
  }

  #endLevel(index: number, vector: number): void {
    const entry = this.#lvt[index]
    if ((entry & LVT_BIT.REMOTE_IRR) === 0 || (entry & LVT_BIT.VECTOR) !== vector) return
    this.#lvt[index] = entry & ~LVT_BIT.REMOTE_IRR
    this.#raiseLevel(index)
  }

  /** The LINT0 pin, to which the 8259A's INTR is wired. */
  setLint0(asserted: boolean): void {
    this.#setPin(LVT.LINT0, asserted)
  }

  /** The LINT1 pin, by custom the NMI. */
  setLint1(asserted: boolean): void {
    this.#setPin(LVT.LINT1, asserted)
  }

  #setPin(index: number, asserted: boolean): void {
    const bit = 1 << (index - LVT.LINT0)
    if (((this.#pins & bit) !== 0) === asserted) return
    this.#pins ^= bit
    if (!asserted) return
    if (this.#mode === MODE.DISABLED) {
      // Then LINT0 is INTR and LINT1 is NMI (SDM vol. 3, 11.4.3).
      if (index === LVT.LINT1) this.#take(DELIVERY_MODE.NMI, 0, false)
      return
    }
    const entry = this.#lvt[index]
    if ((entry & (LVT_BIT.LEVEL | LVT_BIT.DELIVERY_MODE)) === LVT_BIT.LEVEL) this.#raiseLevel(index)
    else this.#raiseLocal(index)
  }

  /** Whether INTR of the 8259A pair is let through. */
  acceptsExternal(): boolean {
    if (this.#mode === MODE.DISABLED || this.#extIntPending) return true
    return (
      (this.#lvt[LVT.LINT0] & (LVT_BIT.MASK | LVT_BIT.DELIVERY_MODE)) ===
      DELIVERY_MODE.EXT_INT << LVT_BIT.DELIVERY_MODE_SHIFT
    )
  }

  /** The processor ran an interrupt acknowledge cycle: an ExtINT message is used up. */
  externalAcknowledged(): void {
    this.#extIntPending = false
  }

  // --- timer

  /** Fire the timer if it is due. */
  checkTimer(): void {
    this.#timer.check()
  }

  /** Reference time (nanoseconds) of the timer's next interrupt; Infinity when there is none to come. */
  get nextDeadline(): number {
    return (this.#lvt[LVT.TIMER] & LVT_BIT.MASK) === 0 ? this.#timer.deadline : Number.POSITIVE_INFINITY
  }

  /** IA32_TSC_DEADLINE: 0 when it is not armed, or in another timer mode. */
  readTscDeadline(): bigint {
    this.#timer.check()
    return this.#timer.tscDeadline
  }

  writeTscDeadline(value: bigint): void {
    this.#timer.check()
    this.#timer.setTscDeadline(value)
    this.#timer.check()
    this.#options.changed()
  }

  /** The guest set its TSC (IA32_TIME_STAMP_COUNTER, IA32_TSC_ADJUST): a TSC deadline is nearer or farther now. */
  tscChanged(): void {
    this.#timer.tscChanged()
    this.#timer.check()
    this.#options.changed()
  }

  // --- messages

  /** Send what a low half of ICR, with the high half that is there, says. */
  #sendCommand(low: number): void {
    const shorthand = shorthandOf(low)
    if (sendsIllegalVector(low)) {
      // A message to itself is also a received one (SDM vol. 3, 11.5.3).
      this.#error(ESR.SEND_ILLEGAL_VECTOR | (shorthand === SHORTHAND.SELF ? ESR.RECEIVE_ILLEGAL_VECTOR : 0))
      return
    }
    const message = commandMessage(low, this.#icrHigh, this.#mode === MODE.X2APIC)
    if (message === undefined) return
    if (shorthand === SHORTHAND.SELF) {
      this.#take(message.deliveryMode, message.vector, false)
      return
    }
    this.#sendingToOthers = shorthand === SHORTHAND.OTHERS
    try {
      this.#options.send(message)
    } finally {
      this.#sendingToOthers = false
    }
  }

  /** Take a message if this is one of its destinations; whether it was taken. */
  receive(message: InterruptMessage): boolean {
    if (this.#mode === MODE.DISABLED || this.#sendingToOthers || !this.#isDestination(message)) return false
    return this.#take(message.deliveryMode, message.vector & 0xff, message.level)
  }

  #isDestination(message: InterruptMessage): boolean {
    return this.#mode === MODE.X2APIC
      ? isX2ApicDestination(message, this.apicId)
      : isXApicDestination(message, this.apicId, this.#ldr, this.#dfr)
  }

  #take(mode: DeliveryMode, vector: number, level: boolean): boolean {
    switch (mode) {
      case DELIVERY_MODE.FIXED:
      case DELIVERY_MODE.LOWEST_PRIORITY:
        return this.#accept(vector, level)
      case DELIVERY_MODE.NMI:
        this.nmiPending = true
        break
      case DELIVERY_MODE.INIT:
        this.initPending = true
        // A startup IPI before the INIT is not the one that the processor will wait for.
        this.startupVector = -1
        break
      case DELIVERY_MODE.STARTUP:
        this.startupVector = vector
        break
      case DELIVERY_MODE.EXT_INT:
        this.#extIntPending = true
        break
      default:
        return false
    }
    this.#options.changed()
    return true
  }

  /** Put a vector into IRR. A local APIC that software disabled takes none. */
  #accept(vector: number, level: boolean): boolean {
    if (!this.#softwareEnabled()) return false
    if (vector < FIRST_VECTOR) {
      this.#error(ESR.RECEIVE_ILLEGAL_VECTOR)
      return true
    }
    this.#settle()
    this.#interrupts.request(vector, level)
    return true
  }

  // --- reset and saved state

  /**
   * Power-on or INIT (SDM vol. 3, 11.4.7 and 11.12.5.1). INIT keeps the mode, and a startup IPI that came after it. After power-on the boot
   * processor's is in virtual wire mode (MultiProcessor Specification 1.4, 3.6.2.2), since no firmware runs here that would put it there.
   */
  reset(kind: 'power-on' | 'init'): void {
    this.#reset(kind)
    this.#options.changed()
  }

  #reset(kind: 'power-on' | 'init'): void {
    if (kind === 'power-on') {
      this.#setBase(APIC_BASE_DEFAULT | APIC_BASE.ENABLE | (this.#options.bootProcessor ? APIC_BASE.BSP : 0n))
      this.startupVector = -1
    }
    this.nmiPending = false
    this.initPending = false
    this.#resetRegisters()
    if (kind === 'power-on' && this.#options.bootProcessor) {
      this.#svr = SVR.VECTOR | SVR.ENABLE
      this.#lvt[LVT.LINT0] = DELIVERY_MODE.EXT_INT << LVT_BIT.DELIVERY_MODE_SHIFT
      this.#lvt[LVT.LINT1] = DELIVERY_MODE.NMI << LVT_BIT.DELIVERY_MODE_SHIFT
    }
  }

  #resetRegisters(): void {
    this.#esr = this.#errors = this.#icrLow = this.#icrHigh = 0
    this.#ldr = this.#mode === MODE.X2APIC ? logicalX2ApicId(this.apicId) : 0
    this.#dfr = 0xffff_ffff
    this.#svr = SVR.VECTOR
    this.#lvt.fill(LVT_BIT.MASK)
    this.#assist.takeBack()
    this.#interrupts.reset()
    this.#timer.reset()
    this.#extIntPending = false
  }

  save(): SavedState {
    this.#settle()
    const { deadline } = this.#timer
    const { isr, tmr, irr, tpr } = this.#interrupts
    return packState({
      apicId: this.apicId,
      apicBase: this.#apicBase,
      tpr,
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      esr: this.#esr,
      errors: this.#errors,
      icrLow: this.#icrLow,
      icrHigh: this.#icrHigh,
      lvt: [...this.#lvt],
      isr: [...isr.words],
      tmr: [...tmr.words],
      irr: [...irr.words],
      divideConfiguration: this.#timer.divideConfiguration,
      initialCount: this.#timer.initialCount,
      tscDeadline: this.#timer.tscDeadline,
      timerEnd: deadline === Number.POSITIVE_INFINITY ? null : deadline,
      pins: this.#pins,
      extIntPending: this.#extIntPending,
      nmiPending: this.nmiPending,
      initPending: this.initPending,
      startupVector: this.startupVector,
    })
  }

  /** @throws ProcessorError `ERR_STATE_INVALID` with nothing changed */
  restore(saved: SavedState): void {
    const state = unpackState(saved)
    if (state.apicId !== this.apicId) invalidState('apicId')
    const base = state.apicBase
    const mode = Number((base >> 10n) & 3n)
    if (mode === 1 || (base & ~(APIC_BASE.BSP | APIC_BASE.X2APIC | APIC_BASE.ENABLE | APIC_BASE.ADDRESS)) !== 0n)
      invalidState('apicBase')
    const timer = timerMode(state.lvt[LVT.TIMER])
    const armed = timer === TIMER_MODE.TSC_DEADLINE ? state.tscDeadline !== 0n : state.initialCount !== 0
    if (state.timerEnd !== null && !armed) invalidState('timerEnd')

    this.#assist.takeBack()
    this.#setBase(base)
    this.#ldr = mode === MODE.X2APIC ? logicalX2ApicId(this.apicId) : (state.ldr & 0xff00_0000) >>> 0
    this.#dfr = (state.dfr | 0x0fff_ffff) >>> 0
    this.#svr = state.svr & SVR_WRITABLE
    this.#esr = state.esr & 0xff
    this.#errors = state.errors & 0xff
    this.#icrLow = state.icrLow & ICR_WRITABLE
    this.#icrHigh = state.icrHigh
    const mask = this.#softwareEnabled() ? 0 : LVT_BIT.MASK
    for (let i = 0; i < LVT_COUNT; i++) {
      const pin = i === LVT.LINT0 || i === LVT.LINT1
      this.#lvt[i] = (state.lvt[i] & (LVT_WRITABLE[i] | (pin ? LVT_BIT.REMOTE_IRR : 0))) | mask
    }
    this.#interrupts.restore(state.isr, state.tmr, state.irr, state.tpr & 0xff)
    const end = state.timerEnd ?? Number.POSITIVE_INFINITY
    this.#timer.restore(timer, state.divideConfiguration, state.initialCount, state.tscDeadline, end)
    this.#pins = state.pins & 3
    this.#extIntPending = state.extIntPending
    this.nmiPending = state.nmiPending
    this.initPending = state.initPending
    this.startupVector = state.startupVector
    this.#options.changed()
  }
}

function timerMode(entry: number): number {
  return (entry & LVT_BIT.TIMER_MODE) >>> LVT_BIT.TIMER_MODE_SHIFT
}
