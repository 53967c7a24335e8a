#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_listing - what the compiler made of a restartable sequence is what its page shows.

For each sequence of tests/detail/listing.cpp: the descriptor is of version 0 without flags; the
piece it describes has one store, its last instruction, and no call; the instruction before the
piece tells the kernel; the abort handler lies outside, behind the signature, and jumps out of the
piece; and listing_add reads as docs/internals/restartable.md has it. Then the same for copies of
the headers with a seeded fault each, which has to be found.
"""

import argparse
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

SIGNATURE = {"x86-64": 0x53053053, "AArch64": 0xD428BC00}

# What is put for what in the header of the processor.
SEEDS = {
    "x86-64": (
        ('"movq %%rax, (%%rcx)\\n"', '"movq %%rax, (%%rcx)\\n" "movq %%rax, 8(%%rcx)\\n"'),
        ('"movq %%rax, (%%rcx)\\n"', '"movq %%rax, (%%rcx)\\n" "nop\\n"'),
        ("0x53053053", "0x53053052"),
        ('"4: jmp %l[undone]', '"4: jmp 1f'),
        ('"3: .long 0, 0', '"3: .long 0, 1'),
        ('"1:\\n"', '"nop\\n" "1:\\n"'),
    ),
    "AArch64": (
        ('"stlr x17, [x16]\\n"', '"str x17, [x16]\\n"'),
        ('"stlr x17, [x16]\\n"', '"stlr x17, [x16]\\n" "nop\\n"'),
        ("0xd428bc00", "0xd428bc20"),
        ('"1:\\n"', '"nop\\n" "1:\\n"'),
    ),
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def section(objdump, program, name):
    """(address, bytes) of a section."""
    rows = re.findall(r"^ ([0-9a-f]+) ((?:[0-9a-f]{2,8} ){1,4})",
                      run(objdump, "-s", "-j", name, program), re.M)
    return int(rows[0][0], 16), bytes.fromhex("".join(data for _, data in rows).replace(" ", ""))


def instructions(objdump, program):
    """[(address, text, function)] of the whole program."""
    found, function = [], ""
    for line in run(objdump, "-d", "--no-show-raw-insn", program).splitlines():
        if match := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            function = match[1]
        elif match := re.match(r"^\s*([0-9a-f]+):\t(.*)$", line):
            found.append((int(match[1], 16), re.sub(r"\s*(#|//|<).*", "", match[2]), function))
    return found


def mnemonic(text):
    """Without the suffix by which an assembler may tell the width."""
    word = text.split()[0]
    return re.sub(r"^(mov|cmp|add|imul)[lq]$", r"\1", word)


def stores(text, processor):
    if processor == "AArch64":
        return text.startswith("st")
    last = text.split(None, 1)[1].split(",")[-1] if " " in text else ""
    if text.endswith(")"):
        last = re.split(r",(?![^(]*\))", text.split(None, 1)[1])[-1]
    return ("(" in last or "fs:" in last) and not re.match(r"(cmp|test|jmp)", text)


def shown(page, processor):
    """The mnemonics of the page's block for this processor."""
    block = re.search(rf"```text\n{processor}\n(.*?)```", page, re.S)
    return [line.split()[0] for line in block[1].splitlines()]


def check(objdump, program, processor, page):
    code = instructions(objdump, program)
    place = {address: index for index, (address, _, _) in enumerate(code)}
    start_of_table, table = section(objdump, program, "__rseq_cs")
    start_of_handlers, handlers = section(objdump, program, "__rseq_failure")
    faults, seen = [], {}
    if len(table) % 32 or len(table) < 5 * 32:
        faults.append(f"{len(table)} bytes of descriptors at {start_of_table:#x}")
    for version, flags, start, length, handler in struct.iter_unpack("<IIQQQ", table):
        first, last = place[start], place[start + length]
        piece = [text for _, text, _ in code[first:last]]
        name = code[first][2]
        end = last + 1 if stores(code[last][1], processor) else last  # what clears, if it does
        before = first - (1 if processor == "x86-64" else 4)
        seen[name] = [mnemonic(text) for _, text, _ in code[before - 1:end]]

        def expect(holds, what, name=name, piece=piece):
            if not holds:
                faults.append(f"{name}: {what}: {'; '.join(piece)}")

        expect(version == 0 and flags == 0, "version and flags are not 0")
        expect([stores(text, processor) for text in piece] == [False] * (len(piece) - 1) + [True],
               "the last instruction is not the only store")
        expect(not any(re.match(r"(call|bl\b|blr|syscall|svc|ret)", text) for text in piece),
               "a call")
        expect(stores(code[first - 1][1], processor), "the kernel is not told just before")
        at = handler - start_of_handlers
        expect(4 <= at < len(handlers) and
               struct.unpack_from("<I", handlers, at - 4)[0] == SIGNATURE[processor],
               "no signature before the handler")
        jump = code[place[handler]][1].split() if handler in place else ["nothing"]
        expect(jump[0] in ("jmp", "b"), "the handler does not jump")
        target = int(jump[1], 16) if len(jump) > 1 else start
        expect(not start <= target < start + length, "the handler jumps back in")

    wanted = shown(page, processor)
    if seen.get("listing_add") != wanted:
        faults.append(f"listing_add is not what the page shows:\n  {seen.get('listing_add')}\n"
                      f"  {wanted}")
    if processor == "x86-64" and len(seen.get("listing_one", wanted)) != len(wanted) - 2:
        faults.append(f"listing_one: {seen.get('listing_one')}")
    clear = {"x86-64": ["mov"], "AArch64": ["str"]}[processor]
    if seen.get("listing_clear") != wanted + clear:
        faults.append(f"listing_clear: {seen.get('listing_clear')}")
    for name in ("listing_one", "listing_take", "listing_put"):
        if name not in seen:
            faults.append(f"no sequence in {name}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--objdump", required=True)
    options = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    page = (root / "docs/internals/restartable.md").read_text()
    with tempfile.TemporaryDirectory() as folder:

        def build(include):
            run(options.compiler, "-std=c++20", "-O2", "-fno-pie", "-no-pie", f"-I{include}",
                str(root / "tests/detail/listing.cpp"), "-pthread", "-o", f"{folder}/listing")
            return f"{folder}/listing"

        program = build(root / "include")
        kind = run(options.objdump, "-f", program)
        processor = "AArch64" if "aarch64" in kind else "x86-64"
        faults = check(options.objdump, program, processor, page)
        shutil.copytree(root / "include", f"{folder}/include")
        name = f"interlock/detail/restartable_{processor.lower().replace('-', '_')}.hpp"
        sound = (root / "include" / name).read_text()
        for old, new in SEEDS[processor]:
            pathlib.Path(folder, "include", name).write_text(sound.replace(old, new))
            if old not in sound or not check(options.objdump, build(f"{folder}/include"),
                                             processor, page):
                faults.append(f"not found: {old} as {new}")
    for fault in faults:
        print(fault)
    print(f"{processor}: {len(faults)} faults" if faults
          else f"{processor}: as shown; {len(SEEDS[processor])} seeded faults found")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
