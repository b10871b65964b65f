// An 8042 with keyboard and mouse on fake buses, driven as a driver does it.

import {
  type KeyboardInput,
  keyboardInputToken,
  type MouseInput,
  mouseInputToken,
  type PluginInstance,
} from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import ps2 from '../src/index.ts'

/** A started plug-in and the ways to it. */
export class Ps2Machine implements AsyncDisposable {
  readonly machine: FakeMachine
  readonly instance: PluginInstance
  readonly keyboard: KeyboardInput
  readonly mouse: MouseInput

  constructor(machine: FakeMachine, instance: PluginInstance) {
    this.machine = machine
    this.instance = instance
    this.keyboard = instance.services?.[keyboardInputToken.name] as KeyboardInput
    this.mouse = instance.services?.[mouseInputToken.name] as MouseInput
  }

  static async start(options: { keyboard?: boolean; mouse?: boolean } = {}): Promise<Ps2Machine> {
    const machine = new FakeMachine()
    return new Ps2Machine(machine, await machine.start(ps2, options))
  }

  command(value: number): void {
    this.machine.ports.write(0x64, value)
  }

  data(value: number): void {
    this.machine.ports.write(0x60, value)
  }

  get status(): number {
    return this.machine.ports.read(0x64)
  }

  /** Everything that is at port 0x60, one byte after the other. */
  drain(): number[] {
    const bytes: number[] = []
    while ((this.status & 1) !== 0) bytes.push(this.machine.ports.read(0x60))
    return bytes
  }

  /** Send to the mouse, and read what comes. */
  toMouse(...values: number[]): number[] {
    return values.flatMap((value) => {
      this.command(0xd4)
      this.data(value)
      return this.drain()
    })
  }

  /** Send to the keyboard, and read what comes. */
  toKeyboard(...values: number[]): number[] {
    return values.flatMap((value) => {
      this.data(value)
      return this.drain()
    })
  }

  /** No translation: what the keyboard sends is what is read. */
  raw(): void {
    this.command(0x60)
    this.data(0x25)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]()
  }
}
