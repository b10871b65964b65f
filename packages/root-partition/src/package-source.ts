// Where plug-in packages come from. Node's module resolution is one source (`./node`); a browser or a test has another.

/** The code of an error that says that there is no such module; any other error is the module's own. */
export const MODULE_ABSENT = 'ERR_MODULE_ABSENT'

/** A package that was found, not loaded. */
export interface FoundPackage {
  /** Content of its `package.json`. */
  readonly json: unknown
  /** Where it is, for messages and listings. */
  readonly location: string
  /**
   * Load one of its exports: `.`, `./pit`.
   * @returns the module's namespace
   * @throws Error with the code `ERR_MODULE_ABSENT` when the export leads nowhere; whatever the module throws
   */
  load(exportPath: string): Promise<Readonly<Record<string, unknown>>>
}

/** Finds packages. */
export interface PackageSource {
  /** The package `name`, an npm name or, starting with `.` or `/`, a path of a directory; `undefined` when there is none. */
  find(name: string): Promise<FoundPackage | undefined>
  /**
   * Load a module by its path, or by its URL: `file:`, `data:`, `https:` and `http:`.
   * @throws Error with the code `ERR_MODULE_ABSENT` when there is no such module; whatever the module throws
   */
  loadFile(reference: string): Promise<Readonly<Record<string, unknown>>>
  /**
   * The package that a module file belongs to (`found`), and the `export` that it is: so a module can be looked at without running it. `undefined` when it is part of none.
   */
  findFile?(path: string): Promise<{ readonly found: FoundPackage; readonly export: string } | undefined>
}
