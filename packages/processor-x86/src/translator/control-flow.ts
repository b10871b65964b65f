// From blocks with jumps to WebAssembly's structured control: the order of a region's blocks, what dominates what, and where loops are. After N. Ramsey, "Beyond Relooper"
// (2022): a block that several forward edges lead to gets a label that is left behind, a loop's header one that is started again, and every other block stands where its
// only edge is.

import { FLOW, type Region } from './region.ts'

/** Most places that a return is compared with. */
const MAXIMUM_RETURNS = 6

export interface Node {
  readonly at: number
  /** Place in reverse postorder. */
  order: number
  /** Blocks that only control through this one reaches, in that order. */
  readonly children: Node[]
  /** Several forward edges lead here. */
  merge: boolean
  /** An edge from a block that this one dominates leads here. */
  loop: boolean
  /** Edges to other blocks of the region. */
  readonly successors: Node[]
}

interface Draft extends Node {
  dominator: Draft | undefined
  readonly successors: Draft[]
  readonly children: Draft[]
  readonly predecessors: Draft[]
}

/** The nodes by place. Edges into the middle of a loop are left out: they leave the region. */
export function controlFlow(region: Region): Map<number, Node> {
  const nodes = new Map<number, Draft>()
  for (const at of region.blocks.keys()) {
    nodes.set(at, {
      at,
      order: -1,
      children: [],
      merge: false,
      loop: false,
      successors: [],
      predecessors: [],
      dominator: undefined,
    })
  }
  // where calls inside the region come back to
  const returns: number[] = []
  for (const { instructions } of region.blocks.values()) {
    const last = instructions.at(-1)
    if (last?.flow === FLOW.CALL && nodes.has(last.target)) returns.push(last.at + last.length)
  }
  for (const block of region.blocks.values()) {
    const node = nodes.get(block.at) as Draft
    const last = block.instructions.at(-1)
    const add = (target: number | undefined): void => {
      const successor = target === undefined ? undefined : nodes.get(target)
      if (successor) node.successors.push(successor)
    }
    if (last?.flow === FLOW.CONDITIONAL || last?.flow === FLOW.JUMP || last?.flow === FLOW.CALL) add(last.target)
    if (last?.flow === FLOW.RETURN) for (const at of returns.slice(0, MAXIMUM_RETURNS)) add(at)
    add(block.next)
  }
  const entry = nodes.get(0) as Draft
  let order = analyse(entry, nodes)
  // edges backwards to a block that does not dominate: the code has a loop with two entries
  for (;;) {
    let removed = false
    for (const node of order) {
      for (const successor of [...node.successors]) {
        if (successor.order > node.order || dominates(successor, node)) continue
        node.successors.splice(node.successors.indexOf(successor), 1)
        removed = true
      }
    }
    if (!removed) break
    order = analyse(entry, nodes)
  }
  for (const node of order) {
    if (node.dominator) node.dominator.children.push(node)
    let forward = 0
    for (const from of node.predecessors) {
      if (from.order < node.order) forward++
      else node.loop = true
    }
    node.merge = forward > 1
  }
  return new Map(order.map((node) => [node.at, node]))
}

/** Reverse postorder, predecessors and dominators (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"). Blocks that are not reached are left out. */
function analyse(entry: Draft, nodes: ReadonlyMap<number, Draft>): Draft[] {
  for (const node of nodes.values()) {
    node.order = -1
    node.dominator = undefined
    node.predecessors.length = 0
  }
  const postorder: Draft[] = []
  const visited = new Set<Draft>([entry])
  const stack: { node: Draft; next: number }[] = [{ node: entry, next: 0 }]
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const successor = top.node.successors[top.next++]
    if (!successor) {
      postorder.push(top.node)
      stack.pop()
    } else if (!visited.has(successor)) {
      visited.add(successor)
      stack.push({ node: successor, next: 0 })
    }
  }
  const order = postorder.reverse()
  order.forEach((node, i) => {
    node.order = i
  })
  for (const node of order) for (const successor of node.successors) successor.predecessors.push(node)
  entry.dominator = entry
  for (let changed = true; changed; ) {
    changed = false
    for (const node of order) {
      if (node === entry) continue
      let dominator: Draft | undefined
      for (const from of node.predecessors) {
        if (!from.dominator) continue
        dominator = dominator ? common(dominator, from) : from
      }
      if (node.dominator !== dominator) {
        node.dominator = dominator
        changed = true
      }
    }
  }
  entry.dominator = undefined
  return order
}
function common(a: Draft, b: Draft): Draft {
  let x = a
  let y = b
  while (x !== y) {
    while (x.order > y.order) x = x.dominator as Draft
    while (y.order > x.order) y = y.dominator as Draft
  }
  return x
}
function dominates(a: Draft, b: Draft): boolean {
  for (let node: Draft | undefined = b; node; node = node.dominator) if (node === a) return true
  return false
}
