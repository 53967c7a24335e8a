// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lock_order.hpp - which lock was asked for while which was held; circles of that.
//
// A circle is a deadlock that did not happen this time. It is none if two of its steps had another
// lock in common each time, a gate, which lets one of them in at a time (K. Havelund, "Using
// Runtime Analysis to Guide Model Checking of Java Programs", 2000; the order itself is lockdep's).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "../lock_report.hpp"
#include "lock_nodes.hpp"

namespace interlock::detail {

using held_locks = std::map<std::uint64_t, tracked_lock*>;  // by turn: oldest first

// A way that was found, step by step; `before` is the step before.
struct trail {
  tracked_lock* at;
  std::size_t before;
  order_step* by;
  std::vector<std::uint64_t> gates;  // of all steps so far
};

// `reached`: the last one is where the first one began.
inline lock_report inversion_report(const tracked_lock& from, const lock_wait& wait,
                                    const std::vector<trail>& reached) {
  labels names;
  lock_report report{lock_report::kind::order, false, {}};
  for (std::size_t at = reached.size() - 1; at != 0; at = reached[at].before) {
    order_step& by = *reached[at].by;
    by.told = true;
    report.parties.push_back({by.who + ", before",
                              {{reached[reached[at].before].at->name, by.held, {}}},
                              {{by.to->name, by.asked, {}}}});
  }
  reached.front().by->told = true;
  report.parties.push_back({names.of(wait.chain.front()) + ", now",
                            {held_entry(from)},
                            {{reached.front().at->name, wait.at, {}}}});
  std::reverse(report.parties.begin(), report.parties.end());
  return report;
}

// Returns: the report of a way back from where the step leads to where it begins.
inline std::optional<lock_report> inversion(const tracked_lock& from, order_step& step,
                                            const lock_wait& wait) {
  std::vector<trail> reached{{step.to, 0, &step, step.gates}};
  std::set<std::uint64_t> seen{step.to->number};
  for (std::size_t i = 0; i < reached.size(); ++i) {
    for (auto& [number, next] : reached[i].at->later) {
      if (seen.count(number) != 0) continue;
      std::vector<std::uint64_t> gates;
      std::set_intersection(next.gates.begin(), next.gates.end(), reached[i].gates.begin(),
                            reached[i].gates.end(), std::back_inserter(gates));
      if (!gates.empty()) continue;
      seen.insert(number);
      std::set_union(next.gates.begin(), next.gates.end(), reached[i].gates.begin(),
                     reached[i].gates.end(), std::back_inserter(gates));
      reached.push_back({next.to, i, &next, std::move(gates)});
      if (number == from.number) return inversion_report(from, wait, reached);
    }
  }
  return std::nullopt;
}

// Returns: the step, if it is new or has fewer gates than before and was not told yet.
inline order_step* note_step(tracked_lock& from, tracked_lock& to, const lock_wait& wait,
                             std::vector<std::uint64_t> gates) {
  const auto [place, is_new] = from.later.try_emplace(to.number);
  order_step& step = place->second;
  if (is_new) {
    step = {&to, from.taken, wait.at, labels::kind_of(wait.chain.front()), std::move(gates)};
    to.sooner.emplace(from.number, &from);
    return &step;
  }
  std::vector<std::uint64_t> both;
  std::set_intersection(gates.begin(), gates.end(), step.gates.begin(), step.gates.end(),
                        std::back_inserter(both));
  if (step.told || both.size() == step.gates.size()) return nullptr;
  step.gates = std::move(both);
  return &step;
}

// Effects: notes that the lock was asked for by who holds what it holds.
// Returns: the report of a circle that this closes, if it was not told before.
inline std::optional<lock_report> note_order(const held_locks& held, const lock_wait& wait,
                                             tracked_lock& wanted) {
  if (wait.end == wait_end::deadline) return std::nullopt;  // goes on in any case
  std::optional<lock_report> found;
  for (const auto& [turn, from] : held) {
    if (from == &wanted) continue;
    std::vector<std::uint64_t> gates;
    for (const auto& [other_turn, other] : held) {
      if (other != from && other != &wanted) gates.push_back(other->number);
    }
    std::sort(gates.begin(), gates.end());
    order_step* const step = note_step(*from, wanted, wait, std::move(gates));
    if (step == nullptr || found) continue;
    found = inversion(*from, *step, wait);
  }
  return found;
}

}  // namespace interlock::detail
