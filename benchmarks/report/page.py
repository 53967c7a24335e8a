# SPDX-License-Identifier: BSL-1.0
"""The benchmark page: one offline HTML file, drawn with inline SVG, no script, no request."""
import datetime
import html
import math
import os
import pathlib
import platform
import shlex
import statistics
import subprocess

import rows as measured

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"]

STYLE = """
:root{--ink:#1c1e21;--soft:#5c6470;--line:#d9dde3;--paper:#fbfbfa;--card:#fff;--bar:#0072b2;
--bad:#b3400a;--good:#00704f}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3af;--line:#363b43;--paper:#15171a;
--card:#1d2024;--bar:#6cb8ea;--bad:#ff9a5c;--good:#4fd1a5}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.2rem;margin:2.6rem 0 .6rem}
p{max-width:44rem}.soft{color:var(--soft)}nav a{margin-right:1rem}a{color:var(--bar)}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;
overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left}
.met{color:var(--good)}.missed{color:var(--bad);font-weight:600}
svg{display:block;max-width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
svg .soft{fill:var(--soft)}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;
font-size:.88rem;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
"""


def text(value):
    return html.escape(str(value), quote=True)


def threads_chart(group, times, cpus):
    """Nanoseconds by number of threads, log-log, whiskers from the quartiles; of all contenders of
    a (family, job)."""
    threads = {"alone": 1, "2 threads": 2, "oversubscribed": 4 * cpus}
    series = {}
    for name, values in times.items():
        *its_group, contender, situation = measured.parts(name)
        if tuple(its_group) == group and situation in threads:
            low, middle, high = measured.quartiles(values)
            series.setdefault(contender, []).append((threads[situation], low, middle, high))
    series = {k: sorted(v) for k, v in series.items() if len(v) > 1}
    if not series:
        return ""
    width, left, right, top, bottom = 880, 58, 370, 14, 34
    height = max(250, top + bottom + 14 * len(series))
    every = [value for points in series.values() for p in points for value in p[1:]]
    low = 10 ** math.floor(math.log10(max(min(every), 0.01)))
    high = 10 ** math.ceil(math.log10(max(every)))
    most = math.log2(4 * cpus)

    def x(count):
        return left + (width - left - right) * math.log2(count) / most

    def y(ns):
        share = (math.log10(max(ns, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return height - bottom - (height - top - bottom) * share

    out = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
           f'aria-label="{text(" / ".join(group))}: nanoseconds per operation by number of threads">']
    tick = low
    while tick <= high:
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
                   f'stroke="var(--line)"/><text class="soft" x="{left - 6}" y="{y(tick) + 4:.1f}" '
                   f'text-anchor="end">{tick:g} ns</text>')
        tick *= 10
    out.append(f'<line x1="{x(cpus):.1f}" x2="{x(cpus):.1f}" y1="{top}" y2="{height - bottom}" '
               f'stroke="var(--soft)" stroke-dasharray="3 3"/><text class="soft" '
               f'x="{x(cpus) + 4:.1f}" y="{top + 8}">{cpus} CPUs</text>')
    for count in sorted(set(threads.values())):
        out.append(f'<text class="soft" x="{x(count):.1f}" y="{height - bottom + 16}" '
                   f'text-anchor="middle">{count}</text>')
    out.append(f'<text class="soft" x="{(left + width - right) / 2}" y="{height - 2}" '
               f'text-anchor="middle">threads</text>')
    # Labels at the right end, moved apart where lines end close together.
    ends = sorted(((y(points[-1][2]), name) for name, points in series.items()))
    place = {}
    last = top - 14
    for wanted, name in ends:
        last = max(wanted, last + 14)
        place[name] = last
    over = max(0, last - (height - bottom))
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(p[0]):.1f},{y(p[2]):.1f}" for p in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for count, small, middle, large in points:
            out.append(f'<line x1="{x(count):.1f}" x2="{x(count):.1f}" y1="{y(small):.1f}" '
                       f'y2="{y(large):.1f}" stroke="{colour}"/><circle cx="{x(count):.1f}" '
                       f'cy="{y(middle):.1f}" r="3" fill="{colour}"><title>{text(name)}, {count} '
                       f'threads: {middle:.2f} ns ({small:.2f} to {large:.2f})</title></circle>')
        out.append(f'<line x1="{x(points[-1][0]) + 5:.1f}" y1="{y(points[-1][2]):.1f}" '
                   f'x2="{width - right + 14}" y2="{place[name] - over:.1f}" stroke="{colour}" '
                   f'stroke-opacity=".5"/><circle cx="{width - right + 19}" '
                   f'cy="{place[name] - over:.1f}" r="4" fill="{colour}"/><text '
                   f'x="{width - right + 27}" y="{place[name] - over + 4:.1f}">{text(name)}</text>')
    return "".join(out) + "</svg>"


