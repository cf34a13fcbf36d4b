#!/bin/bash
# run.sh <image> [options...]: runs a guest program in the emulator, the same way each time. The
# exit status is the program's: 0 if every check held.
set -euo pipefail

image=$1
shift
exec "${GNOMON_BINARY:-build/release/gnomon}" -kernel "$image" -m 32 -icount shift=0 \
    -guest-timeout 400Mi -display none -serial none -monitor none -debugcon stdio \
    -device gnomon-exit "$@"
