// Reads what a Linux kernel module says about itself: the section `.modinfo` of its ELF-64 file holds NUL-terminated
// `key=value` strings (include/linux/moduleinfo.h). Section headers: System V ABI, "Object Files".

/** What the default guest needs to know of a module. */
export interface ModuleInfo {
  /** Names of the modules that must be loaded before this one; `-` and `_` are the same in them. */
  readonly depends: readonly string[]
  /** Names that the module wants loaded before it, if they exist (`softdep=pre: …`). */
  readonly wants: readonly string[]
  /** Patterns of the device ids and service names that the module answers to. */
  readonly aliases: readonly string[]
}

const SECTION_HEADER_SIZE = 64

/** The module's own account of itself, or `undefined` where `file` is no ELF-64 module. */
export function readModuleInfo(file: Uint8Array): ModuleInfo | undefined {
  const section = sectionOf(file, '.modinfo')
  if (section === undefined) return undefined
  const depends: string[] = []
  const wants: string[] = []
  const aliases: string[] = []
  for (const line of new TextDecoder('latin1').decode(section).split('\0')) {
    const equals = line.indexOf('=')
    const value = line.slice(equals + 1)
    switch (line.slice(0, Math.max(equals, 0))) {
      case 'depends':
        depends.push(...value.split(',').filter((name) => name !== ''))
        break
      case 'softdep':
        wants.push(...(/pre:([^:]*)(?:\s\w+:|$)/.exec(value)?.[1] ?? '').split(/\s+/).filter((name) => name !== ''))
        break
      case 'alias':
        aliases.push(value)
        break
    }
  }
  return { depends, wants, aliases }
}

/** Modules are named with `_`, their files with either; this is the name to compare. */
export function moduleName(nameOrFile: string): string {
  const file = nameOrFile.slice(nameOrFile.lastIndexOf('/') + 1)
  return file.replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_')
}

function sectionOf(file: Uint8Array, wanted: string): Uint8Array | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const ELF_64_LITTLE_ENDIAN = 0x0201
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint16(4) !== ELF_64_LITTLE_ENDIAN)
    return undefined
  const headers = Number(view.getBigUint64(0x28, true))
  const count = view.getUint16(0x3c, true)
  if (view.getUint16(0x3a, true) !== SECTION_HEADER_SIZE || headers + count * SECTION_HEADER_SIZE > file.length)
    return undefined
  const contentOf = (index: number): Uint8Array | undefined => {
    if (index >= count) return undefined
    const header = headers + index * SECTION_HEADER_SIZE
    const offset = Number(view.getBigUint64(header + 0x18, true))
    const end = offset + Number(view.getBigUint64(header + 0x20, true))
    return end <= file.length ? file.subarray(offset, end) : undefined
  }
  const names = contentOf(view.getUint16(0x3e, true))
  if (names === undefined) return undefined
  for (let index = 0; index < count; index++) {
    const start = view.getUint32(headers + index * SECTION_HEADER_SIZE, true)
    const end = names.indexOf(0, start)
    if (end >= 0 && new TextDecoder('latin1').decode(names.subarray(start, end)) === wanted) return contentOf(index)
  }
  return undefined
}
