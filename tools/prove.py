#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""prove - runs all proofs of a build and prints one table. scripts/prove builds, then calls this.

A row is a gate: what is counted, the figure to reach, the figure here, and whether it holds. Rows of
correctness decide the exit status; rows of speed are printed with their figure alone, since a time
on a shared machine is no verdict.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PASSED = re.compile(r"All tests passed \((\d+) assertions? in (\d+) test cases?\)")
FAILED = re.compile(r"test cases:\s*(\d+) \|(?:\s*(\d+) passed \|)?\s*(\d+) failed")


class Table:
    def __init__(self):
        self.rows = []

    def add(self, gate, goal, here, holds, decides=True, why=""):
        """`holds`: True, False, or None where there is nothing to reach. `why`: of a shortfall."""
        self.rows.append({"gate": gate, "goal": goal, "here": here, "holds": holds,
                          "decides": decides, "why": why})
        print(f"  {gate}: {here}", flush=True)

    def show(self):
        texts = {True: "holds", False: "FAILS", None: ""}
        lines = [("gate", "to reach", "here", "")]
        for row in self.rows:
            verdict = texts[row["holds"]]
            if row["holds"] is False and not row["decides"]:
                verdict = "short"
            lines.append((row["gate"], row["goal"], row["here"], verdict))
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        print()
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        for row in self.rows:
            if row["holds"] is False and row["why"]:
                print(f"\nshort: {row['gate']}:\n  {row['why']}")

    def good(self):
        return all(row["holds"] is not False or not row["decides"] for row in self.rows)


def run(command, limit, **environment):
    """(exit status, output); a program that does not end counts as failed."""
    try:
        result = subprocess.run([str(c) for c in command], text=True, capture_output=True,
                                timeout=limit, check=False, env=dict(os.environ, **environment))
        return result.returncode, result.stdout + result.stderr
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]}: no end within {limit} s"


class Catch:
    """What a program of tests did."""

    def __init__(self, program, tags, limit, budget_ms=None):
        self.cases = self.failed = self.executions = self.explored = self.whole = 0
        with tempfile.TemporaryDirectory() as folder:
            record = pathlib.Path(folder, "record")
            environment = {"INTERLOCK_PROVE_RECORD": str(record)}
            if budget_ms:
                environment["INTERLOCK_PROVE_BUDGET"] = str(budget_ms)
            status, self.output = run([program] + tags, limit, **environment)
            lines = record.read_text().split("\n") if record.exists() else []
        for line in lines:
            fields = line.split("\t")
            if fields[0] == "explored":
                self.explored += 1
                self.executions += int(fields[1])
                self.whole += fields[4] == "whole"
        passed, failed = PASSED.search(self.output), FAILED.search(self.output)
        if failed:
            self.cases, self.failed = int(failed[1]), int(failed[3])
        elif passed:
            self.cases = int(passed[2])
        if status != 0 and self.failed == 0:
            self.failed = 1
        if self.failed:
            print(self.output[-3000:], flush=True)


