# SPDX-License-Identifier: BSL-1.0
"""docs/*-comparison.md: what they say of ours is shown by a test that exists.

Run: python3 -m unittest discover -s tests/tools
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from check_guarantees import CASE, words  # noqa: E402

PAGES = sorted((ROOT / "docs").glob("*-comparison.md"))
PAGE = ROOT / "docs/async-comparison.md"
PROBES = ROOT / "tests/queue_probes.test.cpp"
PROOF = re.compile(r'\]\((?P<file>[^()\s]+\.(?:cpp|py))(?:\s+"(?P<case>[^"]*)")?\)')


def cases(file):
    """The names of the test cases in a file; of a Python one, its methods."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return set(re.findall(r"def (test_\w+)", text))
    return {words("".join(re.findall(r'"((?:\\.|[^"\\])*)"', case["name"])))
            for case in CASE.finditer(text)}


def faults(page, folder):
    """One line for each claim of ours without a test that exists."""
    out = []
    ours = None
    for number, line in enumerate(page.splitlines(), 1):
        for link in PROOF.finditer(line):
            file = folder / link["file"]
            if not link["case"]:
                out.append(f"{number}: no case is named for {link['file']}")
            elif not file.is_file() or link["case"] not in cases(file):
                out.append(f"{number}: {link['file']} has no case \"{link['case']}\"")
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if "Interlock" in cells:
            ours = cells.index("Interlock")
        elif not cells:
            ours = None
        elif ours is not None and not set(line) <= set("|-: "):
            answer = cells[ours]
            if "[yes]" in answer and not PROOF.search(answer):
                out.append(f"{number}: 'yes' leads to no test")
            elif not re.match(r"\[yes\]|part: |no: ", answer):
                out.append(f"{number}: '{answer}' is neither a yes with its test, nor part: or no: "
                           "with what is missing")
    return out


class Comparison(unittest.TestCase):
    def test_each_claim_of_ours_has_its_test(self):
        for page in PAGES:
            with self.subTest(page=page.name):
                self.assertEqual(faults(page.read_text(encoding="utf-8"), page.parent), [])

    def test_each_claim_of_the_mirrors_has_its_test(self):
        page = ROOT / "docs/mirror.md"
        text = page.read_text(encoding="utf-8")
        self.assertEqual(faults(text, page.parent), [])
        self.assertGreater(len(PROOF.findall(text)), 20)

    def test_the_table_is_found(self):
        self.assertGreaterEqual(len(PAGES), 3)
        for page in PAGES:
            proofs = PROOF.findall(page.read_text(encoding="utf-8"))
            self.assertGreater(len(proofs), 20, page.name)

    def test_the_page_of_queues_says_what_the_probes_say(self):
        page = (ROOT / "docs/queue-comparison.md").read_text(encoding="utf-8")
        said = re.findall(r"^\| Interlock: .*\|$", page, re.MULTILINE)
        test = re.sub(r'"\s*\n\s*"', "", PROBES.read_text(encoding="utf-8"))
        tested = re.findall(r'"(\| Interlock: [^"]*\|)"', test)
        self.assertEqual(said, tested)
        self.assertGreater(len(said), 2)

    def test_a_wrong_name_and_a_bare_yes_are_faults(self):
        head = "| | Interlock | other |\n|---|---|---|\n"
        this = '../tests/tools/test_comparison.py "test_the_table_is_found"'
        self.assertEqual(faults(head + f"| order | [yes]({this}) | no |\n", PAGE.parent), [])
        for row in ('| order | [yes](../tests/tools/test_comparison.py "test_nothing") | yes |',
                    "| order | [yes](../tests/tools/test_comparison.py) | yes |",
                    '| order | [yes](../tests/gone.cpp "order") | yes |',
                    "| order | yes | yes |", "| order | | yes |", "| order | no | yes |"):
            self.assertEqual(len(faults(head + row + "\n", PAGE.parent)), 1, row)


if __name__ == "__main__":
    unittest.main()
