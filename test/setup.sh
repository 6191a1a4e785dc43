#!/usr/bin/env bash
# Makes a fresh checkout ready: the programs that the real tests use, the npm packages, the build. Changes nothing
# that is there already. As root it installs what is missing; otherwise it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

# program=Debian package
wanted=(openvpn=openvpn iptables=iptables ip6tables=iptables ipset=ipset nft=nftables ip=iproute2 conntrack=conntrack
  tcpdump=tcpdump iperf3=iperf3 openssl=openssl make=make cc=gcc 'c++=g++' python3=python3 pgrep=procps unshare=util-linux dbus-daemon=dbus-daemon dbus-send=dbus-bin shellcheck=shellcheck)
# and what the caller wants besides, in the same form
wanted+=("$@")
missing=()
for pair in "${wanted[@]}"; do
  PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
if ((${#missing[@]})); then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "setup: these packages are missing: ${missing[*]} (names as in Debian; run this as root to have them installed)" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ ! -e node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
  echo "setup: npm ci"
  npm ci --loglevel=error
fi
echo "setup: npm run build"
npm run --silent build
