// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/lock_owner.hpp - a name for who locks, where a thread or a coroutine does not say it.
//
// Problem     A coroutine locks, awaits others that lock, and changes threads: neither the thread
//             nor the frame says on whose behalf. And "coroutine 2" is no name for a report.
// Guarantee   What an owner locks is its own wherever the guard is moved. An owner waits with its
//             parent: what the parent owns the child waits for in vain. With a plain mutex an owner
//             costs nothing and changes nothing.
// Progress    Never blocks.
// Cost        Two words. In front of async_mutex it does nothing at all.
// Lifetime    Outlives the guards and the waits that are its own, and its children.
// Not for     Several coroutines at once: an owner is one line of work, and what it waits for it
//             waits for as a whole. Give each its own, with this one as the parent.
//
// Example     lock_owner me(name);                         // examples/tracked_async_mutex.cpp
//             const auto first = co_await me.at(from.door).lock();

namespace interlock {

class lock_owner {
public:
  // The name is not copied. The parent waits for this one to end.
  constexpr explicit lock_owner(const char* name) noexcept : name_(name) {}
  constexpr lock_owner(const char* name, const lock_owner& parent) noexcept
      : name_(name), parent_(&parent) {}
  lock_owner(const lock_owner&) = delete;
  lock_owner& operator=(const lock_owner&) = delete;

  // Returns: the mutex, to lock it as this owner: me.at(door).lock(). If it is not a tracked one,
  //          nothing but the mutex itself.
  template <class Mutex>
  [[nodiscard]] constexpr decltype(auto) at(Mutex& mutex) const noexcept {
    if constexpr (requires { mutex.as_owner(*this); }) {
      return mutex.as_owner(*this);
    } else {
      return (mutex);
    }
  }

  // Effects: what the guard owns is this owner's from now on.
  template <class Guard>
  constexpr void take_over(const Guard& held) const {
    if constexpr (requires { held.belongs_to(*this); }) held.belongs_to(*this);
  }

  [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
  [[nodiscard]] constexpr const lock_owner* parent() const noexcept { return parent_; }

private:
  const char* name_;
  const lock_owner* parent_ = nullptr;
};

}  // namespace interlock
