// SPDX-License-Identifier: BSL-1.0
// What keyed_mirror promises, most of it on one thread: an executor that runs its jobs when told
// makes every moment between two writes reachable.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_mirror.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/jobs_by_hand.hpp"
#include "support/threads.hpp"

using interlock::keyed_mirror;
using interlock::mirror_failure;
using interlock::mirror_flush_result;
using interlock::mirror_snapshot;
using interlock::mirror_version;
using interlock::mirror_write_result;
using std::chrono::nanoseconds;
using support::detached;
using support::jobs_by_hand;
using namespace std::chrono_literals;

namespace {

using rows_type = keyed_mirror<std::string, int>;
using snapshot = rows_type::snapshot;

template <class Version = std::uint64_t>
struct present {  // what cannot be deleted
  int value;
  Version version;
};

// A table of numbers whose versions count its changes, a target that keeps what it was sent.
struct bench {
  std::map<std::string, snapshot> source;
  std::uint64_t changes = 0;
  std::vector<std::pair<std::string, int>> written;
  std::map<std::string, int> failures_to_come;
  mirror_write_result failure = mirror_write_result::failed;
  std::vector<std::pair<std::string, mirror_failure>> surfaced;
  jobs_by_hand jobs;

  void set(const std::string& key, std::optional<int> value) { source[key] = {value, ++changes}; }
  auto reads() {
    return [this](const std::string& key) { return source.at(key); };
  }
  auto writes() {
    return [this](const std::string& key, std::optional<int> value, std::uint64_t) {
      if (failures_to_come[key] > 0) {
        --failures_to_come[key];
        return failure;
      }
      written.emplace_back(key, value.value_or(-1));
      return mirror_write_result::applied;
    };
  }
  rows_type::options options() {
    rows_type::options chosen;
    chosen.attempts = 2;
    chosen.on_failure = [this](const std::string& key, const mirror_failure& failed) {
      surfaced.emplace_back(key, failed);
    };
    chosen.delay = [](std::size_t failures) { return std::chrono::seconds(failures); };
    chosen.schedule = jobs.schedule();
    chosen.now = jobs.clock();
    return chosen;
  }
  using list = std::vector<std::pair<std::string, int>>;
};

// Runs the jobs left and lets the mirror that is declared after it end on this thread.
using support::ends_here;

}  // namespace

TEST_CASE("After a touch of a key a write begins that reads what its source held then or later") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  on.set("a", 1);
  on.set("b", 2);
  CHECK(rows.touch("a"));
  CHECK(rows.touch("b"));
  on.set("a", 3);  // not touched yet: read all the same, since the write has not begun
  CHECK(on.written.empty());
  CHECK(rows.dirty_keys_approx() == 2);
  on.jobs.run_all();
  CHECK(on.written == bench::list{{"a", 3}, {"b", 2}});
}

TEST_CASE(
    "At most one write of a key is in flight and touches meanwhile become one more write") {
  std::uint64_t value = 0;
  int inside = 0;
  int writes = 0;
  jobs_by_hand jobs;
  std::function<void()> during;
  using counters = keyed_mirror<int, int>;
  counters::options options;
  options.parallel = 4;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  counters rows([&](int) { return present<>{static_cast<int>(value), value}; },
                [&](int, int, std::uint64_t) {
                  CHECK(++inside == 1);
                  if (++writes == 1) during();
                  --inside;
                  return mirror_write_result::applied;
                },
                std::move(options));
  const ends_here end{jobs};
  during = [&] {
    for (int i = 0; i < 1000; ++i) {
      ++value;
      rows.touch(7);
    }
    jobs.run_all();  // those of other threads, if there were any
  };
  ++value;
  rows.touch(7);
  jobs.run_all();
  CHECK(writes == 2);
}

TEST_CASE("Keys do not wait for each other while a sender is free") {
  jobs_by_hand jobs;
  using counters = keyed_mirror<int, int>;
  counters::options options;
  options.parallel = 2;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  std::vector<int> order;
  counters rows([](int) { return present<>{1, 1}; },
                [&](int key, int, std::uint64_t) {
                  if (key == 1) jobs.run_all();  // as long as this lasts the other one is done
                  order.push_back(key);
                  return mirror_write_result::applied;
                },
                std::move(options));
  const ends_here end{jobs};
  rows.touch(1);
  rows.touch(2);
  rows.touch(3);
  CHECK(jobs.line.size() == 2);
  jobs.run_all();
  CHECK(order == std::vector<int>{2, 3, 1});
}

