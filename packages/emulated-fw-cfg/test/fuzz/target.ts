// What the fuzzer runs: a guest at the ports of a fw_cfg device, with DMA descriptors that are right, wrong and in each other's way. A model of an item's bytes says what reads must give.

import { firmwareConfigurationToken } from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { FuzzInput, type FuzzOutcome, type FuzzTarget } from '@partita/testkit/fuzz'
import fwCfg, { FW_CFG_DMA } from '../../src/index.ts'

const RAM = 64 * 1024
/** What is in the device: by key, one file after the other. */
const FILES = [0x20, 0x21, 0x22].map(
  (key, index) => [key, Uint8Array.from({ length: 100 * index + 3 }, (_, at) => (at * 7 + key) & 0xff)] as const,
)

/** Something does not add up. */
class FuzzFailure extends Error {}

function swapped(value: number): number {
  return new DataView(Uint32Array.of(value).buffer).getUint32(0)
}

async function start(): Promise<{ machine: FakeMachine; instance: Awaited<ReturnType<FakeMachine['start']>> }> {
  const machine = new FakeMachine({ ramSize: RAM })
  const instance = await machine.start(fwCfg)
  const files = machine.service(firmwareConfigurationToken)
  for (const [index, [, data]] of FILES.entries()) files.setFile(`file${index}`, data)
  return { machine, instance }
}

async function run(bytes: Uint8Array): Promise<FuzzOutcome> {
  const input = new FuzzInput(bytes)
  const features = new Set<string>()
  let { machine, instance } = await start()
  let steps = 0
  // The model: what is selected, and where in it.
  let data: Uint8Array | undefined
  let offset = 0
  const select = (key: number): void => {
    data = FILES.find(([known]) => known === (key & 0xbfff))?.[1]
    offset = 0
  }
  for (; !input.done; steps++) {
    const { ports, memory } = machine
    switch (input.below(8)) {
      case 0: {
        const key = input.chance(1, 4) ? input.u16() : input.pick([0x20, 0x21, 0x22, 0x4021, 0, 1, 0x19])
        ports.write(0x510, key, 2)
        select(key)
        break
      }
      case 1: {
        const value = ports.read(0x511)
        if (data !== undefined && value !== (data[offset] ?? 0)) throw new FuzzFailure(`read ${value} at ${offset}`)
        if (data !== undefined && offset < data.length) offset++
        features.add(data === undefined ? 'other' : offset < data.length ? 'inside' : 'end')
        break
      }
      case 2:
        ports.write(input.pick([0x511, 0x514, 0x515, 0x519, 0x51b]), input.u32(), input.pick([1, 2]))
        break
      case 3:
        if (ports.read(0x514, 4) !== 0x554d_4551) throw new FuzzFailure('the signature is gone')
        break
      case 4:
        if (!input.chance(1, 8)) break
        if (input.chance(1, 2)) {
          instance.reset?.()
          select(0)
        } else {
          const state = structuredClone(instance.save?.())
          await machine[Symbol.asyncDispose]()
          const before = machine.memory
          ;({ machine, instance } = await start())
          machine.memory.write(0, before.bytes.subarray(0, RAM))
          if (state !== undefined) instance.restore?.(state)
          features.add('saved')
        }
        break
      default: {
        const at = input.chance(1, 8) ? RAM - input.below(32) : input.below(RAM - 16)
        const key = input.pick([0x20, 0x21, 0x22, 0, 0xffff])
        const control = (input.below(32) | (input.chance(1, 2) ? FW_CFG_DMA.SELECT : 0) | (key << 16)) >>> 0
        const length = input.pick([0, 1, 4, 16, input.u8(), input.u16(), input.u32()])
        const target = input.pick([input.below(RAM), RAM - input.below(8), input.u32(), at])
        const high = input.chance(1, 16) ? input.u32() : 0
        const view = new DataView(new ArrayBuffer(16))
        view.setUint32(0, control)
        view.setUint32(4, length)
        view.setUint32(8, high)
        view.setUint32(12, target)
        const written = memory.write(at, new Uint8Array(view.buffer))
        if (input.chance(15, 16)) ports.write(0x514, 0, 4)
        ports.write(0x518, swapped(at), 4)
        if (!written) break
        if ((control & FW_CFG_DMA.SELECT) !== 0) select(key)
        const outcome = swapped(memory.readU32(at) ?? 0)
        const inRam = high === 0 && target + length <= RAM
        const overItself = target < at + 4 && target + length > at
        const reads = (control & FW_CFG_DMA.READ) !== 0
        const writes = !reads && (control & FW_CFG_DMA.WRITE) !== 0
        const fails = reads ? !inRam && length > 0 : writes
        if (data === undefined && !fails) offset = 0
        if (!fails && (reads || (control & FW_CFG_DMA.SKIP) !== 0)) {
          if (reads && data !== undefined && !overItself) {
            for (let i = 0; i < Math.min(length, 600); i++)
              if (memory.bytes[target + i] !== (data[offset + i] ?? 0)) throw new FuzzFailure(`byte ${i} at ${offset}`)
          }
          if (data !== undefined) offset = Math.min(offset + length, data.length)
        }
        // With a piece in RAM and the rest not, the outcome alone is told.
        if (fails && reads) {
          const state = instance.save?.().data as { offset: number } | undefined
          if (data !== undefined && state?.offset !== offset) throw new FuzzFailure('a read that failed has moved on')
        }
        if (outcome !== (fails ? FW_CFG_DMA.ERROR : 0))
          throw new FuzzFailure(`outcome ${outcome} of control ${control}`)
        features.add(`dma ${control & 31} ${fails} ${overItself}`)
      }
    }
  }
  await machine[Symbol.asyncDispose]()
  return { steps, features: [...features] }
}

export const target: FuzzTarget = { longest: 1024, run }
