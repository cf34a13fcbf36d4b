#!/usr/bin/env python3
"""Writes docs/where-is.md and docs/cpu-features.md from the tables of the source.

    docs/where_is.py           writes both files
    docs/where_is.py --check   fails if one of them is not what would be written

The tables are expanded by the C preprocessor (CC, or cc). Places are file and function, not lines,
so that the files change only when something moves.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CC = os.environ.get("CC") or "cc"
LAYERS = ("base", "mmu", "cpu", "devices", "vmm", "machine", "frontend")
GENERATED = "<!-- Written by docs/where_is.py: do not edit. -->\n"
MANY = 12  # more functions than that are given as files


# --- Reading the source ---------------------------------------------------------------------------

def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def sources(folders=LAYERS, endings=(".c", ".h")):
    found = []
    for top in folders:
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            found += [os.path.relpath(os.path.join(folder, name), ROOT)
                      for name in names if name.endswith(endings)]
    return sorted(found)


def preprocess(text):
    """The text as the C preprocessor leaves it, without #line marks."""
    return subprocess.run([CC, "-E", "-P", "-I.", "-D_GNU_SOURCE", "-x", "c", "-"], cwd=ROOT,
                          input=text, text=True, check=True, capture_output=True).stdout


def without_comments(text):
    """Comments blanked; line structure kept."""
    return re.sub(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*',
                  lambda m: m.group(0) if m.group(0)[0] == '"' else re.sub(r"[^\n]", " ", m.group(0)),
                  text, flags=re.S)


def arguments(text, start):
    """The arguments of the call whose opening parenthesis is at start; and where it ends."""
    depth, begin, quoted, result = 0, start + 1, False, []
    for at in range(start, len(text)):
        c = text[at]
        if c == '"' and text[at - 1] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif c in "({[":
            depth += 1
        elif c in ")}]":
            depth -= 1
            if depth == 0:
                result.append(" ".join(text[begin:at].split()))
                return result, at + 1
        elif c == "," and depth == 1:
            result.append(" ".join(text[begin:at].split()))
            begin = at + 1
    raise SystemExit(f"unbalanced: {text[start:start + 60]}")


def calls(text, name):
    """The argument lists of all calls of a macro or function, with their offsets."""
    for match in re.finditer(r"\b" + name + r"\s*\(", text):
        yield arguments(text, match.end() - 1)[0], match.start()


def string(literals):
    """The value of C string literals written one after another."""
    parts = re.findall(r'"((?:\\.|[^"\\])*)"', literals)
    return "".join(parts).replace("\\n", " ").replace('\\"', '"')


def number(expression):
    if not re.fullmatch(r"[0-9a-fA-FxXuUlL+\-*()<|&~ ]+", expression):
        return None
    return int(eval(re.sub(r"(?<=[0-9a-fA-F])[uUlL]+\b", "", expression)))  # digits and operators


class File:
    """A source file with the extent of its functions."""

    def __init__(self, path):
        self.path = path
        self.text = without_comments(read(path))
        self.functions = []  # (start, end, name)
        for match in re.finditer(r"^\{", self.text, re.M):
            head = self.text[:match.start()].rstrip()
            head = head[max(head.rfind("\n\n"), head.rfind("\n}"), head.rfind("\n#"), 0):].strip()
            name = re.search(r"\b(\w+)\s*\(", head)
            end = self.text.find("\n}", match.start())
            if name and ";" not in head:
                called = name.group(1)
                if called == "OP":
                    called = "op_" + head[name.end():].split(")")[0].strip()
                self.functions.append((match.start(), end, called))

    def function_at(self, offset):
        for start, end, name in self.functions:
            if start <= offset <= end:
                return name
        return None


