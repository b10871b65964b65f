// What the tests of the default guest share: a reader of cpio archives, kernel modules with nothing but a `.modinfo`,
// programs with nothing but a list of libraries, and a directory of stand-ins for Debian's tools to put on the PATH.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface ReadEntry {
  readonly path: string
  readonly inode: number
  readonly mode: number
  readonly links: number
  readonly time: number
  readonly device: readonly [major: number, minor: number]
  readonly data: Uint8Array
}

/** Reads a newc archive strictly: alignment, padding, the trailer and the end must be right. */
export function readCpio(archive: Uint8Array): ReadEntry[] {
  const entries: ReadEntry[] = []
  let offset = 0
  const pad = (): void => {
    for (; offset % 4 !== 0; offset++) if (archive[offset] !== 0) throw new Error(`padding at ${offset} is not zero`)
  }
  for (;;) {
    const header = Buffer.from(archive.subarray(offset, offset + 110)).toString('latin1')
    if (!/^070701[0-9A-F]{104}$/.test(header)) throw new Error(`no header at ${offset}`)
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16)
    const nameEnd = offset + 110 + field(11)
    if (archive[nameEnd - 1] !== 0) throw new Error('a name without an end')
    const path = Buffer.from(archive.subarray(offset + 110, nameEnd - 1)).toString()
    offset = nameEnd
    pad()
    const data = archive.subarray(offset, offset + field(6))
    offset += field(6)
    pad()
    if (path === 'TRAILER!!!') {
      if (offset !== archive.length) throw new Error('bytes after the trailer')
      return entries
    }
    entries.push({
      path,
      inode: field(0),
      mode: field(1),
      links: field(4),
      time: field(5),
      device: [field(9), field(10)],
      data,
    })
  }
}

/** An ELF-64 relocatable file with the sections that a kernel module has at least. */
export function fakeModule(modinfo: readonly string[]): Uint8Array {
  const info = Buffer.from(modinfo.map((line) => `${line}\0`).join(''), 'latin1')
  const names = Buffer.from('\0.modinfo\0.shstrtab\0', 'latin1')
  const headers = 64 + info.length + names.length
  const file = Buffer.alloc(headers + 3 * 64)
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  file.writeBigUInt64LE(BigInt(headers), 0x28)
  file.writeUInt16LE(64, 0x3a)
  file.writeUInt16LE(3, 0x3c)
  file.writeUInt16LE(2, 0x3e)
  file.set(info, 64)
  file.set(names, 64 + info.length)
  const section = (index: number, name: number, offset: number, size: number): void => {
    file.writeUInt32LE(name, headers + index * 64)
    file.writeBigUInt64LE(BigInt(offset), headers + index * 64 + 0x18)
    file.writeBigUInt64LE(BigInt(size), headers + index * 64 + 0x20)
  }
  section(1, 1, 64, info.length)
  section(2, 10, 64 + info.length, names.length)
  return new Uint8Array(file)
}

/** An ELF-64 program or library that does nothing but to need others. */
export function fakeProgram(needs: {
  readonly interpreter?: string
  readonly libraries?: readonly string[]
  readonly runPath?: string
}): Uint8Array {
  const BASE = 0x40_0000
  let strings = '\0'
  const stringAt = (text: string): number => {
    const offset = strings.length
    strings += `${text}\0`
    return offset
  }
  const tags: [number, number][] = (needs.libraries ?? []).map((name) => [1, stringAt(name)])
  if (needs.runPath !== undefined) tags.push([29, stringAt(needs.runPath)])
  const interpreter = stringAt(needs.interpreter ?? '')
  const dynamic = 64 + 3 * 56
  const text = dynamic + (tags.length + 2) * 16
  tags.push([5, BASE + text], [0, 0])
  const file = Buffer.alloc(text + strings.length)
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  file.writeBigUInt64LE(64n, 0x20)
  file.writeUInt16LE(56, 0x36)
  file.writeUInt16LE(3, 0x38)
  file.write(strings, text, 'latin1')
  const segment = (index: number, type: number, offset: number, size: number): void => {
    const header = 64 + index * 56
    file.writeUInt32LE(type, header)
    for (const [at, value] of [
      [8, offset],
      [16, BASE + offset],
      [32, size],
    ] as const)
      file.writeBigUInt64LE(BigInt(value), header + at)
  }
  segment(0, needs.interpreter === undefined ? 0 : 3, text + interpreter, (needs.interpreter?.length ?? 0) + 1)
  segment(1, 1, 0, file.length)
  segment(2, 2, dynamic, text - dynamic)
  for (const [index, [tag, value]] of tags.entries()) {
    file.writeBigInt64LE(BigInt(tag), dynamic + index * 16)
    file.writeBigUInt64LE(BigInt(value), dynamic + index * 16 + 8)
  }
  return new Uint8Array(file)
}

/** Something in which the reader of applets finds `[`, `[[`, `ls` and `sh`. */
export const FAKE_BUSYBOX: Uint8Array = new Uint8Array(Buffer.from('\x7fELF etc. \0[\0[[\0ls\0sh\0\0more', 'latin1'))

export function writeTree(root: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
}

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'partita-guest-test-'))
}

export const FAKE_RELEASE = '6.9.0-1-cloud-amd64'

const LIBRARIES = 'lib/x86_64-linux-gnu'

/** Debian's tools, played by shell scripts. */
export class FakeDebian {
  readonly directory: string
  /** The environment to give to what is under test. */
  readonly environment: NodeJS.ProcessEnv

