"""Machines that are kept at hand and asked, one after the other, to run a program
(guest/serve.c), and what else the host did meanwhile."""

import os
import time

from images import Failure
from measure import tail
from peers import Run

TICK = os.sysconf("SC_CLK_TCK")


def host_time():
    """Seconds of all processors of the host since its start: (busy, idle, stolen), from
    /proc/stat (proc(5))."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) / TICK for word in file.readline().split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, stolen = fields
    return user + nice + system + irq + softirq, idle + iowait, stolen


class Span:
    """What the host did between two moments."""

    def __init__(self):
        self.began, self.before = time.monotonic(), host_time()

    def end(self, own):
        """own: processor time in s that was ours. Returns the rest in processors, and shares."""
        took = time.monotonic() - self.began
        busy, idle, stolen = (b - a for a, b in zip(self.before, host_time()))
        whole = busy + idle + stolen
        return {"others": max(0.0, busy - own) / took if took > 0 else 0.0,
                "idle": idle / whole if whole > 0 else 0.0,
                "stolen": stolen / whole if whole > 0 else 0.0,
                "load": os.getloadavg()[0]}


class Asked:
    """One machine at hand. What goes wrong in it ends it, and is told in `failure`."""

    def __init__(self, peer, environment, timeout):
        self.peer, self.timeout = peer, timeout
        self.failure = None
        self.run = Run(peer, "user", {**environment, "BENCH_ASK": "1"}, timeout)
        self.lines = self.run.lines()
        self.guarded(self.until_asked, None)

    def guarded(self, work, *arguments):
        try:
            return work(*arguments)
        except Failure as e:
            self.failure = str(e)
        except OSError as e:
            self.failure = f"{e}:\n" + tail(self.run)
        self.end()
        return None

    def ask(self, program, copies, percent, first=0):
        """Returns a record of times in s, or None. copies: 0: the program as it is; first: the
        processor of the first copy."""
        if self.failure is not None:
            return None
        return self.guarded(self.request, f"{program} {copies} {percent} {first}\n")

    def request(self, text):
        self.run.deadline = time.monotonic() + self.timeout
        self.run.process.stdin.write(text.encode())
        self.run.process.stdin.flush()
        return self.until_asked(text)

    def until_asked(self, request):
        """Reads up to the next @ASK; times are those of the lines, see measure.py."""
        span, start, record, took, copies = None, (0.0, 0.0), None, None, []
        for line, wall, cpu in self.lines:
            words = line.split()
            if line.startswith("@S "):
                span, start = Span(), (wall, cpu)
            elif line == "@E":
                took = wall - start[0], cpu - start[1]
            elif line.startswith("@C "):
                copies.append(int(words[1]) / 1e9)
            elif line.startswith("@R ") and len(words) == 7 and took is not None:
                record = {**self.record(words, took, span), "copies": copies}
            elif line.startswith("@FAILED"):
                raise Failure(line)
            elif line == "@ASK":
                if request is not None and record is None:
                    raise Failure(f"no answer to: {request}")
                return record
        raise Failure("the guest ended too early:\n" + tail(self.run))

    def record(self, words, took, span):
        _, _, _, units, guest_ns, guest_cpu, checksum = words
        wall, cpu = took
        if self.peer.native:
            wall, cpu = int(guest_ns) / 1e9, int(guest_cpu) / 1e9
        return {"wall": wall, "cpu": cpu, "guest": int(guest_ns) / 1e9, "units": int(units),
                "checksum": checksum, **span.end(cpu)}

    def end(self):
        self.run.end()
        self.peer.clean()