class Tree:
    def __init__(self):
        self.files = {path: File(path) for path in sources()}
        self.defined = {}
        for file in self.files.values():
            for _, _, name in file.functions:
                self.defined.setdefault(name, []).append(file.path)

    def where(self, function):
        return ", ".join(self.defined.get(function, [])) or "?"

    def uses(self, pattern, folders, skip=()):
        """Files with the functions in which the pattern occurs: {path: [function]}."""
        found = {}
        for path, file in self.files.items():
            if not path.startswith(tuple(f + "/" for f in folders)) or path in skip:
                continue
            for match in re.finditer(pattern, file.text):
                function = file.function_at(match.start())
                names = found.setdefault(path, [])
                if function and function not in names:
                    names.append(function)
        return found


def places(uses):
    if sum(len(names) or 1 for names in uses.values()) > MANY:
        return ", ".join(uses)
    return "; ".join(path + (": " + ", ".join(f"`{n}`" for n in names) if names else "")
                     for path, names in uses.items()) or "–"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


# --- Instructions ---------------------------------------------------------------------------------

INSN_COLUMNS = ("id", "mnemonic", "map", "opcode", "prefix", "modrm", "modes", "size", "operands",
                "feature", "fr", "fw", "fu", "attrs", "ops", "policy", "manual")
MODES = {"IN_ALL": "", "IN_NO64": "not 64-bit", "IN_64": "64-bit", "IN_PROT": "protected",
         "IN_PROT_NO64": "protected, not 64-bit", "IN_NO_B": "without REX.B"}


def insn_rows():
    text = preprocess('#include "cpu/ops/ops.h"\n#include "cpu/insn.def"\n')
    rows = []
    for values, _ in calls(text, "INSN"):
        if len(values) != len(INSN_COLUMNS):
            raise SystemExit(f"cpu/insn.def: a row with {len(values)} columns: {values}")
        row = dict(zip(INSN_COLUMNS, values))
        row["mnemonic"], row["operands"] = string(row["mnemonic"]), string(row["operands"])
        row["functions"] = list(dict.fromkeys(re.findall(r"\bop_\w+", row["ops"])))
        rows.append(row)
    return rows


def encoding(row):
    words = []
    if row["prefix"] in ("PFX_66", "PFX_F2", "PFX_F3", "PFX_NP"):
        words.append(row["prefix"][4:])
    words += row["map"][4:].replace("1B", "").replace("0F3", "0F_3").split("_")
    opcode = number(row["opcode"])
    words.append(f"{opcode:02X}" + ("+r" if re.search(r"\bZ[bv]", row["operands"]) else ""))
    value = re.search(r"\((.*)\)", row["modrm"])
    if value and row["modrm"].startswith("EXACT"):
        words.append(f"{number(value.group(1)):02X}")
    elif value:
        words.append(f"/{number(value.group(1))}")
    elif row["modrm"] != "NO_MODRM":
        words.append("/r")
    words.append({"M": "mem", "R": "reg"}.get(row["modrm"][0], ""))
    return " ".join(w for w in words if w)


def op_files():
    """{op function: file}; op functions are made by macros, so the preprocessor tells."""
    found = {}
    for path in sources(("cpu",), (".c",)):
        if "ops.h" not in read(path) and "/ops/" not in path:
            continue
        text = preprocess(read(path))
        for name in re.findall(r"\bvoid (op_\w+)\(struct vcpu \*cpu\b[^;{]*\{", text):
            found[name] = path
    return found


def common_name(names):
    """op_inc_r8, op_inc_m8 -> op_inc_{r8,m8}"""
    if len(names) < 2:
        return "`" + "".join(names) + "`"
    prefix = os.path.commonprefix(names)
    prefix = prefix[:prefix.rfind("_") + 1]
    return f"`{prefix}{{{','.join(n[len(prefix):] for n in names)}}}`"


