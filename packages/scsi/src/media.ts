// Kinds of optical media and their sizes (MMC-6, 4.2 and table 90).

/** Bytes of a block of a CD-ROM or DVD. */
export const DVD_BLOCK = 2048
/** Blocks of the largest CD, of 80 minutes. */
export const CD_BLOCKS: number = 80 * 60 * 75

/** Profiles. */
export const PROFILE = { NONE: 0x0000, CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const
/** One of {@link PROFILE}. */
export type Profile = (typeof PROFILE)[keyof typeof PROFILE]
