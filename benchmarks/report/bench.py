#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs the benchmark programs, compares each contender with its yardstick of the same run, and
reports: a table, --json rows, one offline HTML page.

A figure is the median over the repetitions of (contender / yardstick); low and high are the
quartiles. Repetitions of one program are interleaved at random.
"""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import rows
import table

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]


class Stop(Exception):
    """Ends the run with one clear line and exit status 2."""


class Arguments(argparse.ArgumentParser):
    def error(self, message):
        raise Stop(f"{message}; scripts/bench --help explains the options")


def known_families():
    """From the sources, so that nothing has to be built to name them."""
    single = {p.name.removesuffix(".bench.cpp") for p in BENCHMARKS.glob("*.bench.cpp")}
    return sorted(single | {p.parent.name for p in BENCHMARKS.glob("*/*.bench.cpp")})


def arguments(argv):
    parser = Arguments(prog="scripts/bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("family", nargs="*", help="only these families (default: all)")
    parser.add_argument("--list", action="store_true", help="list the families and stop")
    parser.add_argument("--peers", action="store_true",
                        help="first install the other libraries that ours are compared with")
    parser.add_argument("--quick", action="store_true", help="short: does everything run?")
    parser.add_argument("--loaded", action="store_true",
                        help="with busy threads beside it, as on a machine that has other work")
    parser.add_argument("--busy", type=int, metavar="N", default=2,
                        help="how many threads a CPU --loaded keeps busy (default %(default)s)")
    parser.add_argument("--repetitions", type=int, metavar="N", help="repetitions (default 9)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there (- for standard output)")
    parser.add_argument("--html", metavar="FILE", default="bench-report.html",
                        help="the page (default: %(default)s)")
    parser.add_argument("--programs", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--targets", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--goals", metavar="FILE", default=BENCHMARKS / "goals.json",
                        help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.repetitions is None:
        options.repetitions = 3 if options.quick else 9
    if options.repetitions < 1:
        raise Stop(f"--repetitions {options.repetitions}: use at least 1")
    if options.busy < 1:
        raise Stop(f"--busy {options.busy}: use at least 1")
    known = known_families()
    for family in options.family:
        if family not in known:
            raise Stop(f"unknown family '{family}'; known: {', '.join(known)}")
    options.family = list(dict.fromkeys(options.family)) or known
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


def run(program, options):
    """Returns what Google Benchmark reports of the program: its context and its rows."""
    least = 0.01 if options.quick else 0.05
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [str(program), f"--benchmark_repetitions={options.repetitions}",
                   "--benchmark_enable_random_interleaving=true",
                   f"--benchmark_min_time={least}", f"--benchmark_out={out.name}",
                   "--benchmark_out_format=json"] + (["--quick"] if options.quick else [])
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True, check=False)
        except OSError as error:
            raise Stop(f"cannot run {program}: {error.strerror}; build the benchmarks") from error
        if done.returncode != 0:
            raise Stop(f"{program.name} ended with status {done.returncode}: {done.stderr[-300:]}")
        return json.load(open(out.name, encoding="utf-8"))


@contextlib.contextmanager
def background(options):
    """The busy threads of --loaded; they end with us, however we end: they wait on our pipe."""
    if not options.loaded:
        yield
        return
    program = pathlib.Path(options.programs) / "background_load"
    threads = options.busy * (os.cpu_count() or 1)
    try:
        busy = subprocess.Popen([str(program), str(threads)], stdin=subprocess.PIPE)
    except OSError as error:
        raise Stop(f"cannot run {program}: {error.strerror}; build the benchmarks") from error
    try:
        yield
    finally:
        busy.stdin.close()
        busy.wait()


def measure(options):
    """Runs the programs of the families. Returns what they measured, and the last one's context."""
    measured, context = rows.Measured(), {}
    for number, family in enumerate(options.family, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K[{number}/{len(options.family)}] {family}", end="", file=sys.stderr)
        data = run(pathlib.Path(options.programs) / f"{family}.bench", options)
        context = context or data["context"]
        try:
            measured.add(data["benchmarks"])
        except ValueError as error:
            raise Stop(str(error)) from error
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return measured, context


def situation(options, context):
    """One line that says what else ran."""
    load = ", ".join(f"{value:.2f}" for value in context.get("load_avg", []))
    if options.loaded:
        return (f"loaded run: {options.busy} busy threads a CPU beside it; load average {load} "
                "when it began")
    return f"quiet run: nothing of ours beside it; load average {load} when it began"


def main(argv):
    options = arguments(argv)
    if options.list:
        print("\n".join(known_families()))
        return 0
    check_writable(options.json)
    check_writable(options.html)
    if options.targets:  # for the build that comes before the run
        load = ["background_load"] if options.loaded else []
        print(" ".join([f"{family}.bench" for family in options.family] + load))
        return 0
    if options.programs is None:
        raise Stop("--programs DIR: where are they? Run scripts/bench, which builds them")
    goals = json.load(open(options.goals, encoding="utf-8"))
    peers = json.load(open(pathlib.Path(options.programs) / "peers.json", encoding="utf-8"))
    skipped = [peer for peer in peers
               if not peer["found"] and set(peer["families"]) & set(options.family)]
    with background(options):
        measured, context = measure(options)
    try:
        compared = rows.compare(goals, measured, options.family, skipped)
    except ValueError as error:
        raise Stop(f"goals.json: {error}") from error
    for row in compared:
        row["run"] = "loaded" if options.loaded else "quiet"
    report = {"rows": compared, "jobs": rows.jobs(measured), "losses": rows.losses(measured, compared),
              "unsure": measured.unsure(), "skipped": skipped, "situation": situation(options, context)}
    if options.json != "-":
        print(table.text(report))
    from page import page  # beside this file
    write_whole(options.html, page(report, measured.times, context, options))
    if options.json == "-":
        json.dump(compared, sys.stdout, indent=1)
        print()
    elif options.json:
        write_whole(options.json, json.dumps(compared, indent=1) + "\n")
    if options.json != "-":
        print(f"\n{options.html}")
    return 0


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:  # whoever read the table has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Stop as stop:
        print(f"scripts/bench: {stop}", file=sys.stderr)
        sys.exit(2)
