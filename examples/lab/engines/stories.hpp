// SPDX-License-Identifier: BSL-1.0
#pragma once

// All stories of an engine, and the engine as the lab knows it.

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "scenarios/dirty_read.hpp"
#include "scenarios/fifty_clicks.hpp"
#include "scenarios/last_seat.hpp"
#include "scenarios/transfer.hpp"
#include "scenarios/two_servers.hpp"
#include "scenarios/wallet.hpp"
#include "scenarios/withdrawal.hpp"
#include "world.hpp"

namespace lab {

template <class E>
const std::vector<scenario>& stories() {
  static const std::vector<scenario> all{
      fifty_clicks::on<E>::describe(), withdrawal::on<E>::describe(), wallet::on<E>::describe(),
      last_seat::on<E>::describe(),    transfer::on<E>::describe(),   dirty_read::on<E>::describe(),
      two_servers::on<E>::describe(),
  };
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
