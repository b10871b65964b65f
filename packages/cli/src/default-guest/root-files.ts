// The few text files of the default guest. Every process that starts costs the boot some milliseconds on a software
// processor, so the scripts use the shell's own commands wherever they can: no udev, no sleeps of fixed length.

/** The file system label of the root disk. */
export const ROOT_LABEL = 'partita'

/** Where the files of the user are before they are copied to their places; see `guest-files.ts`. */
const OWN_FILES = '/partita-files'

/**
 * Drivers of the buses that disks hang on. The modules of disks come before `sd_mod` because the end of a module's
 * initialization waits for the probing that earlier ones began: the disks of an IDE controller are there then.
 */
const STORAGE_DRIVERS = `
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
  [ -d /sys/bus/vmbus ] && set -- hv_storvsc
  [ -d /sys/bus/vmbus ] || [ -d /sys/module/scsi_mod ] && set -- "$@" sd_mod
  [ $# -gt 0 ] && modprobe -qa "$@" 2>/dev/null
fi
`

/** The drivers that can wait until the root file system is there. */
const OTHER_DRIVERS = `
if [ "$partita_drivers" != no ]; then
  set --
  [ -d /sys/bus/vmbus ] && set -- hv_netvsc hv_utils hv_balloon hyperv-keyboard hid-hyperv evdev pci-hyperv
  [ -d /sys/bus/vmbus ] || [ -d /sys/module/scsi_mod ] && set -- "$@" sr_mod
  [ $# -gt 0 ] && modprobe -qa "$@" 2>/dev/null
fi
`

/** What the guest says when its console is set up and piped input may come: a private mode that no terminal has, and no kernel message looks like. */
export const READY_MARK = '\x1b[?7057h'

/**
 * Sets the kernel's console up for a shell. The mark comes when all else has been sent, since stty waits for that, and fits into the FIFO of the serial
 * port, so that no message of the kernel gets into it.
 */
const CONSOLE = `
read -r consoles </sys/class/tty/console/active
console=/dev/\${consoles##* }
[ -c "$console" ] || console=/dev/console
[ "$partita_input" = pipe ] && set -- -echo || set --
stty -F "$console" crtscts rows "\${partita_rows:-24}" columns "\${partita_columns:-80}" "$@" 2>/dev/null
[ "$partita_ready" = yes ] && printf '${READY_MARK.replace('\x1b', '\\033')}' >"$console"
`

/**
 * Where the command line has `root=`: waits for that disk, and goes on with its `/sbin/init`. Storage on the VMBus is
 * offered and scanned in the background, so the loop looks until the file system is there or the time is up. A disk whose
 * `/sbin/init` knows no mark has it said here.
 */
const SWITCH_ROOT = `
root= type=ext4 flags=rw
read -r words </proc/cmdline
set -f
for word in $words; do
  case $word in
    root=*) root=\${word#root=} ;;
    rootfstype=*) type=\${word#rootfstype=} ;;
    rootflags=*) flags=\${word#rootflags=} ;;
  esac
done
set +f

seconds() {
  read -r now rest </proc/uptime
  now=\${now%.*}
}
mount_root() {
  device=$root
  case $root in *=*) device=$(findfs "$root" 2>/dev/null) ;; esac
  [ -b "$device" ] && mount -t "$type" -o "$flags" "$device" /mnt 2>/dev/null
}
if [ -n "$root" ]; then
  seconds
  end=$((now + \${partita_root_wait:-60}))
  found=no
  until mount_root && found=yes || [ "$now" -ge "$end" ]; do
    usleep 20000
    seconds
  done
  if [ $found = no ]; then
    export partita_notice="No disk with the file system $root within \${partita_root_wait:-60} seconds: this shell is in the initial RAM disk."
  elif [ ! -x /mnt/sbin/init ]; then
    export partita_notice="The disk $device (on /mnt) has no /sbin/init: this shell is in the initial RAM disk."
  else
    read -r release </proc/sys/kernel/osrelease
    [ -d "/mnt/lib/modules/$release" ] || cp -a "/lib/modules/$release" /mnt/lib/modules/
    [ -d ${OWN_FILES} ] && cp -a ${OWN_FILES}/. /mnt/
    if [ "$partita_ready" = yes ] && ! grep -q partita_ready /mnt/sbin/init 2>/dev/null; then${CONSOLE}    fi
    for directory in proc sys dev; do mount -o move /$directory /mnt/$directory; done
    exec switch_root /mnt /sbin/init
  fi
fi
`

