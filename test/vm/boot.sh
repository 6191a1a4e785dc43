#!/usr/bin/env bash
# boot.sh [-t SECONDS] [-m MIB] COMMAND [ARGUMENT ...]: runs a command on a stock Debian kernel, with this machine's files
# and in the current folder; what it writes is gone afterwards. It ends with the command's exit status, or with 125 if the
# machine did not get that far; after SECONDS (600) at the latest, or a minute more if the machine hangs.
#
# qemu emulates the machine in software: no hardware support is needed, and everything takes many times as long.
set -euo pipefail
seconds=600 memory=2048
while getopts t:m: option; do
  case $option in
    t) seconds=$OPTARG ;;
    m) memory=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
(($#)) || { echo 'usage: boot.sh [-t SECONDS] [-m MIB] COMMAND [ARGUMENT ...]' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
bash "$here/kernel.sh"
kernel=$(cd "$here/../../build/vm/kernel" && pwd)
release=$(<"$kernel/release")

work=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# the smallest first root that can mount the second one
mkdir -p "$work"/first/{bin,dev,low,modules,proc,root,up,vm}
cp /bin/busybox "$work/first/bin/"
cp "$here/init.sh" "$work/first/init"
chmod +x "$work/first/init"
for module in virtio_pci virtiofs overlay; do
  modprobe -S "$release" -d "$kernel" --show-depends "$module"
done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r file; do
  cp "$file" "$work/first/modules/"
  basename "$file"
done > "$work/order"
mv "$work/order" "$work/first/modules/order"
cp "$here/guest.sh" "$work/first/vm/"

# Programs that are started thousands of times, and what they are linked with, from memory: virtiofs is asked for each of
# these files each time.
mkdir "$work/first/often"
for program in bash cat env ip ipset nft nsenter sh sysctl timeout xtables-legacy-multi xtables-nft-multi; do
  path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || continue
  echo "$path"
  ldd "$path" | grep -o '/[^ ]*' || true
done | xargs readlink -f /etc/ld.so.cache | sort -u | sed 's,^/,,' | tar -c -C / -T - | tar -xp -C "$work/first/often"
printf '%q ' "$@" > "$work/first/vm/command"
{
  printf 'VM_KERNEL=%q VM_FOLDER=%q VM_SECONDS=%q\n' "$kernel" "$PWD" "$seconds"
  for name in PATH HOME CI NODE_OPTIONS "${!OOD_@}"; do
    [[ -z ${!name+set} ]] || printf 'export %s=%q\n' "$name" "${!name}"
  done
} > "$work/first/vm/environment"
(cd "$work/first" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/initrd"

/usr/lib/qemu/virtiofsd --socket-path="$work/files.sock" -o source=/ -o cache=always -o sandbox=chroot -o xattr >"$work/files.log" 2>&1 &
running+=($!)
for _ in {1..100}; do
  [[ -S $work/files.sock ]] && break
  sleep 0.1
done
[[ -S $work/files.sock ]] || { cat "$work/files.log" >&2; echo 'vm: virtiofsd did not start' >&2; exit 125; }

mkfifo "$work/console"
sed -u 's/\r$//' < "$work/console" &
printer=$!
timeout -k 10 $((seconds + 60)) qemu-system-x86_64 -M q35 -accel tcg -cpu max,la57=off -smp 2 -m "$memory" -display none -no-reboot -nic none \
  -object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory \
  -chardev "socket,id=files,path=$work/files.sock" -device vhost-user-fs-pci,chardev=files,tag=root \
  -serial stdio -serial "file:$work/status" \
  -kernel "$kernel/vmlinuz" -initrd "$work/initrd" -append 'console=ttyS0 quiet panic=-1 mitigations=off no_timer_check nowatchdog' </dev/null >"$work/console" 2>&1 &
machine=$!
running+=("$machine")
ended=0
wait "$machine" || ended=$?
wait "$printer"

status=$(tr -d '\r\n' < "$work/status" 2>/dev/null || true)
if [[ ! $status =~ ^[0-9]+$ ]]; then
  echo "vm: the machine did not run the command to its end (qemu ended with status $ended; ${status:-nothing told})" >&2
  tail -5 "$work/files.log" >&2
  exit 125
fi
exit "$status"
