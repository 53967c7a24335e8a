// SPDX-License-Identifier: BSL-1.0
// What mirror promises, most of it on one thread: an executor that runs its jobs when told makes
// every moment between two writes reachable.

#include <interlock/mirror.hpp>
#include <interlock/task.hpp>
#include <interlock/versioned.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/jobs_by_hand.hpp"
#include "support/threads.hpp"

using interlock::mirror;
using interlock::mirror_failure;
using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using interlock::versioned;
using std::chrono::nanoseconds;

using support::detached;
using support::ends_here;
using support::jobs_by_hand;

namespace {

struct snapshot {
  int value;
  int version;
};

// A source whose version is its value, a target that keeps what it was sent, an executor by hand.
struct bench {
  int value = 1;
  std::vector<int> written;
  int failures_to_come = 0;
  std::vector<mirror_failure> surfaced;
  jobs_by_hand jobs;

  auto source() {
    return [this] { return snapshot{value, value}; };
  }
  auto target() {
    return [this](int sent, int) {
      if (failures_to_come > 0) {
        --failures_to_come;
        return mirror_write_result::failed;
      }
      written.push_back(sent);
      return mirror_write_result::applied;
    };
  }
  mirror_options options() {
    mirror_options chosen;
    chosen.attempts = 2;
    chosen.on_failure = [this](const mirror_failure& failure) { surfaced.push_back(failure); };
    chosen.delay = [](std::size_t failures) { return nanoseconds(failures); };
    chosen.schedule = jobs.schedule();
    chosen.now = jobs.clock();
    return chosen;
  }
};

}  // namespace

TEST_CASE("After a touch a write begins that reads what the source held then or later") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  const ends_here end{on.jobs};
  on.value = 2;
  CHECK(copy.touch());
  on.value = 3;  // not touched yet: read all the same, since the write has not begun
  CHECK(on.written.empty());
  CHECK(on.jobs.run_all() == 1);
  CHECK(on.written == std::vector<int>{3});
  on.value = 4;
  CHECK(copy.touch());
  CHECK(on.jobs.run_all() == 1);
  CHECK(on.written == std::vector<int>{3, 4});
}

TEST_CASE("At most one write is in flight and touches meanwhile become one more write") {
  int value = 0;
  int inside = 0;
  int writes = 0;
  jobs_by_hand jobs;
  mirror_options options;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  std::function<void()> during;
  mirror copy([&] { return snapshot{value, value}; },
              [&](int, int) {
                CHECK(++inside == 1);
                if (++writes == 1) during();
                --inside;
                return mirror_write_result::applied;
              },
              std::move(options));
  const ends_here end{jobs};
  during = [&] {
    for (; value < 1000; ++value) copy.touch();
  };
  copy.touch();
  CHECK(jobs.run_all() == 2);
  CHECK(writes == 2);
  CHECK(copy.statistics().touches == 2);  // the others found a write due
}

TEST_CASE("A version that is not newer than the last confirmed one is never written") {
  std::vector<int> versions{5, 3, 5, 6, 6};
  std::size_t at = 0;
  std::vector<int> written;
  jobs_by_hand jobs;
  mirror_options options;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  mirror copy([&] { return snapshot{0, versions[at]}; },
              [&](int, int version) {
                written.push_back(version);
                return version == 6 ? mirror_write_result::stale : mirror_write_result::applied;
              },
              std::move(options));
  const ends_here end{jobs};
  for (; at + 1 < versions.size(); ++at) {
    copy.touch();
    jobs.run_all();
  }
  copy.touch();
  jobs.run_all();
  CHECK(written == std::vector<int>{5, 6});  // the target had 6 already: as good as confirmed
  const auto count = copy.statistics();
  CHECK(count.writes == 1);
  CHECK(count.stale == 1);
  CHECK(count.skipped == 3);
  CHECK(count.failures == 0);
}

