#!/usr/bin/env bash
# npm run test:vm [-- JEST-ARGUMENT ...]: what this machine's kernel may not have, on Debian's stock kernel under qemu: the
# gate with nft and with condition, and the main job with both. Does all of its own set-up, on Debian, as root; ends with
# jest's status, or with 125 if the machine did not get that far. Nothing is left running.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/setup.sh dnsmasq=dnsmasq-base
# what would take minutes in there
node --import tsx -e "import('./test/lab/compiled.ts').then(({ compiled }) => Promise.all([compiled('enter'), compiled('probe')]))"
export OOD_PATIENCE=${OOD_PATIENCE:-15} NODE_OPTIONS=--experimental-vm-modules
# Two files at a time, one for each processor.
bash test/vm/boot.sh -t "${VM_SECONDS:-7200}" -m 3072 node_modules/.bin/jest -c .config/jest.config.js --selectProjects vm --maxWorkers 2 --forceExit "$@"
