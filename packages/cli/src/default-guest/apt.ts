// Fetches packages with Debian's own tools, as any user: apt gets a state directory of its own, so that it neither needs
// root nor depends on, or changes, what the host's apt has downloaded. The host's sources, keys and proxy settings hold.

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import { lastLines, runTool, statusArguments, type ToolOptions, type ToolResult } from './tool.ts'

/** Names of packages with shared libraries; those of others lead to whole systems. */
const LIBRARY_PACKAGE = /^z?lib/

/** A package as apt describes it. */
export interface AptPackage {
  readonly name: string
  readonly version: string
  /** Names of the packages that it depends on, before installation too; the first of each alternative. */
  readonly depends: readonly string[]
}

/** `directory`: an empty one for apt's state; whoever made it removes it. */
export type AptOptions = ToolOptions

/** apt with a state of its own, for amd64 packages. */
export class Apt {
  readonly #options: AptOptions
  readonly #arguments: readonly string[]
  #updateFailure: string | undefined

  constructor(options: AptOptions) {
    this.#options = options
    const { directory } = options
    for (const path of ['lists/partial', 'archives/partial']) mkdirSync(join(directory, path), { recursive: true })
    const status = join(directory, 'status')
    writeFileSync(status, '')
    // Read after the host's configuration: its hooks belong to the host's own state.
    const configuration = join(directory, 'apt.conf')
    const hooks = ['Pre-Invoke', 'Post-Invoke', 'Post-Invoke-Success', 'Post-Invoke-Stats']
    writeFileSync(
      configuration,
      [...hooks.map((hook) => `APT::Update::${hook}`), 'APT::Architectures']
        .map((name) => `#clear ${name};\n`)
        .join(''),
    )
    const settings = {
      'Dir::State': directory,
      'Dir::State::lists': join(directory, 'lists'),
      'Dir::State::status': status,
      'Dir::State::extended_states': join(directory, 'extended_states'),
      'Dir::Cache': directory,
      'Dir::Cache::archives': join(directory, 'archives'),
      'Dir::Cache::pkgcache': join(directory, 'pkgcache.bin'),
      'Dir::Cache::srcpkgcache': join(directory, 'srcpkgcache.bin'),
      'APT::Architecture': 'amd64',
      'APT::Architectures::': 'amd64',
      // Root's apt would fetch as the user _apt, who cannot write into a user's cache directory.
      'APT::Sandbox::User': 'root',
      'APT::Update::Error-Mode': 'any',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '2',
      'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled': 'false',
      'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
      'Acquire::IndexTargets::deb::CNF::DefaultEnabled': 'false',
    }
    this.#arguments = [
      '-c',
      configuration,
      ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ]
  }

  /**
   * Fetches the lists of what the host's sources have. A source that fails is only an error if {@link show} then misses
   * a package: a user's other sources need not work.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_NO_APT`
   */
  async update(progress: (fraction: number) => void): Promise<void> {
    const { status, stderr } = await this.#run('apt-get', [...statusArguments, 'update'], progress)
    if (status !== 0) this.#updateFailure = lastLines(stderr)
  }

  /**
   * The current versions of packages, in the order of `names`.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_NO_PACKAGE`, or `ERR_GUEST_DOWNLOAD` where the update had failed
   */
  async show(names: readonly string[]): Promise<AptPackage[]> {
    const { stdout, stderr } = await this.#run('apt-cache', ['show', '--no-all-versions', ...names])
    const packages = new Map(parseStanzas(stdout).map((stanza) => [stanza.name, stanza]))
    return names.map((name) => {
      const found = packages.get(name)
      if (found !== undefined) return found
      const failure = this.#updateFailure
      if (failure !== undefined)
        throw new DefaultGuestError('ERR_GUEST_DOWNLOAD', `apt could not fetch the list of packages: ${failure}`, {
          hint: `Check the network and the sources in /etc/apt. ${OWN_FILES_HINT}`,
        })
      throw new DefaultGuestError('ERR_GUEST_NO_PACKAGE', `apt's sources have no package ${name} for amd64`, {
        hint: `It comes with Debian's "main" archive. ${OWN_FILES_HINT}`,
        data: { package: name, stderr: lastLines(stderr) },
      })
    })
  }

  /**
   * Packages with all the libraries that they depend on, without those that the sources do not have: what is virtual, and
   * what was an alternative.
   *
   * @throws {@link DefaultGuestError} like {@link show}, for `names` themselves
   */
  async showWithLibraries(names: readonly string[]): Promise<AptPackage[]> {
    const found = new Map((await this.show(names)).map((stanza) => [stanza.name, stanza]))
    const asked = new Set(names)
    for (;;) {
      const wanted = [...found.values()].flatMap(({ depends }) => depends)
      const next = [...new Set(wanted)].filter((name) => LIBRARY_PACKAGE.test(name) && !asked.has(name))
      if (next.length === 0) return [...found.values()]
      for (const name of next) asked.add(name)
      const { stdout } = await this.#run('apt-cache', ['show', '--no-all-versions', ...next])
      for (const stanza of parseStanzas(stdout)) if (next.includes(stanza.name)) found.set(stanza.name, stanza)
    }
  }

  /**
   * Downloads packages into `directory` and returns their files, in the order of `packages`. apt checks each against
   * the signed lists.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_DOWNLOAD`
   */
  async download(
    packages: readonly AptPackage[],
    directory: string,
    progress: (fraction: number) => void,
  ): Promise<string[]> {
    mkdirSync(directory, { recursive: true })
    const wanted = packages.map(({ name, version }) => `${name}=${version}`)
    const { status, stderr } = await this.#run(
      'apt-get',
      [...statusArguments, 'download', ...wanted],
      progress,
      directory,
    )
    const files = readdirSync(directory)
    return packages.map(({ name }) => {
      const file = files.find((candidate) => candidate.startsWith(`${name}_`) && candidate.endsWith('.deb'))
      if (status === 0 && file !== undefined) return join(directory, file)
      throw new DefaultGuestError('ERR_GUEST_DOWNLOAD', `apt could not download ${name}: ${lastLines(stderr)}`, {
        hint: `Check the network and try again. ${OWN_FILES_HINT}`,
      })
    })
  }

  /**
   * Unpacks the files of a package into `directory`.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE`
   */
  async unpack(file: string, directory: string): Promise<void> {
    const { status, stderr } = await runTool('dpkg-deb', ['--extract', file, directory], this.#options)
    if (status !== 0)
      throw new DefaultGuestError('ERR_GUEST_PACKAGE', `${file} cannot be unpacked: ${lastLines(stderr)}`, {
        hint: `Is the disk full? ${OWN_FILES_HINT}`,
      })
  }

  #run(tool: string, parameters: string[], progress?: (fraction: number) => void, cwd?: string): Promise<ToolResult> {
    const options = cwd === undefined ? this.#options : { ...this.#options, directory: cwd }
    return runTool(tool, [...this.#arguments, ...parameters], options, progress)
  }
}

/** Reads the control paragraphs that `apt-cache show` prints (Debian policy, chapter 5). */
function parseStanzas(text: string): AptPackage[] {
  return text
    .split(/\n\s*\n/)
    .map((stanza) => {
      const field = (name: string): string => new RegExp(`^${name}: *(.*)$`, 'mi').exec(stanza)?.[1]?.trim() ?? ''
      const depends = [field('Pre-Depends'), field('Depends')]
        .flatMap((list) => list.split(','))
        .map((relation) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(relation)?.[1] ?? '')
        .filter((name) => name !== '')
      return { name: field('Package'), version: field('Version'), depends }
    })
    .filter(({ name, version }) => name !== '' && version !== '')
}
