#!/usr/bin/env python3
"""Holds every #include of the layer folders against the layer table (docs/layers.md).

A file is judged by the longest row of MAY_INCLUDE that its path begins with, an included path by
the longest entry of that row that it begins with; '!' before an entry forbids. What no entry
matches is forbidden.
"""

import os
import re
import sys

from source_files import LAYERS, ROOT, files, read

MAY_INCLUDE = {
    "base/": ["base/"],
    "mmu/": ["base/", "mmu/"],
    "cpu/": ["base/", "mmu/", "cpu/", "!cpu/jit/"],
    "cpu/jit/": ["base/", "mmu/", "cpu/"],
    "devices/": ["base/", "mmu/bus.h", "devices/"],
    "vmm/": ["base/", "mmu/", "cpu/", "!cpu/jit/", "vmm/"],
    "machine/": ["base/", "mmu/", "cpu/", "!cpu/jit/", "devices/", "vmm/", "machine/"],
    "frontend/": ["base/", "mmu/events.h", "vmm/status.h", "devices/chardev.h", "machine/",
                  "frontend/"],
}
# The header through which the rest of the processor reaches the translator.
for row in ("cpu/", "machine/", "vmm/"):
    MAY_INCLUDE[row].append("cpu/jit/jit.h")

# Third-party headers, and the layers that may use them. All other <...> headers must be the C
# library's or the host's.
LIBRARIES = {
    "uv.h": ("machine/", "frontend/"),
    "zlib.h": ("devices/", "machine/"),
    "zstd.h": ("devices/", "machine/"),
    "lzma.h": ("machine/",),
    "lz4": ("machine/",),
    "jansson.h": ("machine/", "frontend/"),
    "capstone/": ("frontend/",),
    "histedit.h": ("frontend/",),
    "SDL": ("frontend/",),
    "png.h": ("frontend/",),
    "slirp/": ("machine/",),
    "sodium": ("machine/",),
    "check.h": (),
}
SYSTEM = re.compile(
    r"(assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal"
    r"|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath"
    r"|threads|time|uchar|wchar|wctype)\.h")
HOST = re.compile(r"(dirent|fcntl|getopt|poll|pthread|sched|semaphore|strings|termios|unistd|endian)\.h"
                  r"|(sys|netinet|arpa|linux)/\w+\.h|.*intrin\.h|arm_neon\.h|cpuid\.h")
# The lowest layers reach the host through base/host/ only; threads are the exception.
HOST_IN_LOW_LAYERS = re.compile(r"pthread\.h|sched\.h|semaphore\.h|endian\.h|strings\.h")
LOW_LAYERS = ("base/", "mmu/", "cpu/", "vmm/")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def longest(prefixes, path):
    matching = [p for p in prefixes if path.startswith(p.lstrip("!"))]
    return max(matching, key=lambda p: len(p.lstrip("!")), default=None)


def judge_own(source, target):
    if not os.path.isfile(os.path.join(ROOT, target)):
        return f'"{target}" is no path from the root of the tree'
    row = longest(MAY_INCLUDE, source)
    entry = longest(MAY_INCLUDE[row], target)
    if entry is None or entry.startswith("!"):
        return f'{row} may not include "{target}" (docs/layers.md)'
    return None


def judge_system(source, target):
    library = longest(LIBRARIES, target)
    if library is not None:
        if source.startswith(LIBRARIES[library]):
            return None
        return f"<{target}> is not for this layer (tests/lint/includes.py)"
    if SYSTEM.fullmatch(target):
        return None
    if not HOST.fullmatch(target):
        return f"<{target}> is unknown to tests/lint/includes.py"
    if source.startswith("base/host/") or source.startswith("cpu/jit/"):
        return None
    if source.startswith(LOW_LAYERS) and not HOST_IN_LOW_LAYERS.fullmatch(target):
        return f"<{target}>: the host is reached through base/host/ only"
    return None


def main():
    errors = 0
    for source in files(LAYERS, (".c", ".h", ".def")):
        for number, line in enumerate(read(source).splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            judge = judge_own if match.group(1) == '"' else judge_system
            complaint = judge(source, match.group(2))
            if complaint:
                print(f"{source}:{number}: {complaint}")
                errors += 1
    return 1 if errors else 0


sys.exit(main())
