#!/bin/bash
# peer.sh [-v] [image...]: runs guest programs under QEMU's TCG, a second implementation to hold the
# expectations against, and prints the checks that fail there. Needs qemu-system-x86 and built
# images (cmake --build build/release --target guest_programs). peer-differences.txt explains the
# differences that are known; expectations follow the manual. Programs smp_* get PEER_PROCESSORS (4);
# with PEER_THREAD=multi each has a thread of the host, which takes longer (PEER_TIMEOUT, in s).
set -euo pipefail
here=$(dirname "$0")

verbose=0
if [ "${1:-}" = -v ]; then
    verbose=1
    shift
fi
images=("$@")
[ "${#images[@]}" -gt 0 ] || mapfile -t images < <(find "${GNOMON_BUILD:-build/release}/guest" \
    -maxdepth 1 -type f ! -name '*.elf64' | sort)
status=0
for image in "${images[@]}"; do
    processors=1
    case $image in *smp_*) processors=${PEER_PROCESSORS:-4} ;; esac
    output=$(timeout -k 1 "${PEER_TIMEOUT:-20}" qemu-system-x86_64 -accel "tcg,thread=${PEER_THREAD:-single}" \
        -machine pc -cpu max,vendor=GenuineIntel -smp "$processors" -m 32 -kernel "$image" \
        -display none -serial none -monitor none -net none -no-reboot -debugcon stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=4 2>&1 | tr -cd '\n -~') || true
    known=0 unknown=0
    while IFS= read -r line; do
        case $line in FAIL*) ;; *) continue ;; esac
        what=${line#FAIL }
        what=${what%%, *}
        what=${what%%: [a-z]*.c:*}
        if grep -qF -- "$what:" "$here/peer-differences.txt"; then
            known=$((known + 1))
            [ "$verbose" = 0 ] || echo "known: $line"
        else
            unknown=$((unknown + 1))
            [ "$unknown" -gt "${PEER_LINES:-25}" ] || echo "$line"
            status=1
        fi
    done <<<"$output"
    last=$(tail -n 1 <<<"$output")
    case $last in
    pass* | fail*) echo "$last; $known known differences, $unknown others" ;;
    *) echo "no result: $image: ${last:0:100}" && status=1 ;;
    esac
done
exit "$status"
