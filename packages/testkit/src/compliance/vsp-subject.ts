// What the suite for providers needs to know of one.

import type { ClientOffer } from '@partita/vmbus/client'
import { FakeGuest, type FakeGuestOptions, type Sent } from '../fake-guest.ts'
import type { GuestPacket, GuestStep } from '../fake-guest-exchange.ts'
import type { FakeMachine } from '../fake-machine.ts'
import { type ComplianceOptions, fail } from './check.ts'
import type { PluginSubject } from './plugin-checks.ts'
import type { RandomSource } from './random-source.ts'

/**
 * A provider under test. Without `request` the suite knows nothing of its protocol, and runs what can be checked all the same.
 */
export interface VspSubject extends PluginSubject, ComplianceOptions {
  /** Provide services that the plug-in needs besides the bus. `twin` is the machine whose saved state this one will be given: let it have the same disks. */
  readonly prepare?: (machine: FakeMachine, twin?: FakeMachine) => void | Promise<void>
  /** The packets by which a guest sets the protocol up on a fresh channel, in order. Default: none. */
  readonly setup?: readonly GuestStep[]
  /** The `n`-th request after the set-up, from 0; each with an answer that `check` can tell from that to another. */
  readonly request?: (n: number) => GuestStep
  /** Payload of the completion of a provider's packet that asks for one. Default: empty. */
  readonly respond?: (packet: GuestPacket) => Uint8Array
  /** Which of the offers to test. Default: the first. */
  readonly interfaceId?: string
  /** Bytes of the guest's memory. Default: 4 MiB. */
  readonly ramSize?: number
  /** Pages of data in each ring. Default: 4. */
  readonly ringPages?: number
  /** Largest saved state in bytes, about. Default: 65536. */
  readonly maximumState?: number
  /** Most packets that the provider takes without answering them. Default: 1024. */
  readonly maximumInFlight?: number
  /** Runs of each random check. Default: 20. */
  readonly runs?: number
}

/** A subject, and what checks do with it again and again. */
export class VspBench {
  readonly subject: VspSubject
  readonly setup: readonly GuestStep[]
  readonly runs: number

  constructor(subject: VspSubject) {
    this.subject = subject
    this.setup = subject.setup ?? []
    this.runs = subject.runs ?? 20
  }

  /** A guest that has seen the offers. */
  boot(random?: RandomSource): Promise<FakeGuest> {
    const { plugin, options, prepare, respond, ramSize } = this.subject
    const settings: FakeGuestOptions = { options: options?.[0] ?? {}, prepare, respond, random, ramSize }
    return FakeGuest.boot(plugin, settings)
  }

  /** Open the channel under test. */
  async open(guest: FakeGuest): Promise<void> {
    const { interfaceId, ringPages } = this.subject
    await guest.open({ interfaceId, upstream: ringPages })
  }

  /** A guest with an open channel whose first `steps` packets of the set-up are answered. */
  async opened(random?: RandomSource, steps: number = this.setup.length): Promise<FakeGuest> {
    const guest = await this.boot(random)
    await this.open(guest)
    await this.setUp(guest, 0, steps)
    return guest
  }

  /** Go through the set-up from one step to another. */
  async setUp(guest: FakeGuest, from = 0, to: number = this.setup.length): Promise<void> {
    for (const step of this.setup.slice(from, to)) await guest.ask(step)
  }

  /** Send request number `n`; `undefined` when the ring is full, or the subject has none. */
  async request(guest: FakeGuest, n: number): Promise<Sent | undefined> {
    const step = this.subject.request?.(n)
    return step === undefined ? undefined : await guest.send(step)
  }

  /** Send `count` requests from number `first` on without waiting, as many as find room. */
  async requests(guest: FakeGuest, first: number, count: number): Promise<Sent[]> {
    const sent: Sent[] = []
    for (let n = first; n < first + count; n++) {
      const request = await this.request(guest, n)
      if (request === undefined) break
      sent.push(request)
    }
    return sent
  }

  /** Wait for the answers to all of `sent`, and look at each. */
  async answered(guest: FakeGuest, sent: readonly Sent[]): Promise<void> {
    const open = (): Sent[] => sent.filter(({ answer, exchange }) => answer === undefined && exchange.answer !== 'none')
    await guest.until(() => open().length === 0)
    const missing = open()
    if (missing.length > 0) fail(`${missing.length} of ${sent.length} requests were never answered`)
    for (const request of sent) guest.verify(request)
  }

  /** A guest that begins anew is served: open, set-up, a few requests, close. */
  async serves(guest: FakeGuest): Promise<void> {
    if (guest.isOpen) await guest.close()
    await this.open(guest)
    await this.setUp(guest)
    await this.answered(guest, await this.requests(guest, 1000, 4))
    guest.expectNoViolation()
  }

  /** The offer under test. */
  offer(guest: FakeGuest): ClientOffer {
    const { interfaceId } = this.subject
    return (
      guest.offers.find((offer) => interfaceId === undefined || offer.interfaceId === interfaceId) ??
      fail(`the plug-in offers no device${interfaceId === undefined ? '' : ` of the interface ${interfaceId}`}`)
    )
  }
}
