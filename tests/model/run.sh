#!/bin/bash
# run.sh <model.pml> right|wrong|stuck [-D...] [--full -D...]: explores every state of the model with
# those definitions (with GNOMON_FULL those behind --full, too). Right: there must be no error;
# wrong: an error was sown, and an assertion must find it; stuck: it ends in a deadlock.
set -euo pipefail

model=$(realpath "$1")
expected=$2
shift 2
definitions=()
for argument in "$@"; do
    if [ "$argument" = --full ]; then
        [ -n "${GNOMON_FULL:-}" ] || break
    else
        definitions+=("$argument")
    fi
done

for tool in spin gcc; do
    if ! command -v $tool >/dev/null; then
        echo "SKIPPED: $(basename "$model") is not checked, for $tool is not installed" >&2
        exit 77
    fi
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
spin -a "${definitions[@]}" "$model"
if [ -n "${GNOMON_FULL:-}" ]; then
    gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=8192 -o pan pan.c
else
    gcc -O0 -DSAFETY -DMEMLIM=1024 -o pan pan.c
fi
./pan -m1000000 | tee report || true

if grep -qE 'Search not completed|search depth too small|out of memory' report &&
    ! grep -q 'errors: 1' report; then
    echo "$(basename "$model") ${definitions[*]}: not every state was seen" >&2
    exit 1
fi
case $expected in
right)
    grep -q 'errors: 0' report || {
        spin -t -p "${definitions[@]}" "$model" | tail -60
        echo "$(basename "$model") ${definitions[*]}: an error" >&2
        exit 1
    }
    ;;
wrong | stuck)
    [ "$expected" = wrong ] && error='assertion violated' || error='invalid end state'
    grep -q "$error" report || {
        echo "$(basename "$model") ${definitions[*]}: the error was not found" >&2
        exit 1
    }
    ;;
esac
