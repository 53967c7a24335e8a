// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_errand.hpp - what the lock of a mirror's line decides, and is done
// without it; and for how long a thread does the work of others.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "futex_mutex.hpp"
#include "mirror_alarms.hpp"
#include "parking.hpp"

namespace interlock::detail {

// What a thread that flushes does for all while an executor refuses: see mirror_crew.hpp. Under the
// lock of the line, but for `until`.
struct lent_hand {
  const std::chrono::steady_clock::time_point* until = nullptr;  // the end of it; null: none
  bool called_off = false;         // who it was lent for waits no more
  bool counted = false;            // by the crew, until it is taken back
  lent_hand** known_as = nullptr;  // to the one who waits, as long as he does

  static lent_hand none() noexcept { return {nullptr, true}; }
  bool is_over() const noexcept {
    return called_off || (until != nullptr && std::chrono::steady_clock::now() >= *until);
  }
  void forget() noexcept {
    if (known_as != nullptr) *std::exchange(known_as, nullptr) = nullptr;
  }
};

// Between a crew and the jobs that an executor has: outlives the mirror if one of these does.
template <class Crew>
struct mirror_link {
  explicit mirror_link(mirror_schedule given) : how(std::move(given)) {}

  // Returns: whether the executor took it.
  template <class Job>
  bool runs(std::chrono::nanoseconds delay, Job job) const noexcept {
    try {
      how.run(delay, std::move(job));
      return true;
    } catch (...) {
      return false;
    }
  }
  void cut() noexcept {
    const std::lock_guard alive(mutex);
    crew = nullptr;
  }

  const mirror_schedule how;
  futex_mutex mutex;     // taken before the line's
  Crew* crew = nullptr;  // null: gone
};

template <class Crew>
struct mirror_errand {
  // Of who looks at the line again behind it. So no hand is lent within another one.
  static mirror_errand of(const lent_hand* lent) noexcept {
    mirror_errand todo;
    todo.looks_on = true;
    todo.hand = lent;
    return todo;
  }

  bool idle() const noexcept {
    return jobs == 0 && !rings && wake == nullptr && all == nullptr && end == nullptr;
  }
  // By one who need not be counted: uses addresses alone.
  void wake_up() const noexcept {
    if (wake != nullptr) unpark_one(wake);
    if (all != nullptr) unpark_all(all);
    if (end != nullptr) unpark_all(end);
  }

  std::uint32_t jobs = 0;
  bool rings = false;  // an alarm is to be set
  mirror_alarms::alarm next{};
  bool looks_on = false;            // who runs it looks at the line again behind it
  const lent_hand* hand = nullptr;  // if one is lent; null: without an end
  const park_word* wake = nullptr;  // one sender sleeps
  const park_word* all = nullptr;   // senders sleep, and there is nothing left to send
  const park_word* end = nullptr;   // whoever waits for that
  std::shared_ptr<mirror_link<Crew>> by{};
};

}  // namespace interlock::detail
