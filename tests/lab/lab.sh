#!/usr/bin/env bash
# A fleet of real libvirt hosts on one machine, for the tests that need real migrations.
#
# Every host is a libvirtd of its own in its own network, mount and UTS namespace; all of them hang on one bridge.
# Every vm is a real QEMU Linux (software-emulated, so no /dev/kvm is needed) that uses as much CPU as it is told,
# dirties memory, reads and writes its disk, reports through its balloon and answers ping. Disks are exported over the
# network (NBD), so that libvirt's own check for shared storage passes and no migration needs VIR_MIGRATE_UNSAFE.
#
#   lab.sh deps                                install what it needs (Debian, root)
#   lab.sh up N [SECONDS]                      start the hosts kvm1 … kvmN; a peer that is silent for so long is given up
#   lab.sh guest HOST NAME IP MIB LOAD [LABEL…]  define and start a vm; LABEL is immovable, pin=HOST, group=NAME,
#                                              within=SECONDS, the time a copy of it may take, or lease: only one host at
#                                              a time may run it, by libvirt's lock manager
#   lab.sh guests HOST COUNT MIB LOAD          the same for COUNT vms at once, named idle1 …
#   lab.sh load NAME LOAD                      change the CPU a vm uses, in percent of one vCPU
#   lab.sh writes NAME RATE SET [HELD]         have a vm write RATE MiB/s, over and over the same SET MiB, and hold HELD more
#   lab.sh power-off NAME                      have a vm power itself off, as from within
#   lab.sh is-whole NAME                       fail where a vm found other than what it had written, or began anew
#   lab.sh uri HOST                            how an agent of HOST reaches its libvirtd
#   lab.sh migration-uri HOST                  how other hosts' libvirtd reach it
#   lab.sh in HOST COMMAND…                    run a command where HOST is: its network, its name
#   lab.sh virsh HOST ARGUMENT…                virsh on HOST
#   lab.sh kill-libvirtd HOST                  kill libvirtd of HOST as a crash would; its vms go on
#   lab.sh signal-libvirtd HOST SIGNAL         stop libvirtd of HOST where it stands (STOP), or let it go on (CONT)
#   lab.sh kill-vm HOST NAME                   kill QEMU of a vm on HOST as a crash would
#   lab.sh cut HOST OTHER                      let nothing through between two hosts
#   lab.sh mend HOST                           let everything through again, to and from HOST
#   lab.sh throttle HOST MBIT                  let no more than MBIT Mbit/s out of HOST; 0 lets everything out again
#   lab.sh restart-libvirtd HOST               start libvirtd of HOST again after it was killed; its vms went on
#   lab.sh wait-ping IP [SECONDS]              wait until a vm answers
#   lab.sh down                                stop and remove all of it; harmless when nothing runs
#
# Where the folder $LAB/pki/HOST is there before `up`, that host migrates and is reached with the certificates in it, by the
# names that libvirt and QEMU have for them.
#
# Environment: LAB (folder for everything it writes), LAB_HOST (prefix of the hosts' names), LAB_NET (first three
# octets; hosts are .1 …, vms take .100 …).
set -Eeuo pipefail

LAB=${LAB:-/tmp/ballast-lab-$UID}
LAB_HOST=${LAB_HOST:-kvm}
LAB_NET=${LAB_NET:-10.77.0}
SWITCH="$LAB_HOST-switch"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SHARE_IP=$LAB_NET.254
# Seconds after which a silent peer is given up; libvirt's own and the kernel's where it is empty.
PATIENCE=

fail() { echo "lab: $*" >&2; exit 1; }

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; }

require_root() { [[ $EUID -eq 0 ]] || fail "needs root: it makes network namespaces and starts libvirtd"; }

# Calls the rest of its arguments until they succeed, for at most $1 seconds.
wait_for() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

deps() {
  require_root
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # An image may carry qemu-utils of a newer release than qemu-system-x86; one version must serve both.
  local utils
  utils=$(apt-cache madison qemu-utils | awk 'NR == 1 {print $3}')
  apt-get install -qy --no-install-recommends --allow-downgrades \
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients libvirt-dev \
    qemu-system-x86 "qemu-utils=$utils" busybox-static cpio iproute2 iputils-ping iptables pkg-config gcc libc6-dev
}

