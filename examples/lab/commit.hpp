// SPDX-License-Identifier: BSL-1.0
#pragma once

// A transaction that can be drawn.

#include <utility>

#include <interlock/transaction.hpp>
#include "support.hpp"

namespace lab {

// Effects: atomically(body). When the round is drawn, the commit and the note done() are one step,
//          and an attempt that has to be repeated says so.
// Returns: what the body returned.
template <class Body, class Done>
auto commit(stage& scene, unsigned lane, Body body, Done done) {
  stage::held order{};  // held from the end of the body to the note
  bool repeated = false;
  auto result = interlock::atomically([&](interlock::transaction& t) {
    order = {};
    if (std::exchange(repeated, true)) scene.say(lane, "somebody was faster: begins anew");
    auto answer = body(t);
    order = scene.hold();
    return answer;
  });
  scene.say(order, lane, done(result));
  return result;
}

}  // namespace lab
