// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/specifications.hpp - common operations and the sequential objects that they
// belong to, for linearizable(). The monitors of monitors.hpp take the same operations.
//
// Problem     A history needs words for what was called, and a sequential object to compare with.
// Guarantee   A sequential object accepts the right answer and no other.
//             It accepts an unanswered operation in any state.
// Progress    plain functions.
// Cost        what the standard containers in it cost.
// Lifetime    values.
// Not for     Objects with other operations: write these twenty lines for yours.
//
// Example     none

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"

namespace interlock::testing {

// ---- a counter ----------------------------------------------------------------------------------

struct counter_call {
  enum class kind { add, load } what = kind::add;
  std::int64_t amount = 0;  // add
  std::int64_t seen = 0;    // load: the value; add: the value before

  friend std::string describe(const counter_call& c) {
    return c.what == kind::load ? history_detail::words("load saw ", c.seen)
                                : history_detail::words("add(", c.amount, ") saw ", c.seen);
  }
};

struct counter_state {
  std::int64_t value = 0;

  bool apply(const counter_call& c, bool answered) {
    if (answered && c.seen != value) return false;
    if (c.what == counter_call::kind::add) value += c.amount;
    return true;
  }
  static bool reads(const counter_call& c) { return c.what == counter_call::kind::load; }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(value); }
  friend bool operator==(const counter_state&, const counter_state&) = default;
};

// ---- a counter with bounds ----------------------------------------------------------------------

struct bounded_call {
  enum class kind { add, sub, load } what = kind::load;
  std::int64_t amount = 0;  // add, sub
  bool granted = true;      // add, sub
  std::int64_t seen = 0;    // load

  friend std::string describe(const bounded_call& c) {
    if (c.what == kind::load) return history_detail::words("load saw ", c.seen);
    return history_detail::words(c.what == kind::add ? "try_add(" : "try_sub(", c.amount,
                                 c.granted ? ") was granted" : ") was refused");
  }
};

struct bounded_state {
  std::int64_t value = 0;
  std::int64_t min = 0;
  std::int64_t max = 0;

  // The bounds are less than 2^63 apart. Without an answer, `granted` does not matter.
  bool apply(const bounded_call& c, bool answered) {
    if (c.what == bounded_call::kind::load) return !answered || c.seen == value;
    const bool up = c.what == bounded_call::kind::add;
    const bool fits = c.amount <= (up ? max - value : value - min);
    if (answered && fits != c.granted) return false;
    if (fits) value += up ? c.amount : -c.amount;
    return true;
  }
  static bool reads(const bounded_call& c) {
    return c.what == bounded_call::kind::load || !c.granted;
  }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(value); }
  friend bool operator==(const bounded_state&, const bounded_state&) = default;
};

// ---- a queue, first in first out ----------------------------------------------------------------

struct queue_call {
  enum class kind { push, pop, pop_empty } what = kind::push;  // pop_empty: the queue was empty
  std::uint64_t value = 0;

  friend std::string describe(const queue_call& c) {
    if (c.what == kind::pop_empty) return "pop found nothing";
    return history_detail::words(c.what == kind::push ? "push(" : "pop gave (", c.value, ")");
  }
};

struct queue_state {
  std::vector<std::uint64_t> values;

  // An unanswered pop is written down as `pop`, whatever its value.
  bool apply(const queue_call& c, bool answered) {
    if (c.what == queue_call::kind::push) {
      values.push_back(c.value);
      return true;
    }
    const bool empty = c.what == queue_call::kind::pop_empty;
    if (!answered && values.empty()) return true;
    if (answered && (empty ? !values.empty() : values.empty() || values.front() != c.value)) {
      return false;
    }
    if (!empty) values.erase(values.begin());
    return true;
  }
  static bool reads(const queue_call& c) { return c.what == queue_call::kind::pop_empty; }
  [[nodiscard]] std::size_t hash() const {
    std::uint64_t h = values.size();
    for (const std::uint64_t one : values) h = (h ^ one) * 0x100000001b3U;
    return static_cast<std::size_t>(h);
  }
  friend bool operator==(const queue_state&, const queue_state&) = default;
};

// ---- a versioned cell ---------------------------------------------------------------------------