# --- the vms' kernel and userland -------------------------------------------------------------------------------

MODULES="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover \
virtio_net virtio_balloon"

vm_init() {
  cat <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=60% tmp /tmp
for module in $MODULES; do insmod /modules/\$module.ko; done
INIT
  cat <<'INIT'
address=$(sed -n 's/.*address=\([^ ]*\).*/\1/p' /proc/cmdline)
ip link set lo up
ip link set eth0 up
ip addr add "$address" dev eth0
echo VM-UP

# The first sector of the disk holds the load in percent, the second what is written to memory; `lab.sh load` and
# `lab.sh writes` change them from outside.
read_load() {
  echo 1 > /proc/sys/vm/drop_caches
  dd if=/dev/vda bs=512 skip=1 count=1 2>/dev/null | sed -n '1s/^\([0-9 ]*\).*/\1/p' > /tmp/writes.new
  mv /tmp/writes.new /tmp/writes
  dd if=/dev/vda bs=512 count=1 2>/dev/null > /tmp/load
  if grep -q '^off' /tmp/load; then poweroff -f; fi
  load=$(sed -n '1s/^\([0-9]*\).*/\1/p' /tmp/load)
  [ -n "$load" ] || load=0
}

centiseconds() { read -r up _ < /proc/uptime; now=${up%.*}${up#*.}; }

writer /tmp/writes > /dev/console &

beat=0
load=0
while :; do
  if [ $((beat % 5)) -eq 0 ]; then
    read_load
    dd if=/dev/vda of=/dev/null bs=64k skip=16 count=4 2>/dev/null
    dd if=/dev/zero of=/dev/vda bs=4k seek=512 count=16 conv=notrunc 2>/dev/null
    dd if=/dev/urandom of=/tmp/dirty bs=64k count=8 2>/dev/null
  fi
  beat=$((beat + 1))
  centiseconds
  end=$((now + load))
  while [ "$now" -lt "$end" ]; do centiseconds; done
  [ "$load" -ge 100 ] || sleep "0.$(printf %02d $((99 - load > 0 ? 99 - load : 1)))"
done
INIT
}

image() {
  [[ $LAB/initrd.gz -nt $HERE/lab.sh && $LAB/initrd.gz -nt $HERE/writer.c && -f $LAB/vmlinuz ]] && return
  local work=$LAB/image package
  rm -rf "$work"
  mkdir -p "$work/root"/{bin,dev,proc,sys,tmp,modules} "$work/deb"
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  [[ -n $package ]] || fail "no cloud kernel in the package lists: run lab.sh deps first"
  (cd "$work/deb" && apt-get download -q "$package" >/dev/null && dpkg -x "$package"_*.deb ../x)
  cp "$(command -v busybox)" "$work/root/bin/busybox"
  local module
  for module in $MODULES; do
    cp "$(find "$work/x" -path '*/modules/*' -name "$module.ko" -print -quit)" "$work/root/modules/"
  done
  gcc -O2 -Wall -Wextra -static -o "$work/root/bin/writer" "$HERE/writer.c"
  vm_init > "$work/root/init"
  chmod +x "$work/root/init"
  cp "$work"/x/boot/vmlinuz-* "$LAB/vmlinuz"
  (cd "$work/root" && find . | cpio --quiet -o -H newc | gzip -1) > "$LAB/initrd.gz.new"
  mv "$LAB/initrd.gz.new" "$LAB/initrd.gz"
  rm -rf "$work"
}

# --- hosts ------------------------------------------------------------------------------------------------------

# A connection is closed when one more probe than this many went unanswered.
keepalive_conf() {
  [[ -n $PATIENCE ]] || return 0
  printf '%s\n' "keepalive_interval = $(((PATIENCE + 4) / 5))" 'keepalive_count = 4'
}

libvirtd_conf() {  # NUMBER
  # Two hosts with one host_uuid are one host to libvirt, and it refuses to migrate between them.
  cat <<CONF
listen_addr = "$LAB_NET.$1"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0777"
host_uuid = "$(printf '%08d-aaaa-4bbb-8ccc-%012d' "$1" "$1")"
CONF
  keepalive_conf
  local pki=$LAB/pki/$LAB_HOST$1
  if [[ ! -d $pki ]]; then
    printf '%s\n' 'listen_tls = 0' 'listen_tcp = 1'
    return
  fi
  cat <<CONF
listen_tls = 1
listen_tcp = 0
auth_tls = "none"
ca_file = "$pki/ca-cert.pem"
cert_file = "$pki/server-cert.pem"
key_file = "$pki/server-key.pem"
CONF
}

qemu_conf() {  # NUMBER
  cat <<CONF
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
migration_host = "$LAB_NET.$1"
CONF
  keepalive_conf
  # A vm without a lease is nothing to it: network disks are not locked.
  echo 'lock_manager = "lockd"'
  local pki=$LAB/pki/$LAB_HOST$1
  [[ ! -d $pki ]] || cat <<CONF
migrate_tls_x509_cert_dir = "$pki"
migrate_tls_x509_verify = 1
CONF
}

host_start_script() {  # HOST
  cat <<START
set -e
mount --make-rprivate /
mkdir -p /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt
mount --bind "$LAB/$1/run" /run/libvirt
mount --bind "$LAB/$1/etc" /etc/libvirt
mount --bind "$LAB/$1/lib" /var/lib/libvirt
mount --bind "$LAB/$1/cache" /var/cache/libvirt
mount --bind "$LAB/$1/log" /var/log/libvirt
hostname "$1"
exec "\${@}"
START
}

host_network() {  # NUMBER
  local host=$LAB_HOST$1
  ip netns add "$host"
  ip link add "v$host" type veth peer name eth0 netns "$host"
  ip link set "v$host" master "$SWITCH" up
  # A bridge without an address of its own takes the lowest of its ports': where the cable's random one is higher than that
  # of a vm that arrives, the host would change its address under every open connection, and for half a minute be lost.
  ip -n "$host" link add br0 address "02:00:00:00:01:$(printf '%02x' "$1")" type bridge
  ip -n "$host" link set eth0 master br0 up
  ip -n "$host" addr add "$LAB_NET.$1/24" dev br0
  ip -n "$host" link set br0 up
  ip -n "$host" link set lo up
  # Who does not answer at all is given up after three seconds, not after two minutes; and who answers no more after thirteen,
  # not after a quarter of an hour: so long QEMU stands still where the cable is cut while it hands a vm over.
  [[ -z $PATIENCE ]] ||
    ip netns exec "$host" bash -c 'cd /proc/sys/net/ipv4 && echo 1 > tcp_syn_retries && echo 5 > tcp_retries2'
}

libvirtd_start() {  # HOST
  local host=$1
  host_program "$host" libvirtd --listen
}

# Starts a program of libvirt's on a host, where it finds that host's folders.
host_program() {  # HOST PROGRAM ARGUMENT…
  local host=$1 program=$2; shift 2
  setsid ip netns exec "$host" unshare --mount --uts bash "$LAB/$host/start.sh" \
    "$program" --pid-file "$LAB/$host/$program.pid" "$@" > "$LAB/$host/$program.out" 2>&1 &
}

# It keeps the locks of vms that run, so it outlives libvirtd.
virtlockd_start() {  # HOST
  echo "file_lockspace_dir = \"$LAB/leases\"" > "$LAB/$1/etc/qemu-lockd.conf"
  host_program "$1" virtlockd
  wait_for 20 test -S "$LAB/$1/run/virtlockd-sock" || fail "virtlockd of $1 does not start"
}

# What a libvirtd finds out of its QEMU takes it several seconds, and is the same on every host and in every life of the lab:
# it is kept. libvirt itself looks whether it is still true.
capabilities_of() { echo "$LAB/$1/cache/qemu/capabilities"; }

keep_capabilities() {  # HOST
  [[ -d $(capabilities_of "$1") ]] || return 0
  mkdir -p "$LAB/capabilities"
  cp -pu "$(capabilities_of "$1")"/*.xml "$LAB/capabilities/" 2>/dev/null || true
}

give_capabilities() {  # HOST
  [[ -d $LAB/capabilities ]] || return 0
  mkdir -p "$(capabilities_of "$1")"
  cp -p "$LAB/capabilities"/*.xml "$(capabilities_of "$1")/" 2>/dev/null || true
}

host_up() {  # NUMBER
  local number=$1 host=$LAB_HOST$1
  mkdir -p "$LAB/$host"/{run,etc/qemu,lib,cache,log}
  give_capabilities "$host"
  host_network "$number"
  libvirtd_conf "$number" > "$LAB/$host/etc/libvirtd.conf"
  qemu_conf "$number" > "$LAB/$host/etc/qemu.conf"
  host_start_script "$host" > "$LAB/$host/start.sh"
  virtlockd_start "$host"
  libvirtd_start "$host"
}

up() {
  require_root
  local count=${1:?how many hosts}
  PATIENCE=${2:-}
  ip link show "$SWITCH" >/dev/null 2>&1 && fail "already up: lab.sh down first"
  trap 'down' ERR INT TERM
  mkdir -p "$LAB"
  image
  ip link add "$SWITCH" address 02:00:00:00:00:fe type bridge
  ip addr add "$SHARE_IP/24" dev "$SWITCH"
  ip link set "$SWITCH" up
  local number
  for number in $(seq "$count"); do host_up "$number"; done
  for number in $(seq "$count"); do
    wait_for 60 virsh_ "$LAB_HOST$number" hostname || {
      tail -n 20 "$LAB/$LAB_HOST$number/libvirtd.out" >&2
      down
      fail "libvirtd of $LAB_HOST$number did not answer within a minute"
    }
  done
  trap - ERR INT TERM
}

kill_libvirtd() { kill -9 "$(cat "$LAB/$1/libvirtd.pid")"; }

signal_libvirtd() { kill "-$2" "$(cat "$LAB/$1/libvirtd.pid")"; }

kill_vm() { kill -9 "$(cat "$LAB/$1/run/qemu/$2.pid")"; }

cut() {
  local address=$LAB_NET.${2#"$LAB_HOST"}
  ip netns exec "$1" iptables -w -I INPUT -s "$address" -j DROP
  ip netns exec "$1" iptables -w -I OUTPUT -d "$address" -j DROP
}

mend() { ip netns exec "$1" iptables -w -F; }

# What a host sends: a copy is then held by the source's cable alone, whichever way it goes, and waits in one queue. A twentieth
# of a second of it, as in a switch: a longer queue would keep every other connection of the host waiting behind the copy.
throttle() {
  [[ $# -eq 2 ]] || fail "throttle HOST MBIT"
  ip netns exec "$1" tc qdisc del dev eth0 root 2>/dev/null || true
  (($2 == 0)) || ip netns exec "$1" tc qdisc add dev eth0 root tbf rate "$2mbit" burst 128kb latency 50ms
}

# Starts libvirtd of a host again after a test has killed it; its vms have gone on running.
restart_libvirtd() { libvirtd_start "$1"; wait_for 60 virsh_ "$1" hostname || fail "libvirtd of $1 did not come back"; }

uri() { echo "qemu+unix:///system?socket=$LAB/$1/run/libvirt-sock"; }

migration_uri() {
  local address=$LAB_NET.${1#"$LAB_HOST"}
  if [[ -d $LAB/pki/$1 ]]; then
    # Whoever connects shows the certificate of a client that lies beside those of the hosts.
    echo "qemu+tls://$address/system?pkipath=$LAB/pki/client"
  else
    echo "qemu+tcp://$address/system"
  fi
}

in_host() {
  local host=$1; shift
  # The command line travels as arguments of its own, so nothing in it is read by a shell again.
  exec ip netns exec "$host" unshare --uts bash -c 'hostname "$0"; exec "$@"' "$host" "$@"
}

virsh_() { local host=$1; shift; ip netns exec "$host" virsh -q -c "$(uri "$host")" "$@"; }

# --- vms --------------------------------------------------------------------------------------------------------

load() { printf '%-16s\n' "$2" | dd of="$LAB/disks/$1.raw" conv=notrunc status=none; }

writes() { printf '%-24s\n' "$2 $3 ${4:-0}" | dd of="$LAB/disks/$1.raw" bs=512 seek=1 conv=notrunc status=none; }

power_off() { printf '%-16s\n' off | dd of="$LAB/disks/$1.raw" conv=notrunc status=none; }

# What a vm says goes to one file, whichever host it is on.
is_whole() {
  local found
  found=$(grep -h WRITER-BAD "$LAB/$1.log" 2>/dev/null) && fail "$1 found its memory changed: $found"
  [[ $(grep -c VM-UP "$LAB/$1.log") -le 1 ]] || fail "$1 has begun anew"
  grep -q WRITER-OK "$LAB/$1.log" || fail "$1 has not looked at its memory yet"
}

# Emulated QEMU before 9.0 loses what a vm writes between two passes of a copy: where memory is a multiple of 256 KiB the
# dirty bitmap is cleared word by word, and that way forgets to have the emulated processor's own cache of translations
# report the next write ("physmem: Fix migration dirty bitmap coherency with TCG memory access", QEMU 9.0). With 8 KiB more,
# which libvirt would round away, it goes page by page, and does. KVM is not concerned.
emulator() {
  local path=$LAB/qemu
  [[ -x $path && $path -nt $HERE/lab.sh ]] || {
    cat > "$path.new" <<'EMULATOR'
#!/usr/bin/env bash
# What libvirt starts in the lab: QEMU with 8 KiB more memory than it says, so that the memory of a vm that moves is whole.
arguments=() before=
for argument in "$@"; do
  if [[ $argument == *'"id":"pc.ram"'* && $argument =~ (.*\"size\":)([0-9]+)(.*) ]]; then
    argument=${BASH_REMATCH[1]}$((BASH_REMATCH[2] + 8192))${BASH_REMATCH[3]}
  elif [[ $before == -m && $argument =~ ^(size=)?([0-9]+)k$ ]]; then
    argument=$((BASH_REMATCH[2] + 8))k
  elif [[ $before == -m && $argument =~ ^(size=)?([0-9]+)$ ]]; then
    argument=$((BASH_REMATCH[2] * 1024 + 8))k
  fi
  arguments+=("$argument") before=$argument
done
exec qemu-system-x86_64 "${arguments[@]}"
EMULATOR
    chmod +x "$path.new"
    mv "$path.new" "$path"
  }
  echo "$path"
}

disk_serve() {  # NAME
  local port
  mkdir -p "$LAB/disks"
  [[ -f $LAB/disks/$1.pid ]] && return
  truncate -s 16M "$LAB/disks/$1.raw"
  # One port per vm, counted up in a file under a lock, so that guests may be started side by side.
  exec 9> "$LAB/disks/lock"
  flock 9
  port=$(($(cat "$LAB/disks/last-port" 2>/dev/null || echo 10808) + 1))
  echo "$port" > "$LAB/disks/last-port"
  flock -u 9
  exec 9>&-
  echo "$port" > "$LAB/disks/$1.port"
  # Source and destination hold it open together during a migration, hence --shared.
  qemu-nbd --format=raw --export-name="$1" --bind="$SHARE_IP" --port="$port" --shared=8 --persistent \
    --fork --pid-file="$LAB/disks/$1.pid" "$LAB/disks/$1.raw"
}

vm_labels() {
  [[ $# -gt 0 ]] || return 0
  echo "<metadata><b:vm xmlns:b='https://ballast.dev/vm/1'>"
  local label
  for label in "$@"; do
    case $label in
      lease) ;;
      immovable) echo "<b:immovable/>" ;;
      pin=*) echo "<b:pin host='${label#pin=}'/>" ;;
      group=*) echo "<b:anti-affinity group='${label#group=}'/>" ;;
      within=*) echo "<b:migration timeout-seconds='${label#within=}'/>" ;;
      copies=*) echo "<b:migration ${label#copies=}/>" ;;
      *) fail "label $label: immovable, pin=HOST, group=NAME, within=SECONDS, copies=ATTRIBUTES or lease is needed" ;;
    esac
  done
  echo "</b:vm></metadata>"
}

# A lease is libvirt's own and stands for the whole vm, whatever its disks are. virtlockd wants its file to be there.
vm_lease() {  # NAME [LABEL…]
  local name=$1; shift
  [[ " $* " == *' lease '* ]] || return 0
  : >> "$LAB/leases/$name"
  echo "<lease><lockspace>leases</lockspace><key>$name</key><target path='$LAB'/></lease>"
}

vm_xml() {  # NAME IP MIB [LABEL…]
  local name=$1 ip=$2 mib=$3; shift 3
  cat <<XML
<domain type='qemu'>
  <name>$name</name>
  $(vm_labels "$@")
  <memory unit='MiB'>$mib</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$LAB/vmlinuz</kernel>
    <initrd>$LAB/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet panic=1 address=$ip/24</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices>
    <emulator>$(emulator)</emulator>
    $(vm_lease "$name" "$@")
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source protocol='nbd' name='$name'><host name='$SHARE_IP' port='$(cat "$LAB/disks/$name.port")'/></source>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='file'><source path='$LAB/$name.log' append='on'/></serial>
    <controller type='usb' model='none'/>
    <video><model type='none'/></video>
    <memballoon model='virtio'><stats period='2'/></memballoon>
  </devices>
</domain>
XML
}

guest() {
  [[ $# -ge 5 ]] || fail "guest HOST NAME IP MIB LOAD [LABEL…]"
  local host=$1 name=$2 ip=$3 mib=$4 percent=$5; shift 5
  # With less the kernel has no room to unpack itself, and spins.
  ((mib >= 80)) || fail "$name: $mib MiB is too little, at least 80 are needed"
  disk_serve "$name"
  load "$name" "$percent"
  writes "$name" 0 0
  vm_xml "$name" "$ip" "$mib" "$@" > "$LAB/$name.xml"
  virsh_ "$host" define "$LAB/$name.xml"
  virsh_ "$host" start "$name"
}

guests() {
  [[ $# -eq 4 ]] || fail "guests HOST COUNT MIB LOAD"
  local number
  for number in $(seq "$2"); do guest "$1" "idle$number" "$LAB_NET.$((99 + number))" "$3" "$4"; done
}

wait_ping() {
  wait_for "${2:-120}" ping -c 1 -W 1 "$1" || fail "$1 does not answer ping"
}

no_process_in() { [[ -z $(ip netns pids "$1" 2>/dev/null) ]]; }

down() {
  trap - ERR INT TERM
  require_root
  local host pid file link
  for host in $(ip netns list | awk -v prefix="$LAB_HOST" '$1 ~ "^" prefix "[0-9]+$" {print $1}'); do
    keep_capabilities "$host"
    for pid in $(ip netns pids "$host" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
    wait_for 10 no_process_in "$host" || echo "lab: processes of $host linger" >&2
    ip netns del "$host" 2>/dev/null || true
  done
  # A namespace goes away some time after its name; its cable must be gone at once, for the next `up`.
  for link in $(ip -o link | awk -F '[ @:]+' -v prefix="v$LAB_HOST" '$2 ~ "^" prefix "[0-9]+$" {print $2}'); do
    ip link del "$link" 2>/dev/null || true
  done
  for file in "$LAB"/disks/*.pid; do
    [[ -f $file ]] && kill "$(cat "$file")" 2>/dev/null || true
  done
  ip link del "$SWITCH" 2>/dev/null || true
  rm -rf "$LAB"/"$LAB_HOST"[0-9]* "$LAB/disks" "$LAB/leases" "$LAB/pki" "$LAB"/*.xml "$LAB"/*.log
}

command=${1:-help}
shift || true
case $command in
  deps | up | guest | guests | load | writes | cut | mend | throttle | uri | down) "$command" "$@" ;;
  is-whole) is_whole "$@" ;;
  migration-uri) migration_uri "$@" ;;
  kill-libvirtd) kill_libvirtd "$@" ;;
  signal-libvirtd) signal_libvirtd "$@" ;;
  kill-vm) kill_vm "$@" ;;
  power-off) power_off "$@" ;;
  restart-libvirtd) restart_libvirtd "$@" ;;
  in) in_host "$@" ;;
  virsh) virsh_ "$@" ;;
  wait-ping) wait_ping "$@" ;;
  help | -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
