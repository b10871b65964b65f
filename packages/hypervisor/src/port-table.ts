// Dispatch of I/O port intercepts: a flat table over the 65,536 ports. An access allocates nothing.

import type { AccessSize, PortHandler, PortIo } from '@partita/interface'
import { HypervisorError } from './error.ts'

const PORT_COUNT = 0x10000

interface PortClaim {
  readonly base: number
  /** Port after the last one. */
  readonly end: number
  readonly handler: PortHandler
}

/** What answers where no device does: an ISA bus floats high. */
const UNCLAIMED: PortClaim = {
  base: 0,
  end: PORT_COUNT,
  handler: {
    read(_offset: number, size: AccessSize): number {
      return allOnes(size)
    },
    write(): void {},
  },
}

/** The I/O ports of a partition. */
export class PortTable implements PortIo {
  readonly #claims: PortClaim[] = new Array<PortClaim>(PORT_COUNT).fill(UNCLAIMED)

  claim(base: number, length: number, handler: PortHandler): Disposable {
    if (!Number.isInteger(base) || !Number.isInteger(length) || base < 0 || length <= 0 || base + length > PORT_COUNT) {
      throw new HypervisorError('ERR_PORT_RANGE', `Ports ${base} + ${length} are not a range of I/O ports`, {
        data: { base, length },
      })
    }
    const claims = this.#claims
    for (let port = base; port < base + length; port++) {
      if (claims[port] !== UNCLAIMED) {
        throw new HypervisorError('ERR_PORT_CONFLICT', `I/O port 0x${port.toString(16)} is already claimed`, {
          data: { port, base, length },
        })
      }
    }
    const claim: PortClaim = { base, end: base + length, handler }
    claims.fill(claim, claim.base, claim.end)
    return {
      [Symbol.dispose](): void {
        for (let port = claim.base; port < claim.end; port++) if (claims[port] === claim) claims[port] = UNCLAIMED
      },
    }
  }

  /** Read `size` bytes at `port`; an access that leaves a claim is split into bytes. */
  read(port: number, size: AccessSize): number {
    const claim = this.#claims[port] as PortClaim
    if (port + size <= claim.end && (claim !== UNCLAIMED || size === 1))
      return claim.handler.read(port - claim.base, size) >>> 0
    let value = 0
    for (let index = 0; index < size; index++) {
      const at = (port + index) & (PORT_COUNT - 1)
      const byteClaim = this.#claims[at] as PortClaim
      value |= (byteClaim.handler.read(at - byteClaim.base, 1) & 0xff) << (8 * index)
    }
    return value >>> 0
  }

  /** OUT: `value` has `size` bytes; ignored where nothing is. */
  write(port: number, size: AccessSize, value: number): void {
    const claim = this.#claims[port] as PortClaim
    if (port + size <= claim.end && (claim !== UNCLAIMED || size === 1)) {
      claim.handler.write(port - claim.base, size, value)
      return
    }
    for (let index = 0; index < size; index++) {
      const at = (port + index) & (PORT_COUNT - 1)
      const byteClaim = this.#claims[at] as PortClaim
      byteClaim.handler.write(at - byteClaim.base, 1, (value >>> (8 * index)) & 0xff)
    }
  }
}

/** The value that an access of `size` bytes reads where nothing answers. */
export function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff
}
