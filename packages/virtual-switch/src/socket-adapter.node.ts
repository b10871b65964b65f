// The adapter at a stream socket to another process: frames, each after its length in four bytes, big-endian.

import type { Socket } from 'node:net'
import { Frame } from '@partita/ethernet'
import { MAXIMUM_FRAME_LENGTH, type NetworkAdapter, type NetworkFrame, type NetworkPort } from '@partita/interface'

const LENGTH_SIZE = 4
const LARGEST: number = MAXIMUM_FRAME_LENGTH + 4
/** Bytes that may wait for the other process. */
const HIGH_WATER = 1024 * 1024

/** A neighbour in another process. It accepts nothing unfinished: what stands beside a frame does not go through the socket. */
export class SocketAdapter implements NetworkAdapter, Disposable {
  readonly name = 'socket'
  readonly macAddress = '00:00:00:00:00:00'
  readonly accepts = 0
  readonly #socket: Socket
  readonly #frame: Frame = new Frame()
  #port: NetworkPort | undefined
  /** What has come and is not sent on: from `#start` to `#end`. */
  #buffer: Buffer = Buffer.alloc(2 * (LENGTH_SIZE + LARGEST))
  #start = 0
  #end = 0
  #blocked = false

  /** `onClose` is called once, when the other process is gone or sends what is no frame. */
  constructor(socket: Socket, onClose: () => void) {
    this.#socket = socket
    socket
      .on('data', (chunk: Buffer) => this.#received(chunk))
      .on('drain', () => this.#port?.resume())
      .on('error', () => {})
      .on('close', onClose)
  }

  /** Take a port. */
  start(port: NetworkPort): void {
    this.#port = port
    this.#socket.resume()
  }

  // ── to the other process ──

  receive(frame: NetworkFrame): boolean {
    if (this.#socket.writableLength > HIGH_WATER) return false
    const length = frame.end - frame.start
    const bytes = Buffer.allocUnsafe(LENGTH_SIZE + length)
    bytes.writeUInt32BE(length)
    bytes.set(frame.bytes.subarray(frame.start, frame.end), LENGTH_SIZE)
    this.#socket.write(bytes)
    return true
  }

  receiveEnd(): void {}

  portChanged(): void {}

  // ── from it ──

  #received(chunk: Buffer): void {
    if (this.#end + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length)
    chunk.copy(this.#buffer, this.#end)
    this.#end += chunk.length
    this.#forward()
  }

  #makeRoom(length: number): void {
    const kept = this.#end - this.#start
    const target = kept + length > this.#buffer.length ? Buffer.alloc(2 * (kept + length)) : this.#buffer
    this.#buffer.copy(target, 0, this.#start, this.#end)
    this.#buffer = target
    this.#start = 0
    this.#end = kept
  }

  #forward(): void {
    this.#blocked = false
    while (this.#end - this.#start >= LENGTH_SIZE) {
      const length = this.#buffer.readUInt32BE(this.#start)
      if (length > LARGEST) {
        this.#socket.destroy()
        return
      }
      const begin = this.#start + LENGTH_SIZE
      if (this.#end < begin + length) break
      if (this.#port?.send(this.#frame.plain(this.#buffer, begin, begin + length)) === false) {
        this.#blocked = true
        break
      }
      this.#start = begin + length
    }
    this.#port?.sendEnd()
    if (this.#blocked) this.#socket.pause()
    else this.#socket.resume()
  }

  writable(): void {
    if (this.#blocked) this.#forward()
  }

  [Symbol.dispose](): void {
    this.#port = undefined
    this.#socket.destroy()
  }
}
