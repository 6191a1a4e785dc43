#!/usr/bin/env bash
# npm run test:nfqueue:valgrind [-- PATTERN]: runs the addon's tests in a node under valgrind's memcheck; processes that
# they start run without. Takes minutes. Fails if a test does, if memcheck reports anything that the addon has a part in, if
# its account is not whole, or if the tests take three quarters of an hour. First the same is done to an addon with faults in
# it: if those are not found, the check is blind and fails.
set -euo pipefail
cd "$(dirname "$0")/../../.."
command -v valgrind >/dev/null || { echo 'valgrind is missing' >&2; exit 1; }
# shellcheck source=test/contract/nfqueue/instrumented.sh
source test/contract/nfqueue/instrumented.sh

build -O1

# memcheck ADDON REPORTS ARGUMENTS…
memcheck() {
  local addon=$1 reports=$2
  shift 2
  TEST_PATIENCE_MS=300000 tests "$addon" 2700 "$reports" \
    valgrind --smc-check=all-non-file --leak-check=full --show-leak-kinds=definite,indirect --num-callers=30 --error-limit=no \
    --vgdb=no --child-silent-after-fork=yes --log-file="$work/$reports/%p" -- "$@"
}

# The tests' own process has to have come to its end in REPORTS, and so to its list of leaks.
is_whole() {
  local report
  report=$(grep -l 'Command: node node_modules/jest' "$work/$1"/* | xargs -r grep -l 'LEAK SUMMARY' | head -1)
  [[ -n $report ]] && tail -1 "$report" | grep -q 'ERROR SUMMARY'
}

NFQUEUE_FAULT=all memcheck faulty control "${control[@]}" >"$work/log" 2>&1 || true
findings control >"$work/found"
for fault in read leak uninitialised; do
  if ! grep -q "fault_$fault" "$work/found"; then
    cat "$work/log" "$work/found" >&2
    echo "valgrind: blind: a fault on purpose ($fault) was not found" >&2
    exit 1
  fi
  echo "valgrind: control: $fault was found"
done

status=0 # what was found is told, even if a test fails
memcheck sound reports "${1:-/nfqueue/}" || status=$?
findings reports >"$work/found"
if [[ -s $work/found ]]; then
  cat "$work/found" >&2
  echo 'valgrind: findings' >&2
  exit 1
fi
((status == 0)) || { echo "valgrind: no finding, but the tests ended with $status" >&2; exit "$status"; }
is_whole reports || { echo 'valgrind: no account of the whole run' >&2; exit 1; }
echo "valgrind: no finding in the addon, $(find "$work/reports" -type f | wc -l) processes' reports read"
