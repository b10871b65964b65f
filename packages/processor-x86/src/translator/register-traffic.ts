// Which registers a region loads and stores, and where. Registers live in locals; the processor's state in memory has them when the region is entered, and must have them when it is left.
//
// The region is cut into segments: one from the entry on, one from each place where ways meet or a loop begins. The first loads a register where it is used first, because
// most ways through a region are short. Every other one is entered with all that can be read from there on, so that a loop loads nothing. A way out stores what has
// changed on some way that leads there.

/** A set of registers: bits 0–15 the general ones, 16–31 the vector registers. */
export type Registers = number

/** What is known on a way through a segment. */
export interface Way {
  readonly segment: Segment
  /** In locals since the segment began. */
  readonly held: Registers
  /** Changed since the segment began. */
  readonly changed: Registers
}

/** Straight ways that begin at one place. */
export class Segment {
  /** Whether it begins with nothing in locals. */
  readonly entry: boolean
  /** Read somewhere in it. */
  read: Registers = 0
  /** In locals when it begins. */
  held: Registers = 0
  /** Changed when it begins, on some way. */
  changed: Registers = 0

  constructor(entry: boolean) {
    this.entry = entry
  }
  /** Nothing is known but where control stands. */
  start(): Way {
    return { segment: this, held: 0, changed: 0 }
  }
}

interface Edge {
  readonly way: Way
  readonly to: Segment
  readonly load: (registers: Registers) => void
}
interface Exit {
  way: Way
  readonly store: (registers: Registers) => void
}

/** Collects what a region does while it is emitted; then says what each edge loads and each exit stores. */
export class RegisterTraffic {
  readonly #edges: Edge[] = []
  readonly #exits: Exit[] = []

  /** Control goes over to another segment; `load` is called when it is known what must be loaded for it. */
  edge(way: Way, to: Segment, load: (registers: Registers) => void): void {
    this.#edges.push({ way, to, load })
  }
  /** Control leaves the region; `store` is called when it is known what must be stored. */
  exit(way: Way, store: (registers: Registers) => void): void {
    this.#exits.push({ way, store })
  }

  /** How many exits there are. */
  get exits(): number {
    return this.#exits.length
  }
  /** The exits from number `first` on can be reached after a change of `registers`, too: they are in a loop. */
  comesRound(first: number, registers: Registers): void {
    for (const exit of this.#exits.slice(first)) {
      exit.way = { ...exit.way, changed: exit.way.changed | registers }
    }
  }

  /** All has been emitted. */
  solve(): void {
    for (const { to } of this.#edges) to.held = to.read
    for (let more = true; more; ) {
      more = false
      for (const { way, to } of this.#edges) {
        const { segment } = way
        const changed = to.changed | segment.changed | way.changed
        // what one way has changed is a local on all of them
        const held = to.held | changed
        if (changed !== to.changed || held !== to.held) more = true
        to.changed = changed
        to.held = held
        if (segment.entry) continue
        const earlier = segment.held | to.held
        if (earlier === segment.held) continue
        segment.held = earlier
        more = true
      }
    }
    for (const { way, to, load } of this.#edges) load(to.held & ~(way.held | way.segment.held))
    for (const { way, store } of this.#exits) store(way.segment.changed | way.changed)
  }
}
