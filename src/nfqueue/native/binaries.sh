#!/usr/bin/env bash
# Builds the addon for all platforms into prebuilds/, with Debian's compilers: `npm run binaries`.
#
#   glibc: x64 (gcc), arm64 (gcc-aarch64-linux-gnu), arm (gcc-arm-linux-gnueabihf)
#   musl:  x64 (musl-tools), arm64 and arm (the same cross compilers with the headers of Debian's musl-dev)
#
# The binaries are linked against no library at all: what they use of libc, the node that loads them has. So they ask for
# no version of glibc, and for no file that Alpine does not have. At the end each is checked for that.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
headers=${NODE_HEADERS:-$(dirname "$(dirname "$(node -p process.execPath)")")}
[[ -e $headers/include/node/node_api.h ]] || { echo "binaries: no Node headers in $headers/include/node (set NODE_HEADERS)" >&2; exit 1; }

missing=()
for pair in gcc=gcc aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu arm-linux-gnueabihf-gcc=gcc-arm-linux-gnueabihf musl-gcc=musl-tools; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
((${#missing[@]})) && { echo "binaries: these packages are missing: ${missing[*]}" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r package.json binding.gyp src "$work/"

# Unpacks musl's headers for another architecture, without telling this machine's package management of it.
musl_headers() {
  local architecture=$1 apt=$work/apt-$1
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,root}
  : > "$apt/status"
  local options=(-qq -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" download musl-dev && dpkg-deb -x musl-dev_*.deb root)
  echo "$apt"/root/usr/include/*-linux-musl*
}

# build ARCH LIBC COMPILER STRIP [C FLAGS]
build() {
  local arch=$1 libc=$2 compiler=$3 strip=$4 flags=${5:-}
  echo "binaries: $arch $libc"
  (cd "$work" && CC="$compiler $flags" CXX="$compiler $flags" GYP_DEFINES='portable=1' npm_config_nodedir="$headers" \
    PREBUILD_ARCH="$arch" PREBUILD_LIBC="$libc" PREBUILD_ARMV=$([[ $arch == arm ]] && echo 7) PREBUILD_STRIP_BIN="$strip" \
    PREBUILD_NODE_GYP="$(node -p "require.resolve('node-gyp/bin/node-gyp.js', {paths: ['$here']})")" \
    node "$(node -p "require.resolve('prebuildify/bin.js', {paths: ['$here']})")" --napi --strip --tag-libc --tag-armv -t "$(node -p process.versions.node)" >"$work/log" 2>&1) \
    || { cat "$work/log" >&2; exit 1; }
}

build x64 glibc gcc strip
build arm64 glibc aarch64-linux-gnu-gcc aarch64-linux-gnu-strip
build arm glibc arm-linux-gnueabihf-gcc arm-linux-gnueabihf-strip
build x64 musl musl-gcc strip
build arm64 musl aarch64-linux-gnu-gcc aarch64-linux-gnu-strip "-nostdinc -isystem $(musl_headers arm64) -isystem $(aarch64-linux-gnu-gcc -print-file-name=include)"
build arm musl arm-linux-gnueabihf-gcc arm-linux-gnueabihf-strip "-nostdinc -isystem $(musl_headers armhf) -isystem $(arm-linux-gnueabihf-gcc -print-file-name=include)"

for file in "$work"/prebuilds/*/*.node; do
  if readelf -d "$file" | grep -q NEEDED || readelf -V "$file" | grep -q 'Name: GLIBC'; then
    echo "binaries: $file depends on a library" >&2
    exit 1
  fi
done
rm -rf prebuilds
mv "$work/prebuilds" prebuilds
find prebuilds -name '*.node' -printf '%p %s bytes\n' | sort
