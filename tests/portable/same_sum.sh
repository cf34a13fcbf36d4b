#!/bin/bash
# same_sum.sh <program of this host> <emulator> <program of another> [arguments...]: both print the
# same.
set -euo pipefail

if [ ! -x "$1" ]; then
    echo "$1 is not built: skipped"
    exit 77
fi
host=$1 emulator=$2 program=$3
shift 3
here=$("$host" "$@")
there=$("$emulator" "$program" "$@")
echo "here:  $here"
echo "there: $there"
[ "$here" = "$there" ]
