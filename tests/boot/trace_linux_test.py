#!/usr/bin/env python3
"""trace_linux_test.py start|whole|programs: Linux boots, its MMU's events become a Chrome trace.

  start      the first four million instructions, every event
  whole      to the power-off, policy coherent: faults, spaces, shadow pages
  programs   to the power-off, policy flush: faults, and the walks of programs

The file must be valid by trace-event.schema.json (written from the public document "Trace Event
Format"), and mean what it should: slices nest and end where they began, no track runs backwards,
each kind has the fields that docs/events.md promises, in their forms, and a walk's steps belong to
it. A few documents that are wrong must be refused.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema

HERE = os.path.dirname(os.path.abspath(__file__))
FORMS = {"vcpu": int, "instructions": int, "level": int, "shift": int, "count": int}
HEXADECIMAL = re.compile("0x(0|[1-9a-f][0-9a-f]*)")
RIGHTS = re.compile("[u-][w-][x-]")
WORDS = ("kind", "access", "view", "cause")
COMMON = {"kind", "vcpu", "instructions", "rip", "cr3"}
EVENTS_MAX = 60000  # more than that takes a validator too long


def kinds_of_document():
    """Kind to group and own fields, by docs/events.md."""
    row = re.compile(r"\| `(\w+)` \| `(\w+)` \| .* \| (`.*`|-|) \| [^|]* \|")
    kinds = {}
    with open(os.path.join(HERE, "../../docs/events.md"), encoding="utf-8") as file:
        for line in file:
            match = row.fullmatch(line.strip())
            if match:
                fields = set(re.findall(r"`(\w+)`", match.group(3)))
                kinds[match.group(1)] = (match.group(2), fields)
    return kinds


def argument_error(name, value):
    if name in FORMS:
        return type(value) is not FORMS[name] or value < 0
    if not isinstance(value, str):
        return True
    if name in WORDS:
        return not re.fullmatch("[a-z_0-9]+", value)
    return not (RIGHTS if name == "rights" else HEXADECIMAL).fullmatch(value)


def event_errors(event, kinds):
    """What is wrong about one event by itself."""
    args = event["args"]
    group, fields = kinds.get(args.get("kind"), (None, set()))
    if group is None:
        yield "a kind that is not in docs/events.md"
    if set(args) != COMMON | fields:
        yield f"fields differ from docs/events.md: {set(args) ^ (COMMON | fields)}"
    if any(argument_error(name, value) for name, value in args.items()):
        yield "an argument in another form than its field has"
    if (event["cat"], event["tid"], event["ts"]) != (group, args["vcpu"], args["instructions"]):
        yield "category, thread or time is not what the arguments say"
    slices = {"walk_start": "B", "walk_end": "E"}
    if event["ph"] != slices.get(args["kind"], "i"):
        yield "a phase that the kind does not have"
    if event["name"] != (group if args["kind"] in slices else args["kind"]):
        yield "a name that the kind does not have"


def errors(events, kinds):
    """What is wrong about the events together."""
    walks = collections.defaultdict(list)
    times = collections.defaultdict(int)
    for number, event in enumerate(events):
        for error in event_errors(event, kinds):
            yield number, error
        track = event["pid"], event["tid"]
        if event["ts"] < times[track]:
            yield number, "time runs backwards"
        times[track] = event["ts"]
        args = event["args"]
        if event["ph"] == "B":
            walks[track].append(args["va"])
            if len(walks[track]) > 1:
                yield number, "a walk in a walk"
        elif event["cat"] == "walk" and (not walks[track] or walks[track][-1] != args["va"]):
            yield number, "belongs to no walk"
        if event["ph"] == "E" and walks[track]:
            walks[track].pop()
    if any(walks.values()):
        yield len(events), "a walk does not end"


def validator():
    with open(os.path.join(HERE, "trace-event.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def document_errors(document, valid, kinds):
    found = [f"schema: {error.message} at {list(error.absolute_path)}"
             for error in valid.iter_errors(document)]
    if not found:
        found = [f"event {number}: {error}" for number, error in errors(document, kinds)]
    return found


def refuses(events, valid, kinds):
    """Each of these changes makes a good document wrong. Returns what was not noticed."""
    walk = next(i for i, event in enumerate(events) if event["ph"] == "B")
    changes = {
        "no phase": lambda e: e[walk].pop("ph"),
        "an unknown phase": lambda e: e[walk].update(ph="Z"),
        "no time": lambda e: e[walk].pop("ts"),
        "time as text": lambda e: e[walk].update(ts="1"),
        "no process": lambda e: e[walk].pop("pid"),
        "arguments in an array": lambda e: e[walk].update(args=[]),
        "an unknown scope": lambda e: e[walk].update(ph="i", s="x"),
        "unknown metadata": lambda e: e.insert(0, {"name": "x", "ph": "M", "pid": 0, "args": {}}),
        "an empty name": lambda e: e[walk].update(name=""),
        "a slice that does not begin": lambda e: e.pop(walk),
        "another address": lambda e: e[walk]["args"].update(va="0x1"),
        "decimal digits": lambda e: e[walk]["args"].update(rip=1),
        "a field too few": lambda e: e[walk]["args"].pop("view"),
        "a field too many": lambda e: e[walk]["args"].update(gpa="0x0"),
        "another thread": lambda e: e[walk].update(tid=5),
        "back in time": lambda e: e.append(e[walk] | {"ts": 0}),
    }
    few = events[:walk + 50]
    while few[-1]["args"]["kind"] != "walk_end":
        few.pop()
    for name, change in changes.items():
        wrong = json.loads(json.dumps(few))
        change(wrong)
        if not document_errors(wrong, valid, kinds):
            yield f"not noticed: {name}"
    if document_errors(few, valid, kinds):
        yield "the beginning alone is refused"


def images():
    script = ". tests/boot/images.sh; kernel_image && busybox_initramfs headless"
    result = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        print("no kernel image: skipped")
        sys.exit(77)
    return result.stdout.split()


# Policy, --guest-timeout, filter, status, kinds that must be there.
RUNS = {
    "start": ("coherent", "4e6", "", 5,
              {"walk_start", "tlb_fill", "cr3_load", "shadow_page", "patch_post"}),
    "whole": ("coherent", "6e9",
              "kind==fault || kind==space_evict || kind==shadow_page || kind==shadow_free", 0,
              {"page_fault", "shadow_page", "shadow_free"}),
    "programs": ("flush", "6e9", "kind==fault || kind==walk && rip in 0x400000-0x7fffffffffff",
                 0, {"page_fault", "walk_start", "walk_step", "walk_end"}),
}


def boot(filename, policy, timeout, expression):
    kernel, initrd = images()
    subject = "mmu:" + expression if expression else "mmu"
    return subprocess.run(
        [os.environ["GNOMON_BINARY"], "-nographic", "-icount", "auto", "-mmu", policy,
         "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1", "-no-reboot",
         "--guest-timeout", timeout, "-trace", f"{subject},file={filename},format=chrome"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False)


def main():
    policy, timeout, expression, status, wanted = RUNS[sys.argv[1]]
    kinds = kinds_of_document()
    valid = validator()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "trace.json")
        result = boot(name, policy, timeout, expression)
        if result.returncode != status:
            failures.append(f"status {result.returncode}: {result.stderr[-500:]}")
        with open(name, encoding="utf-8") as file:
            events = json.load(file)
    counts = collections.Counter(event["args"]["kind"] for event in events)
    print(f"{len(events)} events: {dict(counts)}")
    if len(events) > EVENTS_MAX:
        failures.append("too many events for a test: a filter is too wide")
        events = []
    failures += [f"no {kind}" for kind in wanted - counts.keys()]
    failures += document_errors(events, valid, kinds)
    if "walk_start" in wanted:
        failures += refuses(events, valid, kinds)
    for failure in failures[:20]:
        print("FAILED:", failure)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
