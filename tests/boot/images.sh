# Boot images made of the distribution's packages, for ./demo and the boot tests. To be sourced:
#
#   kernel_image                          prints the path of Debian's vmlinuz
#   kernel_modules                        prints the path of its lib/modules/<version>
#   busybox_initramfs interactive|headless|smp  prints the path of an initramfs: a shell, or an init
#                                         that prints BOOT_OK and powers off
#   initramfs <name> <init file> [<file>=<path inside>...]  the same with an init of one's own
#   stress_ng_files                       prints <file>=<path inside> of stress-ng and its libraries
#   kernel_complaints <console>           prints what a kernel complains about; fails if it does not
#   debian_installer                      prints the paths of the installer's kernel and initrd
#
# Packages are downloaded with apt-get and unpacked below cache/ (GNOMON_CACHE chooses another
# place); nothing is installed. What is there already is used without a look at the network.
# Each function returns non-zero, with a message on standard error, when it cannot do its work.
# shellcheck shell=bash

images_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
images_cache=${GNOMON_CACHE:-$images_root/cache}

images_say() {
    echo "images: $*" >&2
}

# Runs a command while holding the lock of the cache, so that parallel tests do not meet.
images_locked() {
    mkdir -p "$images_cache" || return 1
    (
        flock 9 || exit 1
        "$@"
    ) 9>"$images_cache/.lock"
}

images_apt_update() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            images_say "apt-get update needs root or sudo"
            return 1
        }
        as_root=(sudo)
    fi
    images_say "apt-get update"
    "${as_root[@]}" apt-get -qq -o Acquire::Retries=3 update >&2
}

