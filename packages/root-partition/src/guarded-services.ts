// What a plug-in gets when it asks for a service: the service with the plug-in's own guard around everything that calls back.

import {
  type CharacterBackend,
  type Clock,
  characterBackendsToken,
  clockToken,
  type InterruptLines,
  type InterruptMessages,
  interruptLinesToken,
  interruptMessagesToken,
  type Mmio,
  mmioToken,
  type PciBus,
  type PortIo,
  pciBusToken,
  portIoToken,
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
  guardedSynic,
} from './guarded-devices.ts'
import { guardedVmbus } from './guarded-vmbus.ts'
import type { PluginGuard } from './plugin-guard.ts'

type Wrap = (service: never, guard: PluginGuard, claims: Claims) => unknown

const WRAPS: ReadonlyMap<string, Wrap> = new Map<string, Wrap>([
  [portIoToken.name, (service: PortIo, guard, claims) => guardedPorts(service, guard, claims)],
  [mmioToken.name, (service: Mmio, guard, claims) => guardedMmio(service, guard, claims)],
  [pciBusToken.name, (service: PciBus, guard, claims) => guardedPci(service, guard, claims)],
  [vmbusServerToken.name, (service: Vmbus, guard, claims) => guardedVmbus(service, guard, claims)],
  [interruptLinesToken.name, (service: InterruptLines, guard) => guardedLines(service, guard)],
  [interruptMessagesToken.name, (service: InterruptMessages, guard) => guardedMessages(service, guard)],
  [clockToken.name, (service: Clock, guard) => guardedClock(service, guard)],
  [synicPortsToken.name, (service: SynicPorts, guard) => guardedSynic(service, guard)],
  [
    characterBackendsToken.name,
    (service: ReadonlyMap<string, CharacterBackend>, guard) => guardedBackends(service, guard),
  ],
])

/** The service `name` as the plug-in of `guard` gets it. Services that call nothing back are handed out as they are. */
export function guardService(name: string, service: unknown, guard: PluginGuard, claims: Claims): unknown {
  const wrap = WRAPS.get(name)
  return wrap === undefined || service === undefined ? service : wrap(service as never, guard, claims)
}
