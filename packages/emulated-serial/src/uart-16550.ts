// The National Semiconductor 16550A UART (data sheet PC16550D) between a guest's ports and a character back end.
//
// A character that the guest sends is out at once, without the time of a real line. Output is collected and handed to the back end between
// two slices of the processor. While the back end holds back, THRE stays clear, and what the guest sends in spite of that waits in a bounded backlog: a wire
// would have carried it, so that the guest cannot clear it with its FIFO. Input is pulled from the back end when the
// guest consumes it: the receiver's interrupt is enabled and reaches the processor, or it polls the line status. What a program pipes into a machine that still boots is so
// kept for the system that will read it. Input has the speed of a real line, and stops while a driver that had raised RTS has dropped it.

import type {
  AccessSize,
  CharacterBackend,
  Clock,
  InterruptLine,
  PortHandler,
  SavedState,
  Timer,
} from '@partita/interface'
import * as v from 'valibot'
import { Backlog } from './backlog.ts'
import { FIFO_SIZE, Fifo } from './fifo.ts'
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, REGISTER, TRIGGER_LEVELS } from './registers.ts'
import { stateSchema } from './saved-state.ts'
import { SerialError } from './serial-error.ts'

/** How many bytes of output wait for the end of the slice. */
const OUTPUT_BUFFER = 4096
/** Bytes that a back end gets although it holds back, when the machine stops: enough for the last words of many resets, and a bound for a guest that goes on resetting. */
const OVERDRAFT = 0x100000
/** A guest that reads the line status so often, and does nothing else, polls for input. */
const POLLS_FOR_INPUT = 8
/** The other end of the cable: a modem that is ready. */
const CONNECTED: number = MSR.CTS | MSR.DSR | MSR.DCD

/** What a {@link Uart16550} is wired to. */
export interface Uart16550Wiring {
  /** The interrupt wire (ISA interrupt 4 for COM1), which OUT2 of MCR gates. */
  readonly line: InterruptLine
  /** What the receiver's time-out and {@link Uart16550Wiring.inputRate} are counted by. */
  readonly clock: Clock
  /** Without one, output is dropped and there is no input. */
  readonly backend: CharacterBackend | undefined
  /** Characters a second at which input comes; 0 is as fast as the guest reads. */
  readonly inputRate: number
}

/** A UART. The handler of its eight ports. */
export class Uart16550 implements PortHandler {
  readonly #line: InterruptLine
  readonly #clock: Clock
  readonly #backend: CharacterBackend | undefined
  /** Nanoseconds a character takes on the line, 0 for no time. */
  readonly #characterTime: number
  readonly #receiver: Fifo = new Fifo()
  /** Sent while the back end held back. */
  readonly #backlog: Backlog = new Backlog()
  readonly #output: Uint8Array = new Uint8Array(OUTPUT_BUFFER)
  readonly #input: Uint8Array = new Uint8Array(FIFO_SIZE)
  /** Views of the first 0–16 bytes of the input buffer, so that pulling allocates nothing. */
  readonly #inputViews: readonly Uint8Array[]
  readonly #outputTimer: Timer
  readonly #inputTimer: Timer
  readonly #timeOutTimer: Timer
  #outputLength = 0
  /** The back end wants no more for now. */
  #heldBack = false
  /** Bytes that the back end was given since it holds back. */
  #overdrawn = 0
  #divisor = 0
  #ier = 0
  #fcr = 0
  #lcr = 0
  #mcr = 0
  /** Error bits only; the others are computed. */
  #errors = 0
  #msr = 0
  #scr = 0
  #thrEmptyPending = false
  #timeOutPending = false
  /** The guest has dropped RTS, and takes no input for now. */
  #inputStopped = false
  /** Reference time at which the line has room for the next input. */
  #nextInput = 0
  /** Reads of the line status without anything else in between. */
  #polls = 0