TEST_CASE("A failed write of a key is tried again with what its source holds by then") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  on.set("a", 1);
  on.set("b", 5);
  on.failures_to_come["a"] = 3;
  rows.touch("a");
  rows.touch("b");
  on.jobs.run_until(on.jobs.now);
  CHECK(on.written == bench::list{{"b", 5}});  // does not wait behind the one that failed
  on.set("a", 2);                              // not even touched
  on.jobs.run_until(on.jobs.now + 1s);
  CHECK(on.surfaced.size() == 1);
  CHECK(on.surfaced[0].first == "a");
  CHECK(on.surfaced[0].second.failures == 2);
  CHECK(on.surfaced[0].second.result == mirror_write_result::failed);
  on.jobs.run_all();
  CHECK(on.written == bench::list{{"b", 5}, {"a", 2}});
  CHECK(rows.statistics().failures == 3);
  CHECK(on.jobs.now == jobs_by_hand().now + 6s);
}

TEST_CASE("Keys that are confirmed take no memory") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  for (int i = 0; i < 1000; ++i) {
    on.set(std::to_string(i), i);
    rows.touch(std::to_string(i));
  }
  CHECK(rows.known_keys_approx() == 1000);
  on.jobs.run_all();
  CHECK(rows.known_keys_approx() == 0);
  CHECK(on.written.size() == 1000);
  {
    auto pinned = rows.pin("7");
    CHECK(rows.known_keys_approx() == 1);
    CHECK(pinned.key() == "7");
    on.set("7", 70);
    CHECK(pinned.touch());
    on.jobs.run_all();
    CHECK(on.written.back() == std::pair<std::string, int>{"7", 70});
    CHECK(rows.known_keys_approx() == 1);
  }
  CHECK(rows.known_keys_approx() == 0);
}

TEST_CASE("a key that is due takes 256 bytes beside the key") {
  using row = interlock::detail::mirror_row<std::string, std::uint64_t, std::string>;
  STATIC_REQUIRE(sizeof(row) <= 256 + 2 * sizeof(std::string));
  STATIC_REQUIRE(sizeof(rows_type) <= 2048);
}

TEST_CASE("Closing reports each key whose last value is not confirmed") {
  bench on;
  auto options = on.options();
  options.schedule = nullptr;
  options.now = nullptr;
  options.delay = [](std::size_t) { return 0ns; };
  rows_type rows(on.reads(), on.writes(), std::move(options));
  on.set("good", 1);
  on.set("bad", 2);
  on.failures_to_come["bad"] = 1'000'000'000;
  rows.touch("good");
  rows.touch("bad");
  const auto lost = rows.close();
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].key == "bad");
  CHECK(lost[0].sent == std::uint64_t{2});
  CHECK_FALSE(lost[0].confirmed);
  CHECK_FALSE(lost[0].in_flight);
  CHECK_FALSE(rows.touch("good"));
  CHECK_FALSE(rows.pin("good").touch());
  CHECK(rows.flush("good") == mirror_flush_result::closed);
  CHECK(rows.close().size() == 1);  // the same, asked again
}

TEST_CASE("a flush is answered by a write that begins after it, not by the one under way") {
  bench on;
  std::vector<mirror_flush_result> said;
  rows_type* self = nullptr;
  std::vector<std::size_t> answered;
  const auto flushes = [](rows_type& all, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush("a"));
  };
  rows_type rows(on.reads(),
                 [&](const std::string&, std::optional<int>, std::uint64_t) {
                   answered.push_back(said.size());
                   if (answered.size() == 1) flushes(*self, said);
                   return mirror_write_result::applied;
                 },
                 on.options());
  self = &rows;
  const ends_here end{on.jobs};
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_one();
  CHECK(said.empty());
  on.jobs.run_all();
  CHECK(said == std::vector{mirror_flush_result::flushed});
}

