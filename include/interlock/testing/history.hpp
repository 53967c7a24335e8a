// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/history.hpp - writes down which operations threads called, what they answered
// and which came before which, for the checkers of linearizability.hpp and monitors.hpp.
//
// Problem     "count == n at the end" accepts every mistake that cancels out. What a concurrent
//             type promises is about each answer and the order of calls.
// Guarantee   An operation is recorded as before another only if it returned before that was
//             called.
//             An operation that throws has an unknown outcome.
// Progress    record: wait-free, but for the operation itself and the growth of the log.
// Cost        An operation is a load and a fetch_add of one shared number, and an entry in the
//             thread's own log. Threads share that cache line: recorded code overlaps less.
// Lifetime    Outlives the threads that record. operations() only when they have ended.
// Not for     Explored threads: explored_history.hpp takes the order from happens-before.
//
// Example     ticket_clock clock;                          // examples/testing/history.cpp
//             history<counter_call> calls(clock, threads);
//             calls.record(me, {.amount = 1}, hit);  // hit: { call.seen = clicks++; }
//             return calls.operations();             // for monitor_counter or linearizable

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace interlock::testing {

namespace history_detail {

// Returns: texts and numbers in a row.
template <class... Parts>
std::string words(const Parts&... parts) {
  std::string text;
  const auto append = [&](const auto& part) {
    if constexpr (requires { std::to_string(part); }) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  };
  (append(parts), ...);
  return text;
}

}  // namespace history_detail

// When an operation ran, in tickets of one clock.
struct interval {
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t invoked = 0;
  std::uint64_t returned = never;  // never: its outcome is unknown, it may take effect later

  [[nodiscard]] bool answered() const noexcept { return returned != never; }
  [[nodiscard]] std::string text() const {
    return history_detail::words("[", invoked, ", ", answered() ? std::to_string(returned) : "?",
                                 "]");
  }
};

// Returns: whether a returned before b was invoked.
[[nodiscard]] inline bool precedes(const interval& a, const interval& b) noexcept {
  return a.returned <= b.invoked;
}

// Numbers for "before" and "after". Time stamps would not do: nothing orders the read of a clock
// against the operation, nor the clocks of two processors. Here a return is an addition, and a call
// reads the sum: who reads a number has, by release and acquire, all that was done before that
// number was handed out. So `before` is claimed exactly where it is enforced. A call that reads an
// old number only makes its interval longer, which accuses nobody.
class ticket_clock {
public:
  using when = interval;
  struct unseen {};  // what a tool has to hold while it works: nothing

  ticket_clock() = default;
  ticket_clock(const ticket_clock&) = delete;
  ticket_clock& operator=(const ticket_clock&) = delete;

  // Returns: what to put before an action.
  [[nodiscard]] std::uint64_t now() const noexcept {
    // order: acquire [ticket_clock.now] pairs with [ticket_clock.tick]: what follows comes after the operations with lower tickets
    return ticket_.load(std::memory_order_acquire);
  }
  // Returns: what to put after an action.
  [[nodiscard]] std::uint64_t tick() noexcept {
    // order: release [ticket_clock.tick] pairs with [ticket_clock.now]: what came before is over for those who read this ticket
    return ticket_.fetch_add(1, std::memory_order_release) + 1;
  }

  [[nodiscard]] interval begin() const noexcept { return {now(), interval::never}; }
  void end(interval& of) noexcept { of.returned = tick(); }

private:
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
};

// One operation. Op holds what was asked and what was answered.
template <class Op, class When = interval>
struct recorded {
  Op op;
  When when;
  std::uint32_t thread = 0;
};

// Returns: the operation in words: "thread 2: add(1) saw 7 [12, 15]". For an Op of your own, give
//          it a `std::string describe(const Op&)` in its namespace.
template <class Op, class When>
[[nodiscard]] std::string text_of(const recorded<Op, When>& one) {
  std::string what = "an operation";
  if constexpr (requires { describe(one.op); }) what = describe(one.op);
  return history_detail::words("thread ", one.thread, ": ", what,
                               one.when.answered() ? " " : " without an answer ", one.when.text());
}

namespace history_detail {

struct keyed {
  std::uint64_t key;
  std::uint32_t at;
};

// Returns: 0 to n - 1 with their keys, by key; equal keys in their order. Complexity: linear, one
//          pass for each 11 bits in which the keys differ; none if they are in order.
template <class Key>
std::vector<keyed> ordered(std::size_t n, Key key) {
  std::vector<keyed> list(n);
  std::uint64_t differing = 0;
  bool in_order = true;
  for (std::size_t i = 0; i < n; ++i) {
    list[i] = {key(i), static_cast<std::uint32_t>(i)};
    differing |= list[i].key ^ list[0].key;
    in_order = in_order && (i == 0 || list[i - 1].key <= list[i].key);
  }
  if (in_order) return list;
  if (n < 2000) {
    std::sort(list.begin(), list.end(), [](const keyed& a, const keyed& b) {
      return a.key != b.key ? a.key < b.key : a.at < b.at;
    });
    return list;
  }
  std::vector<keyed> other(n);
  for (unsigned shift = 0; shift < 64; shift += 11) {
    if (((differing >> shift) & 2047U) == 0) continue;
    std::array<std::size_t, 2049> begins{};
    for (const keyed& one : list) ++begins[((one.key >> shift) & 2047U) + 1];
    for (std::size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
    for (const keyed& one : list) other[begins[(one.key >> shift) & 2047U]++] = one;
    list.swap(other);
  }
  return list;
}

}  // namespace history_detail

// What a check found.
struct verdict {
  std::string violation;             // empty: none. Else the offending operations, in words
  std::uint64_t operations = 0;      // that were looked at
  std::uint64_t configurations = 0;  // that a search went through

  explicit operator bool() const noexcept { return violation.empty(); }
  [[nodiscard]] std::string text() const { return violation.empty() ? "correct" : violation; }
  template <class Traits>
  friend std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                                      const verdict& v) {
    return out << v.text();
  }
};

template <class Op, class Clock = ticket_clock>
class history {
  struct log;
  using unseen = typename Clock::unseen;

public:
  using operation = Op;
  using entry = recorded<Op, typename Clock::when>;

  // Effects: makes a log for each of so many threads.
  history(Clock& clock, std::size_t threads) : clock_(&clock), logs_(threads) {}
  history(const history&) = delete;
  history& operator=(const history&) = delete;
  ~history() {
    [[maybe_unused]] const unseen hidden{};
    std::vector<log>().swap(logs_);
  }

  // An operation that has been called and not answered. It belongs to the thread that began it;
  // if nobody answers it, its outcome stays unknown.
  class call {
  public:
    // Effects: it returned now, with these answers.
    void answer(Op complete) {
      [[maybe_unused]] const unseen hidden{};
      entry& mine = log_->entries[at_];
      clock_->end(mine.when);
      mine.op = std::move(complete);
    }

  private:
    friend history;
    call(log& in, std::size_t at, Clock& clock) : log_(&in), at_(at), clock_(&clock) {}
    log* log_;
    std::size_t at_;
    Clock* clock_;
  };

  // Effects: records that the thread now calls this. Each thread has a number of its own.
  [[nodiscard("answer it")]] call begin(std::size_t thread, Op asked) {
    [[maybe_unused]] const unseen hidden{};
    log& mine = logs_[thread];
    mine.entries.push_back({std::move(asked), {}, static_cast<std::uint32_t>(thread)});
    mine.entries.back().when = clock_->begin();
    return call(mine, mine.entries.size() - 1, *clock_);
  }

  // Effects: calls act(Op&), which does what was asked and fills in the answers.
  // Throws: what act throws; the outcome counts as unknown then.
  template <class Act>
  void record(std::size_t thread, Op asked, Act&& act) {
    call open = begin(thread, asked);
    std::forward<Act>(act)(asked);
    open.answer(std::move(asked));
  }

  // The same for a clock that knows which thread this is.
  template <class Act>
  void record(Op asked, Act&& act)
    requires requires { Clock::thread(); }
  {
    record(Clock::thread(), std::move(asked), std::forward<Act>(act));
  }

  // Returns: all of them, each thread's in the order of its calls.
  // Preconditions: nobody records any more.
  [[nodiscard]] std::vector<entry> operations() const {
    std::size_t count = 0;
    for (const log& one : logs_) count += one.entries.size();
    std::vector<entry> all;
    all.reserve(count);
    for (const log& one : logs_) all.insert(all.end(), one.entries.begin(), one.entries.end());
    return all;
  }

private:
  struct alignas(64) log {
    std::vector<entry> entries;
  };

  Clock* clock_;
  std::vector<log> logs_;
};

}  // namespace interlock::testing
