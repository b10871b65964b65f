// Loads plug-ins by URL from a server of its own, and prints what became of each. Its argument is a directory with a package `neighbour` in node_modules.

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PluginRegistry } from '../src/index.ts'
import { NodePackageSource } from '../src/node.ts'

const directory = process.argv[2] as string
const plugin = (name: string, head = '') => `${head}
export default {
  name: '${name}', kind: 'emulated-device', contract: 1, description: 'd', needs: [], provides: [],
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  create: () => ({ async [Symbol.asyncDispose]() {} }),
}`
const files: Record<string, string> = {
  '/plain.js': plugin('plain'),
  '/friendly.js': plugin('friendly', "import { word } from 'neighbour'; if (word !== 'hello') throw new Error(word)"),
  '/relative.js': plugin('relative', "import './plain.js'"),
  '/throws.js': "throw new Error('far away')",
  '/contract.js': plugin('contract').replace('contract: 1', 'contract: 9'),
}
const server = createServer((request, response) => {
  const text = files[request.url as string]
  response.writeHead(text === undefined ? 404 : 200).end(text)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const digest = createHash('sha256')
  .update(files['/plain.js'] as string)
  .digest('hex')
const registry = new PluginRegistry({ source: new NodePackageSource({ directory }), packages: [] })

const references = {
  plain: `${origin}/plain.js`,
  pinned: `${origin}/plain.js#sha256=${digest}`,
  changed: `${origin}/plain.js#sha256=${'0'.repeat(64)}`,
  odd: `${origin}/plain.js#md5=1`,
  friendly: `${origin}/friendly.js`,
  relative: `${origin}/relative.js`,
  throws: `${origin}/throws.js`,
  contract: `${origin}/contract.js`,
  absent: `${origin}/absent.js`,
  data: `data:text/javascript,${encodeURIComponent(plugin('data'))}`,
  file: pathToFileURL(join(directory, 'single.mjs')).href,
  directory: pathToFileURL(join(directory, 'mine')).href,
}
const results: Record<string, string> = {}
for (const [name, reference] of Object.entries(references)) {
  results[name] = await registry.load(reference).then(
    ({ name }) => name,
    ({ code, message }) => `${code} ${message.replaceAll(origin, 'ORIGIN')}`,
  )
}
results['listed'] = await registry.list([references.plain]).then(
  () => 'listed',
  ({ code }) => code,
)
server.close()
console.log(JSON.stringify(results))