TEST_CASE("closing with a deadline reports a write that is in flight, and what came during it") {
  std::binary_semaphore begun{0};
  std::binary_semaphore over{0};
  std::atomic<std::uint64_t> changes{1};
  keyed_mirror<int, int> rows(
      [&](int) { return present<>{1, changes.load()}; },
      [&](int, int, std::uint64_t) {
        begun.release();
        over.acquire();
        return mirror_write_result::applied;
      });
  rows.touch(1);
  begun.acquire();
  const bool again = GENERATE(false, true);
  if (again) {
    ++changes;
    rows.touch(1);
  }
  const auto lost = rows.close_until(std::chrono::steady_clock::now());
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].in_flight);
  over.release();
  CHECK(rows.close().size() == (again ? 1U : 0U));
}

TEST_CASE("a key that rests when closing ends by its deadline is not reported") {
  bench on;
  auto options = on.options();
  options.min_interval = 1h;
  rows_type rows(on.reads(), on.writes(), std::move(options));
  const ends_here end{on.jobs};
  const auto kept = rows.pin("a");
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_one();
  CHECK(rows.close_until(std::chrono::steady_clock::now()).empty());
  auto late = rows.pin("b");  // of a mirror that is closed
  CHECK_FALSE(late.touch());
}

TEST_CASE("closing during a write begins the next one at once, whatever min_interval says") {
  std::binary_semaphore begun{0};
  std::binary_semaphore over{0};
  std::atomic<std::uint64_t> changes{1};
  keyed_mirror<int, int>::options how;
  how.min_interval = 1h;
  keyed_mirror<int, int> rows([&](int) { return present<>{1, changes.load()}; },
                              [&](int, int, std::uint64_t) {
                                begun.release();
                                over.acquire();
                                return mirror_write_result::applied;
                              },
                              std::move(how));
  rows.touch(1);
  begun.acquire();
  ++changes;
  rows.touch(1);
  std::thread other([&] {
    while (rows.touch(1)) std::this_thread::yield();  // until the mirror is being closed
    over.release();
    begun.acquire();
    over.release();
  });
  CHECK(rows.close().empty());
  CHECK(rows.statistics().writes == 2);
  other.join();
}

TEST_CASE("keys whose time comes together are written side by side") {
  bench on;
  auto options = on.options();
  options.parallel = 2;
  std::vector<std::size_t> others;
  rows_type rows(on.reads(),
                 [&, left = 2](const std::string&, std::optional<int>, std::uint64_t) mutable {
                   others.push_back(on.jobs.line.size());
                   return left-- > 0 ? mirror_write_result::failed : mirror_write_result::applied;
                 },
                 std::move(options));
  const ends_here end{on.jobs};
  for (const char* key : {"a", "b"}) {
    on.set(key, 1);
    rows.touch(key);
  }
  on.jobs.run_until(on.jobs.now);
  REQUIRE(others.size() == 2);
  REQUIRE(on.jobs.line.size() == 1);  // the wait of both
  on.jobs.run_one();
  CHECK(others.size() == 3);
  CHECK(others[2] == 1);  // a job has been called for the other key
  on.jobs.run_all();
  CHECK(others.size() == 4);
}

TEST_CASE("closing with a deadline reports what was not even tried") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  on.set("a", 1);
  on.set("b", 2);
  rows.touch("a");
  rows.touch("b");
  const auto lost = rows.close_until(std::chrono::steady_clock::now());  // nobody runs the jobs
  REQUIRE(lost.size() == 2);
  CHECK_FALSE(lost[0].sent);
  CHECK_FALSE(lost[0].in_flight);
  on.jobs.run_all();
  CHECK(on.written.empty());  // then nothing more
}

