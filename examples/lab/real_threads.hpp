// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a scenario runs on real threads: words that they share, the time a store call takes, threads
// that start together, steps drawn in the order in which they happened, and prices. For support.hpp
// alone to include; explain/explored.hpp has the same for the explorer.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace lab {

// A word that several requests read and write. Every access is a relaxed atomic: the naive forms
// lose through their logic, never through undefined behaviour, and no order between words is
// promised or needed (a round is read after its threads were joined).
class word {
public:
  word() noexcept = default;
  explicit word(std::int64_t value) noexcept : value_(value) {}

  [[nodiscard]] std::int64_t read() const noexcept {
    // order: relaxed: only this word's own value matters
    return value_.load(std::memory_order_relaxed);
  }
  // Returns: what was there before. A real store call does not tell it, and no form decides by it:
  //          it is there for the picture and the oracle.
  std::int64_t write(std::int64_t value) noexcept {
    // order: relaxed: only this word's own value matters
    return value_.exchange(value, std::memory_order_relaxed);
  }
  // Returns: the sum. The addition is one step.
  std::int64_t add(std::int64_t amount) noexcept {
    // order: relaxed: only this word's own value matters
    return value_.fetch_add(amount, std::memory_order_relaxed) + amount;
  }
  // Effects: keeps the larger value.
  void raise(std::int64_t value) noexcept {
    std::int64_t seen = read();
    // order: relaxed/relaxed: only this word's own value matters
    while (seen < value && !value_.compare_exchange_weak(seen, value, std::memory_order_relaxed,
                                                         std::memory_order_relaxed)) {
    }
  }

private:
  std::atomic<std::int64_t> value_{0};
};

// What two lanes may not do at once.
using lockable = std::mutex;

// Random numbers that a seed repeats (splitmix64).
class dice {
public:
  dice(std::uint64_t seed, std::uint64_t lane) noexcept
      : state_(seed * 0x9e3779b97f4a7c15U + lane * 0xd1b54a32d192ed03U) {}

  // Returns: a number in [low, high].
  std::int64_t roll(std::int64_t low, std::int64_t high) noexcept {
    const auto sides = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(next() % sides);
  }

private:
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  std::uint64_t state_;
};

// The way to a store, a bank, a mail server: every call takes some of the caller's time and none of
// the processor's. This is the window of most forms; the fixed forms travel just as far.
class network {
public:
  network(const settings& set, unsigned lane) noexcept : dice_(set.seed, lane) {}

  // Effects: the caller waits for a time between the two, in microseconds.
  void travel(std::int64_t low = 20, std::int64_t high = 120) {
    std::this_thread::sleep_for(std::chrono::microseconds(dice_.roll(low, high)));
  }
  [[nodiscard]] dice& chance() noexcept { return dice_; }

private:
  dice dice_;
};

// The steps of one round. When the round is drawn, an access and its note are one step of a global
// order, so that the picture shows what really happened; otherwise a step is the access alone.
class stage {
public:
  using held = std::unique_lock<std::mutex>;

  explicit stage(trace* picture) noexcept : picture_(picture) {}

  [[nodiscard]] bool drawn() const noexcept { return picture_ != nullptr; }
  void name(unsigned lane, std::string who) {
    if (drawn()) picture_->name_lane(lane, std::move(who));
  }
  // Effects: value = access(); notes told(value).
  // Preconditions: access neither waits for another lane nor takes a lock of the scenario: that
  //                comes before the step.
  // Returns: value.
  template <class Access, class Say>
  auto step(unsigned lane, Access access, Say told) {
    if (!drawn()) return access();
    const std::lock_guard lock(order_);
    const auto value = access();
    line said = told(value);
    picture_->note(lane, std::move(said.text), said.harmful);
    return value;
  }
  // Effects: notes text.
  void say(unsigned lane, std::string text, bool harmful = false) {
    if (!drawn()) return;
    const std::lock_guard lock(order_);
    picture_->note(lane, std::move(text), harmful);
  }

  // Effects: no other step is noted while the lock is held; takes none unless the round is drawn.
  [[nodiscard]] held hold() { return drawn() ? held(order_) : held(); }
  // Effects: notes text, as the end of the step that began with hold(), and releases the lock.
  void say(held& since, unsigned lane, std::string text) {
    if (!since.owns_lock()) return;
    picture_->note(lane, std::move(text));
    since.unlock();
  }

private:
  // One for all, as one round at a time is drawn.
  static inline std::mutex order_;
  trace* picture_;
};

// Effects: asks for the lock until it is free, or for 2 ms if they are in a circle: neither would
//          ever go on then. By polling: ThreadSanitizer rightly reports locks that are waited for
//          in opposite orders.
// Returns: whether the caller owns it.
inline bool lock_unless_stuck(lockable& guard, const word& other_waits) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
  while (!guard.try_lock()) {
    const bool late = std::chrono::steady_clock::now() > limit;
    if (late && other_waits.read() != 0) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return true;
}

// Does what a queue or a mirror leaves to somebody else: threads of their own, which they have if
// nobody else is named.
class background {
public:
  [[nodiscard]] static constexpr std::size_t workers(std::size_t wanted) { return wanted; }
  [[nodiscard]] static std::nullptr_t executor() { return nullptr; }
  [[nodiscard]] static std::nullptr_t scheduler() { return nullptr; }
};

// Effects: calls f(i) for i in [0, n), each on its own thread, none before all exist; joins all.
// Throws: the first exception that left an f.
template <class F>
void together(unsigned n, F f) {
  std::latch start(static_cast<std::ptrdiff_t>(n));
  std::exception_ptr failure;
  std::mutex failure_guard;
  std::vector<std::thread> threads;
  threads.reserve(n);
  for (unsigned i = 0; i < n; ++i) {
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

// Effects: calls f(i) `operations` times on each of `threads` threads i.
// Returns: nanoseconds of wall time per operation and thread.
template <class F>
double price(unsigned threads, std::uint64_t operations, F f) {
  using clock = std::chrono::steady_clock;
  std::mutex guard;
  clock::time_point first = clock::time_point::max();
  clock::time_point last = clock::time_point::min();
  together(threads, [&](unsigned lane) {
    const clock::time_point begin = clock::now();
    for (std::uint64_t i = 0; i < operations; ++i) f(lane);
    const clock::time_point end = clock::now();
    const std::lock_guard lock(guard);
    if (begin < first) first = begin;
    if (end > last) last = end;
  });
  const std::chrono::duration<double, std::nano> spent = last - first;
  return operations == 0 ? 0.0 : spent.count() / static_cast<double>(operations);
}

}  // namespace lab
