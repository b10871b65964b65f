// Pauses a virtual machine, takes its state, and goes on with it in another one.

import { type SavedMachine, VirtualMachine, type VirtualMachineServices, type VmOutcome } from '@partita/root-partition'

/** Run a VM for some time, and take its state. */
export async function suspend(
  configuration: unknown,
  services: VirtualMachineServices,
  milliseconds: number,
): Promise<SavedMachine> {
  await using vm = await VirtualMachine.create(configuration, services)
  const run = vm.run()
  await new Promise((resolve) => setTimeout(resolve, milliseconds))
  await vm.pause()
  const saved = vm.save()
  await vm.stop()
  await run
  return saved
}

/** Go on from a state, with the same configuration. */
export async function resume(
  configuration: unknown,
  services: VirtualMachineServices,
  saved: SavedMachine,
): Promise<VmOutcome> {
  await using vm = await VirtualMachine.create(configuration, services)
  vm.restore(saved)
  return await vm.run()
}
