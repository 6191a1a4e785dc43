#!/usr/bin/env bash
# npm run test:nfqueue:asan [-- PATTERN]: builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer, and runs
# its tests, unit and contract, with it. Fails if a test does, if a sanitizer reports an error, if LeakSanitizer finds
# memory that the addon allocated (what node itself leaves at its end is not ours), or if the tests take a quarter of an hour.
# First the same is done to an addon with faults in it: if those are not found, the check is blind and fails.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck source=test/contract/nfqueue/instrumented.sh
source test/contract/nfqueue/instrumented.sh

# gcc's UndefinedBehaviorSanitizer has no file of its own to report to: it traps, and AddressSanitizer reports that
build -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fsanitize-undefined-trap-on-error

# asan ADDON REPORTS ARGUMENTS…
asan() {
  local addon=$1 reports=$2
  shift 2
  TEST_PATIENCE_MS=60000 tests "$addon" 900 "$reports" \
    env "LD_PRELOAD=$(gcc -print-file-name=libasan.so)" \
    "ASAN_OPTIONS=detect_leaks=1:handle_sigill=1:log_path=$work/$reports/asan:exitcode=99:abort_on_error=0:quarantine_size_mb=8" \
    LSAN_OPTIONS=exitcode=0:print_suppressions=0 -- "$@"
}

for fault in read leak undefined; do
  NFQUEUE_FAULT=$fault asan faulty "reports-$fault" "${control[@]}" >"$work/log" 2>&1 || true
  findings "reports-$fault" >"$work/found"
  if ! grep -q "fault_$fault" "$work/found"; then
    cat "$work/log" "$work/found" >&2
    echo "asan: blind: a fault on purpose ($fault) was not found" >&2
    exit 1
  fi
  echo "asan: control: $fault was found"
done

status=0 # what was found is told, even if a test fails
asan sound reports "${1:-/nfqueue/}" || status=$?
findings reports >"$work/found"
if [[ -s $work/found ]]; then
  cat "$work/found" >&2
  echo 'asan: findings' >&2
  exit 1
fi
((status == 0)) || { echo "asan: no finding, but the tests ended with $status" >&2; exit "$status"; }
echo "asan: no finding, $(find "$work/reports" -type f | wc -l) reports read"
