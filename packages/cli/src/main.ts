#!/usr/bin/env node
// The entry of `partita`: checks the runtime before anything is loaded that an old one cannot read.

const MINIMUM_NODE = 24

if (Number.parseInt(process.versions.node, 10) < MINIMUM_NODE) {
  process.stderr.write(
    `partita: ERR_NODE_VERSION: this is Node ${process.versions.node}, Partita needs Node ${MINIMUM_NODE} or newer\n` +
      `hint: Install it from https://nodejs.org, or run Partita through npm, which brings its own.\n`,
  )
  process.exit(2)
}

const { keepCompiledModules } = await import('./compiled-modules.ts')
keepCompiledModules()
const { runCommandLine } = await import('./command-line.ts')
const status = await runCommandLine(process.argv.slice(2))
await flushed(process.stdout)
await flushed(process.stderr)
process.exit(status)

/** A pipe is written to asynchronously, and exit() does not wait. A reader that does not read has a second. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0 || stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    setTimeout(resolve, 1000)
    stream.once('drain', resolve)
    stream.once('error', () => resolve())
    stream.once('close', () => resolve())
  })
}
