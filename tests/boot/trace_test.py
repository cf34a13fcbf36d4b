#!/usr/bin/env python3
"""trace_test.py: what -trace mmu writes while a small guest runs.

The three formats tell the same events; a Chrome trace is a document that its viewers take (Trace
Event Format: an array of objects with name, cat, ph, ts, pid and tid; B and E nest per thread); a
filter selects; a wrong one is refused; a traced run is the same run.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile

# Long mode at 1 MiB with the low 4 GiB mapped: loads, INVLPG, CR3 loads, then a store to where
# nothing is mapped; without an IDT that is a triple fault.
GUEST = bytes.fromhex(
    "b910000000"      # mov ecx, 16
    "b800003000"      # 1: mov eax, 0x300000
    "8b18"            # mov ebx, [rax]
    "8918"            # mov [rax], ebx
    "0f0138"          # invlpg [rax]
    "0f20da"          # mov rdx, cr3
    "0f22da"          # mov cr3, rdx
    "e2ec"            # loop 1b
    "48b80000000010000000"  # mov rax, 0x1000000000
    "8918"            # mov [rax], ebx
    "f4")             # hlt
TRIPLE_FAULT = 9
BAD_COMMAND_LINE = 2

failures = []


def check(condition, text):
    if not condition:
        failures.append(text)
        print(f"FAILED: {text}")


def gnomon(*options):
    command = [os.environ["GNOMON_BINARY"], "-nographic", "-icount", "shift=0", "-mmu", "flush", "-machine",
               "pc,kernel-entry=flat64", "-kernel", "guest.bin", *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=100, check=False)


def trace(name, form, expression=""):
    subject = f"mmu:{expression}" if expression else "mmu"
    result = gnomon("-trace", f"{subject},file={name},format={form}")
    check(result.returncode == TRIPLE_FAULT,
          f"{name}: status {result.returncode}\n{result.stderr}")
    with open(name, encoding="utf-8") as file:
        return file.read()


def check_chrome(text):
    events = json.loads(text)
    check(isinstance(events, list) and events, "the Chrome trace is no array, or empty")
    open_slices = collections.defaultdict(list)
    last = 0
    for event in events:
        missing = {"name", "cat", "ph", "ts", "pid", "tid", "args"} - event.keys()
        check(not missing, f"{event} has no {missing}")
        check(isinstance(event["ts"], int) and event["ts"] >= last, f"{event}: time runs backwards")
        last = event["ts"]
        check(isinstance(event["args"], dict), f"{event}: args is no object")
        thread = open_slices[event["pid"], event["tid"]]
        if event["ph"] == "B":
            thread.append(event["name"])
        elif event["ph"] == "E":
            check(thread and thread.pop() == event["name"], f"{event} ends nothing")
        else:
            check(event["ph"] == "i" and event.get("s") in ("g", "p", "t"), f"{event}: phase")
    check(not any(open_slices.values()), "a slice does not end")
    return [event["args"]["kind"] for event in events]


def check_json(text):
    kinds = []
    for number, line in enumerate(text.splitlines()):
        event = json.loads(line)
        check(event["sequence"] == number, f"line {number + 1} has number {event['sequence']}")
        kinds.append(event["kind"])
    return kinds


def check_text(text):
    line_form = re.compile(r"\d+ cpu0 0x[0-9a-f]+ (\w+) .+")
    kinds = []
    for line in text.splitlines():
        match = line_form.fullmatch(line)
        check(match, f"not a line of the text format: {line}")
        check("{" not in line and "?" not in line, f"a field is missing: {line}")
        kinds.append(match.group(1) if match else "")
    return kinds


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open("guest.bin", "wb") as file:
            file.write(GUEST)
        chrome = check_chrome(trace("chrome.json", "chrome"))
        lines = check_json(trace("lines.json", "json"))
        text = check_text(trace("lines.txt", "text"))
        check(chrome == lines == text, "the formats tell different events")
        counts = collections.Counter(chrome)
        check(counts["invlpg"] == 16, f"{counts['invlpg']} INVLPG")
        check(counts["cr3_load"] >= 16, f"{counts['cr3_load']} CR3 loads")
        check(counts["page_fault"] >= 1, "no page fault")
        check(counts["walk_start"] == counts["walk_end"] >= 16, "walks")

        some = check_chrome(trace("some.json", "chrome", "kind==invlpg && va==0x300000"))
        check(some == ["invlpg"] * 16, f"the filter gave {some}")
        fault = json.loads(trace("fault.json", "json", "kind==fault").splitlines()[0])
        check(fault["va"] == "0x1000000000" and fault["access"] == "write" and
              fault["error"] == "0x2" and fault["cause"] == "not_present" and
              fault["rip"] == hex(0x100000 + len(GUEST) - 3), f"the fault is {fault}")

        bad = gnomon("-trace", "mmu:kind==nonsense,file=bad.txt")
        check(bad.returncode == BAD_COMMAND_LINE and "column 7" in bad.stderr,
              f"a wrong filter: status {bad.returncode}, {bad.stderr}")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