  constructor(wiring: Uart16550Wiring) {
    this.#line = wiring.line
    this.#clock = wiring.clock
    this.#backend = wiring.backend
    this.#characterTime = wiring.inputRate === 0 ? 0 : 1e9 / wiring.inputRate
    this.#inputViews = Array.from({ length: FIFO_SIZE + 1 }, (_, length) => this.#input.subarray(0, length))
    this.#outputTimer = wiring.clock.createTimer(() => this.flush())
    this.#inputTimer = wiring.clock.createTimer(() => {
      if (!this.#inputStopped) this.#pull()
    })
    this.#timeOutTimer = wiring.clock.createTimer(() => this.#timeOut())
    if (this.#backend !== undefined) this.#backend.onReady = () => this.#ready()
    this.reset()
  }

  // ── the guest's side ──

  read(offset: number, size: AccessSize): number {
    if (size === 1) return this.#readByte(offset)
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size === 1) this.#writeByte(offset, value & 0xff)
    else for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #readByte(offset: number): number {
    if (offset === REGISTER.LSR) return this.#readLineStatus()
    this.#polls = 0
    switch (offset) {
      case REGISTER.RBR:
        return (this.#lcr & LCR.DLAB) !== 0 ? this.#divisor & 0xff : this.#receive()
      case REGISTER.IER:
        return (this.#lcr & LCR.DLAB) !== 0 ? this.#divisor >> 8 : this.#ier
      case REGISTER.IIR:
        return this.#readIdentification()
      case REGISTER.LCR:
        return this.#lcr
      case REGISTER.MCR:
        return this.#mcr
      case REGISTER.MSR: {
        const value = this.#msr
        this.#msr &= ~MSR.DELTAS
        this.#updateInterrupt()
        return value
      }
      default:
        return this.#scr
    }
  }

  #writeByte(offset: number, value: number): void {
    this.#polls = 0
    switch (offset) {
      case REGISTER.THR:
        if ((this.#lcr & LCR.DLAB) !== 0) this.#divisor = (this.#divisor & 0xff00) | value
        else this.#transmit(value)
        break
      case REGISTER.IER:
        if ((this.#lcr & LCR.DLAB) !== 0) this.#divisor = (this.#divisor & 0xff) | (value << 8)
        else this.#writeInterruptEnable(value)
        break
      case REGISTER.FCR:
        this.#writeFifoControl(value)
        break
      case REGISTER.LCR:
        this.#lcr = value
        break
      case REGISTER.MCR:
        this.#followRts(value)
        this.#mcr = value & MCR.BITS
        if (this.#listening) this.#pull()
        this.#updateModemStatus()
        break
      case REGISTER.SCR:
        this.#scr = value
        break
      // LSR and MSR are read-only (writing the LSR is for factory testing).
    }
  }

  /**
   * Flow control by RTS, as Linux has it with `crtscts`. Only a driver that took input by interrupts while RTS was raised stops it: many simple ones never
   * raise RTS.
   */
  #followRts(mcr: number): void {
    if ((mcr & (MCR.RTS | MCR.OUT2)) !== MCR.OUT2) this.#inputStopped = false
    else if (this.#listening && (this.#mcr & MCR.RTS) !== 0) this.#inputStopped = true
  }

  get #fifosOn(): boolean {
    return (this.#fcr & FCR.ENABLE) !== 0
  }

  /** Bytes that the receiver holds: a FIFO, or the one holding register. */
  get #receiverSize(): number {
    return this.#fifosOn ? FIFO_SIZE : 1
  }

  get #triggerLevel(): number {
    return this.#fifosOn ? (TRIGGER_LEVELS[this.#fcr >> FCR.TRIGGER_SHIFT] ?? 1) : 1
  }

  /**
   * Whether the receiver's interrupt would reach the processor, and the guest wants input. A driver that looks for UARTs enables it for a moment without OUT2, and drops what it
   * finds: Linux would lose the first characters of piped input so.
   */
  get #listening(): boolean {
    const { OUT2, LOOP } = MCR
    return !this.#inputStopped && (this.#ier & IER.ERBFI) !== 0 && (this.#mcr & (OUT2 | LOOP)) === OUT2
  }

  get #transmitterEmpty(): boolean {
    return !this.#heldBack
  }

  #readLineStatus(): number {
    // A guest that waits for input without interrupts reads this register and nothing else. One that waits for the transmitter sees it empty at
    // the first look, so that it never reads as often.
    if (this.#polls < POLLS_FOR_INPUT) this.#polls++
    else if (this.#receiver.length === 0 && this.#transmitterEmpty) this.#pull()
    const value =
      this.#errors | (this.#receiver.length > 0 ? LSR.DR : 0) | (this.#transmitterEmpty ? LSR.THRE | LSR.TEMT : 0)
    if (this.#errors !== 0) {
      this.#errors = 0
      this.#updateInterrupt()
    }
    return value
  }

  #readIdentification(): number {
    const source = this.#interruptSource()
    // Reading it as the source takes the transmitter's interrupt back (data sheet, table IV).
    if (source === IIR.THR_EMPTY) {
      this.#thrEmptyPending = false
      this.#updateInterrupt()
    }
    return source | (this.#fifosOn ? IIR.FIFOS : 0)
  }

  /** The pending and enabled interrupt with the highest priority (data sheet, table IV). */
  #interruptSource(): number {
    const ier = this.#ier
    if ((ier & IER.ELSI) !== 0 && this.#errors !== 0) return IIR.LINE_STATUS
    if ((ier & IER.ERBFI) !== 0) {
      if (this.#receiver.length >= this.#triggerLevel) return IIR.RECEIVED
      if (this.#timeOutPending) return IIR.TIME_OUT
    }
    if ((ier & IER.ETBEI) !== 0 && this.#thrEmptyPending) return IIR.THR_EMPTY
    if ((ier & IER.EDSSI) !== 0 && (this.#msr & MSR.DELTAS) !== 0) return IIR.MODEM_STATUS
    return IIR.NONE
  }

  /** On a PC, OUT2 gates the interrupt; in loopback mode the OUT2 pin is inactive. */
  #updateInterrupt(): void {
    this.#line.set(this.#interruptSource() !== IIR.NONE && (this.#mcr & (MCR.OUT2 | MCR.LOOP)) === MCR.OUT2)
  }

  #writeInterruptEnable(value: number): void {
    const enabled = value & ~this.#ier
    this.#ier = value & 0x0f
    // Enabling the transmitter's interrupt while it is empty raises it. Drivers test for UARTs that do not.
    if ((enabled & IER.ETBEI) !== 0 && this.#transmitterEmpty) this.#thrEmptyPending = true
    if ((enabled & IER.ERBFI) !== 0 && this.#listening) this.#pull()
    this.#updateInterrupt()
  }

  #writeFifoControl(value: number): void {
    const switched = ((value ^ this.#fcr) & FCR.ENABLE) !== 0
    // What is in the one holding register is in no FIFO yet: it stays when the FIFOs are switched on. Linux does that after it has enabled the
    // receiver's interrupt, and would lose a character.
    if ((switched && this.#fifosOn) || (value & FCR.CLEAR_RECEIVER) !== 0) {
      this.#receiver.clear()
      this.#endTimeOut()
    }
    if (switched || (value & FCR.CLEAR_TRANSMITTER) !== 0) {
      if (this.#transmitterEmpty) this.#thrEmptyPending = true
    }
    // Other bits are taken only together with the enable bit.
    this.#fcr = (value & FCR.ENABLE) !== 0 ? value & 0xc9 : 0
    this.#updateInterrupt()
  }

  #updateModemStatus(): void {
    let lines = this.#backend === undefined ? 0 : CONNECTED
    if ((this.#mcr & MCR.LOOP) !== 0) {
      lines =
        ((this.#mcr & MCR.RTS) !== 0 ? MSR.CTS : 0) |
        ((this.#mcr & MCR.DTR) !== 0 ? MSR.DSR : 0) |
        ((this.#mcr & MCR.OUT1) !== 0 ? MSR.RI : 0) |
        ((this.#mcr & MCR.OUT2) !== 0 ? MSR.DCD : 0)
    }
    const changed = lines ^ this.#msr
    let deltas = this.#msr & MSR.DELTAS
    if ((changed & MSR.CTS) !== 0) deltas |= MSR.DCTS
    if ((changed & MSR.DSR) !== 0) deltas |= MSR.DDSR
    // The ring indicator's delta is its trailing edge.
    if ((changed & MSR.RI) !== 0 && (lines & MSR.RI) === 0) deltas |= MSR.TERI
    if ((changed & MSR.DCD) !== 0) deltas |= MSR.DDCD
    this.#msr = lines | deltas
    this.#updateInterrupt()
  }

  // ── output ──

  #transmit(value: number): void {
    this.#thrEmptyPending = false
    if ((this.#mcr & MCR.LOOP) !== 0) {
      this.#arrive(value)
      this.#thrEmptyPending = true
    } else if (this.#heldBack) {
      this.#backlog.push(value)
    } else {
      this.#send(value)
      this.#thrEmptyPending = this.#transmitterEmpty
    }
    this.#updateInterrupt()
  }

  #send(value: number): void {
    if (this.#backend === undefined) return
    this.#output[this.#outputLength++] = value
    if (this.#outputLength === OUTPUT_BUFFER) this.flush()
    else if (this.#outputLength === 1) this.#outputTimer.arm(this.#clock.now())
  }

  /** Hand what has been collected to the back end. */
  flush(): void {
    if (this.#outputLength === 0 || this.#backend === undefined) return
    // A copy: the back end may keep it while the guest goes on.
    const data = this.#output.slice(0, this.#outputLength)
    this.#outputLength = 0
    this.#outputTimer.cancel()
    if (!this.#backend.write(data)) this.#holdBack()
  }

  /** {@link flush}, for a machine that stops: then what waits for a back end that holds back goes to it too. */
  stop(): void {
    this.flush()
    while (this.#backlog.length > 0 && this.#overdrawn < OVERDRAFT) this.#overdraw()
  }

  #overdraw(): void {
    const data = this.#backlog.take(OUTPUT_BUFFER)
    this.#overdrawn += data.length
    this.#backend?.write(data)
  }

  #holdBack(): void {
    this.#heldBack = true
    this.#overdrawn = 0
    this.#thrEmptyPending = false
    this.#updateInterrupt()
  }

  /** Send what has waited, as long as the back end wants it. */
  #catchUp(): void {
    while (!this.#heldBack && this.#backlog.length > 0) {
      if (this.#backend?.write(this.#backlog.take(OUTPUT_BUFFER)) === false) this.#holdBack()
    }
  }

  /** The back end has input, or room. */
  #ready(): void {
    if (this.#heldBack) {
      this.#heldBack = false
      this.#catchUp()
      if (this.#transmitterEmpty) this.#thrEmptyPending = true
      this.#updateInterrupt()
    }
    if (this.#listening) this.#pull()
  }

  // ── input ──

  /** Take what the line would have brought by now, if there is room for it. */
  #pull(): void {
    if (this.#backend === undefined || (this.#mcr & MCR.LOOP) !== 0) return
    const room = this.#receiverSize - this.#receiver.length
    if (room <= 0) return
    const now = this.#clock.now()
    if (now < this.#nextInput) {
      this.#inputTimer.arm(this.#nextInput)
      return
    }
    const target = this.#inputViews[room] ?? this.#input
    const count = this.#backend.read(target)
    if (count === 0) return
    for (let i = 0; i < count; i++) this.#receiver.push(target[i] ?? 0)
    this.#nextInput = now + Math.ceil(count * this.#characterTime)
    if (this.#characterTime > 0) this.#inputTimer.arm(this.#nextInput)
    this.#startTimeOut()
    this.#updateInterrupt()
  }

  /** A character from the transmitter in loopback mode. */
  #arrive(value: number): void {
    if (this.#receiver.length >= this.#receiverSize) {
      this.#errors |= LSR.OE
      // Without FIFOs the new character replaces the old one.
      if (this.#fifosOn) return
      this.#receiver.clear()
    }
    this.#receiver.push(value)
    this.#startTimeOut()
  }

  #receive(): number {
    const value = this.#receiver.shift()
    this.#endTimeOut()
    if (this.#receiver.length === 0) {
      // Only a guest that reads is given more.
      if (this.#listening) this.#pull()
    }
    this.#startTimeOut()
    this.#updateInterrupt()
    return value
  }

  /** Fewer bytes than the trigger level, and nothing for four character times: the time-out interrupt (data sheet, section 8.4). */
  #startTimeOut(): void {
    if (!this.#fifosOn || this.#receiver.length === 0 || this.#receiver.length >= this.#triggerLevel) return
    this.#timeOutTimer.arm(this.#clock.now() + Math.ceil(4 * this.#characterTime))
  }

  #endTimeOut(): void {
    this.#timeOutPending = false
    this.#timeOutTimer.cancel()
  }

  #timeOut(): void {
    if (this.#receiver.length === 0) return
    this.#timeOutPending = true
    this.#updateInterrupt()
  }

  // ── the partition's side ──

  /** Master reset (data sheet, table I). The divisor latch and the scratch register are not affected by it, but a new machine has zeros. */
  reset(): void {
    this.flush()
    this.#receiver.clear()
    this.#endTimeOut()
    this.#inputTimer.cancel()
    this.#divisor = 0
    this.#ier = 0
    this.#fcr = 0
    this.#lcr = 0
    this.#mcr = 0
    this.#errors = 0
    this.#scr = 0
    this.#polls = 0
    this.#inputStopped = false
    this.#nextInput = 0
    this.#thrEmptyPending = false
    this.#updateModemStatus()
    this.#msr &= ~MSR.DELTAS
    this.#updateInterrupt()
  }

  /** Hands over what was collected, disconnects the back end, lets go of the line. */
  dispose(): void {
    this.flush()
    while (this.#backlog.length > 0) this.#overdraw()
    if (this.#backend !== undefined) this.#backend.onReady = undefined
    this.#outputTimer.cancel()
    this.#inputTimer.cancel()
    this.#timeOutTimer.cancel()
    this.#line.set(false)
  }

  save(): SavedState {
    this.flush()
    return {
      version: 1,
      data: {
        divisor: this.#divisor,
        ier: this.#ier,
        fcr: this.#fcr,
        lcr: this.#lcr,
        mcr: this.#mcr,
        lsr: this.#errors,
        msr: this.#msr,
        scr: this.#scr,
        receiver: this.#receiver.save(),
        transmitter: this.#backlog.save(),
        thrEmptyPending: this.#thrEmptyPending,
        timeOutPending: this.#timeOutPending,
        inputStopped: this.#inputStopped,
        nextInput: this.#nextInput,
      },
    }
  }

  /** @throws SerialError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const checked = v.safeParse(stateSchema, state.data)
    if (state.version !== 1 || !checked.success) {
      throw new SerialError('ERR_STATE_INVALID', 'this is no saved state of a serial port', {
        data: { version: state.version, problem: checked.issues?.[0].message ?? '' },
      })
    }
    const data = checked.output
    this.flush()
    this.#divisor = data.divisor
    this.#ier = data.ier & 0x0f
    this.#fcr = data.fcr
    this.#lcr = data.lcr
    this.#mcr = data.mcr & MCR.BITS
    this.#errors = data.lsr & LSR.ERRORS
    this.#msr = data.msr
    this.#scr = data.scr
    this.#receiver.restore(data.receiver)
    this.#backlog.restore(data.transmitter)
    this.#thrEmptyPending = data.thrEmptyPending
    this.#timeOutPending = data.timeOutPending
    this.#inputStopped = data.inputStopped
    this.#nextInput = data.nextInput
    this.#polls = 0
    this.#timeOutTimer.cancel()
    if (!this.#timeOutPending) this.#startTimeOut()
    // The back end is a new one: what waited for the old one goes to it, and it may have input.
    if (!this.#heldBack && this.#backlog.length > 0) {
      this.#catchUp()
      if (this.#transmitterEmpty) this.#thrEmptyPending = true
    }
    if (this.#listening) this.#inputTimer.arm(Math.max(this.#nextInput, this.#clock.now()))
    else this.#inputTimer.cancel()
    this.#updateInterrupt()
  }
}
