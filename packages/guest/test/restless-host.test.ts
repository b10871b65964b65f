// The bus and its devices under a host that offers and takes back at any time, answers when it likes and in any order: in the end nothing is left of a device that is gone.

import {
  type ClientOffer,
  type DmaBuffer,
  defineVscDriver,
  type VmbusTransport,
  type VscDevice,
} from '@partita/vmbus/client'
import {
  CloseChannel,
  GpadlCreated,
  GpadlHeader,
  GpadlTeardown,
  GpadlTorndown,
  InitiateContactTarget,
  MESSAGE_TYPE,
  MessageHeader,
  OfferChannel,
  OpenChannel,
  OpenChannelResult,
  RelIdReleased,
  RescindChannelOffer,
  VersionResponse,
} from '@partita/vmbus/protocol'
import { SharedMemory } from '@partita/vmbus/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DriverRegistry } from '../src/kernel/pnp/driver.ts'
import { PnpManager } from '../src/kernel/pnp/pnp-manager.ts'
import { type VmbusBus, vmbusDriver } from '../src/kernel/vmbus-bus.ts'

const INTERFACES = ['0a000000-0000-4000-8000-000000000000', '0b000000-0000-4000-8000-000000000000']
const KINDS = ['opens', 'throws', 'hangs'] as const

/** A host whose answers wait until somebody picks one. */
class RestlessHost {
  readonly memory = new SharedMemory(8 * 2 ** 20)
  readonly answers: Uint8Array[] = []
  /** Offers by channel number: `taken` back by the host, until the guest releases it. */
  readonly offers = new Map<number, { taken: boolean }>()
  /** GPADLs, and the channels that they are for. */
  readonly gpadls = new Map<number, number>()
  readonly open = new Set<number>()
  readonly mistakes: string[] = []
  bus: VmbusBus | undefined
  readonly transport: VmbusTransport = {
    memory: this.memory,
    processorCount: 2,
    allocate: (byteLength): DmaBuffer => this.memory.allocate(byteLength),
    adopt: (gpa, byteLength): DmaBuffer => this.memory.adopt(gpa, byteLength),
    addressOf: (bytes) => this.memory.addressOf(bytes),
    postMessage: (_connectionId, payload) => this.#posted(payload.slice()),
    signalEvent: () => undefined,
  }

