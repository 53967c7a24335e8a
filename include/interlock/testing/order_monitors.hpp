// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/order_monitors.hpp - checks of who came when: queues, locks, work that is done
// one at a time, work that is done once.
//
// Problem     as monitors.hpp
// Guarantee   The queue monitor gives the same answer as a search.
//             Two owners at once and a waiter who is overtaken are found.
//             Work that overlaps or is lost or doubled or out of order is found.
//             A second execution of a key and an answer of none are found.
// Progress    plain functions, on the calling thread.
// Cost        O(n log n), nearly linear where values are dense.
// Lifetime    nothing is kept.
// Not for     Values that are pushed twice: it says so, use linearizable(). Explored threads, but
//             for monitor_exclusion.
//
// Example     none

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"
#include "monitors.hpp"
#include "specifications.hpp"

namespace interlock::testing {

namespace history_detail {

// A value's way through a queue.
struct passage {
  std::uint64_t push_invoked, push_returned;
  std::uint64_t pop_invoked = never, pop_returned = never;
  std::uint32_t push_at, pop_at = 0;
  bool popped = false;
};

inline verdict match_values(const std::vector<recorded<queue_call>>& all,
                            std::vector<passage>& list) {
  using kind = queue_call::kind;
  const auto order = ordered(all.size(), [&](std::size_t i) {
    const recorded<queue_call>& one = all[i];
    if (one.op.what == kind::pop_empty || (one.op.what == kind::pop && !one.when.answered())) {
      return never;
    }
    return 2 * one.op.value + (one.op.what == kind::pop ? 1 : 0);
  });
  list.reserve(all.size() / 2);
  for (std::size_t i = 0; i < order.size() && order[i].key != never; ++i) {
    const recorded<queue_call>& one = all[order[i].at];
    if (one.op.what == kind::push) {
      if (i != 0 && order[i].key == order[i - 1].key) {
        throw std::invalid_argument("monitor_queue: a value is pushed twice; use linearizable()");
      }
      list.push_back({one.when.invoked, one.when.returned, never, never, order[i].at, 0, false});
      continue;
    }
    if (i != 0 && order[i].key == order[i - 1].key) {
      return {both("a value came out twice", all[order[i - 1].at], one), all.size(), 0};
    }
    if (i == 0 || order[i - 1].key + 1 != order[i].key) {
      return {text_of(one) + ", which nobody pushed", all.size(), 0};
    }
    passage& way = list.back();
    if (one.when.returned <= way.push_invoked) {
      return {both("a value came out before it went in", one, all[way.push_at]), all.size(), 0};
    }
    way.pop_invoked = one.when.invoked;
    way.pop_returned = one.when.returned;
    way.pop_at = order[i].at;
    way.popped = true;
  }
  // A push without an answer or a trace may never have happened.
  list.erase(std::remove_if(list.begin(), list.end(), [](const passage& one) {
    return one.push_returned == never && !one.popped;
  }), list.end());
  return {{}, all.size(), 0};
}

// Effects: gives pops that were never answered to the values that are most urgently missing.
inline void give_to_unanswered(const std::vector<recorded<queue_call>>& all,
                               std::vector<passage>& list) {
  std::vector<std::uint64_t> pops;
  for (const std::uint32_t i : unanswered(all)) {
    if (all[i].op.what == queue_call::kind::pop) pops.push_back(all[i].when.invoked);
  }
  if (pops.empty()) return;
  std::vector<std::pair<std::uint64_t, std::size_t>> left;  // by when it has to be out
  const auto by_push = ordered(list.size(), [&](std::size_t i) { return list[i].push_invoked; });
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].popped) continue;
    std::uint64_t latest = never;
    for (std::size_t k = by_push.size(); k > 0; --k) {
      const passage& later = list[by_push[k - 1].at];
      if (later.push_invoked < list[i].push_returned) break;
      latest = std::min(latest, later.pop_returned);
    }
    left.emplace_back(latest, i);
  }
  std::sort(left.begin(), left.end());
  for (std::size_t i = 0; i < std::min(left.size(), pops.size()); ++i) {
    list[left[i].second].pop_invoked = pops[i];
  }
}

