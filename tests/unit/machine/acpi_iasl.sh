#!/bin/bash
# acpi_iasl.sh <acpi_test>: disassembles every ACPI table with iasl and compiles the result again.
# An error or warning of iasl fails, and so does a DSDT that is not the same after the way there
# and back. Then acpiexec runs the methods that route interrupts. Exit status 77: there is no iasl.
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

# check <RAM below 4 GiB> <above> <sockets> <cores> <threads>
check() {
    local table
    mkdir "$folder/$1-$3"
    cd "$folder/$1-$3"
    export TABLES_BELOW=$1 TABLES_ABOVE=$2 TABLES_SOCKETS=$3 TABLES_CORES=$4 TABLES_THREADS=$5
    "$program" --dump >log || fail "no tables"
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
    echo "$1 + $2 bytes of RAM, $3 sockets, $4 cores, $5 threads:" ./*.dat
}

# The routing of PIRQC# (IRQ 10, its status and descriptor; the same once disabled), and the last
# element of the routes with I/O APIC: INTD# of device 31. One run: acpiexec takes a second.
check_routing() {
    local link='\_SB.PCI0.LNKC' commands=
    cd "$folder/$1"
    commands="execute $link._SRS (23 00 04 18 79 00);execute $link._STA;execute $link._CRS"
    commands="$commands;execute $link._DIS;execute $link._STA;execute $link._CRS"
    commands="$commands;execute \_PIC 1;execute \_SB.PCI0._PRT"
    acpiexec -b "$commands" DSDT.dat >log 2>&1 || fail "acpiexec failed"
    ! grep -Eq 'ACPI (Error|Warning)' log || fail "acpiexec found errors"
    grep -Eo '^ *\[(Integer|Buffer)\].*= .*[0-9A-F]' log | sed 's/.*= *0*//' >objects
    { sed -n 1,4p objects && tail -n 4 objects; } >seen
    printf '%s\n' B ': 23 00 04 18 79 00' 9 ': 23 00 00 18 79 00' 1FFFFF 3 '' 11 |
        cmp - seen || fail "$(cat seen)"
    echo "routing of PIRQC# and INTD#"
}

mib=$((1 << 20))
check $mib 0 1 1 1
check $((64 * mib)) 0 1 1 1
check $((3072 * mib)) 0 2 3 2
check $((2048 * mib)) $((3072 * mib)) 1 64 1
check $((512 * mib)) 0 255 1 1
check $((1024 * mib)) 0 100 5 1
check_routing $((512 * mib))-255