/** Modules that the user asks for: names, and paths of files. What goes wrong is said on the console. */
const OWN_MODULES = `
if [ -n "$partita_modules" ]; then
  set -f
  IFS=,
  set -- $partita_modules
  unset IFS
  set +f
  for module in "$@"; do
    case $module in
      */*) insmod "$module" ;;
      *) modprobe "$module" ;;
    esac
  done
fi
`

/**
 * An address for the adapter, where there is one: asked for before the shell begins, so that its first command finds the
 * network. Without an answer within `partita_network_wait` seconds the shell comes all the same.
 */
const NETWORK = `
if [ "$partita_network" != no ] && [ -d /sys/bus/vmbus ]; then
  ip link set lo up
  for file in /sys/bus/vmbus/devices/*/net/*; do
    [ -d "$file" ] || continue
    ip link set "\${file##*/}" up
    udhcpc -i "\${file##*/}" -n -q -t "\${partita_network_wait:-3}" -T 1 -A 1 -s /etc/udhcpc.script >/dev/null 2>&1
    break
  done
fi
`

/** What the DHCP client does with its lease. */
export const UDHCPC_SCRIPT: string = `#!/bin/sh
case $1 in
  bound | renew)
    ip addr add "$ip/$mask" dev "$interface" 2>/dev/null
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    for address in $router; do ip route add default via "$address" dev "$interface" 2>/dev/null; done
    for address in $dns; do echo "nameserver $address"; done >/etc/resolv.conf
    ;;
esac
`

/**
 * Waits until the console has sent everything: stty sets attributes after that (TCSADRAIN). The end of a session hangs its terminal up, and what a slow
 * reader has not taken by then would be dropped.
 */
const DRAIN = 'stty crtscts 2>/dev/null'

/** Waits for signals while the shell runs, and in all eternity. */
const WAIT = `while :; do
  sleep 2147483 &
  wait $!
done
`

/**
 * `/init` in the initial RAM disk, the first process: mounts, loads the drivers of the disks, and goes on with
 * {@link ROOT_INIT} on the disk of the command line's word `root=`. Without that word, or without the disk, it opens a
 * shell on the kernel's console and switches the machine off when the shell ends.
 *
 * Words of the kernel's command line (those beginning with `partita_` come as environment variables):
 *
 * - `root=LABEL=…`, `root=UUID=…` or `root=/dev/…`, with `rootfstype=` (ext4) and `rootflags=` (rw): the root disk.
 * - `partita_root_wait=N`: seconds to wait for it, 60 otherwise.
 * - `partita_input=pipe`: nobody types. The console neither echoes nor edits lines, and an end-of-file character at
 *   the start of a line ends the shell.
 * - `partita_ready=yes`: says {@link READY_MARK} when the console is set up.
 * - `partita_rows=N`, `partita_columns=N`: the size of the terminal, 24 × 80 otherwise.
 * - `partita_drivers=no`: loads no kernel modules by itself.
 * - `partita_network=no`: asks for no address.
 * - `partita_network_wait=N`: seconds to wait for one, 3 otherwise.
 * - `partita_modules=a,b`: loads these modules too: names, or paths of files.
 *
 * `crtscts` lets the serial driver drop RTS when its buffers are full; a host that honours it can feed any amount of
 * input without loss.
 *
 * `poweroff` and `reboot` send signals to the first process, which can take them only while it waits for a child in
 * the background. The shell must not be that child, because one that is started in the background ignores Ctrl-C, and
 * so would all that it starts. A second setsid is a group's leader already and goes on in a process of its own.
 */
export const INIT: string = `#!/bin/sh
export PATH=/bin HOME=/root
mount -a
echo partita >/proc/sys/kernel/hostname
${STORAGE_DRIVERS}${SWITCH_ROOT}[ -d ${OWN_FILES} ] && cp -a ${OWN_FILES}/. /
${OTHER_DRIVERS}${NETWORK}${OWN_MODULES}${CONSOLE}
trap '${DRAIN} <"$console"; exec poweroff -f' USR1 USR2
trap '${DRAIN} <"$console"; exec reboot -f' TERM
setsid setsid -c sh -c 'sh -l; ${DRAIN}; exec poweroff -f' <"$console" >"$console" 2>&1
${WAIT}`

