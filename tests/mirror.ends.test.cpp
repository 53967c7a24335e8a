// SPDX-License-Identifier: BSL-1.0
// How waits for a mirror end: versions, stops, deadlines, executors; and what touches allocate.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_mirror.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/mirror.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/jobs_by_hand.hpp"

using interlock::inplace_stop_source;
using interlock::keyed_mirror;
using interlock::manual_timer;
using interlock::mirror;
using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using support::detached;
using support::ends_here;
using support::jobs_by_hand;
using namespace std::chrono_literals;

namespace {

struct snapshot {
  int value;
  int version;
};

using any_mirror = mirror<std::function<snapshot()>, std::function<mirror_write_result(int, int)>>;
using answers = std::vector<mirror_flush_result>;

struct bench {
  int value = 1;
  int written = 0;
  int writes = 0;
  bool down = false;
  jobs_by_hand jobs;
  any_mirror copy{[this] { return snapshot{value, value}; },
                  [this](int sent, int) {
                    ++writes;
                    if (down) return mirror_write_result::unknown;
                    written = sent;
                    return mirror_write_result::applied;
                  },
                  options()};
  ends_here end{jobs};

  mirror_options options() {
    mirror_options how;
    how.attempts = 2;
    how.delay = [](std::size_t) { return 1s; };
    how.schedule = jobs.schedule();
    how.now = jobs.clock();
    return how;
  }
};

detached flushes(any_mirror& copy, answers& said) {
  const auto how = co_await copy.async_flush();
  said.push_back(how);
}
template <class Token>
detached flushes(any_mirror& copy, answers& said, Token stop) {
  const auto how = co_await copy.async_flush(stop);
  said.push_back(how);
}
detached flushes_to(any_mirror& copy, answers& said, int least) {
  const auto how = co_await copy.async_flush(least);
  said.push_back(how);
}

}  // namespace

TEST_CASE("a flush to a version that is confirmed writes nothing") {
  bench on;
  answers said;
  flushes_to(on.copy, said, 1);
  on.jobs.run_all();
  CHECK(said == answers{mirror_flush_result::flushed});
  CHECK(on.copy.confirmed() == 1);
  flushes_to(on.copy, said, 1);
  CHECK(said.size() == 2);
  CHECK(on.copy.flush(1) == mirror_flush_result::flushed);
  CHECK(on.jobs.line.empty());
  CHECK(on.writes == 1);
}

TEST_CASE("a flush to a version that the source has not waits for the touch that brings it") {
  bench on;
  answers said;
  flushes_to(on.copy, said, 3);
  for (int v = 1; v <= 3; ++v) {
    CHECK(said.empty());
    on.value = v;
    on.copy.touch();
    on.jobs.run_all();
  }
  CHECK(said == answers{mirror_flush_result::flushed});
}

TEST_CASE("a stop ends the wait for a write, before it, during it and not behind it") {
  bench on;
  answers said;
  inplace_stop_source stop;
  flushes(on.copy, said, stop.get_token());
  flushes(on.copy, said);
  CHECK(said.empty());
  stop.request_stop();
  CHECK(said == answers{mirror_flush_result::cancelled});
  flushes(on.copy, said, stop.get_token());  // asked to stop already
  CHECK(said.size() == 2);
  on.jobs.run_all();
  CHECK(said.back() == mirror_flush_result::flushed);
  CHECK(on.written == 1);  // it followed all the same
}

TEST_CASE("a write follows a flush that was called off, or late, before it began") {
  bench on;
  manual_timer timer;
  inplace_stop_source source;
  source.request_stop();
  answers said;
  flushes(on.copy, said, source.get_token());
  CHECK(said == answers{mirror_flush_result::cancelled});
  on.jobs.run_all();
  CHECK(on.written == 1);
  on.value = 2;
  const auto late = [](any_mirror& copy, auto& clock, answers& all) -> detached {
    const auto how = co_await copy.async_flush_until(clock, clock.now() - 1s);
    all.push_back(how);
  };
  late(on.copy, timer, said);
  CHECK(said.back() == mirror_flush_result::timed_out);
  on.jobs.run_all();
  CHECK(on.written == 2);
}

