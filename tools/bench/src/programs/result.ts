// What a program says at its end: `result NAME CHECKSUM NANOSECONDS PROCESSOR`, the last of them nanoseconds of processor time as its system counts them.

export interface ProgramResult {
  readonly checksum: string
  /** Seconds by the clock of the machine that it ran on. */
  readonly wall: number
  /** Seconds of processor time of the busiest thread: what the clock would say if nothing else ran on the host. */
  readonly thread: number
  /** Seconds of processor time of the host: of the whole process that runs the guest, or of the program itself. */
  readonly processor: number
}

/** Processor time is the program's own. @returns undefined where there is no such line */
export function parseResult(text: string, name: string): ProgramResult | undefined {
  const match = /^result (\S+) ([0-9a-f]{16}) (\d+) (\d+)\r?$/m.exec(text)
  if (match === null || match[1] !== name) return undefined
  const processor = Number(match[4]) / 1e9
  return { checksum: match[2] as string, wall: Number(match[3]) / 1e9, thread: processor, processor }
}
