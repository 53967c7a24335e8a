#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_orders - every atomic access says its memory order, its partner and why.

  // order: release [event.set] pairs with [event.wait], [event.is_set]: publishes the writes
  // order: acquire/relaxed [lock.try] pairs with [lock.unlock]: a compare_exchange names both
  // order: seq_cst [deque.pop] total order with [deque.steal]: both may not miss the other
  // order: seq_cst [gate.pass] total order with [gate.close] and pairs with [gate.open]: both matter
  // order: relaxed: own index, only this thread writes it

Rules
  implicit-order     an access without a std::memory_order (compare_exchange: without both)
  implicit-operator  ++x, x += n, x = v or a read of x where x is a std::atomic
  atomic-wait        std::atomic::wait or notify; waiting goes through detail/parking.hpp
  missing-comment    no "// order:" line directly above the access
  malformed-comment  an "// order:" line that does not read like one of those above
  stray-comment      an "// order:" line that belongs to no access
  wrong-order        the comment names another order than the code
  missing-partner    an ordered access without [tag] or without its counterpart
  relaxed-pairs      a relaxed access with a tag or a partner
  duplicate-tag      a [tag] that another access has already
  unknown-tag        a counterpart that no access has
  one-sided          a counterpart that does not name this access
  incompatible       two partners neither of which releases what the other acquires, or a
                     total order with an access that is not seq_cst
