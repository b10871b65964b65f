// How long tests wait for real sockets. On a host that stands still for a while, timers that are over are served before sockets that have something to say: a short limit
// ends before anything could have come.

/** Milliseconds. */
export const PATIENCE = 60_000
