// SPDX-License-Identifier: BSL-1.0
// mirror under threads. The oracle is the target: it knows the newest version it was ever sent, so
// it sees each regression, and its last value has to be the newest that was touched.
// The naive forms go through the same target and must be seen to lose there.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/mirror.hpp>
#include <interlock/versioned.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/threads.hpp"

using interlock::mirror;
using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using interlock::versioned;

namespace {

using number = std::uint64_t;

struct snapshot {
  number value;
  number version;
};

void spend(std::chrono::nanoseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// A slow store that takes what it is given, whatever it holds already.
class plain_store {
public:
  explicit plain_store(std::chrono::nanoseconds latency) : latency_(latency) {}

  void write(number value) {
    spend(latency_);  // on the way: writers overtake each other here
    const std::lock_guard lock(guard_);
    if (value < value_) ++regressions_;
    value_ = value;
  }
  number value() const { return value_; }
  number regressions() const { return regressions_; }

private:
  const std::chrono::nanoseconds latency_;
  std::mutex guard_;
  number value_ = 0;
  number regressions_ = 0;
};

// A store that must not be written to by two at once: no lock, so ThreadSanitizer looks on too.
struct single_writer_store {
  std::chrono::nanoseconds latency{0};
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  number value = 0;
  number regressions = 0;
  std::atomic<number> published{0};

  mirror_write_result write(number sent, number of) {
    if (inside.fetch_add(1) != 0) overlapped = true;
    spend(latency);
    if (of <= value) ++regressions;
    value = sent;
    published = sent;
    inside.fetch_sub(1);
    return mirror_write_result::applied;
  }

  bool is_sound() const { return !overlapped && regressions == 0; }
};

auto write_to(single_writer_store& store) {
  return [&store](number value, number of) { return store.write(value, of); };
}

auto read_from(std::atomic<number>& source) {
  return [&source] {
    const number now = source.load();
    return snapshot{now, now};
  };
}

// An executor of two threads that runs what is due in the order of its moments.
class pool {
public:
  pool() {
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { work(); });
  }
  ~pool() {
    {
      const std::lock_guard lock(guard_);
      stop_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  auto schedule() {
    return [this](std::chrono::nanoseconds delay, std::function<void()> job) {
      const std::lock_guard lock(guard_);
      jobs_.push_back({std::chrono::steady_clock::now() + delay, std::move(job)});
      changed_.notify_one();
    };
  }

private:
  struct entry {
    std::chrono::steady_clock::time_point due;
    std::function<void()> job;
  };

  void work() {
    std::unique_lock lock(guard_);
    for (;;) {
      const auto first = std::min_element(jobs_.begin(), jobs_.end(),
                                          [](auto& a, auto& b) { return a.due < b.due; });
      if (first == jobs_.end()) {
        if (stop_) return;
        changed_.wait(lock);
      } else if (first->due > std::chrono::steady_clock::now()) {
        const auto due = first->due;
        changed_.wait_until(lock, due);
      } else {
        const auto job = std::move(first->job);
        jobs_.erase(first);
        lock.unlock();
        job();
        lock.lock();
      }
    }
  }

  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<entry> jobs_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

// Returns: false if the store has not come as far as `wanted` in ten seconds.
bool arrives(const single_writer_store& store, number wanted) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (store.published.load() < wanted) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// One thread changes, touches, and waits for the change to arrive without any other touch: each
// round meets the end of the write before. A touch that is missed once never arrives.
template <class Mirrored>
bool every_touch_arrives(std::size_t rounds, std::atomic<number>& source,
                         single_writer_store& store, Mirrored& mirrored) {
  for (std::size_t i = 0; i < rounds; ++i) {
    source.fetch_add(1);
    mirrored.touch();
    const number two = source.fetch_add(1) + 1;
    mirrored.touch();  // often during the write that the first began
    if (!arrives(store, two)) return false;
  }
  return true;
}

// The tempting mirror: the flag is cleared when the write is done, with what came meanwhile.
class clears_too_late {
public:
  clears_too_late(std::atomic<number>& source, single_writer_store& store)
      : sender_([this, &source, &store] {
          while (!stop_) {
            if (!dirty_) {
              std::this_thread::yield();
              continue;
            }
            const number now = source.load();
            store.write(now, now);
            dirty_ = false;
          }
        }) {}
  ~clears_too_late() {
    stop_ = true;
    sender_.join();
  }
  void touch() { dirty_ = true; }

private:
  std::atomic<bool> dirty_{false};
  std::atomic<bool> stop_{false};
  std::thread sender_;
};

template <class Step>
number regressions_of(std::size_t threads, Step step) {
  plain_store store(std::chrono::microseconds(1));
  std::atomic<number> counter{0};
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < support::rounds(2'000); ++i) step(counter, store);
  });
  return store.regressions();
}

}  // namespace

TEST_CASE("a million touches become few writes, none older than the one before") {
  for (const std::size_t threads : {2U, 4U}) {
    std::atomic<number> source{0};
    single_writer_store store{std::chrono::microseconds(20)};
    const std::size_t each = support::rounds(1'000'000) / threads;
    number writes = 0;
    {
      mirror copy(read_from(source), write_to(store));
      support::run_threads(threads, [&](std::size_t) {
        for (std::size_t i = 0; i < each; ++i) {
          source.fetch_add(1);
          copy.touch();
        }
      });
      CHECK(copy.flush() == mirror_flush_result::flushed);
      const auto count = copy.statistics();
      writes = count.writes;
      CHECK(count.touches == count.writes + count.skipped);
    }
    CHECK(store.value == each * threads);
    CHECK(store.is_sound());
    CHECK(writes * 20 < each * threads);
  }
}

TEST_CASE("a touch of one load misses no change, whatever its memory order") {
  std::atomic<number> source{0};
  single_writer_store store;
  {
    mirror copy(read_from(source), write_to(store));
    support::run_threads(4, [&](std::size_t) {
      for (std::size_t i = 0; i < support::rounds(200'000); ++i) {
        source.fetch_add(1, std::memory_order_relaxed);
        copy.touch();
      }
    });
  }
  CHECK(store.value == 4 * support::rounds(200'000));
  CHECK(store.is_sound());

  versioned<int> cell(0);
  std::atomic<int> at_target{0};
  mirror copy(cell, [&](int value, number) {
    at_target = value;
    return mirror_write_result::applied;
  });
  bool arrived = true;
  for (int i = 1; arrived && i <= static_cast<int>(support::rounds(20'000)); ++i) {
    cell.store(i);
    copy.touch();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (at_target < i && arrived) arrived = std::chrono::steady_clock::now() < end;
  }
  CHECK(arrived);
}

TEST_CASE("every touch arrives, also one during a write") {
  std::atomic<number> source{0};
  single_writer_store store;
  mirror copy(read_from(source), write_to(store));
  CHECK(every_touch_arrives(support::rounds(20'000), source, store, copy));
  CHECK(store.regressions == 0);
}

TEST_CASE("every touch arrives through an executor that has two threads") {
  pool threads;
  std::atomic<number> source{0};
  single_writer_store store;
  mirror_options options;
  options.schedule = threads.schedule();
  {
    mirror copy(read_from(source), write_to(store), std::move(options));
    CHECK(every_touch_arrives(support::rounds(10'000), source, store, copy));
  }
  CHECK(store.is_sound());
}

TEST_CASE("negative control: a flag that is cleared after the write loses a touch") {
  std::atomic<number> source{0};
  single_writer_store store{std::chrono::microseconds(2)};
  clears_too_late copy(source, store);
  bool lost = false;
  for (int attempt = 0; attempt < 1'000'000 && !lost; ++attempt) {
    source.fetch_add(1);
    copy.touch();
    const number two = source.fetch_add(1) + 1;
    copy.touch();
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (store.published < two && !lost) lost = std::chrono::steady_clock::now() > end;
  }
  CHECK(lost);
}

TEST_CASE("negative control: writing what the increment returned goes back") {
  number seen = 0;
  for (int attempt = 0; attempt < 100 && seen == 0; ++attempt) {
    seen = regressions_of(4, [](std::atomic<number>& counter, plain_store& store) {
      store.write(counter.fetch_add(1) + 1);
    });
  }
  CHECK(seen > 0);
}

TEST_CASE("negative control: fetching the latest before the write still goes back") {
  number seen = 0;
  for (int attempt = 0; attempt < 100 && seen == 0; ++attempt) {
    seen = regressions_of(4, [](std::atomic<number>& counter, plain_store& store) {
      counter.fetch_add(1);
      store.write(counter.load());
    });
  }
  CHECK(seen > 0);
}

TEST_CASE("a target that fails for a while holds the last value in the end") {
  std::atomic<number> source{0};
  single_writer_store store;
  std::atomic<std::uint64_t> calls{0};
  mirror_options options;
  options.attempts = 3;
  options.delay = [](std::size_t) { return std::chrono::microseconds(5); };
  std::atomic<int> surfaced{0};
  options.on_failure = [&](const interlock::mirror_failure&) { ++surfaced; };
  {
    mirror copy(
        read_from(source),
        [&](number value, number of) {
          switch (calls.fetch_add(1) % 5) {
            case 0: return store.write(value, of);
            case 1: throw std::runtime_error("no connection");
            default: return mirror_write_result::failed;
          }
        },
        std::move(options));
    support::run_threads(3, [&](std::size_t id) {
      for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
        source.fetch_add(1);
        copy.touch();
        if (id == 0 && i % 1000 == 0) static_cast<void>(copy.flush());
      }
    });
    while (copy.flush() != mirror_flush_result::flushed) {
    }
    CHECK(copy.statistics().failures > 0);
  }
  CHECK(surfaced > 0);
  CHECK(store.value == 3 * support::rounds(20'000));
  CHECK(store.is_sound());
}

TEST_CASE("whatever touch accepted while others close has arrived when close returns") {
  pool threads;
  for (std::size_t round = 0; round < support::rounds(1'000); ++round) {
    std::atomic<number> source{0};
    single_writer_store store;
    mirror_options options;
    if (round % 2 == 1) options.schedule = threads.schedule();
    mirror copy(read_from(source), write_to(store), std::move(options));
    std::vector<number> accepted(4, 0);
    std::atomic<number> at_close{0};
    std::atomic<int> unclosed{0};
    support::run_threads(4, [&](std::size_t id) {
      for (int i = 0; i < 20; ++i) {
        const number mine = source.fetch_add(1) + 1;
        if (!copy.touch()) break;
        accepted[id] = mine;
        if (id == 3 && i % 5 == 0 && copy.flush() == mirror_flush_result::failed) ++unclosed;
        if (id < 2 && i == 10) {
          if (copy.close() != mirror_flush_result::flushed) ++unclosed;
          at_close = store.published.load();
        }
      }
    });
    REQUIRE(unclosed == 0);
    REQUIRE(at_close >= *std::max_element(accepted.begin(), accepted.end()));
    REQUIRE(store.is_sound());
  }
}

namespace {

template <class Mirror>
support::detached flushes_and_counts(Mirror& copy, interlock::inplace_stop_token stop,
                                     single_writer_store& store, number mine,
                                     std::atomic<std::size_t>& answered, std::atomic<int>& wrong) {
  const auto said = co_await copy.async_flush(stop);
  if (said == mirror_flush_result::flushed && store.published < mine) ++wrong;
  ++answered;
}

}  // namespace

TEST_CASE("flushes end beside an executor that refuses now and then, and nothing is lost") {
  constexpr std::size_t rounds = 300;
  pool threads;
  for (std::size_t round = 0; round < support::rounds(20); ++round) {
    std::atomic<number> source{0};
    single_writer_store store;
    std::atomic<std::uint64_t> asked{0};
    std::atomic<std::uint64_t> tried{0};
    std::atomic<std::size_t> answered{0};
    std::atomic<int> wrong{0};
    std::deque<interlock::inplace_stop_source> stops(rounds);
    mirror_options options;
    options.delay = [](std::size_t) { return std::chrono::microseconds(20); };
    options.schedule = [&, runs = threads.schedule()](std::chrono::nanoseconds delay, auto job) {
      if (asked.fetch_add(1) % 16 < 12) throw std::runtime_error("full");
      runs(delay, std::move(job));
    };
    {
      mirror copy(
          read_from(source),
          [&](number value, number of) {
            return tried.fetch_add(1) % 3 == 0 ? mirror_write_result::failed
                                               : store.write(value, of);
          },
          std::move(options));
      support::run_threads(4, [&](std::size_t id) {
        for (std::size_t i = 0; i < rounds; ++i) {
          const number mine = source.fetch_add(1) + 1;
          const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 40);
          switch (id) {
            case 0: copy.touch(); break;
            case 1:
              if (copy.flush_until(soon) == mirror_flush_result::flushed &&
                  store.published < mine) {
                ++wrong;
              }
              break;
            case 2:
              flushes_and_counts(copy, stops[i].get_token(), store, mine, answered, wrong);
              break;
            default: stops[i].request_stop(), copy.touch();
          }
        }
      });
      CHECK(copy.close() == mirror_flush_result::flushed);
    }
    REQUIRE(answered == rounds);
    REQUIRE(wrong == 0);
    REQUIRE(store.value == 4 * rounds);
    REQUIRE(store.is_sound());
  }
}
