// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/front.hpp - the same program for both front ends: std::atomic under
// -fsanitize=thread, or testing::atomic.

#include <interlock/testing/model.hpp>

#include <atomic>
#include <set>
#include <sstream>
#include <string>

#include "support/catch.hpp"

#if defined(INTERLOCK_FRONT_B)
template <class T>
using atomic = interlock::testing::atomic<T>;
template <class T>
using plain = interlock::testing::var<T>;
inline void fence(std::memory_order order) { interlock::testing::atomic_thread_fence(order); }
#else
template <class T>
using atomic = std::atomic<T>;
template <class T>
using plain = T;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"  // GCC says that libtsan does not see fences; ours does
#endif
inline void fence(std::memory_order order) { std::atomic_thread_fence(order); }
#endif

namespace testing = interlock::testing;

constexpr auto rlx = std::memory_order_relaxed;
constexpr auto acq = std::memory_order_acquire;
constexpr auto rel = std::memory_order_release;
constexpr auto ar = std::memory_order_acq_rel;
constexpr auto sc = std::memory_order_seq_cst;

using outcomes = std::set<std::string>;

inline outcomes seen(const testing::report& report) {
  outcomes result;
  for (const auto& [text, count] : report.outcomes) result.insert(text);
  return result;
}

inline std::string joined(const outcomes& all) {
  std::string text;
  for (const std::string& one : all) text += text.empty() ? one : ", " + one;
  return text;
}

// Explores the body: no failure, no graph twice.
template <class Body>
testing::report proved(Body body) {
  testing::options how;
  how.count_distinct = true;
  testing::report report = testing::explore(how, body);
  CAPTURE(report.text());
  CHECK(report.proved());
  CHECK(report.distinct == report.executions);
  return report;
}

// Explores the body, which must fail.
template <class Body>
testing::report failing(Body body) {
  testing::report report = testing::explore(body);
  INFO(report.text());
  CHECK_FALSE(report.failure.empty());
  return report;
}

// Weakens each memory order in the source by one step, alone.
// Returns: those that none of the bodies notices, as "file:line acquire -> relaxed".
template <class... Bodies>
std::string survivors(Bodies... bodies) {
  constexpr const char* names[] = {"relaxed", "consume", "acquire",
                                   "release", "acq_rel", "seq_cst"};
  outcomes alive, killed;
  const auto run = [&](auto& body) {
    for (const testing::mutant& m : testing::weaken_each_order(testing::options{}, body)) {
      const std::string name = m.place + " " + names[static_cast<int>(m.from)] + " -> " +
                               names[static_cast<int>(m.to)];
      (m.killed ? killed : alive).insert(name);
    }
  };
  (run(bodies), ...);
  CHECK(!killed.empty());
  for (const std::string& one : killed) alive.erase(one);
  return joined(alive);
}
