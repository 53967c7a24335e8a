// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a scenario runs under the model explorer, in lab-explain: the same names as in
// real_threads.hpp. Nothing takes time here, as every interleaving is tried; what a seed decides
// there is tried both ways; and the round is the small one that is drawn.

#include <interlock/testing/model.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <interlock/detail/futex_mutex.hpp>
#include <interlock/detail/readers.hpp>
#include <interlock/keyed_serial_queue.hpp>
#include <new>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

// An execution has room for so many events; closing a queue looks at each of its shards.
template <>
inline constexpr unsigned interlock::detail::key_shard_bits<std::hash<std::int64_t>> = 1;

namespace lab {

// What the explorer is told, and what it tells back. The text is of the latest execution, in memory
// that no execution owns.
struct exploration {
  enum class words {
    in_order,  // seq_cst: whatever is lost is lost by the logic alone, in plain interleavings
    relaxed,   // as on real threads: the right forms need no order among the story's words
    plain,     // in order, and what is written over is a plain variable, as in most real code
  };
  static constexpr unsigned most_lanes = 8;

  words memory = words::in_order;
  interlock::testing::world* world = nullptr;
  tally end;           // of the latest execution that came to its end
  bool ended = false;  // whether that is the latest one
  std::array<std::array<char, 64>, most_lanes> lanes{};
};
inline exploration now_explored;

// A word that several requests read and write.
class word {
public:
  word() noexcept = default;
  explicit word(std::int64_t value) noexcept : value_(value) {}

  // order: seq_cst or relaxed, as the exploration says, here and below
  [[nodiscard]] std::int64_t read() const { return shared().load(order()); }
  // Returns: what was there before, for the picture and the oracle alone.
  std::int64_t write(std::int64_t value) {
    if (now_explored.memory == exploration::words::plain) return std::exchange(value_, value);
    return shared().exchange(value, order());
  }
  // Returns: the sum.
  std::int64_t add(std::int64_t amount) { return shared().fetch_add(amount, order()) + amount; }
  // Effects: keeps the larger value.
  void raise(std::int64_t value) {
    std::int64_t seen = read();
    while (seen < value && !shared().compare_exchange_weak(seen, value, order(), order())) {
    }
  }

private:
  static std::memory_order order() noexcept {
    return now_explored.memory == exploration::words::relaxed ? std::memory_order_relaxed
                                                              : std::memory_order_seq_cst;
  }
  [[nodiscard]] std::atomic_ref<std::int64_t> shared() const {
    return std::atomic_ref<std::int64_t>(value_);
  }
  mutable std::int64_t value_ = 0;
};

// A lock that the explorer can look into.
using lockable = interlock::detail::futex_mutex;

// The explorer sees a circle for what it is: a deadlock.
inline bool lock_unless_stuck(lockable& guard, const word&) {
  guard.lock();
  return true;
}

// Every throw is tried.
class dice {
public:
  dice(std::uint64_t, std::uint64_t) noexcept {}
  std::int64_t roll(std::int64_t low, std::int64_t high) {
    return low + interlock::testing::choose(static_cast<unsigned>(high - low) + 1);
  }
};

class network {
public:
  network(const settings& set, unsigned lane) noexcept : dice_(set.seed, lane) {}
  void travel(std::int64_t = 0, std::int64_t = 0) {}
  [[nodiscard]] dice& chance() noexcept { return dice_; }

private:
  dice dice_;
};

// A step is a note to the explorer, which knows where in the interleaving it belongs. Its first two
// characters are the lane and whether it is harmful.
class stage {
public:
  struct held {};

  explicit stage(trace*) noexcept {}  // the explorer keeps the steps
  [[nodiscard]] bool drawn() const noexcept { return true; }
  void name(unsigned lane, const std::string& who) {
    auto& kept = now_explored.lanes.at(lane);
    std::snprintf(kept.data(), kept.size(), "%s", who.c_str());
  }
  template <class Access, class Say>
  auto step(unsigned lane, Access access, Say told,
            std::source_location where = std::source_location::current()) {
    const auto value = access();
    const line said = told(value);
    say(lane, said.text, said.harmful, where);
    return value;
  }
  void say(unsigned lane, const std::string& text, bool harmful = false,
           std::source_location where = std::source_location::current()) {
    const std::string kept = std::to_string(lane) + (harmful ? "!" : " ") + text;
    interlock::testing::note(kept.c_str(), where);
  }
  [[nodiscard]] held hold() const noexcept { return {}; }
  void say(held&, unsigned lane, const std::string& text,
           std::source_location where = std::source_location::current()) {
    say(lane, text, false, where);
  }
};

// Does what a queue or a mirror would do on a thread of its own: the lane that asked for it does it,
// when it has nothing else left to do. So the jobs of two lanes meet in every way.
class background {
public:
  background() { active_ = this; }
  background(const background&) = delete;
  background& operator=(const background&) = delete;
  ~background() { active_ = nullptr; }

  [[nodiscard]] static std::size_t workers(std::size_t) noexcept { return 0; }
  [[nodiscard]] auto executor() {
    return [this](std::function<void()> job) { put(std::move(job)); };
  }
  [[nodiscard]] auto scheduler() {
    return [this](std::chrono::nanoseconds, std::function<void()> job) { put(std::move(job)); };
  }

  // Effects: the calling thread is this lane and does what is left to do when f() has returned.
  template <class F>
  static void as_lane(unsigned lane, F f) {
    lane_ = lane;
    f();
    if (active_ == nullptr) return;
    std::vector<std::function<void()>>& mine = active_->jobs_.at(lane);
    for (std::size_t i = 0; i < mine.size(); ++i) {  // a job may add another
      const std::function<void()> job = std::move(mine[i]);
      job();
    }
    mine.clear();
  }
  // Effects: forgets an execution that was given up half-way.
  static void forget() noexcept { active_ = nullptr; }

private:
  static constexpr unsigned no_lane = exploration::most_lanes;

  // Throws: std::bad_alloc where no lane is left to do it, which makes the caller do it.
  void put(std::function<void()> job) {
    if (lane_ == no_lane) throw std::bad_alloc();
    jobs_.at(lane_).push_back(std::move(job));
  }

  static inline background* active_ = nullptr;
  static inline thread_local unsigned lane_ = no_lane;
  std::array<std::vector<std::function<void()>>, exploration::most_lanes> jobs_;
};

// Effects: has the explorer run f(i) for i in [0, n) in every interleaving.
template <class F>
void together(unsigned n, F f) {
  for (unsigned i = 0; i < n; ++i) {
    now_explored.world->thread([&f, i] {
      interlock::detail::readers::take_place(i + 1);
      background::as_lane(i, [&] { f(i); });
    });
  }
  now_explored.world->join();
}

// Prices are for real threads.
template <class F>
double price(unsigned, std::uint64_t, F) {
  return 0;
}

}  // namespace lab
