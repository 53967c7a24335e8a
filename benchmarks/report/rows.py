# SPDX-License-Identifier: BSL-1.0
"""What was measured, and what follows from it: ratios, goals met or missed, where we lose.

A name is FAMILY/CONTENDER/SITUATION, or FAMILY/JOB/WHO/SITUATION where several do one job. What has
no situation is a figure of its own, FAMILY/JOB/WHO.
"""
import statistics

SITUATIONS = ["alone", "2 threads", "oversubscribed", "beside a writer", "that writer",
              "among writers", "elapsed", "client CPU", "64 callers"]
OURS = "interlock::"
ENOUGH_WINDOWS = 20  # as in support/timing.hpp
UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def parts(name):
    """(family, job or "", who, situation or "")"""
    family, *rest = name.split("/")
    situation = rest.pop() if len(rest) > 1 and rest[-1] in SITUATIONS else ""
    who = rest.pop()
    return family, "/".join(rest), who, situation


def label(name):
    """A name without its family, and with its situation after a comma."""
    _, job, who, situation = parts(name)
    return ", ".join(part for part in (f"{job}: {who}" if job else who, situation) if part)


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


class Measured:
    """times: {name: [nanoseconds of each repetition]}; figures: {name: (value, unit)}, which are no
    times; windows: {name: how many windows of a duel counted, in the median repetition}. The names
    are in the order in which the programs register them."""

    def __init__(self):
        self.times, self.figures, self.windows = {}, {}, {}

    def add(self, benchmarks):
        """Takes in the rows of one program's report. Throws ValueError if one of them failed."""
        windows = {}
        for row in sorted(benchmarks, key=lambda row: row.get("family_index", 0)):
            if row.get("run_type") != "iteration":
                continue
            if row.get("error_occurred"):
                raise ValueError(f"{row['name']}: {row.get('error_message')}")
            manual = "/manual_time" in row["name"]
            name = row["name"].split("/iterations:")[0].removesuffix("/manual_time")
            if "figure" in row:
                self.figures[name] = (row["figure"], row.get("label", ""))
                continue
            ns = (row["real_time"] if manual else row["cpu_time"]) * UNITS[row["time_unit"]]
            self.times.setdefault(name, []).append(ns)
            if "windows" in row:
                windows.setdefault(name, []).append(row["windows"])
            if "that writer" in row:
                other = name.removesuffix("beside a writer") + "that writer"
                self.times.setdefault(other, []).append(row["that writer"])
        self.windows.update({name: statistics.median(many) for name, many in windows.items()})


    def unsure(self):
        """The names of the duels with so few clean windows that all of them had to count."""
        few = {name for name, windows in self.windows.items() if windows < ENOUGH_WINDOWS}
        return few | {name.removesuffix("beside a writer") + "that writer" for name in few
                      if name.endswith("beside a writer")}


def ratios(first, second):
    return quartiles([a / b for a, b in zip(first, second)])


def missing(name, families, skipped):
    """Why there is no such figure: None if its family, its peer or the engine that its job begins
    with was left out, else an error."""
    family, job, who, _ = parts(name)
    if family not in families:
        return None
    if any(who.startswith(peer["name"]) or job.startswith(peer["name"] + " ") for peer in skipped):
        return None
    raise ValueError(f"'{name}' was not measured")


def compare(goals, measured, families, skipped):
    """One row for each line of goals.json that this run can answer."""
    out = []
    for goal in goals:
        row = absolute(goal, measured) if "unit" in goal else ratio(goal, measured)
        if row is None:
            for name in (goal["name"], goal.get("yardstick", goal["name"])):
                if name not in measured.times and name not in measured.figures:
                    missing(name, families, skipped)
            continue
        row["family"] = parts(goal["name"])[0]
        row["goal"] = goal["goal"]
        row["met"] = None if goal["goal"] is None else row["figure"] <= goal["goal"]
        if goal["name"] in measured.windows:
            row["clean_windows"] = measured.windows[goal["name"]]
        if {goal["name"], goal.get("yardstick")} & measured.unsure():
            row["met"] = None  # nobody knows
        out.append(row)
    return out


def ratio(goal, measured):
    name, yardstick = goal["name"], goal["yardstick"]
    if name not in measured.times or yardstick not in measured.times:
        return None
    low, figure, high = ratios(measured.times[name], measured.times[yardstick])
    return {"name": name, "figure": round(figure, 4), "low": round(low, 4), "high": round(high, 4),
            "unit": "", "yardstick": yardstick,
            "ns": round(statistics.median(measured.times[name]), 3),
            "yardstick_ns": round(statistics.median(measured.times[yardstick]), 3)}


def absolute(goal, measured):
    name = goal["name"]
    if name in measured.figures:
        low = figure = high = measured.figures[name][0]
    elif name in measured.times:
        low, figure, high = quartiles(measured.times[name])
    else:
        return None
    return {"name": name, "figure": round(figure, 4), "low": round(low, 4), "high": round(high, 4),
            "unit": goal["unit"], "yardstick": None, "yardstick_ns": None,
            "ns": round(figure, 3) if goal["unit"] == "ns" else None}


def jobs(measured):
    """{family: {job: {who: {situation: (low, median, high)}}}}, of the names that have a job; the
    fastest comes first."""
    out = {}
    for name, values in measured.times.items():
        family, job, who, situation = parts(name)
        if job:
            everybody = out.setdefault(family, {}).setdefault(job, {})
            everybody.setdefault(who, {})[situation] = quartiles(values)
    for its_jobs in out.values():
        for job, everybody in its_jobs.items():
            by_time = sorted(everybody.items(), key=lambda one: next(iter(one[1].values()))[1])
            its_jobs[job] = dict(by_time)
    return out


def losses(measured, compared):
    """Where somebody who does the same job in the same situation was faster than we by over 2 % in
    three quarters of the repetitions: (name, ns, [(who, ratio)]), worst first. In families without
    jobs: rows that are slower than their yardstick. Without duels that have too few windows."""
    out = []
    unsure = measured.unsure()
    for name, values in measured.times.items():
        family, job, who, situation = parts(name)
        if not job or not who.startswith(OURS):
            continue
        faster = []
        for other, others in measured.times.items():
            if parts(other)[:2] != (family, job) or parts(other)[3] != situation:
                continue
            if name in unsure or other in unsure:
                continue
            low, middle, _ = ratios(values, others)
            if not parts(other)[2].startswith(OURS) and low > 1.02:
                faster.append((parts(other)[2], middle))
        if faster:
            faster.sort(key=lambda one: -one[1])
            out.append((name, statistics.median(values), faster))
    for row in compared:
        family, job, who, situation = parts(row["name"])
        if not job and row["yardstick"] and row["figure"] > 1 and not who.startswith("std::"):
            out.append((row["name"], row["ns"], [(parts(row["yardstick"])[2], row["figure"])]))
    return sorted(out, key=lambda loss: -loss[2][0][1])
