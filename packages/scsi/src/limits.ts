// Sizes that units promise in their VPD pages and commands are checked against (SBC-3, 6.6.4).

/** Most blocks of one WRITE SAME. */
export const MAXIMUM_WRITE_SAME_BLOCKS = 0x2_0000
/** Most blocks of one UNMAP, all descriptors together. */
export const MAXIMUM_UNMAP_BLOCKS = 0x80_0000
/** Most block descriptors of one UNMAP. */
export const MAXIMUM_UNMAP_DESCRIPTORS = 256
