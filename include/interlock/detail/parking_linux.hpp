// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/parking_linux.hpp - park and unpark over the futex system call.
// Included by parking.hpp only.

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>

namespace interlock::detail {

using park_word = std::atomic<std::uint32_t>;
static_assert(sizeof(park_word) == 4, "a futex word is 32 bits");
static_assert(sizeof(time_t) == sizeof(long), "SYS_futex takes the time as two longs");

inline long futex(const park_word* word, int operation, std::uint32_t value,
                  const timespec* deadline) noexcept {
  return ::syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, deadline, nullptr,
                   FUTEX_BITSET_MATCH_ANY);
}

// Effects: blocks while word == expected. May return at any time.
inline void park(const park_word& word, std::uint32_t expected) noexcept {
  futex(&word, FUTEX_WAIT_BITSET, expected, nullptr);
}

// Effects: as park, but not past the deadline.
// Returns: false only when the deadline has passed.
inline bool park_until(const park_word& word, std::uint32_t expected,
                       std::chrono::steady_clock::time_point deadline) noexcept {
  // libstdc++ and libc++ both define steady_clock as CLOCK_MONOTONIC, the clock of this wait.
  const auto since_epoch = deadline.time_since_epoch();
  if (since_epoch.count() < 0) return false;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds);
  timespec when{};
  when.tv_sec = static_cast<time_t>(seconds.count());
  when.tv_nsec = static_cast<long>(rest.count());
  const bool timed_out =
      futex(&word, FUTEX_WAIT_BITSET, expected, &when) == -1 && errno == ETIMEDOUT;
  return !timed_out;
}

// Effects: wakes one thread parked on the word, if there is one. Touches no memory.
inline void unpark_one(const park_word* word) noexcept { futex(word, FUTEX_WAKE, 1, nullptr); }

// Effects: wakes all threads parked on the word. Touches no memory.
inline void unpark_all(const park_word* word) noexcept {
  futex(word, FUTEX_WAKE, INT_MAX, nullptr);
}

inline void pause_core() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield" ::: "memory");
#endif
}

inline void yield_thread() noexcept { ::sched_yield(); }

// Returns: a time that never goes back, as of the kernel's last tick: cheap to read, and up to a
// tick behind (4 ms with 250 ticks a second; 1 to 10 ms).
inline std::chrono::nanoseconds coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace interlock::detail