"""

import re
from typing import NamedTuple

from atomic_names import Names, aliases_in, closing, operator_uses, receiver
from source_text import Finding, arguments, blank, finish, headers, line_of, name_of, parse

ORDERS = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"}
PUBLISHING = {"release", "acq_rel", "seq_cst"}
OBSERVING = {"consume", "acquire", "acq_rel", "seq_cst"}

ACCESS = re.compile(r"(?:(?:\.|->)\s*(?P<member>load|store|exchange|fetch_\w+|test_and_set|test"
                    r"|clear|compare_exchange_\w+|wait|notify_one|notify_all)"
                    r"|\b(?P<fence>atomic_(?:thread|signal)_fence))\s*\(")
TAG = r"\[[\w.]+\]"
NOTE = re.compile(rf"// order: (?P<orders>\w+(?:/\w+)?)(?: (?P<tag>{TAG}))?"
                  rf"(?P<partners>(?: (?:and )?(?:pairs|total order) with {TAG}(?:, {TAG})*)*)"
                  r": (?P<why>\S.*)$")
PARTNERS = re.compile(rf"(pairs|total order) with ({TAG}(?:, {TAG})*)")


class Access(NamedTuple):
    where: tuple    # (file, line)
    orders: tuple   # one or two
    partners: dict  # tag -> "pairs" or "total order"


def notes_above(lines, number):
    """The line numbers of the "// order:" comments directly above the statement at `number`."""
    above = number - 1
    while above >= 1:
        text = lines[above - 1].strip()
        if text.startswith("//"):
            break
        code = re.sub(r"\s*//.*", "", text)
        if not code or code[-1] in ";{}:" or code.startswith("#"):
            return []
        above -= 1  # the statement began further up
    found = []
    while above >= 1 and lines[above - 1].strip().startswith("//"):
        if lines[above - 1].strip().startswith("// order:"):
            found.insert(0, above)
        above -= 1
    return found


def check_file(path, file, aliases, tags):
    text = path.read_text()
    code, lines, findings, used = blank(text), text.splitlines(), [], {}
    names = Names(code, aliases)

    def report(line, rule, message):
        findings.append(Finding(file, line, rule, message))

    for position, name in operator_uses(code, names):
        if name in names.plain:
            report(line_of(code, position), "implicit-operator",
                   f"`{name}` is a std::atomic and something else in this file; rename one of them")
        else:
            report(line_of(code, position), "implicit-operator",
                   f"`{name}` is a std::atomic: call load, store or fetch_* with an order")

    for match in ACCESS.finditer(code):
        call = code[match.end() - 1:closing(code, match.end() - 1)]
        orders = re.findall(r"memory_order(?:_|::)(\w+)", call)
        verb = match["member"] or match["fence"]
        owner = receiver(code, match.start()) if match["member"] else ""
        line = line_of(code, match.start(match.lastgroup))
        known = owner in names.atomic
        if verb in ("wait", "notify_one", "notify_all"):
            if known or orders:
                report(line, "atomic-wait", f"std::atomic::{verb}: use detail/parking.hpp")
            continue
        certain = verb.startswith(("fetch_", "compare_exchange_", "test_and_set", "atomic_"))
        if not orders and not known and not certain and (
                verb in ("test", "clear") or owner == "this" or owner in names.plain):
            continue  # a member function of something else
        wanted = 2 if verb.startswith("compare_exchange") else 1
        if len(orders) < wanted:
            report(line, "implicit-order", f"{owner}.{verb}: name " + (
                "both orders" if wanted == 2 else "its std::memory_order"))
            continue
        above = notes_above(lines, line)
        taken = used.setdefault(tuple(above), 0)
        if taken >= len(above):
            report(line, "missing-comment", f"{owner}.{verb}: no \"// order:\" line directly above")
            continue
        used[tuple(above)] += 1
        check_note(file, above[taken], lines[above[taken] - 1].strip(), tuple(orders[:wanted]),
                   tags, report)

    attached = {line for block, count in used.items() for line in block[:count]}
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("// order:") and number not in attached:
            report(number, "stray-comment", "belongs to no atomic access below it")
    return findings


def check_note(file, line, comment, orders, tags, report):
    note = NOTE.match(comment)
    if not note or not set(note["orders"].split("/")) <= ORDERS or len(note["why"].split()) < 2:
        report(line, "malformed-comment", "expected // order: ORDER [tag] pairs with [tag]: why")
        return
    if note["orders"] not in ("/".join(orders), orders[0] if len({*orders}) == 1 else ""):
        report(line, "wrong-order",
               f"the comment says {note['orders']}, the code says {'/'.join(orders)}")
    tag = note["tag"]
    partners = {name: phrase for phrase, names in PARTNERS.findall(note["partners"])
                for name in re.findall(TAG, names)}
    if set(orders) == {"relaxed"}:
        if tag or partners:
            report(line, "relaxed-pairs", "relaxed synchronizes with nothing: give only a reason")
        return
    if not tag or not partners:
        report(line, "missing-partner", f"{orders[0]} needs a [tag] and that of its counterpart")
        return
    if tag in tags:
        report(line, "duplicate-tag", "{} is also at {}:{}".format(tag, *tags[tag].where))
        return
    tags[tag] = Access((file, line), orders, partners)


def check_pairs(tags):
    for tag, access in tags.items():
        for partner, phrase in access.partners.items():
            other = tags.get(partner)
            if other is None:
                yield Finding(*access.where, "unknown-tag",
                              f"{tag} names {partner}, which no access has")
            elif tag not in other.partners:
                yield Finding(*access.where, "one-sided",
                              f"{tag} names {partner}, but is not named back")
            else:
                mine, theirs = set(access.orders), set(other.orders)
                pair = (mine & PUBLISHING and theirs & OBSERVING or
                        theirs & PUBLISHING and mine & OBSERVING)
                if not ("seq_cst" in mine & theirs if phrase == "total order" else pair):
                    remedy = f"; say \"and pairs with {partner}\"" if pair else ""
                    kind = "common total order" if phrase == "total order" else "pair"
                    yield Finding(*access.where, "incompatible", "{} ({}) and {} ({}): no {}{}".format(
                        tag, "/".join(access.orders), partner, "/".join(other.orders), kind, remedy))


def main():
    options = parse(arguments(__doc__, "headers or folders (default: include/)"))
    paths = options.paths or [options.root / "include"]
    files = [f for p in paths for f in ([p] if p.is_file() else headers(p, "."))
             if "testing" not in f.parts]  # the explorer takes orders as data
    aliases, tags, findings = aliases_in([blank(f.read_text()) for f in files]), {}, []
    for path in files:
        findings += check_file(path, name_of(path, options.root), aliases, tags)
    findings += check_pairs(tags)
    finish(findings, f"{len(tags)} tagged accesses in {len(files)} files")


if __name__ == "__main__":
    main()
