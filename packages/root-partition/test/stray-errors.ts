// A machine whose plug-ins leave errors to Node's event loop. Prints what became of them.

import { spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import { definePlugin, type Plugin, portIoToken } from '@partita/interface'
import * as v from 'valibot'
import { PluginRegistry, VirtualMachine } from '../src/index.ts'
import { NodePluginTracker } from '../src/node.ts'
import { emptySource, multibootKernel, powerPlugin, processorPlugin } from './fake-machine.ts'

const MODULE: string = "data:text/javascript,throw new Error('a module')"
const tracker = new NodePluginTracker()
const strangers: string[] = []
process.on('uncaughtException', (error) => {
  if (!tracker.attribute(error)) strangers.push(error.message)
})

const onWrite = (name: string, port: number, write: () => void, create?: () => void): Plugin =>
  definePlugin<unknown>({
    name,
    kind: 'emulated-device',
    contract: 1,
    description: name,
    options: v.unknown(),
    needs: [portIoToken],
    provides: [],
    create(context) {
      create?.()
      context.get(portIoToken).claim(port, 1, { read: () => 0, write })
      return { async [Symbol.asyncDispose]() {} }
    },
  })

const devices = [
  onWrite('promise', 0x500, () => void Promise.reject(new Error('a promise'))),
  onWrite(
    'timer',
    0x501,
    () =>
      void setTimeout(() => {
        throw new Error('a host timer')
      }, 1),
  ),
  onWrite('emitter', 0x502, () => {
    const emitter = new EventEmitter()
    setImmediate(() => emitter.emit('error', new Error('an emitter')))
  }),
  onWrite('worker', 0x503, () => void new Worker("throw new Error('a worker')", { eval: true })),
  onWrite('socket', 0x504, () => void connect(1, '127.0.0.1')),
  onWrite('child', 0x505, () => void spawn('/no/such/program')),
  onWrite('module', 0x506, () => void import(MODULE)),
  onWrite('listener', 0x507, () => {
    const target = new EventTarget()
    target.addEventListener('event', () => {
      throw new Error('a listener')
    })
    target.dispatchEvent(new Event('event'))
  }),
  onWrite('nothing', 0x508, () => void Promise.reject(undefined)),
  onWrite('good', 0x509, () => {}),
  onWrite(
    'at-rest',
    0x50a,
    () => {},
    () => void Promise.reject(new Error('a promise of create')),
  ),
]

setTimeout(() => {
  throw new Error('nobody’s')
}, 1)

let slices = 0
const { plugin } = processorPlugin([], (vp) => {
  if (slices++ === 0) for (let port = 0x500; port < 0x50a; port++) vp.intercepts.portWrite(0, port, 1, 1)
  const done = vm.pluginFailures.length === 10 && strangers.length === 1
  if (done || slices > 5_000_000) vp.intercepts.portWrite(0, 0xf4, 1, 0)
  return 'budget'
})
const registry = new PluginRegistry({
  source: emptySource,
  packages: [],
  plugins: [plugin, powerPlugin, ...devices] as Plugin<never>[],
})
const vm: VirtualMachine = await VirtualMachine.create(
  {
    processor: 'fake-processor',
    memory: 4 * 2 ** 20,
    devices: ['power', ...devices.map(({ name }) => name)],
    boot: { kernel: 'kernel' },
  },
  { registry, tracker, readFile: async () => multibootKernel(Uint8Array.of(0xf4)) },
)
const outcome = await vm.run()
const names = new Set(devices.map(({ name }) => name))
console.log(
  JSON.stringify({
    outcome,
    failures: vm.pluginFailures.map(({ message }) => message).sort(),
    living: vm.plugins.filter((id) => names.has(id)),
    strangers,
  }),
)
await vm[Symbol.asyncDispose]()
