// Requests as a guest sends them.

import { Request } from '../src/protocol.ts'

/** The bytes of a request. */
export function request(operation: number, value = 0): Uint8Array {
  const message = Request.allocate()
  message.operation = operation
  message.value = value
  return new Uint8Array(message.view.buffer)
}
