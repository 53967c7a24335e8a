// SPDX-License-Identifier: BSL-1.0
// A library that is unloaded while threads that used it live on; see plugin.test.cpp.

#include <interlock/detail/restartable.hpp>

namespace seq = interlock::detail::restartable;

extern "C" {

[[gnu::visibility("default")]] bool plugin_unloadable() {
  return seq::unloadable;
}

// Effects: adds 1 `times` times. Returns: how many landed in a slot.
[[gnu::visibility("default")]] std::uint64_t plugin_add(const std::atomic<std::uint64_t>& state,
                                                        std::uint64_t times) {
  std::uint64_t landed = 0;
  if (!seq::available()) return landed;
  for (std::uint64_t i = 0; i < times; ++i) landed += seq::add(state, 1) ? 1 : 0;
  return landed;
}

// The naive form.
[[gnu::visibility("default")]] bool plugin_add_and_leave(const std::atomic<std::uint64_t>& state) {
  return seq::available() && seq::add<seq::manner{0, true, false}>(state, 1);
}
}
