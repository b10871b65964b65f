// A TAP interface as a port of a switch: what the plug-in that brings a switch for it and the one that goes to another's have in common.

import type { Network, PluginContext } from '@partita/interface'
import * as v from 'valibot'
import { TapAdapter } from './tap-adapter.node.ts'
import { type UplinkOptions, uplinkConnection } from './uplink.node.ts'

/** Which interface. */
export interface TapName {
  /** The interface's name, at most 15 characters. */
  readonly name: string
}

/** Entries of their schemas. */
export const tapOptionEntries: v.ObjectEntries = {
  name: v.pipe(v.string(), v.regex(/^[^\s/]{1,15}$/, 'expected the name of an interface')),
}

/** Open the interface; `owning` closes it. */
export function openTap(
  context: PluginContext<TapName & UplinkOptions>,
  network: Network,
  owning: AsyncDisposableStack,
): void {
  const { options, logger } = context
  const adapter = owning.use(
    new TapAdapter(options.name, (error) => logger.log('error', error.message, { code: error.code })),
  )
  adapter.start(owning.use(network.connect(adapter, uplinkConnection(options))))
}
