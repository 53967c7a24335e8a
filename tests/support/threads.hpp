// SPDX-License-Identifier: BSL-1.0
#pragma once

// Threads for tests: start together, join, hand a worker's exception to the main thread.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace support {

// Effects: calls f(i) for i in [0, n), each on its own thread, none before all exist; joins all.
// Throws: the first exception that left an f.
template <class F>
void run_threads(std::size_t n, F f) {
  std::latch start(static_cast<std::ptrdiff_t>(n));
  std::exception_ptr failure;
  std::mutex failure_guard;
  std::vector<std::thread> threads;
  threads.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      try {
        f(i);
      } catch (...) {
        const std::lock_guard lock(failure_guard);
        if (!failure) failure = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

// Returns: how often a stress loop goes round: n, less under a sanitizer (which costs 5 to 20
//          times), times INTERLOCK_STRESS_SCALE if set (a nightly run sets 50).
inline std::size_t rounds(std::size_t n) {
  const char* const scale = std::getenv("INTERLOCK_STRESS_SCALE");
  const double factor = scale != nullptr ? std::stod(scale) : 1.0;
  const double wanted = static_cast<double>(n) * factor / (sanitized ? 10.0 : 1.0);
  return wanted < 1.0 ? 1 : static_cast<std::size_t>(wanted);
}

}  // namespace support
