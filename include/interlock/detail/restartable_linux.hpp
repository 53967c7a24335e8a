// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable_linux.hpp - whether the kernel restarts our sequences, and how to
// interrupt those of other threads. Included by restartable.hpp only.

#include <fcntl.h>
#include <sched.h>
#include <sys/rseq.h>  // where a thread has its area, and of what size; 0: it is not registered
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "misuse.hpp"
#include "stripe_state.hpp"

extern "C" {
// Of sanitizers. One object file with a sanitizer makes the whole process use the other form.
void __tsan_init() __attribute__((weak));
void __asan_init() __attribute__((weak));
void __msan_init() __attribute__((weak));
void __hwasan_init() __attribute__((weak));
}

namespace interlock::detail::restartable {

// What was decided: the possible processors, or one of these.
inline constexpr std::uint32_t undecided = 0;
inline constexpr std::uint32_t unusable = ~0U;
inline std::atomic<std::uint32_t> decided{undecided};
// Where a column ends, counted from its first slot. 0 until decided, and if decided against: then
// no processor has a slot.
inline std::atomic<std::uint32_t> column_bytes{0};

// linux/membarrier.h names these from 5.10 on.
inline constexpr long membarrier_rseq = 1L << 7;
inline constexpr long membarrier_register_rseq = 1L << 8;
// Up to here the area has cpu_id and rseq_cs.
inline constexpr unsigned least_area = 16;
inline constexpr unsigned most_rows = 1U << 16;

// Asked before main: the kernel answers at once while the process has one thread, and takes tens of
// milliseconds when it has more.
inline bool may_interrupt() noexcept {
  return ::syscall(SYS_membarrier, membarrier_register_rseq, 0, 0) == 0;
}
inline const bool asked_early = may_interrupt();

// Returns: one more than the largest number of a processor of this thread's mask, and no less than
//          the number of processors.
inline unsigned processors_without_files() noexcept {
  const long configured = ::sysconf(_SC_NPROCESSORS_CONF);
  unsigned most = configured < 1 ? 1 : static_cast<unsigned>(configured);
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return most;
  for (unsigned i = most; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) most = i + 1;
  }
  return most;
}

// Returns: one more than the largest number of a processor that this system may ever have; less if
//          that cannot be read. Those beyond have no slots: what runs there uses the base word.
inline unsigned possible_processors() noexcept {
  char text[1024];
  const int file = ::open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
  const ssize_t length = file < 0 ? -1 : ::read(file, text, sizeof text);
  if (file >= 0) ::close(file);
  unsigned last = 0;  // the text is like "0-3" or "0,2-7"
  bool in_number = false;
  for (ssize_t i = 0; i < length; ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (digit) last = (in_number ? last * 10 : 0) + static_cast<unsigned>(text[i] - '0');
    in_number = digit;
  }
  if (length > 0) return last + 1;
  return processors_without_files();
}
// A library may have a copy of all this, and has to find what the program found: so before the
// process runs out of files or closes itself in.
inline const unsigned counted_early = possible_processors();

[[gnu::noinline]] inline std::uint32_t decide() noexcept {
  const bool sanitized = __tsan_init != nullptr || __asan_init != nullptr ||
                         __msan_init != nullptr || __hwasan_init != nullptr;
  const unsigned processors = counted_early != 0 ? counted_early : possible_processors();
  const bool usable = !sanitized && __rseq_size >= least_area && processors <= most_rows &&
                      (asked_early || may_interrupt()) &&
                      ::syscall(SYS_membarrier, membarrier_rseq, 0, 0) == 0;
  const std::uint32_t mine = usable ? processors : unusable;
  std::uint32_t answer = undecided;
  // order: acq_rel/acquire [restartable.decide] pairs with [restartable.answer]: who decides at the same time follows the first
  if (decided.compare_exchange_strong(answer, mine, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
    answer = mine;
  }
  if (answer != unusable) {
    // order: relaxed: whoever still reads 0 has no slot yet, and everybody writes the same
    column_bytes.store(answer * std::uint32_t{row_bytes}, std::memory_order_relaxed);
  }
  return answer;
}

inline std::uint32_t answer() noexcept {
  // order: acquire [restartable.answer] pairs with [restartable.decide]: one answer for all
  const std::uint32_t known = decided.load(std::memory_order_acquire);
  return known != undecided ? known : decide();
}

inline bool available() noexcept {
  return answer() != unusable;
}

inline unsigned rows() noexcept {
  const std::uint32_t processors = answer();
  return processors != unusable ? processors : rows_for_threads();
}

inline void interrupt() noexcept {
  for (int refusals = 0; ::syscall(SYS_membarrier, membarrier_rseq, 0, 0) != 0;) {
    // Out of memory passes. A process that was restored from a checkpoint has to ask again.
    if (errno != ENOMEM && (++refusals > 1 || !may_interrupt())) {
      misuse("membarrier was taken away after first use; let the filter of system calls pass it");
    }
    ::sched_yield();
  }
}

// The assembly is sequence<half, manner, immediate>, below by processor.
enum class half : int { none = -1, room = 0, share = 32 };  // and its lowest bit in a slot

}  // namespace interlock::detail::restartable

#if defined(__x86_64__)
#include "restartable_x86_64.hpp"
#else
#include "restartable_aarch64.hpp"
#endif

namespace interlock::detail::restartable {

template <manner how = usual>
[[gnu::always_inline]] inline bool add(const std::atomic<std::uint64_t>& state,
                                       std::uint64_t n) noexcept {
  const bool fits = n + (std::uint64_t{1} << 31U) <= 0xFFFF'FFFFU;  // in 32 bits with a sign
  if (__builtin_constant_p(n) && fits && how.pauses == 0) {
    return sequence<half::none, how, true>(state, n, 0);
  }
  return sequence<half::none, how, false>(state, n, 0);
}

template <manner how = usual>
[[gnu::always_inline]] inline bool take(const std::atomic<std::uint64_t>& state,
                                        std::uint32_t n) noexcept {
  return sequence<half::share, how, false>(state, n - (std::uint64_t{n} << 32U), n);
}

template <manner how = usual>
[[gnu::always_inline]] inline bool put(const std::atomic<std::uint64_t>& state,
                                       std::uint32_t n) noexcept {
  return sequence<half::room, how, false>(state, (std::uint64_t{n} << 32U) - n, n);
}

}  // namespace interlock::detail::restartable
