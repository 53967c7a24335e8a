// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/linearizability.hpp - is there an order of the operations, true to who came
// before whom, in which a sequential object would have given these answers?
//
// Problem     Each answer of a concurrent object looks possible by itself. Whether all of them fit
//             together, nobody sees by looking.
// Guarantee   A history is accepted exactly if such an order exists.
//             An operation with an unknown outcome may take effect at any later time or never.
//             Keys are checked each by itself which finds the same.
// Progress    plain functions, on the calling thread.
// Cost        The problem is NP-complete; what counts is how many operations are open at a time and
//             how many of them change the object. Memory does not grow with the history.
// Lifetime    nothing is kept.
// Not for     More than 64 operations open at once, or more than 64 in an explored execution.
//             Millions of operations of a known kind, such as a queue's (monitors.hpp).
//
// Example     const auto all = hits(hit);                  // examples/testing/history.cpp
//             const verdict any = linearizable(all, counter_state{});
//             std::printf("by a search: %s\n", any.text().c_str());

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"

// J. Wing, C. Gong, "Testing and verifying concurrent objects", JPDC 1993: depth first over the
// orders. G. Lowe, "Testing for linearizability", CCPE 2017: remember (operations done, state), and
// the just-in-time form: an operation is ordered no earlier than some return demands. A. Horn,
// D. Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015: by key.
// Unknown outcomes as `info` in K. Kingsbury's Knossos.

namespace interlock::testing {

// The sequential object.
//   apply(op, answered)  does op if its answer is the right one, else returns false (and may leave
//                        anything behind). Not answered: does it, whatever the answer would be.
// Optional, for speed:
//   reads(op)            true if op, with its answer, never changes the object
//   hash()               equal objects have equal hashes
template <class S, class Op>
concept specification = std::copyable<S> && std::equality_comparable<S> &&
                        requires(S s, const Op& op, bool answered) {
                          { s.apply(op, answered) } -> std::same_as<bool>;
                        };

namespace history_detail {

// A state that the object may be in, and which open operations have taken effect.
template <class State>
struct configuration {
  State state;
  std::uint64_t done;
  friend bool operator==(const configuration&, const configuration&) = default;
};

template <class State>
class configuration_set {
public:
  using element = configuration<State>;

  // Returns: whether it is new.
  bool insert(element one) {
    if (hashes && items_.size() >= small) return insert_hashed(std::move(one));
    if (std::find(items_.begin(), items_.end(), one) != items_.end()) return false;
    items_.push_back(std::move(one));
    return true;
  }
  void clear() {
    items_.clear();
    table_.clear();
  }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] const element& operator[](std::size_t i) const { return items_[i]; }

private:
  static constexpr std::size_t small = 12;
  static constexpr bool hashes = requires(const State& s) { s.hash(); };

  static std::size_t hash(const element& one) {
    std::uint64_t h = one.done * 0x9E3779B97F4A7C15U;
    if constexpr (hashes) h ^= static_cast<std::uint64_t>(one.state.hash()) * 0xD6E8FEB86659FD93U;
    return static_cast<std::size_t>((h ^ (h >> 32U)) * 0x94D049BB133111EBU >> 20U);
  }
  bool insert_hashed(element one) {
    if ((items_.size() + 1) * 2 > table_.size()) grow();
    std::size_t slot = hash(one) % table_.size();
    for (; table_[slot] != 0; slot = (slot + 1) % table_.size()) {
      if (items_[table_[slot] - 1] == one) return false;
    }
    items_.push_back(std::move(one));
    table_[slot] = static_cast<std::uint32_t>(items_.size());
    return true;
  }
  void grow() {
    const std::size_t bigger = std::max<std::size_t>(64, items_.size() * 4);
    table_.assign(bigger, 0);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      std::size_t slot = hash(items_[i]) % bigger;
      while (table_[slot] != 0) slot = (slot + 1) % bigger;
      table_[slot] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::vector<element> items_;
  std::vector<std::uint32_t> table_;  // open addressing, index + 1
};

// Effects: lets all readers take effect whose answer is right now. Nothing is lost by it: they
//          change nothing, so who could come later can come now as well.
template <class State, class Ops>
void settle(configuration<State>& c, std::uint64_t candidates, const Ops& ops) {
  if constexpr (requires { State::reads(ops[0].op); }) {
    for (std::uint64_t rest = candidates & ~c.done; rest != 0; rest &= rest - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(rest));
      if (!ops[i].answered || !State::reads(ops[i].op)) continue;
      State copy = c.state;
      if (copy.apply(ops[i].op, true)) c.done |= std::uint64_t{1} << i;
    }
  }
}

template <class Op>
struct candidate {
  Op op{};
  bool answered = false;
};

}  // namespace history_detail

