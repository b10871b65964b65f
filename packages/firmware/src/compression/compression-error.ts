// The error of the decoders in this directory. It does not leave the package: the loader makes an ERR_KERNEL_CORRUPT of it.

/** What is wrong with a compressed stream. */
export class CompressionError extends Error {
  override readonly name = 'CompressionError'
}
