// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/front.hpp - the same program for both front ends: std::atomic under
// -fsanitize=thread, or testing::atomic.

#include <interlock/testing/model.hpp>
#include <interlock/testing/mutation.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <set>
#include <sstream>
#include <string>
#include <thread>

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

// scripts/prove collects these lines.
inline void record(const std::string& line) {
  if (const char* const path = std::getenv("INTERLOCK_PROVE_RECORD")) {
    std::ofstream(path, std::ios::app) << line << '\n';
  }
}

// Explores the body: no failure, no graph twice. scripts/prove gives the long ones a time, in
// INTERLOCK_PROVE_BUDGET (milliseconds): those need not come to their end.
template <class Body>
testing::report proved(Body body, testing::options how = {}) {
  const char* const budget = std::getenv("INTERLOCK_PROVE_BUDGET");
  how.count_distinct = budget == nullptr;
  if (budget != nullptr) {
    how.budget = std::chrono::milliseconds{std::atoi(budget)};
    how.processes = std::max(1U, std::thread::hardware_concurrency());
  }
  const auto begin = std::chrono::steady_clock::now();
  testing::report report = testing::explore(how, body);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  CAPTURE(report.text());
  CHECK(report.failure.empty());
  CHECK((report.proved() || budget != nullptr));
  // Without symmetry the copies are explored, and counted as one.
  if (how.count_distinct && !report.entangled) CHECK(report.distinct == report.executions);
  record("explored\t" + std::to_string(report.executions) + '\t' +
         std::to_string(report.blocked + report.pruned) + '\t' + std::to_string(time.count()) +
         (report.proved() ? "\twhole" : "\tpart"));
  return report;
}

// For types that stand on locks and waits which have proofs of their own: see options::whole_waits.
inline testing::options whole_waits() {
  testing::options how;
  how.whole_waits = true;
  how.reuse_memory = false;
  return how;
}

// Explores the body, which must fail.
template <class Body>
testing::report failing(Body body, const testing::options& how = {}) {
  testing::report report = testing::explore(how, body);
  INFO(report.text());
  CHECK_FALSE(report.failure.empty());
  return report;
}

inline void lock(atomic<int>& l) {
  for (int seen = 0; !l.compare_exchange_strong(seen, 1, acq, rlx); seen = 0) testing::spin_hint();
}

// Each thread takes what the other one holds.
inline void opposite_locks(testing::world& w) {
  atomic<int> a{0}, b{0};
  const auto both = [](atomic<int>& first, atomic<int>& second) {
    lock(first);
    lock(second);
    second.store(0, rel);
    first.store(0, rel);
  };
  w.thread([&] { both(a, b); });
  w.thread([&] { both(b, a); });
  w.finally([] {});
}

// Mutates the bodies: tools/mutate_orders.py runs these cases of all programs, for a mutant may be
// one program's to kill, and judges what survives. Each body holds as it is, and some mutant dies.
inline void mutants(std::initializer_list<std::function<void(testing::world&)>> bodies,
                    testing::mutation_options how = {}) {
  std::set<std::string> done;  // killed elsewhere
  if (const char* const path = std::getenv("INTERLOCK_PROVE_SKIP")) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) done.insert(line);
  }
  const char* const family = std::getenv("INTERLOCK_PROVE_MUTANTS");
  if (family != nullptr) {
    how.orders = std::string(family) == "order";
    how.logic = !how.orders;
  }
  how.wanted = [&done](const testing::mutant& m) {
    const bool of_the_test = m.place.find(".model.cpp:") != std::string::npos;
    return !of_the_test && !done.contains(m.place + '\t' + m.change);
  };
  const testing::mutation_report result = testing::mutate(bodies, how);
  CAPTURE(result.failure);
  CHECK(result.failure.empty());
  constexpr const char* fates[] = {"killed", "survived", "undecided"};
  bool some_died = !done.empty();
  for (const testing::mutant& m : result.mutants) {
    some_died = some_died || m.killed();
    const std::string fate = fates[static_cast<int>(m.result)];
    record("mutant\t" + m.place + '\t' + m.change + '\t' + fate + '\t' +
           (m.kind == testing::mutant::family::order ? "order" : "logic") + '\t' + m.failure);
    if (!m.killed()) WARN(fate << ": " << m.place << ": " << m.change);
  }
  CHECK(some_died);
}

// Weakens each memory order in the source, alone.
// Returns: those that none of the bodies notices, as "file:line acquire -> relaxed".
template <class... Bodies>
std::string survivors(Bodies... bodies) {
  testing::mutation_options how;
  how.logic = false;
  // Those of a failed compare_exchange are the mutants() cases' affair.
  how.wanted = [](const testing::mutant& m) { return m.change.rfind("failure ", 0) != 0; };
  const testing::mutation_report result = testing::mutate({bodies...}, how);
  CAPTURE(result.failure);
  CHECK(result.failure.empty());
  CHECK(!result.mutants.empty());
  outcomes alive;
  for (const testing::mutant& m : result.mutants) {
    if (!m.killed()) alive.insert(m.place + " " + m.change);
  }
  return joined(alive);
}
