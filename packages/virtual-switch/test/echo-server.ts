// A server in a process of its own, whose files are not those of the test: it sends back what it gets, and tells its port, and when it is asked how many connections it has.

import { type AddressInfo, createServer } from 'node:net'

let open = 0
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  open++
  socket.on('error', () => {}).on('close', () => open--)
  socket.pipe(socket)
})
server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
process.on('message', () => process.send?.({ open }))
process.on('disconnect', () => process.exit())
