#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Seeds mistakes into copies of the explorer and shows that its tests see them.

Each variant is the explorer with one mistake that an explorer of the field made (or could make),
and the pitfall of tests/testing/pitfalls.model.cpp that must fail with it. The engine as it is must
pass them all. A replacement whose text is not found as often as stated is an error: the engine has
changed, and the variant has to follow.

    seeded_engines.py --build DIR [--jobs N] [--only WORD]
    seeded_engines.py --texts          looks only whether the texts to replace are there

DIR is a configured build tree; the target testing.pitfalls.model is built in it.
Exit status: 0 if every variant was caught, 1 if one was not, 2 if one could not be made.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 120

# Pitfall, what the engine does wrong, and how: (text, text instead[, how often it occurs]).
VARIANTS = [
    (1, "seq_cst is acq_rel: no condition at all",
     [("if (count_ < 2 || ordered(g)) return true;", "return true;")]),
    (1, "seq_cst accesses are acq_rel, only fences count",
     [("if (g.events[i].order == seq_cst && !g.events[i].hidden) sc_",
       "if (g.events[i].order == seq_cst && g.events[i].what == kind::fence) sc_")]),
    (1, "seq_cst fences do nothing",
     [("if (g.events[i].order == seq_cst && !g.events[i].hidden) sc_",
       "if (g.events[i].order == seq_cst && g.events[i].what != kind::fence) sc_")]),
    (1, "seq_cst accesses are fences as well",
     [("bool fences = false;", "bool fences = true;"),
      ("if (e[a].what == kind::fence) {\n        merge(out", "if (true) {\n        merge(out"),
      ("if (e[b].what == kind::fence) {\n          if (e[a].what == kind::fence && has(out, b))",
       "if (true) {\n          if (has(out, b))")]),
    (1, "no chain of happens-before between seq_cst accesses",
     [("if (has(other_[a], c)) merge(scb_[a], step_[c]);", ""),
      ("edge = from != initial && to != initial && happens_before(e[from], e[to]);", "")]),
    (2, "the order of stores is that of execution",
     [("const u16 first = exclusive ? to16(source + 1) : plain ? to16(p.stores + 1) : "
       "to16(bound + 1);",
       "const u16 first = exclusive ? to16(source + 1) : to16(p.stores + 1);"),
      ("u16 first = to16(bound_w + 1);", "u16 first = to16(count + 1);")]),
    (3, "a read is independent of later stores",
     [("if (!plain && course_ == course::every) backward_revisits(position);", "")]),
    (3, "every earlier read is revisited: graphs come twice",
     [("if (!maximal(e, d, w)) break;", "")]),
    (3, "two updates of one value are given up at once",
     [("      revisit_only(position);\n", "")]),
    (3, "an update may have another store between its halves",
     [("const u16 last = exclusive ? first : to16(p.stores + 1);",
       "const u16 last = to16(p.stores + 1);"),
      ("if (at <= p.stores && g_.events[p.co[at - 1]].exclusive) continue;", "")]),
    (4, "a failed compare_exchange reads the newest value",
     [("    if (already_updated(p, at, t.op, option)) {",
       "    if (compares && at != p.stores && !(value_of(g_, option) == expected)) continue;\n"
       "    if (already_updated(p, at, t.op, option)) {")]),
    (5, "C++11: a thread's later stores continue its release sequence",
     [("  if (!e.exclusive) return;\n  const event& reader",
       "  for (u16 i = 0; i < g_.size; ++i) {\n"
       "    const event& o = g_.events[i];\n"
       "    if (o.what == kind::write && o.location == e.location && o.thread == e.thread) {\n"
       "      e.rel.join(o.rel);\n      e.rel_seen.join(o.rel_seen);\n    }\n  }\n"
       "  if (!e.exclusive) return;\n  const event& reader")]),
    (5, "updates end a release sequence",
     [("  if (!e.exclusive) return;\n  const event& reader", "  return;\n  const event& reader")]),
    (6, "a history holds two stores",
     [("for (int at = p.stores; at >= bound; --at) {",
       "for (int at = p.stores; at >= bound && at + 2 > p.stores; --at) {")]),
    (7, "each round of a spin loop is an event",
     [("if (t.hints == 0 || t.done != t.hinted_at) return false;", "return false;")]),
    (7, "who spins is never in a deadlock",
     [("(t.state == thread_state::awaiting && has_news(t))) {\n      ++out->blocked;",
       "t.state == thread_state::awaiting) {\n      ++out->blocked;")]),
    (8, "what a bound leaves out is not counted",
     [("if (departures_ >= how.departures) {\n    ++out->cut;",
       "if (departures_ >= how.departures) {")]),
    (9, "park does not look at the word again",
     [("if (op.unchecked || value_of", "if (true || op.unchecked || value_of")]),
    (9, "the kernel's lock is synchronisation",
     [("if (!e.hidden) e.rel = releases", "e.rel = releases"),
      ("if (!e.hidden) e.hb.join(source.rel);", "e.hb.join(source.rel);"),
      ("if (!e.hidden) e.rel.join(head.rel);", "e.rel.join(head.rel);"),
      ("e.seen.join(g_.events[from].seen);",
       "e.seen.join(g_.events[from].seen);\n    e.hb.join(g_.events[from].seen);")]),
    (9, "unpark_all wakes one",
     [("do_unpark(word, queue_wake_all,", "do_unpark(word, queue_wake_one,")]),
    (10, "aggregates are not seen",
     [("void __tsan_read_range(void* p, unsigned long n) "
       "{ plain(p, n, access_read, INTERLOCK_SITE); }",
       "void __tsan_read_range(void*, unsigned long) {}"),
      ("  plain(from, n, access_read, INTERLOCK_SITE);\n"
       "  plain(to, n, access_write, INTERLOCK_SITE);\n  return std::memcpy",
       "  return std::memcpy")]),
    (11, "plain fields are not seen",
     [("if (!explored() || size == 0 ||", "if (true ||")]),
    (12, "memory of a run that was given up is kept",
     [("  shadow_.next_execution();\n  heap.reset();", "  shadow_.next_execution();\n"
       "  if (!pruned_ && threads[0].state == thread_state::finished) heap.reset();")]),
    (13, "memory never comes back",
     [("if (reused_count_ == max_reused) return nullptr;", "return nullptr;")]),
    (14, "free is no access",
     [("          access_write | access_free, site);\n    heap.mark_freed",
       "          access_read, site);\n    heap.mark_freed")]),
    (15, "seq_cst fences are acq_rel",
     [("if (g.events[i].order == seq_cst && !g.events[i].hidden) sc_",
       "if (g.events[i].order == seq_cst && g.events[i].what != kind::fence) sc_")]),
    (16, "acquire fences do nothing",
     [("e.hb.join(t.pending_hb);", "")]),
    (16, "release fences do nothing",
     [("t.fence_hb = e.hb;", "")]),
    (16, "a failed compare_exchange has the order of its success",
     [("if (e.compares) e.order = value_of(g, e) == e.value ? e.order_done : e.order_fail;", "")]),
    (17, "samples append each store",
     [("if (!pick(options, count, picked)) return false;\n  chosen = to16(last - picked);",
       "if (!pick(options, 1, picked)) return false;\n  chosen = to16(last - picked);")]),
    (17, "samples read the newest value",
     [("for (u16 distance = 0; distance + bound <= p.stores; ++distance) {",
       "for (u16 distance = 0; distance + bound <= p.stores && distance == 0; ++distance) {")]),
    (18, "a cell is its value",
     [("c.value == value && c.version == version &&", "c.value == value &&"),
      ("if (c.what == cell_call::kind::replaced && c.expected != version) return !answered;", ""),
      ("if (answered && c.version != version + 1) return false;", "")]),
    (19, "the queue monitor does not see who overtakes",
     [("if (last_out == nullptr || !b.popped ||",
       "if (true || last_out == nullptr || !b.popped ||")]),
    (3, "a read does not depend on what its source depends on",
     [("  const event& source = g.events[e.rf];\n  e.porf.join(source.porf);",
       "  const event& source = g.events[e.rf];")]),
    (21, "eight bytes are one object",
     [("now.mask = static_cast<u8>((0xFFU >> (8 - bytes)) << first);", "now.mask = 0xFF;")]),
    (22, "malloc and free are synchronisation",
     [("    heap.mark_freed(current_id, *header);",
       "    heap.mark_freed(current_id, *header);\n    freed_by_all().join(current->hb);\n"
       "    freed_by_all().at[current_id] = to16(current->done + 1);"),
      ("  void* allocate(std::size_t size, std::size_t alignment, const void* site) {\n"
       "    void* const memory = heap",
       "  static vector_clock& freed_by_all() {\n"
       "    static vector_clock all;\n    return all;\n  }\n"
       "  void* allocate(std::size_t size, std::size_t alignment, const void* site) {\n"
       "    current->hb.join(freed_by_all());\n"
       "    void* const memory = heap")]),
]


