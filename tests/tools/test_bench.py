# SPDX-License-Identifier: BSL-1.0
"""What the benchmark report concludes from what was measured.

Run: python3 -m unittest discover -s tests/tools
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS / "report"))
import rows  # noqa: E402
import table  # noqa: E402

ADD = "counters/add one/"
OURS = ADD + "interlock::counter/alone"
BARE = ADD + "std::atomic fetch_add/alone"
SKIPPED = [{"name": "oneTBB", "remedy": "install libtbb-dev", "found": False}]


def measured(**times):
    """Google Benchmark's rows: alone by CPU time, duels by manual time."""
    out = rows.Measured()
    names = {"ours": OURS, "bare": BARE, "tbb": ADD + "oneTBB combinable/alone"}
    out.add([{"name": names[who], "run_type": "iteration", "cpu_time": ns, "real_time": 1e9,
              "time_unit": "ns"} for who, values in times.items() for ns in values])
    return out


class Compare(unittest.TestCase):
    def compare(self, goal, now, families=("counters",), skipped=()):
        return rows.compare([goal], now, families, skipped)

    def test_a_ratio_is_met_or_missed(self):
        now = measured(ours=[5, 6, 7], bare=[10, 10, 10])
        for goal, met in ((0.6, True), (0.5, False), (None, None)):
            row, = self.compare({"name": OURS, "yardstick": BARE, "goal": goal}, now)
            self.assertEqual((row["figure"], row["low"], row["high"]), (0.6, 0.55, 0.65))
            self.assertIs(row["met"], met)

    def test_an_absolute_goal_has_a_unit(self):
        row, = self.compare({"name": OURS, "unit": "ns", "goal": 5000}, measured(ours=[4000]))
        self.assertTrue(row["met"])
        now = rows.Measured()
        now.add([{"name": "counters/memory/idle/iterations:1/manual_time", "run_type": "iteration",
                  "figure": 24.0, "label": "bytes", "real_time": 1, "time_unit": "ns"}])
        row, = self.compare({"name": "counters/memory/idle", "unit": "bytes", "goal": 16}, now)
        self.assertFalse(row["met"])

    def test_a_name_that_nobody_measures_is_an_error(self):
        goal = {"name": OURS, "yardstick": ADD + "std::atomic fetch_ad/alone", "goal": 1}
        with self.assertRaisesRegex(ValueError, "fetch_ad/alone' was not measured"):
            self.compare(goal, measured(ours=[1], bare=[1]))
        self.assertEqual(self.compare(goal, measured(), families=["cells"]), [])

    def test_a_peer_that_is_not_installed_is_left_out(self):
        goal = {"name": OURS, "yardstick": ADD + "oneTBB combinable/alone", "goal": 1}
        self.assertEqual(self.compare(goal, measured(ours=[1]), skipped=SKIPPED), [])
        with self.assertRaises(ValueError):
            self.compare(goal, measured(ours=[1]))


    def test_an_engine_that_is_not_installed_is_left_out(self):
        goal = {"name": "engines/redis counter/interlock::redis::counter/alone",
                "yardstick": "engines/redis counter/raw hiredis/alone", "goal": 1.05}
        nothing = rows.Measured()
        redis = {"name": "redis", "remedy": "install libhiredis-dev", "families": ["engines"]}
        self.assertEqual(self.compare(goal, nothing, families=["engines"], skipped=[redis]), [])
        with self.assertRaises(ValueError):
            self.compare(goal, nothing, families=["engines"], skipped=[{**redis, "name": "postgres"}])


class Report(unittest.TestCase):
    def text(self, now, skipped=()):
        compared = rows.compare([{"name": OURS, "yardstick": BARE, "goal": 1.1}], now, ["counters"],
                                skipped)
        return table.text({"rows": compared, "jobs": rows.jobs(now), "unsure": now.unsure(),
                           "losses": rows.losses(now, compared), "skipped": skipped,
                           "situation": "quiet run"})

    def test_a_faster_peer_is_a_loss(self):
        text = self.text(measured(ours=[10, 10, 10], bare=[10, 10, 10], tbb=[5, 5, 5]))
        self.assertIn("add one: interlock::counter, alone: 10 ns is 2.00 x oneTBB combinable\n",
                      text + "\n")
        self.assertNotIn("x std::atomic fetch_add;", text)

    def test_equal_is_no_loss(self):
        self.assertIn("nowhere in this run", self.text(measured(ours=[10, 9, 11], bare=[10, 10, 10])))

    def test_a_missed_goal_and_a_skipped_peer_are_named(self):
        text = self.text(measured(ours=[20], bare=[10]), SKIPPED)
        self.assertIn("goals missed: 1 of 1", text)
        self.assertIn("skipped: oneTBB (install libtbb-dev)", text)

    def test_a_duel_without_clean_windows_is_marked(self):
        now = rows.Measured()
        now.add([{"name": OURS.replace("alone", "2 threads") + "/iterations:1/manual_time",
                  "run_type": "iteration", "real_time": 7, "time_unit": "ns", "windows": 2.0}])
        self.assertIn("7?", table.text({"rows": [], "jobs": rows.jobs(now), "unsure": now.unsure(),
                                        "losses": [], "skipped": [], "situation": ""}))


class CommandLine(unittest.TestCase):
    def bench(self, *arguments):
        return subprocess.run([sys.executable, BENCHMARKS / "report/bench.py", *arguments], text=True,
                              capture_output=True, cwd=tempfile.gettempdir(), check=False)

    def test_families_are_listed_without_a_build(self):
        self.assertEqual(set(self.bench("--list").stdout.split()) & {"counters", "cells", "mirror"},
                         {"counters", "cells", "mirror"})

    def test_wrong_arguments_are_refused_before_the_build(self):
        for wrong, said in (("counter", "unknown family 'counter'; known: "),
                            ("--repetitions=0", "use at least 1"), ("--busy=0", "use at least 1")):
            done = self.bench("--targets", wrong)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)

    def test_targets_are_those_of_the_families(self):
        self.assertEqual(self.bench("--targets", "cells", "--loaded").stdout.split(),
                         ["cells.bench", "background_load"])

    def test_each_goal_is_of_a_family(self):
        families = set(self.bench("--list").stdout.split())
        for goal in json.loads((BENCHMARKS / "goals.json").read_text(encoding="utf-8")):
            self.assertIn(goal["name"].split("/")[0], families)
            self.assertEqual("unit" in goal, "yardstick" not in goal)


if __name__ == "__main__":
    unittest.main()
