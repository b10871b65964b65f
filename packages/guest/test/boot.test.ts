// From the first instruction to a device tree; drivers and devices that do what they should not.

import { MemoryDisk } from '@partita/disk-images'
import { loadKernel } from '@partita/firmware'
import { Partition } from '@partita/hypervisor'
import { type Logger, type VmbusDevice, vmbusServerToken } from '@partita/interface'
import { createTypeScriptProcessor } from '@partita/processor-typescript'
import { defineVscDriver, type VscDriver } from '@partita/vmbus/client'
import { describe, expect, it } from 'vitest'
import { bootGuest, Kernel, VirtualTime } from '../src/index.ts'
import { kernelImage } from '../src/kernel/index.ts'
import { ECHO_INTERFACE, type Echo, echoDevice, echoDriver, echoProvider } from './echo.ts'

const MIB = 2 ** 20
const BYTES = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)

function recorder(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = []
  const logger: Logger = {
    log: (_level, message, fields) => void lines.push(`${message} ${JSON.stringify(fields)}`),
    child: () => logger,
  }
  return { logger, lines }
}

/** A driver for the echo device that does something else than it should. */
function driver(start: VscDriver['start'], interfaceIds: readonly string[] = [ECHO_INTERFACE]): VscDriver {
  return defineVscDriver({ name: 'odd', interfaceIds, start })
}

