#!/bin/bash
# scripts.sh: the tree's shell scripts pass shellcheck.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed: skipped"
    exit 77
fi
mapfile -t scripts < <(find . \( -path ./build -o -path ./cache -o -path ./.git \) -prune -o \
    -type f -size -200k -print0 | xargs -0 grep -lIE '^#!(/bin/(ba)?sh|/usr/bin/env bash)' --)
shellcheck --severity=warning "${scripts[@]}"