def instructions(rows, features):
    files = op_files()
    lines = []
    for row in sorted(rows, key=lambda r: (r["mnemonic"], INSN_ORDER[r["map"]], number(r["opcode"]))):
        lost = [name for name in row["functions"] if name not in files]
        if lost:
            raise SystemExit(f"cpu/insn.def: {row['id']}: no definition of {lost} found")
        gate = features.get(row["feature"][8:], ("",))[0]
        lines.append((row["mnemonic"], row["id"], encoding(row), row["operands"],
                      " ".join(w for w in (MODES[row["modes"]], "" if gate == "base" else gate,
                                           "CPL 0" if "A_CPL0" in row["attrs"] else "") if w),
                      common_name(row["functions"]),
                      ", ".join(sorted({files[n] for n in row["functions"]}))))
    return table(("mnemonic", "row", "encoding", "operands", "only", "op function", "file"), lines)


INSN_ORDER = {}


# --- CPUID ----------------------------------------------------------------------------------------

def cpu_features():
    """{NAME: (word, leaf, subleaf, register, bit)} in the order of the table."""
    text = preprocess('#include "cpu/insn.h"\nCPU_FEATURES(FEATURE_ROW)\n')
    return {v[0]: (string(v[1]), int(v[2], 0), int(v[3], 0), v[4], int(v[5]))
            for v, _ in calls(text, "FEATURE_ROW")}


def leaf_text(leaf, subleaf, register, bit):
    return f"{leaf:X}h" + (f"/{subleaf}" if subleaf else "") + f" {register}[{bit}]"


def feature_places(tree, rows, features):
    lines = []
    for name, (word, *bit) in features.items():
        if name == "BASE":
            continue
        gated = sorted({r["mnemonic"] for r in rows if r["feature"] == "FEATURE_" + name})
        shown = ", ".join(gated) if len(gated) <= 8 else f"{len(gated)} mnemonics"
        uses = tree.uses(r"\bFEATURE_" + name + r"\b", ("cpu", "machine"))
        lines.append((word, leaf_text(*bit), shown or "–", places(uses)))
    return table(("feature", "CPUID", "gates", "looked at in"), lines)


def cpuid_leaves(tree):
    file = tree.files["cpu/cpuid.c"]
    lines = []
    for start, end, name in file.functions:
        if not name.startswith("leaf_"):
            continue
        body = file.text[start:end]
        for match in re.finditer(r"\bcase (0x[0-9a-f]+|\d+)u?:", body):
            after = re.match(r"(?:\s*case \w+:)*\s*(\w+)\(", body[match.end():])
            function = after.group(1) if after and after.group(1).startswith("leaf_") else name
            lines.append((int(match.group(1), 0), function))
    return table(("leaf", "function"), [(f"{leaf:X}h", f"`{function}` cpu/cpuid.c")
                                        for leaf, function in sorted(lines)])


def cpu_models(features):
    """[(name, description, vendor, signature, physical bits, {feature})]"""
    text = preprocess(read("cpu/cpuid.c"))
    start = text.index("const struct cpu_model cpu_models[] =")
    rows, _ = arguments(text, text.index("{", start))
    models = []
    for row in filter(None, rows):
        name, description, vendor, brand, signature, bits, mask = arguments(row, 0)[0][:7]
        models.append((string(name), string(description), string(vendor), string(brand),
                       number(signature), number(bits),
                       set(re.findall(r"FEATURE_(\w+)", mask)) & set(features)))
    return models


def cpu_features_page(features, models):
    always = re.search(r"/\* Always there: ([A-Z0-9 ]+)", read("cpu/cpuid.c"))
    text = GENERATED + """# Processor models

What CPUID claims by `-cpu MODEL`; `-cpu MODEL,+word,-word` switches single features. A model never
claims what Gnomon does not have, so a dot may mean "not part of this model" as well as "nobody
needs it yet". An instruction whose feature is off raises #UD.

"""
    text += table(("model", "what", "vendor", "signature (leaf 1 EAX)", "physical address bits"),
                  [(f"`{m[0]}`", m[1], m[2], f"{m[4]:X}h", str(m[5])) for m in models])
    text += "\n"
    text += table(["feature", "CPUID"] + [f"`{m[0]}`" for m in models],
                  [[f"`{word}`", leaf_text(*bit)] + ["yes" if name in m[6] else "·" for m in models]
                   for name, (word, *bit) in features.items() if name != "BASE"])
    text += f"\nIn every model, without a word of its own: {always.group(1).strip()} (leaf 1 EDX).\n"
    return text


