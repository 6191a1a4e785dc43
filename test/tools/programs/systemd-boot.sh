#!/usr/bin/env bash
# systemd-boot.sh PREPARE: boots this machine's own systemd as the first process of fresh namespaces, over a copy of the
# root file system in memory. PREPARE is a script that puts things in place, given the new root as its first argument.
# Run it in the network namespace that systemd shall have, by `unshare --pid --mount --cgroup --uts --ipc --fork`.
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir -p /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
root=/mnt/root
mount -t proc proc $root/proc
mount -t sysfs sys $root/sys
mount -t tmpfs tmpfs $root/sys/fs/cgroup || true
mount -t cgroup2 none $root/sys/fs/cgroup
mount -t tmpfs tmpfs $root/run
mount -t tmpfs tmpfs $root/tmp
mount --rbind /dev $root/dev
# Nothing of this machine's own services: the target wants what PREPARE puts there.
rm -rf $root/etc/systemd/system/*.wants
mkdir -p $root/etc/systemd/system
printf '[Unit]\nDescription=Test\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >$root/etc/systemd/system/test.target
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-hwdb-update.service systemd-update-utmp.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
"$1" $root
# As systemd itself has it where it is not in a container: what LoadCredential= mounts reaches the service.
mount --make-rshared $root
exec chroot $root /usr/bin/env -i container=test PATH="$PATH" /lib/systemd/systemd --unit=test.target
