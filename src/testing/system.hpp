// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/system.hpp - calls of the C library that explored threads may make, or are told not
// to. Elsewhere they do what they always do. Included by runtime.cpp alone, which has the helpers.

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#endif

extern "C" char __executable_start, etext, _end;  // of the program: the linker's

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

bool in_program(std::uintptr_t address) noexcept {
  return address >= number(&__executable_start) && address < number(&etext);
}

// Returns: the place in the program, where the C++ library called us for it.
const void* user_site(const void* site) noexcept {
#if defined(__linux__)
  if (in_program(number(site))) return site;
  struct search {
    bool outside = false;
    std::uintptr_t found = 0;
  } state;
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* argument) {
        auto& s = *static_cast<search*>(argument);
        const std::uintptr_t address = _Unwind_GetIP(context);
        const bool inside = in_program(address);
        if (inside && s.outside) s.found = address;
        s.outside = s.outside || !inside;
        return s.found != 0 ? _URC_NORMAL_STOP : _URC_NO_REASON;
      },
      &state);
  if (state.found != 0) return reinterpret_cast<const void*>(state.found);
#endif
  return site;
}

// Effects: ends the exploration: an explored thread makes a call that is not modelled.
[[noreturn]] void refuse(const char* call, const char* remedy, const void* site) noexcept {
  static char text[256];
  std::snprintf(text, sizeof text, "thread %u calls %s, which cannot be explored: %s",
                the_engine().current_id, call, remedy);
  the_engine().fail_here(text, site);
}

