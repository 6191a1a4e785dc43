#!/usr/bin/env bash
# npm run test:nfqueue:valgrind [-- PATTERN]: runs the addon's tests in a node under valgrind's memcheck; processes that
# they start run without. Takes minutes. Fails if a test does, or if memcheck reports anything that the addon has a part in.
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v valgrind >/dev/null || { echo "valgrind is missing" >&2; exit 1; }

native=src/nfqueue/native
mkdir -p "$work/build/Release"
headers=$(node -p 'path.join(path.dirname(path.dirname(process.execPath)), "include/node")')
gcc -std=gnu11 -g -O1 -shared -fPIC -pthread -DNAPI_VERSION=8 -D_GNU_SOURCE -DNODE_GYP_MODULE_NAME=nfqueue -DBUILDING_NODE_EXTENSION \
  -I"$headers" -o "$work/build/Release/nfqueue.node" "$native"/src/*.c
chmod -R a+rwX "$work"

export NODE_NFQUEUE_PREBUILD=$work
export NODE_OPTIONS=--experimental-vm-modules TEST_PATIENCE_MS=300000
status=0 # what was found is told, even if a test fails
valgrind --smc-check=all-non-file --leak-check=full --show-leak-kinds=definite,indirect --num-callers=30 --log-file="$work/report" --error-limit=no \
  node node_modules/jest/bin/jest.js -c .config/jest.config.js --runInBand --testTimeout=600000 "${1:-/nfqueue/}" --selectProjects unit contract || status=$?

# One error is a paragraph between lines that hold nothing but the process id.
findings=$(sed -E 's/^==[0-9]+== ?//' "$work/report" | awk 'BEGIN { RS = "" } /nfqueue\.node|\/src\/nfqueue\/native\/src\// || /\((parse|held|message|socket|verdict|statistics|queue|reader|addon)\.c:/')
if [[ -n $findings ]]; then
  echo "$findings" >&2
  echo "valgrind: findings" >&2
  exit 1
fi
echo "valgrind: no finding in the addon"
exit "$status"
