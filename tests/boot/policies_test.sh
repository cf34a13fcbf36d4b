#!/bin/bash
# policies_test.sh <policy> [<processors as for -smp> [long|threads]]: Linux under a policy of the MMU (-mmu): swap, and for each
# processor a program that changes page tables in all ways that a process can (memory.c). long: more of it,
# and stress-ng; threads: each processor on a thread of its own, by the host's clock (both: GNOMON_FULL=1 only).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
gnomon=${GNOMON_BINARY:-build/release/gnomon}
policy=$1 processors=${2:-1}

# shellcheck source=tests/boot/images.sh
. tests/boot/images.sh

skip() {
    echo "$*: skipped"
    exit 77
}

# A counter, of all processors.
sum() {
    awk -F '  +' -v name="mmu: $1" '$1 == name { sum += $2; found = 1 } END { if (found) print sum }' \
        "$work/counters"
}

name=memory append="ROUNDS=1" time=(-icount auto --guest-timeout 20e9)
[ -z "${3:-}" ] || [ -n "${GNOMON_FULL:-}" ] || skip "only with GNOMON_FULL=1"
case ${3:-} in
long) name=memory-long append="ROUNDS=10 STRESS=5" time=(-icount auto --guest-timeout 400e9) ;;
threads) append="ROUNDS=2" time=(--timeout 20m) ;;
esac
kernel=$(kernel_image) && modules=$(kernel_modules) || skip "no kernel image"
# shellcheck disable=SC2154  # of images.sh
program=$images_cache/memory
if [ ! "$program" -nt tests/boot/memory.c ]; then
    gcc -std=gnu17 -O2 -Wall -Wextra -static -pthread -o "$program.$$" tests/boot/memory.c &&
        mv "$program.$$" "$program" || exit 1
fi
files=("$program=bin/memory" "$modules/kernel/mm/zsmalloc.ko=lib/zsmalloc.ko"
    "$modules/kernel/drivers/block/zram/zram.ko=lib/zram.ko")
if [ $name = memory-long ]; then
    list=$(stress_ng_files) || skip "no stress-ng"
    mapfile -t -O ${#files[@]} files <<<"$list"
fi
initrd=$(initramfs $name tests/boot/init-memory "${files[@]}") || skip "no initramfs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$gnomon" -nographic -kernel "$kernel" -initrd "$initrd" -m 256 -no-reboot "${time[@]}" \
    -append "console=ttyS0 panic=-1 $append" -mmu "$policy" \
    -smp "$processors" -d stats,mmu-stats -D "$work/counters" >"$work/console" 2>"$work/messages" </dev/null
status=$?
tail -n 12 "$work/console"
cat "$work/messages" "$work/counters"
errors=$(sum "paranoid errors")
if [ "$status" -ne 0 ] || ! tr -d '\r' <"$work/console" | grep -qx BOOT_OK ||
    [ "$errors" != 0 ]; then
    tail -n 60 "$work/console"
    echo "FAILED: status $status, $errors paranoid errors"
    exit 1
fi
# A bare machine composes nothing, one with a map whatever it enters in its TLB.
composed=$(sum "compositions at fills") expected=0
[[ $policy != *p2m=* ]] || expected=$(sum fills)
if [ "$composed" != "$expected" ]; then
    echo "FAILED: $composed compositions, not $expected"
    exit 1
fi
