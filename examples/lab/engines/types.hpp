// SPDX-License-Identifier: BSL-1.0
#pragma once

// The names that the stories use for the types of an engine: those of interlock/ENGINE/.

#include <interlock/store/basic_bounded_counter.hpp>
#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_transaction.hpp>
#include <interlock/store/basic_versioned.hpp>

#include <utility>

namespace lab {

template <class Client>
struct engine_types {
  using client = Client;
  using counter = interlock::store::basic_counter<client>;
  using bounded_counter = interlock::store::basic_bounded_counter<client>;
  template <class T>
  using versioned = interlock::store::basic_versioned<T, client>;
  using transaction = interlock::store::basic_transaction<client>;

  template <class Body>
  static auto atomically(client& on, Body&& body) {
    return interlock::store::atomically(on, std::forward<Body>(body));
  }
};

}  // namespace lab
