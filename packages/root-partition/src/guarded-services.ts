// What somebody gets who asks for a service: the service between two guards. What is called of it goes through the guard of the plug-in that provides it, what it calls back goes through the
// guard of the one that asked.

import {
  type A20Gate,
  a20GateToken,
  type CharacterBackend,
  type Clock,
  characterBackendsToken,
  clockToken,
  type Disk,
  disksToken,
  type InterruptLines,
  type InterruptMessages,
  interruptLinesToken,
  interruptMessagesToken,
  type KeyboardInput,
  keyboardInputToken,
  type Mmio,
  type MouseInput,
  mmioToken,
  mouseInputToken,
  type Network,
  networkToken,
  type PciBus,
  type PortIo,
  type PowerControl,
  pciBusToken,
  portIoToken,
  powerControlToken,
  type ServiceToken,
  type SynicPorts,
  synicPortsToken,
  type Vmbus,
  vmbusServerToken,
} from '@partita/interface'
import type { Claims } from './claims.ts'
import {
  guardedBackends,
  guardedClock,
  guardedLines,
  guardedMessages,
  guardedMmio,
  guardedPci,
  guardedPorts,
  guardedPower,
  guardedSynic,
  servedLines,
  servedPci,
} from './guarded-devices.ts'
import { guardedDisks } from './guarded-disks.ts'
import { guardedA20, guardedKeyboard, guardedMouse } from './guarded-input.ts'
import { guardedMembrane } from './guarded-membrane.ts'
import { guardedNetwork } from './guarded-network.ts'
import { guardedVmbus, servedVmbus } from './guarded-vmbus.ts'
import type { PluginGuard } from './plugin-guard.ts'

/** Whom a service connects. */
export interface ServiceSides {
  /** The guard of the plug-in that provides it. `undefined`: the host or the partition, which are trusted. */
  readonly provider: PluginGuard | undefined
  /** The guard of the plug-in that asked for it. `undefined`: the host. */
  readonly user: PluginGuard | undefined
  readonly claims: Claims
  /** Whether something is the host's own, which it gets back as it is. */
  readonly isOfHost: (value: object) => boolean
}

/** What is known of a service's contract. */
interface Contract {
  /** A service of a plug-in, which may throw. */
  served?(service: unknown, provider: PluginGuard, user: PluginGuard | undefined): unknown
  /** A service for a plug-in, which may throw where it is called back, and whose claims are its own. */
  used?(service: unknown, user: PluginGuard, sides: ServiceSides): unknown
}

const CONTRACTS = new Map<string, Contract>()

function contract<T>(
  { name }: ServiceToken<T>,
  {
    served,
    used,
  }: {
    served?: (service: T, provider: PluginGuard, user: PluginGuard | undefined) => T
    used?: (service: T, user: PluginGuard, sides: ServiceSides) => T
  },
): void {
  CONTRACTS.set(name, {
    ...(served && { served: (service, provider, user) => served(service as T, provider, user) }),
    ...(used && { used: (service, user, sides) => used(service as T, user, sides) }),
  })
}

contract<PortIo>(portIoToken, { used: (ports, user, { claims }) => guardedPorts(ports, user, claims) })
contract<Mmio>(mmioToken, { used: (mmio, user, { claims }) => guardedMmio(mmio, user, claims) })
contract<Clock>(clockToken, { used: guardedClock })
contract<PowerControl>(powerControlToken, { used: guardedPower })
contract<SynicPorts>(synicPortsToken, { used: (synic, user, { claims }) => guardedSynic(synic, user, claims) })
contract<InterruptMessages>(interruptMessagesToken, { used: guardedMessages })
contract<ReadonlyMap<string, CharacterBackend>>(characterBackendsToken, { used: guardedBackends })
contract<PciBus>(pciBusToken, { served: servedPci, used: (bus, user, { claims }) => guardedPci(bus, user, claims) })
contract<InterruptLines>(interruptLinesToken, { served: servedLines, used: guardedLines })
contract<Vmbus>(vmbusServerToken, {
  served: servedVmbus,
  used: (bus, user, { claims, provider }) => guardedVmbus(bus, user, claims, provider),
})
contract<Network>(networkToken, {
  served: guardedNetwork,
  // Where a plug-in provides it, both guards are in one object: each frame goes through it.
  used: (network, user, { provider }) => (provider === undefined ? guardedNetwork(network, undefined, user) : network),
})
contract<ReadonlyMap<string, Disk>>(disksToken, { served: guardedDisks })
contract<A20Gate>(a20GateToken, { served: guardedA20 })
contract<KeyboardInput>(keyboardInputToken, { served: guardedKeyboard })
contract<MouseInput>(mouseInputToken, { served: guardedMouse })

/** The service `name`, between the guards of `sides`. */
export function guardService(name: string, service: unknown, sides: ServiceSides): unknown {
  if (service === undefined) return undefined
  const { provider, user, isOfHost } = sides
  const known = CONTRACTS.get(name)
  let guarded: unknown = service
  if (provider !== undefined)
    guarded = known?.served?.(service, provider, user) ?? guardedMembrane(name, service, provider, user, isOfHost)
  return user === undefined ? guarded : (known?.used?.(guarded, user, sides) ?? guarded)
}
