#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_guarantees - each sentence of a Guarantee label is the name of a test that exists.

The sentence without its period, white space normalised, equals the name of a TEST_CASE in tests/.
docs/guarantees.md is these contracts on one page: write it anew with --page > docs/guarantees.md

Rules
  untested   no test of that name
  count      fewer than 2 or more than 6 sentences
  sentence   a sentence that does not end in a period, or holds a character that Catch2
             reads as something else in a test's name: " [ ] ; \\ , or a leading - or ~
  page       docs/guarantees.md is not what --page prints
"""

import difflib
import re

from source_text import LABELS, Finding, arguments, contract, finish, headers, name_of, parse

CASE = re.compile(r'\b\w*TEST_CASE(?:_METHOD|_SIG)?\s*\(\s*(?:\w+\s*,\s*)?(?P<name>(?:"(?:\\.|[^"\\])*"\s*)+)')


def words(text):
    return " ".join(text.split())


def test_names(root):
    """The names of all tests, and the file of each. A suite for several engines is a header."""
    names = {}
    for path in sorted((root / "tests").rglob("*.[ch]pp")):
        for case in CASE.finditer(path.read_text()):
            parts = re.findall(r'"((?:\\.|[^"\\])*)"', case["name"])
            names[words("".join(parts))] = name_of(path, root)
    return names


def sentences(lines):
    """(line, sentence) of each sentence of a label; the last may lack its period."""
    start, so_far = None, ""
    for number, text in lines:
        for piece in re.split(r"(?<=\.)(?:\s+|$)", text.strip()):
            if not piece:
                continue
            start = start or number
            so_far = f"{so_far} {piece}".strip()
            if piece.endswith("."):
                yield start, so_far
                start, so_far = None, ""
    if so_far:
        yield start, so_far


def page(root, names):
    """All contracts as one Markdown page, each guarantee with a link to its test."""
    out = ["# What is guaranteed", "", "Written from the headers by `tools/check_guarantees.py --page`. "
           "Each sentence is the name of a test; the link leads to its file.", ""]
    for path in headers(root):
        labels = {label.name: label for label in contract(path.read_text())}
        if "Guarantee" not in labels:
            continue
        file = name_of(path, root)
        name = file.removeprefix("include/interlock/").removesuffix(".hpp")  # with its folder
        out += [f"## [{name}](../{file})", ""]
        for _, sentence in sentences(labels["Guarantee"].lines):
            test = names.get(sentence.removesuffix("."))
            out.append(f"- {sentence} ([test](../{test}))" if test else f"- {sentence}")
        out.append("")
        for name in LABELS:
            if name in labels and name not in ("Problem", "Guarantee", "Example"):
                out.append(f"**{name}:** {words(' '.join(text for _, text in labels[name].lines))}")
                out.append("")
    return "\n".join(out)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--page", action="store_true", help="print docs/guarantees.md and stop")
    options = parse(parser)
    names, findings, total = test_names(options.root), [], 0
    text, written = page(options.root, names), options.root / "docs/guarantees.md"
    if options.page:
        print(text, end="")
        return
    if written.is_file() and written.read_text() != text:
        findings.append(Finding("docs/guarantees.md", 1, "page",
                                "not what the headers say: --page > docs/guarantees.md"))
    for path in headers(options.root):
        file = name_of(path, options.root)
        for label in contract(path.read_text()):
            if label.name != "Guarantee":
                continue
            found = list(sentences(label.lines))
            total += len(found)
            if not 2 <= len(found) <= 6:
                findings.append(Finding(file, label.line, "count", f"{len(found)} sentences, not 2 to 6"))
            for line, sentence in found:
                name = sentence.removesuffix(".")
                if name == sentence or re.search(r'["\[\];\\]|^[-~]', name):
                    findings.append(Finding(file, line, "sentence", f"cannot name a test: {sentence}"))
                elif name not in names:
                    near = difflib.get_close_matches(name, names, 1, 0.8)
                    hint = f" (near: \"{near[0]}\")" if near else ""
                    findings.append(Finding(file, line, "untested", f"no TEST_CASE \"{name}\"{hint}"))
    finish(findings, f"{total} guarantees, each with its test")


if __name__ == "__main__":
    main()
