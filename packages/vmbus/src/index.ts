/**
 * The VMBus as a plug-in: the default export. It stands on the hypervisor's SynIC and provides `vmbusServerToken`, where devices are offered. Options:
 * `maxVersion`, `trace`.
 *
 * @example
 * ```ts
 * import { vmbusServerToken } from '@partita/interface'
 *
 * // In the plug-in of a device that needs vmbusServerToken:
 * const offered = context.get(vmbusServerToken).offer({
 *   offer: { interfaceId, instanceId },
 *   open: (channel) => ({ receive: (packet) => channel.send(packet.payload()) }),
 * })
 * ```
 * @packageDocumentation
 */

import {
  clockToken,
  definePlugin,
  guestMemoryToken,
  type Logger,
  type Plugin,
  type PluginInstance,
  synicPortsToken,
  vmbusServerToken,
} from '@partita/interface'
import * as v from 'valibot'
import {
  HV_STATUS,
  MESSAGE_CONNECTION_ID,
  MESSAGE_CONNECTION_ID_5,
  SYNIC_MESSAGE_TYPE,
  VMBUS_SINT,
} from './protocol/constants.ts'
import { formatMessage } from './protocol/format-message.ts'
import { formatVersion, SUPPORTED_VERSIONS } from './protocol/version.ts'
import { DeferredCalls } from './server/deferred-calls.ts'
import type { VmbusTrace } from './server/host.ts'
import { MONITOR_PERIOD } from './server/monitor.ts'
import { VmbusServer } from './server/vmbus-server.ts'

export { VmbusError } from './vmbus-error.ts'

/** Options of `@partita/vmbus`. */
export interface VmbusOptions {
  /** The newest version of the protocol to accept, `2.4` to `6.0`. Default: `6.0`. */
  readonly maxVersion: string
  /** Log every message and channel event, as level `trace`. Default: false. */
  readonly trace: boolean
}

const VERSIONS: readonly string[] = SUPPORTED_VERSIONS.map(formatVersion)

const options: v.GenericSchema<unknown, VmbusOptions> = v.strictObject({
  maxVersion: v.optional(v.picklist(VERSIONS), VERSIONS[0] as string),
  trace: v.optional(v.boolean(), false),
})

/** The plug-in: provides `vmbusServerToken`. */
const plugin: Plugin<VmbusOptions> = definePlugin<VmbusOptions>({
  name: '@partita/vmbus',
  kind: 'service',
  contract: 1,
  description: 'The VMBus: devices in the root partition for drivers in the guest',
  options,
  needs: [synicPortsToken, guestMemoryToken, clockToken],
  provides: [vmbusServerToken],
  create: (context): PluginInstance => {
    const { logger } = context
    const synic = context.get(synicPortsToken)
    const clock = context.get(clockToken)
    const deferred = new DeferredCalls(clock)
    const monitorTimer = clock.createTimer(() => {
      armMonitorTimer()
      server.pollMonitors()
    })
    const armMonitorTimer = (): void => monitorTimer.arm(clock.now() + MONITOR_PERIOD)
    const server = new VmbusServer(
      {
        memory: context.get(guestMemoryToken),
        postMessage: (vpIndex, sint, payload) => synic.postMessage(vpIndex, sint, SYNIC_MESSAGE_TYPE, payload),
        signalEvent: (vpIndex, sint, flag) => void synic.signalEvent(vpIndex, sint, flag),
        createEventPort: (connectionId, signal) => synic.createEventPort(connectionId, signal),
        defer: (run) => deferred.add(run),
        pollMonitors: (wanted) => {
          if (!wanted) monitorTimer.cancel()
          else if (monitorTimer.deadline === Number.POSITIVE_INFINITY) armMonitorTimer()
        },
      },
      {
        versions: SUPPORTED_VERSIONS.slice(VERSIONS.indexOf(context.options.maxVersion)),
        onDeviceError: ({ offer }, error) =>
          logger.log('error', 'A device on the VMBus failed and was taken away', { ...namesOf(offer), error }),
        ...(context.options.trace ? { trace: traceTo(logger) } : {}),
      },
    )
    const receive = (_vpIndex: number, messageType: number, payload: Uint8Array): number =>
      messageType === SYNIC_MESSAGE_TYPE ? server.receiveMessage(payload) : HV_STATUS.INVALID_PARAMETER

    using owning = new DisposableStack()
    owning.defer(() => deferred.clear())
    owning.defer(() => monitorTimer.cancel())
    owning.defer(() => server.reset())
    owning.use(synic.createMessagePort(MESSAGE_CONNECTION_ID, receive))
    owning.use(synic.createMessagePort(MESSAGE_CONNECTION_ID_5, receive))
    owning.use(
      synic.onMessageSlotFree((_vpIndex, sint) => {
        if (sint === VMBUS_SINT) server.messageSlotFree()
      }),
    )
    const owned = owning.move()
    return {
      services: { [vmbusServerToken.name]: server },
      start: () => server.start(),
      stop: () => server.stop(),
      reset: () => {
        deferred.clear()
        server.reset()
      },
      save: () => server.save(),
      restore: (state) => server.restore(state),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin

function namesOf({ interfaceId, instanceId }: { interfaceId: string; instanceId: string }): Record<string, string> {
  return { interfaceId, instanceId }
}

function traceTo(logger: Logger): VmbusTrace {
  return {
    message: (direction, payload) =>
      logger.log('trace', `${direction === 'in' ? '<-' : '->'} ${formatMessage(payload)}`),
    event: (relid, text) => logger.log('trace', relid === 0 ? text : `channel ${relid}: ${text}`),
  }
}
