// Numbers of handlers inside `run`.

/** Handler numbers that are not instructions. */
export const HANDLER = {
  /** The record is stale: find the block at its RIP anew. */
  LOOKUP: 0,
  /** The block goes on at the next address, in a block of its own. */
  CONTINUE: 1,
  /** A function that neither reads nor writes lazy flags is called like one that does. */
  CALL: 2,
  /** The block is the head of a translated region, whose function is called. */
  REGION: 3,
  FIRST_INLINE: 4,
} as const