TEST_CASE("writes of a key begin min_interval apart, and a touch in between is one load more") {
  bench on;
  auto options = on.options();
  options.min_interval = 10s;
  rows_type rows(on.reads(), on.writes(), std::move(options));
  const ends_here end{on.jobs};
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_until(on.jobs.now);
  CHECK(on.written == bench::list{{"a", 1}});  // the first one at once
  const auto first = on.jobs.now;
  on.jobs.run_until(first + 3s);
  on.set("a", 2);
  rows.touch("a");
  on.jobs.run_until(first + 9s);
  CHECK(on.written.size() == 1);
  on.jobs.run_until(first + 10s);
  CHECK(on.written == bench::list{{"a", 1}, {"a", 2}});
  CHECK(rows.known_keys_approx() == 1);  // rests
  on.jobs.run_until(first + 20s);
  CHECK(rows.known_keys_approx() == 0);
}

TEST_CASE("what is not confirmed within max_staleness is tried by then and surfaced once") {
  bench on;
  auto options = on.options();
  options.attempts = 100;
  options.delay = [](std::size_t) { return 1h; };
  options.max_staleness = 10s;
  rows_type rows(on.reads(), on.writes(), std::move(options));
  const ends_here end{on.jobs};
  on.set("a", 1);
  on.failures_to_come["a"] = 3;
  const auto first = on.jobs.now;
  rows.touch("a");
  on.jobs.run_until(first);
  CHECK(on.surfaced.empty());
  on.jobs.run_until(first + 10s);
  REQUIRE(on.surfaced.size() == 1);
  CHECK(on.surfaced[0].second.overdue);
  on.jobs.run_until(first + 30s);
  CHECK(on.surfaced.size() == 1);
  CHECK(on.written == bench::list{{"a", 1}});
  CHECK(rows.statistics().overdue == 1);
  on.set("a", 2);  // and once more
  on.failures_to_come["a"] = 2;
  rows.touch("a");
  on.jobs.run_until(on.jobs.now + 30s);
  CHECK(on.surfaced.size() == 2);
  CHECK(rows.statistics().overdue == 2);
}

TEST_CASE("a wait after a failure ends with max_staleness, counted from the touch") {
  bench on;
  auto options = on.options();
  options.attempts = 100;
  options.delay = [](std::size_t) { return 1h; };
  options.max_staleness = 10s;
  std::vector<std::chrono::nanoseconds> tries;
  const auto begin = on.jobs.now;
  rows_type rows(on.reads(),
                 [&](const std::string&, std::optional<int>, std::uint64_t) {
                   tries.push_back(on.jobs.now - begin);
                   on.jobs.now += 4s;  // until its failure is known
                   return mirror_write_result::failed;
                 },
                 std::move(options));
  const ends_here end{on.jobs};
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_until(begin + 25s);
  CHECK(tries == std::vector<std::chrono::nanoseconds>{0s, 10s, 24s});
  REQUIRE(on.surfaced.size() == 1);
  CHECK(on.surfaced[0].second.failures == 2);
  static_cast<void>(rows.close_until(on.jobs.now));
}

TEST_CASE("a write that comes late is counted as overdue, also if it is right") {
  bench on;
  auto options = on.options();
  options.max_staleness = 10s;
  rows_type rows(on.reads(),
                 [&](const std::string&, std::optional<int>, std::uint64_t) {
                   on.jobs.now += 1h;
                   return mirror_write_result::applied;
                 },
                 std::move(options));
  const ends_here end{on.jobs};
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_all();
  CHECK(rows.statistics().overdue == 1);
  CHECK(on.surfaced.empty());
}

TEST_CASE("waits for a key that is tried again do not pile up behind one that waits longer") {
  bench on;
  auto options = on.options();
  options.attempts = 1000;
  options.delay = [&](std::size_t) { return on.failures_to_come["slow"] == 0 ? 1h : 1s; };
  rows_type rows(on.reads(), on.writes(), std::move(options));
  const ends_here end{on.jobs};
  on.set("slow", 1);
  on.failures_to_come["slow"] = 1;
  rows.touch("slow");
  on.jobs.run_one();
  REQUIRE(on.jobs.line.size() == 1);
  on.failures_to_come["slow"] = 1;  // its wait is an hour; those of the others are short
  for (int i = 0; i < 20; ++i) {
    on.set("quick", i);
    on.failures_to_come["quick"] = 1;
    rows.touch("quick");
    on.jobs.run_until(on.jobs.now + 2s);
    CHECK(on.written.size() == static_cast<std::size_t>(i) + 1);
    CHECK(on.jobs.line.size() == 1);
  }
  on.failures_to_come["slow"] = 0;
  on.jobs.run_until(on.jobs.now + 2h);
  CHECK(on.written.back() == std::pair<std::string, int>{"slow", 1});
}

