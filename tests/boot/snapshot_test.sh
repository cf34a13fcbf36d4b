#!/bin/bash
# snapshot_test.sh <snapshot_boot> <processors>: a boot of Debian's kernel, saved and restored half-way.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/boot/images.sh
. tests/boot/images.sh
kernel=$(kernel_image) && initrd=$(busybox_initramfs headless) || {
    echo "no kernel image: skipped"
    exit 77
}
exec "$1" "$kernel" "$initrd" "$2"
