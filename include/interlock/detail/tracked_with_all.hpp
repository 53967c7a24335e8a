// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/tracked_with_all.hpp - what lock_all tells mutexes that want to know who has
// them.

#include <coroutine>
#include <tuple>

#include "../wait_status.hpp"

namespace interlock::detail {

// Effects: tells the places, a tuple, which coroutine waits at them.
template <class Places>
void tell_who_asks(Places& places, std::coroutine_handle<> frame) {
  const auto tell = [&frame](auto& place) {
    if constexpr (requires { place.asked_by(frame); }) place.asked_by(frame);
    static_cast<void>(frame);
  };
  std::apply([&](auto&... each) { (tell(each), ...); }, places);
}

// Effects: gives up the guard without unlocking: its owner goes on to the next mutex.
// Returns: how the guard's wait ended.
template <class Guard>
wait_status release_to_all(Guard& held) noexcept {
  const wait_status status = held.status();
  if constexpr (requires { held.release_to_all(); }) {
    held.release_to_all();
  } else {
    static_cast<void>(held.release());
  }
  return status;
}

// Effects: tells the mutexes, a tuple of pointers, that one guard has them all.
template <class Mutexes>
void tell_kept(const Mutexes& all) noexcept {
  const auto tell = [](auto& mutex) {
    if constexpr (requires { mutex.kept_by_all(); }) mutex.kept_by_all();
  };
  std::apply([&](auto*... each) { (tell(*each), ...); }, all);
}

}  // namespace interlock::detail
