#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_snippets - code in comments and pages comes from files that are built and run.

The Example of a header and every ```cpp block of a page name their file on their first line, as
// examples/NAME.cpp. Their other lines occur in that file, in that order; comments and white space
do not count. A ```cmake block may name its file as # tests/package/PATH. Links of a page lead to
files and headings that exist.

Rules
  unnamed-file    a block of C++ (or an Example) without the name of its file
  missing-file    the named file does not exist
  missing-line    a line that the file does not hold (after the line before it)
  empty-snippet   a named file and no code
  block-language  a block of no language, or of another than cpp, cmake, sh, console, text, json
  dead-link       a relative link to a file, or to a heading, that does not exist
"""

import re

from source_text import Finding, arguments, blank, contract, finish, headers, name_of, parse

LANGUAGES = {"cpp", "cmake", "sh", "console", "text", "json"}
FENCE = re.compile(r"^(?P<indent>\s*)(?P<mark>```+|~~~+)\s*(?P<language>[^\s`]*)")
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)")
NAMED = {"cpp": re.compile(r"^(?P<code>.*?)//\s*(?P<file>[\w./-]+\.[ch]pp)\s*$"),
         "cmake": re.compile(
             r"^(?P<code>.*?)#\s*(?P<file>[\w./-]*(?:\.cmake|CMakeLists\.txt))\s*$")}


def squeeze(code, language):
    """Code without comments, and without white space other than between two words."""
    code = blank(code, literals=False) if language == "cpp" else re.sub(r"#.*", "", code)
    code = " ".join(code.split())
    return re.sub(r"(?<!\w) | (?!\w)", "", code)


def find(haystack, needle, start):
    """The position after `needle`, which begins at `start` or later and at a word; -1 if nowhere."""
    begin = r"(?<!\w)" if needle[0].isalnum() or needle[0] == "_" else ""
    end = r"(?!\w)" if needle[-1].isalnum() or needle[-1] == "_" else ""
    match = re.compile(begin + re.escape(needle) + end).search(haystack, start)
    return match.end() if match else -1


def check_snippet(root, file, lines, language, findings):
    """`lines`: (number, text), of which the first names the file that the rest comes from."""
    def report(line, rule, message):
        findings.append(Finding(file, line, rule, message))

    first = NAMED[language].match(lines[0][1]) if lines else None
    if not first:
        if lines and language == "cpp":
            report(lines[0][0], "unnamed-file", "expected // examples/NAME.cpp")
        return
    source = root / first["file"]
    if not source.is_file():
        report(lines[0][0], "missing-file", f"{first['file']} does not exist")
        return
    whole, position, compared = squeeze(source.read_text(), language), 0, 0
    for number, text in [(lines[0][0], first["code"]), *lines[1:]]:
        code = squeeze(text, language)
        if not code:
            continue
        compared += 1
        end = find(whole, code, position)
        if end < 0:
            where = "does not hold" if find(whole, code, 0) < 0 else "holds earlier"
            report(number, "missing-line", f"{first['file']} {where}: {text.strip()}")
        else:
            position = end
    if not compared:
        report(lines[0][0], "empty-snippet", "no code after the file's name")


def slug(heading):
    """The anchor that a heading gets on the usual hosts."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose(text):
    """(line, text) outside of fenced blocks, and the blocks: (line, language, lines)."""
    outside, blocks, mark = [], [], None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if mark is None and fence:
            mark = fence["mark"]
            blocks.append((number, fence["language"], []))
        elif mark is not None and line.strip() == mark:
            mark = None
        elif mark is not None:
            blocks[-1][2].append((number, line))
        else:
            outside.append((number, re.sub(r"`[^`]*`", "", line)))
    return outside, blocks


def anchors(page):
    lines = page.read_text().splitlines()
    return {slug(line.lstrip("#")) for line in lines if line.startswith("#")}


def check_page(root, page, findings):
    file = name_of(page, root)
    outside, blocks = prose(page.read_text())
    for number, language, lines in blocks:
        if language not in LANGUAGES:
            findings.append(Finding(file, number, "block-language", f"```{language}"))
        elif language in NAMED:
            check_snippet(root, file, lines, language, findings)
    for number, line in outside:
        for link in LINK.finditer(line):
            path, _, anchor = link["target"].partition("#")
            if re.match(r"[a-z]+:", link["target"]):
                continue
            target = (page.parent / path) if path else page
            if not target.exists():
                findings.append(Finding(file, number, "dead-link", f"{path} does not exist"))
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                findings.append(Finding(file, number, "dead-link",
                                        f"{path} has no heading #{anchor}"))


def main():
    options = parse(arguments(__doc__))
    root, findings, examples = options.root, [], 0
    for path in headers(root):
        for label in contract(path.read_text()):
            if label.name == "Example" and label.lines[0][1] != "none":
                examples += 1
                check_snippet(root, name_of(path, root), label.lines, "cpp", findings)
    pages = sorted(p for p in [*root.glob("*.md"), *(root / "docs").rglob("*.md")])
    for page in pages:
        check_page(root, page, findings)
    finish(findings, f"{examples} examples in headers, {len(pages)} pages")


if __name__ == "__main__":
    main()