describe('the guest', () => {
  it('finds Hyper-V, ACPI, and the devices on the VMBus', async () => {
    const { logger, lines } = recorder()
    await using guest = await bootGuest({
      providers: [echoProvider, echoDevice(2)],
      drivers: [echoDriver],
      disks: { disk0: new MemoryDisk(2048) },
      processors: 2,
      logger,
    })
    expect(guest.deviceTree().split('\n')).toEqual([
      'Hyper-V child partition',
      '├─ C000 ACPI0007',
      '├─ C001 ACPI0007',
      '├─ MBRD PNP0C02',
      '└─ VMOD ACPI0004',
      '   └─ VMBS VMBus [vmbus]',
      `      ├─ {${ECHO_INTERFACE}} {6a3f0c52-4a1e-4c53-9f1b-000000000001} [echo]`,
      `      ├─ {${ECHO_INTERFACE}} {6a3f0c52-4a1e-4c53-9f1b-000000000002} [echo]`,
      '      └─ SCSI controller {9d3f5b1e-6c0a-4e52-8a47-5a70b1c00000} [storvsc]',
      '         └─ lun0: Msft Virtual Disk, 1 MiB',
    ])
    const log = lines.join('\n')
    expect(log).toContain('Microsoft Hv 10.0.26100')
    expect(log).toContain('2 of 2 processors run')
    expect(log).toMatch(/ACPI: FACP APIC .*DSDT; 2 processors/)
    const second = await guest.device(echoDriver, { instanceId: '6a3f0c52-4a1e-4c53-9f1b-000000000002' })
    expect(await second.echo(BYTES)).toEqual(BYTES)
    expect(second).not.toBe(await guest.device(echoDriver))
  })

  it('takes the same steps each time', async () => {
    const run = async (): Promise<unknown> => {
      const { logger, lines } = recorder()
      await using guest = await bootGuest({ providers: [echoProvider], drivers: [echoDriver], logger, processors: 2 })
      const echo = await guest.device(echoDriver)
      await Promise.all(Array.from({ length: 20 }, (_, i) => echo.echo(BYTES.map((byte) => byte + i))))
      await guest.sleep(3_600_000)
      await guest.suspend()
      await guest.resume()
      const [info] = guest.vm.find(vmbusServerToken)?.channels() ?? []
      const steps = guest.vm.partition.virtualProcessors.map(({ instructionCount }) => instructionCount)
      return { lines, steps, info, now: guest.kernel.now() }
    }
    const first = await run()
    expect(await run()).toEqual(first)
    expect((first as { now: number }).now).toBeGreaterThan(3_600_000)
  })

  it('tells the time by the reference page, and by the host’s clock where asked', async () => {
    await using guest = await bootGuest({ time: 'real' })
    const before = guest.kernel.now()
    await guest.sleep(2)
    expect(guest.kernel.now() - before).toBeGreaterThanOrEqual(2)
  })

  it('wakes sleepers in order, and not those that gave up', async () => {
    await using guest = await bootGuest()
    const order: number[] = []
    const over = new AbortController()
    const sleeps = [30, 10, 20].map((ms) => guest.sleep(ms).then(() => order.push(ms)))
    const given = guest.sleep(15, over.signal)
    over.abort(new Error('no more'))
    await expect(given).rejects.toThrow('no more')
    await expect(guest.sleep(1, over.signal)).rejects.toThrow('no more')
    await Promise.all(sleeps)
    expect(order).toEqual([10, 20, 30])
  })

  it('reports its end to the hypervisor, and fails what waits', async () => {
    const guest = await bootGuest({ providers: [echoProvider], drivers: [echoDriver] })
    const echo = await guest.device(echoDriver)
    const sleeping = guest.sleep(1e6)
    // No message of a host's comes to this: a fault of the kernel itself.
    guest.kernel.pnp.drivers.find = () => {
      throw new Error('the registry is broken')
    }
    guest.offer(echoDevice(7))
    expect(await guest.outcome).toMatchObject({ type: 'guest-crash', message: 'the registry is broken' })
    await expect(sleeping).rejects.toMatchObject({ code: 'ERR_GUEST_STATE' })
    await expect(echo.echo(BYTES)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    await expect(guest.device(echoDriver, { wait: true })).rejects.toMatchObject({ code: 'ERR_GUEST_STATE' })
    await guest[Symbol.asyncDispose]()
  })

  it.each([
    ['none', true, 'The guest needs Hyper-V; this partition has no hypervisor'],
    ['hyper-v', false, 'The kernel was not started by a Multiboot2 loader'],
  ] as const)('does not go on without what it needs (%s)', async (hypervisor, load, reason) => {
    const errors: unknown[] = []
    const logger: Logger = {
      log: (_level, _message, fields) => void errors.push(fields?.['error']),
      child: () => logger,
    }
    const lines: string[] = []
    const processor = createTypeScriptProcessor(() => new Kernel({ drivers: [], log: (line) => void lines.push(line) }))
    const time = new VirtualTime()
    const partition = new Partition({
      processor,
      ramSize: 8 * MIB,
      hypervisor,
      logger,
      hostTime: time,
      eventLoop: time,
    })
    const [vp] = partition.virtualProcessors
    if (load && vp !== undefined) await loadKernel({ memory: partition.memory, vp, kernel: kernelImage(), acpi: false })
    expect(await partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
    expect(errors).toEqual([expect.stringContaining(reason)])
    expect(lines[0]).toContain(reason)
  })

  it('boots anew after a reset', async () => {
    await using guest = await bootGuest({ providers: [echoProvider], drivers: [echoDriver] })
    const before = guest.kernel
    const echo = await guest.device(echoDriver)
    await guest.vm.reset()
    while (guest.kernel === before) await new Promise((resolve) => setImmediate(resolve))
    await expect(echo.echo(BYTES)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    expect(await (await guest.device(echoDriver)).echo(BYTES)).toEqual(BYTES)
  })
})

describe('a driver', () => {
  it('that throws leaves its device, and others, alone', async () => {
    const broken = driver(() => Promise.reject(new Error('no such luck')))
    await using guest = await bootGuest({
      providers: [echoProvider],
      drivers: [broken],
      disks: { d: new MemoryDisk(64) },
    })
    await expect(guest.device(broken)).rejects.toThrow('odd has no device: no such luck')
    expect(guest.deviceTree()).toContain('[odd] (failed): no such luck')
    expect(guest.deviceTree()).toContain('lun0')
  })

  it('that never starts is given up after a minute, and its channel is closed', async () => {
    const slow = driver(async (device) => {
      await device.open()
      return await new Promise<never>(() => {})
    })
    await using guest = await bootGuest({ providers: [echoProvider], drivers: [slow] })
    expect(guest.kernel.now()).toBeGreaterThan(60_000)
    await expect(guest.device(slow)).rejects.toThrow('did not start within 60 s')
    expect(guest.vm.find(vmbusServerToken)?.channels()).toMatchObject([{ state: 'closed' }])
  })

  it('that throws at a packet loses its device', async () => {
    const clumsy = driver(async (device) => {
      const channel = await device.open()
      channel.onPacket = () => {
        throw new Error('what is that?')
      }
      channel.send(BYTES, 1, 0, 1)
      return {}
    })
    await using guest = await bootGuest({ providers: [echoProvider], drivers: [clumsy] })
    await guest.sleep(1)
    await guest.kernel.pnp.settled()
    expect(guest.deviceTree()).toContain('[odd] (failed): what is that?')
    expect(guest.vm.find(vmbusServerToken)?.channels()).toMatchObject([{ state: 'closed' }])
  })

  it('for an interface that another one is for is refused', async () => {
    await expect(bootGuest({ drivers: [echoDriver, driver(async () => ({}))] })).rejects.toMatchObject({
      code: 'ERR_GUEST_STATE',
    })
  })

  it('is started anew on waking where it cannot go on', async () => {
    let starts = 0
    const counting = driver(async (device) => {
      starts++
      await device.open()
      return {}
    })
    await using guest = await bootGuest({ providers: [echoProvider], drivers: [counting] })
    const before = await guest.device(counting)
    await guest.suspend()
    await guest.resume()
    expect(starts).toBe(2)
    expect(await guest.device(counting)).not.toBe(before)
  })
})

describe('a device', () => {
  it('comes and goes, again and again, and leaves nothing behind', async () => {
    await using guest = await bootGuest({ drivers: [echoDriver] })
    const free = guest.kernel.freePages
    for (let round = 0; round < 10; round++) {
      const offered = guest.offer(echoDevice())
      const echo: Echo = await guest.device(echoDriver, { wait: true })
      const answers = Array.from({ length: 50 }, () => echo.echo(BYTES))
      const late = Promise.allSettled(answers)
      await guest.sleep(round % 3 === 0 ? 0.01 : 1)
      await offered[Symbol.asyncDispose]()
      await late
      await expect(echo.echo(BYTES)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
      await guest.sleep(1)
      expect(guest.kernel.freePages).toBe(free)
    }
    expect(guest.vm.find(vmbusServerToken)?.channels()).toEqual([])
  })

  it('is gone after sleep where the host took it away meanwhile', async () => {
    await using guest = await bootGuest({ drivers: [echoDriver], providers: [echoDevice(1)] })
    const second = guest.offer(echoDevice(2))
    const where = { instanceId: '6a3f0c52-4a1e-4c53-9f1b-000000000002' }
    await guest.device(echoDriver, { ...where, wait: true })
    await guest.suspend()
    await second[Symbol.asyncDispose]()
    await guest.resume()
    await expect(guest.device(echoDriver, where)).rejects.toMatchObject({ code: 'ERR_GUEST_DRIVER' })
    expect(await (await guest.device(echoDriver)).echo(BYTES)).toEqual(BYTES)
  })

  it('gives up requests that are not wanted any more', async () => {
    const silent: VmbusDevice = { ...echoDevice(), open: () => ({ receive: () => true }) }
    await using guest = await bootGuest({ drivers: [echoDriver], providers: [silent] })
    const echo = await guest.device(echoDriver)
    const over = new AbortController()
    const waiting = echo.echo(BYTES, over.signal)
    await guest.sleep(1)
    over.abort(new Error('too late'))
    await expect(waiting).rejects.toThrow('too late')
  })
})
