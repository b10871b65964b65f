// Plug-ins by URL: one self-contained module is fetched whole, then given to Node's loader under its own URL, so that stack traces name it. What it imports by
// name comes from the user's packages; it cannot import by relative paths.

import { createHash } from 'node:crypto'
import { isBuiltin, registerHooks } from 'node:module'
import { MODULE_ABSENT } from './package-source.ts'

/** Bytes of a module, at most. */
const MAXIMUM_LENGTH = 16 * 1024 * 1024
const TIMEOUT = 30_000

/** Fetched modules by URL, and where their imports are resolved from. */
const modules = new Map<string, { readonly source: Uint8Array; readonly base: string }>()
let hooked = false

/**
 * Fetch and run a module.
 *
 * @param reference `https://…` or `http://…`, with `#sha256=…` to have its content checked
 * @param base URL of a file from whose place packages are found
 * @throws Error saying what is wrong, with the code `ERR_MODULE_ABSENT` where there is no such module
 */
export async function importRemote(reference: string, base: string): Promise<Readonly<Record<string, unknown>>> {
  const url = new URL(reference)
  const wanted = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash)?.[1]?.toLowerCase()
  if (url.hash !== '' && wanted === undefined) throw new Error(`'${url.hash}' is not #sha256= and 64 digits`)
  url.hash = ''
  const source = await download(url)
  const digest = createHash('sha256').update(source).digest('hex')
  if (wanted !== undefined && wanted !== digest)
    throw new Error(`its content has the SHA-256 ${digest}, and not ${wanted}`)
  // Another content under the same URL is another module.
  url.searchParams.append('sha256', digest)
  modules.set(url.href, { source, base })
  hook()
  return import(url.href)
}

async function download(url: URL): Promise<Uint8Array> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT) })
  if (!response.ok || response.body === null) {
    await response.body?.cancel()
    const error = new Error(`the server answers ${response.status} ${response.statusText}`)
    throw response.status === 404 ? Object.assign(error, { code: MODULE_ABSENT }) : error
  }
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of response.body) {
    length += part.length
    if (length > MAXIMUM_LENGTH) throw new Error(`it is larger than ${MAXIMUM_LENGTH} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function hook(): void {
  if (hooked) return
  hooked = true
  registerHooks({
    resolve(specifier, context, next) {
      if (modules.has(specifier)) return { url: specifier, format: 'module', shortCircuit: true }
      const parent = context.parentURL === undefined ? undefined : modules.get(context.parentURL)
      if (parent === undefined || isBuiltin(specifier)) return next(specifier, context)
      if (/^\.{0,2}\//.test(specifier))
        throw new Error(`A plug-in that is loaded by URL is one module: it cannot import ${specifier}`)
      return next(specifier, { ...context, parentURL: parent.base })
    },
    load(url, context, next) {
      const known = modules.get(url)
      return known === undefined
        ? next(url, context)
        : { format: 'module', source: known.source as Uint8Array<ArrayBuffer>, shortCircuit: true }
    },
  })
}
