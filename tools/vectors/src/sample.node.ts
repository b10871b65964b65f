/**
 * Generates the committed sample: every form with a few vectors, into `packages/processor-x86/vectors/sample.vectors.gz`.
 *
 *     node --conditions=@partita/source src/sample.node.ts [vectors a form] [seed]
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { allForms } from './forms/index.ts'
import { measure, NativeProcessor } from './native.node.ts'

const count = Number(process.argv[2] ?? 8)
const seed = Number(process.argv[3] ?? 1)
const directory = join(import.meta.dirname, '..', '..', '..', 'packages', 'processor-x86', 'vectors')
const forms = allForms()
using processor = new NativeProcessor()
const file = measure(processor, forms, count, seed)
if (Buffer.compare(file, measure(processor, forms, count, seed)) !== 0)
  throw new Error('two runs differ: a form depends on something that is not in its input')
mkdirSync(directory, { recursive: true })
const packed = gzipSync(file, { level: 9 })
writeFileSync(join(directory, 'sample.vectors.gz'), packed)
console.log(`${forms.length} forms, ${forms.length * count} vectors, ${packed.length} bytes`)