# --- System features ------------------------------------------------------------------------------

def checked_test(word):
    """A file below tests/ with names of cases, as documentation; fails if something is not there."""
    path, _, cases = word.partition(":")
    path = "tests/" + path.strip()
    text = read(path) if os.path.exists(os.path.join(ROOT, path)) else None
    if text is None:
        raise SystemExit(f"docs/system-features.txt: there is no {path}")
    names = list(filter(None, (case.strip() for case in cases.split(","))))
    for name in names:
        if f'{{"{name}"' not in text and not re.search(r"\b" + name + r"\b", text):
            raise SystemExit(f"docs/system-features.txt: {path} has no case '{name}'")
    return path + (": " + ", ".join(names) if names else "")


def system_features(tree, rows):
    lines, named = [], set()
    ops = {name for row in rows for name in row["functions"]}
    for line in read("docs/system-features.txt").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        feature, manual, mnemonics, functions, tests = (part.strip() for part in line.split("|"))
        named.update(word.strip() for word in mnemonics.split(","))
        where = {}
        for function in filter(None, (word.strip() for word in functions.split(","))):
            if function not in tree.defined and function not in ops:
                raise SystemExit(f"docs/system-features.txt: there is no function {function}")
            where.setdefault(tree.where(function), []).append(function)
        lines.append((feature, manual, mnemonics,
                      "; ".join(path + ": " + ", ".join(f"`{n}`" for n in names)
                                for path, names in where.items()),
                      "; ".join(checked_test(word) for word in tests.split(";"))))
    missing = {r["mnemonic"] for r in rows if "A_CPL0" in r["attrs"]} - named
    if missing:
        raise SystemExit(f"docs/system-features.txt: no line names {sorted(missing)}")
    return table(("feature", "SDM", "instructions", "code", "tests"), lines)


# --- Other tables ---------------------------------------------------------------------------------

def msrs(tree):
    lines = []
    for values, _ in calls(without_comments(read("cpu/msr.def")), "MSR"):
        def how(text, kind):
            call = re.match(r"(\w+)(?:\((.*)\))?$", text)
            word, rest = call.group(1), call.group(2) or ""
            return {"CALL": f"`msr_{rest}_{kind}`", "FIELD": f"vcpu.{rest}", "CONST": rest,
                    "ANY": f"vcpu.{rest}", "CANON": f"vcpu.{rest}, canonical",
                    "MASK": f"vcpu.{rest.replace(', ', ', bits ')}", "IGNORE": "ignored",
                    "ZERO_OR_ONES": f"vcpu.{rest}, 0 or all ones",
                    "BASE": f"vcpu.{rest}, checked", "RANGE": f"vcpu.{rest}, checked",
                    "TYPES": f"vcpu.{rest}, checked", "DEFAULT": f"vcpu.{rest}, checked",
                    "REFUSE": "#GP"}[word]
        lines.append((f"{int(values[0], 0):X}h", values[1], how(values[2], "read"),
                      how(values[3], "write")))
    text = table(("MSR", "name", "RDMSR", "WRMSR"), lines)
    local = re.findall(r"#define (MSR_(?:APIC_BASE|TSC_DEADLINE|X2APIC_FIRST|X2APIC_LAST))\s+0x(\w+?)u",
                       read("cpu/msr.c"))
    numbers = {name: value.upper() + "h" for name, value in local}
    return text + (f"\nMSRs {numbers['MSR_APIC_BASE']}, {numbers['MSR_TSC_DEADLINE']} and "
                   f"{numbers['MSR_X2APIC_FIRST']} to {numbers['MSR_X2APIC_LAST']} belong to the local "
                   f"APIC: `lapic_msr_read` and `lapic_msr_write` in {tree.where('lapic_msr_read')}, "
                   "through vcpu_platform.apic_msr_read and apic_msr_write.\n")


