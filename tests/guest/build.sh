#!/bin/bash
# build.sh <compiler> <16|32|64> <image> <sources...>: builds a guest program, an ELF file that
# multiboot loaders take (so 32-bit ELF, whatever is in it).
set -euo pipefail

compiler=$1 bits=$2 image=$3
shift 3
library=$(dirname "$0")/lib

flags=(-std=gnu17 -O2 -g1 -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-pie
       -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
       -fno-strict-aliasing -fno-delete-null-pointer-checks -mgeneral-regs-only -mno-red-zone -fno-tree-loop-distribute-patterns
       -I"$library" -I"$library/..")
link=(-nostdlib -static -no-pie -Xlinker --build-id=none -z noexecstack -T)
common=("$library/check.c" "$library/print.c")

case $bits in
16)
    "$compiler" -m16 -DREAL_MODE "${flags[@]}" "${link[@]}" "$library/link16.ld" \
        "$library/entry16.S" "${common[@]}" "$@" -o "$image"
    ;;
32)
    "$compiler" -m32 "${flags[@]}" "${link[@]}" "$library/link.ld" "$library"/{entry.S,traps.S,segments.c} \
        "${common[@]}" "$@" -o "$image"
    ;;
64)
    ! grep -qs '"smp.h"' "$@" || common+=("$library"/smp.{c,S})
    "$compiler" -m64 "${flags[@]}" "${link[@]}" "$library/link.ld" "$library"/{entry.S,traps.S,segments.c} \
        "${common[@]}" "$@" -o "$image.elf64"
    objcopy -O elf32-i386 "$image.elf64" "$image"
    ;;
esac
