#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs the benchmark programs, compares each contender with its yardstick of the same run, and
reports: a table, --json rows, one offline HTML page.

A figure is the median over the repetitions of (contender / yardstick); low and high are the
quartiles. Repetitions of one program are interleaved at random.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


class Stop(Exception):
    """Ends the run with one clear line and exit status 2."""


class Arguments(argparse.ArgumentParser):
    def error(self, message):
        raise Stop(f"{message}; scripts/bench --help explains the options")


def arguments(argv):
    parser = Arguments(prog="scripts/bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("family", nargs="*", help="only these families (default: all)")
    parser.add_argument("--list", action="store_true", help="list the families and stop")
    parser.add_argument("--quick", action="store_true", help="short: does everything run?")
    parser.add_argument("--repetitions", type=int, metavar="N", help="repetitions (default 9)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there (- for standard output)")
    parser.add_argument("--html", metavar="FILE", default="bench-report.html",
                        help="the page (default: %(default)s)")
    parser.add_argument("--programs", metavar="DIR", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--goals", metavar="FILE", default=HERE.parent / "goals.json",
                        help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.repetitions is None:
        options.repetitions = 3 if options.quick else 9
    if options.repetitions < 1:
        raise Stop(f"--repetitions {options.repetitions}: use at least 1")
    return options


def check_writable(file):
    if file in (None, "-"):
        return
    folder = pathlib.Path(file).resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or pathlib.Path(file).is_dir():
        raise Stop(f"cannot write '{file}'; name a file in a folder that exists and is writable")


def write_whole(file, text):
    """All of it or nothing: a reader never meets half a file."""
    folder = pathlib.Path(file).resolve().parent
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as part:
        part.write(text)
    os.chmod(part.name, 0o644)
    os.replace(part.name, file)


def programs(folder, wanted):
    found = {p.name.removesuffix(".bench"): p for p in sorted(pathlib.Path(folder).glob("*.bench"))}
    for family in wanted:
        if family not in found:
            raise Stop(f"unknown family '{family}'; known: {', '.join(found) or 'none'}")
    return {family: found[family] for family in (wanted or found)}


def run(program, options):
    """Returns {name: [ns of each repetition]}, the context, and {name: clean windows}."""
    least = 0.01 if options.quick else 0.1
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [str(program), f"--benchmark_repetitions={options.repetitions}",
                   "--benchmark_enable_random_interleaving=true",
                   f"--benchmark_min_time={least}", f"--benchmark_out={out.name}",
                   "--benchmark_out_format=json"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Stop(f"{program.name} ended with status {done.returncode}: {done.stderr[-300:]}")
        data = json.load(open(out.name, encoding="utf-8"))
    times, windows = {}, {}
    for row in data["benchmarks"]:
        if row.get("run_type") != "iteration":
            continue
        if row.get("error_occurred"):
            raise Stop(f"{row['name']}: {row.get('error_message')}")
        manual = "/manual_time" in row["name"]
        name = row["name"].split("/iterations:")[0].removesuffix("/manual_time")
        unit = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[row["time_unit"]]
        times.setdefault(name, []).append((row["real_time"] if manual else row["cpu_time"]) * unit)
        if "windows" in row:
            windows.setdefault(name, []).append(row["windows"])
    return times, data["context"], {n: statistics.median(w) for n, w in windows.items()}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def compare(goals, times):
    rows = []
    for goal in goals:
        name, yardstick = goal["name"], goal["yardstick"]
        if name not in times:
            continue
        if yardstick not in times:
            raise Stop(f"goals.json: the yardstick '{yardstick}' of '{name}' was not measured")
        low, figure, high = quartiles([a / b for a, b in zip(times[name], times[yardstick])])
        rows.append({
            "name": name, "family": name.split("/")[0], "figure": round(figure, 4),
            "low": round(low, 4), "high": round(high, 4), "yardstick": yardstick,
            "goal": goal["goal"], "met": None if goal["goal"] is None else figure <= goal["goal"],
            "ns": round(statistics.median(times[name]), 3),
            "yardstick_ns": round(statistics.median(times[yardstick]), 3)})
    return rows


def table(rows):
    lines = [f"{'':44} {'ns':>9} {'ratio':>8} {'low':>8} {'high':>8} {'goal':>6}  to"]
    family = None
    for row in rows:
        if row["family"] != family:
            family = row["family"]
            lines += ["", family]
        goal = "-" if row["goal"] is None else f"{row['goal']:g}"
        mark = {None: "", True: "  met", False: "  NOT MET"}[row["met"]]
        name = row["name"].split("/", 1)[1]
        yardstick = row["yardstick"].split("/", 1)[1].removesuffix("/" + name.rsplit("/", 1)[-1])
        lines.append(f"  {name:42} {row['ns']:9.2f} {row['figure']:8.3f} {row['low']:8.3f} "
                     f"{row['high']:8.3f} {goal:>6}  {yardstick}{mark}")
    lost = [r for r in rows if r["figure"] > 1 and "/std::" not in r["name"]]
    lines += ["", "where we lose (slower than the yardstick), worst first"]
    for row in sorted(lost, key=lambda r: -r["figure"]):
        lines.append(f"  {row['name']:56} {row['figure']:8.2f} x {row['yardstick']}")
    if not lost:
        lines.append("  nowhere in this run")
    return "\n".join(lines)


def main(argv):
    options = arguments(argv)
    check_writable(options.json)
    check_writable(options.html)
    chosen = programs(options.programs, options.family)
    if options.list:
        print("\n".join(chosen))
        return 0
    goals = json.load(open(options.goals, encoding="utf-8"))
    times, windows, context = {}, {}, {}
    for number, (family, program) in enumerate(chosen.items(), 1):
        if sys.stderr.isatty():
            print(f"\r\033[K[{number}/{len(chosen)}] {family}", end="", file=sys.stderr)
        new_times, context, new_windows = run(program, options)
        times.update(new_times)
        windows.update(new_windows)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    rows = compare(goals, times)
    for row in rows:
        if row["name"] in windows:
            row["clean_windows"] = windows[row["name"]]
    quiet = options.json == "-"
    if not quiet:
        print(table(rows))
    from page import page  # beside this file
    write_whole(options.html, page(rows, times, context, options))
    if options.json == "-":
        json.dump(rows, sys.stdout, indent=1)
        print()
    elif options.json:
        write_whole(options.json, json.dumps(rows, indent=1) + "\n")
    if not quiet:
        print(f"\n{options.html}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        print(f"scripts/bench: {stop}", file=sys.stderr)
        sys.exit(2)