def exceptions(tree):
    enum = re.search(r"enum exception_vector \{(.*?)\}", tree.files["cpu/cpu.h"].text, re.S).group(1)
    lines = []
    for name, vector in re.findall(r"EXC_(\w+) = (\d+)", enum):
        uses = tree.uses(r"\bEXC_" + name + r"\b", ("cpu",), ("cpu/cpu.h", "cpu/exception.c"))
        lines.append((vector, ("#" if name != "NMI" else "") + name, places(uses)))
    return table(("vector", "exception", "raised or taken in"), lines)


def mmu_events(tree):
    lines = []
    for values, _ in calls(preprocess("#include \"mmu/events.h\"\n#define FIELD_NONE\n"
                                      "#define MMU_EVENT(id, group, word, fields, format, manual) "
                                      "ROW(id, group, word, manual)\n#define MMU_CAUSE(id, word)\n"
                                      "#include \"mmu/events.def\"\n"), "ROW"):
        uses = tree.uses(r"\bMMU_EVENT_" + values[0] + r"\b", ("mmu", "cpu", "machine"),
                         ("mmu/events.c", "mmu/event_filter.c", "mmu/event_fields.c"))
        lines.append((f"`{string(values[2])}`", values[1], string(values[3]), places(uses)))
    return table(("event", "group", "SDM 3A", "posted in"), lines)


def constants(tree, path):
    """#define NAME number, of a file and of the headers it includes."""
    text, found = read(path), {}
    for header in [path] + re.findall(r'#include "([^"]+)"', text):
        for name, value in re.findall(r"^#define (\w+)\s+([^\s/]+)", read(header), re.M):
            found.setdefault(name, value)
    return found


def value_of(expression, known, depth=0):
    expression = re.sub(r"^gpa\((.*)\)$", r"\1", expression)
    if depth > 5:
        return None
    replaced = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: known.get(m.group(0), m.group(0)), expression)
    if replaced == expression:
        return number(expression)
    return value_of(replaced, known, depth + 1)


def region_ops(text):
    """{variable: (read, write)} and, for rows of a table of regions, {constant: (read, write)}."""
    by_name = {m[0]: m[1:] for m in re.findall(
        r'struct bus_region_ops (\w+) = \{\s*"[^"]*",\s*(\w+),\s*(\w+)', text)}
    rows = re.findall(r'\{(\w+), \{"[^"]*", (\w+), (\w+), \d\}\}', text)
    return by_name, rows


def regions(tree, call):
    lines = []
    for path, file in tree.files.items():
        if not path.startswith(("devices/", "machine/")):
            continue
        known = constants(tree, path)
        by_name, rows = region_ops(file.text)
        for values, offset in calls(file.text, call):
            creator = file.function_at(offset)
            if creator is None or len(values) < 5:
                continue
            _, base, size, ops = values[:4]
            entries = [(base, by_name.get(ops.lstrip("&"), None))]
            if ".port" in base:
                entries = [(name, (reader, writer)) for name, reader, writer in rows]
            for expression, handlers in entries:
                start, length = value_of(expression, known), value_of(size, known)
                if start is None:
                    shown = f"`{expression}`" + (f" + {length:X}h" if length else "")
                else:
                    shown = f"{start:X}h" + (f"–{start + length - 1:X}h" if (length or 1) > 1 else "")
                names = ", ".join(f"`{n}`" for n in handlers) if handlers else f"`{ops}`"
                lines.append((start if start is not None else 1 << 64, shown, path, names,
                              f"`{creator}`"))
    return table(("where", "device", "read, write", "registered by"), [r[1:] for r in sorted(lines)])


def options(tree):
    text = without_comments(read("frontend/options.def"))
    lines = []
    for match in re.finditer(r"^(OPTION|ALIAS|ACCEPT|LATER|NEVER)\(", text, re.M):
        values, _ = arguments(text, match.end() - 1)
        name = "`-" + string(values[0]) + "`"
        if match.group(1) == "OPTION":
            lines.append((name, f"`{values[2]}`", tree.where(values[2])))
        elif match.group(1) == "ALIAS":
            lines.append((name, f"as `-{string(values[1])}`", ""))
        else:
            kind = {"ACCEPT": "accepted, no effect", "LATER": "refused: not there yet",
                    "NEVER": "refused"}
            lines.append((name, f"{kind[match.group(1)]} ({string(values[2])})",
                          "frontend/options.def"))
    return table(("option", "handler", "file"), lines)