# images_package <package>: unpacks it (once) and prints the folder. Hold the lock.
images_package() {
    local package=$1 folder=$images_cache/packages/$1 work
    if [ -d "$folder" ]; then
        echo "$folder"
        return 0
    fi
    mkdir -p "$images_cache/packages" || return 1
    work=$(mktemp -d "$images_cache/packages/.new.XXXXXX") || return 1
    images_say "downloading $package"
    # Outdated lists name files that the mirror no longer has: refresh them and try again.
    if ! images_download "$work" "$package" 2>/dev/null &&
        ! { images_apt_update && images_download "$work" "$package"; }; then
        images_say "cannot download $package"
        rm -rf "$work"
        return 1
    fi
    if ! dpkg-deb -x "$work"/*.deb "$work/files" >&2 || ! mv "$work/files" "$folder"; then
        images_say "cannot unpack $package"
        rm -rf "$work"
        return 1
    fi
    chmod 755 "$folder"
    rm -rf "$work"
    echo "$folder"
}

images_download() {
    (
        cd "$1" && rm -f ./*.deb &&
            apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$2" >&2
    )
}

# The real package behind linux-image-amd64, which depends on the current one.
images_kernel_package() {
    apt-cache depends linux-image-amd64 2>/dev/null |
        sed -nE 's/^ *Depends: (linux-image-[0-9][^ ]*)$/\1/p' | head -n 1
}

images_kernel_folder() {
    local folder package
    folder=$(printf '%s\n' "$images_cache"/packages/linux-image-[0-9]* | sort -V | tail -n 1)
    if [ -d "$folder" ]; then
        echo "$folder"
        return 0
    fi
    package=$(images_kernel_package)
    if [ -z "$package" ]; then
        images_apt_update || return 1
        package=$(images_kernel_package)
    fi
    [ -n "$package" ] || {
        images_say "apt-cache knows no linux-image-amd64"
        return 1
    }
    images_package "$package"
}

images_one() {
    [ -e "$1" ] || {
        images_say "$1 is not in the package"
        return 1
    }
    echo "$1"
}

kernel_image() {
    local folder
    folder=$(images_locked images_kernel_folder) || return 1
    images_one "$(echo "$folder"/boot/vmlinuz-*)"
}

kernel_modules() {
    local folder
    folder=$(images_locked images_kernel_folder) || return 1
    images_one "$(echo "$folder"/lib/modules/*)"
}

debian_installer() {
    local folder
    folder=$(images_locked images_package debian-installer-12-netboot-amd64) || return 1
    folder=$folder/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64
    images_one "$folder/linux" && images_one "$folder/initrd.gz"
}

# images_pack <image> <init file> [<file>=<path inside>...]. Hold the lock.
images_pack() {
    local image=$1 init=$2 busybox work extra
    shift 2
    busybox=$(images_package busybox-static) || return 1
    [ -x "$busybox/bin/busybox" ] || busybox=$busybox/usr
    work=$(mktemp -d "$images_cache/.new.XXXXXX") || return 1
    mkdir -p "$work"/root/{bin,dev,etc,proc,root,run,sys,tmp} &&
        cp "$busybox/bin/busybox" "$work/root/bin/busybox" &&
        ln -s busybox "$work/root/bin/sh" &&
        install -m 755 "$init" "$work/root/init" || return 1
    for extra in "$@"; do
        mkdir -p "$(dirname "$work/root/${extra#*=}")" &&
            cp -a "${extra%%=*}" "$work/root/${extra#*=}" || return 1
    done
    (
        set -o pipefail
        cd "$work/root" && find . -exec touch -h -d @0 {} + && find . -print0 | sort -z |
            cpio --quiet --null -o -H newc -R 0:0 --reproducible | gzip -n -6 >"$work/image"
    ) && mv "$work/image" "$image" && rm -rf "$work"
}

# Is the image newer than all of the files?
images_is_new() {
    local image=$1 file
    shift
    for file in "$@"; do
        [ "$image" -nt "$file" ] || return 1
    done
}

# Packs the image unless somebody else has done so while this one waited for the lock.
images_pack_once() {
    local files=("${@:3}")

    images_is_new "$1" "${BASH_SOURCE[0]}" "$2" "${files[@]%%=*}" || images_pack "$@"
}

initramfs() {
    local name=$1 init=$2 image=$images_cache/initramfs-$1.gz
    shift 2
    if ! images_is_new "$image" "${BASH_SOURCE[0]}" "$init" "${@%%=*}"; then
        images_locked images_pack_once "$image" "$init" "$@" || {
            images_say "cannot make the initramfs $name"
            return 1
        }
    fi
    echo "$image"
}

busybox_initramfs() {
    local init=$images_root/tests/boot/init-$1
    [ -f "$init" ] || {
        images_say "busybox_initramfs: there is no init-$1"
        return 1
    }
    initramfs "$1" "$init"
}

# Prints <file>=<path inside> for stress-ng and its libraries.
stress_ng_files() {
    local folder library libraries=()
    for package in stress-ng libegl1 libgles2 libglvnd0 libgbm1 libdrm2 libwayland-server0 libexpat1 \
        libffi8 libipsec-mb1 libjudydebian1 libapparmor1 libbsd0 libmd0 libcrypt1 \
        libjpeg62-turbo libkmod2 libsctp1 libxxhash0 zlib1g libzstd1 liblzma5 libssl3; do
        folder=$(images_locked images_package $package) || return 1
        libraries+=("$folder/usr/lib/x86_64-linux-gnu" "$folder/lib/x86_64-linux-gnu")
        [ "$package" != stress-ng ] || echo "$folder/usr/bin/stress-ng=bin/stress-ng"
    done
    folder=$(images_locked images_package stress-ng)/usr/bin
    LD_LIBRARY_PATH=$(IFS=: && echo "${libraries[*]}") ldd "$folder/stress-ng" |
        sed -nE 's/^\s*(\S+ => )?(\/\S+) \(.*/\2/p' |
        while read -r library; do
            case $library in
            */ld-linux*) echo "$(realpath "$library")=lib64/${library##*/}" ;;
            *) echo "$(realpath "$library")=lib/x86_64-linux-gnu/${library##*/}" ;;
            esac
        done
}

kernel_complaints() {
    grep -E -e "WARNING|BUG:|Oops|Call Trace|general protection|segfault|traps:" \
        -e "lockup|hung|blocked for more|stall|TSC warp|inconsistent" "$1"
}
