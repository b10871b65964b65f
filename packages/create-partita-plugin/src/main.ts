#!/usr/bin/env node
// The entry of `npm create partita-plugin`.

import { runCommandLine } from './command-line.ts'

const { stdin, stdout, stderr } = process
process.exitCode = await runCommandLine(process.argv.slice(2), { stdin, stdout, stderr, directory: process.cwd() })
