#!/usr/bin/env bash
# Every shell script of the repository, found by its first line. Without shellcheck it says so and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v shellcheck >/dev/null; then
  echo "lint: shellcheck is not installed; shell scripts are not looked at" >&2
  exit 0
fi
mapfile -t scripts < <(git grep -lE --untracked '^#! ?/(usr/bin/env |bin/)(ba)?sh( -[a-z]+)?$')
# OpenWrt's own first line: an sh that has run /etc/rc.common, which reads the variables.
mapfile -t openwrt < <(git grep -l --untracked '^#!/bin/sh /etc/rc.common$')
# with what they source
shellcheck -x "${scripts[@]}"
shellcheck --shell=dash --exclude=SC2034 "${openwrt[@]}"
