// SPDX-License-Identifier: BSL-1.0
// Keyed mirrors under threads, and against a network that delays, reorders, repeats and loses.
// The oracle is the target. The naive forms go through the same and must be seen to lose there.

#include <interlock/keyed_mirror.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/monitors.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/jobs_by_hand.hpp"
#include "support/threads.hpp"

using interlock::keyed_mirror;
using interlock::mirror_flush_result;
using interlock::mirror_write_result;

namespace {

using number = std::uint64_t;

struct held {
  number value;
  number version;
};

constexpr std::size_t keys = 6;

// Rows that must not be written to by two at once: no lock, so ThreadSanitizer looks on too.
struct table {
  struct alignas(64) row {
    std::atomic<number> source{0};
    std::atomic<int> inside{0};
    number value = 0;
    std::atomic<number> published{0};
  };
  std::array<row, keys> rows;
  std::atomic<bool> sound{true};

  auto reads() {
    return [this](std::size_t key) {
      const number now = rows[key].source.load(std::memory_order_relaxed);
      return held{now, now};
    };
  }
  mirror_write_result write(std::size_t key, number value) {
    row& of = rows[key];
    if (of.inside.fetch_add(1) != 0 || value < of.value) sound = false;
    of.value = value;
    of.published = value;
    of.inside.fetch_sub(1);
    return mirror_write_result::applied;
  }
  auto writes() {
    return [this](std::size_t key, number value, number) { return write(key, value); };
  }
  number change(std::size_t key) {
    return rows[key].source.fetch_add(1, std::memory_order_relaxed) + 1;
  }
};

using mirror_type = keyed_mirror<std::size_t, number>;

// A server behind a network. Messages arrive in any order, twice, or after the sender gave up.
class network {
public:
  network(unsigned seed, bool guarded) : random_(seed), guarded_(guarded) {}

  mirror_write_result send(std::size_t key, number value, number version) {
    switch (random_() % 6) {
      case 0: return mirror_write_result::failed;  // never left
      case 1: return mirror_write_result::unknown;  // lost on the way
      case 2:  // late, or the reply was lost
        under_way_.push_back({key, value, version});
        return mirror_write_result::unknown;
      case 3: under_way_.push_back({key, value, version}); [[fallthrough]];  // repeated
      default: return arrive({key, value, version});
    }
  }
  void deliver_one() {
    if (under_way_.empty()) return;
    std::swap(under_way_[random_() % under_way_.size()], under_way_.back());
    arrive(under_way_.back());
    if (random_() % 4 != 0) under_way_.pop_back();
  }
  void deliver_all() {
    for (const message& each : under_way_) arrive(each);
    under_way_.clear();
  }
  number value(std::size_t key) const { return rows_[key].value; }
  int regressions() const { return regressions_; }
  unsigned dice() { return static_cast<unsigned>(random_()); }

private:
  struct message {
    std::size_t key;
    number value;
    number version;
  };
  struct row {
    number value = 0;
    number version = 0;
  };

  mirror_write_result arrive(const message& what) {
    row& of = rows_[what.key];
    if (guarded_ && what.version <= of.version) return mirror_write_result::stale;
    if (what.value < of.value) ++regressions_;
    of = {what.value, what.version};
    return mirror_write_result::applied;
  }

