#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the machine that boot.sh starts: this machine's root file system by virtiofs, below an overlay in
# memory, so that what is written is gone afterwards; what is used often is in there from the start. Hands over to guest.sh,
# still as process 1: so the kernel finds its /sbin/modprobe in the new root, too.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
fail() {
  echo "vm: $1"
  poweroff -f
}
while read -r module; do insmod "/modules/$module" || fail "module $module could not be loaded"; done < /modules/order
mount -t virtiofs root /low || fail 'no root file system by virtiofs'
mount -t tmpfs -o size=75% memory /up
mkdir -p /up/files /up/work
cp -a /often/. /up/files/
mount -t overlay -o lowerdir=/low,upperdir=/up/files,workdir=/up/work root /root || fail 'no overlay'
mount -t tmpfs run /root/run
cp -r /vm /root/run/vm
umount /proc
exec switch_root /root /bin/bash /run/vm/guest.sh
