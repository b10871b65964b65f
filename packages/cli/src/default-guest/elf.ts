// Reads which shared libraries an ELF-64 program or library needs: the strings of its dynamic section. System V ABI,
// "Program Loading and Dynamic Linking".

/** What the dynamic linker is told by a file. */
export interface ElfNeeds {
  /** The program interpreter (PT_INTERP), an absolute path; absent for libraries. */
  readonly interpreter?: string
  /** The libraries' names (DT_NEEDED). */
  readonly libraries: readonly string[]
  /** Directories to look into first (DT_RUNPATH, DT_RPATH). */
  readonly searchPath: readonly string[]
}

const ELF_64_LITTLE_ENDIAN = 0x0201
const PROGRAM_HEADER_SIZE = 56
const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NULL = 0
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_RPATH = 15
const DT_RUNPATH = 29

interface Segment {
  readonly type: number
  readonly offset: number
  readonly address: number
  readonly size: number
}

/** The needs of `file`, or `undefined` where it is no ELF-64 file, or a harmed one. Static programs need nothing. */
export function readElfNeeds(file: Uint8Array): ElfNeeds | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint16(4) !== ELF_64_LITTLE_ENDIAN)
    return undefined
  const segments = readSegments(view)
  if (segments === undefined) return undefined
  const interpreter = segments.find(({ type }) => type === PT_INTERP)
  const needs = {
    ...(interpreter !== undefined && { interpreter: textAt(file, interpreter.offset) }),
    libraries: [] as string[],
    searchPath: [] as string[],
  }
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC)
  if (dynamic === undefined) return needs
  const entries: [tag: number, value: number][] = []
  for (let at = dynamic.offset; at + 16 <= dynamic.offset + dynamic.size; at += 16) {
    const tag = Number(view.getBigInt64(at, true))
    if (tag === DT_NULL) break
    entries.push([tag, Number(view.getBigUint64(at + 8, true))])
  }
  const address = entries.find(([tag]) => tag === DT_STRTAB)?.[1] ?? 0
  const home = segments.find((s) => s.type === PT_LOAD && s.address <= address && address < s.address + s.size)
  if (home === undefined) return undefined
  const strings = home.offset + address - home.address
  for (const [tag, value] of entries) {
    if (tag === DT_NEEDED) needs.libraries.push(textAt(file, strings + value))
    if (tag === DT_RPATH || tag === DT_RUNPATH) needs.searchPath.push(...textAt(file, strings + value).split(':'))
  }
  return needs
}

function readSegments(view: DataView): Segment[] | undefined {
  const headers = Number(view.getBigUint64(0x20, true))
  const count = view.getUint16(0x38, true)
  if (view.getUint16(0x36, true) !== PROGRAM_HEADER_SIZE || headers + count * PROGRAM_HEADER_SIZE > view.byteLength)
    return undefined
  const segments: Segment[] = []
  for (let index = 0; index < count; index++) {
    const header = headers + index * PROGRAM_HEADER_SIZE
    const field = (offset: number): number => Number(view.getBigUint64(header + offset, true))
    const segment = { type: view.getUint32(header, true), offset: field(8), address: field(16), size: field(32) }
    if (segment.offset + segment.size > view.byteLength) return undefined
    segments.push(segment)
  }
  return segments
}

/** The NUL-terminated text at `offset`; empty where that is outside the file. */
function textAt(file: Uint8Array, offset: number): string {
  const end = file.indexOf(0, offset)
  return end < 0 || offset > file.length ? '' : new TextDecoder('latin1').decode(file.subarray(offset, end))
}
