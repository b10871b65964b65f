/**
 * Work on files for a guest's shell, and a look at what came of it from the host: all kinds of changes, an archive of many files, several writers at once.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from './unclean-stop.ts'

/**
 * Words for the shell: mounts the file system `work`, makes `files` small files and much else in it, prints the sum of each file, and unmounts it
 * (`UNMOUNTED`). The number of processors and those of the controllers' channels are printed, too.
 */
export function fileOperations(files: number): string {
  return `
until findfs LABEL=work >/dev/null 2>&1; do usleep 20000; done
mount -t ext4 LABEL=work /mnt && cd /mnt || exit
mkdir many
i=0; while [ $i -lt ${files} ]; do echo "the file number $i" >many/f$i; i=$((i + 1)); done
tar cf many.tar many
rm -r many
sync
tar xf many.tar
mv many moved
dd if=/dev/urandom of=blob bs=64k count=48 conv=fsync 2>/dev/null
cp blob moved/copy
truncate -s 100000 moved/f7
truncate -s 5 moved/f8
dd if=/dev/urandom of=blob bs=4k count=10 seek=100 conv=notrunc 2>/dev/null
dd if=/dev/zero of=sparse bs=1k count=1 seek=9999 2>/dev/null
ln moved/f9 link; ln -s moved/f10 symbolic
rm moved/f1?? blob-not-there 2>/dev/null
for n in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=parallel$n bs=16k count=20 conv=fsync 2>/dev/null & done; wait
sync
for device in /sys/bus/vmbus/devices/*; do
  read -r class <$device/class_id
  case $class in {ba6163d9-*) echo "$(nproc) PROCESSORS, $(ls $device/channels | wc -l) CHANNELS" ;; esac
done
find . -type f | sort | xargs sha256sum | sed 's/^/SUM /'
cd /; umount /mnt && echo UNMOUNTED
`
}

/** The sums that {@link fileOperations} printed, by name. */
export function sumsTold(output: string): Map<string, string> {
  return new Map(
    [...output.matchAll(/\bSUM ([0-9a-f]{64}) {2}\.\/(.+?)\r?$/gm)].map((match): [string, string] => [
      match[2] as string,
      match[1] as string,
    ]),
  )
}

/** The sums of all files of an ext4 image, by name, as the host finds them. `directory` is for what is taken out of the image meanwhile. */
export function sumsInImage(image: string, directory: string): Map<string, string> {
  const taken = mkdtempSync(join(directory, 'taken-'))
  try {
    run('debugfs', ['-R', `rdump / ${taken}`, image])
    return new Map(
      readdirSync(taken, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => [relative(taken, path), createHash('sha256').update(readFileSync(path)).digest('hex')]),
    )
  } finally {
    rmSync(taken, { recursive: true })
  }
}