TEST_CASE("times without end are a year, and closing waits for none of them") {
  bench on;
  auto options = on.options();
  options.delay = [](std::size_t) { return nanoseconds::max(); };
  options.min_interval = nanoseconds::max();
  options.max_staleness = nanoseconds::max();
  rows_type rows(on.reads(), on.writes(), std::move(options));
  const ends_here end{on.jobs};
  on.set("a", 1);
  on.failures_to_come["a"] = 1;
  rows.touch("a");
  on.jobs.run_one();
  CHECK(on.jobs.line.size() == 1);
  CHECK(on.jobs.line.front().delay == 365 * 24h);
  on.jobs.run_all();
  CHECK(on.written == bench::list{{"a", 1}});
  for (const int next : {2, 3}) {
    on.set("a", next);
    rows.touch("a");
    if (next == 2) on.jobs.run_one();
  }
  on.jobs.open = false;
  CHECK(rows.close().empty());
  CHECK(on.written == bench::list{{"a", 1}, {"a", 2}, {"a", 3}});
}

TEST_CASE("a deletion is a value that is not there, with a version") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  on.set("a", 1);
  rows.touch("a");
  on.jobs.run_all();
  on.set("a", std::nullopt);
  rows.touch("a");
  on.jobs.run_all();
  CHECK(on.written == bench::list{{"a", 1}, {"a", -1}});
}

TEST_CASE("a source that is restored writes on under a new epoch") {
  using table = keyed_mirror<int, int, mirror_version>;
  jobs_by_hand jobs;
  table::options options;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  present<mirror_version> held{1, {1, 500}};
  mirror_version at_target;
  int value = 0;
  table rows([&](int) { return held; },
             [&](int, int sent, const mirror_version& version) {
               if (!(at_target < version)) return mirror_write_result::stale;
               at_target = version;
               value = sent;
               return mirror_write_result::applied;
             },
             std::move(options));
  const ends_here end{jobs};
  rows.touch(1);
  jobs.run_all();
  held = {2, {1, 3}};  // from a backup: counts from an older number on
  rows.touch(1);
  jobs.run_all();
  CHECK(value == 1);
  CHECK(rows.statistics().stale == 1);
  held = {2, {2, 3}};
  rows.touch(1);
  jobs.run_all();
  CHECK(value == 2);
}

TEST_CASE("a time-out that was applied is found out by the next try") {
  jobs_by_hand jobs;
  using table = keyed_mirror<int, int>;
  table::options options;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  std::vector<mirror_write_result> told;
  options.attempts = 1;
  options.on_failure = [&](int, const mirror_failure& f) { told.push_back(f.result); };
  std::uint64_t at_target = 0;
  bool reply_lost = true;
  table rows([](int) { return present<>{7, 7}; },
             [&](int, int, std::uint64_t version) {
               if (version <= at_target) return mirror_write_result::stale;
               at_target = version;
               return std::exchange(reply_lost, false) ? mirror_write_result::unknown
                                                       : mirror_write_result::applied;
             },
             std::move(options));
  const ends_here end{jobs};
  rows.touch(1);
  jobs.run_all();
  const auto counted = rows.statistics();
  CHECK(counted.unknown == 1);
  CHECK(counted.stale == 1);
  CHECK(counted.writes == 0);
  CHECK(told == std::vector{mirror_write_result::unknown});
}

