// SPDX-License-Identifier: BSL-1.0
#pragma once

// The names that the stories use for the types of an engine: those of interlock/ENGINE/.

#include <interlock/store/basic_bounded_counter.hpp>
#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_fenced.hpp>
#include <interlock/store/basic_idempotency_store.hpp>
#include <interlock/store/basic_mirror_target.hpp>
#include <interlock/store/basic_mutex.hpp>
#include <interlock/store/basic_serial_queue.hpp>
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
  using mutex = interlock::store::basic_mutex<client>;
  template <class T>
  using fenced = interlock::store::basic_fenced<T, client>;
  template <class R>
  using idempotency_store = interlock::store::basic_idempotency_store<R, client>;
  template <class T>
  using serial_queue = interlock::store::basic_serial_queue<T, client>;
  template <class K, class V>
  using mirror_target = interlock::store::basic_mirror_target<K, V, client>;
  using transaction = interlock::store::basic_transaction<client>;

  template <class Body>
  static auto atomically(client& on, Body&& body) {
    return interlock::store::atomically(on, std::forward<Body>(body));
  }
};

}  // namespace lab
