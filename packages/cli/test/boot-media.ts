// Media that firmware boots from: a disk with a program in its first sector, and an ISO image with the same program as its El Torito boot image ("El Torito" Bootable CD-ROM Format Specification 1.0).
// The program asks the BIOS for what an 8086 program needs, and looks whether the machine does what it was asked: see PROGRAM.

/** The debug-exit value of a program to which everything was as it should be. */
export const BOOTED = 0x2a
const SECTOR = 512
const CD_SECTOR = 2048
/** Where in the sector the disk address packet of INT 13h, AH=42h stands. */
const PACKET = SECTOR - 32
const MARKER = 'PART'

/** 16-bit code for 0000:7C00. Without success it leaves with the value 1. */
const PROGRAM = [
  ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb], // cli; DS = SS = 0, SP = 7C00; sti
  0x52, // push dx: the drive
  ...[0xb8, 0x00, 0x24, 0xcd, 0x15, 0x72, 0x73], // A20 off: INT 15h, AX=2400h; jc fail
  ...[0xb8, 0xff, 0xff, 0x8e, 0xc0], // ES = FFFF
  ...[0xc6, 0x06, 0x00, 0x05, 0x11], // [0500] = 11
  ...[0x26, 0xc6, 0x06, 0x10, 0x05, 0x22], // FFFF:[0510] = 22: the same byte
  ...[0x80, 0x3e, 0x00, 0x05, 0x22, 0x75, 0x5c], // cmp [0500], 22; jne fail
  ...[0xb8, 0x01, 0x24, 0xcd, 0x15, 0x72, 0x55], // A20 on; jc fail
  ...[0x26, 0xc6, 0x06, 0x10, 0x05, 0x33], // FFFF:[0510] = 33: another byte
  ...[0x80, 0x3e, 0x00, 0x05, 0x22, 0x75, 0x48], // cmp [0500], 22; jne fail
  ...[0xb8, 0x00, 0xf0, 0x8e, 0xc0], // ES = F000: the BIOS, which nobody can change
  ...[0x26, 0xa0, 0xf0, 0xff, 0x26, 0xf6, 0x16, 0xf0, 0xff], // mov al, [FFF0]; not byte [FFF0]
  ...[0x26, 0x3a, 0x06, 0xf0, 0xff, 0x75, 0x33], // cmp al, [FFF0]; jne fail
  ...[0x5a, 0xbe, 0xe0, 0x7d, 0xb4, 0x42, 0xcd, 0x13, 0x72, 0x29], // read a sector to 0800: INT 13h, AH=42h; jc fail
  ...[0x66, 0x81, 0x3e, 0x00, 0x08, 0x50, 0x41, 0x52, 0x54, 0x75, 0x1e], // cmp dword [0800], "PART"; jne fail
  ...[0xbe, 0x04, 0x08], // mov si, 0804: print what follows by INT 10h, AH=0Eh
  ...[0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2],
  ...[0xb4, 0x86, 0xb9, 0x03, 0x00, 0x31, 0xd2, 0xcd, 0x15], // wait 0.2 s: INT 15h, AH=86h
  ...[0xb0, BOOTED, 0xeb, 0x02, 0xb0, 0x01], // mov al, BOOTED; fail: mov al, 1
  ...[0xe6, 0xf4, 0xf4, 0xeb, 0xfd], // out f4, al; hlt
]

/** The sector with the program, which reads sector `marker` of its medium. */
function bootSector(marker: number): Uint8Array {
  const sector = new Uint8Array(SECTOR)
  sector.set(PROGRAM)
  const view = new DataView(sector.buffer)
  sector[PACKET] = 16
  view.setUint16(PACKET + 2, 1, true)
  view.setUint16(PACKET + 4, 0x0800, true)
  view.setUint32(PACKET + 8, marker, true)
  view.setUint16(SECTOR - 2, 0xaa55, true)
  return sector
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

/** A disk of 1 MiB without partitions: one with less than a cylinder is none to SeaBIOS. Its program prints `words`. */
export function bootDisk(words: string): Uint8Array {
  const disk = new Uint8Array(2048 * SECTOR)
  disk.set(bootSector(1))
  disk.set(text(`${MARKER}${words}\0`), SECTOR)
  return disk
}

/** An ISO 9660 image without files, whose program prints `words`. */
export function bootCd(words: string): Uint8Array {
  const AT = { PRIMARY: 16, BOOT_RECORD: 17, TERMINATOR: 18, CATALOG: 19, IMAGE: 20, MARKER: 21, END: 64 }
  const cd = new Uint8Array(AT.END * CD_SECTOR)
  const view = new DataView(cd.buffer)
  const descriptor = (sector: number, type: number): number => {
    const at = sector * CD_SECTOR
    cd[at] = type
    cd.set(text('CD001'), at + 1)
    cd[at + 6] = 1
    return at
  }
  const primary = descriptor(AT.PRIMARY, 1)
  view.setUint32(primary + 80, AT.END, true)
  view.setUint32(primary + 84, AT.END)
  view.setUint16(primary + 128, CD_SECTOR, true)
  view.setUint16(primary + 130, CD_SECTOR)
  const record = descriptor(AT.BOOT_RECORD, 0)
  cd.set(text('EL TORITO SPECIFICATION'), record + 7)
  view.setUint32(record + 0x47, AT.CATALOG, true)
  descriptor(AT.TERMINATOR, 255)
  const catalog = AT.CATALOG * CD_SECTOR
  view.setUint16(catalog, 1, true)
  view.setUint16(catalog + 0x1e, 0xaa55, true)
  let sum = 0
  for (let at = 0; at < 32; at += 2) sum += view.getUint16(catalog + at, true)
  view.setUint16(catalog + 0x1c, -sum & 0xffff, true)
  // Bootable without emulation: four sectors of 512 bytes.
  cd[catalog + 32] = 0x88
  view.setUint16(catalog + 38, 4, true)
  view.setUint32(catalog + 40, AT.IMAGE, true)
  cd.set(bootSector(AT.MARKER), AT.IMAGE * CD_SECTOR)
  cd.set(text(`${MARKER}${words}\0`), AT.MARKER * CD_SECTOR)
  return cd
}
