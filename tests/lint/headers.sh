#!/bin/bash
# headers.sh [compiler]: every header of the layers compiles alone, and twice in a row.
set -euo pipefail
cd "$(dirname "$0")/../.."

compiler=${1:-cc}
flags=(-std=gnu17 -Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes -Werror -D_GNU_SOURCE -I.)
read -ra library_flags <<<"$(pkg-config --cflags libuv jansson capstone 2>/dev/null || true)"
failed=0

for folder in base mmu cpu devices vmm machine frontend; do
    [ -d "$folder" ] || continue
    while IFS= read -r header; do
        if ! printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
            "$compiler" "${flags[@]}" "${library_flags[@]}" -fsyntax-only -x c -; then
            echo "$header: does not compile alone"
            failed=1
        fi
    done < <(find "$folder" -name '*.h' | sort)
done
exit "$failed"
