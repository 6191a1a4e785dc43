#!/usr/bin/env bash
# kernel.sh: makes build/vm/kernel, a stock Debian kernel with its modules and xt_condition, and installs what boots it.
# On Debian, as root. What is there already is used again; remove build/vm to have the newest kernel.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "vm: $*" >&2; exit 3; }
[[ $(id -u) == 0 ]] || fail 'needs root'
command -v apt-get >/dev/null || fail 'needs Debian (apt-get)'
# Some mirrors are slow at first; something else may be installing just now.
apt() { apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300 "$@"; }

missing() {
  local package
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

updated=
update() {
  [[ -n $updated ]] || apt update || fail 'apt-get update failed'
  updated=1
}

need() {
  local packages
  mapfile -t packages < <(missing "$@")
  ((${#packages[@]})) || return 0
  update
  echo "vm: installing ${packages[*]}"
  DEBIAN_FRONTEND=noninteractive apt install -y --no-install-recommends "${packages[@]}" >/dev/null || fail "these packages could not be installed: ${packages[*]}"
}

# virtiofsd is in qemu-system-common, the iptables extension for xt_condition in xtables-addons-common
need qemu-system-x86 qemu-system-common busybox-static cpio kmod gcc make xtables-addons-common
[[ -e build/vm/kernel/vmlinuz ]] && exit 0

update
image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: *linux-image-/ {print $2; exit}')
[[ -n $image ]] || fail 'Debian has no linux-image-cloud-amd64 here'
release=${image#linux-image-}
echo "vm: preparing Linux $release"
mkdir -p build/vm
work=$(mktemp -d build/vm/new-XXXXXX)
trap 'rm -rf "$work"' EXIT
download() { (cd "$work" && apt download "$1" >/dev/null && dpkg-deb -x "$1"_*.deb "$2") || fail "$1 could not be downloaded"; }

# unpacked, not installed: an installed kernel would want a boot loader
download "$image" kernel
mv "$work"/kernel/boot/vmlinuz-* "$work/kernel/vmlinuz"
echo "$release" > "$work/kernel/release"

# the one module of Xtables-addons that is asked for; its package would build all of them by dkms
need "linux-headers-$release"
download xtables-addons-dkms addons
source=$(dirname "$(find "$work/addons" -name xt_condition.c)")
mkdir "$work/condition"
cp "$source"/xt_condition.[ch] "$source"/compat_* "$work/condition/"
echo 'obj-m := xt_condition.o' > "$work/condition/Makefile"
make -s -C "/lib/modules/$release/build" "M=$PWD/$work/condition" modules >"$work/make.log" 2>&1 || { cat "$work/make.log" >&2; fail 'xt_condition could not be built'; }
install -D -m 644 "$work/condition/xt_condition.ko" "$work/kernel/lib/modules/$release/extra/xt_condition.ko"
depmod -b "$work/kernel" "$release"

rm -rf build/vm/kernel
mv "$work/kernel" build/vm/kernel
