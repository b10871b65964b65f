/**
 * The path of somebody who has never seen this repository: packs all packages as they would be published, installs them from the tarballs into an empty
 * directory elsewhere, writes a plug-in of a provider and its driver with `npm create partita-plugin`, builds and tests it, names it in a machine's configuration, and boots
 * Debian with it. There a program of the plug-in's package binds `uio_hv_generic` to the device, maps its rings, and counts with the provider.
 *
 * Usage: `npm run stranger [-- --built] [-- --fresh] [-- --keep]`
 *
 * - `--built`: `dist/` of all packages is there
 * - `--fresh`: fetch Debian's packages anew, into a cache that is thrown away
 * - `--keep`: leave the directory, and say where it is
 *
 * Needs npm's registry or its cache for what the packages depend on, gcc with a static C library, and apt. Exits with 1 at the first step that does not do what it should.
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, relative } from 'node:path'
import { parseArgs, stripVTControlCharacters } from 'node:util'
import { packageDirectories, ROOT, readManifest } from '../build/workspace.ts'

const { values: flags } = parseArgs({
  options: { built: { type: 'boolean' }, fresh: { type: 'boolean' }, keep: { type: 'boolean' } },
})

const PLUGIN = 'my-device'
/** Of the numbers that the program in the guest adds: 1 to 100, and 1 to 1000. */
const TOTAL = 5050 + 500_500

class StepError extends Error {}

interface Ended {
  readonly stdout: string
  readonly stderr: string
}

const place: string = realpathSync(mkdtempSync(join(tmpdir(), 'partita-stranger-')))
const tarballs: string = join(place, 'tarballs')
const app: string = join(place, 'app')

/** Nothing of the repository: not its node_modules on the path, not its settings of npm or of Node. */
function strangersEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_registry)|NODE_OPTIONS$|NODE_PATH$|INIT_CWD$|PARTITA_)/i.test(name),
  )
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => !directory.startsWith(ROOT))
  return {
    ...Object.fromEntries(own),
    PATH: [join(place, 'bin'), ...path].join(delimiter),
    npm_config_fund: 'false',
    npm_config_audit: 'false',
    npm_config_prefer_offline: 'true',
    npm_config_update_notifier: 'false',
    ...(flags.fresh === true && { XDG_CACHE_HOME: join(place, 'cache') }),
  }
}

async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const before = performance.now()
  console.log(`== ${title}`)
  const result = await work()
  console.log(`   ${((performance.now() - before) / 1000).toFixed(1)} s`)
  return result
}

/** Runs a program to its end. */
function run(
  program: string,
  args: readonly string[],
  cwd: string,
  options: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  return new Promise((settle, fail) => {
    const child = spawn(program, args, { cwd, env: options.env ?? strangersEnvironment() })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
    child.on('error', fail)
    child.on('close', (code, signal) => {
      if (code === 0) settle({ stdout, stderr })
      else fail(new StepError(`${program} ${args.join(' ')} ended with ${code ?? signal}\n${stdout}\n${stderr}`))
    })
  })
}

function must(holds: boolean, what: string, evidence: string): void {
  if (!holds) throw new StepError(`${what}\n${evidence}`)
}

/** Every link in the stranger's directory leads to a place in it, and no file of npm's names the repository. */
function mustStandAlone(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (lstatSync(path).isSymbolicLink()) must(realpathSync(path).startsWith(place), 'A link leads out', path)
    else if (entry.isDirectory()) mustStandAlone(path)
    else if (/^\.?package(-lock)?\.json$/.test(entry.name))
      must(!readFileSync(path, 'utf8').includes(ROOT), 'A file names the repository', path)
  }
}