// a went in before b, and b came out before a.
inline verdict overtaking(const std::vector<recorded<queue_call>>& all,
                          const std::vector<passage>& list) {
  const auto ends = ordered(list.size(), [&](std::size_t i) { return list[i].push_returned; });
  const auto begins = ordered(list.size(), [&](std::size_t i) { return list[i].push_invoked; });
  const passage* last_out = nullptr;  // of those that went in before b
  std::size_t next = 0;
  for (const keyed& one : begins) {
    const passage& b = list[one.at];
    for (; next < ends.size() && ends[next].key <= b.push_invoked; ++next) {
      const passage& a = list[ends[next].at];
      if (last_out == nullptr || a.pop_invoked > last_out->pop_invoked) last_out = &a;
    }
    if (last_out == nullptr || !b.popped || b.pop_returned > last_out->pop_invoked) continue;
    return {words(both("not first in, first out", all[last_out->push_at], all[b.push_at]), ", but ",
                  text_of(all[b.pop_at]),
                  last_out->popped ? words(" before ", text_of(all[last_out->pop_at]))
                                   : " and the former never came out"),
            all.size(), 0};
  }
  return {{}, all.size(), 0};
}

// A pop found nothing although at each moment of it something was in the queue.
inline verdict never_empty(const std::vector<recorded<queue_call>>& all,
                           const std::vector<passage>& list) {
  const auto ends = ordered(list.size(), [&](std::size_t i) { return list[i].push_returned; });
  std::vector<std::pair<std::uint64_t, std::uint64_t>> filled;  // from, to
  for (const keyed& one : ends) {
    const std::uint64_t until = list[one.at].pop_invoked;
    if (filled.empty() || one.key > filled.back().second) {
      filled.emplace_back(one.key, until);
    } else {
      filled.back().second = std::max(filled.back().second, until);
    }
  }
  for (const auto& one : all) {
    if (one.op.what != queue_call::kind::pop_empty || !one.when.answered()) continue;
    auto after = std::upper_bound(filled.begin(), filled.end(),
                                  std::pair(one.when.invoked, never));
    if (after == filled.begin() || (--after)->second < one.when.returned) continue;
    std::string text = text_of(one) + ", but something was in the queue all the time";
    for (const passage& way : list) {
      if (way.push_returned <= one.when.invoked && way.pop_invoked >= one.when.returned) {
        text += ": " + text_of(all[way.push_at]);
        break;
      }
    }
    return {text, all.size(), 0};
  }
  return {{}, all.size(), 0};
}

}  // namespace history_detail

// Returns: whether a queue, first in first out, gave these answers. T. Henzinger, A. Sezgin,
//          V. Vafeiadis, "Aspect-oriented linearizability proofs", CONCUR 2013, and A. Bouajjani,
//          M. Emmi, C. Enea, J. Hamza, "On reducing linearizability to state reachability", ICALP
//          2015: if no value comes out unpushed, too early, twice or overtaken, and no pop finds
//          an emptiness that was not, there is such an order.
// Throws: std::invalid_argument if a value is pushed twice, or if there are unanswered pops
//         together with pops that found nothing.
[[nodiscard]] inline verdict monitor_queue(const std::vector<recorded<queue_call>>& all) {
  using namespace history_detail;
  bool empties = false, unknown = false;
  for (const auto& one : all) {
    empties = empties || (one.op.what == queue_call::kind::pop_empty && one.when.answered());
    unknown = unknown || (one.op.what == queue_call::kind::pop && !one.when.answered());
  }
  if (empties && unknown) {
    throw std::invalid_argument("monitor_queue: unanswered and empty pops; use linearizable()");
  }
  std::vector<passage> list;
  verdict found = match_values(all, list);
  if (!found) return found;
  if (unknown) give_to_unanswered(all, list);
  found = overtaking(all, list);
  return found && empties ? never_empty(all, list) : found;
}

