#!/bin/bash
# run.sh <harness> <seed corpus folder>: fuzzes for GNOMON_FUZZ_SECONDS (10). New inputs go to a
# folder beside the harness, so the seeds in the tree stay as they are; a crash is left there too.
set -euo pipefail

harness=$1
seeds=$2
found=$harness.found
options=(-max_total_time="${GNOMON_FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=4096
         -print_final_stats=1 -artifact_prefix="$harness.crash-")

mkdir -p "$found"
[ -d "$seeds" ] || seeds=
exec "$harness" "${options[@]}" "$found" ${seeds:+"$seeds"}
