// SPDX-License-Identifier: BSL-1.0

#include "scenario.hpp"

#include "scenarios/busy_endpoint.hpp"
#include "scenarios/deadlock.hpp"
#include "scenarios/dirty_read.hpp"
#include "scenarios/double_payment.hpp"
#include "scenarios/duplicate_event.hpp"
#include "scenarios/fifty_clicks.hpp"
#include "scenarios/interleaved_awaits.hpp"
#include "scenarios/last_seat.hpp"
#include "scenarios/order_pipeline.hpp"
#include "scenarios/stale_cache.hpp"
#include "scenarios/stale_sync.hpp"
#include "scenarios/transfer.hpp"
#include "scenarios/wallet.hpp"
#include "scenarios/withdrawal.hpp"

namespace lab {

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all{
      fifty_clicks::describe(),
      withdrawal::describe(),
      wallet::describe(),
      stale_sync::describe(),
      last_seat::describe(),
      transfer::describe(),
      double_payment::describe(),
      duplicate_event::describe(),
      busy_endpoint::describe(),
      interleaved_awaits::describe(),
      order_pipeline::describe(),
      stale_cache::describe(),
      dirty_read::describe(),
      deadlock::describe(),
  };
  return all;
}

}  // namespace lab