  std::mt19937 random_;
  const bool guarded_;
  std::array<row, keys> rows_{};
  std::vector<message> under_way_;
  int regressions_ = 0;
};

struct outcome {
  int regressions = 0;
  bool right_in_the_end = true;
};

// Changes, jobs and deliveries in an order that is drawn; then all comes to rest.
outcome simulate(unsigned seed, bool guarded) {
  network net(seed, guarded);
  std::array<number, keys> source{};
  support::jobs_by_hand jobs;
  {
    mirror_type::options how;
    how.parallel = 1 + seed % 3;
    how.delay = [](std::size_t failures) {
      return std::chrono::seconds(std::min<std::size_t>(failures, 4));
    };
    if (seed % 2 == 0) how.min_interval = std::chrono::seconds(1);
    how.schedule = jobs.schedule();
    how.now = jobs.clock();
    mirror_type rows([&](std::size_t key) { return held{source[key], source[key]}; },
                     [&](std::size_t key, number value, number version) {
                       return net.send(key, value, version);
                     },
                     std::move(how));
    const support::ends_here end{jobs};
    for (int step = 0; step < 400; ++step) {
      switch (net.dice() % 3) {
        case 0: {
          const std::size_t key = net.dice() % keys;
          ++source[key];
          rows.touch(key);
          break;
        }
        case 1:
          if (!jobs.line.empty()) jobs.run_one();
          break;
        default: net.deliver_one();
      }
    }
    jobs.run_all();
  }
  net.deliver_all();
  outcome seen{net.regressions(), true};
  for (std::size_t key = 0; key < keys; ++key) {
    if (net.value(key) != source[key]) seen.right_in_the_end = false;
  }
  return seen;
}

// ---- one history of a row -----------------------------------------------------------------------

using interlock::testing::history;
using interlock::testing::monitor_peak;
using interlock::testing::peak_call;
using interlock::testing::ticket_clock;
using interlock::testing::verdict;

// A row is a maximum of versions, if all is right: a write that takes effect raises it, a flush
// that is answered has found it there, and between the two are the readers. Threads 0 and 1 change
// and flush, 2 and 3 read; the writes have a log of their own, as they never overlap.
constexpr std::size_t log_of_writes = 4;
using row_history = history<peak_call>;

struct watched_row {
  explicit watched_row(row_history& log) : calls(log) {}

  void write(std::size_t by, number version) {
    calls.record(by, {peak_call::kind::raised, version}, [&](peak_call&) {
      at_target.store(version, std::memory_order_release);
    });
  }
  void read(std::size_t by) {
    calls.record(by, {}, [&](peak_call& call) {
      call.value = at_target.load(std::memory_order_acquire);
    });
  }
  row_history& calls;
  std::atomic<number> source{0};
  std::atomic<number> at_target{0};
};

// Effects: two threads call change(row, thread) so often, and two read.
template <class Change>
void play(watched_row& row, std::size_t rounds, Change change) {
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id < 2) {
        change(row, id);
      } else {
        row.read(id);
        if (i % 8 == 0) std::this_thread::yield();
      }
    }
    row.read(id);
  });
}

// The mirror, whose target fails and answers nothing now and then.
verdict history_of_mirror(std::size_t rounds) {
  ticket_clock clock;
  row_history calls(clock, 5);
  watched_row row(calls);
  number applied = 0;  // of the target: a write that was applied, and timed out, is stale
  unsigned tries = 0;
  mirror_type::options how;
  how.delay = [](std::size_t) { return std::chrono::nanoseconds(0); };
  mirror_type rows(
      [&](std::size_t) {
        const number now = row.source.load(std::memory_order_relaxed);
        return held{now, now};
      },
      [&](std::size_t, number, number version) {
        ++tries;
        if (tries % 5 == 0) return mirror_write_result::failed;
        if (version <= applied) return mirror_write_result::stale;
        row.write(log_of_writes, applied = version);
        return tries % 7 == 0 ? mirror_write_result::unknown : mirror_write_result::applied;
      },
      std::move(how));
  play(row, rounds, [&](watched_row& of, std::size_t id) {
    const number mine = of.source.fetch_add(1, std::memory_order_relaxed) + 1;
    rows.touch(0);
    if (mine % 4 != 0) return;
    auto open = calls.begin(id, {});
    while (rows.flush(0) != mirror_flush_result::flushed) {
    }
    open.answer({peak_call::kind::too_low, mine});
  });
  const bool all = rows.close().empty() && row.at_target == row.source;
  return all ? monitor_peak(calls.operations()) : verdict{"the last value is missing"};
}

