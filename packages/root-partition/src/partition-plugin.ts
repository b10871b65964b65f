// The partition itself as a plug-in: it needs the processor and provides what devices need, so that the order of need puts it between them.

import { Partition, type PartitionOptions } from '@partita/hypervisor'
import {
  addressLine20Token,
  clockToken,
  definePlugin,
  guestMemoryToken,
  interruptMessagesToken,
  mmioToken,
  PLUGIN_CONTRACT,
  type Plugin,
  portIoToken,
  powerControlToken,
  processorToken,
  type ServiceToken,
  serviceToken,
  shadowRamToken,
  synicPortsToken,
} from '@partita/interface'
import * as v from 'valibot'
import type { MemoryManager } from './memory-manager.ts'

/** The partition, for the root partition's own use. */
export const partitionToken: ServiceToken<Partition> = serviceToken('partita/partition')

/** Its id among the plug-ins of a VM. */
const PARTITION_PLUGIN_ID = '@partita/root-partition/partition'

/** Make the plug-in for one VM. */
export function partitionPlugin(
  memoryManager: MemoryManager,
  options: Omit<PartitionOptions, 'processor' | 'logger'>,
): Plugin {
  return definePlugin<unknown>({
    name: PARTITION_PLUGIN_ID,
    kind: 'service',
    contract: PLUGIN_CONTRACT,
    description: 'The partition of the VM',
    options: v.unknown(),
    needs: [processorToken],
    provides: [
      partitionToken,
      guestMemoryToken,
      clockToken,
      portIoToken,
      mmioToken,
      powerControlToken,
      interruptMessagesToken,
      shadowRamToken,
      addressLine20Token,
      ...(options.hypervisor === 'hyper-v' ? [synicPortsToken] : []),
    ],
    create(context) {
      const stack = new DisposableStack()
      stack.use(memoryManager.reserve(options.ramSize))
      let partition: Partition
      try {
        partition = stack.use(
          new Partition({ ...options, processor: context.get(processorToken), logger: context.logger }),
        )
      } catch (error) {
        stack.dispose()
        throw error
      }
      return {
        services: {
          [partitionToken.name]: partition,
          [guestMemoryToken.name]: partition.memory,
          [clockToken.name]: partition.clock,
          [portIoToken.name]: partition.ports,
          [mmioToken.name]: partition.mmio,
          [powerControlToken.name]: partition.power,
          [interruptMessagesToken.name]: partition.interrupts,
          [shadowRamToken.name]: partition.shadowRam,
          [addressLine20Token.name]: partition.addressLine20,
          ...(partition.hyperV && { [synicPortsToken.name]: partition.hyperV.synicPorts }),
        },
        async [Symbol.asyncDispose]() {
          stack.dispose()
        },
      }
    },
  })
}

/** Whether a plug-in is the partition's: a service has one provider. */
export function isPartition({ provides }: Plugin): boolean {
  return provides.some(({ name }) => name === partitionToken.name)
}
