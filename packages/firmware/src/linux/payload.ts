// Decompresses the payload of a bzImage on the host, if it can (Linux/x86 boot protocol, "payload_offset", "payload_length").

import type { BootOptions } from '../boot.ts'
import { viewOf } from '../bytes.ts'
import { builtInDecompressors, detectCompression } from '../compression/decompress.ts'
import { isElf } from '../elf.ts'
import { FirmwareError } from '../firmware-error.ts'
import type { SetupHeader } from './setup-header.ts'

/** The ELF file and the relocations behind it never need more than this. */
const SIZE_LIMIT = 1 << 30

/** What came out of a bzImage. */
export interface DecompressedPayload {
  /** An ELF file with relocation data behind it. */
  readonly file: Uint8Array
  /** Whether nobody else has its bytes. */
  readonly own: boolean
}

/**
 * The decompressed payload; `undefined` when the guest is to decompress it.
 *
 * @throws FirmwareError `ERR_KERNEL_CORRUPT` for a payload that does not decompress, `ERR_KERNEL_UNSUPPORTED` when the host must do it and cannot
 */
export async function decompressPayload(
  options: Pick<BootOptions, 'kernel' | 'decompression' | 'decompressors' | 'logger'>,
  header: SetupHeader,
): Promise<DecompressedPayload | undefined> {
  const wish = options.decompression ?? 'auto'
  if (wish === 'guest') return undefined
  const payload = options.kernel.subarray(header.payloadOffset, header.payloadOffset + header.payloadLength)
  const format = detectCompression(payload)
  if (format === 'none') return { file: payload, own: false }
  const given = format && options.decompressors?.[format]
  const decompress = given ?? (format && builtInDecompressors[format])
  if (decompress === undefined) {
    if (wish === 'auto') return undefined
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The host cannot decompress this kernel', {
      hint: 'Let the guest do it.',
      data: { format: format ?? 'unknown' },
    })
  }
  const limit = Math.min(SIZE_LIMIT, header.initSize)
  let file: Uint8Array
  try {
    // Each of the kernel's compressed formats ends with the size of what was compressed.
    const announced = viewOf(payload).getUint32(payload.length - 4, true)
    if (announced > limit) throw new RangeError(`${announced} bytes are announced, more than init_size`)
    file = await decompress(payload, limit, announced)
    if (file.length !== announced) throw new RangeError(`${file.length} bytes came out, not ${announced}`)
  } catch (cause) {
    throw new FirmwareError('ERR_KERNEL_CORRUPT', 'The compressed kernel inside the image is damaged', {
      hint: 'Fetch or copy the kernel again.',
      data: { format },
      cause,
    })
  }
  if (!isElf(file)) throw new FirmwareError('ERR_KERNEL_CORRUPT', 'The kernel image does not hold an ELF file')
  return { file, own: given === undefined }
}
