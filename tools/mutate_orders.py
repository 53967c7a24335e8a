#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""mutate_orders - weakens each memory order of the library, and changes each atomic access and each
notify, one line at a time; some model test must notice.

Runs the hidden case [.mutants] of each model program (tests/*.model.cpp) in --programs. Nothing is
recompiled: the explorer makes the change at run time. A mutant is killed if one program fails with
it. What survives is in tests/equivalent_mutants.txt with the proof that it changes nothing, a line
each:   FILE | CODE | CHANGE | WHY     (FILE under include/interlock, CODE its source line)
A WHY that begins with "open:" is no proof: the mutant changes something, and no program says so in
the time that there is. Such a one counts as not killed.

Ends with 1 if a mutant survives that is not listed, if one is undecided, or if a listed one is
killed or does not exist.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import time

KILLED, SURVIVED, UNDECIDED = "killed", "survived", "undecided"


def squeeze(text):
    return " ".join(text.split())


class Sources:
    """Lines of the library's headers by the place that a program reports: "file.hpp:12"."""

    def __init__(self, root):
        self.lines = {}
        for path in sorted((root / "include" / "interlock").rglob("*.hpp")):
            if path.parent.name != "testing":
                self.lines[path.name] = [squeeze(x) for x in path.read_text().split("\n")]

    def code(self, place):
        """The text of the line; None if it is none of the library's."""
        name, _, number = place.rpartition(":")
        lines = self.lines.get(name)
        if lines is None or not number.isdigit() or int(number) > len(lines):
            return None
        text = lines[int(number) - 1]
        earlier = lines[:int(number) - 1].count(text)
        return f"{text} #{earlier + 1}" if earlier else text


def read_equivalents(path):
    """{(file, code, change): why}, and what is wrong with the file."""
    known, wrong = {}, []
    for number, line in enumerate(path.read_text().split("\n") if path.exists() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [squeeze(x) for x in line.split(" | ")]
        if len(parts) != 4 or not parts[3]:
            wrong.append(f"{path.name}:{number}: not FILE | CODE | CHANGE | WHY")
        else:
            known[tuple(parts[:3])] = parts[3]
    return known, wrong


def run_program(program, family, skip, limit):
    """What one program says of its mutants: [(place, change, fate)], and its error if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        record, done = pathlib.Path(folder, "record"), pathlib.Path(folder, "skip")
        done.write_text("".join(f"{place}\t{change}\n" for place, change in sorted(skip)))
        environment = dict(os.environ, INTERLOCK_PROVE_RECORD=str(record),
                           INTERLOCK_PROVE_SKIP=str(done), INTERLOCK_PROVE_MUTANTS=family)
        try:
            result = subprocess.run([str(program), "[.mutants]"], env=environment, text=True,
                                    capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return [], f"{program.name}: no end within {limit} s"
        lines = record.read_text().split("\n") if record.exists() else []
        found = [tuple(line.split("\t")[1:4]) for line in lines if line.startswith("mutant\t")]
        if result.returncode != 0:
            return found, f"{program.name}: failed\n{result.stdout[-2000:]}{result.stderr[-500:]}"
        return found, None


def run_family(programs, family, sources, jobs, limit):
    """{(place, change): fate} over all programs."""
    fates, errors = {}, []

    def one(program):
        killed = {mutant for mutant, fate in list(fates.items()) if fate == KILLED}
        found, error = run_program(program, family, killed, limit)
        if error:
            errors.append(error)
        for place, change, fate in found:
            if sources.code(place) is None:
                continue
            old = fates.get((place, change))
            if old != KILLED and (old is None or fate == KILLED or fate == UNDECIDED):
                fates[(place, change)] = fate

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, programs))
    return fates, errors


def judge(family, fates, sources, equivalents, used):
    """Counts, and a line for each mutant that should have died."""
    counts = {"mutants": 0, "killed": 0, "equivalent": 0, "open": 0, "alive": 0}
    alive = []
    for (place, change), fate in sorted(fates.items()):
        counts["mutants"] += 1
        name = place.rpartition(":")[0]
        key = (name, sources.code(place), change)
        if fate == KILLED:
            counts["killed"] += 1
            if key in equivalents:
                alive.append(f"{place}: {change}: killed, though it is listed as equivalent")
                used.add(key)
        elif key in equivalents and fate == SURVIVED:
            counts["open" if equivalents[key].startswith("open:") else "equivalent"] += 1
            used.add(key)
        else:
            used.add(key)
            counts["alive"] += 1
            alive.append(f"{place}: {change}: {fate} ({family})\n    {name} | {key[1]} | {change} | ")
    return counts, alive


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[1])
    parser.add_argument("--programs", type=pathlib.Path, required=True,
                        help="folder of the built model programs")
    parser.add_argument("--family", choices=["order", "logic"], action="append")
    parser.add_argument("--only", help="the programs whose name contains this; then no listed "
                        "mutant has to exist")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int, default=120, help="seconds for one program")
    arguments = parser.parse_args()
    programs = sorted(p for p in arguments.programs.glob("*.model")
                      if not p.name.startswith(("testing.", "example.")) and
                      os.access(p, os.X_OK) and
                      (arguments.only or "") in p.name)
    if not programs:
        print(f"mutate_orders: no model program in {arguments.programs}; build the target "
              "model_tests", file=sys.stderr)
        return 2
    sources = Sources(arguments.root)
    equivalents, problems = read_equivalents(arguments.root / "tests" / "equivalent_mutants.txt")
    used = set()
    print(f"{'mutants of':<12}{'all':>6}{'killed':>8}{'equivalent':>12}{'open':>6}{'alive':>7}{'seconds':>9}")
    for family in arguments.family or ["order", "logic"]:
        begin = time.monotonic()
        fates, errors = run_family(programs, family, sources, arguments.jobs, arguments.limit)
        counts, alive = judge(family, fates, sources, equivalents, used)
        print(f"{family:<12}{counts['mutants']:>6}{counts['killed']:>8}{counts['equivalent']:>12}"
              f"{counts['open']:>6}{counts['alive']:>7}{time.monotonic() - begin:>9.1f}")
        problems += errors + alive
    if not arguments.only and not arguments.family:
        for key in sorted(set(equivalents) - used):
            problems.append("listed, but no such mutant: " + " | ".join(key))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
