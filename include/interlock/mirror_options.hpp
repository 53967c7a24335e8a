// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/mirror_options.hpp - what the targets of mirrors answer, and how a mirror is set up.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>

namespace interlock {

// What the target says to a write. The mirror keeps its own writes in order, but a target that
// other processes write to as well, or that may apply a write after it timed out, has to compare
// in the write itself: UPDATE t SET v = ?, version = ? WHERE version < ?
enum class mirror_write_result : unsigned char {
  applied,
  stale,    // the target holds this version or a newer one: nothing left to do
  failed,   // it was not applied and will not be: tried again
  unknown,  // a time-out: it may be applied, or will be. So it is after an exception: tried again
};

enum class mirror_flush_result : unsigned char {
  flushed,    // confirmed by the target
  failed,     // as many writes failed in a row as `attempts` says; they go on
  closed,     // the mirror was closed before
  cancelled,  // the stop token asked for it: the write follows all the same
  timed_out,  // the deadline passed: the write follows all the same
};

struct mirror_failure {
  std::size_t failures;  // in a row
  mirror_write_result result = mirror_write_result::failed;  // of the last one: failed, unknown, or
                                                             // stale: see merging_mirror
  std::exception_ptr error = nullptr;  // of the last one, if the source or the target threw
  bool overdue = false;  // a touch is older than max_staleness, and not confirmed
};

// How often, by whom, and what if it fails. All functions are called without any lock, but `now`.
struct mirror_options {
  // Failures in a row until they are surfaced: on_failure is called, a flush answers `failed`. The
  // mirror does not give up; the same again after as many more. close() gives up at that point.
  std::size_t attempts = 5;

  // Called on the thread that sends. Must not throw.
  std::function<void(const mirror_failure&)> on_failure = {};

  // Returns: how long to wait after that many failures in a row. Must not throw.
  // Empty: 10 ms, doubled each time up to 1 s, of which up to a half is taken off at random.
  std::function<std::chrono::nanoseconds(std::size_t failures)> delay = {};

  // Runs the job once, `delay` from now or later, not within the call: each job is one write at
  // most. Who closes the mirror does not wait for those that have not begun. If it throws, the
  // thread that called it writes, and waits, until there is nothing left to do or it takes a wait;
  // for a flush that has a deadline or a stop, until that: what is due then is written when the
  // next touch, flush or close of a key in line has asked again.
  // Not called when the mirror has ended. Empty: threads of the mirror's own. mirror_executor.hpp
  // makes one of an executor and a timer.
  std::function<void(std::chrono::nanoseconds delay, std::function<void()> job)> schedule = {};

  // The clock of that schedule: quick, does not throw or use the mirror. Empty: steady_clock.
  std::function<std::chrono::steady_clock::time_point()> now = {};

  // Two writes of a key begin at least so far apart. No wait here is longer than a year.
  std::chrono::nanoseconds min_interval{0};

  // What is not confirmed so long after its touch is tried again by then, whatever `delay` says,
  // and as often from then on; and surfaced once as overdue. 0: no such bound. Not less than
  // min_interval.
  std::chrono::nanoseconds max_staleness{0};
};

// Of one moment.
struct mirror_statistics {
  std::uint64_t touches;   // and flushes, that made a write due; the others found it due already
  std::uint64_t flushes;   // that had to wait
  std::uint64_t writes;    // applied
  std::uint64_t stale;     // refused by the target
  std::uint64_t skipped;   // not written: the version was confirmed already, or there was nothing
  std::uint64_t failures;  // each of them is tried again, until close() gives up
  std::uint64_t unknown;   // those of the failures after which nobody knows
  std::uint64_t overdue;   // how often max_staleness passed without a confirmation
};

}  // namespace interlock