def at_once(function, items):
    """[function(item)], as many at a time as there are processors."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(function, items))


def total(results, name):
    return sum(getattr(result, name) for result in results)


def human(number):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"


def kit(table, programs):
    """The explorer, judged by what is known of its answers."""
    names = sorted(p for p in programs.glob("testing.*.model*") if os.access(p, os.X_OK))
    results = dict(zip((p.name for p in names), at_once(lambda p: Catch(p, [], 300), names)))
    fronts = [[r for n, r in results.items() if n.endswith(".b") == b] for b in (False, True)]
    table.add("the kit's own cases, std::atomic as it is", "all",
              f"{total(fronts[0], 'cases')} cases, {human(total(fronts[0], 'executions'))} "
              f"executions, {total(fronts[0], 'failed')} failed", total(fronts[0], "failed") == 0)
    table.add("the same with testing::atomic", "all",
              f"{total(fronts[1], 'cases')} cases, {human(total(fronts[1], 'executions'))} "
              f"executions, {total(fronts[1], 'failed')} failed", total(fronts[1], "failed") == 0)
    for what, goal, word in (("litmus tests, both fronts alike", 100, "litmus tests"),
                             ("programs whose executions are counted, both alike", 60, "programs counted")):
        found = [int(n) for r in results.values()
                 for n in re.findall(rf"^\s*{word}: (\d+)", r.output, re.M)]
        here = min(found) if len(found) >= 2 else 0
        table.add(what, f">= {goal}", str(here), here >= goal)


def types(table, programs, quick, minutes):
    """Our types: what each says of itself, in every execution."""
    names = sorted(p for p in programs.glob("*.model")
                   if not p.name.startswith(("testing.", "example.")) and os.access(p, os.X_OK))
    results = at_once(lambda p: Catch(p, [], 300), names)
    for name, result in zip(names, results):
        print(f"    {name.name:<32}{result.cases:>4} cases {human(result.executions):>9} executions")
    table.add(f"{len(names)} programs for our types, all executions", "all",
              f"{total(results, 'cases')} cases, {human(total(results, 'executions'))} executions, "
              f"{total(results, 'failed')} failed", total(results, "failed") == 0)
    if quick:
        return
    counts = []
    for program in names:
        _, text = run([program, "--list-tests", "[.deep]"], 60)
        counts.append(len(re.findall(r"^  \S", text, re.M)))
    # A case may explore more than one body; each may use all that one case has.
    budget = int(minutes * 60_000 / max(1, sum(counts)))
    deep = []
    for program, count in zip(names, counts):  # one at a time: each takes all processors
        if count == 0:
            continue
        deep.append(Catch(program, ["[.deep]"], 60 + 4 * count * budget / 1000, budget))
        print(f"    {program.name:<32}{deep[-1].cases:>4} long  {human(deep[-1].executions):>9} "
              f"executions, {deep[-1].whole} of {deep[-1].explored} whole")
    table.add("long ones (3 x 2, 4 x 1), as far as the time goes", "none fails",
              f"{human(total(deep, 'executions'))} executions, {total(deep, 'failed')} failed",
              total(deep, "failed") == 0)
    whole, explored = total(deep, "whole"), total(deep, "explored")
    table.add("long ones explored to their end", "all", f"{whole} of {explored}", whole == explored,
              decides=False, why=f"each had {budget / 1000:.1f} s here; --nightly gives them more. "
              "Which end, and how many executions they have: docs/internals/explorer.md")


def mutants(table, programs):
    status, text = run([sys.executable, ROOT / "tools" / "mutate_orders.py", "--programs", programs],
                       600)
    goals = {"order": (1.0, "all but the equivalent", 10), "logic": (0.95, ">= 95 %", None)}
    for family, (share, goal, seconds) in goals.items():
        row = re.search(rf"^{family}\s+(\d+)\s+(\d+)\s+(\d+)\s+\d+\s+(\d+)\s+([\d.]+)", text, re.M)
        if not row:
            table.add(f"{family} mutants killed", goal, "no answer", False)
            continue
        everything, killed, equivalent = int(row[1]), int(row[2]), int(row[3])
        rest = everything - equivalent
        table.add(f"{family} mutants killed", goal,
                  f"{killed} of {rest} ({100 * killed / max(1, rest):.1f} %), "
                  f"{equivalent} equivalent", killed >= share * rest and rest > 0)
        if seconds:
            table.add(f"{family} mutants, time", f"< {seconds} s", f"{float(row[5]):.1f} s",
                      float(row[5]) < seconds, decides=False)
    if status != 0:
        print(text[-4000:])


def seeded_engines(table, programs):
    begin = time.monotonic()
    status, text = run([sys.executable, ROOT / "tests" / "testing" / "seeded_engines.py",
                        "--build", programs.parents[1]], 900)
    found = re.search(r"(\d+) of (\d+)", text)
    table.add("wrong engines noticed by the kit's cases", "all",
              f"{found[0] if found else 'no answer'}, {time.monotonic() - begin:.0f} s", status == 0)
    if status != 0:
        print(text[-3000:])


def scenarios(table, lab):
    status, text = run([lab, "--explain", "all", "--json", "-", "--no-html"], 300)
    try:
        races = json.loads(text[text.index("{"):text.rindex("}") + 1])
        forms = [form for race in races.values() for form in race["explored"].values()]
    except (ValueError, KeyError, AttributeError):
        forms = []
    wrong = [form for form in forms if form["kind"] != "fixed"]
    fixed = [form for form in forms if form["kind"] == "fixed"]
    lost = sum(form["loses"] and form["interleaving"] != [] for form in wrong)
    whole = sum(form["whole"] and not form["loses"] for form in fixed)
    table.add("scenarios: naive forms and tempting cures that lose in an interleaving", "all",
              f"{lost} of {len(wrong)}", status == 0 and lost == len(wrong) > 0)
    table.add("scenarios: fixed forms explored whole, none loses", "all",
              f"{whole} of {len(fixed)}", status == 0 and whole == len(fixed) > 0)
    if status != 0:
        print(text[-2000:])


def histories(table, program, quick):
    status, text = run([program, "20" if quick else "1"], 300)
    goals = {"counter": 3, "queue": 3, "compare-and-set": 5}
    table.add("histories: a wrong one is caught in each speed run", "all",
              "yes" if status == 0 else "no", status == 0)
    for name, goal in goals.items():
        row = re.search(rf"^history {name}\s+(\d+)\s+([\d.]+)", text, re.M)
        if not row:
            table.add(f"history of a {name}", f"< {goal} s", "no answer", False)
            continue
        table.add(f"history of a {name}: {human(int(row[1]))} operations",
                  f"< {goal} s" if not quick else "", f"{float(row[2]):.2f} s",
                  float(row[2]) < goal if not quick else None, decides=False)


def speed(table, program, quick):
    status, text = run([program, "0.05" if quick else "0.2"], 300)
    for most, goal, least in ((12, 1e6, 0), (25, 0.5e6, 13)):
        rows = [(name, float(rate)) for name, events, rate in
                re.findall(r"^speed (\S+)\s+(\d+)\s+\S+\s+\S+\s+\S+\s+(\d+)", text, re.M)
                if least <= int(events) <= most]
        if status != 0 or not rows:
            table.add(f"executions a second, up to {most} events", human(goal), "no answer", False)
            continue
        rates = sorted(rate for _, rate in rows)
        best = max(rows, key=lambda row: row[1])
        middle = rates[len(rates) // 2]
        table.add(f"executions a second and core, {least or 1} to {most} events",
                  f">= {human(goal)}", f"median of {len(rows)} programs {human(middle)}, "
                  f"from {human(rates[0])} to {human(best[1])}", middle >= goal, decides=False,
                  why="instructions are the limit: about 1300 for an event of a run, none of the "
                  "parts above 15 %, at 3 for a cycle; an exploration of a few executions also pays "
                  "three runs that check that the body is deterministic")


def size(table):
    def lines(folder, pattern):
        count = 0
        for path in sorted((ROOT / folder).glob(pattern)):
            for line in path.read_text().split("\n"):
                text = line.strip()
                count += bool(text) and not text.startswith("//")
        return count
    explorer = lines("src/testing", "*.*pp")
    headers = lines("include/interlock/testing", "*.hpp")
    table.add("the kit's lines of code (engine + headers)", "<= 3000",
              f"{explorer} + {headers} = {explorer + headers}", explorer + headers <= 3000,
              decides=False, why="a little over a quarter is the algorithm; the rest is what a "
              "program may do besides atomics (locks, time, memory, stacks), the modes, the reports "
              "and mutants, and the history checker: docs/internals/explorer.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nightly", type=float, metavar="MINUTES")
    parser.add_argument("--json", metavar="FILE", help="the table as JSON; - is the output")
    arguments = parser.parse_args()
    if arguments.quick and arguments.nightly:
        parser.error("--quick and --nightly ask for opposite things; give one of them")
    if arguments.nightly is not None and arguments.nightly <= 0:
        parser.error("--nightly needs a number of minutes above 0")
    programs = arguments.build / "tests" / "testing"
    if not programs.is_dir():
        parser.error(f"{programs} does not exist; scripts/prove builds it")
    begin = time.monotonic()
    table = Table()
    kit(table, programs)
    types(table, programs, arguments.quick, arguments.nightly or 1.5)
    mutants(table, programs)
    scenarios(table, arguments.build / "examples" / "lab" / "lab")
    histories(table, arguments.build / "tests" / "testing.history_speed", arguments.quick)
    speed(table, programs / "testing.speed", arguments.quick)
    size(table)
    if not arguments.quick:
        seeded_engines(table, programs)
    table.show()
    good = table.good()
    held = sum(row["holds"] is not False for row in table.rows)
    print(f"\n{time.monotonic() - begin:.0f} s; {len(table.rows)} gates, {len(table.rows) - held} "
          f"short or failed")
    print(f"{sum(r['holds'] is not False or not r['decides'] for r in table.rows)} passed, "
          f"{sum(r['holds'] is False and r['decides'] for r in table.rows)} failed")
    if arguments.json:
        text = json.dumps({"gates": table.rows, "good": good}, indent=1)
        if arguments.json == "-":
            print(text)
        else:
            pathlib.Path(arguments.json).write_text(text + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
