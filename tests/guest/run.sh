#!/bin/bash
# run.sh <image> [parallel] [options...]: runs a guest program in the emulator, the same way each
# time; with "parallel" not deterministic, but by the host's clock (GNOMON_FULL=1 only). The exit
# status is the program's: 0 if every check held.
set -euo pipefail

image=$1
shift
time=(-icount shift=0)
if [ "${1:-}" = parallel ]; then
    [ -n "${GNOMON_FULL:-}" ] || {
        echo "by the host's clock only with GNOMON_FULL=1: skipped"
        exit 77
    }
    time=()
    shift
fi
exec "${GNOMON_BINARY:-build/release/gnomon}" -kernel "$image" -m 32 "${time[@]}" \
    -guest-timeout 400Mi -display none -serial none -monitor none -debugcon stdio \
    -device gnomon-exit "$@"