// Each thread writes what it saw.
verdict history_of_snapshots(std::size_t rounds, bool reads_again) {
  ticket_clock clock;
  row_history calls(clock, 5);
  watched_row row(calls);
  play(row, rounds, [&](watched_row& of, std::size_t id) {
    number now = of.source.fetch_add(1) + 1;
    if (reads_again) now = of.source.load();
    std::this_thread::yield();
    of.write(id, now);
  });
  return monitor_peak(calls.operations());
}

}  // namespace

TEST_CASE("writes, answered flushes and reads of a row are one history of a maximum") {
  CHECK(history_of_mirror(support::rounds(20'000)).violation == "");
}

TEST_CASE("negative control: the history of snapshots is none of a maximum") {
  for (const bool reads_again : {false, true}) {
    verdict seen;
    for (int attempt = 0; attempt < 100 && seen; ++attempt) {
      seen = history_of_snapshots(support::rounds(2'000), reads_again);
    }
    CHECK(seen.violation.find("raised to") != std::string::npos);
  }
}

TEST_CASE("a network that delays, reorders, repeats and loses takes no guarded row back") {
  for (unsigned seed = 0; seed < support::rounds(2'000); ++seed) {
    const outcome seen = simulate(seed, true);
    REQUIRE(seen.regressions == 0);
    REQUIRE(seen.right_in_the_end);
  }
}

TEST_CASE("negative control: a row that takes whatever arrives goes back, and may end so") {
  int regressions = 0;
  int wrong = 0;
  for (unsigned seed = 0; seed < 50; ++seed) {
    const outcome seen = simulate(seed, false);
    regressions += seen.regressions;
    wrong += seen.right_in_the_end ? 0 : 1;
  }
  CHECK(regressions > 0);
  CHECK(wrong > 0);
}

TEST_CASE("a million changes of a few keys become few writes, none older than the one before") {
  table slow;
  const std::size_t each = support::rounds(1'000'000) / 4;
  number writes = 0;
  {
    mirror_type::options how;
    how.parallel = 2;
    mirror_type rows(slow.reads(),
                     [&](std::size_t key, number value, number) {
                       std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the store
                       return slow.write(key, value);
                     },
                     std::move(how));
    support::run_threads(4, [&](std::size_t id) {
      auto handle = rows.pin(id % 2);
      for (std::size_t i = 0; i < each; ++i) {
        slow.change(id % 2);
        id < 2 ? void(handle.touch()) : void(rows.touch(id % 2));
      }
    });
    CHECK(rows.close().empty());
    writes = rows.statistics().writes;
  }
  CHECK(slow.rows[0].value + slow.rows[1].value == 4 * each);
  CHECK(slow.sound);
  CHECK(writes * 20 < each);
}

TEST_CASE("every touch of a key arrives, by key and by handle, as keys come and go") {
  table rows_of;
  mirror_type::options how;
  how.parallel = 2;
  mirror_type rows(rows_of.reads(), rows_of.writes(), std::move(how));
  std::atomic<bool> all_arrived{true};
  support::run_threads(3, [&](std::size_t id) {
    for (std::size_t i = 0; i < support::rounds(5'000) && all_arrived; ++i) {
      const std::size_t key = (id + i) % keys;
      const number mine = rows_of.change(key);
      if (i % 3 == 0) {
        rows.pin(key).touch();
      } else {
        rows.touch(key);
      }
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (rows_of.rows[key].published < mine && all_arrived) {
        if (std::chrono::steady_clock::now() > end) all_arrived = false;
        std::this_thread::yield();
      }
    }
  });
  CHECK(all_arrived);
  CHECK(rows.close().empty());
  CHECK(rows_of.sound);
}

TEST_CASE("keys that fail, throw, rest and are flushed end with their last value") {
  table rows_of;
  std::atomic<unsigned> calls{0};
  {
    mirror_type::options how;
    how.parallel = 3;
    how.attempts = 3;
    how.min_interval = std::chrono::microseconds(50);
    how.max_staleness = std::chrono::milliseconds(5);
    how.delay = [](std::size_t) { return std::chrono::microseconds(20); };
    how.on_failure = [](std::size_t, const interlock::mirror_failure&) {};
    mirror_type rows(rows_of.reads(),
                     [&](std::size_t key, number value, number) {
                       switch (calls.fetch_add(1) % 5) {
                         case 0: throw std::runtime_error("no connection");
                         case 1: return mirror_write_result::failed;
                         case 2: rows_of.write(key, value); return mirror_write_result::unknown;
                         default: return rows_of.write(key, value);
                       }
                     },
                     std::move(how));
    support::run_threads(3, [&](std::size_t id) {
      for (std::size_t i = 0; i < support::rounds(2'000); ++i) {
        const std::size_t key = (id * 2 + i) % keys;
        rows_of.change(key);
        rows.touch(key);
        if (i % 100 == 0) static_cast<void>(rows.flush(key));
        if (i % 101 == 0) {
          static_cast<void>(rows.flush_until(std::chrono::steady_clock::now(), key));
        }
      }
    });
    for (std::size_t key = 0; key < keys; ++key) {
      while (rows.flush(key) != mirror_flush_result::flushed) {
      }
    }
  }
  for (auto& row : rows_of.rows) CHECK(row.value == row.source);
  CHECK(rows_of.sound);
}

TEST_CASE("no more targets are called at once than `parallel` says, whoever writes") {
  for (std::size_t round = 0; round < support::rounds(50); ++round) {
    std::atomic<unsigned> asked{0};
    std::mutex guard;
    std::vector<std::thread> threads;
    std::atomic<int> inside{0};
    std::atomic<bool> too_many{false};
    std::atomic<unsigned> tries{0};
    {
      mirror_type::options how;
      how.attempts = 1000;
      how.delay = [](std::size_t) { return std::chrono::microseconds(10); };
      how.schedule = [&](std::chrono::nanoseconds, std::function<void()> job) {
        if (asked.fetch_add(1) % 3 == 2) throw std::runtime_error("full");
        const std::lock_guard lock(guard);
        threads.emplace_back([run = std::move(job)] { run(); });
      };
      mirror_type rows([](std::size_t) { return held{1, 1}; },
                       [&](std::size_t, number, number) {
                         if (inside.fetch_add(1) != 0) too_many = true;
                         std::this_thread::yield();
                         inside.fetch_sub(1);
                         return tries.fetch_add(1) % 2 == 0 ? mirror_write_result::failed
                                                            : mirror_write_result::applied;
                       },
                       std::move(how));
      support::run_threads(2, [&](std::size_t id) {
        for (std::size_t i = 0; i < 4; ++i) rows.touch((id + i) % 3);
      });
    }
    const std::lock_guard lock(guard);
    for (auto& each : threads) each.join();
    REQUIRE_FALSE(too_many);
  }
}

TEST_CASE("whatever a touch accepted while others close has arrived when close returns") {
  for (std::size_t round = 0; round < support::rounds(500); ++round) {
    table rows_of;
    mirror_type::options how;
    how.parallel = 2;
    mirror_type rows(rows_of.reads(), rows_of.writes(), std::move(how));
    std::array<std::array<number, keys>, 3> accepted{};
    std::atomic<int> lost{0};
    support::run_threads(3, [&](std::size_t id) {
      auto handle = rows.pin(0);
      for (std::size_t i = 0; i < 20; ++i) {
        const std::size_t key = i % keys;
        const number mine = rows_of.change(key);
        if (!(key == 0 ? handle.touch() : rows.touch(key))) break;
        accepted[id][key] = mine;
        if (id == 1 && i == 10 && !rows.close().empty()) ++lost;
      }
    });
    if (!rows.close().empty()) ++lost;
    REQUIRE(lost == 0);
    for (std::size_t key = 0; key < keys; ++key) {
      for (const auto& of : accepted) REQUIRE(rows_of.rows[key].published >= of[key]);
    }
    REQUIRE(rows_of.sound);
  }
}
