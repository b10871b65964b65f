// The provider, in the root partition: offers the device on the VMBus and answers its requests. What a guest does wrong is a status, never an exception.

import {
  definePlugin,
  PartitaError,
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginInstance,
  type SavedState,
  VMBUS_COMPLETION_REQUESTED,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusDevice,
  type VmbusOffer,
  type VmbusPacket,
  vmbusServerToken,
} from '@partita/interface'
import * as v from 'valibot'
import { INSTANCE_ID, INTERFACE_ID, OPERATION, Request, Response, STATUS } from './protocol.ts'

/** Options in a VM's configuration. */
export interface MyDeviceOptions {
  /** What it counts from. Default: 0. */
  readonly start: number
}

const STATE_VERSION = 1

const total = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const options: v.GenericSchema<unknown, MyDeviceOptions> = v.strictObject({ start: v.optional(total, 0) })
const stateSchema = v.strictObject({ total })

/** The counter. */
export class MyDevice implements VmbusDevice {
  readonly offer: VmbusOffer = {
    interfaceId: INTERFACE_ID,
    instanceId: INSTANCE_ID,
    // A driver in a process of the guest may use it too, as Linux's uio_hv_generic lets it.
    monitored: true,
  }
  readonly #start: number
  #total: number

  constructor(start: number) {
    this.#start = start
    this.#total = start
  }

  open(channel: VmbusChannel): VmbusChannelHandler {
    const response = Response.allocate()
    const answer = new Uint8Array(response.view.buffer)
    return {
      // What asks for no completion is not of this protocol, and gets none. False keeps the packet until the guest has made room for the answer.
      receive: (packet) => {
        if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0) return true
        const before = this.#total
        response.status = this.#serve(packet)
        response.total = this.#total
        if (channel.complete(packet.transactionLow, packet.transactionHigh, answer)) return true
        this.#total = before
        return false
      },
    }
  }

  #serve(packet: VmbusPacket): number {
    if (packet.payloadLength < Request.size) return STATUS.INVALID
    const request = new Request(packet.view, packet.payloadOffset)
    if (request.operation === OPERATION.ADD) this.#total = (this.#total + request.value) >>> 0
    else if (request.operation !== OPERATION.READ) return STATUS.INVALID
    return STATUS.SUCCESS
  }

  reset(): void {
    this.#total = this.#start
  }

  save(): SavedState {
    return { version: STATE_VERSION, data: { total: this.#total } }
  }

  restore({ version, data }: SavedState): void {
    const state = v.safeParse(stateSchema, data)
    if (version !== STATE_VERSION || !state.success)
      throw new PartitaError('ERR_STATE_INVALID', 'Not a state of @example/my-device')
    this.#total = state.output.total
  }
}

const plugin: Plugin<MyDeviceOptions> = definePlugin<MyDeviceOptions>({
  name: '@example/my-device/vsp',
  kind: 'vsp',
  contract: PLUGIN_CONTRACT,
  description: 'A counter that lives in the root partition',
  options,
  needs: [vmbusServerToken],
  provides: [],
  create(context): PluginInstance {
    const device = new MyDevice(context.options.start)
    const offered = context.get(vmbusServerToken).offer(device)
    return {
      reset: () => device.reset(),
      save: () => device.save(),
      restore: (state) => device.restore(state),
      [Symbol.asyncDispose]: () => offered[Symbol.asyncDispose](),
    }
  },
})

export default plugin
