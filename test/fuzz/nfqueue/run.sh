#!/usr/bin/env bash
# npm run fuzz:nfqueue [-- SECONDS]: fuzzes the addon's pure C with libFuzzer under AddressSanitizer and
# UndefinedBehaviorSanitizer, SECONDS (60) for each target, starting from the corpus. What is found to be new is added to
# the corpus in the end, in its smallest form; a crash is left beside it and fails the run.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
command -v clang >/dev/null || { echo "fuzz: clang is missing (Debian: clang, libclang-rt-dev)" >&2; exit 1; }
native=../../../src/nfqueue/native/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for target in parse held; do
  clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o "$work/$target" "$target.c" "$native/$target.c"
  mkdir -p "$work/new-$target" "$work/small-$target" "corpus/$target"
  echo "fuzz: $target for $seconds s, from $(find "corpus/$target" -type f | wc -l) inputs"
  "$work/$target" -max_total_time="$seconds" -timeout=5 -max_len=4096 -artifact_prefix="$PWD/crash-$target-" -print_final_stats=1 \
    "$work/new-$target" "corpus/$target" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; exit 1; }
  grep -E 'number_of_executed_units|average_exec_per_sec|new_units_added|peak_rss_mb' "$work/log"
  "$work/$target" -merge=1 "$work/small-$target" "corpus/$target" "$work/new-$target" >/dev/null 2>&1
  rm -f "corpus/$target"/*
  cp "$work/small-$target"/* "corpus/$target/"
  echo "fuzz: $target: no finding; the corpus has $(find "corpus/$target" -type f | wc -l) inputs"
done
