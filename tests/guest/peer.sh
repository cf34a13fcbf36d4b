#!/bin/bash
# peer.sh [image...]: runs guest programs under QEMU's TCG, a second implementation to hold the
# expectations against, and prints the checks that fail there. Needs qemu-system-x86 and built
# images (cmake --build build/release --target guest_programs). peer-differences.txt explains the
# differences that are known; expectations follow the manual.
set -euo pipefail
here=$(dirname "$0")

images=("$@")
[ "${#images[@]}" -gt 0 ] || mapfile -t images < <(find "${GNOMON_BUILD:-build/release}/guest" \
    -maxdepth 1 -type f ! -name '*.elf64' | sort)
status=0
for image in "${images[@]}"; do
    output=$(timeout 60 qemu-system-x86_64 -accel tcg -machine pc -cpu max -m 32 -kernel "$image" \
        -display none -serial none -monitor none -net none -no-reboot -debugcon stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=4 2>&1) || true
    while IFS= read -r line; do
        case $line in
        FAIL*)
            what=${line#FAIL }
            what=${what%%, *}
            what=${what%%: [a-z]*.c:*}
            if grep -qF -- "$what:" "$here/peer-differences.txt"; then
                echo "known: $line"
            else
                echo "$line"
                status=1
            fi
            ;;
        esac
    done <<<"$output"
    last=$(tail -n 1 <<<"$output")
    echo "$last"
    case $last in pass* | fail*) ;; *) echo "no result: $image" && status=1 ;; esac
done
exit "$status"