// Effects: calls it. For functions whose name is that of ours. What is looked up once is not a
// variable with a guard: libc++abi takes a mutex for that, and would come back here.
#define INTERLOCK_REAL(NAME, ...)                                                               \
  [&] {                                                                                         \
    static constinit std::atomic<void*> behind{nullptr};                                        \
    if (behind.load() == nullptr) behind = reinterpret_cast<void*>(real<decltype(NAME)>(#NAME)); \
    return reinterpret_cast<decltype(&NAME)>(behind.load())(__VA_ARGS__);                       \
  }()

constexpr u64 second = 1'000'000'000;
constexpr u64 date_at_start = 1'700'000'000 * second;  // 2023-11-14 22:13:20 UTC

constexpr u64 no_deadline = ~u64{0};

// Returns: the time of the model, for an absolute one of this clock.
u64 deadline_of(clockid_t clock, const timespec* when) noexcept {
  if (when->tv_sec < 0) return 0;
  if (static_cast<u64>(when->tv_sec) >= never / second) return no_deadline;
  const u64 time = static_cast<u64>(when->tv_sec) * second + static_cast<u64>(when->tv_nsec);
  return since(clock == CLOCK_REALTIME ? date_at_start : time_at_start, time);
}

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

#if defined(__linux__)
// Returns: as the system call.
long explored_futex(const long* a, const void* site) noexcept {
  const auto* const word = reinterpret_cast<const void*>(a[0]);
  const auto* const timeout = reinterpret_cast<const timespec*>(a[3]);
  switch (a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET: {
      u64 deadline = no_deadline;
      if (timeout != nullptr) {
        const bool absolute = (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
        const bool of_day = (a[1] & FUTEX_CLOCK_REALTIME) != 0;
        deadline = absolute ? deadline_of(of_day ? CLOCK_REALTIME : CLOCK_MONOTONIC, timeout)
                            : the_engine().current->time +
                                  static_cast<u64>(timeout->tv_sec) * second +
                                  static_cast<u64>(timeout->tv_nsec);
      }
      if (park_before(deadline, word, static_cast<std::uint32_t>(a[2]), site)) return 0;
      errno = ETIMEDOUT;
      return -1;
    }
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
      if (a[2] != 1 && a[2] != INT_MAX) refuse("futex", "wake one thread, or INT_MAX", site);
      do_unpark(word, a[2] == 1 ? queue_wake_one : queue_wake_all, site);
      return 0;
    default: refuse("futex", "only wait and wake are modelled", site);
  }
}
#endif

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

// ---- who runs -----------------------------------------------------------------------------------

#if defined(__linux__)
pthread_t pthread_self() noexcept {
  if (explored()) return reinterpret_cast<pthread_t>(the_engine().current);
  return INTERLOCK_REAL(pthread_self);
}
#endif

// ---- calls that are refused ---------------------------------------------------------------------

#define INTERLOCK_REFUSED(RESULT, NAME, PARAMETERS, ARGUMENTS, CALL, REMEDY, ...) \
  RESULT NAME PARAMETERS __VA_ARGS__ {                                            \
    if (explored()) refuse(CALL, REMEDY, INTERLOCK_SITE);                         \
    static const auto behind = real<decltype(NAME)>(#NAME);                       \
    return behind ARGUMENTS;                                                      \
  }

constexpr const char* instead_of_threads = "add the thread with world.thread";
constexpr const char* instead_of_sleep =
    "wait with spin_hint, park or a condition variable; testing::advance lets time pass";
constexpr const char* instead_of_io = "keep input and output out of explored code";
constexpr const char* instead_of_others =
    "it is not modelled; std::mutex and std::condition_variable are";

INTERLOCK_REFUSED(int, pthread_create,
                  (pthread_t * id, const pthread_attr_t* how, void* (*function)(void*), void* with),
                  (id, how, function, with), "pthread_create (std::thread)", instead_of_threads,
                  noexcept)
INTERLOCK_REFUSED(int, pthread_join, (pthread_t id, void** result), (id, result),
                  "pthread_join (std::thread::join)", instead_of_threads)
INTERLOCK_REFUSED(unsigned, sleep, (unsigned seconds), (seconds), "sleep", instead_of_sleep)
INTERLOCK_REFUSED(int, usleep, (useconds_t time), (time), "usleep", instead_of_sleep)
INTERLOCK_REFUSED(int, nanosleep, (const timespec* time, timespec* left), (time, left),
                  "nanosleep (std::this_thread::sleep_for)", instead_of_sleep)
INTERLOCK_REFUSED(ssize_t, read, (int file, void* to, size_t size), (file, to, size), "read",
                  instead_of_io)
INTERLOCK_REFUSED(ssize_t, write, (int file, const void* from, size_t size), (file, from, size),
                  "write", instead_of_io)
INTERLOCK_REFUSED(int, poll, (pollfd * files, nfds_t count, int timeout), (files, count, timeout),
                  "poll", instead_of_io)
INTERLOCK_REFUSED(int, select,
                  (int count, fd_set* in, fd_set* to, fd_set* bad, timeval* timeout),
                  (count, in, to, bad, timeout), "select", instead_of_io)
INTERLOCK_REFUSED(int, sem_wait, (sem_t * semaphore), (semaphore), "sem_wait", instead_of_others)
#if defined(__linux__)
INTERLOCK_REFUSED(int, clock_nanosleep,
                  (clockid_t clock, int flags, const timespec* time, timespec* left),
                  (clock, flags, time, left), "clock_nanosleep (std::this_thread::sleep_until)",
                  instead_of_sleep)
INTERLOCK_REFUSED(int, sem_timedwait, (sem_t * semaphore, const timespec* when), (semaphore, when),
                  "sem_timedwait", instead_of_others)
INTERLOCK_REFUSED(int, pthread_barrier_wait, (pthread_barrier_t * barrier), (barrier),
                  "pthread_barrier_wait", instead_of_others, noexcept)
INTERLOCK_REFUSED(int, pthread_spin_lock, (pthread_spinlock_t * lock), (lock), "pthread_spin_lock",
                  instead_of_others, noexcept)

// A futex is a parking word. What it returns for a wake-up is 0, whoever was woken.
long syscall(long call, ...) noexcept {
  std::va_list list;
  va_start(list, call);
  long a[6];
  for (long& one : a) one = va_arg(list, long);
  va_end(list);
  if (call != SYS_futex || !explored()) {
    return INTERLOCK_REAL(syscall, call, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  return explored_futex(a, INTERLOCK_SITE);
}
#endif
#undef INTERLOCK_REFUSED

}  // extern "C"
