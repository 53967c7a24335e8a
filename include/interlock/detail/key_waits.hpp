// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_waits.hpp - threads that wait for a key from inside another: who for whom.
//
// A thread that does work of key A and waits for key B holds A meanwhile. If the runner of B waits
// for A, on whatever detour, nobody goes on. Each wait from inside is listed before its thread
// parks, and asks then: who closes the circle finds it. Only such waits pay for this.
//
// Why a circle is certain: the runner of a key, as seen under the lock of its shard, holds it; and
// a listed wait whose work is still in line has not ended, so its thread cannot let go.

#include <mutex>
#include <utility>

#include "futex_mutex.hpp"

namespace interlock::detail {

// The queues whose work this thread does, innermost first.
struct key_frame {
  explicit key_frame(const void* its_queue) noexcept
      : queue(its_queue), outer(std::exchange(innermost, this)) {}
  ~key_frame() { pop(); }
  void pop() noexcept {
    if (innermost == this) innermost = outer;
  }
  key_frame(const key_frame&) = delete;
  key_frame& operator=(const key_frame&) = delete;

  static bool any() noexcept { return innermost != nullptr; }
  // Returns: whether this frame is the other one or inside of it.
  bool inside(const key_frame* other) const noexcept {
    const key_frame* f = this;
    while (f != nullptr && f != other) f = f->outer;
    return f != nullptr && other != nullptr;
  }
  // Returns: the outermost of this queue, or nullptr.
  static key_frame* of(const void* queue) noexcept {
    key_frame* found = nullptr;
    for (key_frame* f = innermost; f != nullptr; f = f->outer) {
      if (f->queue == queue) found = f;
    }
    return found;
  }

  const void* const queue;
  key_frame* const outer;
  bool owes = false;  // it left work at rest, and does it when its own is done
  static inline constinit thread_local key_frame* innermost = nullptr;
};

struct key_wait {
  // Returns: who runs the key that is waited for; nullptr if nobody, or the wait has ended.
  const key_frame* (*runner)(const key_wait&) noexcept;
  const key_frame* waits;  // the innermost frame of its thread
  key_wait* next = nullptr;
};

class key_waits {
public:
  // Effects: lists the wait. Returns: true if it closes a circle.
  static bool list(key_wait& wait) noexcept {
    const std::lock_guard lock(mutex);
    wait.next = std::exchange(first, &wait);
    const key_wait* at = &wait;
    for (std::size_t left = ++count; left != 0 && at != nullptr; --left) {
      const key_frame* const who = at->runner(*at);
      if (wait.waits->inside(who)) return true;
      if (who == nullptr) return false;
      at = first;  // the newest of a thread is what it waits for
      while (at != nullptr && !at->waits->inside(who)) at = at->next;
    }
    return false;
  }
  static void unlist(key_wait& wait) noexcept {
    const std::lock_guard lock(mutex);
    key_wait** at = &first;
    while (*at != &wait) at = &(*at)->next;
    *at = wait.next;
    --count;
  }

private:
  static inline constinit futex_mutex mutex{};
  static inline constinit key_wait* first = nullptr;
  static inline constinit std::size_t count = 0;
};

}  // namespace interlock::detail
