// Plug-ins as the command line meets them: listed without being run, named in a configuration, and failing while a guest runs.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { partita } from './child.ts'
import { writeKernel } from './fake-guest.ts'

let directory: string
const file = (name: string) => join(directory, name)
const put = (name: string, content: string | object) => {
  mkdirSync(join(file(name), '..'), { recursive: true })
  writeFileSync(file(name), typeof content === 'string' ? content : JSON.stringify(content))
}
const run = (...args: string[]) => partita('fake', args, directory)

/** A plug-in that claims port 0x80, and throws as `what` says. */
const bell = (name: string, what: string) => `
export default {
  name: '${name}', kind: 'emulated-device', contract: 1, description: 'Rings',
  needs: [{ name: 'partita/port-io' }, { name: 'partita/clock' }], provides: [],
  options: { '~standard': { version: 1, vendor: 'x', validate: (value) => 'speed' in value ? { issues: [{ message: 'too fast', path: ['speed'] }] } : { value } } },
  create(context) {
    ${what}
    return { async [Symbol.asyncDispose]() {} }
  },
}`
const entry = (name: string, more: object = {}) => ({
  name,
  kind: 'emulated-device',
  contract: 1,
  description: 'Rings',
  export: '.',
  ...more,
})
const manifest = (name: string, more: object = {}) => ({
  name,
  version: '1.2.3',
  type: 'module',
  exports: './index.js',
  partita: { plugins: [entry(name, more)] },
})

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'partita-plugins-'))
  writeKernel(file('kernel'), 'p')
  const options = {
    speed: { type: 'number', description: 'How fast', default: 1 },
    name: { type: 'string', description: 'What it says', required: true },
  }
  const guids = [{ interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f', description: 'Bell' }]
  put('vm/node_modules/door-bell/package.json', manifest('door-bell', { options, guids }))
  put('vm/node_modules/door-bell/index.js', bell('door-bell', "process.stderr.write('ran\\n')"))
  put('old/package.json', manifest('old', { contract: 0 }))
  put('old/index.js', "process.stderr.write('ran\\n')")
})
afterAll(() => rmSync(directory, { recursive: true }))

describe('partita plugins', () => {
  it('tells all that manifests say, and runs nothing', async () => {
    const { status, stdout, stderr } = await run('plugins', './vm/node_modules/door-bell', './old')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^door-bell +emulated-device +1\.2\.3 +1 +path +Rings$/m)
    expect(stdout).toMatch(/^old .*cannot be used: written for contract 0/m)
    expect(stdout).toContain(`
door-bell
  Rings
  kind      emulated-device
  version   1.2.3
  contract  1
  from      door-bell (path, ${file('vm/node_modules/door-bell')})
  GUID      ba6163d9-04a1-4d29-b605-72e2ffb1dc7f  Bell
  options
    speed  number  How fast. Default: 1
    name   string  What it says. Required
`)
    const long = await run('plugins', '--long')
    expect(long.stdout).toMatch(/^@partita\/emulated-serial\n(.+\n)+ +backend +string +.+Default: "console"$/m)
    const json = JSON.parse((await run('plugins', './old/index.js', '--json')).stdout) as { name: string }[]
    expect(json.at(-1)).toMatchObject({ name: 'old', contract: 0, usable: false, origin: 'path' })
  })
})

describe('partita plugins, in a project', () => {
  it('tells of what the project depends on, too', async () => {
    put('vm/package.json', { dependencies: { 'door-bell': '1', absent: '1' }, devDependencies: { typescript: '6' } })
    const { status, stdout, stderr } = await partita('fake', ['plugins'], file('vm'))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^door-bell +emulated-device +1\.2\.3 +1 +package +Rings$/m)
  })

  it('tells of packages of its workspace, which npm links', async () => {
    put('work/parts/lamp/package.json', manifest('lamp'))
    put('work/parts/horn/package.json', manifest('@me/horn'))
    put('work/parts/tool/package.json', { name: 'tool', version: '1.0.0' })
    put('work/package.json', { workspaces: ['parts/*'] })
    mkdirSync(file('work/node_modules/@me'), { recursive: true })
    symlinkSync('../parts/lamp', file('work/node_modules/lamp'))
    symlinkSync('../parts/tool', file('work/node_modules/tool'))
    symlinkSync('../../parts/horn', file('work/node_modules/@me/horn'))
    const { status, stdout, stderr } = await partita('fake', ['plugins'], file('work'))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^@me\/horn +emulated-device +1\.2\.3 +1 +package +Rings\nlamp +emulated-device .*Rings$/m)
    expect(stdout).not.toContain('tool')
  })
})

