// A client that is connected to a server with one device, and what goes through its channel.

import type { VmbusOffered } from '@partita/interface'
import type { ClientChannel, ClientOffer, VmbusClient } from '../src/client.ts'
import { formatMessage, VMBUS_VERSION } from '../src/protocol.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice } from './devices.ts'

export interface Connected {
  readonly pair: VmbusPair
  readonly client: VmbusClient
  readonly device: EchoDevice
  readonly offered: VmbusOffered
  readonly offer: ClientOffer
  readonly open: (target?: VmbusClient) => Promise<ClientChannel>
  readonly trace: readonly string[]
}

/** A message that a client may post, from its number and 32-bit words. */
export function message(type: number, ...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.of(type, 0, ...words).buffer)
}

export async function connected(
  device: EchoDevice = new EchoDevice(),
  version: number = VMBUS_VERSION.V5_3,
): Promise<Connected> {
  const trace: string[] = []
  const pair = new VmbusPair({
    trace: {
      message: (direction, payload) => trace.push(`${direction} ${formatMessage(payload)}`),
      event: (relid, text) => trace.push(`${relid}: ${text}`),
    },
  })
  const offered = pair.server.offer(device)
  const { client } = pair
  await pair.run(client.connect([version]))
  const [offer] = await pair.run(client.requestOffers())
  if (offer === undefined) throw new Error('nothing is offered')
  const open = (target: VmbusClient = client): Promise<ClientChannel> =>
    pair.run(target.open(offer, pair.rings(2, 2)), target)
  return { pair, client, device, offered, offer, open, trace }
}

/** What a client gets back for `payload`. */
export async function roundTrip(pair: VmbusPair, channel: ClientChannel, payload: Uint8Array): Promise<Uint8Array[]> {
  const answers: Uint8Array[] = []
  channel.onPacket = (packet) => answers.push(packet.payload().slice())
  channel.send(payload, 7, 0, 1)
  await pair.settle()
  return answers
}

export const hello: Uint8Array = new TextEncoder().encode('hello, bus')
