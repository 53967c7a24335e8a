#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_text - what no tracked file may hold.

Rules
  machine-path  a path of the machine that it was written on
  unfinished    a note to come back, or code switched off
  non-ascii     a character outside ASCII in code, scripts or build files
  host          a package registry or mirror: where packages come from is the user's choice
  about-itself  text about how the project came about, not about the project
  long-line     more than 100 columns in a header (comments on memory orders excepted)
  bare-await    co_await in a condition without a name for the result, or in an arm of ?: :
                GCC 12 miscompiles it
"""

import re
import subprocess

from source_text import Finding, arguments, blank, finish, line_of, parse

# Written so that no pattern matches itself.
RULES = (
    ("machine-path", r"/wor[k]/(?:main|shared|\.library)|/tm[p]/(?:b-|brief|bash_)|/hom[e]/\w|/roo[t]/"),
    ("unfinished", r"\b(?:TO[D]O|FIX[M]E|XX[X])\b|^\s*#\s*if[ ]0\b|\bfor no[w]\b(?!\()"
                   r"|\b[Pp]lacehol[d]er\b|\blater versio[n]\b"),
    ("host", r"\b(?:artifactor[y]|pypi\.or[g]|pythonhoste[d]|npmjs\.(?:or[g]|com)|index-ur[l]"
             r"|extra-index-ur[l]|deb\.debian\.or[g])\b"),
    ("about-itself", r"\bA[I]\b|\b[Aa]gent[s]?\b|\b[Ii]ssue #?\d+"),
)
CODE = (".hpp", ".cpp", ".h", ".py", ".cmake", ".sh", ".in", "CMakeLists.txt")
SHIPPED = "include/"
MAX_COLUMNS = 100
SOURCES = (".hpp", ".cpp")
BARE_AWAIT_IN = "tests/await_in_condition.test.cpp"  # which shows what happens
NAMED = re.compile(r"[\w>&*]\s+&*\w+\s*(?::(?!:)|=(?!=))\s*co_await\b")  # auto x = co_await f()
CONDITION = re.compile(r"\b(?:if|while|switch|for)\s*(?:constexpr\s*)?\(")


def tracked(root):
    """What git tracks; without git, or outside a clone, every file that is not a build's."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return [name for name in names if not re.match(r"build|\.git/|.*__pycache__/", name)]
    return [name for name in listing.stdout.decode().split("\0") if name]


def check_file(name, text, findings):
    for number, line in enumerate(text.splitlines(), 1):
        for rule, pattern in RULES:
            match = re.search(pattern, line)
            if match:
                findings.append(Finding(name, number, rule, match[0].strip()))
        odd = re.search(r"[^\x00-\x7f]", line) if is_code(name, text) else None
        if odd:
            findings.append(Finding(name, number, "non-ascii", f"U+{ord(odd[0]):04X}"))
        if name.startswith(SHIPPED) and len(line) > MAX_COLUMNS and "// order: " not in line:
            findings.append(Finding(name, number, "long-line", f"{len(line)} columns"))


def until_closed(code, start, ends=""):
    """The text up to the bracket that closes what was open at its start, or to one of the ends."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth < 0 or (depth == 0 and code[at] in ends):
            return code[start:at]
    return code[start:]


def check_awaits(name, text, findings):
    def look(start, inside, advice):
        if re.search(r"(?<!operator )\bco_await\b", inside):
            findings.append(Finding(name, line_of(text, start), "bare-await", advice))

    code = blank(text)
    for start in CONDITION.finditer(code):
        look(start.start(), NAMED.sub("", until_closed(code, start.end())),
             "name the result first: const auto x = co_await ...")
    for start in re.finditer(r"\?", code):
        look(start.start(), until_closed(code, start.end(), ";,?"),
             "in an arm of ?: it destroys its result twice: write if and else")


def is_code(name, text):
    return name.endswith(CODE) or text.startswith("#!")


def main():
    options = parse(arguments(__doc__))
    findings, names = [], tracked(options.root)
    for name in names:
        path = options.root / name
        if not path.is_file():
            continue  # deleted, not yet committed
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue  # a picture
        check_file(name, text, findings)
        if name.endswith(SOURCES) and name != BARE_AWAIT_IN:
            check_awaits(name, text, findings)
    finish(findings, f"{len(names)} tracked files")


if __name__ == "__main__":
    main()
