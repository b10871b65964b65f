// The InstructionEmitter of the translator: one WebAssembly function for a region. Operands are constants, registers are locals (see region-operands.ts). What leaves the region goes
// through one epilogue.

import type { Semantics } from '../instruction/definition.ts'
import { zeroExtend } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { emitUnitCheck } from '../instruction/unit-check.ts'
import { HANDLER } from '../interpreter/handler.ts'
import { jumpEntry } from '../interpreter/jump-entry.ts'
import { FILE, RECORD, STATE, STATUS } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import type { Label, Local } from '../wasm/function-emitter.ts'
import { controlFlow, type Node } from './control-flow.ts'
import { FLOW, type Region, type RegionBlock, type RegionInstruction } from './region.ts'
import { type RegionFunctions, RegionMemory } from './region-memory.ts'
import { EXIT, FLAG_FIELDS, FLAG_NAMES, FlagsOnSomeWays, fill } from './region-operands.ts'
import { Segment } from './register-traffic.ts'

/** Emits a region. */
export class RegionEmitter extends RegionMemory {
  readonly #nodes: Map<number, Node>
  /** For pages but the entry's: not 0 once control has come there and the mapping was right. */
  readonly #seen = new Map<number, Local>()
  readonly #used: number
  readonly #counter: number | undefined
  readonly #labels = new Map<Node, { readonly label: Label; readonly loop: boolean; readonly segment: Segment }>()
  #node!: Node
  /** Where `complete` goes. */
  #completed: Label | undefined

  /** `used`: a byte of memory that is 1 once the region was executed. `counter`: where in memory (i64) the instructions that the region executes are counted, if they are. */
  constructor(region: Region, base: number, functions: RegionFunctions, used: number, counter: number | undefined) {
    super(region, base, functions)
    this.#used = used
    this.#counter = counter
    this.#nodes = controlFlow(region)
    // locals begin as 0
    for (const { page } of region.blocks.values()) {
      if (page !== 0 && !this.#seen.has(page)) this.#seen.set(page, this.local('i32'))
    }
  }

  /** Emit the whole function. */
  emit(): void {
    this.#prologue()
    this.block((unchanged) => {
      this.exitUnchanged = unchanged
      this.block((exit) => {
        this.exit = exit
        this.#tree(this.#nodes.get(0) as Node)
      })
      for (const name of FLAG_NAMES) this.setStateI64(FLAG_FIELDS[name], this.get(this.flags[name]))
    })
    this.#epilogue()
    this.traffic.solve()
    for (const { gap, registers } of this.loads) fill(gap, this.registerCode.load, registers)
  }

  #prologue(): void {
    this.set(this.rip, this.field64(STATE.FILE + FILE.BLOCK_RIP))
    this.set(this.context, this.field32(STATE.CONTEXT))
    this.set(this.budget, this.field32(STATE.RESERVE))
  }

