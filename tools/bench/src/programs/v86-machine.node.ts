// v86 in a process of its own, with the guest's first serial port on standard input and output. The only argument is a V86Description.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface V86Description {
  /** The directory of the package. */
  readonly v86: string
  readonly bios: string
  readonly vgaBios: string
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
}

/** What is used of the package. */
interface Emulator {
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void
  add_listener(event: 'emulator-ready', listener: () => void): void
  serial0_send(text: string): void
  serial_set_clear_to_send(port: number, on: number): void
  serial_set_data_set_ready(port: number, on: number): void
  serial_set_carrier_detect(port: number, on: number): void
}
interface Package {
  readonly V86: new (options: object) => Emulator
}

const description = JSON.parse(process.argv[2] as string) as V86Description
const { V86 } = (await import(pathToFileURL(join(description.v86, 'build/libv86.mjs')).href)) as Package

async function image(path: string): Promise<{ buffer: ArrayBufferLike }> {
  const bytes = await readFile(path)
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) }
}

const emulator = new V86({
  wasm_path: join(description.v86, 'build/v86.wasm'),
  memory_size: description.memory,
  vga_memory_size: 2 ** 21,
  bios: await image(description.bios),
  vga_bios: await image(description.vgaBios),
  bzimage: await image(description.kernel),
  initrd: await image(description.initrd),
  cmdline: description.commandLine,
  autostart: true,
  disable_speaker: true,
  disable_keyboard: true,
  disable_mouse: true,
})
emulator.add_listener('serial0-output-byte', (byte) => process.stdout.write(Uint8Array.of(byte)))
// the guest's console sends nothing to somebody who is not there
emulator.add_listener('emulator-ready', () => {
  emulator.serial_set_clear_to_send(0, 1)
  emulator.serial_set_data_set_ready(0, 1)
  emulator.serial_set_carrier_detect(0, 1)
})
process.stdin.on('data', (data) => emulator.serial0_send(data.toString('latin1')))
