// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/until_known.hpp - ask again under one id until the answer is known.
//
// Problem     A reply is lost. Asking again may do it twice, giving up may do it never.
// Guarantee   A request with a lost reply is done once and its answer comes. What may have been
//             done is never called refused.
// Progress    Blocks until the answer is known, at most `limit`, with pauses that grow.
// Cost        Nothing beyond the request if its answer comes the first time, but for a fresh id.
// Lifetime    None: a function.
// Not for     Requests that take no id. Reads: they are refused, not unknown.
//
// Example     // examples/engines/store_counter.cpp
//             const auto paid = store::until_known([&](const store::call_options& call) {
//               return hits.add(1, call);
//             });

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <utility>

#include "call_options.hpp"
#include "detail/backoff.hpp"
#include "detail/deadline.hpp"
#include "outcome.hpp"

namespace interlock::store {

struct until_known_options {
  std::chrono::milliseconds limit = std::chrono::seconds(30);  // for all attempts
  // Of each, and not past the limit; 0: the client's.
  std::chrono::milliseconds timeout{0};
  operation_id id{};                                           // none: a fresh one
  // A conflict behind an unknown says that it was not done so far; the first request may still be
  // on its way. Where it would meet the conflict too, as a compare_and_set does, set this.
  bool conflict_is_final = false;
};

// Effects: calls f(call_options), which sends a request under the id that it is given, again and
//          again while that is unknown. Once it was, what refuses a repetition says nothing of the
//          first request, so it is asked again too.
// Returns: what f returned; unknown, with the id, if `limit` passed.
// Throws: what f throws.
template <class F>
auto until_known(F&& f, until_known_options how = {}) -> std::invoke_result_t<F&, call_options> {
  using answer = std::invoke_result_t<F&, call_options>;
  const detail::call_deadline limit(how.limit);
  if (!how.id) how.id = operation_id::fresh();
  const auto ask = [&] {
    if (how.timeout.count() == 0) return f(call_options{how.id});
    return f(call_options{how.id, std::min(how.timeout, limit.rest().timeout)});
  };
  answer first = ask();
  if (!first.unknown()) return first;
  detail::backoff pace(std::chrono::milliseconds(5), std::chrono::milliseconds(500));
  while (detail::pause(pace, limit.at())) {
    answer again = ask();
    if (again.applied() || (again.conflicted() && how.conflict_is_final)) return again;
    if (again.refused() && again.error().code == errc::expired) break;  // nobody knows any more
  }
  return answer(doubt(first.error(), how.id));
}

}  // namespace interlock::store
