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
const { lowerCompilerThreads } = await import('./compiler-threads.ts')
lowerCompilerThreads()
const { runCommandLine } = await import('./command-line.ts')
process.exit(await runCommandLine(process.argv.slice(2)))
