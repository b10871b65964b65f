// Writes cpio archives in the "new ASCII" format (newc, magic 070701), the one that Linux unpacks as an initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst). The same entries always give the same bytes: inode
// numbers count up from 1, times are 0 and everything belongs to root.

const MAGIC = '070701'
const HEADER_LENGTH = 110
const TRAILER = 'TRAILER!!!'

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

/** One entry of an archive. Paths are relative, without a leading slash; a directory stands before what it contains. */
export type CpioEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly type: 'file'; readonly path: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly type: 'character-device'
      readonly path: string
      readonly major: number
      readonly minor: number
      readonly mode?: number
    }

/** The archive of `entries` in their order, with its trailer. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder()
  const records = [...entries.map(recordOf), { ...EMPTY, path: TRAILER, mode: 0, links: 1 }].map((record) => ({
    ...record,
    name: encoder.encode(`${record.path}\0`),
  }))
  let length = 0
  for (const { name, data } of records) length += align(HEADER_LENGTH + name.length) + align(data.length)
  const archive = new Uint8Array(length)
  let offset = 0
  let inode = 0
  for (const { path, name, mode, links, data, major, minor } of records) {
    const fields = [
      path === TRAILER ? 0 : ++inode,
      mode,
      0, // user
      0, // group
      links,
      0, // modification time
      data.length,
      0, // device of the file system, major and minor
      0,
      major,
      minor,
      name.length,
      0, // checksum, unused in this variant
    ]
    const header = MAGIC + fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('')
    encoder.encodeInto(header, archive.subarray(offset))
    archive.set(name, offset + HEADER_LENGTH)
    offset += align(HEADER_LENGTH + name.length)
    archive.set(data, offset)
    offset += align(data.length)
  }
  return archive
}

interface CpioRecord {
  readonly path: string
  readonly mode: number
  readonly links: number
  readonly data: Uint8Array
  readonly major: number
  readonly minor: number
}

const EMPTY = { data: new Uint8Array(0), major: 0, minor: 0 }

function recordOf(entry: CpioEntry): CpioRecord {
  switch (entry.type) {
    case 'directory':
      return { ...EMPTY, path: entry.path, mode: S_IFDIR | (entry.mode ?? 0o755), links: 2 }
    case 'file':
      return { ...EMPTY, path: entry.path, mode: S_IFREG | (entry.mode ?? 0o644), links: 1, data: entry.data }
    case 'symlink':
      return {
        ...EMPTY,
        path: entry.path,
        mode: S_IFLNK | 0o777,
        links: 1,
        data: new TextEncoder().encode(entry.target),
      }
    case 'character-device':
      return {
        ...EMPTY,
        path: entry.path,
        mode: S_IFCHR | (entry.mode ?? 0o600),
        links: 1,
        major: entry.major,
        minor: entry.minor,
      }
  }
}

function align(length: number): number {
  return (length + 3) & ~3
}