  #posted(payload: Uint8Array): number {
    const view = new DataView(payload.buffer)
    const type = new MessageHeader(view).messageType
    const answer = (message: { view: DataView }): void => void this.answers.push(new Uint8Array(message.view.buffer))
    switch (type) {
      case MESSAGE_TYPE.INITIATE_CONTACT: {
        const message = VersionResponse.allocate()
        message.messageType = MESSAGE_TYPE.VERSION_RESPONSE
        message.versionSupported = new InitiateContactTarget(view).version === 0 ? 0 : 1
        message.connectionId = 4
        answer(message)
        break
      }
      case MESSAGE_TYPE.REQUEST_OFFERS: {
        const message = MessageHeader.allocate()
        message.messageType = MESSAGE_TYPE.ALL_OFFERS_DELIVERED
        answer(message)
        break
      }
      case MESSAGE_TYPE.GPADL_HEADER: {
        const { relid, gpadlId } = new GpadlHeader(view)
        if (!this.offers.has(relid)) this.mistakes.push(`GPADL for ${relid}`)
        this.gpadls.set(gpadlId, relid)
        const message = GpadlCreated.allocate()
        message.messageType = MESSAGE_TYPE.GPADL_CREATED
        message.relid = relid
        message.gpadlId = gpadlId
        answer(message)
        break
      }
      case MESSAGE_TYPE.GPADL_TEARDOWN: {
        const { gpadlId } = new GpadlTeardown(view)
        if (!this.gpadls.delete(gpadlId)) this.mistakes.push(`teardown of ${gpadlId}`)
        const message = GpadlTorndown.allocate()
        message.messageType = MESSAGE_TYPE.GPADL_TORNDOWN
        message.gpadlId = gpadlId
        answer(message)
        break
      }
      case MESSAGE_TYPE.OPEN_CHANNEL: {
        const { relid, openId, ringGpadlId } = new OpenChannel(view)
        if (!this.gpadls.has(ringGpadlId) || this.open.has(relid)) this.mistakes.push(`open of ${relid}`)
        const refused = this.offers.get(relid)?.taken !== false
        if (!refused) this.open.add(relid)
        const message = OpenChannelResult.allocate()
        message.messageType = MESSAGE_TYPE.OPEN_CHANNEL_RESULT
        message.relid = relid
        message.openId = openId
        message.status = refused ? 0xc000_0001 : 0
        answer(message)
        break
      }
      case MESSAGE_TYPE.CLOSE_CHANNEL:
        this.open.delete(new CloseChannel(view).relid)
        break
      case MESSAGE_TYPE.REL_ID_RELEASED: {
        const { relid } = new RelIdReleased(view)
        if (!this.offers.delete(relid)) this.mistakes.push(`release of ${relid}`)
        this.open.delete(relid)
        for (const [gpadl, owner] of this.gpadls) if (owner === relid) this.gpadls.delete(gpadl)
        break
      }
    }
    return 0
  }

  offer(relid: number, interfaceIndex: number, instance: number, subChannelIndex: number): void {
    if (this.offers.has(relid)) return
    this.offers.set(relid, { taken: false })
    const message = OfferChannel.allocate()
    message.messageType = MESSAGE_TYPE.OFFER_CHANNEL
    message.interfaceId = INTERFACES[interfaceIndex] as string
    message.instanceId = `00000000-0000-4000-8000-00000000000${instance}`
    message.subChannelIndex = subChannelIndex
    message.relid = relid
    message.connectionId = 0x2000 + relid
    this.answers.push(new Uint8Array(message.view.buffer))
  }

  rescind(relid: number): void {
    const offer = this.offers.get(relid)
    if (offer === undefined || offer.taken) return
    offer.taken = true
    const message = RescindChannelOffer.allocate()
    message.messageType = MESSAGE_TYPE.RESCIND_CHANNEL_OFFER
    message.relid = relid
    this.answers.push(new Uint8Array(message.view.buffer))
  }

  /** Let answer number `index` of those that wait get to the guest. Offers and their ends keep their order. */
  deliver(index: number): void {
    const isOffer = ([type]: Uint8Array): boolean =>
      type === MESSAGE_TYPE.OFFER_CHANNEL || type === MESSAGE_TYPE.RESCIND_CHANNEL_OFFER
    const chosen = this.answers[index % Math.max(1, this.answers.length)]
    if (chosen === undefined) return
    const first = isOffer(chosen) ? this.answers.findIndex(isOffer) : this.answers.indexOf(chosen)
    for (const answer of this.answers.splice(first, 1)) this.bus?.message(answer)
  }
}

async function breathe(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await Promise.resolve()
}

type Act =
  | {
      readonly do: 'offer'
      readonly relid: number
      readonly kind: number
      readonly instance: number
      readonly sub: number
    }
  | { readonly do: 'rescind' | 'event'; readonly relid: number }
  | { readonly do: 'deliver'; readonly index: number }
  | { readonly do: 'breathe' }

const relid = fc.integer({ min: 1, max: 6 })
const act: fc.Arbitrary<Act> = fc.oneof(
  fc.record({
    do: fc.constant('offer' as const),
    relid,
    kind: fc.nat(1),
    instance: fc.nat(2),
    sub: fc.constantFrom(0, 0, 0, 1),
  }),
  fc.record({ do: fc.constantFrom('rescind' as const, 'event' as const), relid }),
  fc.record({ do: fc.constant('deliver' as const), index: fc.constantFrom(0, 0, 0, 1, 5) }),
  fc.constant({ do: 'breathe' as const }),
)

