#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_layers - what a header may include, hold and leave out.

Rules
  unknown-header   a header that the layer table below does not place
  upward-include   an include of a higher layer (sideways and downward are fine), or of one engine
                   by another
  cycle            headers that include each other
  include-form     one of our headers included other than by a relative "path"
  missing-include  a quoted include that names no file
  foreign-include  neither ours nor of the C++20 standard library (nor in PLATFORM)
  over-budget      the closure of a header is more than 6 of our headers or 800 lines of code
                   (but see HALVES, MORE_LINES, MORE_HEADERS and NO_BUDGET)
  too-long         a header well past 300 lines of code
  forbidden-word   what FORBIDDEN lists, with the reason
  preamble         not SPDX, #pragma once, "// interlock/NAME.hpp - what it does"
  no-such-type     no type, concept or function at namespace level is named as the file
  missing-label    a contract label that is not there (Problem ... Example); engines have two more
  label-order      the labels are not in the order of tools/source_text.py, or their texts not aligned
"""

import re

from source_text import (ASYNC_LABELS, ENGINE_LABELS, LABELS, Finding, arguments, blank, contract,
                         finish, headers, line_of, parse)

# A header may include its own layer and those before it. A folder stands for all that is in it.
LAYERS = (
    ("detail/", "version.hpp", "fwd.hpp", "wait_status.hpp", "run_result.hpp", "lock_report.hpp", "lock_owner.hpp",
     "timer.hpp", "coarse_time.hpp", "seeded_hash.hpp", "executor.hpp", "idempotency_outcome.hpp", "mirror_options.hpp", "mirror_version.hpp", "worker_pool.hpp"),
    ("counter.hpp", "striped_counter.hpp", "bounded_counter.hpp",
     "striped_bounded_counter.hpp", "watermark.hpp", "versioned.hpp",
     "snapshot.hpp", "transaction.hpp"),
    ("inplace_stop_token.hpp", "timer_thread.hpp", "manual_timer.hpp"),
    ("task.hpp", "when_all.hpp", "with_deadline.hpp", "async_mutex.hpp", "async_shared_mutex.hpp", "async_semaphore.hpp",
     "async_condition.hpp", "async_event.hpp", "lock_all.hpp", "tracked_async_mutex.hpp"),
    ("idempotency_cache.hpp", "idempotency_http.hpp", "serial_lane.hpp",
     "serial_queue.hpp", "keyed_serial_queue.hpp", "mirror.hpp",
     "keyed_mirror.hpp", "merging_mirror.hpp", "fill_leases.hpp", "mirror_executor.hpp"),
    ("asio.hpp", "standalone_asio.hpp", "detail/asio_bridge.hpp", "detail/asio_operation.hpp"),
    ("interlock.hpp",),
    ("store/",),
    ("memory/", "sqlite/", "redis/", "postgres/"),
)
ENGINES = LAYERS[-1]
STORES = ("store/", *ENGINES)
# testing/ stands beside them all: it knows no primitive, and no primitive knows it.
APART = "testing/"

# Header -> why a rule does not hold there. In some tables a folder stands for all that is in it.
NO_CONTRACT = {
    "store/error.hpp": "the names of errors",
    "store/operation_id.hpp": "plain structures, stated sentence by sentence",
    "store/outcome.hpp": "a result: each function states how it comes",
    "store/call_options.hpp": "the names of options",
    "store/client_options.hpp": "the names of options",
    "store/codec.hpp": "a customisation point, stated sentence by sentence",
    "store/guarantees.hpp": "the names of promises",
    "store/protocol.hpp": "a concept, stated sentence by sentence",
    "store/transaction_options.hpp": "the names of options",
    "store/sql_rows.hpp": "a result, stated sentence by sentence",
    "postgres/settings.hpp": "the names of options",
    "store/boot_clock.hpp": "a clock, stated sentence by sentence",
    "store/lease_guard.hpp": "what the mutexes of stores give: their contracts are its own",
    "store/concepts.hpp": "concepts, stated sentence by sentence",
    "store/lock_options.hpp": "the names of options",
    "store/queue_options.hpp": "the names of options and results",
    "store/idempotency_options.hpp": "the names of options and results",
    "sqlite/settings.hpp": "the names of options",
    "version.hpp": "macros only, read by CMake too",
    "fwd.hpp": "declarations only",
    "wait_status.hpp": "the names of results",
    "run_result.hpp": "a result: its function states how it comes",
    "idempotency_outcome.hpp": "the names of results",
    "mirror_options.hpp": "the names of results and options",
    "mirror_version.hpp": "two plain structures",
    "timer.hpp": "a concept, stated sentence by sentence",
    "executor.hpp": "a concept, stated sentence by sentence",
    "standalone_asio.hpp": "asio.hpp for the other namespace: the contract is there",
    "interlock.hpp": "the umbrella: includes every type, is none",
    "redis/value.hpp": "the answers of a server",
    "redis/command_executor.hpp": "a concept, stated sentence by sentence",
    "redis/settings.hpp": "the names of options",
}
# Header -> what it is known by, where that is not its own name.
KNOWN_BY = {"asio.hpp": "async_lock"}
NO_BUDGET = {
    "postgres/": "an engine and all its objects, behind libpq",
    "memory/": "an engine and all its objects: who tests with it waits for no compiler elsewhere",
    "sqlite/": "an engine and all its objects, for those who include sqlite3.h anyway",
    "store/": "the words of every engine at once, and calls that wait for one",
    "standalone_asio.hpp": "that of asio.hpp",
    "interlock.hpp": "the umbrella: includes every type",
    "redis/": "every protocol of an engine, and the pool under them",
}
MAY_SAY = {
    "detail/processor.hpp": {"fence": "is the one place for it; no happens-before rests on it"},
    "version.hpp": {"macro": "the version is for the preprocessor too"},
    "detail/parking_linux.hpp": {},
    "detail/stoppable.hpp": {"stop": "takes std::stop_token where there is one"},
    "detail/parking_portable.hpp": {
        "lock": "parks where there is no futex", "yield": "is the hook that yields"},
    **dict.fromkeys(STORES, {"lock": "blocks on sockets and files anyway; never spins"}),
}
ASIO = {f"{name}.hpp" for name in """any_io_executor associated_allocator
associated_cancellation_slot associated_executor async_result cancellation_type error
execution/context execution_context executor_work_guard post query recycling_allocator steady_timer
strand version""".split()}
# Only one branch of a platform switch is ever compiled, so only the first counts.
OTHER_BRANCH = {"detail/asymmetric_fence_none.hpp", "detail/parking_portable.hpp", "detail/restartable_none.hpp",
                "detail/restartable_aarch64.hpp"}
SOCKETS = {"fcntl.h", "netdb.h", "netinet/in.h", "netinet/tcp.h", "poll.h", "pthread.h", "signal.h",
           "sys/socket.h", "sys/time.h", "sys/un.h", "unistd.h"}
PLATFORM = {
    "store/detail/": {"pthread.h", "sys/random.h", "time.h", "unistd.h"},
    "store/boot_clock.hpp": {"time.h"},
    "sqlite/": {"pthread.h", "sqlite3.h", "sys/stat.h", "sys/vfs.h"},
    "redis/": {"hiredis/hiredis.h"} | SOCKETS,
    "redis/tls.hpp": {"hiredis/hiredis.h", "hiredis/hiredis_ssl.h", "openssl/err.h", "openssl/ssl.h", "openssl/x509v3.h"},
    "postgres/": {"libpq-fe.h"} | SOCKETS,
    "detail/after_fork.hpp": {"pthread.h"},
    "detail/parking_linux.hpp": {"linux/futex.h", "sched.h", "sys/syscall.h", "time.h", "unistd.h"},
    "detail/asymmetric_fence_linux.hpp": {"sched.h", "sys/syscall.h", "unistd.h"},
    "detail/restartable_linux.hpp": {"fcntl.h", "sched.h", "sys/rseq.h", "sys/syscall.h", "unistd.h"},
    "asio.hpp": {f"boost/asio/{name}" for name in ASIO},
    "standalone_asio.hpp": {f"asio/{name}" for name in ASIO},
    "testing/detail/processes.hpp": {"sys/types.h", "time.h"},
    "testing/detail/sockets.hpp": {"fcntl.h", "netinet/in.h", "poll.h", "sys/socket.h", "sys/un.h", "unistd.h"},
    "testing/lossy_proxy.hpp": {"fcntl.h", "poll.h", "sys/eventfd.h", "sys/socket.h", "unistd.h"},
    "testing/server_process.hpp": {"fcntl.h", "grp.h", "pwd.h", "signal.h", "sys/prctl.h", "sys/stat.h",
                                   "sys/syscall.h", "sys/wait.h", "unistd.h"},
    "testing/throwaway_postgres.hpp": {"signal.h", "sys/shm.h", "unistd.h"},
    "testing/temporary_folder.hpp": {"stdlib.h", "unistd.h"},
}

# Header -> (lines that its closure may have, why).
MORE_LINES = {
    "asio.hpp": (1270, "operations, their contexts, stop tokens, alarms, and the names of Asio"),
    "async_mutex.hpp": (1660, "coroutines that may leave, threads, and what a wait gives"),
    "async_condition.hpp": (2020, "all that async_mutex is, and a queue"),
    "lock_all.hpp": (2510, "both mutexes that it locks"),
    "async_shared_mutex.hpp": (1230, "who is in and who waits, the awaiter with its ends, two guards"),
    "tracked_async_mutex.hpp": (2820, "async_mutex, and the graph of locks behind it"),
    "async_event.hpp": (1080, "the line of waiters, and the ends that a wait may have"),
    "async_semaphore.hpp": (1210, "the same, and guards"),
    "idempotency_cache.hpp": (3620, "its table that is read without a lock, what counts on each "
                                    "processor, and threads and coroutines that join, with ends"),
    "transaction.hpp": (2595, "its log on top of all that a cell is"),
    "keyed_mirror.hpp": (2550, "a mirror's line, and the tables of keys"),
    "merging_mirror.hpp": (2720, "the same, and the updates in it"),
    "mirror.hpp": (2220, "who sends, what waits for its time, who waits for it, and their ends"),
    "watermark.hpp": (950, "threads and coroutines wait for a height, with ends"),
    "versioned.hpp": (1670, "threads and coroutines wait for a version, with ends"),
    "striped_bounded_counter.hpp": (850, "both forms of slots, their memory, a lock"),
    "task.hpp": (960, "stop tokens, and the threads that wait for them"),
    "when_all.hpp": (1140, "task, and results of two shapes"),
    "with_deadline.hpp": (990, "task, stop tokens and timers together"),
    "snapshot.hpp": (1820, "the turns of transactions on top of all that a cell is"),
    "keyed_serial_queue.hpp": (4600, "threads and coroutines that wait, for results and for places, "
                                     "with ends; who does the work; a pool"),
    "serial_lane.hpp": (1640, "the lane, blocks for tasks, circles of lanes, the options that tasks see"),
    "serial_queue.hpp": (3480, "the lane, its bounds and line, who waits in which way, executors, numbers"),
}

# Header -> (headers that its closure may have, why).
MORE_HEADERS = {
    "async_shared_mutex.hpp": (11, "the queue, the awaiter, its ends, the guards: a file each"),
    "lock_all.hpp": (19, "both mutexes that it locks"),
    "asio.hpp": (11, "operations, their contexts, stop tokens, alarms: a file each"),
    "async_condition.hpp": (16, "all that async_mutex is, and a queue"),
    "async_mutex.hpp": (13, "the line, the awaiter, its ends, the guard, run_exclusive, its result: a file each"),
    "tracked_async_mutex.hpp": (24, "async_mutex, and the graph of locks behind it"),
    "timer_thread.hpp": (9, "alarms: their heap, their lock, their thread, who calls them: a file each"),
    "manual_timer.hpp": (8, "alarms: their heap, their lock, who calls them: a file each"),
    "async_event.hpp": (9, "node, ring, its lock, the line, the awaiter and its ends: a file each"),
    "async_semaphore.hpp": (10, "the same, and guards"),
    "striped_counter.hpp": (7, "the state word, the slots, the sequence and its twin: a file each"),
    "transaction.hpp": (19, "its log on top of all that a cell is"),
    "striped_bounded_counter.hpp": (10, "both forms of slots, their memory, a lock, the bounds"),
    "versioned.hpp": (11, "the word, the bytes, who waits, and their ends: a file each"),
    "keyed_mirror.hpp": (21, "a mirror's line, and the tables of keys"),
    "merging_mirror.hpp": (22, "the same, and the updates in it"),
    "mirror.hpp": (19, "the key, its line and queue, the crew and its errands, the fence, the awaiter, its ends: a file each"),
    "watermark.hpp": (8, "the list, its ring, the awaiter, its ends: a file each"),
    "idempotency_cache.hpp": (33, "chains, line, what waits for readers, the awaiter, its ends: a file each"),
    "task.hpp": (10, "stop tokens, and the threads that wait for them"),
    "when_all.hpp": (11, "task and what it needs"),
    "with_deadline.hpp": (11, "task, stop tokens and timers together"),
    "keyed_serial_queue.hpp": (33, "the same: work, table, lines, places, ends, service, crew, posts, circles, "
                                   "numbers: a file each"),
    "serial_lane.hpp": (14, "the lane and its word, blocks for tasks, circles of lanes: a file each"),
    "serial_queue.hpp": (26, "the lane, its word, its bounds and line, who waits in which way, executors: a file each"),
    "snapshot.hpp": (13, "the turns of transactions on top of all that a cell is"),
}

# Lines of code: comments are not what makes a header heavy, and a limit on them would cost contracts.
MAX_HEADERS, MAX_LINES = 6, 800
# Its lines count, as a header of its own it does not: the platform's half of one, and plain names.
HALVES = {"wait_status.hpp", "timer.hpp", "executor.hpp", "mirror_options.hpp",
     "mirror_version.hpp", "detail/parking_linux.hpp", "detail/restartable_linux.hpp",
          "detail/restartable_x86_64.hpp", "detail/shared_bytes_x86.hpp"}
MAX_OWN_LINES = 330             # "about 300"

FORBIDDEN = (  # (key for MAY_SAY, pattern, reason); in code, not in comments
    ("format", r"\bstd::format|<format>", "not in GCC 12"),
    ("expected", r"\bstd::expected|<expected>", "C++23"),
    ("move_only_function", r"\bmove_only_function\b", "C++23, not in libc++ 19"),
    ("stop", r"\bjthread\b|\bstd::stop_\w+|<stop_token>", "experimental in libc++ 19"),
    ("atomic_shared", r"\batomic<\s*(?:std::)?shared_ptr", "not in libc++ 19"),
    ("fence", r"\batomic_(?:thread|signal)_fence\b", "unseen by ThreadSanitizer"),
    ("interference", r"\bhardware_(?:destructive|constructive)_interference_size\b",
     "differs from one compiler flag to the next"),
    ("no_unique_address", r"\bno_unique_address\b", "the layout differs by compiler"),
    ("disabled", r"^[ \t]*#[ \t]*if[ \t]+0\b", "disabled code"),
    ("macro", r"^[ \t]*#[ \t]*define\b", "a macro could differ between two files"),
    ("lock", r"\bstd::(?:\w*mutex|condition_variable\w*)\b(?!\.)",
     "wait through detail/parking.hpp"),
    ("yield", r"\bthis_thread::(?:yield|sleep_\w+)", "wait through detail/parking.hpp"),
)

STANDARD = set("""algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat
charconv chrono cinttypes climits clocale cmath codecvt compare complex concepts condition_variable
coroutine csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype
deque exception execution filesystem forward_list fstream functional future initializer_list iomanip
ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource mutex new
numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore set
shared_mutex source_location span sstream stack stdexcept stop_token streambuf string string_view syncstream
system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray
variant vector version""".split())

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def layer_of(name):
    """The first layer that names the header; else the first that names its folder."""
    for index, members in enumerate(LAYERS):
        if name in members:
            return index
    for index, members in enumerate(LAYERS):
        if any(m.endswith("/") and name.startswith(m) for m in members):
            return index
    return None


def entry(table, name, none):
    """What a table says of a header: by its name, or by the folders that it is in."""
    folders = [name[:at + 1] for at in range(len(name)) if name[at] == "/"]
    return next((table[key] for key in (name, *reversed(folders)) if key in table), none)


class Header:
    def __init__(self, path, base, root):
        self.name = path.relative_to(base).as_posix()
        self.file = path.relative_to(root).as_posix()
        self.text = path.read_text()
        self.code = blank(self.text)
        self.lines = sum(bool(line.strip()) for line in self.code.splitlines())
        self.ours = {}  # name -> line
        self.findings = []
        for match in INCLUDE.finditer(blank(self.text, literals=False)):
            self.include(path, base, match[1], match[2], line_of(self.text, match.start(1)))

    def report(self, line, rule, message):
        self.findings.append(Finding(self.file, line, rule, message))

    def include(self, path, base, mark, target, line):
        if mark == "<":
            if target.startswith("interlock/"):
                self.report(line, "include-form", f'<{target}>: use a relative "path"')
            elif target not in STANDARD | entry(PLATFORM, self.name, set()):
                self.report(line, "foreign-include", f"<{target}> is not of the standard library")
            return
        found = (path.parent / target).resolve()
        if not found.is_file():
            self.report(line, "missing-include", f'"{target}" names no file from here')
        elif not found.is_relative_to(base):
            self.report(line, "foreign-include", f'"{target}" is outside include/interlock')
        else:
            self.ours[found.relative_to(base).as_posix()] = line


def check_arrows(header):
    mine = layer_of(header.name)
    apart = header.name.startswith(APART)
    if mine is None and not apart:
        header.report(1, "unknown-header", "place it in LAYERS of tools/check_layers.py")
        return
    for target, line in header.ours.items():
        other = layer_of(target)
        if apart != target.startswith(APART):
            header.report(line, "upward-include", f"{APART} stands apart from the primitives")
        elif not apart and other is not None and other > mine:
            header.report(line, "upward-include", f"{target} is of a higher layer")
        elif (header.name.startswith(ENGINES) and target.startswith(ENGINES)
              and header.name.split("/")[0] != target.split("/")[0]):
            header.report(line, "upward-include", f"{target} is of another engine; share it in store/")


def check_cycles(tree):
    state, trail = {}, []

    def visit(name):
        state[name] = "open"
        trail.append(name)
        for target, line in tree[name].ours.items():
            if state.get(target) == "open":
                loop = trail[trail.index(target):] + [target]
                tree[name].report(line, "cycle", " -> ".join(loop))
            elif target in tree and target not in state:
                visit(target)
        trail.pop()
        state[name] = "done"

    for name in tree:
        if name not in state:
            visit(name)


def closure(tree, name):
    """The headers that including `name` brings along, itself included."""
    found, todo = set(), [name]
    while todo:
        current = todo.pop()
        if current not in found and current in tree and current not in OTHER_BRANCH:
            found.add(current)
            todo += tree[current].ours
    return found


def check_text(header):
    for key, pattern, reason in FORBIDDEN:
        if key in entry(MAY_SAY, header.name, {}):
            continue
        for match in re.finditer(pattern, header.code, re.M):
            header.report(line_of(header.code, match.start()), "forbidden-word",
                          f"{match[0].strip()}: {reason}")
    title = (r"// SPDX-License-Identifier: BSL-1\.0\n#pragma once\n\n"
             rf"// interlock/{re.escape(header.name)} - \S")
    if not re.match(title, header.text):
        header.report(1, "preamble",
                      f"expected SPDX, #pragma once, // interlock/{header.name} - ...")
    if header.lines > MAX_OWN_LINES:
        header.report(1, "too-long", f"{header.lines} lines of code; ask what idea hides inside")


def check_contract(header):
    stem = KNOWN_BY.get(header.name, header.name.removesuffix(".hpp").rpartition("/")[2])
    if not re.search(rf"\b(?:class|struct|concept|enum class|using)\s+{stem}\b|^\S.*\b{stem}[({{]",
                     header.code, re.M):
        header.report(1, "no-such-type", f"nothing here is named {stem}")
    labels = contract(header.text)
    names = [label.name for label in labels]
    needless = set()
    if not re.search(r"\bcoroutine_(?:handle|waiter)\b", header.code):
        needless.update(ASYNC_LABELS)
    if not header.name.startswith((*ENGINES, "store/basic_")):
        needless.update(ENGINE_LABELS)
    for label in LABELS:
        if label not in names and label not in needless:
            why = " (it has awaitables)" if label in ASYNC_LABELS else ""
            header.report(1, "missing-label", label + why)
    core = [n for n in names if n not in ASYNC_LABELS]
    if core != [n for n in LABELS if n in core]:
        header.report(labels[0].line, "label-order", "order: " + " - ".join(LABELS))
    for label in labels:
        if label.column != max(labels[0].column, len("// ") + len(label.name) + 1):
            header.report(label.line, "label-order", f"{label.name}: its text is not aligned")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--table", action="store_true",
                        help="print the closure of every public header")
    options = parse(parser)
    base = options.root / "include" / "interlock"
    tree = {h.name: h for h in (Header(p, base, options.root) for p in headers(options.root))}
    check_cycles(tree)
    for header in tree.values():
        check_arrows(header)
        if header.name.startswith(APART):
            continue  # a tool with its own rules
        check_text(header)
        if header.name.startswith("detail/") or "/detail/" in header.name:
            continue
        if header.name not in NO_CONTRACT:
            check_contract(header)
        together = closure(tree, header.name)
        count = len(together - HALVES)
        lines = sum(tree[n].lines for n in together)
        if options.table:
            print(f"{header.name:26} {header.lines:4} lines, closure {count} headers "
                  f"{lines:4} lines: {' '.join(sorted(together - {header.name}))}")
        limit = MORE_LINES.get(header.name, (MAX_LINES,))[0]
        most = MORE_HEADERS.get(header.name, (MAX_HEADERS,))[0]
        if not entry(NO_BUDGET, header.name, None) and (count > most or lines > limit):
            header.report(1, "over-budget", f"{count} headers, {lines} lines of code "
                          f"(at most {most} and {limit}): {' '.join(sorted(together))}")
    finish([f for h in tree.values() for f in h.findings], f"{len(tree)} headers")


if __name__ == "__main__":
    main()
