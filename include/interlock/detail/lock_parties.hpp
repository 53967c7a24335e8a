// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lock_parties.hpp - who asks for a lock, and who waits for it to end.

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <vector>

#include "../lock_owner.hpp"
#include "lock_graph.hpp"

namespace interlock::detail {

// A number that no other thread of the process has, or had.
// Out of line: a coroutine may change threads between two calls.
[[gnu::noinline]] inline lock_party thread_party() noexcept {
  thread_local const auto mine = static_cast<std::uintptr_t>(lock_graph::instance().new_number());
  return {lock_party::kind::thread, mine, nullptr};
}

inline lock_party party_of(const lock_owner& owner) noexcept {
  return {lock_party::kind::named, reinterpret_cast<std::uintptr_t>(&owner), owner.name()};
}
inline lock_party party_of(std::coroutine_handle<> frame) noexcept {
  return {lock_party::kind::coroutine, reinterpret_cast<std::uintptr_t>(frame.address()), nullptr};
}

inline void add(std::vector<lock_party>& chain, const lock_owner* owner) {
  for (; owner != nullptr; owner = owner->parent()) chain.push_back(party_of(*owner));
}

// A promise that knows on whose behalf its coroutine runs. Each coroutine that runs beside others
// has an owner of its own, whose parent is that of the coroutine that awaits it.
template <class Promise>
concept has_lock_owner = requires(const Promise& promise) {
  { promise.get_lock_owner() } -> std::convertible_to<const lock_owner*>;
};

// Returns: the owner or, if there is none, the thread or the coroutine; then who waits for it.
inline std::vector<lock_party> chain_of(const lock_owner* owner) {
  std::vector<lock_party> chain;
  add(chain, owner);
  chain.push_back(thread_party());
  return chain;
}
template <class Promise>
std::vector<lock_party> chain_of(const lock_owner* owner, std::coroutine_handle<Promise> self) {
  std::vector<lock_party> chain;
  add(chain, owner);
  if constexpr (has_lock_owner<Promise>) add(chain, self.promise().get_lock_owner());
  chain.push_back(party_of(self));
  return chain;
}

}  // namespace interlock::detail
