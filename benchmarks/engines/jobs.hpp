// SPDX-License-Identifier: BSL-1.0
#pragma once

// The jobs of every engine, as we do them. Place has static make(), which gives a client.

#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_versioned.hpp>
#include <interlock/store/combining_counter.hpp>

#include <cstdint>
#include <string>

#include "engines/match.hpp"

namespace engines {

namespace store = interlock::store;

inline const std::string payload(64, 'x');  // what a cell holds

template <class Place>
struct our_counter {
  using client = decltype(Place::make());
  store::basic_counter<client> hits{Place::make(), "hits"};
};

template <class Place>
struct our_add : our_counter<Place> {
  void operator()() { benchmark::DoNotOptimize(this->hits.add(1).value()); }
};

template <class Place>
struct our_add_once : our_counter<Place> {
  store::operation_session ids;
  void operator()() { benchmark::DoNotOptimize(this->hits.add(1, {.id = ids.next()}).value()); }
};

template <class Place>
struct our_load : our_counter<Place> {
  our_load() { this->hits.add(1).value(); }
  void operator()() { benchmark::DoNotOptimize(this->hits.load().value()); }
};

template <class Place>
struct our_store {
  using client = decltype(Place::make());
  store::basic_versioned<std::string, client> cell{Place::make(), "cell"};
  void operator()() { benchmark::DoNotOptimize(cell.store(payload).value()); }
};

// Of many callers, each its own request.
template <class Place>
struct our_add_of_many : our_counter<Place> {
  void operator()(unsigned) { this->hits.add(1).value(); }
};

template <class Place>
struct our_combined_add : our_counter<Place> {
  store::combining_counter<decltype(our_counter<Place>::hits)> combined{this->hits};
  void operator()(unsigned) { combined.add(1).value(); }
};

}  // namespace engines
