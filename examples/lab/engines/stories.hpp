// SPDX-License-Identifier: BSL-1.0
#pragma once

// All stories of an engine, and the engine as the lab knows it.

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "scenarios/busy_endpoint.hpp"
#include "scenarios/dirty_read.hpp"
#include "scenarios/double_payment.hpp"
#include "scenarios/duplicate_event.hpp"
#include "scenarios/fifty_clicks.hpp"
#include "scenarios/last_seat.hpp"
#include "scenarios/lost_lease.hpp"
#include "scenarios/order_pipeline.hpp"
#include "scenarios/stale_cache.hpp"
#include "scenarios/stale_sync.hpp"
#include "scenarios/transfer.hpp"
#include "scenarios/two_servers.hpp"
#include "scenarios/wallet.hpp"
#include "scenarios/withdrawal.hpp"
#include "world.hpp"

namespace lab {

template <class E>
const std::vector<scenario>& stories() {
  // clang-format off
  static const std::vector<scenario> all{
      fifty_clicks::on<E>::describe(),
      withdrawal::on<E>::describe(),
      wallet::on<E>::describe(),
      stale_sync::on<E>::describe(),
      last_seat::on<E>::describe(),
      transfer::on<E>::describe(),
      double_payment::on<E>::describe(),
      duplicate_event::on<E>::describe(),
      busy_endpoint::on<E>::describe(),
      order_pipeline::on<E>::describe(),
      stale_cache::on<E>::describe(),
      dirty_read::on<E>::describe(),
      two_servers::on<E>::describe(),
      lost_lease::on<E>::describe(),
  };
  // clang-format on
  return all;
}

// The part of another process in a story.
template <class E>
int work() {
  employer lab;
  typename E::client on(lab.url, world<E>::options(lab.prefix, 1));
  const std::string story = lab.object.substr(0, lab.object.find('.'));
  if (story == "visits") {
    two_servers::serve<E>(lab, on);
  } else if (story == "account") {
    lost_lease::hold<E>(lab, on);
  } else {
    throw std::runtime_error("no part of another process in " + story);
  }
  return 0;
}

template <class E>
engine engine_of() {
  return {E::name, E::library, &stories<E>(), world<E>::open, work<E>};
}

}  // namespace lab