def exit_statuses(tree):
    lines = []
    for values, _ in calls(without_comments(read("frontend/exit_codes.def")), "X"):
        uses = tree.uses(r"\bEXIT_STATUS_" + values[0] + r"\b", ("frontend", "machine"))
        lines.append((values[1], values[0], string(values[2]), places(uses)))
    return table(("status", "name", "meaning", "returned in"), lines)


def log_categories(tree):
    text = preprocess('#include "base/log.h"\nLOG_CATEGORIES(CATEGORY)\n')
    lines = []
    for values, _ in calls(text, "CATEGORY"):
        uses = tree.uses(r"\bLOG_" + values[0] + r"\b", LAYERS, ("base/log.h",))
        lines.append((f"`{string(values[1])}`", string(values[2]), ", ".join(uses) or "–"))
    return table(("-d", "what", "written in"), lines)


# --- Pages ----------------------------------------------------------------------------------------

def where_is_page(tree, rows, features):
    INSN_ORDER.update({name: n for n, name in enumerate(dict.fromkeys(
        re.findall(r"\bMAP_\w+", read("cpu/insn.h"))))})
    parts = (
        ("Instructions", "One line for each row of cpu/insn.def; the encoding is SDM 2A's notation, "
         "the operands are those of SDM 2D appendix A.", instructions(rows, features)),
        ("System features", "What the processor does beside plain instructions, with its tests: "
         "docs/system-features.txt.", system_features(tree, rows)),
        ("Model-specific registers", "The rows of cpu/msr.def; functions are in cpu/msr.c.", msrs(tree)),
        ("CPUID leaves", "All others read as zero but for feature bits.", cpuid_leaves(tree)),
        ("CPUID features", "The table CPU_FEATURES in cpu/insn.h; which model has which: "
         "[cpu-features.md](cpu-features.md).", feature_places(tree, rows, features)),
        ("Exceptions", "Delivery is `event_deliver` in cpu/exception.c.", exceptions(tree)),
        ("Events of the memory-management unit", "The rows of mmu/events.def.", mmu_events(tree)),
        ("I/O ports", "A base in code style is an argument or a register, not a constant.",
         regions(tree, "bus_add_ports")),
        ("Memory-mapped registers", "BARs of PCI functions: `pci_set_bar`.",
         regions(tree, "bus_add_mmio")),
        ("Command-line options", "The rows of frontend/options.def.", options(tree)),
        ("Exit statuses", "The rows of frontend/exit_codes.def.", exit_statuses(tree)),
        ("Log categories", "The table LOG_CATEGORIES in base/log.h.", log_categories(tree)),
    )
    text = GENERATED + "# Where is ...?\n\nEvery entry of every table of the source, and the code behind it.\n\n"
    text += "".join(f"- [{title}](#{re.sub('[^a-z0-9-]', '', title.lower().replace(' ', '-'))})\n"
                    for title, _, _ in parts)
    for title, intro, body in parts:
        text += f"\n## {title}\n\n{intro}\n\n{body}"
    return text


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        raise SystemExit(__doc__)
    tree, rows, features = Tree(), insn_rows(), cpu_features()
    pages = {"docs/where-is.md": where_is_page(tree, rows, features),
             "docs/cpu-features.md": cpu_features_page(features, cpu_models(features))}
    failed = False
    for path, text in pages.items():
        if not check:
            with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
                file.write(text)
        elif not os.path.exists(os.path.join(ROOT, path)) or read(path) != text:
            print(f"{path} is out of date: run docs/where_is.py")
            failed = True
    return 1 if failed else 0


sys.exit(main())
