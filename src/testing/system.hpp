// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/system.hpp - calls of the C library that explored threads may make, or are told not
// to. Elsewhere they do what they always do. Included by runtime.cpp alone, which has the helpers.

#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

namespace {

// Returns: the function that has this name behind ours.
template <class Function>
Function* real(const char* name) noexcept {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "interlock::testing: no %s in the C library\n", name);
    std::_Exit(3);
  }
  return reinterpret_cast<Function*>(found);
}

// Effects: calls it. For functions whose name is that of ours.
#define INTERLOCK_REAL(NAME, ...)                             \
  [&] {                                                       \
    static const auto function = real<decltype(NAME)>(#NAME); \
    return function(__VA_ARGS__);                             \
  }()

constexpr u64 second = 1'000'000'000;
constexpr u64 date_at_start = 1'700'000'000 * second;  // 2023-11-14 22:13:20 UTC

timespec virtual_time(clockid_t clock) noexcept {
  bool of_day = clock == CLOCK_REALTIME;
#if defined(CLOCK_REALTIME_COARSE)
  of_day = of_day || clock == CLOCK_REALTIME_COARSE;
#endif
  const u64 now = the_engine().current->time + (of_day ? date_at_start : time_at_start);
  timespec result{};
  result.tv_sec = static_cast<time_t>(now / second);
  result.tv_nsec = static_cast<long>(now % second);
  return result;
}

}  // namespace

extern "C" {

// ---- clocks: std::chrono's, and detail::coarse_now, read these ----------------------------------

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (!explored()) return INTERLOCK_REAL(clock_gettime, clock, now);
  *now = virtual_time(clock);
  return 0;
}

int gettimeofday(timeval* now, void* zone) noexcept {
  if (!explored()) return INTERLOCK_REAL(gettimeofday, now, zone);
  const timespec time = virtual_time(CLOCK_REALTIME);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* result) noexcept {
  if (!explored()) return INTERLOCK_REAL(time, result);
  const time_t now = virtual_time(CLOCK_REALTIME).tv_sec;
  if (result != nullptr) *result = now;
  return now;
}

}  // extern "C"
