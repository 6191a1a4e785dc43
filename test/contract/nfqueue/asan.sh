#!/usr/bin/env bash
# npm run test:nfqueue:asan [-- PATTERN]: builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer, and runs
# its tests, unit and contract, with it. Fails if a test does, if a sanitizer reports an error, or if LeakSanitizer finds
# memory that the addon allocated (what node itself leaves at its end is not ours).
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

native=src/nfqueue/native
mkdir -p "$work/build/Release" "$work/reports"
chmod -R a+rwX "$work" # one test runs as nobody
headers=$(node -p 'path.join(path.dirname(path.dirname(process.execPath)), "include/node")')
gcc -std=gnu11 -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -shared -fPIC -pthread \
  -DNAPI_VERSION=8 -D_GNU_SOURCE -DNODE_GYP_MODULE_NAME=nfqueue -DBUILDING_NODE_EXTENSION -I"$headers" \
  -o "$work/build/Release/nfqueue.node" "$native"/src/*.c

# node-gyp-build looks here first
export NODE_NFQUEUE_PREBUILD=$work
export ASAN_OPTIONS=detect_leaks=1:log_path=$work/reports/asan:exitcode=99:abort_on_error=0:quarantine_size_mb=8
export LSAN_OPTIONS=exitcode=0:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1:log_path=$work/reports/ubsan
export NODE_OPTIONS=--experimental-vm-modules TEST_PATIENCE_MS=60000
status=0 # what was found is told, even if a test fails
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  node node_modules/jest/bin/jest.js -c .config/jest.config.js --runInBand --testTimeout=180000 "${1:-/nfqueue/}" --selectProjects unit contract || status=$?

# shellcheck disable=SC2016
findings=$(cat "$work"/reports/* 2>/dev/null | awk 'BEGIN { RS = "" } /nfqueue\.node/ || /ERROR: AddressSanitizer/ || /runtime error/')
if [[ -n $findings ]]; then
  echo "$findings" >&2
  echo "asan: findings" >&2
  exit 1
fi
echo "asan: no finding, $(find "$work/reports" -type f | wc -l) reports read"
exit "$status"
