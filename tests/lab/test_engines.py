#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The lab on an engine's real server. LAB names the program, ENGINE the engine."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from test_lab import LAB, Folder, Page

ENGINE = os.environ.get("ENGINE", "")

# In an URL of this kind, nobody is there.
NOBODY = {
    "sqlite": "/nowhere/lab.db",
    "redis": "unix:///nowhere/redis.sock",
    "postgres": "postgresql:///postgres?host=/nowhere&connect_timeout=2",
}
NONSENSE = {"sqlite": "file:/nowhere?mode=x", "redis": "redis:nowhere", "postgres": "a = b = c"}

SKIPPED = 77


class OnEngine(Folder):

    def on_engine(self, *arguments, **environment):
        place = self.path("temporary")
        os.makedirs(place, exist_ok=True)
        os.chmod(self.folder, 0o755)  # a server may run as another user
        os.chmod(place, 0o1777)
        return self.lab("--engine", ENGINE, *arguments, TMPDIR=place, **environment)

    def left_over(self):
        return os.listdir(self.path("temporary"))


class Stories(OnEngine):

    def test_each_naive_form_loses_and_each_fixed_form_does_not(self):
        listed = self.on_engine("--list").stdout.splitlines()
        names = [line.split()[0] for line in listed]
        for name in ("fifty_clicks", "transfer", "two_servers"):
            self.assertIn(name, names)
        self.assertNotIn("deadlock", names)
        done = self.on_engine("--json", "facts.json", "--html", "page.html",
                              "--seconds", str(0.8 * len(names)))
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"\non [^\n]+, a throwaway one; what it acknowledges "
                                      r"survives: power loss\n")
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)
        self.assertEqual(self.left_over(), [], "the server and its folder are gone")
        with open(self.path("facts.json"), encoding="utf-8") as file:
            facts = json.load(file)
        self.assertEqual(list(facts), names)
        for name, fact in facts.items():
            with self.subTest(name):
                self.check(fact)
        self.check_page(names)

    def check(self, fact):
        self.assertGreater(fact["naive"]["lost"], 0)
        self.assertGreater(fact["fixed"]["rounds"], 0)
        self.assertEqual(fact["fixed"]["lost"], 0)
        for form in fact["other_forms"].values():
            self.assertEqual(form["kind"] == "still_wrong", form["lost"] > 0)
        self.assertIsNone(fact["explored"])
        self.assertTrue(any(step["harmful"] for step in fact["timeline"]), "a losing step")
        self.assertGreater(len({step["lane"] for step in fact["timeline"]}), 1, "lanes meet")

    def check_page(self, names):
        with open(self.path("page.html"), encoding="utf-8") as file:
            text = file.read()
        page = Page(text)
        self.assertEqual((page.faults, page.fetched), ([], ["data:,"]))
        for anchor in page.anchors:
            self.assertIn(anchor.removeprefix("#"), page.ids)
        for name in names:
            self.assertIn(name, page.ids)
        self.assertRegex(text, r"<dt>Engine</dt><dd>[^<]*throwaway")
        self.assertEqual(text.count("How <em>naive</em> loses"), len(names))
        self.assertNotRegex(text, r"https?://|@import|<script|url\((?!#)")

    def test_threads_seed_and_json_on_standard_output(self):
        done = self.on_engine("fifty_clicks", "--threads", "3", "--seed=9", "--seconds", "0.5",
                              "--json", "-", "--no-html")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(list(json.loads(done.stdout)), ["fifty_clicks"])
        self.assertIn("naive got", done.stderr)


    def test_an_interrupted_run_leaves_nothing(self):
        place = self.path("temporary")
        os.makedirs(place)
        os.chmod(self.folder, 0o755)
        os.chmod(place, 0o1777)
        with subprocess.Popen([LAB, "--engine", ENGINE, "fifty_clicks", "--seconds", "100",
                               "--json", "facts.json", "--no-html"], cwd=self.folder,
                              env={**os.environ, "TMPDIR": place}) as lab:
            deadline = time.monotonic() + 30
            while not self.left_over() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertNotEqual(self.left_over(), [], "a server, or its folder")
            lab.send_signal(signal.SIGTERM)
            self.assertEqual(lab.wait(60), 128 + signal.SIGTERM)
        self.assertEqual((self.left_over(), self.files()), ([], ["temporary"]))


class BadInput(OnEngine):

    def refused(self, *arguments, naming):
        done = self.on_engine(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertRegex(done.stderr, r"\Alab: [^\n]+\n\Z")
        self.assertIn(naming, done.stderr)
        self.assertNotIn("lab-report.html", self.files())

    def test_a_server_that_does_not_answer(self):
        self.refused("--url", NOBODY[ENGINE], naming=f"--engine {ENGINE}: ")

    def test_an_address_that_is_none(self):
        self.refused("--url", NONSENSE[ENGINE], naming=f"--engine {ENGINE}: ")
        self.refused("--url", "", naming="--url ''")

    def test_scenarios_that_are_not_there(self):
        self.refused("deadlock", naming="without --engine")
        self.refused("transfr", naming="did you mean transfer?")
        self.refused("--explain", "wallet", naming="leave out --engine")


@unittest.skipUnless(ENGINE == "sqlite", "files are SQLite's; the servers have url.test.cpp")
class File(OnEngine):

    def test_one_that_was_not_there_is_not_left(self):
        done = self.on_engine("wallet", "two_servers", "--seconds", "0.5", "--no-html", "--url",
                              self.path("mine.db"))
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("the one of --url", done.stdout)
        self.assertEqual(self.files(), ["temporary"])

    def test_one_of_the_users_keeps_its_tables_and_no_others(self):
        name = self.path("mine.db")
        with sqlite3.connect(name) as mine:
            mine.execute("CREATE TABLE kept(x)")
        mine.close()
        done = self.on_engine("wallet", "--seconds", "0.3", "--no-html", "--url", name)
        self.assertEqual(done.returncode, 0, done)
        left = sqlite3.connect(name)
        self.assertEqual(left.execute("SELECT name FROM sqlite_master").fetchall(), [("kept",)])
        left.close()

    def test_one_that_is_no_database_stays_as_it_is(self):
        words = "this is no database " * 100
        with open(self.path("text.db"), "w", encoding="utf-8") as text:
            text.write(words)
        done = self.on_engine("--url", self.path("text.db"))
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        with open(self.path("text.db"), encoding="utf-8") as text:
            self.assertEqual(text.read(), words)


def server_is_missing():
    """Whether the lab finds no server to start."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([LAB, "--engine", ENGINE, "wallet", "--seconds", "0.01", "--no-html"],
                              cwd=place, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode == 2 and "not installed" in done.stderr


if __name__ == "__main__":
    if not os.access(LAB, os.X_OK) or ENGINE not in NOBODY:
        raise SystemExit("LAB must name the lab program, and ENGINE its engine")
    if server_is_missing() and os.environ.get("INTERLOCK_REQUIRE_SERVERS") != "1":
        print(f"skipped: no server of {ENGINE}")
        sys.exit(SKIPPED)
    unittest.main()
