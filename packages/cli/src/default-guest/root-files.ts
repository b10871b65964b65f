// The few text files of the default guest's root. Every process that starts costs the boot some milliseconds on a
// software processor, so the scripts use the shell's own commands wherever they can: no sleeps, no udev.

/**
 * `/init`, the first process: mounts, loads the drivers of the disks and of VMBus where the machine has them, and
 * opens a shell on the kernel's console. When the shell ends, the machine is switched off.
 *
 * Words of the kernel's command line that it knows (the kernel hands them over as environment variables):
 *
 * - `partita_input=pipe`: nobody types. The console neither echoes nor edits lines, and an end-of-file character at
 *   the start of a line ends the shell.
 * - `partita_rows=N`, `partita_columns=N`: the size of the terminal, 24 × 80 otherwise.
 * - `partita_drivers=no`: loads no kernel modules.
 *
 * `crtscts` lets the serial driver drop RTS when its buffers are full; a host that honours it can feed any amount of
 * input without loss. The modules of disks come before `sd_mod` because the end of a module's initialization waits for
 * the probing that earlier ones began: the disks are there when the prompt is.
 *
 * `poweroff` and `reboot` send signals to the first process, which can take them only while it waits for a child in
 * the background. The shell must not be that child, because one that is started in the background ignores Ctrl-C, and
 * so would all that it starts. A second setsid is a group's leader already and goes on in a process of its own.
 */
export const INIT: string = `#!/bin/sh
export PATH=/bin HOME=/root
mount -a
echo partita >/proc/sys/kernel/hostname

if [ "$partita_drivers" != no ]; then
  set --
  for file in /sys/bus/acpi/devices/*/modalias /sys/bus/pci/devices/*/modalias; do
    [ -e "$file" ] && read -r alias <"$file" || continue
    case $alias in
      acpi*:VMBUS:* | acpi*:VMBus:* | pci:v*bc01sc*) set -- "$@" "$alias" ;;
      acpi*:PNP0600:*) set -- "$@" pata_legacy ;;
    esac
  done
  [ $# -gt 0 ] && modprobe -qa "$@" 2>/dev/null
  set --
  [ -d /sys/bus/vmbus ] && set -- hv_storvsc hv_netvsc hv_utils hv_balloon hyperv-keyboard hid-hyperv evdev pci-hyperv
  [ -d /sys/bus/vmbus ] || [ -d /sys/module/scsi_mod ] && set -- "$@" sd_mod sr_mod
  [ $# -gt 0 ] && modprobe -qa "$@" 2>/dev/null
fi

read -r consoles </sys/class/tty/console/active
console=/dev/\${consoles##* }
[ -c "$console" ] || console=/dev/console
[ "$partita_input" = pipe ] && set -- -echo || set --
stty -F "$console" crtscts rows "\${partita_rows:-24}" columns "\${partita_columns:-80}" "$@" 2>/dev/null

trap 'stty sane <"$console"; exec poweroff -f' USR1 USR2
trap 'exec reboot -f' TERM
# stty waits until the console has sent what is on its way
setsid setsid -c sh -c 'sh -l; stty sane; exec poweroff -f' <"$console" >"$console" 2>&1
while :; do
  sleep 2147483 &
  wait $!
done
`

/** `/etc/profile`, read by the login shell. */
export const PROFILE: string = `cd
PS1='partita:$PWD# '
read -r type </proc/sys/kernel/ostype
read -r release </proc/sys/kernel/osrelease
read -r name total unit </proc/meminfo
echo "$type $release, $((total / 1024)) MiB of memory. The command 'poweroff' ends the session."
unset type release name total unit
`

/** `/etc/fstab`: one `mount -a` is cheaper than a process per file system. */
export const FSTAB: string = `proc /proc proc defaults 0 0
sysfs /sys sysfs defaults 0 0
devtmpfs /dev devtmpfs defaults 0 0
`

export const PASSWD: string = 'root:x:0:0:root:/root:/bin/sh\n'

export const GROUP: string = 'root:x:0:\n'
