// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/write_turn.hpp - who of this client writes: one at a time, in the order
// of asking, so that threads of one process do not poll SQLite's lock.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace interlock::sqlite::detail {

class write_turn {
public:
  enum class answer : std::uint8_t { given, late, yours_already };

  // Returns: late, if the deadline came before the turn; yours_already, if this thread has it.
  [[nodiscard]] answer enter(std::chrono::steady_clock::time_point until) {
    const std::thread::id self_id = std::this_thread::get_id();
    std::unique_lock lock(mutex_);
    if (!taken_) {
      taken_ = true;
      owner_ = self_id;
      return answer::given;
    }
    if (owner_ == self_id) return answer::yours_already;
    waiter self;
    self.id = self_id;
    self.before = last_;
    (last_ != nullptr ? last_->next : first_) = &self;
    last_ = &self;
    while (!self.given) {
      if (self.wake.wait_until(lock, until) != std::cv_status::timeout || self.given) continue;
      unlink(self);
      return answer::late;
    }
    return answer::given;
  }

  // Effects: gives the turn to who has waited longest.
  void leave() noexcept {
    const std::lock_guard lock(mutex_);
    if (first_ == nullptr) {
      taken_ = false;
      return;
    }
    waiter& chosen = *first_;
    unlink(chosen);
    chosen.given = true;
    owner_ = chosen.id;
    chosen.wake.notify_one();  // under the lock: it goes as soon as it may
  }

private:
  struct waiter {
    std::condition_variable wake;
    std::thread::id id;
    bool given = false;
    waiter* before = nullptr;
    waiter* next = nullptr;
  };

  void unlink(waiter& one) noexcept {
    (one.before != nullptr ? one.before->next : first_) = one.next;
    (one.next != nullptr ? one.next->before : last_) = one.before;
  }

  std::mutex mutex_;  // protects all below
  bool taken_ = false;
  std::thread::id owner_;  // if it is taken
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
};

}  // namespace interlock::sqlite::detail