struct cell_call {
  enum class kind { load, store, replaced, refused } what = kind::load;
  std::uint64_t expected = 0;  // replaced, refused: the version asked for
  std::int64_t value = 0;      // store, replaced: the new one; load, refused: the one seen
  std::uint64_t version = 0;   // as value

  [[nodiscard]] bool writes() const { return what == kind::store || what == kind::replaced; }
  friend std::string describe(const cell_call& c) {
    constexpr const char* names[] = {"load saw ", "store made ", "compare_and_set made ",
                                     "compare_and_set was refused by "};
    return history_detail::words(names[static_cast<int>(c.what)], c.value, " at version ",
                                 c.version);
  }
};

struct cell_state {
  std::int64_t value = 0;
  std::uint64_t version = 0;

  // An unanswered compare_and_set is written down as `replaced`.
  bool apply(const cell_call& c, bool answered) {
    if (!c.writes()) {
      return !answered || (c.value == value && c.version == version &&
                           (c.what == cell_call::kind::load || c.expected != version));
    }
    if (c.what == cell_call::kind::replaced && c.expected != version) return !answered;
    if (answered && c.version != version + 1) return false;
    value = c.value;
    ++version;
    return true;
  }
  static bool reads(const cell_call& c) { return !c.writes(); }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(version); }
  friend bool operator==(const cell_state&, const cell_state&) = default;
};

// ---- a maximum ----------------------------------------------------------------------------------

struct peak_call {
  enum class kind { raised, too_low, load } what = kind::load;  // too_low: the raise was refused
  std::uint64_t value = 0;

  friend std::string describe(const peak_call& c) {
    constexpr const char* names[] = {"raised to ", "too low to raise: ", "load saw "};
    return history_detail::words(names[static_cast<int>(c.what)], c.value);
  }
};

struct peak_state {
  std::uint64_t value = 0;

  // Without an answer, raised and too_low are the same.
  bool apply(const peak_call& c, bool answered) {
    if (c.what == peak_call::kind::load) return !answered || c.value == value;
    const bool higher = value < c.value;
    if (answered && higher != (c.what == peak_call::kind::raised)) return false;
    if (higher) value = c.value;
    return true;
  }
  static bool reads(const peak_call& c) { return c.what != peak_call::kind::raised; }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(value); }
  friend bool operator==(const peak_state&, const peak_state&) = default;
};

// ---- transactions over cells --------------------------------------------------------------------

// One attempt at a transaction: also one that did not commit has seen one moment.
struct attempt {
  struct access {
    std::uint32_t cell = 0;
    std::uint64_t version = 0;  // of each cell 0, 1, 2 ... in the order of the commits
  };
  std::vector<access> reads;   // not what it had written itself
  std::vector<access> writes;  // the versions that it made
  bool committed = false;

  friend std::string describe(const attempt& a) {
    std::string text = a.committed ? "transaction read" : "aborted attempt read";
    for (const access& one : a.reads) text += name(one);
    if (a.committed && !a.writes.empty()) {
      text += ", wrote";
      for (const access& one : a.writes) text += name(one);
    }
    return text;
  }
  static std::string name(const access& a) {
    return history_detail::words(" cell ", a.cell, " at ", a.version);
  }
};

// An order of all attempts, the aborted ones as readers: opacity (R. Guerraoui, M. Kapalka, PPoPP
// 2008) for transactions that keep their writes to themselves until the commit.
struct cells_state {
  std::map<std::uint32_t, std::uint64_t> versions;  // not there: 0

  bool apply(const attempt& a, bool answered) {
    const auto at = [&](std::uint32_t cell) {
      const auto found = versions.find(cell);
      return found == versions.end() ? 0 : found->second;
    };
    bool fits = true;
    for (const auto& one : a.reads) fits = fits && at(one.cell) == one.version;
    if (!a.committed) return fits || !answered;
    for (const auto& one : a.writes) fits = fits && at(one.cell) + 1 == one.version;
    if (!fits) return !answered;
    for (const auto& one : a.writes) versions[one.cell] = one.version;
    return true;
  }
  static bool reads(const attempt& a) { return !a.committed || a.writes.empty(); }
  friend bool operator==(const cells_state&, const cells_state&) = default;
};

}  // namespace interlock::testing