// Returns: whether the operations, each recorded by who is inside, exclude each other: of any two,
//          one has ended before the other began.
template <class Op, class When>
[[nodiscard]] verdict monitor_exclusion(const std::vector<recorded<Op, When>>& all) {
  using namespace history_detail;
  const auto overlap = [&](std::size_t a, std::size_t b) {
    return verdict{both("two are inside at once", all[a], all[b]), all.size(), 0};
  };
  if constexpr (std::same_as<When, interval>) {
    const auto order = ordered(all.size(), [&](std::size_t i) { return all[i].when.invoked; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const std::size_t a = order[i - 1].at, b = order[i].at;
      if (!precedes(all[a].when, all[b].when)) return overlap(a, b);
    }
  } else {
    for (std::size_t a = 0; a < all.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        if (!precedes(all[a].when, all[b].when) && !precedes(all[b].when, all[a].when)) {
          return overlap(b, a);
        }
      }
    }
  }
  return {{}, all.size(), 0};
}

// What an owner writes down while it owns a lock.
struct ownership {
  std::uint64_t asked = 0;                      // ticket_clock::now() before it called lock
  std::uint64_t queued = history_detail::never;  // tick() once it was known to wait, if it was

  friend std::string describe(const ownership& o) {
    using history_detail::words;
    return words("owner who asked at ", o.asked,
                 o.queued == history_detail::never ? "" : words(" and waited since ", o.queued));
  }
};

// Returns: whether the owners exclude each other, and nobody who asked after another was known to
//          wait came before him.
[[nodiscard]] inline verdict monitor_mutex(const std::vector<recorded<ownership>>& all) {
  using namespace history_detail;
  verdict found = monitor_exclusion(all);
  if (!found) return found;
  std::vector<ranked> list;
  for (const keyed& one :
       ordered(all.size(), [&](std::size_t i) { return all[i].when.invoked; })) {
    list.push_back({list.size(), all[one.at].op.asked, all[one.at].op.queued, one.at});
  }
  if (const auto pair = inversion(list)) {
    found.violation = both("overtaken", all[pair->first], all[pair->second]);
  }
  return found;
}

// Work that is submitted with its number, and later run under that number.
struct job {
  std::uint64_t id = 0;
  bool accepted = true;  // of a submission

  friend std::string describe(const job& j) {
    return history_detail::words("job ", j.id, j.accepted ? "" : ", refused,");
  }
};

// Whose jobs have to run in the order of their submissions.
enum class job_order { of_all, of_each_thread };

// Returns: whether the jobs ran one at a time, each that was accepted exactly once, none that was
//          refused, and in order: if one was submitted before another was, it ran before it.
// Preconditions: all that was accepted has run by now. Runs are recorded inside the job.
[[nodiscard]] inline verdict monitor_serial(const std::vector<recorded<job>>& submitted,
                                            const std::vector<recorded<job>>& ran,
                                            job_order whose = job_order::of_all) {
  using namespace history_detail;
  verdict found = monitor_exclusion(ran);
  if (!found) return found;
  found.operations = submitted.size();
  const auto jobs = ordered(submitted.size(), [&](std::size_t i) { return submitted[i].op.id; });
  const auto runs = ordered(ran.size(), [&](std::size_t i) { return ran[i].op.id; });
  std::size_t next = 0;
  std::map<std::uint32_t, std::vector<ranked>> orders;  // by producer
  for (const keyed& one : jobs) {
    const recorded<job>& asked = submitted[one.at];
    std::size_t times = 0;
    for (; next < runs.size() && runs[next].key <= one.key; ++next, ++times) {
      const recorded<job>& run = ran[runs[next].at];
      if (runs[next].key < one.key) found.violation = text_of(run) + " ran and nobody submitted it";
      if (precedes(run.when, asked.when)) found.violation = both("ran before it came", run, asked);
      orders[whose == job_order::of_all ? 0 : asked.thread].push_back(
          {run.when.invoked, asked.when.invoked, asked.when.returned, one.at});
    }
    const bool known = asked.when.answered();
    if (times > 1 || (known && !asked.op.accepted && times != 0)) {
      found.violation = words(text_of(asked), " ran ", times, " times");
    }
    if (known && asked.op.accepted && times == 0) found.violation = text_of(asked) + " never ran";
    if (!found) return found;
  }
  if (next < runs.size()) {
    found.violation = text_of(ran[runs[next].at]) + " ran and nobody submitted it";
  }
  for (auto& [producer, list] : orders) {
    std::sort(list.begin(), list.end(),
              [](const ranked& a, const ranked& b) { return a.rank < b.rank; });
    const auto pair = inversion(list);
    if (!pair) continue;
    found.violation = both("submitted in this order and run in the other",
                           submitted[pair->first], submitted[pair->second]);
  }
  return found;
}