  constructor(directory: string) {
    this.directory = directory
    this.environment = {
      PATH: `${join(directory, 'bin')}:/usr/bin:/bin`,
      HOME: join(directory, 'home'),
      FAKE: directory,
    }
    const image = `linux-image-${FAKE_RELEASE}`
    const modules = `lib/modules/${FAKE_RELEASE}`
    writeTree(join(directory, 'packages', image), {
      [`boot/vmlinuz-${FAKE_RELEASE}`]: 'the kernel',
      [`${modules}/modules.builtin`]: 'kernel/fs/ext4/ext4.ko\n',
      [`${modules}/kernel/drivers/hv/hv_vmbus.ko`]: fakeModule(['alias=acpi*:VMBUS:*', 'depends=']),
      [`${modules}/kernel/drivers/scsi/hv_storvsc.ko`]: fakeModule(['depends=scsi_mod,hv_vmbus']),
      [`${modules}/kernel/drivers/scsi/scsi_mod.ko`]: fakeModule(['depends=']),
      [`${modules}/kernel/drivers/net/unwanted.ko`]: fakeModule(['depends=']),
    })
    writeTree(join(directory, 'packages/busybox-static'), { 'bin/busybox': FAKE_BUSYBOX })
    writeTree(join(directory, 'packages/util-linux'), {
      'usr/bin/lsblk': fakeProgram({
        interpreter: '/lib64/ld-linux-x86-64.so.2',
        libraries: ['libblkid.so.1', 'libc.so.6'],
      }),
    })
    writeTree(join(directory, 'packages/libblkid1'), {
      [`${LIBRARIES}/libblkid.so.1.1.0`]: fakeProgram({ libraries: ['libc.so.6'] }),
    })
    symlinkSync('libblkid.so.1.1.0', join(directory, 'packages/libblkid1', LIBRARIES, 'libblkid.so.1'))
    writeTree(join(directory, 'packages/libc6'), {
      [`${LIBRARIES}/libc.so.6`]: fakeProgram({ libraries: ['ld-linux-x86-64.so.2'] }),
      [`${LIBRARIES}/ld-linux-x86-64.so.2`]: fakeProgram({}),
      'lib64/.keep': '',
    })
    symlinkSync(`/${LIBRARIES}/ld-linux-x86-64.so.2`, join(directory, 'packages/libc6/lib64/ld-linux-x86-64.so.2'))
    writeTree(join(directory, 'home'), { '.keep': '' })
    this.write(
      'show',
      [
        `Package: linux-image-cloud-amd64\nVersion: 6.9-1\nDepends: ${image} (= 6.9-1)\n`,
        `Package: ${image}\nVersion: 6.9-1\nDepends: kmod, linux-base (>= 4.3)\n`,
        'Package: busybox-static\nVersion: 1:1.37-2\n',
        'Package: util-linux\nVersion: 2.38\nDepends: util-linux-extra\nPre-Depends: libblkid1 (>= 2.37), libvirtual\n',
        'Package: libblkid1\nVersion: 2.38\nDepends: libc6 (>= 2.36)\n',
        'Package: libc6\nVersion: 2.36\n',
        'Package: e2fsprogs\nVersion: 1.47\nDepends: logsave\nPre-Depends: libtools (>= 1)\n',
        'Package: libtools\nVersion: 1\n',
      ].join('\n'),
    )
    this.script('apt-get', {
      update: 'echo "dlstatus:1:50.00:Retrieving" >&3',
      download: [
        'echo "dlstatus:1:25.5000:Retrieving" >&3',
        'for a; do shift; [ "$a" = download ] && break; done',
        'for a; do n=${' + 'a%%=*}; echo "$FAKE/packages/$n" >"$n"_1_amd64.deb; done',
      ].join('\n'),
    })
    this.script('apt-cache', { show: 'cat "$FAKE/show"' })
    this.script('dpkg-deb', { '--extract': 'mkdir -p "$3" && cp -R "$(cat "$2")"/. "$3"' })
    this.script('mke2fs', { ext4: 'printf "a file system" | dd of=root.img bs=1 seek=8192 conv=notrunc 2>/dev/null' })
    this.script('debugfs', { '-w': 'cp debugfs.script "$FAKE"; echo "debugfs 1.47.0 (5-Feb-2023)" >&2' })
    this.script('e2fsck', { '-n': ':' })
  }

  /** Makes a tool do something for each of its commands; other commands fail. Every call is logged. */
  script(tool: string, commands: Readonly<Record<string, string>>): void {
    const cases = Object.entries(commands).map(([name, body]) => `*" ${name} "*)\n${body}\n;;`)
    const text = `#!/bin/sh\necho "${tool} $*" >>"$FAKE/log"\ncase " $* " in\n${cases.join('\n')}\n*) exit 64;;\nesac\n`
    this.write(`bin/${tool}`, text)
    chmodSync(join(this.directory, 'bin', tool), 0o755)
  }

  /** An environment in which the stand-ins are the only tools. */
  alone(): NodeJS.ProcessEnv {
    const bin = join(this.directory, 'bin')
    const shell = `${'#'}!/bin/sh\n`
    for (const name of readdirSync(bin)) {
      const text = readFileSync(join(bin, name), 'utf8')
      writeFileSync(join(bin, name), text.replace(shell, `${shell}export PATH=/usr/bin:/bin\n`))
    }
    return { ...this.environment, PATH: bin }
  }

  write(path: string, content: string): void {
    writeTree(this.directory, { [path]: content })
  }

  /** The calls so far, as `tool command`. */
  calls(): string[] {
    let log = ''
    try {
      log = readFileSync(join(this.directory, 'log'), 'utf8')
    } catch {
      return [] // not called yet
    }
    return log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => / (update|download|show|--extract) /.exec(`${line} `)?.[1] ?? line)
  }
}
