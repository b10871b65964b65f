// What the guest says on its console when a job's first request is about to be made, and when the last one is done.

export const BEGIN = 'partita-bench-begin'
export const END = 'partita-bench-end'
