#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The lab as its user meets it: arguments, files, exit status, output. LAB names the program."""

import html.parser
import json
import os
import pty
import re
import select
import shutil
import stat
import subprocess
import tempfile
import time
import unittest

LAB = os.environ.get("LAB", "")

# A race that is quick to lose; its naive form loses in nearly every round.
RACE = "fifty_clicks"


class Folder(unittest.TestCase):
    """Each test runs the lab in a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lab-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def lab(self, *arguments, **environment):
        return subprocess.run(
            [LAB, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, env={**os.environ, **environment}, check=False)

    def quick(self, *arguments, **environment):
        return self.lab(RACE, "--seconds", "0.3", *arguments, **environment)

    def files(self):
        return sorted(os.listdir(self.folder))

    def path(self, name):
        return os.path.join(self.folder, name)


class BadInput(Folder):
    """One clear line that names the thing and the remedy, exit status 2, nothing written."""

    def refused(self, *arguments, naming, remedy):
        before = self.files()
        start = time.monotonic()
        done = self.lab(*arguments)
        self.assertLess(time.monotonic() - start, 5, "refused before anything runs")
        self.assertEqual(done.returncode, 2, done)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Alab: [^\n]+\n\Z")
        self.assertIn(naming, done.stderr)
        self.assertIn(remedy, done.stderr)
        self.assertEqual(self.files(), before)

    def test_unknown_scenario_names_the_nearest(self):
        self.refused("fifty_click", naming="'fifty_click'", remedy="did you mean fifty_clicks?")
        self.refused("FIFTY-CLICKS", naming="'FIFTY-CLICKS'", remedy="--list")
        self.refused("clicks", naming="'clicks'", remedy="did you mean fifty_clicks?")
        self.refused("xyzzy", naming="'xyzzy'", remedy="--list")
        self.refused(RACE, "", naming="''", remedy="--list")

    def test_a_name_cannot_break_the_line(self):
        self.refused("two\nlines\x1b[31m", naming="'two?lines?[31m'", remedy="--list")
        self.refused("x" * 5000, naming="xxx...'", remedy="--list")

    def test_unknown_option_names_the_nearest(self):
        self.refused("--thread", "4", naming="'--thread'", remedy="did you mean --threads?")
        self.refused("-x", naming="'-x'", remedy="--help")
        self.refused("--quiet=1", naming="'--quiet'", remedy="--help")

    def test_bad_numbers(self):
        for bad in ("0", "1", "65", "-4", "four", "", "4.5", "99999999999999999999"):
            self.refused("--threads", bad, naming=f"--threads '{bad}'", remedy="from 2 to 64")
        for bad in ("0", "-1", "nan", "inf", "1e3", "0x10", "", ".", "ten", "1s", "90000"):
            self.refused("--seconds", bad, naming=f"--seconds '{bad}'", remedy="above 0")
        for bad in ("-1", "x", "", "1.0", "18446744073709551616"):
            self.refused("--seed", bad, naming=f"--seed '{bad}'", remedy="whole number from 0")

    def test_missing_and_needless_values(self):
        for option in ("--threads", "--seconds", "--seed", "--json", "--html", "--engine",
                       "--url"):
            self.refused(option, naming=f"'{option}'", remedy="needs a value")
        for option in ("--list", "--no-html", "--help", "--version"):
            self.refused(option + "=1", naming=f"'{option}'", remedy="leave out '=1'")

    def test_contradictions(self):
        self.refused("--html", "a.html", "--no-html", naming="--no-html", remedy="one of them")
        self.refused("--json", "a", "--html", "a", naming="'a'", remedy="its own")
        self.refused("--html", "-", naming="--html '-'", remedy="name one")

    def test_explain(self):
        self.refused("--explain", "fifty_click", naming="'fifty_click'",
                     remedy="did you mean fifty_clicks?")
        self.refused("--explain=xyzzy", naming="'xyzzy'", remedy="--list")
        self.refused("--explain", naming="'--explain'", remedy="needs a value")
        self.refused("--explian", "wallet", naming="'--explian'", remedy="did you mean --explain?")
        for option in ("--threads", "--seconds", "--seed"):
            self.refused("--explain", RACE, option, "2", naming=option, remedy="leave it out")
            self.refused(option, "2", "--explain", RACE, naming=option, remedy="leave it out")

    def test_an_engine_that_is_not_built(self):
        libraries = {"sqlite": "libsqlite3-dev", "redis": "libhiredis-dev", "postgres": "libpq-dev"}
        for engine in set(libraries) - set(os.environ.get("LAB_ENGINES", "").split()):
            self.refused("--engine", engine, naming=f"'{engine}'", remedy=libraries[engine])

    def test_an_engine_that_there_is_not(self):
        self.refused("--engine=oracle", naming="'oracle'", remedy="without --engine")
        self.refused("--engine=rediss", naming="'rediss'", remedy="did you mean redis?")
        self.refused("--engine=", naming="''", remedy="sqlite, redis, postgres")
        self.refused("--url", "redis://x", naming="'redis://x'", remedy="--engine")
        self.refused("--work-for", "oracle", naming="--work-for", remedy="--help")

    def test_files_that_cannot_be_written_are_found_before_running(self):
        os.mkdir(self.path("folder"))
        for option in ("--json", "--html"):
            self.refused(option, "no/such/file", naming="'no/such/file'", remedy="exists")
            self.refused(option, "folder", naming="'folder'", remedy="name a file in it")
            self.refused(option, "new/", naming="'new/'", remedy="name a file in it")
            self.refused(option, "", naming=option, remedy="name of a file")
            self.refused(option, "/proc/lab", naming="'/proc/lab'", remedy="name a file")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_permissions(self):
        open(self.path("kept"), "w", encoding="utf-8").close()
        os.chmod(self.path("kept"), stat.S_IRUSR)
        self.refused("--json", "kept", naming="'kept'", remedy="can be written")


class Telling(Folder):
    """Answers that run nothing."""

    def test_list_names_every_scenario_once(self):
        done = self.lab("--list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        names = [line.split()[0] for line in done.stdout.splitlines()]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn(RACE, names)
        for line in done.stdout.splitlines():
            self.assertRegex(line, r"^[a-z_]+  +\S.*\.$")
        self.assertEqual(self.files(), [])

    def test_list_of_some(self):
        done = self.lab("--list", RACE, RACE)
        self.assertEqual(len(done.stdout.splitlines()), 1)

    def test_help_fits_and_names_every_option(self):
        done = self.lab("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)
        for option in ("--list", "--explain", "--threads", "--seconds", "--seed", "--json",
                       "--html", "--no-html", "--engine", "--url", "--help", "--version"):
            self.assertIn(f"  {option} ", done.stdout)

    def test_version(self):
        self.assertRegex(self.lab("--version").stdout, r"\Alab, Interlock \d+\.\d+\.\d+\n\Z")

    def test_a_full_disk_is_an_error(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([LAB, "--list"], stdout=full, stderr=subprocess.PIPE, text=True,
                                  check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot write to standard output", done.stderr)


class Running(Folder):

    def test_a_run_prints_the_table_and_writes_the_report(self):
        done = self.quick()
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stderr, "", "nothing of the progress bar in a pipe")
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotIn("\r", done.stdout)
        lines = done.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 100)
        for word in ("scenario", "expected", "naive got", "lost", "fixed got",
                     "ns per operation naive/fixed"):
            self.assertIn(word, lines[0])
        self.assertRegex(lines[2], rf"^{RACE} +150 +\d+ +[1-9]\d* +150 +0 +[\d.]+ / +[\d.]+$")
        self.assertEqual(lines[-1].split(": ")[1], os.path.realpath(self.path("lab-report.html")))
        self.assertEqual(self.files(), ["lab-report.html"])

    def test_ascii_unless_the_locale_says_utf8(self):
        plain = self.quick("--no-html", LC_ALL="C").stdout
        self.assertTrue(plain.isascii())
        self.assertEqual(plain.splitlines()[1].strip("-"), "")
        self.assertFalse(self.quick("--no-html", LC_ALL="C.UTF-8").stdout.isascii())

    def test_options_in_both_spellings(self):
        done = self.lab("--seconds=0.2", "--threads=3", "--seed=7", "--html=other.html", "--", RACE)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(self.files(), ["other.html"])
        page = self.read("other.html")
        self.assertIn("<dt>First seed</dt><dd>7</dd>", page)
        self.assertIn("<dt>Threads in a round</dt><dd>3</dd>", page)

    def test_no_html_writes_no_file(self):
        self.assertEqual(self.quick("--no-html").returncode, 0)
        self.assertEqual(self.files(), [])

    def test_an_existing_report_is_replaced_whole(self):
        with open(self.path("old.html"), "w", encoding="utf-8") as old:
            old.write("x" * 1_000_000)
        os.symlink("old.html", self.path("link.html"))
        self.assertEqual(self.quick("--html", "link.html").returncode, 0)
        self.assertTrue(os.path.islink(self.path("link.html")))
        self.assertTrue(self.read("old.html").rstrip().endswith("</html>"))
        self.assertEqual(self.files(), ["link.html", "old.html"])

    def test_a_device_stays_a_device(self):
        done = self.quick("--json", "/dev/null", "--no-html")
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))
        done = self.quick("--json", "/dev/full", "--no-html")
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("cannot write '/dev/full'", done.stderr)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()


class Json(Folder):

    def check_form(self, form):
        for key in ("got", "lost", "rounds", "losing_rounds"):
            self.assertIsInstance(form[key], int)
        self.assertGreater(form["rounds"], 0)

    def test_standard_output_holds_json_and_nothing_else(self):
        done = self.quick("--json", "-", "--no-html")
        self.assertEqual(done.returncode, 0, done)
        facts = json.loads(done.stdout)
        self.assertEqual(list(facts), [RACE])
        self.assertIn(RACE, done.stderr, "the table")
        self.assertEqual(self.files(), [])

    def test_schema_of_every_scenario(self):
        names = [line.split()[0] for line in self.lab("--list").stdout.splitlines()]
        done = self.lab("--seconds", "4", "--json", "facts.json", "--no-html")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("facts.json"), encoding="utf-8") as file:
            facts = json.load(file)
        self.assertEqual(list(facts), names)
        for name, fact in facts.items():
            with self.subTest(name):
                self.assertIsInstance(fact["expected"], int)
                self.check_form(fact["naive"])
                self.check_form(fact["fixed"])
                self.assertGreater(fact["naive"]["lost"], 0)
                self.assertEqual(fact["fixed"]["lost"], 0)
                for form in fact["other_forms"].values():
                    self.check_form(form)
                    self.assertEqual(form["kind"] == "still_wrong", form["lost"] > 0)
                self.check_prices(fact["ns_per_op"])
                self.assertTrue(any(step["harmful"] for step in fact["timeline"]), "a losing step")

    def check_prices(self, prices):
        for key in ("naive", "fixed", "mutex"):
            self.assertTrue(prices[key] is None or prices[key] > 0)
        for row in prices["by_threads"]:
            self.assertIn(row.pop("threads"), (1, 2, 4, 8))
            for price in row.values():
                self.assertLessEqual(price["low"], price["median"])
                self.assertLessEqual(price["median"], price["high"])


class Page(html.parser.HTMLParser):
    """Notes what does not nest, what points outside and what the tests look for."""

    VOID = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.ids, self.anchors, self.fetched = [], [], [], [], []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.note(tag, dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, dict(attrs))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def note(self, tag, attributes):
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.anchors.append(attributes["href"])
        elif "src" in attributes or "href" in attributes:
            self.fetched.append(attributes.get("src") or attributes.get("href"))


class Report(Folder):

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="lab-test-") as folder:
            name = os.path.join(folder, "report.html")
            cls.run_of_page = subprocess.run(
                [LAB, RACE, "stale_sync", "--seconds", "1", "--html", name], capture_output=True,
                text=True, timeout=120, check=False)
            with open(name, encoding="utf-8") as file:
                cls.text = file.read()
        cls.page = Page(cls.text)

    def test_well_formed(self):
        self.assertEqual(self.run_of_page.returncode, 0, self.run_of_page)
        self.assertEqual(self.page.faults, [])
        self.assertEqual(len(self.page.ids), len(set(self.page.ids)))

    def test_offline(self):
        self.assertEqual(self.page.fetched, ["data:,"], "the empty icon and nothing else")
        self.assertNotRegex(self.text, r"https?://|@import|<script|url\((?!#)")

    def test_anchors_lead_somewhere(self):
        self.assertIn(f"#{RACE}", self.page.anchors)
        for anchor in self.page.anchors:
            self.assertIn(anchor.removeprefix("#"), self.page.ids)

    def test_pictures_and_their_tables(self):
        self.assertEqual(self.text.count('<figure class="lost">'), 2)
        self.assertIn("How <em>naive</em> loses", self.text)
        self.assertIn("How <em>fetch-latest</em> loses", self.text)
        self.assertIn('class="harm"', self.text)
        for drawing in re.findall(r"<svg[^>]*>", self.text):
            if "overflow=" not in drawing:  # a mark inside a drawing
                self.assertRegex(drawing, "aria-label=|aria-hidden=")

    def test_light_and_dark(self):
        self.assertIn("prefers-color-scheme:dark", self.text)

    def test_machine_block(self):
        for label in ("Interlock", "Date", "Processor", "CPUs", "System", "Compiler", "Flags",
                      "Command", "First seed"):
            self.assertRegex(self.text, rf"<dt>{label}</dt><dd>[^<]+</dd>")


EXPLAIN = "lab-explain"


class Explain(Folder):
    """The scenarios under the model explorer, which is a program beside the lab."""

    def setUp(self):
        super().setUp()
        if not os.access(os.path.join(os.path.dirname(LAB), EXPLAIN), os.X_OK):
            self.skipTest("lab-explain is not part of this build")

    def facts(self, *arguments):
        done = self.lab("--explain", *arguments, "--json", "-", "--no-html")
        self.assertEqual((done.returncode, self.files()), (0, []), done)
        return json.loads(done.stdout)

    def test_each_naive_form_loses_in_an_interleaving_and_each_fixed_form_in_none(self):
        names = [line.split()[0] for line in self.lab("--list").stdout.splitlines()]
        facts = self.facts("all")
        self.assertEqual(list(facts), names)
        for name, fact in facts.items():
            kinds = [form["kind"] for form in fact["explored"].values()]
            self.assertIn("naive", kinds)
            self.assertIn("fixed", kinds)
            for form_name, form in fact["explored"].items():
                with self.subTest(f"{name}: {form_name}"):
                    self.check_form(form)

    def check_form(self, form):
        if form["kind"] == "fixed":
            self.assertEqual((form["loses"], form["whole"]), (False, True))
            self.assertEqual(form["interleaving"], [])
            self.assertGreater(form["executions"], 1, "several interleavings to choose from")
            self.assertRegex(form["verdict"], r"^all \d+ executions explored, none loses$")
            return
        self.assertTrue(form["loses"])
        self.assertNotIn("no plain interleaving", form["verdict"])
        steps = form["interleaving"]
        self.assertGreater(len({step["lane"] for step in steps}), 1, "lanes meet")
        self.assertTrue(any(step["harmful"] for step in steps), "the losing step is marked")
        for step in steps:
            self.assertRegex(step["place"], r"^[a-z_]+\.hpp:\d+$")

    def test_fifty_clicks_in_numbers(self):
        forms = self.facts(RACE)[RACE]["explored"]
        self.assertEqual(forms["counter"]["executions"], 6, "three additions in every order")
        self.assertTrue(forms["naive"]["data_race_if_plain"])
        told = [step["text"] for step in forms["naive"]["interleaving"]]
        self.assertEqual(told[:2], ["reads 100", "reads 100"])
        self.assertRegex(told[-1], r"^writes 10\d over 10\d, which it never saw$")

    def test_a_deadlock_is_named_by_who_waits(self):
        verdict = self.facts("deadlock")["deadlock"]["explored"]["naive"]["verdict"]
        self.assertRegex(verdict, r"deadlock: these wait for good: A to B, B to A$")

    def test_one_thread_has_no_data_race_and_loses_all_the_same(self):
        naive = self.facts("interleaved_awaits")["interleaved_awaits"]["explored"]["naive"]
        self.assertEqual((naive["loses"], naive["data_race_if_plain"]), (True, False))

    def test_the_interleaving_is_a_table_with_a_column_for_each_lane(self):
        done = self.lab("--explain", "wallet", "--no-html")
        self.assertEqual((done.returncode, done.stderr, self.files()), (0, "", []), done)
        lines = done.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 100)
        head = next(line for line in lines if "debit of 300 " in line)
        for lane, column in (("debit of 300", 4), ("debit of 500", head.index("debit of 500"))):
            self.assertEqual(head.index(lane), column)
            steps = [line for line in lines if line[column:].startswith("reads 1000")]
            self.assertEqual(len(steps), 1, lane)
        self.assertRegex(done.stdout, r"\* writes \d+ over \d+, which it never")
        self.assertRegex(done.stdout, r"wallet\.hpp:\d+")
        self.assertIn("loses in execution ", done.stdout)
        self.assertIn("executions explored, none loses", done.stdout)

    def test_the_page_shows_what_it_prints(self):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        with open(os.path.join(root, "docs", "lab.md"), encoding="utf-8") as file:
            shown = re.search(r"```text\n(wallet: .*?)```", file.read(), re.DOTALL)[1]
        printed = self.lab("--explain", "wallet", "--no-html").stdout

        def comparable(text):
            return re.sub(r"\d+ executions|hpp:\d+", "N", text)
        self.assertEqual(comparable(shown), comparable(printed))

    def test_two_scenarios_each_once(self):
        facts = self.facts(RACE, "wallet", RACE)
        self.assertEqual(list(facts), [RACE, "wallet"])

    def test_the_report_has_the_drawing(self):
        done = self.lab("--explain", "stale_sync", "--html", "page.html")
        self.assertEqual((done.returncode, self.files()), (0, ["page.html"]), done)
        with open(self.path("page.html"), encoding="utf-8") as file:
            text = file.read()
        page = Page(text)
        self.assertEqual(page.faults, [])
        self.assertEqual(page.fetched, ["data:,"])
        for anchor in page.anchors:
            self.assertIn(anchor.removeprefix("#"), page.ids)
        self.assertIn("An interleaving that loses <em>naive</em>", text)
        self.assertIn("An interleaving that loses <em>fetch-latest</em>", text)
        self.assertEqual(text.count('class="harm"'), 2)
        self.assertRegex(text, r"<b>mirror</b>: <span class=\"none\">all \d+ executions explored")
        self.assertNotIn("What was lost", text, "no figures of a run that was not made")

    def test_an_ordinary_run_draws_it_too(self):
        done = self.quick("--html", "page.html", "--json", "facts.json")
        self.assertEqual(done.returncode, 0, done)
        with open(self.path("page.html"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(Page(text).faults, [])
        self.assertIn("How <em>naive</em> loses", text)
        self.assertIn("An interleaving that loses <em>naive</em>", text)
        with open(self.path("facts.json"), encoding="utf-8") as file:
            self.assertIn("counter", json.load(file)[RACE]["explored"])


class ExplorerBesideTheLab(Folder):
    """What the lab says if that program is not there, or not what it should be."""

    def setUp(self):
        super().setUp()
        self.copy = shutil.copy(LAB, self.path("lab"))

    def beside(self, script):
        with open(self.path(EXPLAIN), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(self.path(EXPLAIN), 0o755)

    def copied(self, *arguments):
        return subprocess.run([self.copy, *arguments, "--no-html"], cwd=self.folder,
                              capture_output=True, text=True, timeout=120, check=False)

    def test_not_built(self):
        done = self.copied("--explain", RACE)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"\Alab: [^\n]*build the target lab-explain[^\n]*\n\Z")
        self.assertEqual(self.copied(RACE, "--seconds", "0.3").returncode, 0)

    def test_broken_or_of_another_version(self):
        for script, words in (("exit 3", "status 3"),
                              ("printf 'lab-explain\\t0.0.0\\nend\\n'", "build both anew"),
                              ("printf 'form\\twallet\\tnaive\\nend\\n'", "build both anew"),
                              ("printf 'step\\t0\\t0\\tp\\tt\\nend\\n'", "build both anew"),
                              ("true", "before its end")):
            with self.subTest(script):
                self.beside(script)
                done = self.copied("--explain", RACE)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"\Alab: [^\n]+\n\Z")
                self.assertIn(words, done.stderr)
                done = self.copied(RACE, "--seconds", "0.3")
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
                self.assertIn(RACE, done.stdout, "the run itself is reported")

    def test_a_fixed_form_that_loses_or_is_not_explored_whole_is_named(self):
        head = "printf 'lab-explain\\t%s\\n' " + self.version() + "\n"
        form = "printf 'form\\tfifty_clicks\\tcounter\\n"
        counts = "counts\\t7\\t0\\t0\\t103\\t102\\t1\\n"
        for rest, words in ((counts + "end\\n'", "there are more"),
                            (counts + "failure\\tsomething is lost\\nend\\n'",
                             "loses in execution 8: expected 103, got 102")):
            with self.subTest(words):
                self.beside(head + form + rest)
                done = self.copied("--explain", RACE)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn(words, done.stderr)
                self.assertIn("'counter'", done.stderr)

    def version(self):
        return self.lab("--version").stdout.split()[-1]


class Terminal(Folder):
    """With a terminal on both streams."""

    def on_terminal(self, **environment):
        try:
            leader, follower = pty.openpty()
        except OSError as error:
            self.skipTest(f"no terminal to be had here: {error}")
        with subprocess.Popen(
                [LAB, RACE, "--seconds", "0.4", "--no-html"], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
                env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment}) as lab:
            os.close(follower)
            seen = b""
            while select.select([leader], [], [], 60)[0]:
                try:
                    piece = os.read(leader, 65536)
                except OSError:  # the last writer is gone
                    break
                if not piece:
                    break
                seen += piece
        os.close(leader)
        self.assertEqual(lab.returncode, 0)
        return seen.decode()

    def test_a_bar_and_colours(self):
        seen = self.on_terminal()
        self.assertRegex(seen, r"\r[^\n]*%")
        self.assertIn("\x1b[1;31m", seen)
        table = seen[seen.index("scenario"):]
        self.assertNotIn("%", table, "the bar is gone when the table comes")

    def test_no_color(self):
        seen = self.on_terminal(NO_COLOR="1")
        self.assertNotRegex(seen, r"\x1b\[[\d;]*m")
        self.assertIn("%", seen)

    def test_a_dumb_terminal_has_neither(self):
        seen = self.on_terminal(TERM="dumb")
        self.assertNotIn("\x1b", seen)
        self.assertNotIn("%", seen)


if __name__ == "__main__":
    if not os.access(LAB, os.X_OK):
        raise SystemExit("LAB must name the lab program")
    LAB = os.path.abspath(LAB)
    unittest.main()