describe('a host that is never at rest', () => {
  it('may offer a device again before the guest has let go of it', async () => {
    const host = new RestlessHost()
    const drivers = new DriverRegistry()
    const pnp = new PnpManager({ drivers, sleep: () => new Promise(() => {}), changed: () => undefined })
    const started: number[] = []
    const start = async (device: VscDevice) => {
      await device.open({ ringBytes: 4096 })
      started.push(device.offer.relid)
      return {}
    }
    drivers.addVsc(defineVscDriver({ name: 'd', interfaceIds: [INTERFACES[0] as string], start }))
    const attach = (bus: VmbusBus | undefined): void => {
      host.bus = bus
    }
    drivers.add(vmbusDriver({ transport: host.transport, pnp, attach }))
    pnp.add(pnp.root, { id: 'bus', hardwareId: 'acpi:VMBUS', text: 'bus', device: undefined })
    const settle = async (): Promise<void> => {
      for (let round = 0; round < 20; round++) {
        host.deliver(0)
        await breathe()
      }
    }
    await settle()
    host.offer(1, 0, 0, 0)
    await settle()
    host.rescind(1)
    host.deliver(0)
    host.offer(2, 0, 0, 0)
    host.offer(3, 0, 0, 0)
    host.deliver(0)
    host.deliver(0)
    expect(started).toEqual([1])
    await settle()
    expect(started).toEqual([1, 2])
    host.rescind(3)
    await settle()
    expect([...host.offers.keys()]).toEqual([2])
    expect(host.mistakes).toEqual([])
  })

  it('leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...KINDS), fc.array(act, { maxLength: 60 }), async (kind, acts) => {
        const host = new RestlessHost()
        const drivers = new DriverRegistry()
        const pnp = new PnpManager({
          drivers,
          // Time stands still: nothing is given up for taking too long.
          sleep: () => new Promise(() => {}),
          changed: () => undefined,
        })
        drivers.addVsc(
          defineVscDriver({
            name: kind,
            interfaceIds: [INTERFACES[0] as string],
            async start(device: VscDevice) {
              device.onSubChannel = (offer: ClientOffer) => void device.openSubChannel(offer).catch(() => undefined)
              const channel = await device.open({ ringBytes: 4096 })
              device.allocate(100)
              channel.onPacket = () => undefined
              if (kind === 'throws') throw new Error('no')
              if (kind === 'hangs') await new Promise(() => {})
              return {}
            },
          }),
        )
        drivers.add(
          vmbusDriver({
            transport: host.transport,
            pnp,
            attach: (bus) => {
              host.bus = bus
            },
          }),
        )
        pnp.add(pnp.root, { id: 'bus', hardwareId: 'acpi:VMBUS', text: 'bus', device: undefined })
        await breathe()
        for (const each of acts) {
          if (each.do === 'offer') host.offer(each.relid, each.kind, each.instance, each.sub)
          else if (each.do === 'rescind') host.rescind(each.relid)
          else if (each.do === 'event') host.bus?.event(each.relid)
          else if (each.do === 'deliver') host.deliver(each.index)
          else await breathe()
        }
        // Everything is taken back, and everything answered.
        for (let round = 0; round < 200 && (host.offers.size > 0 || host.answers.length > 0); round++) {
          for (const number of host.offers.keys()) host.rescind(number)
          while (host.answers.length > 0) host.deliver(0)
          await breathe()
        }
        await breathe()
        expect(host.mistakes).toEqual([])
        expect([...host.offers.keys()]).toEqual([])
        expect([...pnp.root.walk()].map(({ text }) => text)).toEqual(['Hyper-V child partition', 'bus'])
        expect([host.gpadls.size, host.open.size, host.memory.allocations]).toEqual([0, 0, 0])
      }),
      { numRuns: 300 },
    )
  })
})
