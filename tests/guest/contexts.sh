#!/bin/bash
# contexts.sh <compiler> <folder>: what a switch between two address spaces of 1 MiB each costs in page
# walks and fills of the TLB, by policy of the MMU. The program runs with few and with many rounds;
# the difference is what the switches cost once everything is warm. Fails if policy coherent does
# not need at least 20 times fewer than policy flush.
set -euo pipefail
here=$(dirname "$0")
compiler=$1 folder=$2
few=10 many=60
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# counted <form> <rounds> <policy>: walks and fills of a run with so many rounds of a form.
counted() {
    local image=$folder/contexts64-$1-$2
    [ -e "$image" ] || {
        "$here/build.sh" "$compiler" 64 "$work/image" -DROUNDS_"$1"="$2" "$here/64/contexts.c"
        mv "$work/image" "$image"
    }
    "$here/run.sh" "$image" -cpu max -mmu "$3" -d mmu-stats -D "$work/counters" >"$work/console" 2>&1 ||
        {
            cat "$work/console"
            exit 1
        }
    awk '$1 == "mmu:" && ($2 == "walks" || $2 == "fills") && NF == 3 { sum += $3 } END { print sum }' \
        "$work/counters"
}

status=0
for form in PLAIN KEPT; do
    declare -A cost
    for policy in flush coherent coherent,patch=address coherent,consumer=invalidate; do
        first=$(counted $form $few $policy)
        last=$(counted $form $many $policy)
        cost[$policy]=$((last - first))
        echo "$form $policy: $((last - first)) walks and fills in $((2 * (many - few))) switches"
    done
    # Each switch of policy flush walks for 256 pages: else the program is not what it should be.
    [ "${cost[flush]}" -ge $((2 * (many - few) * 256)) ] || status=1
    for policy in coherent coherent,patch=address coherent,consumer=invalidate; do
        [ $((cost[$policy] * 20)) -le "${cost[flush]}" ] || {
            echo "FAILED: $policy needs more than a twentieth of what flush does"
            status=1
        }
    done
done
exit $status
