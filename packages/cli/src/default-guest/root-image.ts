// Makes an ext4 image out of a list of files, without root's rights: mke2fs makes it empty, and debugfs puts the files in.
// (`mke2fs -d` would take over the owners and times of a directory on the host, and the order in which it lists it.)
// Everything that the tools would choose by chance or by clock is given, so that the same tools make the same bytes.

import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import type { TreeEntry } from './file-tree.ts'
import type { FilesystemCommands, FilesystemTool } from './filesystem-tools.ts'
import { lastLines, runTool, type ToolOptions } from './tool.ts'

export interface RootImageOptions {
  /** Of the disk, in bytes: whole mebibytes. */
  readonly size: number
  /** The file system's label, up to 16 bytes. */
  readonly label: string
  readonly commands: FilesystemCommands
  /** `directory`: an empty one to work in. */
  readonly tools: ToolOptions
}

/** All times in the image, in seconds since 1970: the first of January 2000. */
const TIME = '946684800'
const BLOCK_SIZE = 4096
const MEBIBYTE = 1024 * 1024
/** What Linux 4.19 and e2fsprogs 1.44, and all later ones, know. */
const FEATURES = [
  'none',
  'has_journal',
  'ext_attr',
  'dir_index',
  'filetype',
  'extent',
  '64bit',
  'flex_bg',
  'sparse_super',
  'large_file',
  'huge_file',
  'dir_nlink',
  'extra_isize',
  'metadata_csum',
]
/** Stands in for the host's /etc/mke2fs.conf, which may say anything. */
const CONFIGURATION = '[defaults]\n\tbase_features = none\n[fs_types]\n\text4 = {\n\t}\n\tsmall = {\n\t}\n'

/** In the tools' working directory, so that no path on the host can be misunderstood. */
const IMAGE = 'root.img'
const SCRIPT = 'debugfs.script'
const CONTENTS = 'contents'

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000

/**
 * Makes the image and returns its path, in the working directory.
 *
 * @param entries As for an initramfs: a directory stands before what it contains.
 * @throws {@link DefaultGuestError} `ERR_GUEST_IMAGE`; `ERR_GUEST_NO_APT` where a tool cannot be run
 */
export async function buildRootImage(entries: readonly TreeEntry[], options: RootImageOptions): Promise<string> {
  const { size, label, commands } = options
  const { directory, environment } = options.tools
  const image = join(directory, IMAGE)
  const configuration = join(directory, 'mke2fs.conf')
  writeFileSync(configuration, CONFIGURATION)
  const descriptor = openSync(image, 'wx')
  ftruncateSync(descriptor, size)
  closeSync(descriptor)
  const tools: ToolOptions = {
    ...options.tools,
    environment: {
      ...environment,
      MKE2FS_CONFIG: configuration,
      // The older name and the newer one for the same thing.
      E2FSPROGS_FAKE_TIME: TIME,
      SOURCE_DATE_EPOCH: TIME,
      // No pager, whatever the host's user likes.
      DEBUGFS_PAGER: '__none__',
    },
  }
  const run = async (tool: FilesystemTool, parameters: readonly string[]): Promise<void> => {
    const [program, ...first] = commands[tool]
    const { status, stdout, stderr } = await runTool(program, [...first, ...parameters], tools)
    // debugfs goes on after a command that failed, and is content at the end; its first line is its version.
    const complaint = tool === 'debugfs' ? stderr.replace(/^debugfs \d.*\n/, '') : ''
    if (status !== 0 || complaint !== '')
      throw new DefaultGuestError(
        'ERR_GUEST_IMAGE',
        `The root disk could not be made: ${tool}: ${lastLines(complaint || stderr || stdout)}`,
        { hint: `Is the disk full? ${OWN_FILES_HINT}`, data: { tool, status } },
      )
  }
  const identity = uuidOf(label)
  await run('mke2fs', [
    ...['-q', '-F', '-t', 'ext4', '-O', FEATURES.join(','), '-b', String(BLOCK_SIZE), '-I', '256', '-i', '16384'],
    ...['-m', '0', '-J', `size=${Math.min(64, Math.max(4, Math.floor(size / MEBIBYTE / 32)))}`, '-L', label],
    ...['-U', identity, '-e', 'remount-ro'],
    ...['-E', `hash_seed=${identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard`],
    ...[IMAGE, String(size / BLOCK_SIZE)],
  ])
  writeFileSync(join(directory, SCRIPT), scriptFor(entries, directory))
  await run('debugfs', ['-w', '-f', SCRIPT, IMAGE])
  await run('e2fsck', ['-f', '-n', IMAGE])
  return image
}

/** Commands for debugfs that make the entries; contents of files are put into `directory`. */
function scriptFor(entries: readonly TreeEntry[], directory: string): string {
  mkdirSync(join(directory, CONTENTS))
  const lines = [`set_current_time @${TIME}`]
  for (const [index, entry] of entries.entries()) {
    const slash = entry.path.lastIndexOf('/')
    const path = quoted(`/${entry.path}`)
    const name = quoted(entry.path.slice(slash + 1))
    lines.push(`cd ${quoted(`/${entry.path.slice(0, Math.max(slash, 0))}`)}`)
    switch (entry.type) {
      case 'directory':
        lines.push(`mkdir ${name}`, `sif ${path} mode ${octal(S_IFDIR | (entry.mode ?? 0o755))}`)
        break
      case 'file': {
        const source = `${CONTENTS}/${index}`
        writeFileSync(join(directory, source), entry.data)
        lines.push(`write ${source} ${name}`, `sif ${path} mode ${octal(S_IFREG | (entry.mode ?? 0o644))}`)
        break
      }
      case 'symlink':
        lines.push(`symlink ${name} ${quoted(entry.target)}`)
        break
      case 'character-device':
        lines.push(
          `mknod ${name} c ${entry.major} ${entry.minor}`,
          `sif ${path} mode ${octal(S_IFCHR | (entry.mode ?? 0o600))}`,
        )
        break
    }
  }
  return `${lines.join('\n')}\n`
}

function octal(mode: number): string {
  return `0${mode.toString(8)}`
}

/** A word for debugfs: in quotation marks, which it doubles where they are part of the word. */
function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

/** A UUID (version 8) that depends on `name` alone. */
function uuidOf(name: string): string {
  const hex = createHash('sha256').update(`partita root disk ${name}`).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}
