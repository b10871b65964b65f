// The provider: a device on the VMBus that gives text back in capitals.

import {
  definePlugin,
  PartitaError,
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginInstance,
  VMBUS_COMPLETION_REQUESTED,
  type VmbusDevice,
  vmbusServerToken,
} from '@partita/interface'
import * as v from 'valibot'
import { INSTANCE_ID, INTERFACE_ID, LONGEST } from './protocol.ts'

/** Options in a VM's configuration. */
interface ShoutOptions {
  /** What stands behind the text. Default: `!`. */
  readonly mark: string
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

function shoutDevice(mark: string): VmbusDevice {
  return {
    offer: { interfaceId: INTERFACE_ID, instanceId: INSTANCE_ID },
    open: (channel) => ({
      receive(packet) {
        // Whoever asks for no completion gets none.
        if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0) return true
        // Packets are padded with zeros to a multiple of eight bytes.
        const text = decoder.decode(packet.payload().subarray(0, LONGEST)).replace(/\0+$/, '')
        const answer = encoder.encode(text.toUpperCase() + mark)
        // False keeps the packet until the guest has made room for the answer.
        return channel.complete(packet.transactionLow, packet.transactionHigh, answer)
      },
    }),
  }
}

const plugin: Plugin<ShoutOptions> = definePlugin<ShoutOptions>({
  name: 'example-shout/vsp',
  kind: 'vsp',
  contract: PLUGIN_CONTRACT,
  description: 'Gives text back in capitals',
  options: v.strictObject({ mark: v.optional(v.pipe(v.string(), v.maxLength(8)), '!') }),
  needs: [vmbusServerToken],
  provides: [],
  create(context): PluginInstance {
    const offered = context.get(vmbusServerToken).offer(shoutDevice(context.options.mark))
    return {
      // The bus saves channels and packets. The device itself remembers nothing; what it does not know it refuses.
      save: () => ({ version: 1, data: {} }),
      restore({ version, data }) {
        if (version !== 1 || !v.is(v.strictObject({}), data))
          throw new PartitaError('ERR_STATE_INVALID', 'Not a state of the shouting device')
      },
      [Symbol.asyncDispose]: () => offered[Symbol.asyncDispose](),
    }
  },
})

export default plugin
