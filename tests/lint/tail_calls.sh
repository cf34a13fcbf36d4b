#!/bin/bash
# tail_calls.sh <library>: in the threaded build every op function goes on by a jump to the next one.
# One that calls it instead would let a long run of instructions overflow the stack (cpu/ops/ops.h).
# Exit 77: no disassembler here.
set -euo pipefail

library=$1
command -v objdump >/dev/null || exit 77

# struct insn has 32 bytes; its first member is the op.
calls=$(objdump -d --no-show-raw-insn "$library" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2 }
    /call +\*(0x20)?\(/ && name ~ /^<op_/ { print name }' | sort -u)
if [ -n "$calls" ]; then
    echo "these ops do not end in a tail call:"
    echo "$calls"
    exit 1
fi
