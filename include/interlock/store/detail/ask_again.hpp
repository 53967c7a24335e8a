// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/ask_again.hpp - asks an engine again while nobody knows whether it has
// done what it was asked for, where asking twice does no harm.

#include <chrono>
#include <utility>

#include "../operation_id.hpp"
#include "backoff.hpp"
#include "deadline.hpp"

namespace interlock::store::detail {

// Effects: calls ask(call_options) until its answer is not unknown, or the deadline has passed.
//          What refuses a repetition says nothing of the first request, which may have been done.
// Returns: the answer; unknown, as the first time, if no later one was clear.
template <class Ask>
auto ask_again(const call_deadline& limit, operation_id id, Ask ask)
    -> decltype(ask(limit.rest(id))) {
  auto first = ask(limit.rest(id));
  if (!first.unknown()) return first;
  backoff pace(std::chrono::milliseconds(1), std::chrono::milliseconds(50));
  while (pause(pace, limit.at())) {
    auto again = ask(limit.rest(id));
    if (again.applied() || again.conflicted()) return again;
  }
  return first;
}

}  // namespace interlock::store::detail
