# SPDX-License-Identifier: BSL-1.0
"""docs/async-comparison.md: what it says of ours is shown by a test that exists.

Run: python3 -m unittest discover -s tests/tools
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from check_guarantees import CASE, words  # noqa: E402

PAGE = ROOT / "docs/async-comparison.md"
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
        self.assertEqual(faults(PAGE.read_text(encoding="utf-8"), PAGE.parent), [])

    def test_the_table_is_found(self):
        proofs = PROOF.findall(PAGE.read_text(encoding="utf-8"))
        self.assertGreater(len(proofs), 20)

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
