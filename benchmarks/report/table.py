# SPDX-License-Identifier: BSL-1.0
"""The report as text."""
import rows
from rows import label


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def goal_lines(compared):
    width = max([len(label(row["name"])) for row in compared], default=0)
    lines = [f"  {'':{width}}  {'figure':>8} {'low':>8} {'high':>8} {'goal':>7}"]
    for row in compared:
        goal = "-" if row["goal"] is None else number(row["goal"])
        mark = {None: "" if row["goal"] is None else "unsure", True: "met", False: "NOT MET"}[row["met"]]
        if row["yardstick"] is None:
            what = row["unit"]
        else:
            what = f"x {label(row['yardstick'])} ({number(row['ns'])} / {number(row['yardstick_ns'])} ns)"
        windows = row.get("clean_windows", rows.ENOUGH_WINDOWS)
        few = f" [{windows:.0f} clean windows]" if windows < rows.ENOUGH_WINDOWS else ""
        lines.append(f"  {label(row['name']):{width}}  {number(row['figure']):>8} "
                     f"{number(row['low']):>8} {number(row['high']):>8} {goal:>7}  {mark:7}  {what}{few}")
    return lines


def job_lines(everybody, unsure):
    """One line for each contender, one column for each situation: the median and its spread."""
    used = [s for s in rows.SITUATIONS if any(s in figures for figures in everybody.values())]
    width = max(len(who) for who in everybody)
    lines = [f"    {'':{width}}" + "".join(f" {situation:>16}" for situation in used)]
    for who, figures in everybody.items():
        cells = []
        for situation in used:
            if situation in figures:
                low, middle, high = figures[situation]
                share = f"+-{50 * (high - low) / middle:.0f}%" if middle else ""
                mark = "?" if (who, situation) in unsure else " "
                cells.append(f" {number(middle):>8}{mark} {share:>6}")
            else:
                cells.append(f" {'':16}")
        lines.append(f"    {who:{width}}" + "".join(cells).rstrip())
    return lines


def loss_lines(losses):
    lines = []
    for name, ns, faster in losses:
        others = "; ".join(f"{ratio:.2f} x {who}" for who, ratio in faster)
        lines.append(f"  {name.split('/')[0]} / {label(name)}: {number(ns)} ns is {others}")
    return lines or ["  nowhere in this run"]


def text(report):
    compared = report["rows"]
    lines = [report["situation"]]
    lines += [f"skipped: {peer['name']} ({peer['remedy']})" for peer in report["skipped"]]
    for family in dict.fromkeys([row["family"] for row in compared] + list(report["jobs"])):
        mine = [row for row in compared if row["family"] == family]
        lines += ["", family] + (goal_lines(mine) if mine else [])
        for job, everybody in report["jobs"].get(family, {}).items():
            lines += ["", f"  {job}: ns an operation, and half the distance of its quartiles"]
            unsure = {rows.parts(name)[2:] for name in report["unsure"]
                      if rows.parts(name)[:2] == (family, job)}
            lines += job_lines(everybody, unsure)
    with_goal = [row for row in compared if row["goal"] is not None]
    missed = [row for row in with_goal if row["met"] is False]
    unsure = [row for row in with_goal if row["met"] is None]
    lines += ["", f"goals missed: {len(missed)} of {len(with_goal)}"
              + (f"; too few clean windows to say: {len(unsure)}" if unsure else "")]
    for row in missed:
        lines.append(f"  {row['family']} / {label(row['name'])}: {number(row['figure'])}, "
                     f"goal {number(row['goal'])} {row['unit'] or 'x ' + label(row['yardstick'])}")
    lines += ["", "where we lose: somebody else was faster at the same job, worst first"
              + (" (without the figures that have a '?')" if report["unsure"] else "")]
    return "\n".join(lines + loss_lines(report["losses"]))
