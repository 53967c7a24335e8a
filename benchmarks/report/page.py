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

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITUATIONS = ["alone", "2 threads", "oversubscribed"]
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


def contender_of(name):
    """(contender, situation) of FAMILY/CONTENDER/SITUATION."""
    rest = name.split("/", 1)[1]
    contender, _, situation = rest.rpartition("/")
    return (contender, situation) if situation in SITUATIONS else (rest, "")


def threads_chart(family, times, cpus):
    """Nanoseconds by number of threads, log-log, whiskers from the quartiles."""
    threads = {"alone": 1, "2 threads": 2, "oversubscribed": 4 * cpus}
    series = {}
    for name, values in times.items():
        contender, situation = contender_of(name)
        if name.split("/")[0] == family and situation in threads:
            low, middle, high = spread(values)
            series.setdefault(contender, []).append((threads[situation], low, middle, high))
    series = {k: sorted(v) for k, v in series.items() if len(v) > 1}
    if not series:
        return ""
    width, height, left, right, top, bottom = 720, 250, 58, 230, 14, 34
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
           f'aria-label="{text(family)}: nanoseconds per operation by number of threads">']
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


def spread(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    return statistics.quantiles(values, n=4, method="inclusive")


def ratio_chart(rows):
    """One line a comparison: the ratio with its whisker, a rule at 1, a tick at the goal."""
    width, left, right, line = 720, 300, 60, 22
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
        name = row["name"].split("/", 1)[1]
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
    out = ["<table><thead><tr><th>operation</th><th>ns</th><th>ratio</th><th>spread</th>"
           "<th>yardstick</th><th>its ns</th><th>goal</th></tr></thead><tbody>"]
    for row in rows:
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        state = {None: "", True: ' class="met"', False: ' class="missed"'}[row["met"]]
        out.append(f"<tr><td>{text(row['name'].split('/', 1)[1])}</td><td>{row['ns']:.2f}</td>"
                   f"<td{state}>{row['figure']:.3f}</td><td>{row['low']:.3f} to {row['high']:.3f}</td>"
                   f"<td>{text(row['yardstick'].split('/', 1)[1])}</td>"
                   f"<td>{row['yardstick_ns']:.2f}</td><td{state}>{goal}</td></tr>")
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


def page(rows, times, context, options):
    cpus = max(1, int(context.get("num_cpus", 1)))
    families = list(dict.fromkeys(row["family"] for row in rows))
    goals = [row for row in rows if row["met"] is not None]
    met = sum(row["met"] for row in goals)
    lost = sorted((r for r in rows if r["figure"] > 1 and "/std::" not in r["name"]),
                  key=lambda r: -r["figure"])
    body = [
        "<h1>Interlock benchmarks</h1>",
        '<p class="soft">Each figure is a ratio to a yardstick measured in the same run: the median '
        "over the repetitions, with its quartiles. Below 1 is faster than the yardstick. "
        f"{met} of {len(goals)} goals met in this run.</p>",
        "<nav>" + "".join(f'<a href="#{text(f)}">{text(f)}</a>' for f in families)
        + '<a href="#lose">where we lose</a><a href="#machine">machine</a></nav>']
    for family in families:
        mine = [row for row in rows if row["family"] == family]
        body.append(f'<h2 id="{text(family)}">{text(family)}</h2>'
                    f'<div class="card">{ratio_chart(mine)}</div>')
        chart = threads_chart(family, times, cpus)
        if chart:
            body.append(f'<div class="card">{chart}<p class="soft">Nanoseconds an operation by '
                        "number of threads. Right of the line threads share CPUs: that is "
                        "oversubscription, not scaling.</p></div>")
        body.append(f'<div class="card">{rows_table(mine)}</div>')
    body.append('<h2 id="lose">Where we lose</h2><p>Rows slower than their yardstick, worst first. '
                "A yardstick that does less (a bare atomic, an unfair mutex) is meant to be hard to "
                "reach; what the extra buys is on the type's page in docs/.</p>")
    body.append(f'<div class="card">{rows_table(lost) if lost else "nowhere in this run"}</div>')
    body.append(f'<h2 id="machine">Machine and method</h2><div class="card">{machine(context, options)}'
                "</div><p>alone: CPU time of one thread. 2 threads: two pinned threads in windows of "
                "0.3 ms, of which only those count in which both really ran. oversubscribed: four "
                "threads a CPU, wall time times CPUs. A sleeping second thread is alive in every process.</p>")
    return ("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" "
            "content=\"light dark\"><title>Interlock benchmarks</title><style>" + STYLE
            + "</style></head><body><main>" + "".join(body) + "</main></body></html>\n")
