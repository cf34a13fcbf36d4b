"""Tables of tests/bench/smp: from records of all rounds to medians and ratios."""

import statistics

from report import geometric_mean, number, render

SHOOTDOWN = "shootdown"
EXCHANGE = "exchange"
CONTENTION = "contention"
SCALING = "scaling"
OPS = 100  # of a unit, in all but the programs that are copied

# Programs by table, as guest/shootdown.c and guest/parallel.c have them.
PROGRAMS = {
    SHOOTDOWN: [f"shootdown_{what}{companion}" for what in ("protect", "unmap")
                for companion in ("", "_process", "_asleep")],
    EXCHANGE: ["futex_apart", "futex_together", "pipe_apart", "pipe_together"],
    CONTENTION: ["counter", "counter_cmpxchg", "mutex"],
}


def copies_key(program, copies):
    return f"{program} x{copies}"


def operations(table, record, processors):
    return record["units"] * OPS * (processors if table == CONTENTION else 1)


def known(records):
    """Without what failed, or was over before the runner saw that it had begun."""
    return [r for r in records if r is not None and r["wall"] > 0]


def pairs(one, other):
    """Both records of the rounds that have both."""
    return [(a, b) for a, b in zip(one, other) if len(known([a, b])) == 2]


def mean(records):
    """One record of several of the same work, with the means of all times; None where one failed."""
    if None in records:
        return None
    numbers = [key for key, value in records[0].items() if isinstance(value, float)]
    return {**records[0], **{key: statistics.mean(r[key] for r in records) for key in numbers}}


def median(values):
    values = list(values)
    return statistics.median(values) if values else None


def time_table(document, table, unit, shown):
    """A row for each program: shown(seconds of one operation), and ratios of times, pair by pair,
    to the first peer."""
    names, processors = list(document["peers"]), document["processors"]
    first = names[0]
    rows, found = [], {}

    def each(record):
        return record["wall"] / operations(table, record, processors)

    for program in PROGRAMS[table]:
        records = document["records"].get(program)
        if records is None:
            continue
        found[program] = records
        medians = [median(each(r) for r in known(records.get(n, []))) for n in names]
        ratios = [median(each(a) / each(b)
                         for a, b in pairs(records.get(n, []), records.get(first, [])))
                  for n in names[1:]]
        rows.append([program, unit] + [number(None if m is None else shown(m)) for m in medians] +
                    [number(r) for r in ratios])
    if table == SHOOTDOWN:
        rows += share_rows(found, names, unit, shown, each)
    if not rows:
        return []
    return ["", render([table, ""] + names + [f"{n}/{first}" for n in names[1:]], rows)]


def share_rows(found, names, unit, shown, each):
    """What other processors that hold translations add to those that are only busy."""
    rows = []
    for what in ("protect", "unmap"):
        busy = found.get(f"shootdown_{what}")
        other = found.get(f"shootdown_{what}_process")
        if busy is None or other is None:
            continue
        cells = []
        for name in names:
            added = median(each(a) - each(b)
                           for a, b in pairs(busy.get(name, []), other.get(name, [])))
            cells.append("-" if added is None else f"{shown(added):.1f}")
        rows.append([f"added by it, {what}", unit] + cells)
    width = 2 + 2 * len(names) - 1
    return [row + [""] * (width - len(row)) for row in rows]


def throughputs(document, program, name):
    """By round: of all copies at once over that of one alone. None where one is missing."""
    processors, records = document["processors"], document["records"]
    alone = records.get(copies_key(program, 1), {}).get(name, [])
    copies = records.get(copies_key(program, processors), {}).get(name, [])
    return [processors * a["wall"] / c["wall"] if len(known([a, c])) == 2 else None
            for a, c in zip(alone, copies)]


def over_native(document, program, name):
    return [a / b for a, b in zip(throughputs(document, program, name),
                                  throughputs(document, program, "native"))
            if a is not None and b is not None]