TEST_CASE("a deadline ends the wait for a write of a coroutine and of a thread") {
  bench on;
  manual_timer timer;
  answers said;
  const auto waits = [](any_mirror& copy, manual_timer& clock, answers& all) -> detached {
    const auto how = co_await copy.async_flush_until(clock, clock.now() + 1s);
    all.push_back(how);
  };
  waits(on.copy, timer, said);
  timer.advance_to(timer.now() + 1s);
  CHECK(said == answers{mirror_flush_result::timed_out});
  CHECK(on.copy.flush_until(std::chrono::steady_clock::now()) == mirror_flush_result::timed_out);
  CHECK(on.copy.flush_until(std::chrono::steady_clock::now(), 9) ==
        mirror_flush_result::timed_out);
  on.jobs.run_all();
  CHECK(on.written == 1);
}

TEST_CASE("a flush of a version ends at a deadline or a stop") {
  bench on;
  manual_timer timer;
  inplace_stop_source source;
  answers said;
  const auto flush = [](any_mirror& copy, auto& clock, answers& all, auto... stop) -> detached {
    const auto how = co_await copy.async_flush_until(clock, clock.now() + 1s, 2, stop...);
    all.push_back(how);
  };
  flush(on.copy, timer, said);
  flush(on.copy, timer, said, source.get_token());
  on.jobs.run_all();
  CHECK(said.empty());  // the source has version 1
  source.request_stop();
  CHECK(said == answers{mirror_flush_result::cancelled});
  timer.advance_to(timer.now() + 1s);
  CHECK(said.back() == mirror_flush_result::timed_out);
}

TEST_CASE("a flush resumes where its executor says") {
  bench on;
  std::vector<std::function<void()>> loop;
  answers said;
  const auto waits = [](any_mirror& copy, auto& queue, answers& all) -> detached {
    const auto put = [&queue](auto job) { queue.emplace_back(std::move(job)); };
    const auto how = co_await copy.async_flush().resume_on(put);
    all.push_back(how);
  };
  waits(on.copy, loop, said);
  on.jobs.run_all();
  CHECK(said.empty());
  REQUIRE(loop.size() == 1);
  loop[0]();
  CHECK(said == answers{mirror_flush_result::flushed});
}