def fail(text):
    print("seeded_engines: " + text, file=sys.stderr)
    sys.exit(2)


def seed(folder, changes):
    """Applies the changes to the files below; returns (an error or nothing, the files changed)."""
    files = [f for f in sorted(folder.rglob("*")) if f.suffix in (".hpp", ".cpp")]
    changed = []
    for change in changes:
        old, new = change[0], change[1]
        expected = change[2] if len(change) > 2 else 1
        found = [f for f in files if old in f.read_text()]
        count = sum(f.read_text().count(old) for f in found)
        if count != expected:
            return "'%s' occurs %d times, not %d" % (old, count, expected), []
        for f in found:
            f.write_text(f.read_text().replace(old, new))
        changed += found
    return None, changed


class Program:
    """The pitfalls, with an engine of their own."""

    def __init__(self, build, link):
        cache = (build / "CMakeCache.txt").read_text()
        self.compiler = re.search(r"^CMAKE_CXX_COMPILER:[A-Z]+=(.*)$", cache, re.M).group(1)
        self.cases = (build / "tests/testing/CMakeFiles/testing.pitfalls.model.dir" /
                      "pitfalls.model.cpp.o")
        objects = [
            self.cases,
            build / "tests/CMakeFiles/interlock_catch_main.dir/support/catch_main.cpp.o",
        ]
        made = subprocess.run(["cmake", "--build", str(build), "--target",
                               "testing.pitfalls.model"], capture_output=True, text=True)
        missing = [str(one) for one in objects if not one.exists()]
        if made.returncode != 0 or missing:
            fail("testing.pitfalls.model is not built\n" + "\n".join(missing) + made.stdout[-2000:])
        self.link = [str(objects[1])] + link + ["-ldl"]

    def build(self, folder, tests_too):
        """Returns the program, or the compiler's message."""
        program, cases = folder / "pitfalls", self.cases
        compile_ = [self.compiler, "-std=c++20", "-O0", "-w", "-I" + str(folder / "include"),
                    "-I" + str(ROOT / "include")]
        commands = []
        if tests_too:
            cases = folder / "cases.o"
            commands.append(compile_ + ["-fsanitize=thread", "-I" + str(ROOT / "tests"), "-c",
                                        str(ROOT / "tests/testing/pitfalls.model.cpp"),
                                        "-o", str(cases)])
        commands.append(compile_ + [str(folder / "src/testing/runtime.cpp"), str(cases),
                                    "-o", str(program)] + self.link)
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                return done.stderr[-1000:]
        return program

    @staticmethod
    def passes(program, number):
        """Returns whether the cases of this pitfall pass; None if they do not end."""
        cases = "pitfall *" if number is None else "pitfall %d:*" % number
        try:
            done = subprocess.run([str(program), cases], capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return None
        return done.returncode == 0


def copy_explorer(folder):
    for part in ("src/testing", "include/interlock/testing"):
        shutil.copytree(ROOT / part, folder / part)


def look_for_texts():
    """Says which variants cannot be made; returns how many."""
    missing = 0
    for number, name, changes in VARIANTS:
        with tempfile.TemporaryDirectory(prefix="seeded-engine-") as temporary:
            copy_explorer(pathlib.Path(temporary))
            error, _ = seed(pathlib.Path(temporary), changes)
        if error:
            missing += 1
            print("pitfall %s, %s: %s" % (number, name, error))
    print("seeded engines: %d of %d can be made" % (len(VARIANTS) - missing, len(VARIANTS)))
    return missing


def judge(program, variant):
    """Returns (whether it was caught, or None if it could not be made; a line to print)."""
    number, name, changes = variant
    with tempfile.TemporaryDirectory(prefix="seeded-engine-") as temporary:
        folder = pathlib.Path(temporary)
        copy_explorer(folder)
        error, changed = seed(folder, changes)
        if error:
            return None, "pitfall %s, %s: %s" % (number, name, error)
        made = program.build(folder, any("include" in f.parts for f in changed))
        if not isinstance(made, pathlib.Path):
            return None, "pitfall %s, %s: does not compile\n%s" % (number, name, made)
        outcome = program.passes(made, number)
        word = {True: "NOT CAUGHT", False: "caught", None: "does not end"}[outcome]
        return outcome is False, "%-12s pitfall %2s: %s" % (word, number, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--texts", action="store_true", help="build nothing")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="variants whose name has this word")
    parser.add_argument("--link", action="append", default=[], help="more for the linker")
    arguments = parser.parse_args()
    if arguments.texts:
        return 2 if look_for_texts() else 0
    if arguments.build is None:
        parser.error("--build DIR is needed")
    program = Program(arguments.build.resolve(), arguments.link)
    caught, line = judge(program, (None, "nothing wrong", []))
    if caught is not False:
        fail("the engine as it is does not pass: " + line)
    variants = [v for v in VARIANTS if arguments.only in v[1]]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda v: judge(program, v), variants))
    for _, line in results:
        print(line)
    print("seeded engines: %d of %d caught" % (sum(1 for r, _ in results if r), len(variants)))
    if any(r is None for r, _ in results):
        return 2
    return 0 if all(r for r, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