def scaling_row(document, program, name):
    records, processors = document["records"], document["processors"]
    ratios = [t for t in throughputs(document, program, name) if t is not None]
    if not ratios:
        return None

    def column(copies, value):
        rows = known(records[copies_key(program, copies)].get(name, []))
        return median(value(r) for r in rows)

    def unit(record):
        return record["wall"] / record["units"]

    def others(record):
        return record["others"]

    together = known(records[copies_key(program, processors)].get(name, []))
    uneven = median(max(r["copies"]) / min(r["copies"]) for r in together
                    if min(r.get("copies", [0])) > 0)  # older runs have not told
    efficiency = median(processors * a["cpu"] / c["cpu"]
                        for a, c in pairs(records[copies_key(program, 1)].get(name, []),
                                          records[copies_key(program, processors)].get(name, []))
                        if c["cpu"] > 0)
    return {"alone": column(1, unit), "copies": column(processors, unit),
            "ratio": median(ratios), "over_native": median(over_native(document, program, name)),
            "others": [column(1, others), column(processors, others)],
            "cores": column(processors, lambda record: record["cpu"] / record["wall"]),
            "efficiency": efficiency, "uneven": uneven,
            "stolen": column(processors, lambda record: record["stolen"])}


def scaling_of(document):
    """By peer and program; and the geometric means of each peer."""
    result = {}
    for name in document["peers"]:
        rows = {program: scaling_row(document, program, name) for program in document["scaling"]}
        rows = {program: row for program, row in rows.items() if row is not None}
        result[name] = {"programs": rows,
                        "ratio": geometric_mean([r["ratio"] for r in rows.values()]),
                        "over_native": geometric_mean([r["over_native"] for r in rows.values()
                                                       if r["over_native"] is not None])}
    return result


def scaling_table(document):
    rows = []
    scaling = scaling_of(document)
    for program in document["scaling"]:
        for name, peer in scaling.items():
            row = peer["programs"].get(program)
            if row is not None:
                rows.append([program, name, number(row["alone"] * 1e6),
                             number(row["copies"] * 1e6), number(row["ratio"]),
                             number(row["over_native"]), number(row["cores"]),
                             number(row["efficiency"]), number(row["uneven"])] +
                            [number(other) for other in row["others"]] +
                            [f"{row['stolen'] * 100:.0f}"])
    for name, peer in scaling.items():
        if peer["programs"]:
            rows.append(["geometric mean", name, "", "", number(peer["ratio"]),
                         number(peer["over_native"])] + [""] * 6)
    if not rows:
        return []
    count = document["processors"]
    return ["", render(["scaling", "", "alone us", f"{count} copies us", "throughput",
                        "over native", "cores", "efficiency", "uneven", "others",
                        f"others, {count}", "stolen %"], rows)]


def clock_line(document):
    """How guests' clocks went beside the host's, for work long enough to tell."""
    parts = []
    for name in document["peers"]:
        ratios = [r["guest"] / r["wall"] for records in document["records"].values()
                  for r in known(records.get(name, [])) if r["wall"] > 0.1]
        if name != "native" and ratios:
            parts.append(f"{name} {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return "guests' clocks over the host's: " + ", ".join(parts) if parts else ""


def text(document):
    host = document["host"]
    parts = [f"{document['date']}, {host.get('cpu', '?')}, {host['usable_cores']} cores, load "
             f"{document['load_before']:.1f} to {document['load_after']:.1f}, "
             f"{document['processors']} processors, {document['rounds']} rounds of "
             f"{document['seconds']:g} s in {document['boots']} boots"]
    parts += [f"{name}: {peer['version']}" for name, peer in document["peers"].items()]
    parts += time_table(document, SHOOTDOWN, "us", lambda s: s * 1e6)
    parts += time_table(document, EXCHANGE, "1000/s", lambda s: 1e-3 / s)
    parts += time_table(document, CONTENTION, "million/s", lambda s: 1e-6 / s)
    parts += scaling_table(document)
    parts += ["", clock_line(document)]
    for name, peer in document["peers"].items():
        if "error" in peer:
            parts += [f"{name} FAILED: {peer['error']}"]
    parts += [f"DIFFERENT CHECKSUMS: {d}" for d in document["checksum_differences"]]
    return "\n".join(parts)


def checksum_differences(records):
    """Programs whose result differs among peers that did the same amount of work."""
    found = []
    for program, peers in records.items():
        seen = {}
        for name, rows in peers.items():
            for r in rows:
                if r is not None:
                    seen.setdefault(r["units"], {}).setdefault(r["checksum"], set()).add(name)
        for units, sums in seen.items():
            if len(sums) > 1:
                found.append(f"{program}, {units} units: " +
                             "; ".join(f"{', '.join(sorted(n))}: {c}" for c, n in sums.items()))
    return found
