"""Runs the peers and collects what they do: boots, programs, memory."""

import os
import statistics

from images import Failure
from peers import MEMORY_MIB, PEERS, Run

NO_PROGRAM = "none"


def boot_once(peer, boot, options, result):
    """One boot without programs. Appends to result["boot"][boot]."""
    run = Run(peer, boot, {"BENCH_ONLY": NO_PROGRAM}, options.timeout)
    try:
        for line, wall, cpu in run.lines():
            if line == "@UP":
                note_boot(result, boot, run, wall, cpu)
                note_memory(result, "boot", run)
                return
        raise Failure("the guest ended before it was up:\n" + tail(run))
    finally:
        run.end()
        peer.clean()


def note_boot(result, boot, run, wall, cpu):
    times = result["boot"].setdefault(boot, {"wall": [], "cpu": []})
    times["wall"].append(wall - run.started)
    times["cpu"].append(cpu)


def note_memory(result, when, run):
    use = run.memory()
    if use is not None:
        total, guest = use
        result["memory"][when] = {"rss_kib": total, "guest_ram_kib": guest,
                                  "own_kib": total - guest}


def tail(run):
    return run.text[-2000:].decode("ascii", "replace")


def note_program(result, words, wall, cpu, native):
    """words: what the guest says after @R. Natively its clocks are the host's, and better: they
    know nothing of the runner's own delays."""
    name, kind, units, guest_ns, guest_cpu, checksum = words
    if native:
        wall, cpu = int(guest_ns) / 1e9, int(guest_cpu) / 1e9
    row = result["programs"].setdefault(name, {
        "kind": kind, "units": int(units), "checksum": checksum,
        "wall": [], "cpu": [], "guest": []})
    if row["checksum"] != checksum:
        raise Failure(f"{name}: checksum {checksum} after {row['checksum']}")
    row["wall"].append(wall)
    row["cpu"].append(cpu)
    row["guest"].append(int(guest_ns) / 1e9)


def run_programs(peer, options, result, repeat):
    """One guest that runs all programs. Its boot counts, too."""
    environment = {"BENCH_REPEAT": str(repeat), "BENCH_SCALE": str(options.scale)}
    if options.only:
        environment["BENCH_ONLY"] = options.only
    start, took = (0.0, 0.0), (0.0, 0.0)
    run = Run(peer, "user", environment, options.timeout)
    try:
        for line, wall, cpu in run.lines():
            words = line.split()
            if line == "@UP" and not peer.native:
                note_boot(result, "user", run, wall, cpu)
            elif line.startswith("@S "):
                options.say(f"  {words[1]} {words[2]}")
                start = wall, cpu
            elif line == "@E":
                took = wall - start[0], cpu - start[1]
            elif line.startswith("@R ") and len(words) == 7:
                note_program(result, words[1:], took[0], took[1], peer.native)
            elif line.startswith("@FAILED"):
                raise Failure(line)
            elif line == "@DONE":
                if not peer.native:
                    note_memory(result, "programs", run)
                return
        raise Failure("the guest ended too early:\n" + tail(run))
    finally:
        run.end()
        peer.clean()


def measure_peer(name, options):
    """Everything about one peer. A failure is told in it; what was measured before stays."""
    peer = PEERS[name](options)
    result = {"version": peer.version(), "boot": {}, "programs": {}, "memory": {},
              "load_before": os.getloadavg()[0]}
    repeat = 1 if name == "bochs" else options.repeat
    try:
        for boot in peer.boots:
            # The run of the programs brings one boot of the first kind.
            for _ in range(repeat - (boot == "user" and not options.boot_only)):
                options.say(f"{name}: boot ({boot})")
                boot_once(peer, boot, options, result)
        if not options.boot_only:
            options.say(f"{name}: programs")
            run_programs(peer, options, result, repeat)
    except Failure as e:
        result["error"] = str(e)
        options.say(f"{name}: {e}")
    result["load_after"] = os.getloadavg()[0]
    return result


def median_of(times, clock):
    return statistics.median(times[clock])


def host():
    """The host, as far as it bears on the figures."""
    described = {"machine": os.uname().machine, "kernel": os.uname().release,
                 "cores": os.cpu_count(), "usable_cores": len(os.sched_getaffinity(0)),
                 "guest_memory_mib": MEMORY_MIB}
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                described["cpu"] = line.split(":")[1].strip()
                break
    return described
