#!/bin/bash
# repeat.sh <image> <options>...: two runs of a guest program with the options must be the same, interrupt for
# interrupt and counter for counter; with another seed it must be another run, or the test would show nothing.
set -euo pipefail
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # <file> <options>...
    "$here/run.sh" "${@:2}" -d int,mmu-stats -D "$work/$1" >"$work/$1.out" 2>&1
}

run first "$@"
run second "$@"
cmp "$work/first" "$work/second"
cmp "$work/first.out" "$work/second.out"
run other "$@" -seed 4711
if cmp -s "$work/first" "$work/other"; then
    echo "FAILED: the seed does not matter"
    exit 1
fi
wc -l <"$work/first"
