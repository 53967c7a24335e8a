// SPDX-License-Identifier: BSL-1.0
#include "shared.hpp"

int second(bool may_restart);

int second(bool may_restart) {
  interlock::counter<> here{1};
  here.add(1);
  interlock::striped_counter many;
  many.add(2);
  // Not through a function that the first file has too.
  namespace il = interlock::detail;
  std::vector<il::stripe_slot> slots(il::restartable::rows() * il::row_bytes /
                                     sizeof(il::stripe_slot));
  const std::atomic<std::uint64_t> state{il::state_of(slots.data())};
  bool landed = false;
  for (int i = 0; i < 100; ++i) landed = il::restartable::add(state, 1) || landed;
  const bool as_told = landed == il::restartable::available() && (may_restart || !landed);
  return as_told && sequences_work() ? static_cast<int>(here.load() + many.load()) - 2 : 0;
}