TEST_CASE("an exception of source or target is surfaced as unknown, with the exception") {
  jobs_by_hand jobs;
  using table = keyed_mirror<int, int>;
  table::options options;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  options.attempts = 1;
  std::vector<std::string> told;
  options.on_failure = [&](int, const mirror_failure& f) {
    try {
      std::rethrow_exception(f.error);
    } catch (const std::exception& e) {
      told.push_back(e.what());
    }
  };
  int calls = 0;
  table rows([&](int) -> present<> {
               if (++calls == 1) throw std::runtime_error("no source");
               return {7, 7};
             },
             [&](int, int, std::uint64_t) {
               if (calls == 2) throw std::runtime_error("no target");
               return mirror_write_result::applied;
             },
             std::move(options));
  const ends_here end{jobs};
  rows.touch(1);
  jobs.run_all();
  CHECK(told == std::vector<std::string>{"no source", "no target"});
  CHECK(rows.statistics().writes == 1);
}

TEST_CASE("a flush may ask for a version, and waits until a write carries it") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  std::vector<mirror_flush_result> said;
  const auto flush = [](rows_type& all, std::uint64_t least, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush("a", least));
  };
  on.set("a", 1);
  flush(rows, 2, said);
  on.jobs.run_all();
  CHECK(on.written.size() == 1);
  CHECK(said.empty());  // the source had not come so far
  on.set("a", 2);
  rows.touch("a");
  on.jobs.run_all();
  CHECK(said == std::vector{mirror_flush_result::flushed});
  CHECK(rows.known_keys_approx() == 0);
}

TEST_CASE("a flush ends at a stop or a deadline, and the write follows all the same") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  interlock::manual_timer timer;
  interlock::inplace_stop_source source;
  interlock::inplace_stop_source never;
  std::vector<mirror_flush_result> said;
  on.set("a", 1);
  const auto stops = [](rows_type& all, auto stop, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush("a", stop));
  };
  const auto ends = [](rows_type& all, auto& clock, auto stop, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush_until(clock, clock.now() + 1s, "a", stop));
  };
  stops(rows, source.get_token(), said);
  ends(rows, timer, never.get_token(), said);
  timer.advance_to(timer.now() + 1s);
  CHECK(said == std::vector{mirror_flush_result::timed_out});
  source.request_stop();
  CHECK(said.back() == mirror_flush_result::cancelled);
  stops(rows, source.get_token(), said);  // asked to stop before
  CHECK(said.size() == 3);
  CHECK(on.written.empty());
  on.jobs.run_all();
  CHECK(on.written == bench::list{{"a", 1}});
  CHECK(rows.flush_until(std::chrono::steady_clock::now(), "a") ==
        mirror_flush_result::timed_out);
  on.jobs.run_all();
  CHECK(rows.known_keys_approx() == 0);
}

TEST_CASE("a flush of a version has a deadline and a stop as well") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  interlock::manual_timer timer;
  interlock::inplace_stop_source source;
  std::vector<mirror_flush_result> said;
  on.set("a", 1);
  const auto ends = [](rows_type& all, auto& clock, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush_until(clock, clock.now() + 1s, "a", 99U));
  };
  const auto stops = [](rows_type& all, auto& clock, auto stop, auto& answers) -> detached {
    answers.push_back(co_await all.async_flush_until(clock, clock.now() + 1h, "a", 99U, stop));
  };
  ends(rows, timer, said);
  stops(rows, timer, source.get_token(), said);
  on.jobs.run_all();
  CHECK(said.empty());
  timer.advance_to(timer.now() + 1s);
  CHECK(said == std::vector{mirror_flush_result::timed_out});
  source.request_stop();
  CHECK(said.back() == mirror_flush_result::cancelled);
  CHECK(rows.known_keys_approx() == 0);
}

// A key whose copies run out.
struct scarce {
  explicit scarce(int n) : number(n) {}
  scarce(const scarce& other) : number(other.number) {
    if (copies-- <= 0) throw std::bad_alloc();
  }
  scarce(scarce&&) = default;
  bool operator==(const scarce&) const = default;
  int number;
  inline static int copies = 0;
};
struct hash_of_scarce {
  std::size_t operator()(const scarce& key) const { return static_cast<std::size_t>(key.number); }
};

