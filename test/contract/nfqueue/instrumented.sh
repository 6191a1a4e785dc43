# shellcheck shell=bash
# What asan.sh and valgrind.sh share: a copy of the addon built for them, and jest run with it, at low priority and for a
# limited time. To be sourced from the repository's root; makes $work, a folder that goes away.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The tests that a control runs: they open queues and close them, which is where faults.c has its faults.
# shellcheck disable=SC2034
control=(/nfqueue/release -t refuses)

# build FLAGS…: the addon as $work/sound, and with faults.c in it as $work/faulty
build() {
  local headers native=src/nfqueue/native here=test/contract/nfqueue
  headers=$(node -p 'path.join(path.dirname(path.dirname(process.execPath)), "include/node")')
  local command=(gcc -std=gnu11 -g -shared -fPIC -pthread -DNAPI_VERSION=8 -D_GNU_SOURCE -DNODE_GYP_MODULE_NAME=nfqueue
    -DBUILDING_NODE_EXTENSION "-I$headers" "$@")
  mkdir -p "$work"/{sound,faulty}/build/Release
  "${command[@]}" -o "$work/sound/build/Release/nfqueue.node" "$native"/src/*.c
  "${command[@]}" -Wl,--wrap=held_free -o "$work/faulty/build/Release/nfqueue.node" "$native"/src/*.c "$here/faults.c"
  chmod -R a+rwX "$work" # one test runs as nobody
}

# tests ADDON SECONDS REPORTS WRAPPER… -- ARGUMENTS…: jest with that addon, its reports in $work/REPORTS. Returns jest's status.
tests() {
  local addon=$1 seconds=$2 reports=$work/$3 wrapper=()
  shift 3
  while [[ $1 != -- ]]; do wrapper+=("$1"); shift; done
  shift
  mkdir -p "$reports"
  chmod a+rwx "$reports"
  # node-gyp-build looks into NODE_NFQUEUE_PREBUILD first
  NODE_NFQUEUE_PREBUILD=$work/$addon NODE_OPTIONS=--experimental-vm-modules nice -n 10 timeout --kill-after=20 "$seconds" \
    "${wrapper[@]}" node node_modules/jest/bin/jest.js -c .config/jest.config.js --runInBand --testTimeout=600000 \
    --selectProjects unit contract --testPathPatterns "$@"
}

# findings REPORTS: what the addon has a part in, of what a sanitizer or memcheck wrote to files in $work/REPORTS; one
# paragraph each. What V8 allocates or reads while our C is on the stack below it is not ours (its garbage collector looks
# at whatever lies on the stack), but for errors that end the process.
findings() {
  find "$work/$1" -type f -exec cat {} + | sed -E 's/^==[0-9]+== ?//' | awk '
    BEGIN { RS = ""; FS = "\n"; ours = "nfqueue\\.node|nfqueue/native/src/|nfqueue/faults\\.c|[(](parse|held|message|socket|verdict|statistics|queue|reader|addon|faults)\\.c:" }
    /ERROR: AddressSanitizer|LeakSanitizer has encountered|Process terminating/ { print $0 "\n"; next }
    { for (i = 1; i <= NF && ($i !~ /v8::internal/ || $1 ~ /^Invalid/); i++) if ($i ~ ours) { print $0 "\n"; break } }'
}
