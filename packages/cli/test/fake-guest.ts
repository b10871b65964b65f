// A registry whose processor runs small scripts instead of instructions: the first letter of the kernel's code chooses one. Everything else, devices included,
// is real. The kernels are multiboot images.

import { writeFileSync } from 'node:fs'
import { type Plugin, processorToken } from '@partita/interface'
import { BUILT_IN_PACKAGES, DEFAULT_PROCESSOR, type PackageSource, PluginRegistry } from '@partita/root-partition'
import { FakeProcessor, type FakeProcessorVp, type Script } from '../../hypervisor/test/fakes.ts'
import { fakePlugin, multibootKernel } from '../../root-partition/test/fake-machine.ts'

const COM1 = { DATA: 0x3f8, FCR: 0x3fa, LSR: 0x3fd } as const
const LSR = { DATA_READY: 0x01, THR_EMPTY: 0x20 } as const
const PM1A_CONTROL = 0x604
const SLEEP_ENABLE = 0x2000
const CODE = 0x100020

/** What the fake guest does, by the letter that its kernel begins with. */
export type GuestLetter =
  /** Says hello and powers off. */
  | 'p'
  /** Debug exit with the value 0x10, that is code 33. */
  | 'x'
  /** Triple fault. */
  | 't'
  /** Says hello and halts for good. */
  | 'h'
  /** Echoes its input; powers off at an end-of-transmission or a `q`. */
  | 'e'
  /** Prints a kernel's panic and resets. */
  | 'k'
  /** Prints a kernel's panic and halts. */
  | 'l'
  /** Writes for ever. */
  | 'f'
  /** Resets at its first boot, powers off at its second. */
  | 'b'
  /** Writes until its output is not taken any more, writes on, and powers off. */
  | 'w'
  /** The same, and what it writes on is a kernel's panic, after which it resets. Powers off at its second boot. */
  | 's'
  /** A fault of the host. */
  | '!'

export function writeKernel(path: string, letter: GuestLetter): string {
  writeFileSync(path, multibootKernel(new TextEncoder().encode(letter)))
  return path
}

const PANIC =
  '[    0.5] Call Trace:\r\n[    0.6] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    0.7] ---[ end ]---\r\n'

export function fakeRegistry(source: PackageSource): PluginRegistry {
  let boots = 0
  let output: number[] = []
  let booted = false
  const say = (text: string): void => void output.push(...new TextEncoder().encode(text))
  /** Send what fits; true when all is out. */
  const drain = ({ intercepts }: FakeProcessorVp): boolean => {
    while (output.length > 0) {
      if ((intercepts.portRead(0, COM1.LSR, 1) & LSR.THR_EMPTY) === 0) return false
      intercepts.portWrite(0, COM1.DATA, 1, output.shift() as number)
    }
    return true
  }
  const powerOff = ({ intercepts }: FakeProcessorVp): 'budget' => {
    intercepts.portWrite(0, PM1A_CONTROL, 2, SLEEP_ENABLE)
    return 'budget'
  }
  const reset = ({ intercepts }: FakeProcessorVp): 'budget' => {
    booted = false
    intercepts.portWrite(0, 0xcf9, 1, 2)
    intercepts.portWrite(0, 0xcf9, 1, 6)
    return 'budget'
  }
  /** Send without a look at the line status. */
  const force = ({ intercepts }: FakeProcessorVp, text: string): void => {
    for (const byte of new TextEncoder().encode(text)) intercepts.portWrite(0, COM1.DATA, 1, byte)
  }
  const fill = (vp: FakeProcessorVp): void => {
    while ((vp.intercepts.portRead(0, COM1.LSR, 1) & LSR.THR_EMPTY) !== 0) force(vp, '0123456789abcdef\r\n')
  }
  const script: Script = (vp) => {
    const { ramOffset, buffer } = vp.options.memory
    const letter = String.fromCharCode(new Uint8Array(buffer)[ramOffset + CODE] as number)
    const first = !booted
    booted = true
    if (first) {
      boots++
      output = []
      vp.intercepts.portWrite(0, COM1.FCR, 1, 0x07)
      if (letter === 'p' || letter === 'h') say('hello from the guest\r\n')
      if (letter === 'k' || letter === 'l') say(PANIC)
      if (letter === 'e') say('ready\r\n')
    }
    if (letter === 'f') for (let count = 0; count < 64; count++) say('0123456789abcdef\r\n')
    if (letter === 'e' && (vp.intercepts.portRead(0, COM1.LSR, 1) & LSR.DATA_READY) !== 0) {
      const byte = vp.intercepts.portRead(0, COM1.DATA, 1)
      if (byte === 0x04 || byte === 0x71) return powerOff(vp)
      output.push(byte)
    }
    if (letter === 's' && boots > 1) return powerOff(vp)
    if (letter === 'w' || letter === 's') {
      fill(vp)
      force(vp, letter === 's' ? PANIC : 'the last words\r\n'.repeat(2000))
      return letter === 's' ? reset(vp) : powerOff(vp)
    }
    if (!drain(vp)) return 'budget'
    switch (letter) {
      case 'p':
        return powerOff(vp)
      case 'x':
        vp.intercepts.portWrite(0, 0xf4, 1, 0x10)
        return 'budget'
      case 't':
        return 'shutdown'
      case 'k':
        return reset(vp)
      case 'b':
        return boots === 1 ? reset(vp) : powerOff(vp)
      case '!':
        throw new TypeError('a fault of the host')
      case 'e':
      case 'f':
        return 'budget'
      default:
        return 'halt'
    }
  }
  const processor = fakePlugin([], {
    name: DEFAULT_PROCESSOR,
    kind: 'processor',
    provides: [processorToken],
    create: () => ({
      services: { [processorToken.name]: new FakeProcessor(script, 3 * 2 ** 30) },
      async [Symbol.asyncDispose]() {},
    }),
  })
  return new PluginRegistry({
    source,
    packages: BUILT_IN_PACKAGES.filter((name) => name !== DEFAULT_PROCESSOR),
    plugins: [processor as unknown as Plugin<never>],
  })
}
