#!/usr/bin/env python3
"""Writes docs/events.md: its text is here, its tables come from mmu/events.def and mmu/events.h.

    docs/events.py           writes the file
    docs/events.py --check   fails if the file is not what would be written
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, "docs", "events.md")

ROW = re.compile(r'/\*(?P<meaning>(?:(?!\*/).)*)\*/\s*'
                 r'MMU_EVENT\(\w+,\s*(?P<group>\w+),\s*"(?P<word>\w+)",\s*(?P<fields>[\w |]+),\s*'
                 r'"(?P<format>[^"]*)",\s*"(?P<manual>[^"]*)"\)', re.S)
CAUSE = re.compile(r'^MMU_CAUSE\(\w+,\s*"(\w+)"\)', re.M)

# Fields as filters and output name them: bit of enum mmu_event_field, or None if every record has
# it; meaning.
FIELDS = [
    ("kind", None, "the word of the first table; in a filter also a group"),
    ("vcpu", None, "number of the processor"),
    ("instructions", None, "retired before: with `-icount` by all processors together and exact, else by this one"),
    ("rip", None, "of the instruction that caused it"),
    ("cr3", None, "as loaded at that moment"),
    ("access", "ACCESS", "`read`, `write` or `fetch`"),
    ("view", "VIEW", "`supervisor`, `supervisor_ac` (with SMAP and EFLAGS.AC) or `user`"),
    ("va", "VA", "linear address"),
    ("gpa", "GPA", "guest physical address: of the entry in a walk's steps, else of the page or byte"),
    ("mpa", "MPA", "machine address of the frame or of the bytes written"),
    ("level", "LEVEL", "of the table: 1 holds 4 KiB pages, 5 is a PML5"),
    ("old", "OLD", "entry or register before, or as read"),
    ("new", "NEW", "entry or register after"),
    ("cause", "CAUSE", "why, or how it ended: see below"),
    ("error", "ERROR", "error code of the page fault, 0 if there is none"),
    ("rights", "RIGHTS", "`u` user, `w` writable, `x` executable, a dash for each that is missing"),
    ("shift", "SHIFT", "page size as a power of two: 12, 21, 22 or 30"),
    ("count", "COUNT", "see the kind"),
]

HEAD = """<!-- Written by docs/events.py: do not edit. -->
# Events of the memory-management unit

Every transition of the MMU that a person may want to see is an event: walks step by step, TLB fills
and flushes, register loads, page faults, watches on frames. They lie on slow paths; a run without
`-trace` pays one test of a pointer for each.

    gnomon -kernel vmlinuz ... -trace 'mmu:kind==fault,file=faults.txt'
    gnomon -kernel vmlinuz ... -trace 'mmu:kind==walk && va in 0x400000-0x4fffff,file=walks.json,format=chrome'

A trace changes nothing in the run: with `-icount` a traced run is the same, instruction for
instruction. With several processors all events are on one time line then, that of the machine's clock;
without `-icount` each processor counts its own instructions. What another processor's store takes from
one (`watch_revoke`) keeps time and RIP of the event before it.

## Formats

| `format=` | what is written |
|---|---|
| `text` | one line for each event: instructions, processor, RIP, kind, and what the table below says |
| `json` | one JSON object a line; numbers that are addresses, entries or bits are strings of hexadecimal digits |
| `chrome` | one JSON document in the Trace Event Format, for `chrome://tracing` and Perfetto: walks are slices, all others instants; one microsecond there is one instruction here |

The first lines of a Linux kernel's life in text:

    0 cpu0 0x0 walk_start fetch of 0x1000000, view supervisor
    0 cpu0 0x0 walk_step level 4: 0x9003 at 0x8000, -wx
    0 cpu0 0x0 walk_step level 3: 0xa003 at 0x9000, -wx
    0 cpu0 0x0 walk_step level 2: 0x1000083 at 0xa040, -wx

## Filters

An expression of comparisons, joined with `&&` and `||`, negated with `!`, grouped with
parentheses; `&&` binds stronger.

| comparison | true if |
|---|---|
| `field == value`, `!=`, `<`, `<=`, `>`, `>=` | as they say |
| `field & value` | a bit is common to both |
| `field in low-high` | in the range, ends included |

Values are numbers (decimal, or hexadecimal with `0x`), the words of `kind`, `cause`, `access` and
`view` (with `==` and `!=` only), or letters of `u`, `w`, `x` for `rights`. A comparison with a field
that the kind does not have is false, whatever the operator. A mistake is reported with its column.
On the command line a comma inside the filter is written twice.

"""

TAIL = """
## For programmers

A kind is one row of `mmu/events.def`; `MMU_EMIT` writes a record into the vCPU's ring, where the
filter's kind mask is the first thing that is looked at. The ring keeps the newest records and counts
all (`mmu/events.h`); a debugger reads them there, or is called for each (`notify`). After a change of
the rows run `docs/events.py`.
"""


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def one_line(text):
    return " ".join(text.replace("*/", "").replace("\n *", " ").split())


def kinds_table(rows, names):
    out = ["## Kinds\n",
           "A filter's `kind==` takes a kind or a group. The manual is Intel's SDM, volume 3A.\n",
           "| kind | group | meaning | own fields | manual |", "|---|---|---|---|---|"]
    for row in rows:
        fields = [names[bit] for bit in re.findall(r"FIELD_(\w+)", row["fields"])]
        out.append(f"| `{row['word']}` | `{row['group']}` | {one_line(row['meaning'])} "
                   f"| {', '.join(f'`{f}`' for f in fields)} | {row['manual']} |")
    out += ["\nText, after the kind:\n", "| kind | line |", "|---|---|"]
    out += [f"| `{row['word']}` | `{row['format']}` |" for row in rows]
    return "\n".join(out) + "\n"


def fields_table():
    out = ["\n## Fields\n", "| field | in | meaning |", "|---|---|---|"]
    for name, bit, meaning in FIELDS:
        out.append(f"| `{name}` | {'every event' if bit is None else 'some'} | {meaning} |")
    return "\n".join(out) + "\n"


def page():
    rows = [match.groupdict() for match in ROW.finditer(read("mmu/events.def"))]
    text = read("mmu/events.def")
    expected = len(re.findall(r"^MMU_EVENT\(", text, re.M))
    if len(rows) != expected:
        sys.exit(f"mmu/events.def: {expected} rows, but {len(rows)} have a comment before them")
    names = {bit: name for name, bit, _ in FIELDS if bit}
    bits = set(re.findall(r"^\s+FIELD_(\w+) = ", read("mmu/events.h"), re.M))
    known = re.findall(r'FIELD\("(\w+)"', read("mmu/event_fields.c"))
    if bits != set(names) or known != [name for name, _, _ in FIELDS]:
        sys.exit("docs/events.py: FIELDS and mmu/event_fields.c differ")
    causes = ", ".join(f"`{word}`" for word in CAUSE.findall(text))
    return (HEAD + kinds_table(rows, names) + fields_table() + f"\nCauses: {causes}.\n" + TAIL)


def main():
    new = page()
    if sys.argv[1:] == ["--check"]:
        if not os.path.exists(TARGET) or read("docs/events.md") != new:
            sys.exit("docs/events.md is out of date: run docs/events.py")
        return
    with open(TARGET, "w", encoding="utf-8") as file:
        file.write(new)


main()
