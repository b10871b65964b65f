// The Plug and Play manager: keeps the device tree, binds drivers, and takes devices through their lives. Whatever happens to one device happens one thing after the other.

import type { SavedValue } from '@partita/interface'
import type { VscInstance } from '@partita/vmbus/client'
import { GuestError } from '../guest-error.ts'
import { type DeviceDescription, DeviceNode, formatDeviceTree } from './device-node.ts'
import type { Driver, DriverRegistry } from './driver.ts'

/** A driver that has not started by then never will: the host does not answer. */
const START_LIMIT_MS = 60_000

/** What the manager needs of its kernel. */
export interface PnpOptions {
  /** Where drivers are found. */
  readonly drivers: DriverRegistry
  /** Resolves after so many milliseconds. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>
  /** A device came, went, or changed its state. */
  changed(node: DeviceNode): void
}

/** The manager of one partition's devices. */
export class PnpManager {
  /** The root of the tree: the computer itself. */
  readonly root: DeviceNode
  /** Where drivers are found. */
  readonly drivers: DriverRegistry
  readonly #options: PnpOptions
  /** What is going on with a device, or did last. */
  readonly #work = new Map<DeviceNode, Promise<void>>()
  /** Operations that have begun and are not over. */
  #going = 0
  readonly #removals = new WeakMap<DeviceNode, AbortController>()

  constructor(options: PnpOptions) {
    this.#options = options
    this.drivers = options.drivers
    const device = undefined
    this.root = new DeviceNode({ id: 'root', hardwareId: 'root', text: 'Hyper-V child partition', device }, undefined)
  }

  /** The device tree, one device a line. */
  toString(): string {
    return formatDeviceTree(this.root)
  }

  /** A bus found a device: put it into the tree, and start its driver, or have it go on with what it `saved`. */
  add(parent: DeviceNode, description: DeviceDescription, saved?: SavedValue): DeviceNode {
    const node = new DeviceNode(description, parent)
    parent.children.push(node)
    this.#removals.set(node, new AbortController())
    this.#options.changed(node)
    const driver = this.drivers.find(node.hardwareId)
    if (driver === undefined) return node
    node.driver = driver
    const restore = saved === undefined ? undefined : driver.restore
    // At once, so that no interrupt comes before: what a driver does first in restoring is to listen.
    const restored = restore?.call(driver, node.device, saved as SavedValue, node)
    void this.#then(node, () => this.#bind(node, () => restored ?? driver.start(node.device, node)))
    return node
  }

  /** The device is gone: those behind it go first. Resolves when its driver has let go of it. */
  async remove(node: DeviceNode): Promise<void> {
    for (const each of node.walk())
      this.#removals.get(each)?.abort(new GuestError('ERR_GUEST_DRIVER', 'The device was taken away'))
    for (const child of [...node.children]) await this.remove(child)
    await this.#then(node, async () => {
      await this.#unbind(node)
      const siblings = node.parent?.children ?? []
      if (siblings.includes(node)) siblings.splice(siblings.indexOf(node), 1)
      this.#to(node, 'removed')
    })
    this.#work.delete(node)
  }

  /** A driver broke: its device goes on without it. */
  fail(node: DeviceNode, error: Error): Promise<void> {
    return this.#then(node, async () => {
      if (node.state === 'removed') return
      await this.#unbind(node)
      node.error = error
      this.#to(node, 'failed')
    })
  }

  /** Power is gone: whatever waits for a device fails. */
  end(): void {
    for (const node of [...this.root.walk()].reverse()) {
      this.#removals.get(node)?.abort(new GuestError('ERR_GUEST_STATE', 'The guest does not run any more'))
      this.#stop(node)
    }
  }

  /** Put the devices below `node`, and it itself, to sleep: those behind a device before it. */
  async suspend(node: DeviceNode = this.root): Promise<void> {
    await Promise.all(node.children.map((child) => this.suspend(child)))
    await this.#then(node, async () => {
      if (node.state !== 'started' && node.state !== 'failed') return
      let canGoOn = node.instance?.resume !== undefined
      try {
        await node.instance?.suspend?.()
      } catch {
        canGoOn = false
      }
      // One that cannot starts anew.
      if (!canGoOn) this.#stop(node)
      await node.close()
      this.#to(node, 'suspended')
    })
  }

  /** Wake a device; a bus wakes those on it with what it then gives for them. */
  resume(node: DeviceNode, device: unknown = node.device): Promise<void> {
    return this.#then(node, async () => {
      if (node.state !== 'suspended') return
      node.device = device
      const { instance, driver } = node
      await this.#bind(node, async () => {
        if (instance === undefined) return (driver as Driver).start(node.device, node)
        await instance.resume?.(device as never)
        return instance
      })
    })
  }

  /** Whether nothing is going on with any device. */
  get atRest(): boolean {
    return (
      [...this.root.walk()].every(({ state }) => state !== 'starting' && state !== 'suspended') && this.#going === 0
    )
  }

  /** Resolves when nothing is going on with any device. */
  async settled(): Promise<void> {
    for (;;) {
      const work = [...this.#work.values()]
      await Promise.all(work)
      // What was done may have found further devices.
      if (
        work.length === this.#work.size &&
        [...this.#work.values()].every((promise, index) => promise === work[index])
      )
        return
    }
  }

  /** Have a driver bind to a device, and take it as failed when that fails, takes too long, or the device goes meanwhile. */
  async #bind(node: DeviceNode, bind: () => Promise<VscInstance>): Promise<void> {
    node.error = undefined
    this.#to(node, 'starting')
    const removal = this.#removals.get(node)?.signal
    const over = new AbortController()
    const limit = this.#options.sleep(START_LIMIT_MS, over.signal).then(
      () => {
        throw new GuestError('ERR_GUEST_DRIVER', `${node.driver?.name} did not start within ${START_LIMIT_MS / 1000} s`)
      },
      () => new Promise<never>(() => {}),
    )
    const binding = Promise.resolve().then(bind)
    try {
      node.instance = await Promise.race([binding, limit, ...(removal ? [aborted(removal, over.signal)] : [])])
      this.#to(node, 'started')
    } catch (error) {
      // One that comes too late is not wanted.
      binding.then(
        (late) => late?.stop?.(),
        () => undefined,
      )
      this.#stop(node)
      node.error = error instanceof Error ? error : new Error(String(error))
      await node.close()
      this.#to(node, 'failed')
    } finally {
      over.abort()
    }
  }

  async #unbind(node: DeviceNode): Promise<void> {
    this.#stop(node)
    await node.close()
  }

  #stop(node: DeviceNode): void {
    const { instance } = node
    node.instance = undefined
    try {
      instance?.stop?.()
    } catch (error) {
      node.error = error instanceof Error ? error : new Error(String(error))
    }
  }

  #to(node: DeviceNode, state: DeviceNode['state']): void {
    node.state = state
    this.#options.changed(node)
  }

  /** Do something with a device when what was begun before is done. */
  #then(node: DeviceNode, work: () => Promise<void>): Promise<void> {
    this.#going++
    const next = (this.#work.get(node) ?? Promise.resolve())
      .then(work)
      .catch((error: unknown) => {
        node.error = error instanceof Error ? error : new Error(String(error))
        this.#to(node, 'failed')
      })
      .finally(() => this.#going--)
    this.#work.set(node, next)
    return next
  }
}

/** Rejects when `signal` aborts; never settles otherwise. */
function aborted(signal: AbortSignal, until: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { signal: until })
  })
}
