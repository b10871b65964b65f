// Settings of a disk that a host changes: SET FEATURES and SET MULTIPLE MODE (ATA/ATAPI-7 volume 1, sections 6.51 and 6.52), and what resets do to them.

import { MAXIMUM_MULTIPLE } from './ata.ts'
import { FEATURE, transferMode } from './transfer-mode.ts'

/** Saved {@link DiskSettings}. */
export interface DiskSettingsState {
  readonly multiple: number
  readonly writeCache: boolean
  readonly lookAhead: boolean
  readonly reverts: boolean
  readonly dmaMode: number
}

/** The settings of one disk. */
export class DiskSettings {
  /** Sectors of a block of READ and WRITE MULTIPLE, 0 while it is off. On from the start: Linux uses what it finds, and sets nothing itself. */
  multiple: number = MAXIMUM_MULTIPLE
  writeCache = true
  lookAhead = true
  /** Selected mode of DMA as SET FEATURES takes it; 0 for none. */
  dmaMode = 0
  /** A software reset takes settings back. */
  #reverts = false

  /** Power-on. */
  reset(): void {
    this.writeCache = true
    this.lookAhead = true
    this.dmaMode = 0
    this.multiple = MAXIMUM_MULTIPLE
    this.#reverts = false
  }

  softReset(): void {
    this.multiple = MAXIMUM_MULTIPLE
    if (!this.#reverts) return
    this.writeCache = true
    this.lookAhead = true
  }

  /** SET FEATURES. `'flush'`: done when the cache is on the medium. */
  setFeature(subcommand: number, value: number, dma: boolean): 'done' | 'flush' | 'refused' {
    switch (subcommand) {
      case FEATURE.ENABLE_WRITE_CACHE:
        this.writeCache = true
        return 'done'
      case FEATURE.DISABLE_WRITE_CACHE:
        this.writeCache = false
        return 'flush'
      case FEATURE.SET_TRANSFER_MODE: {
        const mode = transferMode(value, this.dmaMode, dma)
        if (mode === undefined) return 'refused'
        this.dmaMode = mode
        return 'done'
      }
      case FEATURE.ENABLE_LOOK_AHEAD:
      case FEATURE.DISABLE_LOOK_AHEAD:
        this.lookAhead = subcommand === FEATURE.ENABLE_LOOK_AHEAD
        return 'done'
      case FEATURE.KEEP_SETTINGS:
      case FEATURE.REVERT_SETTINGS:
        this.#reverts = subcommand === FEATURE.REVERT_SETTINGS
        return 'done'
      default:
        return 'refused'
    }
  }

  /** SET MULTIPLE MODE. False, and off, for a count that there is not. */
  setMultiple(count: number): boolean {
    const known = count <= MAXIMUM_MULTIPLE && (count & (count - 1)) === 0
    this.multiple = known ? count : 0
    return known
  }

  save(): DiskSettingsState & { readonly [key: string]: boolean | number } {
    return {
      multiple: this.multiple,
      writeCache: this.writeCache,
      lookAhead: this.lookAhead,
      reverts: this.#reverts,
      dmaMode: this.dmaMode,
    }
  }

  restore(state: DiskSettingsState): void {
    this.multiple = state.multiple
    this.writeCache = state.writeCache
    this.lookAhead = state.lookAhead
    this.#reverts = state.reverts
    this.dmaMode = state.dmaMode
  }
}
