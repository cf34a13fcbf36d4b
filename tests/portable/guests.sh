#!/bin/bash
# guests.sh <compiler for x86-64> <include folder> <output.S>: the guests of tests/unit/machine/guests.h
# as an assembler file for any host.
set -euo pipefail

compiler=$1 include=$2 output=$3
object=$output.o blob=$output.bin

printf '#include "tests/unit/machine/guests.h"\n' |
    "$compiler" -I"$include" -x c -c -o "$object" -
objcopy -O binary --only-section=.rodata "$object" "$blob"
{
    printf '.section .rodata\n.balign 16\nguests:\n.incbin "%s"\n' "$blob"
    nm "$object" | awk '$3 ~ /^guest_/ {printf ".globl %s\n.set %s, guests + 0x%s\n", $3, $3, $1}'
    printf '.section .note.GNU-stack,"",%%progbits\n'
} >"$output"
