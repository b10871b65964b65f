// The meeting of several processes as a port of a switch: what the plug-in that brings a switch for it and the one that goes to another's have in common.

import type { Network, PluginContext } from '@partita/interface'
import * as v from 'valibot'
import { SharedSwitch } from './shared-switch.node.ts'
import { type UplinkOptions, uplinkConnection } from './uplink.node.ts'

/** Where processes meet. */
export interface SharedPath {
  /** The Unix socket. */
  readonly path: string
}

/** Entries of their schemas. */
export const sharedOptionEntries: v.ObjectEntries = {
  path: v.pipe(v.string(), v.nonEmpty(), v.maxBytes(107, 'a socket path has at most 107 bytes')),
}

/** Meet the others; `owning` ends it. */
export async function openShared(
  context: PluginContext<SharedPath & UplinkOptions>,
  network: Network,
  owning: AsyncDisposableStack,
): Promise<void> {
  const { options, logger } = context
  const shared = owning.use(
    new SharedSwitch(
      network,
      options.path,
      (message) => logger.log('warn', message),
      uplinkConnection(options, { vlan: { mode: 'trunk' } }),
    ),
  )
  await shared.start()
}
