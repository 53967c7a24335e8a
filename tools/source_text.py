# SPDX-License-Identifier: BSL-1.0
"""What the checkers share: C++ text without comments and literals, contract labels, findings."""

import argparse
import pathlib
import re
import sys
from typing import NamedTuple

# In this order; engine types add the two after Guarantee, coroutine types the two after Lifetime.
LABELS = ("Problem", "Guarantee", "Outcomes", "Durability", "Progress", "Cost", "Lifetime",
          "Resumes on", "Cancellation", "Not for", "Example")
ENGINE_LABELS = ("Outcomes", "Durability")
ASYNC_LABELS = ("Resumes on", "Cancellation")

TOKEN = re.compile(
    r"""(?P<comment> //[^\n]* | /\*.*?\*/ )
      | (?P<literal> R"(?P<fence>[^()\\\s]*)\(.*?\)(?P=fence)" | "(?:\\.|[^"\\\n])*"
                   | (?<![0-9A-Fa-f_])'(?:\\.|[^'\\\n])+' )   # not the ' of 1'000""",
    re.S | re.X)
LABEL = re.compile(rf"// (?P<name>{'|'.join(LABELS)})(?P<gap>\s+)(?P<text>\S.*)?$")


class Finding(NamedTuple):
    file: str
    line: int
    rule: str
    message: str

    def __str__(self):
        return f"{self.file}:{self.line} {self.rule} {self.message}"


class Label(NamedTuple):
    name: str
    line: int    # of its first line, from 1
    column: int  # where its text begins, from 0
    lines: list  # (line, text) with the label and the comment marks taken off


def blank(text, literals=True):
    """The text with comments (and what literals hold) as spaces: same lines, same columns."""
    def spaces(match):
        if match["comment"] is not None:
            return re.sub(r"[^\n]", " ", match[0])
        if not literals:
            return match[0]
        return match[0][0] + re.sub(r"[^\n]", " ", match[0][1:-1]) + match[0][-1]
    return TOKEN.sub(spaces, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def contract(text):
    """The labels of the comment that a header opens with, in the order in which they stand."""
    labels = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("//"):
            if line.strip() in ("", "#pragma once"):
                continue
            break
        start = LABEL.match(line)
        if start:
            labels.append(Label(start["name"], number, start.start("gap") + len(start["gap"]),
                                [(number, start["text"] or "")]))
        elif labels and re.match(r"//\s{2,}\S", line):
            labels[-1].lines.append((number, line[2:].strip()))
    return labels


def headers(root, below="include/interlock"):
    return sorted((root / below).rglob("*.hpp"))


def arguments(description, paths=None):
    """The arguments that every checker takes; `paths` is the help text of positional paths."""
    parser = argparse.ArgumentParser(description=description.strip(),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, help="the tree to check (default: this one)",
                        default=pathlib.Path(__file__).resolve().parent.parent)
    if paths:
        parser.add_argument("paths", nargs="*", type=pathlib.Path, help=paths)
    return parser


def parse(parser):
    options = parser.parse_args()
    for path in [options.root, *getattr(options, "paths", [])]:
        if not path.exists():
            parser.error(f"{path} does not exist")
    options.root = options.root.resolve()
    return options


def name_of(path, root):
    try:
        return str(path.resolve().relative_to(root))
    except ValueError:
        return str(path)


def finish(findings, summary):
    """Prints the findings, or the summary when there are none. Ends the program: 1 or 0."""
    for finding in sorted(set(findings)):
        print(finding)
    if not findings:
        print(f"ok: {summary}")
    sys.exit(1 if findings else 0)
