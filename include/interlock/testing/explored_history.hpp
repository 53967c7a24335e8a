// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/explored_history.hpp - the history of one execution under the explorer.
//
// Problem     The explorer's threads run in some order of its own. Taken for time, that order
//             accuses types that are correct: under a weak memory model one operation comes before
//             another only if it happens before it.
// Guarantee   An operation is before another exactly if its end happens before the call of that.
//             Recording adds no event and no execution and orders nothing.
// Progress    as the operation.
// Cost        An entry in the thread's own log.
// Lifetime    As long as the body. Read it in world::finally.
// Not for     Ordinary threads (history.hpp).
//
// Example     explored_history<counter_call> calls;        // examples/testing/explored_history.cpp
//             w.thread([&] {
//               calls.record({.amount = 1}, [&](auto& call) { call.seen = hits.fetch_add(1); });
//             });
//             w.finally([&] { calls.check(counter_state{}); });

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

#include "history.hpp"
#include "linearizability.hpp"
#include "model.hpp"

namespace interlock::testing {

// When an operation of an explored thread ran.
struct span {
  moment invoked;
  moment returned;  // number 0: never

  [[nodiscard]] bool answered() const noexcept { return returned.number != 0; }
  [[nodiscard]] std::string text() const {
    return history_detail::words("[events ", invoked.events + 1, " to ",
                                 answered() ? std::to_string(returned.events) : "?", "]");
  }
};

[[nodiscard]] inline bool precedes(const span& a, const span& b) noexcept {
  return a.answered() && precedes(a.returned, b.invoked);
}

struct moment_clock {
  using when = span;
  using unseen = testing::unseen;
  [[nodiscard]] static std::size_t thread() { return here().thread; }
  [[nodiscard]] static span begin() { return {here(), {}}; }
  static void end(span& of) { of.returned = here(); }
};

// history<Op>, with record(asked, act) and no number of a thread.
template <class Op>
class explored_history : public history<Op, moment_clock> {
public:
  using entry = typename history<Op, moment_clock>::entry;

  explored_history() : history<Op, moment_clock>(the_clock, 8) {}

  // Effects: ends the exploration if no order of the operations explains the answers (`State`: see
  //          linearizability.hpp), or if one of them is not what the monitor, a function of
  //          all operations, allows.
  // Preconditions: called in world::finally.
  template <class Check>
  void check(Check what, std::source_location where = std::source_location::current()) const {
    const unseen hidden;
    const auto all = this->operations();
    const verdict found = linearizable_or(what, all);
    testing::check(static_cast<bool>(found), found.violation.c_str(), where);
  }

private:
  template <class Check>
  static verdict linearizable_or(Check& what, const std::vector<entry>& all) {
    if constexpr (specification<Check, Op>) {
      return linearizable(all, what);
    } else {
      return what(all);
    }
  }

  static inline moment_clock the_clock;  // it has no state
};

}  // namespace interlock::testing
