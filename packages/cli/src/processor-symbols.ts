// Names of a guest's code, from a System.map or the output of nm: lines of address, type and name.

import { readInputFile } from './input-file.ts'

/** The text symbols of a file: gives the name for an address, with the distance from its start where that is not 0. */
export async function readSymbols(path: string): Promise<(address: bigint) => string | undefined> {
  const text = new TextDecoder().decode(await readInputFile(path, 'symbol file'))
  const symbols: { readonly address: bigint; readonly name: string }[] = []
  for (const line of text.split('\n')) {
    const found = /^([0-9a-f]{8,16}) [tTwW] (\S+)/.exec(line)
    if (found?.[1] && found[2]) symbols.push({ address: BigInt(`0x${found[1]}`), name: found[2] })
  }
  symbols.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0))
  return (address) => {
    let low = 0
    let high = symbols.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((symbols[middle]?.address ?? 0n) <= address) low = middle + 1
      else high = middle
    }
    const symbol = symbols[low - 1]
    if (!symbol) return undefined
    const distance = address - symbol.address
    // beyond the last symbol, or between two parts of an address space
    if (distance > 0x10000n) return undefined
    return distance === 0n ? symbol.name : `${symbol.name}+0x${distance.toString(16)}`
  }
}
