import {
  type Clock,
  clockToken,
  guestMemoryToken,
  type Logger,
  type PluginContext,
  type ServiceToken,
  type SynicPorts,
  synicPortsToken,
  type Vmbus,
  vmbusServerToken,
} from '@partita/interface'
import { describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import { VmbusClient } from '../src/client.ts'
import plugin, { type VmbusOptions } from '../src/index.ts'
import { SharedMemory } from '../src/testing.ts'
import { EchoDevice } from './devices.ts'

/** A SynIC with one slot, and a clock whose timers are called by hand. */
class Machine implements SynicPorts {
  readonly memory = new SharedMemory(1024 * 1024)
  readonly messages: ((vp: number, type: number, payload: Uint8Array) => number)[] = []
  readonly ports: Map<number, (flag: number) => void> = new Map()
  readonly log: string[] = []
  readonly client: VmbusClient
  slot: { type: number; payload: Uint8Array } | undefined
  flags: number[] = []
  timer: (() => void) | undefined
  #slotFree: ((vp: number, sint: number) => void) | undefined

  constructor() {
    this.client = new VmbusClient({
      memory: this.memory,
      postMessage: (connectionId, payload) => this.messages[connectionId]?.(0, 1, payload.slice()) ?? 0x12,
      signalEvent: (connectionId) => this.ports.get(connectionId)?.(0),
    })
  }

  createMessagePort(connectionId: number, receive: (vp: number, type: number, payload: Uint8Array) => number) {
    this.messages[connectionId] = receive
    return { [Symbol.dispose]: () => void delete this.messages[connectionId] }
  }

  createEventPort(connectionId: number, signal: (flag: number) => void) {
    this.ports.set(connectionId, signal)
    return { [Symbol.dispose]: () => void this.ports.delete(connectionId) }
  }

  postMessage(_vp: number, _sint: number, type: number, payload: Uint8Array) {
    if (this.slot !== undefined) return false
    this.slot = { type, payload }
    return true
  }

  onMessageSlotFree(callback: (vp: number, sint: number) => void) {
    this.#slotFree = callback
    return {
      [Symbol.dispose]: () => {
        this.#slotFree = undefined
      },
    }
  }

  signalEvent(_vp: number, _sint: number, flag: number) {
    this.flags.push(flag)
    return true
  }

  get idle(): boolean {
    return this.#slotFree === undefined && this.messages.every((port) => port === undefined) && this.ports.size === 0
  }

  async settle() {
    for (let silent = 0; silent < 4; silent++) {
      if (this.slot !== undefined) {
        const { type, payload } = this.slot
        expect(type).toBe(1)
        this.client.receiveMessage(payload)
        this.slot = undefined
        this.#slotFree?.(0, 2)
        silent = 0
      }
      for (const flag of this.flags.splice(0)) this.client.eventFlag(flag)
      this.timer?.()
      await Promise.resolve()
    }
  }

  async start(options: unknown = {}) {
    const clock: Clock = {
      now: () => 1,
      wallTime: () => 0,
      createTimer: (callback) => ({
        deadline: 0,
        arm: () => {
          this.timer = () => {
            this.timer = undefined
            callback()
          }
        },
        cancel: () => {
          this.timer = undefined
        },
      }),
    }
    const services: Record<string, unknown> = {
      [synicPortsToken.name]: this,
      [guestMemoryToken.name]: this.memory,
      [clockToken.name]: clock,
    }
    const logger: Logger = { log: (level, message) => this.log.push(`${level} ${message}`), child: () => logger }
    const checked = await plugin.options['~standard'].validate(options)
    if (checked.issues) throw new Error(checked.issues[0]?.message)
    const get = <T>(token: ServiceToken<T>): T => {
      expect(plugin.needs.map(({ name }) => name)).toContain(token.name)
      return services[token.name] as T
    }
    const context: PluginContext<VmbusOptions> = { options: checked.value, logger, id: plugin.name, get, find: get }
    const instance = await plugin.create(context)
    return { instance, bus: instance.services?.[vmbusServerToken.name] as Vmbus }
  }
}

describe('the plug-in', () => {
  it('is as its manifest says', () => {
    const { name, kind, contract, description } = plugin
    const options = { maxVersion: expect.anything(), trace: expect.anything() }
    expect(manifest.partita.plugins).toEqual([{ name, kind, contract, description, export: '.', options }])
    expect(plugin.provides).toEqual([vmbusServerToken])
  })

  it.each([{ maxVersion: '7.0' }, { maxVersion: 5.3 }, { trace: 1 }, { other: true }])(
    'refuses the options %o',
    async (bad) => {
      await expect(new Machine().start(bad)).rejects.toThrow()
    },
  )

  it('carries a device over a SynIC, saves, restores, resets, and leaves nothing behind', async () => {
    const machine = new Machine()
    const { instance, bus } = await machine.start({ maxVersion: '5.2', trace: true })
    const device = new EchoDevice()
    bus.offer(device)
    await instance.start?.()
    const { client } = machine
    const connecting = client.connect()
    await machine.settle()
    expect(await connecting).toBe(0x0005_0002)
    const enumerating = client.requestOffers()
    await machine.settle()
    const [offer] = await enumerating
    const pages = machine.memory.allocatePages(4)
    const opening = client.open(offer as never, { pages, downstreamPageOffset: 2 })
    await machine.settle()
    const channel = await opening
    const answers: number[] = []
    channel.onPacket = (packet) => answers.push(packet.transactionLow)
    channel.send(new Uint8Array(8), 1)
    await machine.settle()
    expect(answers).toEqual([1])
    expect(machine.log).toContain('trace <- REQUEST_OFFERS')
    expect(machine.log).toContain('trace channel 1: open, rings of 4096 and 4096 bytes')

    await instance.stop?.()
    channel.send(new Uint8Array(8), 2)
    await machine.settle()
    const state = structuredClone(instance.save?.())
    await instance[Symbol.asyncDispose]()
    expect(machine.idle).toBe(true)

    const second = await machine.start()
    const next = new EchoDevice()
    second.bus.offer(next)
    second.instance.restore?.(state as never)
    await second.instance.start?.()
    await machine.settle()
    expect(answers).toEqual([1, 2])
    second.instance.reset?.()
    expect(next.log).toEqual(['open 0 restored', 'close 0'])
    await second.instance[Symbol.asyncDispose]()
    expect(machine.idle).toBe(true)
  })

  it('reports a device that throws, and no message of another type', async () => {
    const machine = new Machine()
    const { instance, bus } = await machine.start()
    const device = new EchoDevice()
    device.onOpen = () => {
      throw new Error('no')
    }
    bus.offer(device)
    await instance.start?.()
    expect(machine.messages[1]?.(0, 2, new Uint8Array(40))).toBe(5)
    const { client } = machine
    void client.connect()
    await machine.settle()
    void client.requestOffers()
    await machine.settle()
    client
      .open(client.offers[0] as never, { pages: machine.memory.allocatePages(4), downstreamPageOffset: 2 })
      .catch(() => undefined)
    await machine.settle()
    expect(machine.log).toEqual(['error A device on the VMBus failed and was taken away'])
    expect(client.offers).toEqual([])
  })
})
