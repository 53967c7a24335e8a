// SPDX-License-Identifier: BSL-1.0
#pragma once

// The engine in memory as a place. Nobody can kill it alone; it loses replies on demand.

#include <interlock/memory/client.hpp>
#include <interlock/memory/transaction.hpp>

#include <cstdint>
#include <utility>

#include "common.hpp"

namespace faults {

class place {
public:
  using client = interlock::memory::client;
  using transaction = interlock::memory::transaction;
  static constexpr const char* engine = "memory";

  static bool available() { return true; }
  explicit place(kept = kept::quick) {}
  [[nodiscard]] client open(store::client_options options) const {
    return data_.beside(std::move(options));
  }

  template <class F>
  static auto transact(const client& on, F body, const store::transaction_options& how) {
    return interlock::memory::atomically(on, body, how);
  }

private:
  client data_;
};

class losing {
public:
  losing(place& of, double share, std::uint64_t seed) : of_(&of), share_(share), seed_(seed) {}
  [[nodiscard]] place::client open(store::client_options options) const {
    place::client made = of_->open(std::move(options));
    const auto of_thousand = static_cast<unsigned>(share_ * 1000);
    made.inject(
        interlock::memory::faults::seeded(seed_, {.drop = of_thousand, .lose_reply = of_thousand}));
    return made;
  }
  // Returns: what f says, who asks through a client of open().
  template <class F>
  auto ask(F f) const {
    return f();
  }

private:
  place* of_;
  double share_;
  std::uint64_t seed_;
};

}  // namespace faults
