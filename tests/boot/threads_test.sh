#!/bin/bash
# threads_test.sh <folder of guest programs> <policy>: the guest programs for several processors, four of
# which are threads of the host here, under a policy of the MMU (GNOMON_FULL=1 only).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

failed=0
for image in "$1"/smp_*64; do
    [[ $image != *.* ]] || continue # what the linker made first
    tests/guest/run.sh "$image" parallel -cpu max -smp 4 -mmu "$2"
    status=$?
    [ "$status" -ne 77 ] || exit 77
    [ "$status" -eq 0 ] || {
        echo "FAILED: ${image##*/}, status $status"
        failed=1
    }
done
exit $failed
