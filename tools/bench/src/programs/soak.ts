// `soak`: a guest that does everything in turn for as long as one likes. The memory of the process must come to rest.

import { join } from 'node:path'
import type { Arguments } from '../arguments.ts'
import { benchGuest } from '../bench-guest.ts'
import { memoryUsage } from '../process-usage.ts'
import { median } from '../statistics.ts'
import { verdict } from '../verdict.ts'
import { compilePrograms, listPrograms } from './compile.ts'
import { partitaProgramMachine } from './machines.ts'
import { addPrograms, GuestRunner, Scratch } from './runners.ts'

const DEFAULT_MINUTES = 5
const PERMILLE = 100
const MEBIBYTE = 2 ** 20
/** The last third of the time may need more than the middle third by this, in MiB: the engine's heap has no fixed size. */
const GROWTH_TARGET = 16

export async function soak(_runs: number, given: Arguments): Promise<void> {
  const minutes = given.minutes ?? DEFAULT_MINUTES
  await using stack = new AsyncDisposableStack()
  const scratch = stack.use(await Scratch.create())
  const executable = join(scratch.path, 'bench')
  await compilePrograms(executable)
  const list = await listPrograms(executable, given.only)
  const guest = await addPrograms(await benchGuest(), executable, join(scratch.path, 'initrd.cpio'))
  const runner = stack.use(await GuestRunner.boot(partitaProgramMachine(guest, given.mode)))
  const { pid } = runner.process

  const checksums = new Map<string, string>()
  const samples: { readonly time: number; readonly mebibytes: number }[] = []
  const start = performance.now()
  const end = start + minutes * 60_000
  let runs = 0
  let shown = start
  while (performance.now() < end) {
    for (const program of list) {
      await runner.install(program, PERMILLE)
      const { checksum } = await runner.run(program, PERMILLE)
      const known = checksums.get(program.name) ?? checksum
      if (known !== checksum) throw new Error(`${program.name}: checksum ${checksum} in run ${runs}, not ${known}`)
      checksums.set(program.name, known)
      runs++
      const { resident, guestRam } = await memoryUsage(pid, guest.memory)
      const now = performance.now()
      samples.push({ time: now, mebibytes: (resident - guestRam) / MEBIBYTE })
      if (now - shown > 60_000) {
        shown = now
        const last = samples.at(-1) as { mebibytes: number }
        console.log(
          `${((now - start) / 60_000).toFixed(0)} min: ${runs} programs, ${last.mebibytes.toFixed(0)} MiB beside the guest's RAM`,
        )
      }
      if (now >= end) break
    }
  }
  const span = performance.now() - start
  const part = (from: number, to: number): number =>
    median(
      samples
        .filter(({ time }) => time - start >= span * from && time - start <= span * to)
        .map(({ mebibytes }) => mebibytes),
    )
  const [middle, last] = [part(1 / 3, 2 / 3), part(2 / 3, 1)]
  console.log(
    `${runs} programs in ${(span / 60_000).toFixed(1)} minutes, all checksums the same; beside the guest's RAM ${middle.toFixed(0)} MiB in the middle third, ${last.toFixed(0)} MiB in the last`,
  )
  console.log(verdict('growth', last - middle, GROWTH_TARGET, 'MiB from the middle third to the last'))
}
