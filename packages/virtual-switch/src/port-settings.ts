// What a port of the switch may do: VLANs as IEEE 802.1Q has them, protection against spoofed addresses, limits of its rate.

import * as v from 'valibot'
import { SwitchError } from './switch-error.ts'

/** The VLANs of a port, 1–4094: the one `id` of an access port, or those `allowed` on a trunk, with the `native` one that has no tag. 0 is none. */
export type PortVlan =
  /** In one VLAN (0: none); frames of the adapter are untagged, and those with another tag are dropped. */
  | { readonly mode: 'access'; readonly id: number }
  /** In several; frames carry their tags, but for those of the native VLAN. */
  | { readonly mode: 'trunk'; readonly allowed: readonly number[] | 'all'; readonly native: number }

/** Settings of one port. */
export interface PortSettings {
  /** The VLANs of its adapter. Default: an access port in none. */
  readonly vlan: PortVlan
  /** Whether frames with another source address than the adapter's are let in. Default: false, and what the adapter's guest sends under another address is dropped. */
  readonly spoofing: boolean
  /** Bits per second from the adapter; 0 for no limit. */
  readonly sendLimit: number
  /** Bits per second to the adapter; 0 for no limit. */
  readonly receiveLimit: number
  /** Whether a capture of the whole network has what goes through this port. Default: true. */
  readonly capture: boolean
}

const vlanId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4094))
const limit = v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1e13)), 0)

const schema: v.GenericSchema<unknown, PortSettings> = v.strictObject({
  vlan: v.optional(
    v.union([
      v.pipe(
        vlanId,
        v.transform((id) => ({ mode: 'access' as const, id })),
      ),
      v.strictObject({ mode: v.literal('access'), id: vlanId }),
      v.strictObject({
        mode: v.literal('trunk'),
        allowed: v.optional(v.union([v.array(vlanId), v.literal('all')]), 'all'),
        native: v.optional(vlanId, 0),
      }),
    ]),
    { mode: 'access', id: 0 },
  ),
  spoofing: v.optional(v.boolean(), false),
  sendLimit: limit,
  receiveLimit: limit,
  capture: v.optional(v.boolean(), true),
})

/**
 * Check the settings of a port.
 * @throws SwitchError `ERR_NETWORK_PORT`
 */
export function parsePortSettings(settings: unknown): PortSettings {
  const result = v.safeParse(schema, settings ?? {})
  if (result.success) return result.output
  const issue = result.issues[0]
  throw new SwitchError(
    'ERR_NETWORK_PORT',
    `settings of a port: ${v.getDotPath(issue) ?? ''} ${issue.message}`.trim(),
    {
      hint: 'A port takes vlan (a number, or { mode, … }), spoofing, sendLimit and receiveLimit (bits per second), and capture.',
    },
  )
}

/** Whether the port is in a VLAN. */
export function isMember(vlan: PortVlan, id: number): boolean {
  if (vlan.mode === 'access') return vlan.id === id
  return id === vlan.native || vlan.allowed === 'all' || vlan.allowed.includes(id)
}

/** The VLAN of a frame that came with the tag control information `tci` (`undefined`: untagged); `undefined` when the port must not send it. */
export function classify(vlan: PortVlan, tci: number | undefined): number | undefined {
  const id = tci === undefined ? 0 : tci & 0xfff
  if (vlan.mode === 'access') return id === 0 ? vlan.id : undefined
  const vid = id === 0 ? vlan.native : id
  return isMember(vlan, vid) ? vid : undefined
}

/** Whether frames of a VLAN go to the port's adapter with their tag. */
export function isTagged(vlan: PortVlan, id: number): boolean {
  return vlan.mode === 'trunk' && id !== vlan.native
}
