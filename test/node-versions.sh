#!/usr/bin/env bash
# node-versions.sh [MAJOR …]: the unit tests, the binding against the real kernel, and a wake, under other versions of Node
# than this machine's own (22 and 24 unless named), which come from the npm registry. The addon is not built again: one
# binary serves all of them. Only what is in this checkout is changed: node_modules/.cache.
set -euo pipefail
cd "$(dirname "$0")/.."
(($#)) || set -- 22 24
bash test/setup.sh
path=$PATH
for major; do
  place=$PWD/node_modules/.cache/node-$major
  mkdir -p "$place"
  [[ -x $place/node_modules/node/bin/node ]] || npm install --prefix "$place" --no-audit --no-fund --loglevel=error "node@$major"
  PATH=$place/node_modules/node/bin:$path
  echo "== Node $(node -p process.version)"
  npm run --silent test:unit
  npm run --silent test:contract -- test/contract/nfqueue test/contract/cli
  npm run --silent test:e2e -- test/e2e/first-packet test/e2e/lab-story
done