TEST_CASE("A failed write is tried again with what the source holds by then") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  const ends_here end{on.jobs};
  on.failures_to_come = 3;
  copy.touch();
  for (std::size_t failures = 1; failures <= 3; ++failures) {
    on.jobs.run_one();
    ++on.value;  // not even touched
    REQUIRE(on.jobs.line.size() == 1);
    CHECK(on.jobs.line.front().delay == nanoseconds(failures));
  }
  copy.touch();  // while it backs off: nothing more is scheduled
  CHECK(on.jobs.run_all() == 1);
  CHECK(on.written == std::vector<int>{4});
  REQUIRE(on.surfaced.size() == 1);  // after two in a row, and not again after the third
  CHECK(on.surfaced[0].failures == 2);
  CHECK(on.surfaced[0].error == nullptr);
  CHECK(copy.statistics().failures == 3);
}

TEST_CASE(
    "A flush answers flushed only if the target confirmed what the source held at the call or "
    "later") {
  versioned<int> source(0);
  std::atomic<int> at_target{-1};
  mirror copy(source, [&](int value, std::uint64_t) {
    at_target.store(value, std::memory_order_relaxed);
    return mirror_write_result::applied;
  });
  CHECK(copy.flush() == mirror_flush_result::flushed);  // without a touch
  CHECK(at_target == 0);
  std::atomic<bool> all_held{true};
  support::run_threads(2, [&](std::size_t) {
    for (std::size_t i = 0; i < support::rounds(3'000); ++i) {
      int mine = 0;
      source.update([&](int& value) { mine = ++value; });
      if (copy.flush() != mirror_flush_result::flushed) all_held = false;
      if (at_target.load(std::memory_order_relaxed) < mine) all_held = false;
    }
  });
  CHECK(all_held);
}

TEST_CASE("Closing sends what was touched before and then nothing more") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  CHECK(copy.touch());
  on.jobs.run_all();
  on.jobs.open = false;
  on.value = 2;
  CHECK(copy.touch());  // refused by the executor: written here
  CHECK(on.written == std::vector<int>{1, 2});
  CHECK(copy.close() == mirror_flush_result::flushed);
  on.value = 3;
  CHECK_FALSE(copy.touch());
  CHECK(copy.flush() == mirror_flush_result::closed);
  CHECK(copy.close() == mirror_flush_result::flushed);
  CHECK(on.written == std::vector<int>{1, 2});
}

TEST_CASE("a mirror that was never touched writes nothing when it ends") {
  bench on;
  on.jobs.open = false;
  { mirror copy(on.source(), on.target(), on.options()); }
  CHECK(on.written.empty());
}

TEST_CASE("the destructor sends what is due") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    int value = 0;
    int written = 0;
    {
      mirror copy([&] { return snapshot{value, value}; },
                  [&](int sent, int) {
                    written = sent;
                    return mirror_write_result::applied;
                  });
      value = 1;
      copy.touch();
    }
    REQUIRE(written == 1);
  }
}

TEST_CASE("a touch that finds a write due already makes no other") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  const ends_here end{on.jobs};
  CHECK(copy.touch());
  CHECK(copy.touch());
  CHECK(on.jobs.run_all() == 1);
  CHECK(copy.statistics().touches == 1);
  CHECK(on.written == std::vector<int>{1});
}

TEST_CASE("a touch that is refused is not counted") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  CHECK(copy.touch());
  on.jobs.run_all();
  on.jobs.open = false;
  CHECK(copy.close() == mirror_flush_result::flushed);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(copy.touch());
  CHECK(copy.flush() == mirror_flush_result::closed);
  CHECK(copy.statistics().touches == 1);
}

TEST_CASE("an exception of the source or the target is a failed write") {
  int calls = 0;
  std::vector<std::string> errors;
  jobs_by_hand jobs;
  mirror_options options;
  options.attempts = 1;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  options.on_failure = [&](const mirror_failure& failure) {
    try {
      std::rethrow_exception(failure.error);
    } catch (const std::exception& error) {
      errors.push_back(error.what());
    }
  };
  std::vector<int> written;
  mirror copy(
      [&] {
        if (++calls == 1) throw std::runtime_error("no source");
        return snapshot{calls, calls};
      },
      [&](int sent, int) {
        if (calls == 2) throw std::runtime_error("no target");
        written.push_back(sent);
        return mirror_write_result::applied;
      },
      std::move(options));
  const ends_here end{jobs};
  copy.touch();
  CHECK(jobs.run_all() == 3);
  CHECK(errors == std::vector<std::string>{"no source", "no target"});
  CHECK(written == std::vector<int>{3});
}