// What a request under a key did, or got for an answer.
struct keyed_outcome {
  std::uint64_t key = 0;
  std::uint64_t outcome = 0;  // each execution has one of its own
  bool failed = false;        // it may be done again

  friend std::string describe(const keyed_outcome& k) {
    return history_detail::words(k.failed ? "failure " : "outcome ", k.outcome, " of key ", k.key);
  }
};

namespace history_detail {

inline std::string why_not_once(const std::vector<const recorded<keyed_outcome>*>& runs,
                                const std::vector<const recorded<keyed_outcome>*>& replies,
                                const std::vector<const recorded<keyed_outcome>*>& forgotten) {
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const recorded<keyed_outcome>&a = *runs[i - 1], &b = *runs[i];
    if (!precedes(a.when, b.when)) return both("two executions at once", a, b);
    const auto between = [&](const recorded<keyed_outcome>* f) {
      return f->when.returned > a.when.returned && f->when.invoked < b.when.returned;
    };
    if (!a.op.failed && std::none_of(forgotten.begin(), forgotten.end(), between)) {
      return both("executed again although it had succeeded", a, b);
    }
  }
  for (const auto* const reply : replies) {
    if (!reply->when.answered()) continue;
    const auto fits = [&](std::size_t i) {
      const recorded<keyed_outcome>& run = *runs[i];
      if (run.op.outcome != reply->op.outcome || run.op.failed != reply->op.failed) return false;
      if (run.when.returned > reply->when.returned) return false;
      if (run.op.failed) {  // for who was called before somebody who waited for it returned
        return std::any_of(replies.begin(), replies.end(), [&](const auto* other) {
          return other->op.outcome == run.op.outcome && !precedes(run.when, other->when) &&
                 !precedes(other->when, reply->when);
        });
      }
      return i + 1 == runs.size() || !precedes(runs[i + 1]->when, reply->when);
    };
    std::size_t i = 0;
    while (i < runs.size() && !fits(i)) ++i;
    if (i == runs.size()) {
      return text_of(*reply) + " is not the answer of an execution that was current then";
    }
  }
  return {};
}

}  // namespace history_detail

// Returns: whether of each key one execution was under way at a time, none after one that had
//          succeeded and was not forgotten since, and each caller got the outcome of one that was
//          current during his call: a success until the next execution, a failure only if he
//          called before one of those returned who had called before it was over.
//   executions  recorded inside what is executed;  replies  around the call;
//   forgotten   when a key was, or may have been, removed or expired
[[nodiscard]] inline verdict monitor_once(
    const std::vector<recorded<keyed_outcome>>& executions,
    const std::vector<recorded<keyed_outcome>>& replies,
    const std::vector<recorded<keyed_outcome>>& forgotten = {}) {
  using namespace history_detail;
  struct per_key {
    std::vector<const recorded<keyed_outcome>*> runs, replies, forgotten;
  };
  std::map<std::uint64_t, per_key> keys;
  for (const keyed& one :
       ordered(executions.size(), [&](std::size_t i) { return executions[i].when.invoked; })) {
    keys[executions[one.at].op.key].runs.push_back(&executions[one.at]);
  }
  for (const auto& one : replies) keys[one.op.key].replies.push_back(&one);
  for (const auto& one : forgotten) keys[one.op.key].forgotten.push_back(&one);
  verdict found{{}, executions.size() + replies.size(), 0};
  for (const auto& [key, all] : keys) {
    if (found) found.violation = why_not_once(all.runs, all.replies, all.forgotten);
  }
  return found;
}

}  // namespace interlock::testing
