# SPDX-License-Identifier: BSL-1.0
"""Each checker passes a clean tree and names the rule that a seeded fault breaks.

Run: python3 -m unittest discover -s tests/tools
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"

# The smallest tree that every checker passes.
HEADER = """\
// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/counter.hpp - a number that many threads change.
//
// Problem     Two threads load, add and store: one of them is lost.
// Guarantee   Every add is counted exactly once. A load returns a value that the counter
//             really had.
// Progress    Wait-free.
// Cost        One word.
// Lifetime    Must outlive every operation on it.
// Not for     Several numbers at once.
//
// Example     counter hits;                      // examples/counter.cpp
//             hits.add(1);                       // from any thread
//             return hits.load() == 1 ? 0 : 1;

#include <atomic>

#include "detail/word.hpp"

namespace interlock {

class counter {
public:
  void add(int n) noexcept {
    // order: release [counter.add] pairs with [counter.load]: publishes what came before
    value_.fetch_add(n, std::memory_order_release);
  }

  bool try_replace(int expected, int desired) noexcept {
    // order: seq_cst/relaxed [counter.try_replace] total order with [counter.peek] and pairs with [counter.load]: does both
    return value_.compare_exchange_strong(expected, desired, std::memory_order_seq_cst,
                                          std::memory_order_relaxed);
  }

  int peek() const noexcept {
    // order: seq_cst [counter.peek] total order with [counter.try_replace]: comes after it or before
    return value_.load(std::memory_order_seq_cst);
  }

  int load() const noexcept {
    // order: acquire [counter.load] pairs with [counter.add], [counter.try_replace]: sees what came before
    return value_.load(std::memory_order_acquire);
  }

private:
  std::atomic<int> value_{0};
};

}  // namespace interlock
"""
WORD = """\
// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/word.hpp - nothing yet.
namespace interlock::detail {}
"""
CLEAN = {
    "include/interlock/counter.hpp": HEADER,
    "include/interlock/detail/word.hpp": WORD,
    "include/interlock/version.hpp":
        "// SPDX-License-Identifier: BSL-1.0\n#pragma once\n\n// interlock/version.hpp - the version.\n"
        "#define INTERLOCK_VERSION_MAJOR 0\n",
    "examples/counter.cpp":
        "#include <interlock/counter.hpp>\nint main() {\n  interlock::counter other;\n"
        "  counter   hits;\n  hits.add(\n      1);  // wrapped\n  return hits.load() == 1 ? 0 : 1;\n}\n",
    "tests/counter.test.cpp":
        'TEST_CASE("Every add is counted exactly once") {}\n'
        'TEST_CASE("A load returns a value "\n          "that the counter really had") {}\n',
    "tests/package/find/CMakeLists.txt": "find_package(interlock REQUIRED)\n",
    "README.md":
        "# Interlock\n\nSee [counters](docs/counters.md#one-word-each) and [us](https://example.com).\n\n"
        "```cpp\n// examples/counter.cpp\nhits.add(1);\n```\n\n"
        "```cmake\n# tests/package/find/CMakeLists.txt\nfind_package(interlock REQUIRED)\n```\n\n"
        "```sh\n./scripts/test  # [not](a-link)\n```\n",
    "docs/counters.md": "# Counters\n\n## One `word` each\n\nBack to [the start](../README.md).\n",
}
ENGINE = """\
// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/counter.hpp - a number that many processes change.
//
// Problem     Two processes load, add and store: one of them is lost.
// Guarantee   Every add is counted exactly once. A load returns a value that the counter
//             really had.
// Outcomes    applied, refused or unknown.
// Durability  That of the server.
// Progress    One round trip.
// Cost        One round trip.
// Lifetime    Must outlive every operation on it.
// Not for     Several numbers at once.
// Example     none

#include <hiredis/hiredis.h>
#include <mutex>

#include "../store/client.hpp"