TEST_CASE("a flush fails when the failures are surfaced, and a later one succeeds") {
  std::atomic<bool> down{true};
  std::atomic<int> surfaced{0};
  mirror_options options;
  options.attempts = 3;
  options.delay = [](std::size_t) { return nanoseconds(1000); };
  options.on_failure = [&](const mirror_failure&) { ++surfaced; };
  mirror copy([] { return snapshot{7, 7}; },
              [&](int, int) {
                return down ? mirror_write_result::failed : mirror_write_result::applied;
              },
              std::move(options));
  CHECK(copy.flush() == mirror_flush_result::failed);
  CHECK(surfaced >= 1);
  down = false;
  CHECK(copy.flush() == mirror_flush_result::flushed);
  CHECK(copy.statistics().writes == 1);
}

TEST_CASE("close gives up after the last attempts and does not sit out a wait") {
  std::atomic<int> tried{0};
  mirror_options options;
  options.attempts = 1;
  options.delay = [](std::size_t) { return std::chrono::hours(1); };
  mirror copy([] { return snapshot{7, 7}; },
              [&](int, int) {
                ++tried;
                return mirror_write_result::failed;
              },
              std::move(options));
  CHECK(copy.flush() == mirror_flush_result::failed);  // the next try is an hour away
  CHECK(copy.close() == mirror_flush_result::failed);
  CHECK(tried == 2);
}

TEST_CASE("no try of closing waits, neither after a failure nor for min_interval") {
  bench on;
  auto options = on.options();
  options.attempts = 3;
  options.delay = [](std::size_t) { return std::chrono::hours(1); };
  options.min_interval = std::chrono::hours(1);
  int tried = 0;
  mirror copy([] { return snapshot{7, 7}; },
              [&](int, int) {
                ++tried;
                return mirror_write_result::failed;
              },
              std::move(options));
  copy.touch();
  CHECK(copy.close() == mirror_flush_result::failed);
  CHECK(tried == 3);
  CHECK(on.jobs.line.size() == 1);  // the first one's job, which finds nobody
}

TEST_CASE("who closes writes what no job has come for, and the job that comes later finds nobody") {
  bench on;
  {
    mirror copy(on.source(), on.target(), on.options());
    CHECK(copy.touch());
    CHECK(copy.close() == mirror_flush_result::flushed);
    CHECK(on.written == std::vector<int>{1});
    CHECK(copy.statistics().writes == 1);
  }
  {
    mirror ends(on.source(), on.target(), on.options());
    CHECK(ends.touch());
    const auto now = std::chrono::steady_clock::now();
    CHECK(ends.close_until(now) == mirror_flush_result::timed_out);
  }  // waits for no job
  CHECK(on.jobs.run_all() == 2);
  CHECK(on.written == std::vector<int>{1});
}

TEST_CASE("an executor that refuses gets the waits as soon as it takes them") {
  bench on;
  int refusals = 0;
  auto options = on.options();
  options.delay = [](std::size_t) { return std::chrono::milliseconds(1); };
  options.schedule = [&, schedule = on.jobs.schedule()](std::chrono::nanoseconds delay, auto job) {
    if (refusals-- > 0) throw std::runtime_error("full");
    schedule(delay, std::move(job));
  };
  int tried = 0;
  mirror copy([] { return snapshot{7, 7}; },
              [&](int, int) {
                ++tried;
                return mirror_write_result::failed;
              },
              std::move(options));
  SECTION("a job") { refusals = 1; }
  SECTION("a job and the wait that this thread begins then") { refusals = 2; }
  copy.touch();
  CHECK(tried == 1);
  REQUIRE(on.jobs.line.size() == 1);
  on.jobs.run_one();
  CHECK(tried == 2);
  const auto now = std::chrono::steady_clock::now();
  CHECK(copy.close_until(now) == mirror_flush_result::timed_out);
}

