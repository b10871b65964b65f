// What a provider may give a network.

import { FRAME_FLAG, MAXIMUM_FRAME_LENGTH, type NetworkFrame } from '@partita/interface'
import { TestNetwork } from '../test-network.ts'
import { FuzzFailure } from './fake-channel.ts'

/** Looks at each frame. */
export class CheckedNetwork extends TestNetwork {
  override send(frame: NetworkFrame): boolean {
    const length = frame.end - frame.start
    if (length < 14 || length > MAXIMUM_FRAME_LENGTH + 4) throw new FuzzFailure(`a frame of ${length} bytes`)
    if ((frame.flags & ~FRAME_FLAG.CHECKSUM_VALID & ~this.accepts) !== 0)
      throw new FuzzFailure(`flags ${frame.flags} for a port that accepts ${this.accepts}`)
    if (
      (frame.flags & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0 &&
      !(frame.checksumOffset + 2 <= length && frame.checksumStart >= 14)
    )
      throw new FuzzFailure('a checksum outside of its frame')
    if (frame.vlan > 0xffff) throw new FuzzFailure('a tag of more than 16 bits')
    if (frame.gsoSize === 0 && length > this.mtu + 18 + 4) throw new FuzzFailure('a frame longer than the MTU')
    if (this.room <= 0) return false
    this.room--
    return true
  }
}
