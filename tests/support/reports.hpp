// SPDX-License-Identifier: BSL-1.0
#pragma once

// Keeps what tracked mutexes report while it lives. One at a time.

#include <interlock/lock_report.hpp>

#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace support {

class reports {
public:
  enum class then { go_on, throw_if_certain };

  // What leaves a lock call that is reported as a certain deadlock, if asked for.
  struct deadlock : std::runtime_error {
    deadlock() : std::runtime_error("deadlock") {}
  };

  explicit reports(then what = then::go_on)
      : before_(interlock::on_lock_report(what == then::go_on ? &keep : &keep_and_throw)) {
    const std::lock_guard inside(guard);
    kept.clear();
  }
  reports(const reports&) = delete;
  reports& operator=(const reports&) = delete;
  ~reports() { interlock::on_lock_report(before_); }

  std::vector<interlock::lock_report> all() const {
    const std::lock_guard inside(guard);
    return kept;
  }
  std::size_t size() const { return all().size(); }
  bool empty() const { return size() == 0; }
  interlock::lock_report operator[](std::size_t i) const { return all().at(i); }

private:
  static void keep(const interlock::lock_report& one) {
    const std::lock_guard inside(guard);
    kept.push_back(one);
  }
  static void keep_and_throw(const interlock::lock_report& one) {
    keep(one);
    if (one.certain) throw deadlock();
  }

  inline static std::mutex guard;
  inline static std::vector<interlock::lock_report> kept;

  interlock::lock_report_handler before_;
};

// Returns: true if the report is of that kind, and as certain.
inline bool is(const interlock::lock_report& report, interlock::lock_report::kind what,
               bool certain) {
  return report.what == what && report.certain == certain;
}

// Returns: the names of the locks.
inline std::vector<std::string> names(const std::vector<interlock::lock_report::entry>& entries) {
  std::vector<std::string> all;
  for (const auto& one : entries) all.push_back(one.lock);
  return all;
}

}  // namespace support