TEST_CASE("a target that always fails does not hold up the end of a closing with a deadline") {
  bench on;
  on.jobs.open = false;  // so the thread that closes writes
  auto options = on.options();
  options.attempts = std::numeric_limits<std::size_t>::max();
  options.delay = [](std::size_t) { return std::chrono::nanoseconds(0); };
  std::atomic<bool> down{false};
  mirror copy([&, n = 0]() mutable { return ++n, snapshot{n, n}; },
              [&](int, int) {
                return down ? mirror_write_result::failed : mirror_write_result::applied;
              },
              std::move(options));
  CHECK(copy.touch());
  down = true;
  on.jobs.open = true;
  CHECK(copy.touch());  // a job is out
  on.jobs.open = false;
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  CHECK(copy.close_until(soon) == mirror_flush_result::timed_out);
}

TEST_CASE("a touch that is refused while the last write is in flight has no effect") {
  std::binary_semaphore begun{0};
  std::binary_semaphore over{0};
  std::atomic<int> tried{0};
  mirror copy([&, n = 0]() mutable { return ++n, snapshot{n, n}; },
              [&](int, int) {
                ++tried;
                begun.release();
                over.acquire();
                return mirror_write_result::applied;
              });
  CHECK(copy.touch());
  begun.acquire();
  const auto now = std::chrono::steady_clock::now();
  CHECK(copy.close_until(now) == mirror_flush_result::timed_out);
  CHECK_FALSE(copy.touch());
  over.release();
  CHECK(copy.close() == mirror_flush_result::flushed);
  CHECK(tried == 1);
  CHECK(copy.statistics().touches == 1);
}

