// The adapter at a TAP interface (Linux, Documentation/networking/tuntap.rst). The kernel tells of frames by SIGIO, and they are read until there are none: a blocking read would hold a thread that
// nothing ends.

import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Frame } from '@partita/ethernet'
import { MAXIMUM_FRAME_LENGTH, type NetworkAdapter, type NetworkFrame, type NetworkPort } from '@partita/interface'
import { SwitchError } from './switch-error.ts'

/** _IOW('T', 202, int). */
const TUNSETIFF = 0x4004_54ca
const IFF_TAP = 0x0002
/** Frames without four bytes of packet information. */
const IFF_NO_PI = 0x1000
/** struct ifreq. */
const IFREQ = { LENGTH: 40, FLAGS: 16 } as const
const F_SETFL = 4
const F_SETOWN = 8
const O_ASYNC = 0x2000
/** Frames in one go, so that others have their turn. */
const BATCH = 256

interface SystemCalls {
  ioctl(fd: number, request: bigint, argument: Uint8Array): number
  fcntl(fd: number, command: number, argument: number): number
}

let loaded: SystemCalls | undefined

/** `node:ffi` of Node 26. */
function systemCalls(): SystemCalls {
  if (loaded !== undefined) return loaded
  const ffi = createRequire(import.meta.url)('node:ffi') as {
    dlopen(path: null, symbols: object): { functions: SystemCalls }
  }
  loaded = ffi.dlopen(null, {
    ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
    fcntl: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  }).functions
  return loaded
}

/** The host's end of a switch. */
export class TapAdapter implements NetworkAdapter, Disposable {
  readonly name: string
  readonly macAddress = '00:00:00:00:00:00'
  readonly accepts = 0
  readonly #fd: number
  readonly #onError: (error: SwitchError) => void
  readonly #buffer: Uint8Array = new Uint8Array(MAXIMUM_FRAME_LENGTH + 4)
  readonly #frame: Frame = new Frame()
  readonly #drain = (): void => this.#read()
  #port: NetworkPort | undefined
  /** A frame in the buffer that the switch had no room for. */
  #waiting = 0
  #failed = false

  /**
   * Open the interface. `onError` is called once, when it fails later.
   * @throws SwitchError `ERR_NETWORK_TAP`
   */
  constructor(name: string, onError: (error: SwitchError) => void) {
    this.name = name
    this.#onError = onError
    this.#fd = open(name)
  }

  /** Take a port. */
  start(port: NetworkPort): void {
    this.#port = port
    process.on('SIGIO', this.#drain)
    this.#read()
  }

  // ── to the host ──

  receive(frame: NetworkFrame): boolean {
    try {
      writeSync(this.#fd, frame.bytes, frame.start, frame.end - frame.start)
    } catch (error) {
      // A frame that the interface does not take (it is down, say) is lost, as on a wire.
      if ((error as NodeJS.ErrnoException).code === 'EBADFD') this.#fail(error)
    }
    return true
  }

  receiveEnd(): void {}

  portChanged(): void {}

  // ── from the host ──

  writable(): void {
    const length = this.#waiting
    this.#waiting = 0
    if (length > 0 && this.#send(length)) this.#read()
    this.#port?.sendEnd()
  }

  #send(length: number): boolean {
    if (this.#port?.send(this.#frame.plain(this.#buffer, 0, length)) !== false) return true
    this.#waiting = length
    return false
  }

  #read(): void {
    if (this.#port === undefined || this.#waiting > 0 || this.#failed) return
    for (let count = 0; count < BATCH; count++) {
      let length = 0
      try {
        length = readSync(this.#fd, this.#buffer)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.#fail(error)
        this.#port.sendEnd()
        return
      }
      if (!this.#send(length)) break
    }
    this.#port.sendEnd()
    if (this.#waiting === 0) setImmediate(this.#drain)
  }

  #fail(cause: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#onError(tapError(this.name, cause))
  }

  [Symbol.dispose](): void {
    process.off('SIGIO', this.#drain)
    this.#port = undefined
    this.#failed = true
    closeSync(this.#fd)
  }
}

function open(name: string): number {
  let fd = -1
  try {
    const { ioctl, fcntl } = systemCalls()
    fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK)
    const request = new Uint8Array(IFREQ.LENGTH)
    new TextEncoder().encodeInto(name, request)
    new DataView(request.buffer).setUint16(IFREQ.FLAGS, IFF_TAP | IFF_NO_PI, true)
    if (ioctl(fd, BigInt(TUNSETIFF), request) !== 0) throw new Error('the kernel does not give it to this user')
    fcntl(fd, F_SETOWN, process.pid)
    fcntl(fd, F_SETFL, constants.O_NONBLOCK | O_ASYNC)
    return fd
  } catch (error) {
    if (fd >= 0) closeSync(fd)
    throw tapError(name, error)
  }
}

function tapError(name: string, cause: unknown): SwitchError {
  const { code, message } = cause as NodeJS.ErrnoException
  const missing = code === 'ERR_UNKNOWN_BUILTIN_MODULE'
  return new SwitchError(
    'ERR_NETWORK_TAP',
    `cannot use the interface ${name}: ${missing ? 'this Node has no node:ffi' : message}`,
    {
      hint: missing
        ? 'Run Node 26 or newer.'
        : `Make it once, as root: ip tuntap add dev ${name} mode tap user $USER; ip link set ${name} up.`,
      data: { name },
      cause,
    },
  )
}
