// What the guest says on its console when a job's first request is about to be made, and when the last one is done.

export const BEGIN = 'partita-bench-begin'
export const END = 'partita-bench-end'

/** Words of a shell that print a mark. */
export const say = (mark: string): string => `echo ${mark} >/dev/ttyS0`

/** Words of a shell that print the marks around a command; the second one if it succeeds. */
export const between = (command: string): string => `sh -c '${say(BEGIN)}; ${command} && ${say(END)}'`
