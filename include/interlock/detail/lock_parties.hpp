// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lock_parties.hpp - who asks for a lock, and who waits for it to end.

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../lock_owner.hpp"
#include "lock_nodes.hpp"
#include "waiter.hpp"

namespace interlock::detail {

inline lock_party thread_at(const void* address) noexcept {
  return {lock_party::kind::thread, reinterpret_cast<std::uintptr_t>(address), nullptr};
}
inline lock_party party_of(const lock_owner& owner) noexcept {
  return {lock_party::kind::named, reinterpret_cast<std::uintptr_t>(&owner), owner.name()};
}
inline lock_party party_of_frame(const void* frame) noexcept {
  return {lock_party::kind::coroutine, reinterpret_cast<std::uintptr_t>(frame), nullptr};
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
  chain.push_back(thread_at(this_thread()));
  return chain;
}

// A promise that knows who waits for its coroutine to end: that of task.
template <class Promise>
concept has_callers = requires(const Promise& promise) {
  promise.for_each_caller([](const auto&) { return true; });
};

inline constexpr std::size_t longest_chain = 1000;  // who is further out is left out
template <has_callers Promise>
void add_callers(std::vector<lock_party>& chain, const Promise& promise) {
  promise.for_each_caller([&](const auto& who) {
    if (chain.size() == longest_chain) return false;
    if (who.frame != nullptr) chain.push_back(party_of_frame(who.frame));
    if (who.thread != nullptr) chain.push_back(thread_at(who.thread));
    return true;
  });
}

template <class Promise>
std::vector<lock_party> chain_of(const lock_owner* owner, std::coroutine_handle<Promise> self) {
  std::vector<lock_party> chain;
  add(chain, owner);
  if constexpr (has_lock_owner<Promise>) add(chain, self.promise().get_lock_owner());
  chain.push_back(party_of_frame(self.address()));
  if constexpr (has_callers<Promise>) add_callers(chain, self.promise());
  return chain;
}

}  // namespace interlock::detail