def ratio_chart(rows):
    """One line a comparison: the ratio with its whisker, a rule at 1, a tick at the goal."""
    width, left, right, line = 880, 460, 60, 22
    height = line * len(rows) + 30
    every = [v for r in rows for v in (r["low"], r["high"], r["goal"] or r["figure"])] + [0.5, 2]
    low, high = math.log10(max(min(every), 1e-3)), math.log10(max(every))

    def x(ratio):
        return left + (width - left - right) * (math.log10(max(ratio, 1e-3)) - low) / (high - low)

    out = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
           'aria-label="ratio to the yardstick; the table below has the same figures">',
           f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="4" y2="{height - 22}" stroke="var(--soft)" '
           f'stroke-dasharray="3 3"/><text class="soft" x="{x(1):.1f}" y="{height - 6}" '
           'text-anchor="middle">as the yardstick</text>']
    for number, row in enumerate(rows):
        y = line * number + 16
        name = measured.label(row["name"])
        colour = "var(--bad)" if row["met"] is False else "var(--bar)"
        out.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{text(name)}</text>'
                   f'<line x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{y}" y2="{y}" '
                   f'stroke="{colour}" stroke-width="2"/><circle cx="{x(row["figure"]):.1f}" '
                   f'cy="{y}" r="4.5" fill="{colour}"/><text class="soft" '
                   f'x="{x(max(row["high"], row["figure"])) + 10:.1f}" y="{y + 4}">'
                   f'{row["figure"]:.2f}</text>')
        if row["goal"] is not None:
            out.append(f'<line x1="{x(row["goal"]):.1f}" x2="{x(row["goal"]):.1f}" y1="{y - 8}" '
                       f'y2="{y + 8}" stroke="var(--good)" stroke-width="2"><title>goal '
                       f'{row["goal"]:g}</title></line>')
    return "".join(out) + "</svg>"


def rows_table(rows):
    out = ["<table><thead><tr><th>operation</th><th>figure</th><th>spread</th><th>goal</th>"
           "<th>ns</th><th>its ns</th><th>of</th></tr></thead><tbody>"]
    for row in rows:
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        state = {None: "", True: ' class="met"', False: ' class="missed"'}[row["met"]]
        ns, its_ns = ("" if row[key] is None else f"{row[key]:.2f}" for key in ("ns", "yardstick_ns"))
        of = measured.label(row["yardstick"]) if row["yardstick"] else row["unit"]
        out.append(f"<tr><td>{text(measured.label(row['name']))}</td>"
                   f"<td{state}>{row['figure']:.4g}</td><td>{row['low']:.4g} to {row['high']:.4g}</td>"
                   f"<td{state}>{goal}</td><td>{ns}</td><td>{its_ns}</td><td>{text(of)}</td></tr>")
    return "".join(out) + "</tbody></table>"


def job_table(everybody):
    """Medians and quartiles in nanoseconds: a line for each contender, a column for each situation."""
    used = [s for s in measured.SITUATIONS if any(s in figures for figures in everybody.values())]
    out = ["<table><thead><tr><th>ns an operation</th>"
           + "".join(f"<th>{text(situation)}</th>" for situation in used) + "</tr></thead><tbody>"]
    for who, figures in everybody.items():
        out.append(f"<tr><td>{text(who)}</td>")
        for situation in used:
            low, middle, high = figures.get(situation, (None, None, None))
            out.append("<td></td>" if middle is None else
                       f'<td title="{low:.2f} to {high:.2f}">{middle:.2f}</td>')
        out.append("</tr>")
    return "".join(out) + "</tbody></table>"


def losses_table(losses):
    if not losses:
        return "nowhere in this run"
    out = ["<table><thead><tr><th>operation</th><th>ns</th><th>times as long as</th></tr></thead>"
           "<tbody>"]
    for name, ns, faster in losses:
        others = "; ".join(f"{ratio:.2f} &times; {text(who)}" for who, ratio in faster)
        out.append(f"<tr><td>{text(name.split('/')[0])} / {text(measured.label(name))}</td>"
                   f'<td>{ns:.2f}</td><td style="white-space:normal">{others}</td></tr>')
    return "".join(out) + "</tbody></table>"