TEST_CASE("a call that memory does not suffice for throws, also an awaited one, and keeps nothing") {
  using table = keyed_mirror<scarce, int, std::uint64_t, hash_of_scarce>;
  jobs_by_hand jobs;
  table::options how;
  how.schedule = jobs.schedule();
  table rows([](const scarce&) { return present<>{1, 1}; },
             [](const scarce&, int, std::uint64_t) { return mirror_write_result::applied; }, how);
  const ends_here end{jobs};
  const auto flushes = [](table& all, auto stop, int& refused, int& flushed) -> detached {
    try {
      const auto how_it_ended = co_await all.async_flush(scarce(1), stop);
      flushed += how_it_ended == mirror_flush_result::flushed;
    } catch (const std::bad_alloc&) {
      ++refused;
    }
  };
  interlock::inplace_stop_source source;
  int refused = 0;
  int flushed = 0;
  for (int enough = 0; flushed == 0; ++enough) {
    REQUIRE(refused == enough);
    scarce::copies = enough;
    flushes(rows, source.get_token(), refused, flushed);
    CHECK((refused > enough) == jobs.line.empty());
    jobs.run_all();
    CHECK(rows.known_keys_approx() == 0);
  }
  CHECK(refused > 0);

  scarce::copies = 0;
  const scarce key(1);
  CHECK_THROWS_AS(rows.touch(key), std::bad_alloc);
  CHECK_THROWS_AS(rows.flush(key), std::bad_alloc);
  CHECK_THROWS_AS(rows.pin(key), std::bad_alloc);
  CHECK(rows.known_keys_approx() == 0);
  CHECK(jobs.line.empty());
}

TEST_CASE("a flush that was called off leaves no key behind") {
  bench on;
  rows_type rows(on.reads(), on.writes(), on.options());
  const ends_here end{on.jobs};
  interlock::inplace_stop_source source;
  on.set("a", 1);
  const auto stops = [](rows_type& all, auto stop) -> detached {
    static_cast<void>(co_await all.async_flush("a", std::uint64_t{99}, stop));
  };
  stops(rows, source.get_token());
  on.jobs.run_all();
  CHECK(rows.known_keys_approx() == 1);  // waits for version 99
  source.request_stop();
  CHECK(rows.known_keys_approx() == 0);
}

TEST_CASE("a key and what is refused: no attempts, no senders, bounds that contradict") {
  const auto refused = [](auto change) {
    bench on;
    auto options = on.options();
    change(options);
    CHECK_THROWS_AS(rows_type(on.reads(), on.writes(), std::move(options)), std::invalid_argument);
  };
  refused([](auto& o) { o.attempts = 0; });
  refused([](auto& o) { o.parallel = 0; });
  refused([](auto& o) { o.min_interval = -1s; });
  refused([](auto& o) { o.max_staleness = -1s; });
  refused([](auto& o) { o.min_interval = 2s, o.max_staleness = 1s; });
  refused([](auto& o) { o.schedule = nullptr; });  // a clock, and threads that have their own
}

TEST_CASE("waiting for a keyed mirror inside one of its writes is an error and not a hang") {
  using table = keyed_mirror<int, int>;
  table* self = nullptr;
  std::vector<std::error_code> codes;
  table rows([](int) { return present<>{1, 1}; },
             [&](int, int, std::uint64_t) {
               for (const bool closes : {false, true}) {
                 try {
                   if (closes) {
                     static_cast<void>(self->close());
                   } else {
                     static_cast<void>(self->flush(2));
                   }
                 } catch (const std::system_error& error) {
                   codes.push_back(error.code());
                 }
               }
               return mirror_write_result::applied;
             });
  self = &rows;
  CHECK(rows.flush(1) == mirror_flush_result::flushed);
  const auto expected = std::make_error_code(std::errc::resource_deadlock_would_occur);
  CHECK(codes == std::vector<std::error_code>{expected, expected});
}

TEST_CASE("destroying a keyed mirror inside one of its writes stops the program with the remedy") {
  CHECK(support::death_message([] {
          using table = keyed_mirror<int, int>;
          std::unique_ptr<table> rows;
          rows = std::make_unique<table>([](int) { return present<>{1, 1}; },
                                         [&](int, int, std::uint64_t) {
                                           rows.reset();
                                           return mirror_write_result::applied;
                                         });
          static_cast<void>(rows->flush(1));
        }) ==
        "interlock: mirror: destroyed on the thread that is sending; destroy it on another one\n");
}