describe('a plug-in that fails', () => {
  it.each([
    ['when it is loaded', "throw new Error('nobody home')", 'broken.mjs cannot be loaded: nobody home'],
    [
      'when it is created',
      bell('bell', 'undefined.ring()'),
      'The plug-in bell failed when it was created: Cannot read',
    ],
    [
      'in a promise',
      bell('bell', "void Promise.reject(new Error('later'))"),
      'The plug-in bell failed in what it left to the event loop: later',
    ],
    [
      'in a promise of its module',
      `void Promise.reject(new Error('early'))\n${bell('bell', '')}`,
      'The plug-in bell failed in what it left to the event loop: early',
    ],
    [
      'in a timer',
      bell('bell', "context.get({ name: 'partita/clock' }).createTimer(() => { throw new Error('late') }).arm(1)"),
      'The plug-in bell failed in a timer: late',
    ],
  ])('%s is named, and the guest runs on', async (_, module, message) => {
    put('broken.mjs', module)
    const { status, stdout, stderr } = await run('--kernel', 'kernel', '--device', './broken.mjs')
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'hello from the guest\r\n' })
    expect(stderr).toContain(message)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })

  it.each([
    ['another contract', { plugin: './old' }, 'ERR_PLUGIN_CONTRACT', 'Look for a newer version'],
    [
      'wrong options',
      { plugin: 'door-bell', options: { speed: 9 } },
      'ERR_PLUGIN_OPTIONS',
      'Its options are speed, name.',
    ],
    [
      'an option that is none',
      { plugin: '@partita/synthetic-network/loopback', options: { mut: 1 } },
      'ERR_PLUGIN_OPTIONS',
      'Did you mean mtu\\? Its options are',
    ],
    ['ports of another', { plugin: './greedy.mjs' }, 'ERR_PORT_CONFLICT', 'Give one of them another place'],
  ])('with %s keeps the guest from starting', async (_, device, code, hint) => {
    put('greedy.mjs', bell('greedy', "context.get({ name: 'partita/port-io' }).claim(0x3f8, 1, {})"))
    put('vm/refused.json', {
      kernel: '../kernel',
      devices: [{ ...device, plugin: device.plugin.replace('./', '../') }],
    })
    const { status, stdout, stderr } = await run('run', '--config', 'vm/refused.json')
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^partita: ${code}: .*\nhint: .*${hint}`))
    if (code === 'ERR_PORT_CONFLICT') expect(stderr).toContain('@partita/emulated-serial and greedy collide')
  })
})

describe('partita run --config', () => {
  it('takes options, with paths and packages from the file’s place', async () => {
    put('vm/machine.json', {
      $schema: 'anything',
      kernel: '../kernel',
      memory: '64M',
      timeout: 110,
      hypervisor: 'none',
      root: false,
      serial: 'file:console.log',
      devices: ['door-bell', { plugin: 'door-bell', id: 'second', options: { deep: { er: [1] } } }],
    })
    const { status, stderr } = await run('--config', join('vm', 'machine.json'), '--memory', '32M')
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringContaining('--no-root is for the default guest'),
    })
    put('vm/machine.json', {
      kernel: '../kernel',
      serial: 'file:console.log',
      devices: ['door-bell', { plugin: 'door-bell', id: 'second', options: { deep: { er: [1] } } }],
    })
    expect(await run('--config', join('vm', 'machine.json'))).toMatchObject({ status: 0, stderr: 'ran\nran\n' })
    expect(await run('--config', join('vm', 'machine.json'), '--serial', 'stdio')).toMatchObject({
      status: 0,
      stdout: 'hello from the guest\r\n',
    })
  })

  it.each([
    ['missing', undefined, 'ERR_FILE_UNREADABLE'],
    ['no JSON', '{ "memory": "1G", }', 'ERR_CONFIG_SYNTAX'],
    ['no object', '[]', 'ERR_CONFIG_INVALID: wrong.json: the configuration is not an object'],
    ['an unknown key', { mem: 1 }, 'ERR_CONFIG_INVALID: wrong.json: mem: there is no such option'],
    ['the configuration in itself', { config: 'x' }, 'ERR_CONFIG_INVALID'],
    ['a wrong value', { memory: 'much' }, 'ERR_CONFIG_INVALID: wrong.json: memory: much is not an amount of memory'],
    ['a wrong type', { memory: {} }, 'ERR_CONFIG_INVALID: wrong.json: memory: must be a text or a number'],
    ['a list that is none', { devices: 'x' }, 'ERR_CONFIG_INVALID: wrong.json: devices: must be a list'],
    [
      'a device without a plug-in',
      { devices: ['x', {}] },
      'ERR_CONFIG_INVALID: wrong.json: devices.1.plugin: must name a plug-in',
    ],
    [
      'a device with more',
      { devices: [{ plugin: 'x', speed: 1 }] },
      'devices.0.speed: a device has plugin, options and id',
    ],
    ['options that are none', { devices: [{ plugin: 'x', options: 1 }] }, 'devices.0.options: must be an object'],
    ['a wrong disk', { disks: ['x,lun=99'] }, 'ERR_CONFIG_INVALID: wrong.json: disks.0:'],
    ['a wrong module', { modules: ['a b'] }, 'ERR_CONFIG_INVALID: wrong.json: modules.0: a b is neither'],
    ['a wrong file', { guestFiles: ['a:b'] }, 'ERR_CONFIG_INVALID: wrong.json: guestFiles.0:'],
  ])('refuses %s', async (_, content, message) => {
    rmSync(file('wrong.json'), { force: true })
    if (content !== undefined) put('wrong.json', content)
    const { status, stdout, stderr } = await run('run', '--config', 'wrong.json')
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).toMatch(/^partita: ERR_/)
  })
})

describe('files and modules for the guest', () => {
  it.each([
    [['--guest-file', 'nowhere:/x'], 'ERR_USAGE: --guest-file needs a Linux kernel'],
    [['--module', 'msr'], 'ERR_USAGE: --module is for the default guest'],
    [['--guest-file', 'x:y'], 'ERR_USAGE: --guest-file x:y is not a file'],
    [['--module', 'a;b'], 'ERR_USAGE: --module a;b is neither a name'],
  ])('are refused: %s', async (args, message) => {
    const { status, stderr } = await run('--kernel', 'kernel', ...args)
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) })
  })
})