def machine(context, options):
    def first(command):
        try:
            return subprocess.run(command, capture_output=True, text=True, cwd=ROOT,
                                  check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            return "unknown"

    cpu = "unknown"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
            cpu = names[0] if names else platform.machine()
    command = "scripts/bench " + shlex.join(options.family)
    facts = {"CPU": f"{cpu}, {context.get('num_cpus', '?')} CPUs",
             "system": f"{platform.system()} {platform.release()}",
             "compiler": first([os.environ.get("CXX", "g++"), "--version"]) + ", -O3 (Release)",
             "commit": first(["git", "describe", "--always", "--dirty"]),
             "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
             "load at the start": ", ".join(f"{v:.2f}" for v in context.get("load_avg", [])),
             "repetitions": options.repetitions,
             "repeat with": command.strip()}
    return "<dl>" + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts.items()) + "</dl>"


def family_part(family, report, times, cpus):
    """The part of the page about one family."""
    rows = [row for row in report["rows"] if row["family"] == family]
    ratios = [row for row in rows if row["yardstick"]]
    jobs = report["jobs"].get(family, {})
    body = [f'<h2 id="{text(family)}">{text(family)}</h2>']
    if ratios:
        body.append(f'<div class="card">{ratio_chart(ratios)}</div>')
    if rows:
        body.append(f'<div class="card">{rows_table(rows)}</div>')
    for job in jobs or [""]:
        chart = threads_chart((family, job), times, cpus)
        if job:
            body.append(f'<h3>{text(job)}</h3><div class="card">{job_table(jobs[job])}</div>')
        if chart:
            body.append(f'<div class="card">{chart}<p class="soft">Nanoseconds an operation by '
                        "number of threads. Right of the line threads share CPUs: that is "
                        "oversubscription, not scaling.</p></div>")
    return body


def page(report, times, context, options):
    cpus = max(1, int(context.get("num_cpus", 1)))
    rows = report["rows"]
    families = list(dict.fromkeys([row["family"] for row in rows] + list(report["jobs"])))
    goals = [row for row in rows if row["met"] is not None]
    met = sum(row["met"] for row in goals)
    body = [
        "<h1>Interlock benchmarks</h1>",
        '<p class="soft">Each figure is a ratio to a yardstick measured in the same run, or has a '
        "unit: the median over the repetitions, with its quartiles. Below 1 is faster than the "
        f"yardstick. {met} of {len(goals)} goals met in this run.</p>",
        f"<p>{text(report['situation'])}.</p>",
        "".join(f"<p>Skipped: {text(peer['name'])} ({text(peer['remedy'])}).</p>"
                for peer in report["skipped"]),
        "<nav>" + "".join(f'<a href="#{text(f)}">{text(f)}</a>' for f in families)
        + '<a href="#missed">goals missed</a><a href="#lose">where we lose</a>'
        '<a href="#machine">machine</a></nav>']
    for family in families:
        body += family_part(family, report, times, cpus)
    missed = [row for row in goals if not row["met"]]
    body.append('<h2 id="missed">Goals missed</h2>'
                f'<div class="card">{rows_table(missed) if missed else "none in this run"}</div>')
    body.append('<h2 id="lose">Where we lose</h2><p>Where somebody else was faster at the same job, '
                "or a row is slower than its yardstick; worst first. A yardstick that does less (a "
                "bare atomic, an unfair mutex) is meant to be hard to reach; what the extra buys is "
                "on the type's page in docs/.</p>")
    body.append(f'<div class="card">{losses_table(report["losses"])}</div>')
    body.append(f'<h2 id="machine">Machine and method</h2><div class="card">{machine(context, options)}'
                "</div><p>alone: CPU time of one thread. 2 threads: two pinned threads in windows of "
                "50 us, of which only those count in which both really ran. beside a writer, that "
                "writer: the same with one thread of each kind. among writers: the median of single "
                "calls beside two writers a CPU. oversubscribed: four threads a CPU, wall time times "
                "CPUs. A sleeping second thread is alive in every process.</p>")
    return ("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" "
            "content=\"light dark\"><title>Interlock benchmarks</title><style>" + STYLE
            + "</style></head><body><main>" + "".join(body) + "</main></body></html>\n")