TEST_CASE("the executor is not called any more when the mirror has ended") {
  std::atomic<int> calls{0};
  std::atomic<bool> inside{false};
  std::atomic<bool> gone{false};
  std::binary_semaphore called{0};
  std::vector<std::thread> threads;
  std::thread inner;
  mirror_options options;
  options.schedule = [&](std::chrono::nanoseconds, std::function<void()> job) {
    if (calls.fetch_add(1) == 0) {
      threads.emplace_back(std::move(job));
      return;
    }
    inside = true;
    inner = std::thread(std::move(job));  // to its end
    inner.join();
    called.release();
    for (int i = 0; i < 2'000 && !gone; ++i) std::this_thread::yield();
    inside = false;
  };
  bool was_inside = true;
  {
    std::atomic<int> source{1};
    std::function<bool()> touch;
    mirror copy(
        [&] {
          const int now = source;
          return snapshot{now, now};
        },
        [&](int value, int) {
          if (value == 1) {
            ++source;
            touch();  // so another job follows
          }
          return mirror_write_result::applied;
        },
        std::move(options));
    touch = [&] { return copy.touch(); };
    copy.touch();
    called.acquire();
    CHECK(copy.close() == mirror_flush_result::flushed);
    was_inside = inside;
    gone = true;
  }
  CHECK_FALSE(was_inside);
  for (auto& each : threads) each.join();
}

TEST_CASE("the waits after failures double up to a second, less up to a half") {
  bench on;
  auto options = on.options();
  options.delay = nullptr;
  mirror copy(on.source(), on.target(), std::move(options));
  const ends_here end{on.jobs};
  on.failures_to_come = 40;
  copy.touch();
  nanoseconds full = std::chrono::milliseconds(10);
  for (int failures = 1; failures <= 40; ++failures) {
    on.jobs.run_one();
    const nanoseconds delay = on.jobs.line.front().delay;
    CHECK(delay <= full);
    CHECK(delay >= full / 2);
    full = std::min<nanoseconds>(2 * full, std::chrono::seconds(1));
  }
}

TEST_CASE("an executor that refuses in the middle leaves the work to the thread that is sending") {
  bench on;
  auto options = on.options();
  options.now = nullptr;  // it sits the waits out
  mirror copy(on.source(), on.target(), std::move(options));
  on.failures_to_come = 3;
  copy.touch();
  on.jobs.open = false;
  CHECK(on.jobs.run_all() == 1);  // tries until it is written
  CHECK(on.written == std::vector<int>{1});
}

TEST_CASE("waiting for the mirror inside one of its writes is an error and not a hang") {
  mirror<std::function<snapshot()>, std::function<mirror_write_result(int, int)>>* self = nullptr;
  std::vector<std::error_code> codes;
  mirror_options options;
  mirror copy(std::function<snapshot()>([] { return snapshot{1, 1}; }),
              std::function<mirror_write_result(int, int)>([&](int, int) {
                for (const bool closes : {false, true}) {
                  try {
                    static_cast<void>(closes ? self->close() : self->flush());
                  } catch (const std::system_error& error) {
                    codes.push_back(error.code());
                  }
                }
                return mirror_write_result::applied;
              }));
  self = &copy;
  CHECK(copy.flush() == mirror_flush_result::flushed);
  const auto expected = std::make_error_code(std::errc::resource_deadlock_would_occur);
  CHECK(codes == std::vector<std::error_code>{expected, expected});
}

TEST_CASE("a flush can be awaited") {
  versioned<int> source(0);
  std::atomic<int> at_target{-1};
  mirror copy(source, [&](int value, std::uint64_t) {
    at_target = value;
    return mirror_write_result::applied;
  });
  const auto write_through = [](auto& cell, auto& mirrored, int n) -> interlock::task<bool> {
    for (int i = 0; i < n; ++i) {
      cell.update([](int& value) { ++value; });
      const auto result = co_await mirrored.async_flush();
      if (result != mirror_flush_result::flushed) co_return false;
    }
    co_return true;
  };
  const int n = static_cast<int>(support::rounds(2'000));
  CHECK(interlock::sync_wait(write_through(source, copy, n)));
  CHECK(at_target == n);
  copy.close();
  const auto once = [](auto& mirrored) -> interlock::task<mirror_flush_result> {
    const auto result = co_await mirrored.async_flush();
    co_return result;
  };
  CHECK(interlock::sync_wait(once(copy)) == mirror_flush_result::closed);
}

TEST_CASE("awaited flushes are answered in the order of their calls by one write") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  const ends_here end{on.jobs};
  std::vector<int> order;
  const auto flush = [](auto& mirrored, std::vector<int>& answered, int id) -> detached {
    const auto result = co_await mirrored.async_flush();
    if (result == mirror_flush_result::flushed) answered.push_back(id);
  };
  for (int id = 0; id < 4; ++id) flush(copy, order, id);
  CHECK(order.empty());
  CHECK(on.jobs.run_all() == 1);
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK(on.written == std::vector<int>{1});
}

TEST_CASE("an awaited flush that is answered before it suspends goes on once") {
  bench on;
  mirror copy(on.source(), on.target(), on.options());
  const ends_here end{on.jobs};
  on.jobs.open = false;  // the coroutine's own thread writes, inside co_await
  int went_on = 0;
  const auto flush = [](auto& mirrored, int& count) -> detached {
    const auto result = co_await mirrored.async_flush();
    if (result == mirror_flush_result::flushed) ++count;
  };
  flush(copy, went_on);
  CHECK(went_on == 1);
  CHECK(on.written == std::vector<int>{1});
}

TEST_CASE("a flush of a thread does not wait for the coroutine that was answered before it") {
  std::binary_semaphore thread_has_its_answer{0};
  bool came = false;
  std::thread behind;
  {
    bench on;
    mirror copy(on.source(), on.target(), on.options());
    const ends_here end{on.jobs};
    const auto flush = [](auto& mirrored, std::binary_semaphore& other, bool& in_time) -> detached {
      const auto result = co_await mirrored.async_flush();
      in_time = result == mirror_flush_result::flushed &&
                other.try_acquire_for(std::chrono::seconds(10));  // runs inside the job
    };
    flush(copy, thread_has_its_answer, came);
    behind = std::thread([&] {
      static_cast<void>(copy.flush());
      thread_has_its_answer.release();
    });
    while (copy.statistics().flushes < 2) std::this_thread::yield();
    on.jobs.run_all();
    behind.join();
  }
  CHECK(came);
}

TEST_CASE("a coroutine that was answered ends the mirror on another thread") {
  struct move_to_new_thread {
    std::thread& runner;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) const {
      runner = std::thread([self] { self.resume(); });
    }
    void await_resume() const noexcept {}
  };
  std::thread runner;
  std::binary_semaphore done{0};
  int written = 0;
  const auto local = [](std::thread& other, std::binary_semaphore& ended, int& row) -> detached {
    {
      mirror copy([] { return snapshot{4, 1}; },
                  [&row](int sent, int) {
                    row = sent;
                    return mirror_write_result::applied;
                  });
      static_cast<void>(co_await copy.async_flush());
      co_await move_to_new_thread{other};
    }
    ended.release();
  };
  local(runner, done, written);
  done.acquire();
  runner.join();
  CHECK(written == 4);
}

TEST_CASE("a coroutine may end a closed mirror") {
  jobs_by_hand jobs;
  using any_mirror = mirror<std::function<snapshot()>, std::function<mirror_write_result(int, int)>>;
  mirror_options options;
  options.attempts = 1;
  options.schedule = jobs.schedule();
  options.now = jobs.clock();
  auto copy = std::make_unique<any_mirror>(
      [] { return snapshot{1, 1}; },
      [](int, int) { return mirror_write_result::applied; }, std::move(options));
  bool ended = false;
  const auto flush = [](std::unique_ptr<any_mirror>& mine, bool& done) -> detached {
    const auto result = co_await mine->async_flush();
    if (result != mirror_flush_result::closed) co_return;
    mine.reset();
    done = true;
  };
  jobs.open = false;
  copy->close();
  flush(copy, ended);
  CHECK(ended);
}

TEST_CASE("values that only move reach the target") {
  struct unique_snapshot {
    std::unique_ptr<int> value;
    long version;
  };
  int written = 0;
  mirror copy([] { return unique_snapshot{std::make_unique<int>(42), 1}; },
              [&](std::unique_ptr<int> sent, long) {
                written = *sent;
                return mirror_write_result::applied;
              });
  CHECK(copy.flush() == mirror_flush_result::flushed);
  CHECK(written == 42);
}

TEST_CASE("a source is called or loaded, kept or referred to") {
  const auto target = [](int, auto) { return mirror_write_result::applied; };
  versioned<int> cell(1);
  const versioned<int>& fixed = cell;
  mirror of_cell(cell, target);
  mirror of_fixed(fixed, target);
  const auto call = [] { return snapshot{1, 1}; };
  mirror of_call(call, target);
  using target_type = std::remove_const_t<decltype(target)>;
  STATIC_REQUIRE(std::is_same_v<decltype(of_cell), mirror<versioned<int>&, target_type>>);
  STATIC_REQUIRE(std::is_same_v<decltype(of_fixed), mirror<const versioned<int>&, target_type>>);
  STATIC_REQUIRE(std::is_same_v<decltype(of_call)::snapshot, snapshot>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<decltype(of_call)>);
  CHECK(of_cell.flush() == mirror_flush_result::flushed);
}

TEST_CASE("a mirror that may try nothing is refused") {
  const auto target = [](int, int) { return mirror_write_result::applied; };
  mirror_options options;
  options.attempts = 0;
  CHECK_THROWS_AS(mirror([] { return snapshot{1, 1}; }, target, options), std::invalid_argument);
}

TEST_CASE("destroying a mirror where async_flush resumed stops the program with the same remedy") {
  CHECK(support::death_message([] {
          jobs_by_hand jobs;
          mirror_options options;
          options.schedule = jobs.schedule();
          options.now = jobs.clock();
          const auto local = [](mirror_options how) -> detached {
            mirror copy([] { return snapshot{1, 1}; },
                        [](int, int) { return mirror_write_result::applied; }, std::move(how));
            static_cast<void>(co_await copy.async_flush());
          };
          local(std::move(options));
          jobs.run_all();
        }) ==
        "interlock: mirror: destroyed on the thread that is sending; destroy it on another one\n");
}

TEST_CASE("destroying a mirror inside one of its writes stops the program with the remedy") {
  CHECK(support::death_message([] {
          using any_target = std::function<mirror_write_result(int, int)>;
          using any_mirror = mirror<std::function<snapshot()>, any_target>;
          std::unique_ptr<any_mirror> copy;
          copy = std::make_unique<any_mirror>([] { return snapshot{1, 1}; }, [&](int, int) {
            copy.reset();
            return mirror_write_result::applied;
          });
          static_cast<void>(copy->flush());
        }) ==
        "interlock: mirror: destroyed on the thread that is sending; destroy it on another one\n");
}
