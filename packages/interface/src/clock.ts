// Time as a partition sees it. Everything that needs time is given a Clock; nothing calls the host's clock itself.

/** A one-shot timer. Re-arm it from its own callback for a periodic one. */
export interface Timer {
  /** Fire once when {@link Clock.now} reaches `deadline` (nanoseconds). Replaces an earlier deadline. */
  arm(deadline: number): void
  /** Take the deadline back; nothing happens when it is not armed. */
  cancel(): void
  /** The deadline in nanoseconds, or `Infinity` when it is not armed. */
  readonly deadline: number
}

/**
 * Reference time of a partition: monotonic, stopped while the partition is paused. Callbacks of timers run on the VM's own thread, between
 * two slices of its virtual processor, never re-entrantly.
 */
export interface Clock {
  /** Nanoseconds since the partition's power-on. */
  now(): number
  /** Wall-clock time, milliseconds since 1970 (UTC). */
  wallTime(): number
  /** A timer that is not armed. Its callback must not throw. */
  createTimer(callback: () => void): Timer
}
