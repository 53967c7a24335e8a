# SPDX-License-Identifier: BSL-1.0
"""Which names of a C++ file are std::atomic objects, and where operators are applied to them.

No parser: declarations are recognised by their shape, file by file. A name that is an atomic in one
place of a file and something else in another cannot be told apart, which the caller reports.
"""

import re

ATOMIC = r"atomic(?:_\w+)?"
KEYWORDS = set("return auto const constexpr else new delete co_return co_await co_yield case goto "
               "using typename typedef namespace class struct public private throw".split())
DECLARATION = re.compile(r"\b(?P<type>[A-Za-z_]\w*(?:::\w+)*(?:\s*<[^;{}()]*>)?)"
                         r"(?P<marks>(?:\s|const\b|[&*]|\[\]>)*)(?<![\w])(?P<name>[A-Za-z_]\w*)"
                         r"\s*(?=[;,)={(\[:](?!:))")
ALIAS = re.compile(r"\busing\s+(\w+)\s*=\s*([^;]+);")


def closing(text, start):
    """The position after the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i + 1
    return len(text)


def receiver(text, end):
    """The last name of the expression that ends there: `word_` in a.word_, b->word_[i], (*word_)."""
    while end > 0 and text[end - 1] in ")] \n":
        end, depth = end - 1, int(text[end - 1] in ")]")
        inner = end
        while depth and end > 0:
            end -= 1
            depth += (text[end] in ")]") - (text[end] in "([")
        name = re.search(r"(\w+)\s*$", text[:end])
        if text[end] == "(" and not name:
            return receiver(text, inner)
    name = re.search(r"(\w+)$", text[:end])
    return name[1] if name else ""


def atomic_type(aliases):
    return re.compile(rf"(?:std::)?\b(?:{ATOMIC}|{'|'.join(sorted(aliases))})\b")


def aliases_in(codes):
    """The names that `using` gives to a std::atomic, in any of the files; park_word is one."""
    aliases = {"park_word"}
    for _ in range(2):  # an alias of an alias
        for code in codes:
            aliases |= {name for name, target in ALIAS.findall(code)
                        if atomic_type(aliases).match(target.strip())}
    return aliases


class Names:
    """Which names of a file are std::atomic objects, and which are something else."""

    def __init__(self, code, aliases):
        self.atomic, self.plain, self.places = {}, {}, set()
        is_atomic = atomic_type(aliases)
        for match in DECLARATION.finditer(code):
            kind, name, at = match["type"], match["name"], match.start("name")
            if kind in KEYWORDS or name in KEYWORDS:
                continue
            self.places.add(at)
            if is_atomic.match(kind):
                self.atomic.setdefault(name, (at, "*" in match["marks"]))
            elif is_atomic.search(kind):  # an array or a pointer of atomics: its elements count
                self.atomic.setdefault(name, (at, True))
            else:
                self.plain.setdefault(name, at)


USE_AFTER = re.compile(r"\+\+|--|(?:[-+*/%&|^]|<<|>>)?=(?!=)|[=!<>]=|&&|[-<>+*/%|^?]")
USE_BEFORE = re.compile(r"(?:\+\+|--|[=!<>]=|&&|\|\||[-+/%|^<!]|\breturn"
                        r"|\b(?:if|while|switch)\s*\(\s*)\s*$")
COPY = re.compile(r"(?P<target>[^;{}()]*)(?<![=!<>+\-*/%&|^])=\s*$")


def operator_uses(code, names):
    """(position, name) of every place that applies an operator, or a conversion, to an atomic."""
    for name, (_, indirect) in names.atomic.items():
        for match in re.finditer(rf"(?<!::)\b{name}\b", code):
            if match.start() in names.places:
                continue
            end = match.end()
            while code[end:end + 1] == "[":
                end = closing(code, end)
            after = code[end:end + 200].lstrip()
            before = code[:match.start()]
            before = re.sub(r"(?:\w+(?:\[[^][]*\]|\(\))*(?:\.|->))+$", "", before[-200:])
            if indirect and end == match.end():
                if not before.endswith("*"):
                    continue
                before, after = before[:-1].rstrip("("), after.lstrip(")").lstrip()
            if before.endswith("&") and not re.search(r"[\w)\]]\s*&$", before):
                continue  # its address
            if after.startswith((".", "->", "(", "{")) or after.startswith("::"):
                continue
            copy = COPY.search(before)
            accessor = before.rstrip().endswith("return") and re.search(
                r"[\w>]\s*&+\s*\w+\s*\([^;{}]*\{\s*return\s*$", before)
            if USE_AFTER.match(after) or (USE_BEFORE.search(before) and not accessor) or (
                    copy and "&" not in copy["target"] and "[" not in copy["target"][-1:]):
                yield match.start(), name
