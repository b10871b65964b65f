// A node of the device tree: what a bus says of a device, the driver that is bound to it, and what became of that.

import type { VscInstance } from '@partita/vmbus/client'
import type { Driver } from './driver.ts'

/** What a bus says of a device. */
export interface DeviceDescription {
  /** Tells it from its siblings, and is the same after a suspension. */
  readonly id: string
  /** What drivers are found by. */
  readonly hardwareId: string
  /** For people. */
  readonly text: string
  /** What its driver gets. */
  readonly device: unknown
  /** Give back what the driver took of the bus: channels, memory. Called when a driver has let go of the device. */
  close?(device: unknown): Promise<void>
}

/**
 * - `enumerated`: there is no driver for it.
 * - `failed`: its driver did not start, or broke; {@link DeviceNode.error} says why.
 */
export type DeviceState = 'enumerated' | 'starting' | 'started' | 'failed' | 'suspended' | 'removed'

/** One device. */
export class DeviceNode {
  /** Tells it from its siblings. */
  readonly id: string
  /** What its driver is found by. */
  readonly hardwareId: string
  /** For people. */
  readonly text: string
  /** The bus that it is on. */
  readonly parent: DeviceNode | undefined
  /** The devices on it. */
  readonly children: DeviceNode[] = []
  /** What the bus gives to the driver; another object after a suspension. */
  device: unknown
  /** Where it is in its life. */
  state: DeviceState = 'enumerated'
  /** The driver for it, whether it has started or not. */
  driver: Driver | undefined
  /** What the driver's start returned. */
  instance: VscInstance | undefined
  /** Why it has failed. */
  error: Error | undefined
  readonly #close: DeviceDescription['close']

  constructor(description: DeviceDescription, parent: DeviceNode | undefined) {
    this.id = description.id
    this.hardwareId = description.hardwareId
    this.text = description.text
    this.device = description.device
    this.parent = parent
    this.#close = description.close
  }

  /** Give back what a driver took of the bus. */
  async close(): Promise<void> {
    await this.#close?.(this.device)
  }

  /** Its place: the ids from the root to it. */
  get path(): string {
    return this.parent === undefined ? this.id : `${this.parent.path}/${this.id}`
  }

  /** This node and all below it, parents first. */
  *walk(): Generator<DeviceNode> {
    yield this
    for (const child of [...this.children]) yield* child.walk()
  }
}

/** The tree as text, one device a line. */
export function formatDeviceTree(root: DeviceNode): string {
  const lines: string[] = []
  const visit = (node: DeviceNode, indent: string, branch: string): void => {
    const driver = node.driver === undefined ? '' : ` [${node.driver.name}]`
    const state = node.state === 'started' || node.state === 'enumerated' ? '' : ` (${node.state})`
    const error = node.error === undefined ? '' : `: ${node.error.message}`
    lines.push(`${indent}${branch}${node.text}${driver}${state}${error}`)
    const below = branch === '' ? '' : indent + (branch.startsWith('└') ? '   ' : '│  ')
    const leaves = node.instance?.children?.() ?? []
    const last = node.children.length + leaves.length - 1
    node.children.forEach((child, index) => {
      visit(child, below, index === last ? '└─ ' : '├─ ')
    })
    leaves.forEach((leaf, index) => {
      lines.push(`${below}${node.children.length + index === last ? '└─ ' : '├─ '}${leaf.id}: ${leaf.description}`)
    })
  }
  visit(root, '', '')
  return lines.join('\n')
}
