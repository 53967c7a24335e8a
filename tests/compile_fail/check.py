#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Each file here compiles; with -DMISTAKE it does not, and the compiler says what the file's second
line expects. check.py --include DIR COMPILER [FLAG...]"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def complaint(file, command):
    """Returns what is wrong with this file, or nothing."""
    expected = re.search(r"^// expects: (.+)$", file.read_text(), re.MULTILINE)
    if not expected:
        return "says nothing of what it expects"
    right = subprocess.run([*command, file], capture_output=True, text=True)
    if right.returncode != 0:
        return "does not compile without its mistake:\n" + right.stderr
    wrong = subprocess.run([*command, "-DMISTAKE", file], capture_output=True, text=True)
    if wrong.returncode == 0:
        return "compiles in spite of its mistake"
    if expected[1] not in wrong.stderr:
        return f"is refused without the words '{expected[1]}':\n" + wrong.stderr
    return None


def main(argv):
    if len(argv) < 4 or argv[1] != "--include":
        print(__doc__, file=sys.stderr)
        return 2
    command = [*argv[3:], "-std=c++20", "-fsyntax-only", "-I", argv[2]]
    files = sorted(HERE.glob("*.cpp"))
    failed = 0
    for file in files:
        wrong = complaint(file, command)
        if wrong:
            print(f"{file.name} {wrong}")
            failed += 1
    print(f"{len(files) - failed} passed, {failed} failed")
    return 1 if failed or not files else 0


sys.exit(main(sys.argv))