// The just-in-time search, one event at a time: for histories that do not fit into memory.
// A configuration is a state that the object may be in and the open operations that have taken
// effect by then. At each return, those in which the operation has not taken effect are continued
// by open operations, in every order, until it has.
template <class State, class Op>
  requires specification<State, Op>
class just_in_time {
public:
  explicit just_in_time(State initial) { now_.insert({std::move(initial), 0}); }

  // Effects: the operation was called. It will return with this answer, or perhaps never.
  // Returns: a number for it, given out again after its return.
  // Throws: std::length_error if 64 are open.
  std::size_t invoke(const Op& op, bool answered) {
    if (open_ == ~std::uint64_t{0}) {
      throw std::length_error("interlock::testing: more than 64 operations are open at once");
    }
    const auto slot = static_cast<std::size_t>(std::countr_one(open_));
    open_ |= std::uint64_t{1} << slot;
    ops_[slot] = {op, answered};
    return slot;
  }

  // Effects: the operation returned.
  // Returns: false if no order of the operations so far explains the answers.
  bool answer(std::size_t slot) {
    const std::uint64_t bit = std::uint64_t{1} << slot;
    next_.clear();
    todo_.clear();
    for (std::size_t i = 0; i < now_.size(); ++i) visit(now_[i], bit);
    for (std::size_t i = 0; i < todo_.size(); ++i) {
      for (std::uint64_t rest = open_ & ~todo_[i].done; rest != 0; rest &= rest - 1) {
        const auto k = static_cast<std::size_t>(std::countr_zero(rest));
        element one = todo_[i];
        if (!one.state.apply(ops_[k].op, ops_[k].answered)) continue;
        one.done |= std::uint64_t{1} << k;
        visit(std::move(one), bit);
      }
    }
    open_ &= ~bit;
    visited_ += next_.size() + todo_.size();
    std::swap(now_, next_);
    return now_.size() != 0;
  }

  [[nodiscard]] std::uint64_t visited() const noexcept { return visited_; }
  // Returns: the open operations, as a set of their numbers.
  [[nodiscard]] std::uint64_t open() const noexcept { return open_; }

private:
  using element = history_detail::configuration<State>;

  void visit(element one, std::uint64_t bit) {
    if ((one.done & bit) == 0) history_detail::settle(one, open_, ops_);
    if ((one.done & bit) == 0) {
      todo_.insert(std::move(one));
    } else {
      one.done &= ~bit;
      next_.insert(std::move(one));
    }
  }

  history_detail::configuration_set<State> now_, next_, todo_;
  std::array<history_detail::candidate<Op>, 64> ops_{};
  std::uint64_t open_ = 0;
  std::uint64_t visited_ = 0;
};

namespace history_detail {

// Interval orders: just in time.
template <class State, class Op>
verdict search(const std::vector<const recorded<Op, interval>*>& all, State initial) {
  verdict found;
  found.operations = all.size();
  just_in_time<State, Op> run(std::move(initial));
  const auto called = ordered(all.size(), [&](std::size_t i) { return all[i]->when.invoked; });
  const auto returns = ordered(all.size(), [&](std::size_t i) { return all[i]->when.returned; });
  std::vector<std::uint8_t> slots(all.size());
  std::array<const recorded<Op>*, 64> open{};
  std::size_t next = 0;
  for (const keyed& one : returns) {
    for (; next < called.size() && called[next].key < one.key; ++next) {
      const recorded<Op>& what = *all[called[next].at];
      const std::size_t slot = run.invoke(what.op, what.when.answered());
      slots[called[next].at] = static_cast<std::uint8_t>(slot);
      open[slot] = &what;
    }
    if (one.key == interval::never) break;
    const std::uint64_t before = run.open();
    if (run.answer(slots[one.at])) continue;
    found.violation = "no order explains the answer of " + text_of(*all[one.at]);
    const char* separator = "; open at that time: ";
    for (std::uint64_t rest = before; rest != 0; rest &= rest - 1) {
      const recorded<Op>* const other = open[static_cast<std::size_t>(std::countr_zero(rest))];
      if (other == all[one.at]) continue;
      found.violation += separator + text_of(*other);
      separator = ", ";
    }
    break;
  }
  found.configurations = run.visited();
  return found;
}

// Partial orders, such as happens-before: Wing and Gong with Lowe's memory.
template <class State, class Op, class When>
class partial_search {
public:
  using entries = std::vector<const recorded<Op, When>*>;

