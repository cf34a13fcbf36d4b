#!/usr/bin/env python3
"""Sizes and shapes of source files.

Fails on: a file above 800 lines (.def excepted), a function above 80, mutable static or global
variables in the layers, tabs, trailing blanks, lines above 100 columns. Warns about more than one
#if per 1000 lines outside base/host/. Exceptions are rows of allow.txt beside this file:

    <rule> <path> <name or *>   # why
"""

import os
import re
import sys

from source_files import LAYERS, files, read

FILE_LINES = 800
FUNCTION_LINES = 80
COLUMNS = 100

CONTROL = re.compile(r"^\s*#\s*if")
NAME_BEFORE_PAREN = re.compile(r"(\w+)\s*\(")
DECLARATION_START = re.compile(r"^(static|_Thread_local|_Atomic|const|unsigned|struct|enum|union|"
                               r"volatile|_?[a-z]\w*)\b")
NOT_A_VARIABLE = re.compile(r"^(typedef|extern|return|else|case|default|goto|X|_Static_assert)\b")


class Report:
    def __init__(self, allowed):
        self.allowed = allowed
        self.used = set()
        self.failed = False

    def error(self, rule, path, line, name, text):
        for key in ((rule, path, name), (rule, path, "*")):
            if key in self.allowed:
                self.used.add(key)
                return
        print(f"{path}:{line}: {text} [{rule}]")
        self.failed = True


def read_allowed():
    allowed = set()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "allow.txt")
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            if len(words) == 3:
                allowed.add(tuple(words))
    return allowed


def without_comments(text):
    """The text with comments and strings blanked, line structure kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + "_" * (len(found) - 2) + found[-1]

    return pattern.sub(blank, text)


def check_lines(report, path, lines):
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            report.error("tab", path, number, "*", "tab")
        if line != line.rstrip():
            report.error("blank", path, number, "*", "blank at the end of the line")
        if len(line) > COLUMNS and not path.endswith(".def"):
            report.error("columns", path, number, "*", f"{len(line)} columns, {COLUMNS} at most")
    if len(lines) > FILE_LINES and not path.endswith(".def"):
        report.error("file", path, FILE_LINES, "*", f"{len(lines)} lines, {FILE_LINES} at most")


def check_functions(report, path, code):
    start = None
    for number, line in enumerate(code, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            length = number - start + 1
            if length > FUNCTION_LINES:
                # Back over the parameters to the line that has the name.
                head = start - 1
                while head > 1 and code[head - 1][:1] in (" ", ""):
                    head -= 1
                match = NAME_BEFORE_PAREN.search(code[head - 1])
                name = match.group(1) if match else "?"
                report.error("function", path, head, name,
                             f"{name} has {length} lines, {FUNCTION_LINES} at most")
            start = None


def mutable_name(statement):
    """The name of the mutable variable that the statement declares, or None."""
    head = re.split(r"=", statement, maxsplit=1)[0]
    if "(" in head and not re.match(r"[^(]*\(\s*\*", head):  # a function, not a pointer to one
        return None
    if re.search(r"\{", head) or re.fullmatch(r"(struct|enum|union)\s+\w+\s*;?", head.strip()):
        return None
    after_pointer = head.rsplit("*", 1)[-1] if "*" in head else head
    if re.search(r"\bconst\b", after_pointer):
        return None
    name = re.search(r"(\w+)\s*(\)\s*\(.*|\[.*|;.*)?$", head.strip(), re.S)
    return name.group(1) if name else None


def check_statics(report, path, code):
    """Statements at column 0 are file scope; indented ones matter only if they say static."""
    number = 0
    while number < len(code):
        line = code[number]
        here = number + 1
        number += 1
        at_file_scope = bool(DECLARATION_START.match(line)) and not NOT_A_VARIABLE.match(line)
        in_function = bool(re.match(r"\s+static\s", line))
        if not (at_file_scope or in_function) or line.rstrip().endswith("\\"):
            continue
        statement = line
        while not re.search(r"[;{=]", statement) and number < len(code):
            statement += " " + code[number].strip()
            number += 1
        if at_file_scope and "=" not in statement and "{" in statement:
            continue  # the body of a struct, enum or function
        if at_file_scope and not re.search(r"[;=]", statement):
            continue
        if re.match(r"\s*static\s+inline", statement) or re.match(r"\s*\w+\s*:", statement):
            continue
        name = mutable_name(statement.strip())
        if name:
            report.error("static", path, here, name,
                         f"{name} is mutable state outside any machine")


def warn_conditionals(path, lines):
    count = sum(1 for line in lines if CONTROL.match(line))
    if path.endswith(".h"):
        count -= 1  # the include guard
    if count > 1 + len(lines) // 1000 and not path.startswith("base/host/"):
        print(f"{path}: warning: {count} preprocessor conditionals in {len(lines)} lines")


def main():
    report = Report(read_allowed())
    for path in files(LAYERS + ("tests",), (".c", ".h", ".def")):
        text = read(path)
        lines = text.split("\n")
        if lines and lines[-1] == "":
            lines.pop()
        check_lines(report, path, lines)
        if path.endswith(".def"):
            continue
        code = without_comments(text).split("\n")
        check_functions(report, path, code)
        if not path.startswith("tests/"):
            if path.endswith(".c"):
                check_statics(report, path, code)
            warn_conditionals(path, lines)
    for rule, path, name in sorted(report.allowed - report.used):
        print(f"tests/lint/allow.txt: warning: '{rule} {path} {name}' is no longer needed")
    return 1 if report.failed else 0


sys.exit(main())
