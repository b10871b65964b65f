// What both sides know: who the device is. A request is text, and its completion is the answer; nothing else passes.

/** The kind of device, by which a guest finds its driver. */
export const INTERFACE_ID = '3c0f9f5e-5a4b-4a50-9d4e-2f6c1b7a0001'
/** The one device of that kind. */
export const INSTANCE_ID = '3c0f9f5e-5a4b-4a50-9d4e-2f6c1b7a0002'
/** Bytes of a text, at most. */
export const LONGEST = 512
