"""From measurements to ratios, and to a table for people."""

import math

from measure import median_of


def geometric_mean(values):
    values = [v for v in values if v > 0]
    if not values:
        return None
    return math.exp(sum(math.log(v) for v in values) / len(values))


def over(results, clock, above, below):
    """Time of one peer over that of another: per program, per kind, for all."""
    ratios, kinds = {}, {}
    for name, row in results[above]["programs"].items():
        base = results[below]["programs"].get(name)
        if base is None or base["units"] != row["units"] or median_of(base, clock) <= 0:
            continue
        ratios[name] = median_of(row, clock) / median_of(base, clock)
        kinds.setdefault(row["kind"], []).append(ratios[name])
    return {"programs": ratios,
            "kinds": {kind: geometric_mean(values) for kind, values in kinds.items()},
            "all": geometric_mean(list(ratios.values()))}


def ratios_of(results, clock):
    """Each peer over native, and each other emulator over ours (above 1: ours is faster)."""
    ratios = {"over_native": {}, "over_gnomon": {}}
    for name in results:
        if "native" in results and name != "native":
            ratios["over_native"][name] = over(results, clock, name, "native")
        if "gnomon" in results and name not in ("native", "gnomon"):
            ratios["over_gnomon"][name] = over(results, clock, name, "gnomon")
    return ratios


def checksum_differences(results):
    """Programs whose result is not the same everywhere."""
    found = {}
    for name, result in results.items():
        for program, row in result["programs"].items():
            found.setdefault(program, {}).setdefault((row["checksum"], row["units"]), []) \
                 .append(name)
    return [f"{program}: " + "; ".join(f"{', '.join(names)}: {checksum}"
                                       for (checksum, _), names in groups.items())
            for program, groups in found.items() if len(groups) > 1]


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def program_table(document):
    results, ratios = document["peers"], document["ratios"]
    emulators = [n for n in results if n != "native" and results[n]["programs"]]
    others = [n for n in emulators if n in ratios["over_gnomon"]]
    header = ["program", "kind", "native ms"] + emulators + \
        [f"{n}/gnomon" for n in others]
    rows, seen = [], {}
    for result in results.values():
        for program, row in result["programs"].items():
            seen.setdefault(program, row["kind"])

    def cells(group, key):
        def get(base, peer):
            chosen = ratios[base].get(peer, {})
            return chosen.get("all") if group is None else chosen.get(group, {}).get(key)
        if "native" in results:
            first = [number(get("over_native", n)) for n in emulators]
        else:
            first = [number(median_of(results[n]["programs"][key], document["clock"]))
                     if group == "programs" and key in results[n]["programs"] else "-"
                     for n in emulators]
        return first + [number(get("over_gnomon", n)) for n in others]

    for program, kind in seen.items():
        native = results.get("native", {"programs": {}})["programs"].get(program)
        time = number(median_of(native, document["clock"]) * 1000) if native else "-"
        rows.append([program, kind, time] + cells("programs", program))
    for kind in dict.fromkeys(seen.values()):
        rows.append(["geometric mean", kind, ""] + cells("kinds", kind))
    rows.append(["geometric mean", "all", ""] + cells(None, None))
    return render(header, rows)


def boot_table(document):
    rows = []
    for name, result in document["peers"].items():
        memory = result["memory"]
        for boot, times in result["boot"].items():
            rows.append([name, boot, number(median_of(times, "wall")),
                         number(median_of(times, "cpu")), str(len(times["wall"]))] +
                        [f"{memory[when]['own_kib'] / 1024:.0f}" if when in memory else "-"
                         for when in ("boot", "programs")])
    return render(["peer", "boot", "wall s", "cpu s", "runs", "own MiB", "later"], rows)


def render(header, rows):
    widths = [max(len(row[n]) for row in [header] + rows) for n in range(len(header))]
    lines = []
    for row in [header] + rows:
        cells = [cell.ljust(w) if n < 2 else cell.rjust(w)
                 for n, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def text(document):
    """The whole report. Ratios are times over native; the last columns are times over Gnomon's."""
    host = document["host"]
    parts = [f"{document['date']}, {host.get('cpu', '?')}, {host['usable_cores']} cores, load "
             f"{document['load_before']:.1f} to {document['load_after']:.1f}, scale "
             f"{document['scale']} %, {document['clock']} time"]
    parts += [f"{name}: {result['version']}" for name, result in document["peers"].items()]
    if any(result["programs"] for result in document["peers"].values()):
        parts += ["", program_table(document)]
    if any(result["boot"] for result in document["peers"].values()):
        parts += ["", boot_table(document)]
    for name, result in document["peers"].items():
        if "error" in result:
            parts += ["", f"{name} FAILED: {result['error']}"]
    parts += [f"DIFFERENT CHECKSUMS: {d}" for d in document["checksum_differences"]]
    return "\n".join(parts)
