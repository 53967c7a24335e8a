// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/lock_report.hpp - what a tracked mutex says, and to whom.
//
// Problem     A deadlock says nothing: the program stands still, and nobody knows who holds what.
// Guarantee   A report names each lock and where it was taken or asked for. The handler that was
//             set last gets every report. A deadlock that nothing can end stops the program
//             unless a handler was set.
// Progress    on_lock_report: wait-free. Handlers run on the thread that locks, and hold no lock.
// Cost        Reports allocate their text. Nothing is paid where no tracked type is used.
// Lifetime    A report is gone when the handler returns: copy what is to stay.
// Not for     Logging. A report is a bug, or a lock order that will be one some day.
//
// Example     on_lock_report([](const lock_report& report) {  // examples/tracked_async_mutex.cpp
//               std::fputs(to_string(report).c_str(), stdout);
//               if (report.certain) throw std::runtime_error("deadlock");
//             });

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {

struct lock_report {
  enum class kind : unsigned char {
    relock,       // who owns the mutex waits for it
    cycle,        // each of several waits for what the next one owns
    order,        // no deadlock, but two locks were taken in both orders
    stranger,     // a guard adopts a mutex that another guard owns, or nobody
    destruction,  // a mutex is destroyed while it is owned or waited for
  };

  struct entry {
    std::string lock;         // its name
    std::source_location at;  // where it was taken, or asked for; line 0: by lock_all
    std::string note;         // what else is known, such as "may end by a stop"; often empty
  };

  struct party {
    std::string name;          // of a lock_owner, or such as "thread 1"; numbers are the report's
    std::vector<entry> holds;  // in the order in which they were taken
    std::vector<entry> waits;  // at most one
  };

  kind what;
  bool certain;                // nothing but destruction ends it: neither a stop nor a deadline
  std::vector<party> parties;  // relock: one; cycle: each waits for what the next one holds
};

// Returns: the report as lines of text, the first of which begins with "interlock: ".
inline std::string to_string(const lock_report& report);

// A handler may throw from a relock or a cycle: the lock call throws then, before it waits, and in
// a coroutine so does its co_await. From another report it must not throw.
using lock_report_handler = void (*)(const lock_report&);

// Effects: reports go to the handler from now on; to the default one if it is null. That one writes
//          them to stderr, and calls std::abort() for what is certain.
// Returns: the handler before, null if it was the default one.
inline lock_report_handler on_lock_report(lock_report_handler handler) noexcept;

// ------------------------------------------------------------------------------------------------

namespace detail {

inline std::atomic<lock_report_handler> report_handler{nullptr};

// Effects: hands the report to whoever is set to get it.
inline void tell(const lock_report& report) {
  // order: acquire [lock_report.tell] pairs with [lock_report.set]: the handler sees what was there when it was set
  const lock_report_handler handler = report_handler.load(std::memory_order_acquire);
  if (handler != nullptr) return handler(report);
  std::fputs(to_string(report).c_str(), stderr);
  if (report.certain) std::abort();
}

// Returns: such as transfer.cpp:12, whatever folder that is in.
inline std::string place_of(const std::source_location& at) {
  std::string_view file = at.file_name();
  file.remove_prefix(file.find_last_of("/\\") + 1);  // of npos: 0
  return std::string(file) + ':' + std::to_string(at.line());
}

// Returns: such as `"door" at transfer.cpp:12 (by try_lock)`.
inline std::string describe(const lock_report::entry& entry, const char* preposition) {
  std::string text = '"' + entry.lock + '"';
  text += entry.at.line() != 0 ? std::string(" ") + preposition + ' ' + place_of(entry.at)
                               : " by lock_all";
  if (!entry.note.empty()) text += " (" + entry.note + ')';
  return text;
}

inline std::string headline(const lock_report& report) {
  const std::string sure = report.certain ? "deadlock: " : "perhaps a deadlock: ";
  switch (report.what) {
    case lock_report::kind::relock:
      return sure + "the owner of a mutex waits for it";
    case lock_report::kind::cycle:
      return sure + std::to_string(report.parties.size()) + " wait for each other in a circle";
    case lock_report::kind::order:
      return "lock order: these were taken in both orders; a deadlock once it happens at one time";
    case lock_report::kind::stranger:
      return "a mutex is adopted by who does not own it";
    case lock_report::kind::destruction:
      return "a mutex is destroyed while it is in use";
  }
  return "no lock_report";
}

}  // namespace detail

inline std::string to_string(const lock_report& report) {
  std::string text = "interlock: " + detail::headline(report) + '\n';
  for (const lock_report::party& one : report.parties) {
    text += "  " + one.name + '\n';
    for (const lock_report::entry& held : one.holds) {
      text += "    holds " + detail::describe(held, "since") + '\n';
    }
    for (const lock_report::entry& wanted : one.waits) {
      text += "    asks for " + detail::describe(wanted, "at") + '\n';
    }
  }
  return text;
}

inline lock_report_handler on_lock_report(lock_report_handler handler) noexcept {
  // order: acq_rel [lock_report.set] pairs with [lock_report.tell], [lock_report.set]: publishes what the handler needs
  return detail::report_handler.exchange(handler, std::memory_order_acq_rel);
}

}  // namespace interlock
