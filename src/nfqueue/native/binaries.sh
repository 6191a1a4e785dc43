#!/usr/bin/env bash
# Builds the addon into prebuilds/, for all platforms, with Debian's compilers (`npm run binaries`), or for this machine's own
# with whatever compiler it has (`binaries.sh own`, which `npm pack` does: other platforms' are kept if nothing changed).
#
#   glibc: x64 (gcc), arm64 (gcc-aarch64-linux-gnu), arm (gcc-arm-linux-gnueabihf), with their libc6-dev-…-cross
#   musl:  x64 (musl-tools), arm64 and arm (the same cross compilers with the headers of Debian's musl-dev)
#
# The binaries are linked against no library at all: what they use of libc, the node that loads them has. So they ask for
# no version of glibc, and for no file that Alpine does not have. At the end each is checked for that.
set -euo pipefail
shopt -s inherit_errexit
exec >&2 # `npm pack` says the name of its file on standard output, and nothing else
cd "$(dirname "$0")"
here=$PWD
which=${1:-all}
headers=${NODE_HEADERS:-$(dirname "$(dirname "$(node -p process.execPath)")")}
if [[ -e $headers/include/node/node_api.h ]]; then
  export npm_config_nodedir=$headers
elif [[ $which == all ]]; then
  echo "binaries: no Node headers in $headers/include/node (set NODE_HEADERS)" >&2
  exit 1
fi # else node-gyp finds some

missing=()
if [[ $which == all ]]; then
  for pair in gcc=gcc aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu arm-linux-gnueabihf-gcc=gcc-arm-linux-gnueabihf musl-gcc=musl-tools; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  for pair in aarch64-linux-gnu=libc6-dev-arm64-cross arm-linux-gnueabihf=libc6-dev-armhf-cross; do
    [[ -e /usr/${pair%%=*}/include/errno.h ]] || missing+=("${pair#*=}")
  done
fi
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
  apt-get "${options[@]}" update >&2 || true # some lists may do
  (cd "$apt" && apt-get "${options[@]}" download musl-dev >&2 && dpkg-deb -x musl-dev_*.deb root)
  echo "$apt"/root/usr/include/*-linux-musl*
}

# build ARCH LIBC COMPILER STRIP [C FLAGS]
build() {
  local arch=$1 libc=$2 compiler=$3 strip=$4 flags=${5:-}
  echo "binaries: $arch $libc"
  (cd "$work" && CC="$compiler $flags" CXX="$compiler $flags" GYP_DEFINES='portable=1' \
    PREBUILD_ARCH="$arch" PREBUILD_LIBC="$libc" PREBUILD_ARMV=$([[ $arch == arm ]] && echo 7) PREBUILD_STRIP_BIN="$strip" \
    PREBUILD_NODE_GYP="$(node -p "require.resolve('node-gyp/bin/node-gyp.js', {paths: ['$here']})")" \
    node "$(node -p "require.resolve('prebuildify/bin.js', {paths: ['$here']})")" --napi --strip --tag-libc --tag-armv -t "$(node -p process.versions.node)" >"$work/log" 2>&1) \
    || { cat "$work/log" >&2; exit 1; }
}

all() {
  local arm64 armhf
  arm64="-nostdinc -isystem $(musl_headers arm64) -isystem $(aarch64-linux-gnu-gcc -print-file-name=include)"
  armhf="-nostdinc -isystem $(musl_headers armhf) -isystem $(arm-linux-gnueabihf-gcc -print-file-name=include)"
  build x64 glibc gcc strip
  build arm64 glibc aarch64-linux-gnu-gcc aarch64-linux-gnu-strip
  build arm glibc arm-linux-gnueabihf-gcc arm-linux-gnueabihf-strip
  build x64 musl musl-gcc strip
  build arm64 musl aarch64-linux-gnu-gcc aarch64-linux-gnu-strip "$arm64"
  build arm musl arm-linux-gnueabihf-gcc arm-linux-gnueabihf-strip "$armhf"
}

# What is there and younger than the sources stays.
own() {
  local file
  while IFS= read -r file; do
    [[ -z $(find binding.gyp binaries.sh src -newer "$file") ]] || continue
    mkdir -p "$work/$(dirname "$file")"
    cp -p "$file" "$work/$file"
  done < <(find prebuilds -name '*.node' 2>/dev/null)
  build "$(node -p process.arch)" "$(ldd --version 2>&1 | grep -q musl && echo musl || echo glibc)" "${CC:-cc}" "${STRIP:-strip}"
}

$which

for file in "$work"/prebuilds/*/*.node; do
  if readelf -d "$file" | grep -q NEEDED || readelf -V "$file" | grep -q 'Name: GLIBC'; then
    echo "binaries: $file depends on a library" >&2
    exit 1
  fi
done
rm -rf prebuilds
mv "$work/prebuilds" prebuilds
find prebuilds -name '*.node' -printf '%p %s bytes\n' | sort
