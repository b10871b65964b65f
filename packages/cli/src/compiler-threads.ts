// Where a host has few cores, the guest's processor and the threads that compile for it take turns.

import { readdirSync, readFileSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'

/** As the translator's own thread. */
const NICENESS = 10
const TASKS = '/proc/self/task'

/**
 * Let the engine's threads, which compile and collect garbage, yield to this one. On Linux, where threads have priorities of their own; elsewhere nothing happens.
 * They belong to the whole process, so that this is for a program that is nothing but Partita.
 */
export function lowerCompilerThreads(): void {
  if (process.platform !== 'linux') return
  try {
    for (const task of readdirSync(TASKS)) {
      if (!readFileSync(`${TASKS}/${task}/comm`, 'utf8').includes('V8Worker')) continue
      const thread = Number(task)
      setPriority(thread, Math.min(getPriority(thread) + NICENESS, constants.priority.PRIORITY_LOW))
    }
  } catch {
    // no such files, or the host does not allow it: all take turns
  }
}