  verdict operator()(const entries& all, State initial) {
    if (all.size() > 64) {
      throw std::length_error("interlock::testing: more than 64 operations in a partial order");
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      ops_.push_back({all[i]->op, all[i]->when.answered()});
      if (all[i]->when.answered()) answered_ |= std::uint64_t{1} << i;
      before_.push_back(0);
      for (std::size_t k = 0; k < all.size(); ++k) {
        if (precedes(all[k]->when, all[i]->when)) before_[i] |= std::uint64_t{1} << k;
      }
    }
    reach({std::move(initial), 0});
    while (!todo_.empty()) {
      element last = std::move(todo_.back());
      todo_.pop_back();
      if (extend(std::move(last))) return {{}, all.size(), seen_.size()};
    }
    return {explanation(all), all.size(), seen_.size()};
  }

private:
  using element = configuration<State>;

  void reach(element one) {
    if (seen_.insert(one)) todo_.push_back(std::move(one));
  }

  // Returns: the operations whose predecessors are done.
  [[nodiscard]] std::uint64_t ready(std::uint64_t done) const {
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < before_.size(); ++i) {
      if ((before_[i] & ~done) == 0) result |= std::uint64_t{1} << i;
    }
    return result & ~done;
  }

  // Returns: whether all that was answered is done.
  bool extend(element from) {
    for (std::uint64_t old = ~from.done; old != from.done;) {
      old = from.done;
      settle(from, ready(from.done), ops_);
    }
    if ((answered_ & ~from.done) == 0) return true;
    if (std::popcount(from.done) > std::popcount(longest_)) longest_ = from.done;
    for (std::uint64_t rest = ready(from.done); rest != 0; rest &= rest - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(rest));
      element one = from;
      if (!one.state.apply(ops_[i].op, ops_[i].answered)) continue;
      one.done |= std::uint64_t{1} << i;
      reach(std::move(one));
    }
    return false;
  }

  [[nodiscard]] std::string explanation(const entries& all) const {
    const auto list = [&](std::uint64_t which) {
      std::string text;
      for (; which != 0; which &= which - 1) {
        if (!text.empty()) text += ", ";
        text += text_of(*all[static_cast<std::size_t>(std::countr_zero(which))]);
      }
      return text;
    };
    return words("no order explains the answer of ", list(answered_ & ~longest_),
                 longest_ == 0 ? "" : " after ", list(longest_));
  }

  std::vector<candidate<Op>> ops_;
  std::vector<std::uint64_t> before_;
  std::uint64_t answered_ = 0;
  std::uint64_t longest_ = 0;
  configuration_set<State> seen_;
  std::vector<element> todo_;
};

template <class State, class Op, class When>
verdict search(const std::vector<const recorded<Op, When>*>& all, State initial) {
  return partial_search<State, Op, When>()(all, std::move(initial));
}

}  // namespace history_detail

// Returns: whether the operations are those of one object that began as `initial`.
// Throws: std::length_error if more than 64 are open at once; explored: if there are more than 64.
template <class State, class Op, class When>
  requires specification<State, Op>
[[nodiscard]] verdict linearizable(const std::vector<recorded<Op, When>>& all, State initial) {
  std::vector<const recorded<Op, When>*> pointers;
  pointers.reserve(all.size());
  for (const auto& one : all) pointers.push_back(&one);
  return history_detail::search(pointers, std::move(initial));
}

// Returns: the same of one object for each key(op).
template <class State, class Op, class When, class Key>
  requires specification<State, Op>
[[nodiscard]] verdict linearizable(const std::vector<recorded<Op, When>>& all, State initial,
                                   Key key) {
  std::map<decltype(key(all[0].op)), std::vector<const recorded<Op, When>*>> parts;
  for (const auto& one : all) parts[key(one.op)].push_back(&one);
  verdict total;
  for (const auto& [which, part] : parts) {
    const verdict one = history_detail::search(part, initial);
    total.operations += one.operations;
    total.configurations += one.configurations;
    if (total) total.violation = one.violation;
  }
  return total;
}

}  // namespace interlock::testing
