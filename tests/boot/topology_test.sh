#!/bin/bash
# topology_test.sh: Linux sees sockets, cores, threads, APIC ids and shared caches as -smp arranges
# them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
gnomon=${GNOMON_BINARY:-build/release/gnomon}

# shellcheck source=tests/boot/images.sh
. tests/boot/images.sh

skip() {
    echo "$*: skipped"
    exit 77
}

# expected <sockets> <cores> <threads>: what init-topology prints.
expected() {
    awk -v sockets="$1" -v cores="$2" -v threads="$3" '
        function list(first, count) { return count == 1 ? first : first "-" first + count - 1 }
        function room(count, power) { for (power = 1; power < count;) power *= 2; return power }
        BEGIN {
            for (s = 0; s < sockets; s++)
                for (c = 0; c < cores; c++)
                    for (t = 0; t < threads; t++) {
                        first = (s * cores + c) * threads
                        mine = list(first, threads)
                        all = list(s * cores * threads, cores * threads)
                        printf "cpu%d: id %d, socket %d (%s), core %d (%s), caches %s %s %s %s\n",
                            first + t, (s * room(cores) + c) * room(threads) + t, s, all, c, mine,
                            mine, mine, mine, all
                    }
            print "BOOT_OK"
        }'
}

# boot <model> <-smp> [kernel options...]
boot() {
    "$gnomon" -nographic -kernel "$kernel" -initrd "$initrd" -m 512 -no-reboot -icount auto \
        --guest-timeout 60e9 -append "console=ttyS0 panic=-1 ${*:3}" -cpu "$1" -smp "$2" \
        >"$work/console" 2>"$work/messages" </dev/null
}

# Ids that only the x2APIC has: Linux knows all processors and runs on the few that it is to use.
check_many() {
    boot gnomon 300,sockets=100,cores=3 maxcpus=4
    local status=$?
    if [ $status -ne 0 ] || ! grep -q 'Allowing 300 CPUs' "$work/console" ||
        ! grep -q 'x2apic: enabled by BIOS' "$work/console" ||
        ! grep -q '^cpu3: id 4, socket 1 ' "$work/console" ||
        grep -q '^cpu4:' "$work/console" || ! grep -q '^BOOT_OK' "$work/console"; then
        tail -n 30 "$work/console"
        cat "$work/messages"
        echo "FAILED: 300 processors: status $status"
        failures=$((failures + 1))
        return
    fi
    echo "300 processors, 4 of them in use"
}

# check <model> <sockets> <cores> <threads>
check() {
    local smp="$(($2 * $3 * $4)),sockets=$2,cores=$3,threads=$4" status
    boot "$1" "$smp"
    status=$?
    tr -d '\r' <"$work/console" | sed -n '/^cpu0: /,/^BOOT_OK$/p' >"$work/seen"
    if [ $status -ne 0 ] || ! expected "$2" "$3" "$4" | diff - "$work/seen"; then
        tail -n 30 "$work/console"
        cat "$work/messages"
        echo "FAILED: $1, -smp $smp: status $status"
        failures=$((failures + 1))
        return
    fi
    echo "$1, -smp $smp"
}

kernel=$(kernel_image) || skip "no kernel image"
initrd=$(initramfs topology tests/boot/init-topology) || skip "no initramfs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
check gnomon 2 3 2
check gnomon 1 4 1
check qemu64 4 1 1
check EPYC 2 3 2
check EPYC 1 2 2
check_many
exit $((failures > 0))
