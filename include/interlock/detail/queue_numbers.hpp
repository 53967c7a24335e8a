// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_numbers.hpp - what a queue counts and measures.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "lane_work.hpp"
#include "parking.hpp"

namespace interlock {

// Times of one task in 64, in nanoseconds.
struct queue_times {
  std::uint64_t samples = 0;
  std::uint64_t total = 0;
  std::uint64_t longest = 0;
};

// What a queue has measured so far, if queue_options::metrics asks for it. Of queued tasks: one
// that runs at once on its caller does not wait, and is in queue_stats alone.
struct queue_metrics {
  std::uint64_t queued = 0;      // that were put into the line
  std::uint64_t depth = 0;       // of these, that have not begun
  std::uint64_t high_water = 0;  // the largest depth
  queue_times wait;              // from the call to the beginning
  queue_times run;               // from there to the end, of what does not suspend
  std::chrono::nanoseconds oldest{0};  // since when the one that begins next waits; in milliseconds
};

namespace detail {

// Written by the runner alone.
class runner_numbers {
public:
  void count(ending which) noexcept {
    // order: relaxed: only the runner writes, and handing over the role orders the runners
    numbers_[static_cast<std::size_t>(which)].store(value(which) + 1, std::memory_order_relaxed);
  }
  queue_stats read() const noexcept {
    return {0, value(ending::completed), value(ending::failed), value(ending::cancelled), 0};
  }

private:
  std::uint64_t value(ending which) const noexcept {
    // order: relaxed: one number, right by itself
    return numbers_[static_cast<std::size_t>(which)].load(std::memory_order_relaxed);
  }
  std::atomic<std::uint64_t> numbers_[4]{};
};

// Written by anybody: what is counted seldom.
class withdrawn_numbers {
public:
  void count_cancelled() noexcept { add(cancelled_, 1); }
  void count_dropped() noexcept { add(dropped_, 1); }
  void count_failed() noexcept { add(failed_, 1); }
  void add_to(queue_stats& all) const noexcept {
    // order: relaxed: one number, right by itself
    all.failed += failed_.load(std::memory_order_relaxed);
    // order: relaxed: one number, right by itself
    all.cancelled += cancelled_.load(std::memory_order_relaxed);
    // order: relaxed: one number, right by itself
    all.dropped += dropped_.load(std::memory_order_relaxed);
  }

  static void add(std::atomic<std::uint64_t>& number, std::uint64_t more) noexcept {
    // order: relaxed: a number only
    number.fetch_add(more, std::memory_order_relaxed);
  }

private:
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<std::uint64_t> cancelled_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

// What was taken out of a line, and whose captures are being destroyed.
class withdrawals {
public:
  // Effects: with the line locked, or before that: the queue stays until end().
  void begin() noexcept {
    // order: relaxed: the lock of the line orders it with the runner, and so with who destroys
    now_.fetch_add(1, std::memory_order_relaxed);
  }
  // Effects: the last touch of the queue.
  void end() noexcept {
    const park_word* const address = &now_;
    // order: release [withdrawals.end] pairs with [withdrawals.wait]: the last touch of the queue
    now_.fetch_sub(1, std::memory_order_release);
    unpark_all(address);
  }
  // Effects: waits until there are none. Returns: false if the deadline came first.
  bool wait(const std::chrono::steady_clock::time_point* deadline) noexcept {
    bool in_time = true;
    for (unsigned round = 0;; ++round) {
      // order: acquire [withdrawals.wait] pairs with [withdrawals.end]: what it did to the queue is over
      const std::uint32_t left = now_.load(std::memory_order_acquire);
      if (left == 0 || !in_time) return left == 0;
      if (round < spin_rounds) {
        spin_hint(round);
      } else if (deadline == nullptr) {
        park(now_, left);
      } else {
        in_time = park_until(now_, left, *deadline);
      }
    }
  }

private:
  park_word now_{0};
};

class queue_recorder {
public:
  static std::int64_t now() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  // Effects: notes that the work is about to be queued. By anybody.
  template <class Work>
  void queued(Work& w) noexcept {
    // order: relaxed: a number only
    const std::uint64_t earlier = queued_.fetch_add(1, std::memory_order_relaxed);
    w.sampled = earlier % one_in == 0;
    w.since = w.sampled ? now() : coarse_now().count();
    // order: relaxed: a number only
    const std::uint64_t depth = depth_.fetch_add(1, std::memory_order_relaxed) + 1;
    raise(high_water_, depth);
    // The first one of an empty queue waits longest; if two come at once, one of them is it.
    // order: relaxed: a number only
    if (depth == 1) oldest_.store(w.since, std::memory_order_relaxed);
  }
  void withdrawn() noexcept {
    // order: relaxed: a number only
    depth_.fetch_sub(1, std::memory_order_relaxed);
  }

  // By who does it.
  template <class Work>
  void begins(const Work& w) noexcept {
    withdrawn();
    if (w.sampled) note(wait_, now() - w.since);
  }
  // Effects: the same for the only runner of a queue.
  void begins_in_line(const work& w) noexcept {
    begins(w);
    // What is behind it came later; of what comes next, if it is not taken yet, this is the bound.
    const work* const then = w.next;
    // order: relaxed: a number only
    oldest_.store(then != nullptr ? then->since : w.since, std::memory_order_relaxed);
  }
  void ran(std::int64_t time) noexcept { note(run_, time); }

  queue_metrics read() const noexcept {
    // order: relaxed: a number only
    return read(oldest_.load(std::memory_order_relaxed));
  }
  // Preconditions: what begins next waits since then.
  queue_metrics read(std::int64_t oldest) const noexcept {
    queue_metrics all{load(queued_), load(depth_), load(high_water_), read(wait_), read(run_), {}};
    if (all.depth == 0) return all;
    const std::int64_t age = coarse_now().count() - oldest;
    all.oldest = std::chrono::nanoseconds(age > 0 ? age : 0);
    return all;
  }

private:
  using tally = std::atomic<std::uint64_t>;
  struct times {
    tally samples{0};
    tally total{0};
    tally longest{0};
  };

  static std::uint64_t load(const tally& n) noexcept {
    // order: relaxed: one number, right by itself
    return n.load(std::memory_order_relaxed);
  }
  static queue_times read(const times& t) noexcept {
    return {load(t.samples), load(t.total), load(t.longest)};
  }
  static void note(times& t, std::int64_t time) noexcept {
    const auto value = static_cast<std::uint64_t>(time > 0 ? time : 0);
    withdrawn_numbers::add(t.samples, 1);
    withdrawn_numbers::add(t.total, value);
    raise(t.longest, value);
  }
  static void raise(tally& highest, std::uint64_t value) noexcept {
    std::uint64_t seen = load(highest);
    while (seen < value &&
           // order: relaxed/relaxed: a number only
           !highest.compare_exchange_weak(seen, value, std::memory_order_relaxed,
                                          std::memory_order_relaxed)) {
    }
  }

  static constexpr std::uint64_t one_in = 64;

  tally queued_{0};
  tally depth_{0};
  tally high_water_{0};
  std::atomic<std::int64_t> oldest_{0};
  times wait_;
  times run_;
};

}  // namespace detail
}  // namespace interlock
