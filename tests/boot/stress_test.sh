#!/bin/bash
# stress_test.sh stress <policy> [<seconds>]: Linux on four processors that are threads of the host,
# which stress-ng keeps busy with all that processors do to each other, under a policy of the MMU.
# stress_test.sh load <policy>: the same with many short processes; what comes out must be what
# comes out with one processor and counted time.
#
# <seconds> (20) are the guest's, but no counted ones; "25%" is a part of GNOMON_STRESS_SECONDS (600). Runs by
# the host's clock, so with GNOMON_FULL=1 only.
#
# The stressor pthread of Debian 12 (0.15.06) crashes now and then on any machine: when its time is up, it leaves
# its loop between pthread_create() and the count, joins all threads but the last and returns; if the last one
# begins only then, it finds nonsense where its arguments were. join.c, which is preloaded, joins it, too.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
gnomon=${GNOMON_BINARY:-build/release/gnomon}
kind=$1 policy=$2 seconds=${3:-20}

# shellcheck source=tests/boot/images.sh
. tests/boot/images.sh

skip() {
    echo "$*: skipped"
    exit 77
}

[ -n "${GNOMON_FULL:-}" ] || skip "only with GNOMON_FULL=1"
case $seconds in
*%)
    seconds=$((${GNOMON_STRESS_SECONDS:-600} * ${seconds%\%} / 100))
    ;;
esac
kernel=$(kernel_image) || skip "no kernel image"
list=$(stress_ng_files) || skip "no stress-ng"
mapfile -t files <<<"$list"
# shellcheck disable=SC2154  # of images.sh
library=$images_cache/join.so
if [ ! "$library" -nt tests/boot/join.c ]; then
    gcc -std=gnu17 -O2 -Wall -Wextra -shared -fPIC -o "$library.$$" tests/boot/join.c &&
        mv "$library.$$" "$library" || exit 1
fi
files+=("$library=lib/join.so")
initrd=$(initramfs stress tests/boot/init-stress "${files[@]}") || skip "no initramfs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# boot <kernel command line> <options...>: console in $work/console, without carriage returns.
boot() {
    local append=$1 status errors
    shift
    "$gnomon" -nographic -kernel "$kernel" -initrd "$initrd" -m 512 -no-reboot -mmu "$policy" \
        -append "console=ttyS0 panic=-1 $append" -d stats,mmu-stats -D "$work/counters" "$@" \
        >"$work/raw" 2>"$work/messages" </dev/null
    status=$?
    tr -d '\r' <"$work/raw" >"$work/console"
    tail -n 6 "$work/console"
    cat "$work/messages"
    grep -E "^stats|paranoid|wait" "$work/counters"
    errors=$(awk -F '  +' '$1 == "mmu: paranoid errors" { sum += $2 } END { print sum + 0 }' \
        "$work/counters")
    if [ "$status" -ne 0 ] || [ "$errors" -ne 0 ] || ! grep -qx BOOT_OK "$work/console"; then
        tail -n 80 "$work/console"
        echo "FAILED: status $status, $errors paranoid errors"
        exit 1
    fi
    if kernel_complaints "$work/console"; then
        echo "FAILED: the kernel complains"
        exit 1
    fi
}

case $kind in
stress) boot "STRESS=$seconds" -smp 4 ;;
load)
    boot "LOAD=1" -smp 1 -icount auto
    expected=$(grep '^LOAD_SUM ' "$work/console")
    boot "LOAD=3" -smp 4
    [ "$(grep '^LOAD_SUM ' "$work/console")" = "$expected" ] && [ -n "$expected" ] || {
        echo "FAILED: not $expected"
        exit 1
    }
    ;;
*)
    echo "unknown kind '$kind'" >&2
    exit 2
    ;;
esac
