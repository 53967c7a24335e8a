// SPDX-License-Identifier: BSL-1.0
#pragma once

// A lossy_proxy before a place that has a server. It loses little of what begins a connection, or
// none would ever be made.

#include <interlock/testing/lossy_proxy.hpp>

#include <cstdint>
#include <utility>

#include "common.hpp"

namespace faults {

template <class Place>
class proxied {
public:
  proxied(Place& of, double share, std::uint64_t seed)
      : of_(&of),
        losses_{
            .drop_request = share, .drop_reply = share, .seed = seed, .spared = Place::handshake},
        proxy_(of.where(), {.seed = seed}) {}
  // Effects: connects without losses; what comes after has its share of them.
  [[nodiscard]] typename Place::client open(store::client_options options) {
    proxy_.set({.seed = losses_.seed});
    typename Place::client made = of_->open_at(proxy_.where(), std::move(options));
    proxy_.set(losses_);
    return made;
  }
  // Returns: what f says, who asks through a client of open().
  template <class F>
  auto ask(F f) const {
    return f();
  }

private:
  Place* of_;
  interlock::testing::proxy_losses losses_;
  interlock::testing::lossy_proxy proxy_;
};

}  // namespace faults
