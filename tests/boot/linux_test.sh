#!/bin/bash
# linux_test.sh deterministic|bzimage|parallel|repeat|repeat-smpN|smpN|threads-smpN: boots Debian's kernel to its
# power-off.
#
#   deterministic  entered directly, time from instructions
#   bzimage        the guest decompresses the kernel itself
#   parallel       time from the host's clock (GNOMON_FULL=1 only)
#   repeat         twice: the same console, instruction for instruction (GNOMON_FULL=1 only)
#   smpN           with N processors, which must all be there, go offline and come back
#   threads-smpN   the same, each on a thread of its own, by the host's clock (GNOMON_FULL=1 only)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
gnomon=${GNOMON_BINARY:-build/release/gnomon}

mode=${1:-deterministic}
case $mode in
parallel | repeat* | threads*)
    [ -n "${GNOMON_FULL:-}" ] || {
        echo "only with GNOMON_FULL=1: skipped"
        exit 77
    }
    ;;
esac

# shellcheck source=tests/boot/images.sh
. tests/boot/images.sh
case $mode in
smp* | threads*) init=smp ;;
*) init=headless ;;
esac
kernel=$(kernel_image) && initrd=$(busybox_initramfs $init) || {
    echo "no kernel image: skipped"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# boot <options...>: console in $work/console, messages in $work/messages.
boot() {
    "$gnomon" -nographic -kernel "$kernel" -initrd "$initrd" -append "console=ttyS0 panic=-1" \
        -no-reboot -d stats "$@" >"$work/console" 2>"$work/messages" </dev/null
    status=$?
    tail -n 4 "$work/console"
    cat "$work/messages"
    if [ "$status" -ne 0 ] || ! tr -d '\r' <"$work/console" | grep -qx BOOT_OK; then
        tail -n 60 "$work/console"
        echo "FAILED: status $status"
        exit 1
    fi
}

case $mode in
deterministic) boot -icount auto --guest-timeout 6e9 ;;
bzimage) boot -icount auto --guest-timeout 20e9 -machine pc,kernel-entry=bzimage ;;
parallel) boot --timeout 20m ;;
smp* | threads-smp*)
    processors=${mode##*smp}
    time=(-icount auto --guest-timeout 12e9)
    [ "$processors" = "${mode#smp}" ] || time=(--timeout 50m)
    boot -smp "$processors" "${time[@]}"
    tr -d '\r' <"$work/console" | grep -qx "PROCESSORS_OK $processors" || {
        echo "FAILED: not all processors are there"
        exit 1
    }
    if kernel_complaints "$work/console"; then
        echo "FAILED: the kernel complains"
        exit 1
    fi
    ;;
repeat*)
    processors=${mode#repeat-smp}
    [ "$processors" != "$mode" ] || processors=1
    boot -smp "$processors" -icount 0 --guest-timeout 12e9 -d int -D "$work/first"
    mv "$work/console" "$work/first_console"
    boot -smp "$processors" -icount 0 --guest-timeout 12e9 -d int -D "$work/second"
    cmp "$work/console" "$work/first_console" && cmp "$work/first" "$work/second" || exit 1
    ;;
*)
    echo "unknown mode '$mode'" >&2
    exit 2
    ;;
esac
