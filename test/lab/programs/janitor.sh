#!/bin/sh
# janitor.sh FOLDER NETNS...: waits until standard input ends, that is until the process that started it is done or
# dead, however it died; then ends what runs in the namespaces and removes them and the folder. The word "keep" on
# standard input sends the janitor home without cleaning.
if read -r word && [ "$word" = keep ]; then exit 0; fi
folder=$1
shift

pids() {
  for netns in "$@"; do ip netns pids "$netns" 2>/dev/null; done
}

for pid in $(pids "$@"); do kill -TERM "$pid" 2>/dev/null; done
tries=0
while [ -n "$(pids "$@")" ] && [ "$tries" -lt 60 ]; do
  sleep 0.05
  tries=$((tries + 1))
done
for pid in $(pids "$@"); do kill -KILL "$pid" 2>/dev/null; done

# The parent may have died with an `ip netns add` on its way: look again.
for pause in 0 0.2; do
  sleep "$pause"
  for netns in "$@"; do
    [ -e "/run/netns/$netns" ] && ip netns del "$netns" 2>/dev/null
  done
done
rm -rf "$folder"
