// Finds out which commands a busybox binary has, without running it: the host need not be an x86.

const FIRST_NAMES = '\0[\0[[\0'

/**
 * The names of the applets in `binary`, in its order. Busybox keeps them as one sorted run of NUL-terminated strings
 * that begins with `[` and `[[` and ends with an empty one. Empty where there is no such run.
 */
export function readApplets(binary: Uint8Array): string[] {
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength)
  const names: string[] = []
  const found = bytes.indexOf(FIRST_NAMES, 0, 'latin1')
  if (found < 0) return names
  for (let start = found + 1; bytes[start] !== 0; ) {
    const end = bytes.indexOf(0, start)
    const name = bytes.toString('latin1', start, end)
    if (end < 0 || !/^[\w.+[-]{1,32}$/.test(name)) break
    names.push(name)
    start = end + 1
  }
  return names
}
