#!/bin/bash
# smbios_dmidecode.sh <smbios_test>: dmidecode reads the structures and finds nothing wrong. Exit
# status 77: there is no dmidecode.
set -euo pipefail

program=$(realpath "$1")
command -v dmidecode >/dev/null || {
    echo "dmidecode is not installed"
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# check <RAM below 4 GiB in MiB> <above> <memory as dmidecode says it> <sockets> <cores> <threads>
check() {
    export TABLES_BELOW=$(($1 << 20)) TABLES_ABOVE=$(($2 << 20))
    export TABLES_SOCKETS=$4 TABLES_CORES=$5 TABLES_THREADS=$6
    "$program" --dump >/dev/null
    dmidecode --from-dump dmi.bin >log 2>&1
    if grep -Eiq 'out of spec|bad index|wrong|invalid|truncated|broken|bad checksum' log ||
        [ "$(grep -c "^Processor Information" log)" -ne "$4" ] ||
        [ "$(grep -c "Core Count: $5\$" log)" -ne "$4" ] ||
        [ "$(grep -c "Thread Count: $(($5 * $6))\$" log)" -ne "$4" ] ||
        ! grep -q "Size: $3\$" log || ! grep -q '^End Of Table' log; then
        cat log
        echo "$1 + $2 MiB of RAM, $4 x $5 x $6 processors: not what was expected"
        exit 1
    fi
    echo "$1 + $2 MiB of RAM, $4 x $5 x $6 processors: $(grep -c '^Handle' log) structures"
}

check 64 0 '64 MB' 1 1 1
check 512 0 '512 MB' 2 1 1
check 3072 0 '3 GB' 2 3 2
check 3072 3072 '6 GB' 255 1 1
check 64 0 '64 MB' 512 1 1
check 64 0 '64 MB' 2 128 2
check 3072 1045504 '1 TB' 1 64 1