TEST_CASE("a coroutine that is destroyed while it waits for a write leaves") {
  struct kept {
    struct promise_type {
      kept get_return_object() {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      void unhandled_exception() noexcept {}
    };
    std::coroutine_handle<promise_type> frame;
  };
  bench on;
  const auto waits = [](any_mirror& copy) -> kept {
    static_cast<void>(co_await copy.async_flush());
  };
  const kept gone = waits(on.copy);
  gone.frame.destroy();
  on.jobs.run_all();
  CHECK(on.written == 1);
}

TEST_CASE("closing with a deadline begins no write behind it, and says so") {
  bench on;
  answers said;
  on.copy.touch();
  flushes(on.copy, said);
  CHECK(on.copy.close_until(std::chrono::steady_clock::now()) == mirror_flush_result::timed_out);
  CHECK(said == answers{mirror_flush_result::closed});
  CHECK_FALSE(on.copy.touch());
  on.jobs.run_all();
  CHECK(on.writes == 0);
  CHECK(on.copy.close() == mirror_flush_result::failed);
}

TEST_CASE("a deadline of closing does not cut a write short that is in flight") {
  std::binary_semaphore inside{0};
  std::binary_semaphore go_on{0};
  std::atomic<int> written{0};
  {
    mirror copy([] { return snapshot{1, 1}; },
                [&](int sent, int) {
                  inside.release();
                  go_on.acquire();
                  written = sent;
                  return mirror_write_result::applied;
                });
    copy.touch();
    inside.acquire();
    CHECK(copy.close_until(std::chrono::steady_clock::now()) == mirror_flush_result::timed_out);
    CHECK(written == 0);
    go_on.release();
  }
  CHECK(written == 1);  // the destructor waited for it
}

TEST_CASE("a target that always fails is surfaced again and again, and closing gives up") {
  bench on;
  on.down = true;
  answers said;
  on.copy.touch();
  flushes(on.copy, said);
  for (int i = 0; i < 5; ++i) on.jobs.run_one();
  CHECK(said == answers{mirror_flush_result::failed});
  CHECK(on.copy.statistics().failures == 5);
  CHECK(on.copy.statistics().unknown == 5);
  on.jobs.open = false;  // the sixth one is tried here; the alarm that is out finds nobody
  const auto how = on.copy.close();
  CHECK(how == mirror_flush_result::failed);
}

TEST_CASE("touches allocate nothing, and a key that becomes due one row") {
  if (!support::counts_allocations) return;
  std::atomic<int> source{0};
  mirror copy([&] { return snapshot{source.load(), source.load()}; },
              [](int, int) { return mirror_write_result::applied; });
  const std::size_t before = support::allocations();
  for (int i = 0; i < 1000; ++i) {
    ++source;
    copy.touch();
  }
  CHECK(copy.flush() == mirror_flush_result::flushed);
  CHECK(support::allocations() == before);

  jobs_by_hand jobs;
  using table = keyed_mirror<int, int, int>;
  table::options how;
  how.schedule = jobs.schedule();
  table rows([](int key) { return snapshot{key, 1}; },
             [](int, int, int) { return mirror_write_result::applied; }, how);
  const ends_here end{jobs};
  rows.touch(1);  // and the job, and the table of this shard
  const auto row = rows.pin(1);
  const std::size_t first = support::allocations();
  for (int i = 0; i < 1000; ++i) rows.touch(1);
  CHECK(support::allocations() == first);
}

// ---- an executor that refuses for good ----------------------------------------------------------

namespace {

// Fails for as long as it is down, and is tried again after `pause`; nobody takes a job.
struct refused_bench {
  std::atomic<int> value{1};
  std::atomic<int> written{0};
  std::atomic<int> writes{0};
  std::atomic<bool> down{true};
  std::atomic<bool> refuses{true};
  std::chrono::nanoseconds pause;
  std::vector<std::function<void()>> line;
  any_mirror copy{[this] { return snapshot{value, value}; },
                  [this](int sent, int) {
                    ++writes;
                    if (down) return mirror_write_result::failed;
                    written = sent;
                    return mirror_write_result::applied;
                  },
                  options()};

  explicit refused_bench(std::chrono::nanoseconds between) : pause(between) {}
  mirror_options options() {
    mirror_options how;
    how.attempts = std::numeric_limits<std::size_t>::max();
    how.delay = [this](std::size_t) { return pause; };
    how.schedule = [this](std::chrono::nanoseconds, std::function<void()> job) {
      if (refuses) throw std::runtime_error("full");
      line.push_back(std::move(job));
    };
    return how;
  }
  auto soon() const { return std::chrono::steady_clock::now() + 5ms; }
};

}  // namespace

TEST_CASE("a flush with a deadline ends by it, though the executor refuses and the target fails") {
  refused_bench on(GENERATE(0h, 1h));
  CHECK(on.copy.flush_until(on.soon()) == mirror_flush_result::timed_out);
  CHECK(on.writes > 0);  // by this thread
  CHECK(on.copy.flush_until(on.soon()) == mirror_flush_result::timed_out);
  CHECK(on.copy.flush_until(on.soon(), 1) == mirror_flush_result::timed_out);
  on.down = false;
  on.value = 2;
  SECTION("closing writes what nobody came for") {}
  SECTION("the next touch asks again, and writes") {
    if (on.pause == 0ns) {  // else it sits the wait out
      CHECK(on.copy.touch());
      CHECK(on.written == 2);
    }
  }
  SECTION("the next touch asks the executor again, which has recovered") {
    on.refuses = false;
    CHECK(on.copy.touch());
    CHECK(on.line.size() == 1);
    CHECK(on.copy.touch());  // and only that one
    CHECK(on.line.size() == 1);
    if (on.pause == 0ns) {
      on.line[0]();
      CHECK(on.written == 2);
    }
  }
  SECTION("so does the next flush") {
    on.refuses = false;
    CHECK(on.copy.flush_until(on.soon()) == mirror_flush_result::timed_out);
    CHECK(on.line.size() == 1);
  }
  CHECK(on.copy.close() == mirror_flush_result::flushed);
  CHECK(on.written == 2);
}

TEST_CASE("a flush that is called off takes the thread back that writes for it meanwhile") {
  refused_bench on(1h);
  inplace_stop_source source;
  manual_timer timer;
  answers said;
  const bool stops = GENERATE(true, false);
  std::thread waiting([&] {  // lends a hand to an executor that refuses, and sits the hour out
    [](refused_bench& of, answers& to, manual_timer& by, auto token) -> detached {
      const auto how = co_await of.copy.async_flush_until(by, manual_timer::time_point(1s), token);
      to.push_back(how);
    }(on, said, timer, source.get_token());
  });
  while (on.copy.statistics().failures == 0) std::this_thread::yield();
  stops ? void(source.request_stop()) : void(timer.advance_to(manual_timer::time_point(1s)));
  waiting.join();
  CHECK(said == answers{stops ? mirror_flush_result::cancelled : mirror_flush_result::timed_out});
  on.down = false;
  CHECK(on.copy.close() == mirror_flush_result::flushed);
  CHECK(on.written == 1);
}

TEST_CASE("what a late flush leaves behind of other keys is asked for by a touch of any of them") {
  std::atomic<bool> down{true};
  std::atomic<int> written{0};
  keyed_mirror<int, int>::options how;
  how.delay = [](std::size_t) { return std::chrono::nanoseconds(1h); };
  bool refuses = true;
  std::vector<std::function<void()>> line;
  how.schedule = [&](std::chrono::nanoseconds, std::function<void()> job) {
    if (refuses) throw std::runtime_error("full");
    line.push_back(std::move(job));
  };
  keyed_mirror<int, int> rows(
      [](int) { return snapshot{1, 1}; },
      [&](int, int, std::uint64_t) {
        if (down) return mirror_write_result::failed;
        ++written;
        return mirror_write_result::applied;
      },
      std::move(how));
  for (int key = 0; key < 3; ++key) {
    const auto soon = std::chrono::steady_clock::now() + 5ms;
    CHECK(rows.flush_until(soon, key) == mirror_flush_result::timed_out);
  }
  CHECK(rows.dirty_keys_approx() == 3);
  CHECK(rows.statistics().failures == 3);
  refuses = false;
  auto pinned = rows.pin(1);
  const bool by_handle = GENERATE(true, false);
  CHECK((by_handle ? pinned.touch() : rows.touch(1)));
  CHECK(line.size() == 1);  // the wait of all
  down = false;
  CHECK(rows.close().empty());
  CHECK(written == 3);
}

TEST_CASE("what a job has taken is written before it writes for an executor that refuses") {
  bool refuses = false;
  std::vector<int> tried;  // since it does
  std::vector<std::function<void()>> line;
  keyed_mirror<int, int>::options how;
  how.parallel = 2;
  how.delay = [](std::size_t) { return std::chrono::nanoseconds(1ms); };
  how.schedule = [&](std::chrono::nanoseconds, std::function<void()> job) {
    if (refuses) throw std::runtime_error("full");
    line.push_back(std::move(job));
  };
  auto now = std::chrono::steady_clock::now();
  how.now = [&] { return now += refuses ? 1ms : 0ms; };
  keyed_mirror<int, int> rows(
      [](int) { return snapshot{1, 1}; },
      [&](int key, int, std::uint64_t) {
        if (!refuses) return mirror_write_result::failed;
        tried.push_back(key);
        return key == 2 && tried.size() < 5 ? mirror_write_result::failed
                                            : mirror_write_result::applied;
      },
      std::move(how));
  const auto run = [&](std::size_t which) {
    const auto job = std::move(line[which]);
    line.erase(line.begin() + static_cast<std::ptrdiff_t>(which));
    job();
  };
  CHECK(rows.touch(1));
  CHECK(rows.touch(2));
  for (std::size_t jobs = 2; jobs != 0; --jobs) run(0);  // both fail
  while (line.size() > 1) run(line.size() - 1);          // but for the wait of the first
  now += 1s;
  refuses = true;
  run(0);  // both are due
  REQUIRE(tried.size() > 2);
  CHECK(tried[0] != tried[1]);  // that one fails, and is tried again, does not keep the other
  CHECK(rows.dirty_keys_approx() == 0);
}

TEST_CASE("a thread that writes for an executor that refuses needs no deeper stack each time") {
  constexpr int failures = 300;
  int writes = 0;
  std::uintptr_t first = 0;
  std::uintptr_t last = 0;
  mirror_options how;
  how.delay = [](std::size_t) { return 1ns; };
  how.schedule = [](std::chrono::nanoseconds, const std::function<void()>&) {
    throw std::runtime_error("full");
  };
  mirror copy([] { return snapshot{1, 1}; },
              [&](int, int) {
                last = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
                if (writes == 0) first = last;
                return ++writes <= failures ? mirror_write_result::failed
                                            : mirror_write_result::applied;
              },
              std::move(how));
  CHECK(copy.touch());
  CHECK(writes == failures + 1);
  CHECK(std::max(first, last) - std::min(first, last) < 16'384);
}