namespace interlock::redis {
using counter = store::client<int>;
std::mutex guard;
}  // namespace interlock::redis
"""
REDIS, CLIENT = "include/interlock/redis/counter.hpp", "include/interlock/store/detail/client.hpp"
ENGINES = {
    REDIS: ENGINE.replace("store/client", "store/detail/client"),
    CLIENT: WORD.replace("detail/word", "store/detail/client") + "#include <time.h>\n",
}
COUNTER, DETAIL = "include/interlock/counter.hpp", "include/interlock/detail/word.hpp"


class Tree(unittest.TestCase):
    tool = ""

    def run_tool(self, files, *options):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            if self.tool == "check_text" and shutil.which("git"):
                subprocess.run("git init -q && git add -A", shell=True, cwd=root, check=True)
            return subprocess.run([sys.executable, TOOLS / f"{self.tool}.py", "--root", root, *options],
                                  capture_output=True, text=True)

    def assert_clean(self, changed=None):
        result = self.run_tool({**CLEAN, **(changed or {})})
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertRegex(result.stdout, r"^ok: ")

    def assert_found(self, changed, *rules):
        """The tree with these files breaks exactly these rules."""
        result = self.run_tool({**CLEAN, **changed})
        self.assertEqual((result.returncode, result.stderr), (1, ""), result.stdout)
        found = {re.match(r"\S+:\d+ (\S+) ", line)[1] for line in result.stdout.splitlines()}
        self.assertEqual(found, set(rules), result.stdout)

    def assert_edit_found(self, before, after, *rules, file=COUNTER):
        self.assertIn(before, CLEAN[file])
        self.assert_found({file: CLEAN[file].replace(before, after, 1)}, *rules)


class CommandLine(unittest.TestCase):
    def test_every_checker_explains_itself_and_refuses_bad_arguments(self):
        for tool in sorted(TOOLS.glob("check_*.py")):
            with self.subTest(tool.name):
                told = subprocess.run([tool, "--help"], capture_output=True, text=True)
                self.assertEqual(told.returncode, 0)
                self.assertIn("\nRules\n", told.stdout)
                for bad in (["--no-such-option"], ["--root", "/no/such/folder"]):
                    self.assertEqual(subprocess.run([tool, *bad], capture_output=True).returncode, 2)


class Orders(Tree):
    tool = "check_orders"
    LOAD = "value_.load(std::memory_order_acquire)"
    NOTE = "// order: acquire [counter.load] pairs with [counter.add], [counter.try_replace]: sees what came before"

    def test_clean(self):
        self.assert_clean()

    def test_implicit_order(self):
        self.assert_edit_found(self.LOAD, "value_.load()", "implicit-order", "stray-comment", "unknown-tag")
        self.assert_edit_found("std::memory_order_seq_cst,\n" + 42 * " " + "std::memory_order_relaxed",
                               "std::memory_order_seq_cst", "implicit-order", "stray-comment", "unknown-tag")

    def test_comment(self):
        self.assert_edit_found(self.NOTE, "// sees it", "missing-comment", "unknown-tag")
        self.assert_edit_found("sees what came before\n", "sees what came before\n\n",
                               "missing-comment", "stray-comment", "unknown-tag")
        self.assert_edit_found(": sees what came before", "", "malformed-comment", "unknown-tag")
        self.assert_edit_found("  int load()", "  // order: relaxed: of no access here\n  int load()",
                               "stray-comment")

    def test_one_comment_serves_one_access(self):
        self.assert_edit_found(self.LOAD, f"{self.LOAD} + {self.LOAD}", "missing-comment")

    def test_wrong_order(self):
        self.assert_edit_found("std::memory_order_acquire", "std::memory_order_seq_cst", "wrong-order")
        self.assert_edit_found("order: seq_cst/relaxed", "order: seq_cst/acquire", "wrong-order")
        self.assert_edit_found("order: seq_cst/relaxed", "order: seq_cst", "wrong-order")

    def test_pairs(self):
        self.assert_edit_found("pairs with [counter.add], ", "pairs with ", "one-sided")
        self.assert_edit_found("[counter.load]: publishes", "[counter.gone]: publishes",
                               "unknown-tag", "one-sided")
        self.assert_edit_found(" pairs with [counter.load]: publishes", ": publishes",
                               "missing-partner", "unknown-tag")
        self.assert_edit_found("[counter.peek] total", "[counter.load] total",
                               "duplicate-tag", "unknown-tag", "one-sided")

    def test_partners_that_do_not_meet(self):
        text = HEADER.replace("order: release [", "order: acquire [").replace("_release)", "_acquire)")
        self.assert_found({COUNTER: text}, "incompatible")
        text = HEADER.replace("order: seq_cst [counter.peek]", "order: acquire [counter.peek]")
        text = text.replace("load(std::memory_order_seq_cst)", "load(std::memory_order_acquire)")
        self.assert_found({COUNTER: text}, "incompatible")

    def test_relaxed_pairs_with_nobody(self):
        text = HEADER.replace("order: acquire", "order: relaxed").replace("_acquire)", "_relaxed)")
        self.assert_found({COUNTER: text}, "relaxed-pairs", "unknown-tag")

    def test_operators(self):
        for use in ("++value_", "value_++", "this->value_ += n", "value_ = n", "value_ |= n",
                    "return value_", "int copy = value_", "if (value_ == n) return",
                    "use(!other.value_)", "while (value_) {}"):
            with self.subTest(use):
                self.assert_edit_found("    // order: release", f"    {use};\n    // order: release",
                                       "implicit-operator")

    def test_operators_on_elements_and_aliases(self):
        members = ("  using word = std::atomic<int>;\n  word bits_{0};\n  std::atomic<int> slots_[4];\n"
                   "  word* chosen_ = nullptr;\n")
        for use in ("++bits_", "slots_[n + 1]++", "return slots_[0]", "*chosen_ = n"):
            with self.subTest(use):
                text = HEADER.replace("private:\n", "private:\n" + members)
                self.assert_found({COUNTER: text.replace("    // order: release",
                                                         f"    {use};\n    // order: release", 1)},
                                  "implicit-operator")

    def test_what_is_no_access(self):
        uses = ("park(value_, n);", "chosen_ = &value_;", "std::atomic<int>& word = value_;",
                "if (chosen_ == nullptr) return;", "other.load();  // value_ = 1, ++value_",
                'log("value_ = 1");', "names.clear();")
        text = HEADER.replace("    // order: release", "".join(f"    {u}\n" for u in uses) +
                            "    // order: release", 1)
        text = text.replace("private:\n", "private:\n  std::atomic<int>* chosen_ = nullptr;\n")
        self.assert_clean({COUNTER: text.replace("add(int n)", "add(int n, const counter& other)")})

    def test_atomic_wait(self):
        self.assert_edit_found("    // order: release", "    value_.notify_all();\n    // order: release",
                               "atomic-wait")


class Layers(Tree):
    tool = "check_layers"

    def test_clean(self):
        self.assert_clean()

    def test_includes(self):
        after = "#include <atomic>\n"
        for line, *rules in (('#include "../counter.hpp"', "upward-include", "cycle"),
                             ("#include <interlock/version.hpp>", "include-form"),
                             ('#include "gone.hpp"', "missing-include"),
                             ("#include <boost/asio.hpp>", "foreign-include"),
                             ("#include <linux/futex.h>", "foreign-include")):
            with self.subTest(line):
                self.assert_found({DETAIL: WORD + line + "\n"}, *rules)
        self.assert_edit_found(after, after + '#include "testing/model.hpp"\n', "missing-include")

    def test_testing_stands_apart(self):
        model = WORD.replace("detail/word", "testing/model") + '#include "../counter.hpp"\n'
        result = self.run_tool({**CLEAN, "include/interlock/testing/model.hpp": model})
        self.assertIn(" upward-include ", result.stdout)

    def test_unknown_header(self):
        text = HEADER.replace("counter.hpp", "sequencer.hpp").replace("class counter", "class sequencer")
        self.assert_found({"include/interlock/sequencer.hpp": text}, "unknown-header")

    def test_budget(self):
        long = WORD + "int f();\n" * 320
        names = ("one", "two", "three")
        files = {f"include/interlock/detail/{n}.hpp": long.replace("word.hpp", f"{n}.hpp") for n in names}
        files[DETAIL] = WORD + "".join(f'#include "{n}.hpp"\n' for n in names)
        self.assert_found(files, "over-budget")
        names = ("a", "b", "c", "d", "e")
        files = {f"include/interlock/detail/{n}.hpp": WORD.replace("word.hpp", f"{n}.hpp") for n in names}
        files[DETAIL] = WORD + "".join(f'#include "{n}.hpp"\n' for n in names)
        self.assert_found(files, "over-budget")
        files["include/interlock/detail/parking_linux.hpp"] = WORD.replace("word.hpp", "parking_linux.hpp")
        del files["include/interlock/detail/e.hpp"]
        files[DETAIL] = files[DETAIL].replace("e.hpp", "parking_linux.hpp")
        self.assert_clean(files)  # half of a header
        self.assert_found({DETAIL: WORD + "int f();\n" * 340}, "too-long")
        self.assert_clean({DETAIL: WORD + "//\n" * 340})

    def assert_engine_edit_found(self, before, after, *rules, file=REDIS):
        self.assertIn(before, ENGINES[file])
        self.assert_found({**ENGINES, file: ENGINES[file].replace(before, after, 1)}, *rules)

    def test_engines(self):
        self.assert_clean(ENGINES)
        names = ("a", "b", "c", "d", "e", "f", "g")
        long = WORD + "int f();\n" * 320
        files = {f"include/interlock/detail/{n}.hpp": long.replace("word.hpp", f"{n}.hpp") for n in names}
        after = "#include <mutex>\n"
        lines = "".join(f'#include "../detail/{n}.hpp"\n' for n in names)
        self.assert_clean({**ENGINES, **files, REDIS: ENGINES[REDIS].replace(after, after + lines)})

    def test_what_engines_may_include(self):
        first = "#include <mutex>\n"
        for line, *rules in (("#include <sqlite3.h>", "foreign-include"),
                             ("#include <time.h>", "foreign-include"),
                             ('#include "../sqlite/counter.hpp"', "upward-include")):
            with self.subTest(line):
                other = {REDIS.replace("redis", "sqlite"):
                         ENGINES[REDIS].replace("hiredis/hiredis", "sqlite3").replace("redis", "sqlite")}
                text = ENGINES[REDIS].replace(first, f"{first}{line}\n")
                self.assert_found({**ENGINES, **other, REDIS: text}, *rules)
        self.assert_engine_edit_found("<time.h>", "<poll.h>", "foreign-include", file=CLIENT)
        include = '#include "../../redis/counter.hpp"\n'
        self.assert_engine_edit_found("#include", f"{include}#include", "upward-include", "cycle", file=CLIENT)
        after = "#include <atomic>\n"
        umbrella = WORD.replace("detail/word", "interlock") + '#include "redis/counter.hpp"\n'
        self.assert_found({**ENGINES, "include/interlock/interlock.hpp": umbrella}, "upward-include")
        text = HEADER.replace(after, after + '#include "store/detail/client.hpp"\n')
        self.assert_found({**ENGINES, COUNTER: text}, "upward-include")

    def test_what_engines_may_say(self):
        for line in ("std::this_thread::yield();", "std::this_thread::sleep_for(t);", "#define YES 1"):
            self.assert_engine_edit_found("std::mutex guard;", line, "forbidden-word")
        self.assert_engine_edit_found("std::mutex guard;", "int f();\n" * 340, "too-long")

    def test_labels_of_engines(self):
        outcomes, durability = "// Outcomes    applied, refused or unknown.\n", "// Durability  That of the server.\n"
        self.assert_engine_edit_found(outcomes, "", "missing-label")
        self.assert_engine_edit_found(durability, "", "missing-label")
        self.assert_engine_edit_found(outcomes + durability, durability + outcomes, "label-order")
        base = "include/interlock/store/basic_counter.hpp"
        text = HEADER.replace("interlock/counter.hpp", "interlock/store/basic_counter.hpp")
        text = text.replace("class counter", "class basic_counter").replace('"detail/', '"../detail/')
        self.assert_found({base: text}, "missing-label")
        text = text.replace("// Progress ", outcomes + durability + "// Progress ", 1)
        self.assert_clean({base: text})
        name = "include/interlock/store/errors.hpp"
        self.assert_clean({name: HEADER.replace("interlock/counter.hpp", "interlock/store/errors.hpp")
                           .replace("class counter", "class errors").replace('"detail/', '"../detail/')})

    def test_table(self):
        result = self.run_tool(CLEAN, "--table")
        self.assertRegex(result.stdout, r"counter\.hpp +\d+ lines, closure 2 headers")

    def test_forbidden_words(self):
        for line in ("std::mutex guard;", "std::format(x);", "std::jthread t;", "#define YES 1",
                     "#if  0", "std::atomic_thread_fence(x);", "std::this_thread::yield();",
                     "std::atomic<std::shared_ptr<int>> p;", "[[no_unique_address]] int n;"):
            with self.subTest(line):
                self.assert_found({DETAIL: f"{WORD}{line}\n"}, "forbidden-word")
        self.assert_clean({DETAIL: WORD + "// std::mutex would do, but for its size\n"})

    def test_preamble(self):
        self.assert_edit_found("BSL-1.0", "MIT", "preamble")
        self.assert_edit_found("interlock/counter.hpp -", "interlock/count.hpp -", "preamble")

    def test_named_type(self):
        self.assert_edit_found("class counter", "class count", "no-such-type")

    def test_labels(self):
        self.assert_edit_found("// Cost        One word.\n", "", "missing-label")
        self.assert_edit_found("// Cost        One word.\n", "// Cost  One word.\n", "label-order")
        self.assert_edit_found("// Progress    Wait-free.\n// Cost        One word.\n",
                               "// Cost        One word.\n// Progress    Wait-free.\n", "label-order")
        self.assert_edit_found("class counter", "std::coroutine_handle<> h;\nclass counter", "missing-label")


class Guarantees(Tree):
    tool = "check_guarantees"

    def test_clean(self):
        self.assert_clean()

    def test_page(self):
        self.assert_found({"docs/guarantees.md": "# What was guaranteed once\n"}, "page")

    def test_names_on_the_page_tell_engines_apart(self):
        page = self.run_tool({**CLEAN, **ENGINES}, "--page").stdout
        self.assertRegex(page, r"(?m)^## \[counter\]\(../include/interlock/counter.hpp\)$")
        self.assertRegex(page, r"(?m)^## \[redis/counter\]\(../include/interlock/redis/counter.hpp\)$")
        self.assertRegex(page, r"\n\*\*Outcomes:\*\* applied, refused or unknown\.\n\n"
                               r"\*\*Durability:\*\* That of the server\.\n\n\*\*Progress:")

    def test_suites_are_headers_too(self):
        test = "tests/counter.test.cpp"
        self.assert_clean({test: "int main() {}\n", "tests/engines/counter.hpp": CLEAN[test]})

    def test_untested(self):
        self.assert_edit_found("counted exactly once", "counted once", "untested")
        self.assert_edit_found("Every add", "every add", "untested", file="tests/counter.test.cpp")

    def test_sentences(self):
        self.assert_edit_found("really had.", "really had", "sentence")
        self.assert_edit_found("really had.", "really [had].", "sentence")
        self.assert_edit_found("Every add is counted exactly once. ", "", "count")


class Snippets(Tree):
    tool = "check_snippets"

    def test_clean(self):
        self.assert_clean()

    def test_examples(self):
        self.assert_edit_found("hits.add(1);", "hits.add(2);", "missing-line")
        self.assert_edit_found("hits.add(1);", "its.add(1);", "missing-line")
        self.assert_edit_found("// examples/counter.cpp", "// examples/gone.cpp", "missing-file")
        self.assert_edit_found("     // examples/counter.cpp", "", "unnamed-file")

    def test_order_of_lines(self):
        text = "```cpp\n// examples/counter.cpp\nhits.add(1);\ncounter hits;\n```\n"
        self.assert_found({"docs/order.md": text}, "missing-line")

    def test_pages(self):
        page = "docs/counters.md"
        for text, *rules in (("```cpp\nhits.add(1);\n```\n", "unnamed-file"),
                             ("```cpp\n// examples/gone.cpp\nhits.add(1);\n```\n", "missing-file"),
                             ("```cpp\n// examples/counter.cpp\n```\n", "empty-snippet"),
                             ("```cpp\n// examples/counter.cpp\nmiss();\n```\n", "missing-line"),
                             ("```cmake\n# tests/package/gone/CMakeLists.txt\n```\n", "missing-file"),
                             ("```\nhits.add(1);\n```\n", "block-language"),
                             ("```rust\nhits.add(1);\n```\n", "block-language"),
                             ("[gone](gone.md)\n", "dead-link"),
                             ("[gone](../README.md#gone)\n", "dead-link"),
                             ("[gone](#gone)\n", "dead-link")):
            with self.subTest(text):
                self.assert_found({page: CLEAN[page] + text}, *rules)
        self.assert_clean({page: CLEAN[page] + "```cmake\nfind_package(x)\n```\n[up](#counters)\n"})


class Text(Tree):
    tool = "check_text"

    def test_clean(self):
        self.assert_clean()

    def test_lines(self):
        for line, rule in (("see /wo" "rk/main", "machine-path"), ("// TO" "DO", "unfinished"),
                           ("#if " "0", "unfinished"), ("enough for " "now", "unfinished"),
                           ("std::string dash = \"\u2014\";", "non-ascii"),
                           ("pip --index-" "url x", "host"), ("see issue " "2", "about-itself"),
                           ("// " + "x" * 98, "long-line")):
            with self.subTest(line):
                self.assert_found({DETAIL: WORD + line + "\n"}, rule)
        self.assert_clean({"docs/dash.md": "a \u2014 b\n", "tests/more.cpp": "wait_for now();\n"})

    def test_await_in_a_condition(self):
        for line in ("if (co_await f()) return;", "if (!co_await f()) return;", "while (!(co_await f())) {}",
                     "do {} while (g(1) && co_await f());", "switch (co_await f()) {}",
                     "for (; co_await f();) {}", "if (x == co_await f()) {}", "if (g(\n  co_await f())) {}",
                     "if (const bool x = g(); x && co_await f()) {}",
                     "auto x = c ? co_await f() : co_await g();", "auto x = c ? f{1} : co_await g();",
                     "auto x = h(c ?\n co_await f() : g());"):
            with self.subTest(line):
                self.assert_found({DETAIL: WORD + line + "\n"}, "bare-await")
        for line in ("const bool x = co_await f(); if (x) {}", "if (x) co_await f();",
                     "if (const bool x = co_await f(); x) {}", "if (auto* const x = co_await f()) {}",
                     "for (const auto& x : co_await f()) {}", "// if (co_await f())", "if (a.operator co_await()) {}",
                     "co_await f() ? 1 : 2;", "if (c ? f() : g()) { co_await h(); }", "h(c ? 1 : 2) + co_await f();",
                     "const char a = '?'; co_await f();"):
            with self.subTest(line):
                self.assert_clean({DETAIL: WORD + line + "\n"})


if __name__ == "__main__":
    unittest.main()
