#!/bin/sh
# janitor.sh FOLDER NETNS...: waits for a word or for the end of standard input, that is until the process that started
# it is done or dead, however it died; then ends what runs in the namespaces and removes them and the folder.
#   clean  removes everything
#   keep   goes home without cleaning
# Without a word the other side may have died, or was stopped, in the middle of something: cleans, and looks again.
read -r word
[ "$word" = keep ] && exit 0
folder=$1
shift

pids() {
  for netns in "$@"; do ip netns pids "$netns" 2>/dev/null; done
}

send() {
  signal=$1
  shift
  for pid in $(pids "$@"); do kill "-$signal" "$pid" 2>/dev/null; done
}

empty() {
  send TERM "$@"
  tries=0
  while [ -n "$(pids "$@")" ] && [ "$tries" -lt 60 ]; do
    sleep 0.05
    tries=$((tries + 1))
  done
  send KILL "$@"
}

empty "$@"
if [ "$word" != clean ]; then
  sleep 0.3
  empty "$@"
fi
for netns in "$@"; do
  if [ -e "/run/netns/$netns" ]; then ip netns del "$netns"; fi
done
case $folder in
  */ood-lab-*) rm -rf "$folder" ;;
esac
