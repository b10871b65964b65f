// The compliance suite that every provider runs, built in or a stranger's: what the bus, a guest and a saved machine may expect of a plug-in of kind `vsp`.

import type { FakeMachine } from '../fake-machine.ts'
import type { ComplianceCheck } from './check.ts'
import { pluginChecks } from './plugin-checks.ts'
import { vspLifeChecks } from './vsp-life-checks.ts'
import { vspStateChecks } from './vsp-state-checks.ts'
import { VspBench, type VspSubject } from './vsp-subject.ts'
import { vspTrafficChecks } from './vsp-traffic-checks.ts'

/**
 * The checks of a provider, for any test runner. `vspCompliance` of `@partita/testkit/vitest` makes tests of them.
 *
 * @example
 * ```ts
 * import { vspChecks } from '@partita/testkit'
 *
 * for (const check of vspChecks({ plugin, manifest: packageJson.partita })) test(check.name, check.run)
 * ```
 */
export function vspChecks(subject: VspSubject): readonly ComplianceCheck[] {
  const bench = new VspBench(subject)
  const boot = async (): Promise<FakeMachine> => {
    const guest = await bench.boot()
    await guest.withdraw()
    return guest.machine
  }
  return [
    ...pluginChecks(subject, 'vsp', boot),
    ...vspLifeChecks(bench),
    ...vspStateChecks(bench),
    ...vspTrafficChecks(bench),
  ]
}
