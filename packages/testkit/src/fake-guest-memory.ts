// RAM from address 0 in one array, which counts what was stored through it: the memory of the VMBus's own test kit.

export { SharedMemory as FakeGuestMemory } from '@partita/vmbus/testing'
