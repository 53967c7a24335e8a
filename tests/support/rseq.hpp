// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the kernel and glibc say about restartable sequences, asked past our headers; and threads
// that are moved from processor to processor.

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "threads.hpp"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

namespace support {

// Returns: the numbers of the processors that the caller may run on.
inline std::vector<unsigned> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<unsigned> allowed;
  for (unsigned i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) allowed.push_back(i);
  }
  return allowed;
}

// Effects: the thread runs on this processor only.
inline void pin(pid_t thread, unsigned processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  ::sched_setaffinity(thread, sizeof set, &set);
}

inline pid_t thread_number() {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

// Effects: while it lives, a thread of its own keeps moving each of the given threads on to the
//          next processor, and lets them run there for some microseconds. The sleep is that pause
//          and orders nothing: whoever counts on moves counts them.
class mover {
public:
  explicit mover(std::vector<pid_t> threads)
      : threads_(std::move(threads)), runner_([this] {
          const std::vector<unsigned> allowed = allowed_processors();
          ::prctl(PR_SET_TIMERSLACK, 1UL);
          for (std::size_t round = 0; !done_.load(); ++round) {
            for (std::size_t i = 0; i < threads_.size(); ++i) {
              pin(threads_[i], allowed[(i + round) % allowed.size()]);
            }
            moves_ += threads_.size();
            std::this_thread::sleep_for(std::chrono::microseconds(5));
          }
        }) {}
  ~mover() { stop(); }
  void stop() {
    done_.store(true);
    if (runner_.joinable()) runner_.join();
  }
  std::size_t moves() const { return moves_; }

private:
  std::vector<pid_t> threads_;
  std::size_t moves_ = 0;
  std::atomic<bool> done_{false};
  std::thread runner_;
};

#if defined(RSEQ_SIG) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define INTERLOCK_TESTS_SEQUENCES
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#undef INTERLOCK_TESTS_SEQUENCES
#endif
#endif
#endif

#ifdef INTERLOCK_TESTS_SEQUENCES

// What glibc gives the kernel of each thread, as far as the sequence uses it.
struct thread_area {
  std::uint32_t cpu_id_start;
  std::uint32_t cpu_id;
  std::uint64_t rseq_cs;
};

inline volatile thread_area& area_of_this_thread() {
  return *reinterpret_cast<volatile thread_area*>(static_cast<char*>(__builtin_thread_pointer()) +
                                                  __rseq_offset);
}

// While it lives, this thread is not registered with the kernel, and its area says that it runs on
// the processor given: the sequence then does what it does without ever being cut short.
class posing {
public:
  explicit posing(std::uint32_t processor) : registered_(__rseq_size != 0) {
    if (registered_) call(RSEQ_FLAG_UNREGISTER);
    say(processor);
  }
  posing(const posing&) = delete;
  posing& operator=(const posing&) = delete;
  ~posing() {
    area_of_this_thread().rseq_cs = 0;
    say(static_cast<std::uint32_t>(RSEQ_CPU_ID_UNINITIALIZED));
    if (registered_) call(0);
  }
  void say(std::uint32_t processor) { area_of_this_thread().cpu_id = processor; }
  bool worked() const { return worked_; }

private:
  // glibc registers 32 bytes, or what the kernel asks for. The kernel refuses any other number.
  void call(int flags) {
    const unsigned first = size_ != 0 ? size_ : 32;
    for (size_ = first; size_ <= 512; ++size_) {
      if (::syscall(SYS_rseq, &area_of_this_thread(), size_, flags, RSEQ_SIG) == 0) return;
    }
    worked_ = false;
  }

  const bool registered_;
  unsigned size_ = 0;
  bool worked_ = true;
};

// Returns: whether this thread could be told its processor, and others' sequences interrupted.
inline bool sequences_possible() {
  if (__rseq_size == 0) return false;
  bool told = false;
  for (int i = 0; i < 100 && !told; ++i) {  // it may be moved between the two
    unsigned processor = 0;
    ::syscall(SYS_getcpu, &processor, nullptr, nullptr);
    told = area_of_this_thread().cpu_id == processor;
  }
  const long commands = ::syscall(SYS_membarrier, 0, 0, 0);  // MEMBARRIER_CMD_QUERY
  return told && commands > 0 && (commands & (1 << 7)) != 0;
}

#else
inline bool sequences_possible() {
  return false;
}
#endif

}  // namespace support
