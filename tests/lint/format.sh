#!/bin/bash
# format.sh [--fix]: the tree's .c files are laid out as clang-format 14 (Debian 12) does it.
# Headers may align their comments by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."

tool=$(command -v clang-format-14 || true)
if [ -z "$tool" ]; then
    echo "clang-format-14 is not installed: skipped"
    exit 77
fi
mode=(--dry-run -Werror -ferror-limit=3)
[ "${1:-}" != --fix ] || mode=(-i)
find . \( -path ./build -o -path ./cache \) -prune -o -name '*.c' -print0 |
    xargs -0 -r "$tool" "${mode[@]}"
