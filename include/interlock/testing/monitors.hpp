// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/monitors.hpp - checks for what types promise, fast enough for ten million
// operations recorded from real threads.
//
// Problem     The search for an order of all operations is exponential; what a queue or a counter
//             gave out already tells most of the order.
// Guarantee   A monitor of counters or cells or maxima gives the same answer as a search.
//             A violation names the operations that contradict each other.
// Progress    plain functions, on the calling thread.
// Cost        O(n log n), nearly linear where versions and values are dense.
// Lifetime    nothing is kept.
// Not for     Adds of nothing or less, some histories with unknown outcomes: they say so, use
//             linearizable(). Explored threads, which have no time.
//
// Example     none

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"
#include "specifications.hpp"

namespace interlock::testing {

namespace history_detail {

constexpr std::uint64_t never = interval::never;

// What is known of an operation's place: those of lower rank take effect before it, those of equal
// rank in any order.
struct ranked {
  std::uint64_t rank;
  std::uint64_t invoked;   // 0: nothing is too late for it
  std::uint64_t returned;  // never: nothing is too early after it
  std::uint32_t at;
};

// Returns: a and b such that a returned before b was invoked and b has the lower rank.
// Preconditions: sorted by rank.
inline std::optional<std::pair<std::uint32_t, std::uint32_t>> inversion(
    const std::vector<ranked>& list) {
  const ranked* first_back = nullptr;  // of those ranked above the current ones
  for (std::size_t end = list.size(); end > 0;) {
    std::size_t begin = end;
    for (; begin > 0 && list[begin - 1].rank == list[end - 1].rank; --begin) {
      const ranked& one = list[begin - 1];
      if (first_back != nullptr && first_back->returned <= one.invoked) {
        return std::pair(first_back->at, one.at);
      }
    }
    for (; end > begin; --end) {
      const ranked& one = list[end - 1];
      if (first_back == nullptr || one.returned < first_back->returned) first_back = &one;
    }
  }
  return std::nullopt;
}

template <class Op, class When>
std::string both(const std::string& what, const recorded<Op, When>& a,
                 const recorded<Op, When>& b) {
  return words(what, ": ", text_of(a), " and ", text_of(b));
}

template <class Op>
verdict in_rank_order(const std::vector<recorded<Op>>& all, const std::vector<ranked>& list) {
  const auto found = inversion(list);
  if (!found) return {{}, all.size(), 0};
  return {text_of(all[found->first]) + " returned before " + text_of(all[found->second]) +
              " was invoked, but comes after it by what they saw",
          all.size(), 0};
}

inline std::uint64_t distance(std::int64_t from, std::int64_t to) {
  return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
}

template <class Op>
std::vector<std::uint32_t> unanswered(const std::vector<recorded<Op>>& all) {
  std::vector<std::uint32_t> list;
  for (const keyed& one : ordered(all.size(), [&](std::size_t i) { return all[i].when.invoked; })) {
    if (!all[one.at].when.answered()) list.push_back(one.at);
  }
  return list;
}

}  // namespace history_detail

// Returns: whether a counter that began at `initial` gave these answers. What an add saw says where
//          it stands. Adds that were never answered fill gaps if they all add the same.
// Throws: std::invalid_argument for an add of less than one, or unanswered ones of several amounts.
[[nodiscard]] inline verdict monitor_counter(const std::vector<recorded<counter_call>>& all,
                                             std::int64_t initial = 0) {
  using namespace history_detail;
  const auto adds = [&](std::size_t i) { return all[i].op.what == counter_call::kind::add; };
  std::vector<std::uint32_t> spare;  // adds without an answer, first invoked first
  for (const std::uint32_t i : unanswered(all)) {
    if (adds(i)) spare.push_back(i);
  }
  for (const std::uint32_t i : spare) {
    if (all[i].op.amount != all[spare[0]].op.amount) {
      throw std::invalid_argument("monitor_counter: unanswered adds differ; use linearizable()");
    }
  }
  // Rank of a load that saw v: 2v. Of the add that saw v: 2v + 1.
  const auto order = ordered(all.size(), [&](std::size_t i) {
    if (!all[i].when.answered()) return never;
    if (adds(i) && all[i].op.amount < 1) {
      throw std::invalid_argument("monitor_counter: an add of less than 1; use linearizable()");
    }
    const std::uint64_t seen = distance(initial, all[i].op.seen);
    return all[i].op.seen < initial ? 0 : 2 * seen + (adds(i) ? 1 : 0);
  });
  std::vector<ranked> list;
  list.reserve(all.size());
  std::int64_t value = initial;
  std::size_t used = 0;
  for (const keyed& one : order) {
    const recorded<counter_call>& now = all[one.at];
    if (one.key == never) break;
    while (now.op.seen > value && used < spare.size()) {
      const recorded<counter_call>& filler = all[spare[used]];
      list.push_back({2 * distance(initial, value) + 1, filler.when.invoked, never, spare[used++]});
      value += filler.op.amount;
    }
    if (now.op.seen != value) {
      const char* const why = now.op.seen > value || now.op.seen < initial
                                  ? " but the counter was never there"
                                  : " which another add had changed already";
      return {text_of(now) + why, all.size(), 0};
    }
    list.push_back({one.key, now.when.invoked, now.when.returned, one.at});
    if (adds(one.at)) value += now.op.amount;
  }
  return in_rank_order(all, list);
}

// Returns: whether a versioned cell gave these answers. Each commit's version is one more than the
//          last. A commit that was never answered may be what a reader saw; the value tells which.
// Throws: std::invalid_argument if one may have made a version that nobody saw.
[[nodiscard]] inline verdict monitor_cell(const std::vector<recorded<cell_call>>& all,
                                          cell_state state = {}) {
  using namespace history_detail;
  const std::uint64_t first = state.version;
  // Rank of the commit of version v: 2v. Of those that saw it: 2v + 1.
  const auto order = ordered(all.size(), [&](std::size_t i) {
    return all[i].when.answered() ? 2 * all[i].op.version + (all[i].op.writes() ? 0 : 1) : never;
  });
  std::multimap<std::int64_t, std::uint32_t> spare;  // commits without an answer, by value
  for (const std::uint32_t i : unanswered(all)) {
    if (all[i].op.writes()) spare.emplace(all[i].op.value, i);
  }
  std::vector<ranked> list;
  list.reserve(all.size());
  for (const keyed& one : order) {
    if (one.key == never) break;
    const recorded<cell_call>& now = all[one.at];
    const cell_call& c = now.op;
    const auto wrong = [&](const char* why) { return verdict{text_of(now) + why, all.size(), 0}; };
    if (c.version < first) return wrong(", older than the first version");
    if (c.writes() && c.version <= state.version) return wrong(", which another commit had made");
    if (c.what == cell_call::kind::replaced && c.expected + 1 != c.version) {
      return wrong(", not the version after the expected one");
    }
    if (c.what == cell_call::kind::refused && c.expected == c.version) {
      return wrong(", which is the one that it expected");
    }
    if (c.version > state.version + 1) {
      if (spare.empty()) return wrong(", and nobody made the version before");
      throw std::invalid_argument("monitor_cell: an unanswered commit is not seen by any reader; "
                                  "use linearizable()");
    }
    if (!c.writes() && c.version > state.version) {
      auto [made, end] = spare.equal_range(c.value);
      while (made != end && all[made->second].op.what == cell_call::kind::replaced &&
             all[made->second].op.expected + 1 != c.version) {
        ++made;
      }
      if (made == end) return wrong(", which nobody made");
      const std::uint32_t maker = made->second;
      list.push_back({2 * c.version, all[maker].when.invoked, never, maker});
      spare.erase(made);
      state = {c.value, c.version};
    }
    if (c.writes()) state = {c.value, c.version};
    if (c.value != state.value) return wrong(", a value of another version");
    list.push_back({one.key, now.when.invoked, now.when.returned, one.at});
  }
  return in_rank_order(all, list);
}

// Returns: whether a maximum that began at `initial` gave these answers: never backwards, never
//          below a raise that had returned, never what nobody had offered. Also for the target of a
//          mirror: its writes are raises, by version.
// Throws: std::invalid_argument for unanswered raises together with refused ones.
[[nodiscard]] inline verdict monitor_peak(const std::vector<recorded<peak_call>>& all,
                                          std::uint64_t initial = 0) {
  using namespace history_detail;
  using kind = peak_call::kind;
  // Which raise made each value: the one that was told so, else the first that may have.
  std::map<std::uint64_t, std::uint32_t> made;
  std::set<std::uint64_t> seen;
  bool refused = false, unknown = false;
  for (const auto& one : all) {
    if (one.op.what == kind::load && one.when.answered()) seen.insert(one.op.value);
    refused = refused || (one.op.what == kind::too_low && one.when.answered());
    unknown = unknown || (one.op.what != kind::load && !one.when.answered());
  }
  if (refused && unknown) {
    throw std::invalid_argument("monitor_peak: unanswered and refused raises; use linearizable()");
  }
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    const recorded<peak_call>& one = all[i];
    if (one.op.what != kind::raised || !one.when.answered()) continue;
    const auto [other, first] = made.emplace(one.op.value, i);
    if (!first) return {both("both made the same value", all[other->second], one), all.size(), 0};
    if (one.op.value <= initial) return {text_of(one) + ", below the first value", all.size(), 0};
  }
  for (const std::uint32_t i : unanswered(all)) {
    const peak_call& c = all[i].op;
    if (c.what != kind::load && c.value > initial && seen.count(c.value) != 0) {
      made.emplace(c.value, i);
    }
  }
  // Rank of the raise to v: 2v. Of loads of v: 2v + 1.
  std::vector<ranked> list;
  for (const auto& [value, i] : made) {
    list.push_back({2 * value, all[i].when.invoked, all[i].when.returned, i});
  }
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    const recorded<peak_call>& one = all[i];
    const std::uint64_t value = one.op.value;
    if (!one.when.answered() || one.op.what == kind::raised) continue;
    if (one.op.what == kind::load) {
      if (value != initial && made.count(value) == 0) {
        return {text_of(one) + ", which nobody made", all.size(), 0};
      }
      list.push_back({2 * value + 1, one.when.invoked, one.when.returned, i});
    } else if (value > initial) {
      // Refused: after the lowest raise to as much, the first of them. Nothing is too late for it.
      const auto at = made.lower_bound(value);
      if (at == made.end()) {
        return {text_of(one) + ", but nobody had been there", all.size(), 0};
      }
      list.push_back({2 * at->first + 1, 0, one.when.returned, i});
    }
  }
  std::sort(list.begin(), list.end(),
            [](const ranked& a, const ranked& b) { return a.rank < b.rank; });
  return in_rank_order(all, list);
}

}  // namespace interlock::testing