  #epilogue(): void {
    const zero = i32.const(0)
    this.do(i32.store8(zero, i32.const(1), this.#used))
    if (this.#counter !== undefined) {
      const executed = i32.sub(this.field32(STATE.RESERVE), this.get(this.budget))
      const sum = i64.add(i64.load(zero, this.#counter), i64.extend_i32_u(executed))
      this.do(i64.store(zero, sum, this.#counter))
    }
    this.do(i64.store(zero, this.get(this.out), this.stateOffset(STATE.RIP)))
    this.do(i32.store(zero, this.get(this.budget), this.stateOffset(STATE.RESERVE)))
    this.if(i32.eq(this.get(this.how), i32.const(EXIT.CHAIN)), () => this.#chain())
    this.return(
      select(
        i32.eq(this.get(this.how), i32.const(EXIT.BUDGET)),
        i32.const(STATUS.EXIT),
        select(i32.eq(this.get(this.how), i32.const(EXIT.FAULT)), i32.const(STATUS.FAULT), i32.const(STATUS.LEAVE)),
      ),
    )
    this.unreachable()
  }

  /** Go on in the region at out, when the jump cache knows one and the slice is not over. */
  #chain(): void {
    const target = this.get(this.out)
    const over = i32.lt_s(this.get(this.budget), i32.const(0))
    this.if(over, () => this.return(i32.const(STATUS.EXIT)), undefined, false)
    const next = this.next
    this.if(i32.eqz(this.get(next)), () => {
      const entry = this.let(jumpEntry(this, this.base, target))
      this.if(i64.ne(i64.load(entry), target), () => this.return(i32.const(STATUS.JUMP)), undefined, false)
      this.set(next, i32.load(entry, 8))
    })
    const record = this.settled(next)
    this.if(i32.eq(i32.load16_u(record, RECORD.HANDLER), i32.const(HANDLER.REGION)), () => {
      this.setStateI64(STATE.FILE + FILE.BLOCK_RIP, target)
      this.returnCallIndirect(this.functions.region, i32.load16_u(record, RECORD.FUNCTION), record)
    })
    this.return(i32.const(STATUS.JUMP))
  }

  #tree(node: Node): void {
    const merges = node.children.filter(({ merge }) => merge).sort((a, b) => b.order - a.order)
    if (!node.loop) {
      this.#within(node, merges, 0)
      return
    }
    const segment = new Segment(false)
    this.settle(0)
    this.loadFlags()
    this.enter(segment)
    this.forget(segment)
    this.regionLoop((label) => {
      this.#labels.set(node, { label, loop: true, segment })
      this.#within(node, merges, 0)
    })
  }

  #within(node: Node, merges: readonly Node[], index: number): void {
    const merge = merges[index]
    if (!merge) {
      this.#block(node)
      return
    }
    const segment = new Segment(false)
    this.block((label) => {
      // a block that is a loop's header, too, gets its label there
      this.#labels.set(merge, { label, loop: false, segment })
      this.#within(node, merges, index + 1)
    })
    this.forget(segment)
    this.#tree(merge)
  }

  #block(node: Node): void {
    const outer = this.#node
    this.#node = node
    const block = this.region.blocks.get(node.at) as RegionBlock
    for (const instruction of block.instructions) this.#emitInstruction(instruction)
    if (block.next !== undefined) this.#edge(block.next)
    this.#node = outer
  }

  /** Go to a place in the region, or outside it. What is pending stays so for other ways. */
  #edge(target: number): void {
    const node = this.#node.successors.find(({ at }) => at === target)
    if (!node) {
      const record = this.region.records(target)
      if (record !== 0) this.set(this.next, i32.const(record))
      this.leave(this.ripOf(target), i32.const(EXIT.CHAIN), 0)
      return
    }
    this.#enterPage(target)
    const place = this.#labels.get(node)
    if (!place || (!node.merge && !place.loop)) {
      this.#tree(node)
      return
    }
    this.settle(0)
    this.loadFlags()
    if (place.loop) {
      this.if(
        i32.lt_s(this.get(this.budget), i32.const(0)),
        () => {
          this.storeChanged()
          this.set(this.out, this.ripOf(target))
          this.set(this.how, i32.const(EXIT.BUDGET))
          this.br(this.exit)
        },
        undefined,
        false,
      )
    }
    this.enter(place.segment)
    this.br(place.label)
  }

  /** Control comes from one page into another: leave unless that is still the one that the region was made for. */
  #enterPage(target: number): void {
    const { blocks } = this.region
    const { page, block } = blocks.get(target) as RegionBlock
    const seen = this.#seen.get(page)
    if (!seen || blocks.get(this.#node.at)?.page === page) return
    this.if(
      i32.eqz(this.get(seen)),
      () => {
        const rip = this.let(i64.add(this.get(this.rip), i64.const(target)))
        const entry = this.let(jumpEntry(this, this.base, rip))
        const other = i32.or(i64.ne(i64.load(entry), rip), i32.ne(i32.load(entry, 8), i32.const(block)))
        this.if(other, () => this.leave(rip, i32.const(EXIT.CHAIN), 0), undefined, false)
        this.set(seen, i32.const(1))
      },
      undefined,
      false,
    )
  }

  #emitInstruction(instruction: RegionInstruction): void {
    this.#use(instruction)
    const start = this.checkpoint()
    this.begins = start.length
    this.loading = undefined
    const known = this.known
    let taken: Local[]
    try {
      taken = this.taking(() => this.#semantics())
    } catch (thrown) {
      if (!(thrown instanceof FlagsOnSomeWays)) throw thrown
      this.rollBack(start)
      this.loading = undefined
      this.known = known
      this.settle(0)
      this.loadFlags()
      this.known = { ...known, unchanged: false, pending: {}, source: undefined, count: 0 }
      taken = this.taking(() => this.#semantics())
    }
    this.known = { ...this.known, count: this.known.count + 1 }
    this.holdPending(taken)
  }

  #use(instruction: RegionInstruction): void {
    this.instruction = instruction
    this.form = instruction.decoded.form
    this.base0 = this.depth
  }

  #semantics(): void {
    const { definition } = this.form
    const { semantics, options } = definition
    const { unit } = options
    if (unit && !this.known.units.has(unit)) {
      emitUnitCheck(this, unit)
      // an MMX instruction looks at the x87 status, which changes
      if (unit !== 'mmx') this.known = { ...this.known, units: new Set([...this.known.units, unit]) }
    }
    if (typeof semantics === 'function') {
      ;(semantics as Semantics)(this)
      return
    }
    // the usual case; the interpreter does the others
    this.block((completed) => {
      this.#completed = completed
      semantics.usual?.(this)
      this.leave(this.ripAt(0), i32.const(EXIT.LEAVE), 0)
    })
  }

  nextRip(): Expr {
    return this.let(this.ripAt(this.instruction.length))
  }

  currentRip(): Expr {
    return this.let(this.ripAt(0))
  }

  override relativeTarget(_n: number): Expr {
    const target = i64.add(this.get(this.rip), i64.const(this.instruction.target))
    return this.let(this.form.mode64 ? target : zeroExtend(target, this.form.operandSize))
  }

  leaveWithFault(): void {
    this.leave(this.ripAt(0), i32.const(EXIT.FAULT), 0)
  }

  jump(target: Expr): void {
    if (this.instruction.flow === FLOW.RETURN) {
      const kept = this.let(target)
      for (const { at } of this.#node.successors) {
        const here = i64.eq(kept, this.ripOf(at))
        this.if(here, () => this.#branch(at))
      }
      this.leave(kept, i32.const(EXIT.CHAIN), 1)
      return
    }
    this.leave(target, i32.const(EXIT.CHAIN), 1)
  }

  jumpRelative(): void {
    this.#branch(this.instruction.target)
  }

  /** Go to a place from inside an instruction. The way on keeps what it knows. */
  #branch(target: number): void {
    const instruction = this.instruction
    const known = this.known
    const held = this.held
    const depth = this.base0
    const node = this.#node
    const start = this.begins
    const load = this.loading
    this.held = []
    this.known = { ...known, count: known.count + 1 }
    this.base0 = this.depth
    this.#edge(target)
    this.release(this.held)
    this.held = held
    this.known = known
    this.#node = node
    this.begins = start
    this.loading = load
    this.#use(instruction)
    this.base0 = depth
  }

  complete(): void {
    if (!this.#completed) throw new Error('nothing to complete')
    this.br(this.#completed)
  }

  clock(): Expr {
    return this.call(this.functions.now)
  }

  repeatInstruction(): void {
    this.jump(this.currentRip())
  }

  helper(helper: HelperFunction, ...args: Expr[]): Expr {
    return this.call(this.functions.helper(helper), ...args)
  }
}
