// Where plug-in packages come from. Node's module resolution is one source (`./node`); a browser or a test has another.

/** A package that was found, not loaded. */
export interface FoundPackage {
  /** Content of its `package.json`. */
  readonly json: unknown
  /** Where it is, for messages. */
  readonly location: string
  /**
   * Load one of its exports: `.`, `./pit`.
   * @returns the module's namespace
   */
  load(exportPath: string): Promise<Readonly<Record<string, unknown>>>
}

/** Finds packages. */
export interface PackageSource {
  /** The package `name`, an npm name or, starting with `.` or `/`, a path of a directory; `undefined` when there is none. */
  find(name: string): Promise<FoundPackage | undefined>
  /** Load a module file by its path. */
  loadFile(path: string): Promise<Readonly<Record<string, unknown>>>
}