async function main(): Promise<void> {
  mkdirSync(tarballs)
  mkdirSync(app)
  mkdirSync(join(place, 'bin'))
  // Node is the one thing that a stranger has already.
  copyFileSync(process.execPath, join(place, 'bin/node'))
  chmodSync(join(place, 'bin/node'), 0o755)

  const directories = packageDirectories().filter((directory) => readManifest(directory).private !== true)
  if (flags.built !== true)
    await step('build all packages', () => run('npm', ['run', '--silent', 'build'], ROOT, { env: process.env }))
  await step(`pack ${directories.length} packages`, async () => {
    const workspaces = directories.flatMap((directory) => ['--workspace', relative(ROOT, directory)])
    await run('npm', ['pack', '--silent', '--pack-destination', tarballs, ...workspaces], ROOT, { env: process.env })
  })
  const archives = readdirSync(tarballs)
  must(archives.length === directories.length, 'Not all packages were packed', archives.join('\n'))

  await step('install them from the tarballs into an empty directory', async () => {
    writeFileSync(join(app, 'package.json'), '{ "name": "stranger", "private": true, "type": "module" }\n')
    await run('npm', ['install', ...archives.map((archive) => join('../tarballs', archive))], app)
  })
  await step('npm create partita-plugin -- --kind pair --name my-device', async () => {
    const { stdout } = await run('npm', ['create', 'partita-plugin', '--', '--kind', 'pair', '--name', PLUGIN], app)
    must(existsSync(join(app, PLUGIN, 'src/vsp.ts')), 'The plug-in was not written', stdout)
    await run('npm', ['pkg', 'set', `workspaces[0]=${PLUGIN}`], app)
    await run('npm', ['install'], app)
  })
  await step('build it', () => run('npm', ['run', 'build', '--workspace', PLUGIN], app))
  await step('check its types', () => run('npm', ['run', 'check', '--workspace', PLUGIN], app))
  await step('test it', async () => {
    const { stdout } = await run('npm', ['test', '--workspace', PLUGIN], app)
    const passed = Number(/Tests\s+(\d+) passed/.exec(stripVTControlCharacters(stdout))?.[1] ?? 0)
    must(passed > 20, 'Its tests did not run', stdout)
    console.log(`   ${passed} tests passed`)
  })
  await step('list it', async () => {
    const { stdout } = await run('npx', ['--no', 'partita', 'plugins', PLUGIN], app)
    must(
      /GUID +[0-9a-f-]{36}/.test(stdout) && stdout.includes(`from      ${PLUGIN} (package`),
      'It is not listed',
      stdout,
    )
  })
  await step('build the program for the guest', () => run('npm', ['run', 'linux:build', '--workspace', PLUGIN], app))
  await step('boot Debian with it', async () => {
    writeFileSync(
      join(app, 'vm.json'),
      JSON.stringify({
        devices: [{ plugin: PLUGIN, options: { start: 0 } }],
        modules: ['uio_hv_generic'],
        guestFiles: [`${PLUGIN}/linux/${PLUGIN}:/bin/${PLUGIN}`],
        timeout: 600,
      }),
    )
    const input = `${PLUGIN}\nfor driver in /sys/bus/vmbus/devices/*/driver; do readlink $driver; done\necho "modules: $(lsmod | grep -c uio_hv_generic)"\n`
    const { stdout, stderr } = await run('npx', ['--no', 'partita', 'run', '--config', 'vm.json'], app, { input })
    must(stdout.includes(`${PLUGIN}: the total is ${TOTAL}`), 'The program in the guest did not count', stdout + stderr)
    must(/bus\/vmbus\/drivers\/uio_hv_generic/.test(stdout), 'uio_hv_generic is not bound', stdout)
    console.log(stdout.replace(/^/gm, '   | ').replaceAll('\r', ''))
  })
  mustStandAlone(app)
}

try {
  await main()
  console.log('stranger: passed')
} catch (error) {
  console.error(error instanceof StepError ? error.message : error)
  console.error('stranger: FAILED')
  process.exitCode = 1
} finally {
  if (flags.keep === true) console.log(place)
  else rmSync(place, { recursive: true, force: true })
}
