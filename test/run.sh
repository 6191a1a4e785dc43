#!/usr/bin/env bash
# All of `npm test`: set-up, lint, types, import directions, unit tests, and the tests against the real kernel and the
# real OpenVPN. Lint and unit tests run beside the contract tests, which mostly wait for others; the end-to-end tests
# have the machine to themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
bash test/setup.sh
said=$(mktemp)
trap 'rm -f "$said"' EXIT
(npm run --silent lint && npm run --silent test:unit) >"$said" 2>&1 &
beside=$!
failed=0
npm run --silent test:contract || failed=1
wait "$beside" || failed=1
cat "$said"
((failed == 0)) || { echo 'npm test: failed (see above); the end-to-end tests were not run' >&2; exit 1; }
npm run --silent test:e2e
