// fio's command lines.

import { BEGIN, END, say } from './marks.ts'

/** Words that make `count` requests, with the marks around them. */
export function fio(options: Readonly<Record<string, string | number>>, count: number): string {
  const words = Object.entries({
    name: 'job',
    ...options,
    number_ios: count,
    // No map of the blocks that were visited: all memory is the page cache's and the program's own.
    norandommap: 1,
    // Other blocks each time.
    randseed: count,
    // fio adds a redirection of its own at the end.
    exec_prerun: `'${say(BEGIN)}; :'`,
    exec_postrun: `'${say(END)}; :'`,
  })
  return ['fio', '--thread', '--gtod_reduce=1', ...words.map(([name, value]) => `--${name}=${value}`)].join(' ')
}
