#!/bin/bash
# acpi_iasl.sh <acpi_test>: disassembles every ACPI table with iasl and compiles the result again.
# An error or warning of iasl fails, and so does a DSDT that is not the same after the way there
# and back. Exit status 77: there is no iasl.
set -euo pipefail

program=$(realpath "$1")
command -v iasl >/dev/null || {
    echo "iasl is not installed (package acpica-tools)"
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    cat log
    echo "$*"
    exit 1
}

# check <RAM below 4 GiB> <above> <processors>
check() {
    local table
    mkdir "$folder/$1-$3"
    cd "$folder/$1-$3"
    TABLES_BELOW=$1 TABLES_ABOVE=$2 TABLES_CPUS=$3 "$program" --dump >log || fail "no tables"
    for table in *.dat; do
        iasl -d "$table" >log 2>&1 || fail "$table: not disassembled"
        ! grep -Eiq 'error|warning|invalid|could not' log || fail "$table: disassembled with errors"
        ! grep -Eiq 'invalid|checksum.*should be' "${table%.dat}.dsl" || fail "$table: invalid"
        iasl -oa -p "${table%.dat}" "${table%.dat}.dsl" >log 2>&1 || fail "$table: not compiled"
        ! grep -Eq '^(Error|Warning) ' log || fail "$table: compiled with errors"
    done
    # Bytes 9 and 28 to 35 (cmp counts from 1) are the checksum and who compiled it.
    { cmp -l DSDT.dat DSDT.aml 2>&1 || true; } |
        awk '$1 != 10 && ($1 < 29 || $1 > 36) { other = 1 } /EOF/ { other = 1 } END { exit other }' ||
        fail "the DSDT became another one by disassembling and compiling"
    echo "$1 + $2 bytes of RAM, $3 processors:" ./*.dat
}

mib=$((1 << 20))
check $mib 0 1
check $((64 * mib)) 0 1
check $((3072 * mib)) 0 2
check $((2048 * mib)) $((3072 * mib)) 64
check $((512 * mib)) 0 255