/**
 * `/sbin/init` on the root disk. At the end it asks all processes to go, waits a second for those that take their
 * time, and makes the file system read-only, so that nothing is left to replay.
 */
export const ROOT_INIT: string = `#!/bin/sh
export PATH=/bin HOME=/root
${OTHER_DRIVERS}${NETWORK}${OWN_MODULES}${CONSOLE}
others_live() {
  for directory in /proc/[0-9]*; do
    words=
    { read -r words <"$directory/cmdline"; } 2>/dev/null
    [ "$directory" != /proc/1 ] && [ -n "$words" ] && return
  done
  return 1
}
stop() {
  trap '' USR1 USR2 TERM HUP
  ${DRAIN} <"$console"
  kill -TERM -1 2>/dev/null
  kill -HUP -1 2>/dev/null
  tries=0
  while others_live && [ $tries -lt 50 ]; do
    usleep 20000
    tries=$((tries + 1))
  done
  kill -KILL -1 2>/dev/null
  umount -a -r 2>/dev/null
  exec "$1" -f
}
trap 'stop poweroff' USR1 USR2
trap 'stop reboot' TERM
setsid setsid -c sh -c 'sh -l; ${DRAIN}; exec kill -USR2 1' <"$console" >"$console" 2>&1
${WAIT}`

/** Classes of VMBus devices by the beginning of their GUID, in the order of the list in include/linux/hyperv.h. */
const VMBUS_CLASSES: readonly (readonly [guid: string, name: string])[] = [
  ['f8615163', 'network adapter'],
  ['32412632', 'IDE disk'],
  ['ba6163d9', 'SCSI controller'],
  ['0e0b6031', 'shutdown'],
  ['9527e630', 'time synchronization'],
  ['57164f39', 'heartbeat'],
  ['a9a0f4e7', 'key-value pairs'],
  ['525074dc', 'dynamic memory'],
  ['cfa8b69e', 'mouse'],
  ['f912ad6d', 'keyboard'],
  ['35fa2e29', 'backup'],
  ['da0a7802', 'video'],
  ['2f9bcc4a', 'fibre channel'],
  ['8c2eaf3d', 'RDMA'],
  ['44c4f61d', 'PCI pass-through'],
  ['34d14be3', 'file copy'],
  ['f8e65716', 'activation'],
  ['3375baf4', 'activation'],
  ['c376c1c3', 'initial configuration'],
  ['276aacf4', 'remote desktop control'],
]

/** `/etc/profile`, read by the login shell: says what the guest found. */
export const PROFILE: string = `cd
PS1='partita:$PWD# '
read -r type </proc/sys/kernel/ostype
read -r release </proc/sys/kernel/osrelease
read -r name total unit </proc/meminfo
read -r clock </sys/devices/system/clocksource/clocksource0/current_clocksource
devices=
for file in /sys/bus/vmbus/devices/*/class_id; do
  [ -e "$file" ] && read -r id <"$file" || continue
  case $id in
${VMBUS_CLASSES.map(([guid, name]) => `    {${guid}-*) name='${name}' ;;\n`).join('')}    *) name=$id ;;
  esac
  devices="$devices\${devices:+, }$name"
done
echo "$type $release, $((total / 1024)) MiB of memory, clocksource $clock."
[ -n "$devices" ] && echo "VMBus devices: $devices."
[ -n "$partita_notice" ] && echo "$partita_notice"
[ -x /bin/lsblk ] && lsblk
echo "The command 'poweroff' ends the session."
unset type release name total unit clock devices file id partita_notice
`

/** `/etc/fstab` of the initial RAM disk: one `mount -a` is cheaper than a process per file system. */
export const FSTAB: string = `proc /proc proc defaults 0 0
sysfs /sys sysfs defaults 0 0
devtmpfs /dev devtmpfs defaults 0 0
`

export const PASSWD: string = 'root:x:0:0:root:/root:/bin/sh\n'

export const GROUP: string = 'root:x:0:\n'
