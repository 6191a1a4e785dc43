#!/bin/bash
# Process 1 of the machine that boot.sh starts, with this machine's files as its root: mounts what a root needs, loads
# modules, runs the command of /run/vm, tells its exit status on the second serial port, and powers off.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
exec </dev/null >/dev/ttyS0 2>&1

end() {
  echo "$1" > /dev/ttyS1
  sync
  busybox poweroff -f
}

# shellcheck source=/dev/null
. /run/vm/environment
mkdir -p /lib/modules
mount --bind "$VM_KERNEL/lib/modules" /lib/modules || end setup
# The rest is loaded when it is first used; these are not asked for by name, or have a device file.
for module in tun nfnetlink_queue nf_conntrack_netlink; do modprobe "$module" || end setup; done
ip link set lo up
cd "$VM_FOLDER" || end setup

# `cat`: programs are not to take this for somebody's terminal
timeout -k 10 "$VM_SECONDS" bash /run/vm/command 2>&1 | cat
status=${PIPESTATUS[0]}
if [[ $status == 124 || $status == 137 ]]; then
  echo "vm: the command was ended after $VM_SECONDS s; what the machine was doing:"
  ps -o pid,ppid,stat,time,args --ppid 2 -p 2 --deselect --sort -time | head -40
  dmesg | tail -20
fi
end "$status"
