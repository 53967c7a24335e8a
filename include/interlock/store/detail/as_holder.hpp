// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/as_holder.hpp - the id of a request that a single holder can make.
//
// An engine keeps an answer by the object and the id, and not by who asked. A job that is repeated
// under its id has another lock, claim or item than the one before: the answer that was kept says
// nothing of it.

#include "../call_options.hpp"
#include "../outcome.hpp"

namespace interlock::store::detail {

// Effects: asks under an id of this holder's, made of the call's and his own, if the call has one.
// Returns: what was said; unknown, with the id of the call.
template <class Ask>
outcome<nothing> as_holder(const unique_id& owner, const call_options& call, Ask ask) {
  if (!call.id) return ask(call);
  operation_id his = call.id;
  his.session.high ^= owner.high;
  his.session.low ^= owner.low;
  outcome<nothing> said = ask(call_options{his, call.timeout});
  if (said.unknown()) return doubt(said.error(), call.id);
  return said;
}

}  // namespace interlock::store::detail
