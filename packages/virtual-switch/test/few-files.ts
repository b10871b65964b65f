// A guest that wants more connections than the process may have files, in a process of its own: `node few-files.ts PORT`. Says as JSON what came of it.

import { readdirSync } from 'node:fs'
import { ManyConnections } from './many-connections.ts'

const WANTED = 300

await using guest = new ManyConnections(Number(process.argv[2]))
await guest.start()
const files = readdirSync('/proc/self/fd').length
const all = await guest.open(WANTED)
const open = all.filter(({ state }) => state === 'open')
for (const [index, connection] of open.entries()) connection.send(`number ${index}`)
await guest.until(() => open.every(({ text }, index) => text === `number ${index}`))
// Where one goes there is room for another.
const some = open.slice(0, 20)
for (const connection of some) connection.end()
await guest.until(() => some.every(({ ended }) => ended))
await guest.forgotten(open.length - some.length)
const more = await guest.open(10)
for (const connection of more) connection.send('more')
await guest.until(() => more.every(({ text }) => text === 'more'))
const { notices } = guest
const refused = all.filter(({ state }) => state === 'refused').length
for (const connection of [...open.slice(some.length), ...more]) connection.end()
await guest.until(() => [...open, ...more].every(({ ended }) => ended))
await guest.forgotten()
const left = guest.gateway.report()
console.log(
  JSON.stringify({
    wanted: WANTED,
    open: open.length,
    refused,
    notices,
    left: left.tcpConnections,
    held: left.heldBytes,
    files,
  }),
)
