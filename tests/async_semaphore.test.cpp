// SPDX-License-Identifier: BSL-1.0
// async_semaphore: permits, order, every way in which a wait ends, guards, lifetime and misuse.

#include <interlock/async_semaphore.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;
using interlock::async_semaphore;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;
using support::detached;
using permits = async_semaphore::permits;

static_assert(sizeof(async_semaphore) == 32);
static_assert(sizeof(permits) == 16);
static_assert(sizeof(std::declval<async_semaphore&>().acquire()) <= 48);
static_assert(sizeof(std::declval<async_semaphore&>().acquire(1, inplace_stop_token{})) <= 128);
static_assert(alignof(decltype(std::declval<async_semaphore&>().acquire())) <= 16);
static_assert(!std::is_copy_constructible_v<async_semaphore>);
static_assert(!std::is_copy_constructible_v<permits>);
static_assert(std::is_nothrow_move_constructible_v<permits>);
static_assert(std::is_nothrow_move_assignable_v<permits>);
static_assert(std::is_nothrow_destructible_v<permits>);

namespace {

// What became of each wait, in the order in which they went on: "name status count".
using record = std::vector<std::string>;

void log_of(record& log, const std::string& name, const permits& mine) {
  log.push_back(name + " " + to_string(mine.status()) + " " + std::to_string(mine.count()));
}

// Gives back at once, unless it is to keep them.
detached logs(async_semaphore& from, std::uint64_t n, record& log, std::string name,
              std::vector<permits>* keep = nullptr) {
  auto mine = co_await from.acquire(n);
  log_of(log, name, mine);
  if (keep != nullptr) keep->push_back(std::move(mine));
}
detached logs_unless(async_semaphore& from, std::uint64_t n, inplace_stop_token stop, record& log,
                     std::string name) {
  const auto mine = co_await from.acquire(n, stop);
  log_of(log, name, mine);
}
detached logs_until(async_semaphore& from, manual_timer& timer, manual_timer::time_point deadline,
                    std::uint64_t n, record& log, std::string name) {
  const auto mine = co_await from.acquire_until(timer, deadline, n);
  log_of(log, name, mine);
}

support::owned stays(async_semaphore& from, std::uint64_t n, int& went_on) {
  const auto mine = co_await from.acquire(n);
  ++went_on;
}

template <class Make>
std::vector<task<>> many(int count, Make make) {
  std::vector<task<>> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(make(i));
  return tasks;
}

}  // namespace

TEST_CASE("Never more permits are out than there are") {
  async_semaphore door(3);
  int inside = 0;
  int most = 0;
  const auto visit = [&](std::uint32_t n) -> task<> {
    const auto mine = co_await door.acquire(n);
    inside += static_cast<int>(n);
    most = std::max(most, inside);
    co_await reschedule();
    inside -= static_cast<int>(n);
  };
  sync_wait(when_all(
      many(60, [&](int i) { return visit(static_cast<std::uint32_t>(i % 3 + 1)); })));
  CHECK(most == 3);
  CHECK(inside == 0);
  CHECK(door.available_approx() == 3);

  std::atomic<int> out{0};
  std::atomic<int> crowds{0};
  const std::size_t each = support::rounds(20'000);
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      const auto n = static_cast<std::uint32_t>((id + i) % 3 + 1);
      const auto mine = door.acquire_blocking(n);
      const int now = static_cast<int>(n);
      if (out.fetch_add(now, std::memory_order_relaxed) + now > 3) crowds.fetch_add(1);
      out.fetch_sub(now, std::memory_order_relaxed);
    }
  });
  CHECK(crowds == 0);
  CHECK(door.available_approx() == 3);
}

TEST_CASE("Permits go out in the order in which they were asked for whatever the amounts") {
  async_semaphore door(4);
  record log;
  auto held = door.try_acquire(4);
  REQUIRE(held);
  std::vector<permits> kept;
  logs(door, 1, log, "a", &kept);
  logs(door, 4, log, "b", &kept);
  logs(door, 1, log, "c", &kept);
  logs(door, 2, log, "d", &kept);
  CHECK(door.waiters_approx() == 4);
  held.give_back(3);
  CHECK(log == record{"a acquired 1"});  // two are left, which b waits for; c and d wait behind it
  CHECK(door.available_approx() == 2);
  CHECK_FALSE(door.try_acquire().owns_lock());
  held.give_back();
  CHECK(log.size() == 1);
  std::exchange(kept, {}).clear();  // a
  CHECK(log == record{"a acquired 1", "b acquired 4"});
  std::exchange(kept, {}).clear();  // b
  CHECK(log == record{"a acquired 1", "b acquired 4", "c acquired 1", "d acquired 2"});
  CHECK(door.waiters_approx() == 0);
  std::exchange(kept, {}).clear();
  CHECK(door.available_approx() == 4);
}

TEST_CASE("threads and coroutines stand in one line for permits") {
  async_semaphore door(0, 3);
  std::vector<permits> kept;
  record log;
  std::atomic<bool> let_in{false};
  const auto block = [&](std::uint32_t n) {
    return std::thread([&door, &let_in, n] {
      static_cast<void>(door.acquire_blocking(n).release());
      let_in.store(true, std::memory_order_release);
    });
  };
  auto first = block(2);
  while (door.waiters_approx() != 1) std::this_thread::yield();
  logs(door, 1, log, "a", &kept);
  auto last = block(1);
  while (door.waiters_approx() != 3) std::this_thread::yield();
  door.release(1);
  CHECK(log.empty());  // the thread at the head collects it
  CHECK(door.available_approx() == 1);
  door.release(2);
  CHECK(log == record{"a acquired 1"});
  CHECK(door.waiters_approx() == 1);
  while (!let_in.load(std::memory_order_acquire)) std::this_thread::yield();
  door.release(1);
  first.join();
  last.join();
  CHECK(door.available_approx() == 0);
}

TEST_CASE("a large request is let in however many small ones keep coming") {
  async_semaphore door(2);
  std::size_t before = 0;
  bool large = false;
  const auto small = [&]() -> task<> {
    for (int i = 0; i < 1000; ++i) {
      const auto mine = co_await door.acquire();
      if (!large) ++before;
      co_await reschedule();
    }
  };
  const auto both = [&]() -> task<> {
    co_await reschedule();
    const auto mine = co_await door.acquire(2);
    large = true;
  };
  auto tasks = many(10, [&](int) { return small(); });
  tasks.push_back(both());
  sync_wait(when_all(std::move(tasks)));
  CHECK(large);
  CHECK(before <= 24);  // those in line before it, and no round more
}

TEST_CASE("fifty coroutines that acquire again and again take strict turns") {
  const std::size_t times = support::rounds(2'000);
  async_semaphore door(5);
  std::vector<std::size_t> order;
  const auto visit = [&](int id) -> task<> {
    for (std::size_t i = 0; i < times; ++i) {
      const auto mine = co_await door.acquire();
      order.push_back(static_cast<std::size_t>(id));
      co_await reschedule();
    }
  };
  sync_wait(when_all(many(50, [&](int id) { return visit(id); })));
  REQUIRE(order.size() == 50 * times);
  std::size_t out_of_turn = 0;
  for (std::size_t i = 0; i < order.size(); ++i) out_of_turn += order[i] == i % 50 ? 0U : 1U;
  CHECK(out_of_turn == 0);
}

TEST_CASE("A wait that is cancelled or too late takes nothing and lets those behind it in") {
  manual_timer timer;
  inplace_stop_source stop;
  async_semaphore door(1, 9);
  record log;
  logs_unless(door, 3, stop.get_token(), log, "large");
  logs_until(door, timer, timer.now() + 1s, 2, log, "medium");
  logs(door, 1, log, "small");
  CHECK(log.empty());
  stop.request_stop();
  CHECK(log == record{"large cancelled 0"});
  timer.advance_to(timer.now() + 1s);
  CHECK(log == record{"large cancelled 0", "medium timed out 0", "small acquired 1"});
  CHECK(door.available_approx() == 1);

  auto held = door.try_acquire();
  std::thread late([&] {
    const auto mine =
        door.acquire_blocking_until(std::chrono::steady_clock::now() + 10ms, 2);
    if (mine.status() != wait_status::timed_out) log.clear();
  });
  while (door.waiters_approx() == 0) std::this_thread::yield();
  held.give_back();
  logs(door, 1, log, "behind a thread");
  late.join();
  CHECK(log.size() == 4);
  CHECK(log.back() == "behind a thread acquired 1");
  CHECK(door.available_approx() == 1);
}

TEST_CASE("What was done before permits were given back is visible to whoever gets them") {
  async_semaphore door(2);
  const std::size_t each = support::rounds(20'000);
  std::size_t plain = 0;  // a data race unless the permits order it
  const auto add = [&]() -> task<> {
    const auto mine = co_await door.acquire(2);
    ++plain;
  };
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id % 2 == 0) {
        sync_wait(add());
      } else if (auto mine = door.try_acquire(2)) {
        ++plain;
      } else {
        mine = door.acquire_blocking(2);
        ++plain;
        mine.give_back(1);
      }
    }
  });
  CHECK(plain == 4 * each);
  CHECK(door.available_approx() == 2);
}

TEST_CASE("Whoever gets the last permits may destroy the semaphore at once") {
  auto door = std::make_unique<async_semaphore>(0, 2);
  bool destroyed = false;
  const auto destroys = [](std::unique_ptr<async_semaphore>& mine, bool& done) -> detached {
    auto both = co_await mine->acquire(2);
    static_cast<void>(both.release());
    mine.reset();
    done = true;
  };
  destroys(door, destroyed);
  door->release();
  CHECK_FALSE(destroyed);
  door->release();  // destroys it
  CHECK(destroyed);

  const std::size_t rounds = support::rounds(5'000);
  std::vector<std::unique_ptr<async_semaphore>> doors;
  for (std::size_t i = 0; i < rounds; ++i) {
    doors.push_back(std::make_unique<async_semaphore>(0, 3));
  }
  support::run_threads(4, [&](std::size_t id) {
    for (auto& each : doors) {
      if (id != 0) {
        each->release();
      } else {
        auto all = each->acquire_blocking(3);
        static_cast<void>(all.release());
        each.reset();
      }
    }
  });
}

TEST_CASE("Acquiring and giving back allocate nothing") {
  async_semaphore door(2, 4);
  manual_timer timer;
  inplace_stop_source stop;
  std::size_t count = 0;
  const auto plain_visit = [](async_semaphore& from, std::uint64_t n, std::size_t& to) -> task<> {
    const auto mine = co_await from.acquire(n);
    co_await reschedule();
    if (mine) ++to;
  };
  const auto visit_unless = [](async_semaphore& from, inplace_stop_token token,
                               std::size_t& to) -> task<> {
    const auto mine = co_await from.acquire(1, token);
    co_await reschedule();
    if (mine) ++to;
  };
  const auto visit_until = [](async_semaphore& from, manual_timer& clock,
                              manual_timer::time_point deadline, inplace_stop_token token,
                              std::size_t& to) -> task<> {
    const auto mine = co_await from.acquire_until(clock, deadline, 1, token);
    co_await reschedule();
    if (mine) ++to;
  };
  auto all = when_all(many(60, [&](int i) {
    if (i % 3 == 0) return plain_visit(door, static_cast<std::uint64_t>(i % 2 + 1), count);
    if (i % 3 == 1) return visit_unless(door, stop.get_token(), count);
    return visit_until(door, timer, timer.now() + 1h, stop.get_token(), count);
  }));
  const std::size_t before = support::allocations();
  CHECK((before != 0 || !support::counts_allocations));
  sync_wait(std::move(all));
  for (int i = 0; i < 10; ++i) {
    auto mine = door.acquire_blocking(2);
    const auto refused = door.try_acquire();
    const auto late = door.acquire_blocking_until(std::chrono::steady_clock::now());
    if (refused || late) count = 0;
    auto half = mine.split(1);
    mine.merge(std::move(half));
  }
  CHECK(support::allocations() == before);
  CHECK(count == 60);
}

TEST_CASE("a wait for permits ends at once where it can") {
  manual_timer timer;
  timer.advance_to(timer.now() + 1s);
  const auto past = timer.now() - 1s;
  inplace_stop_source stop;
  stop.request_stop();
  async_semaphore door(2, 3, max_waiters{1});

  SECTION("asked to stop before: cancelled, and nothing is taken") {
    record log;
    logs_unless(door, 1, stop.get_token(), log, "a");
    CHECK(log == record{"a cancelled 0"});
  }
  SECTION("a deadline in the past: tried once") {
    record log;
    logs_until(door, timer, past, 1, log, "a");
    logs_until(door, timer, past, 3, log, "b");
    CHECK(log == record{"a acquired 1", "b timed out 0"});
    const auto tried = door.acquire_blocking_until(std::chrono::steady_clock::time_point::min());
    CHECK(tried);
    const auto late = door.acquire_blocking_until(std::chrono::steady_clock::time_point::min(), 3);
    CHECK(late.status() == wait_status::timed_out);
  }
  SECTION("as many wait as may: overloaded") {
    record log;
    auto held = door.try_acquire(2);
    logs(door, 1, log, "a");
    logs(door, 1, log, "b");
    inplace_stop_source other;
    logs_unless(door, 1, other.get_token(), log, "c");
    CHECK(door.acquire_blocking().status() == wait_status::overloaded);
    CHECK(log == record{"b overloaded 0", "c overloaded 0"});
    held.give_back();
    CHECK(log.back() == "a acquired 1");
  }
  SECTION("more than there will ever be: overloaded, and nobody has to wait behind it") {
    record log;
    for (const std::uint64_t n : {std::uint64_t{4}, ~std::uint64_t{0}, std::uint64_t{1} << 32}) {
      logs(door, n, log, "a");
      CHECK(door.try_acquire(n).status() == wait_status::overloaded);
    }
    CHECK(log == record{"a overloaded 0", "a overloaded 0", "a overloaded 0"});
    CHECK(door.try_acquire(2));
  }
  SECTION("none at all: acquired, whoever waits") {
    record log;
    const auto held = door.try_acquire(2);
    logs(door, 1, log, "a");
    logs(door, 0, log, "b");
    const auto nothing = door.try_acquire(0);
    CHECK((nothing && nothing.count() == 0));
    CHECK(log == record{"b acquired 0"});
  }
  SECTION("refused: timed out") {
    const auto refused = door.try_acquire(3);
    CHECK_FALSE(refused);
    CHECK(refused.status() == wait_status::timed_out);
  }
  CHECK(door.available_approx() == 2);
}

TEST_CASE("close tells all who wait for permits and all who come") {
  async_semaphore door(2);
  manual_timer timer;
  inplace_stop_source stop;
  record log;
  auto held = door.try_acquire(2);
  logs(door, 1, log, "a");
  logs_unless(door, 2, stop.get_token(), log, "b");
  logs_until(door, timer, timer.now() + 1s, 1, log, "c");
  wait_status told{};
  std::thread blocked([&] { told = door.acquire_blocking().status(); });
  while (door.waiters_approx() != 4) std::this_thread::yield();
  door.close();
  blocked.join();
  door.close();
  CHECK(told == wait_status::closed);
  CHECK(log == record{"a closed 0", "b closed 0", "c closed 0"});
  logs(door, 1, log, "d");
  CHECK(log.back() == "d closed 0");
  CHECK(door.try_acquire().status() == wait_status::closed);
  CHECK(door.try_acquire(0).status() == wait_status::closed);
  CHECK(held.owns_lock());
  held.give_back();
  CHECK(door.available_approx() == 2);
  CHECK(door.try_acquire().status() == wait_status::closed);
  CHECK(door.closed());
}

TEST_CASE("a semaphore counts what others give") {
  async_semaphore items(0, 3);
  record log;
  logs(items, 2, log, "a");
  items.release();
  items.release(0);
  CHECK(log.empty());
  items.release(2);
  CHECK(log == record{"a acquired 2"});
  CHECK(items.available_approx() == 3);
  CHECK(items.most() == 3);
  std::thread consumer([&] { static_cast<void>(items.acquire_blocking(3).release()); });
  consumer.join();
  CHECK(items.available_approx() == 0);

  // A pool that grows and shrinks: permits that nobody gives back, and new ones.
  async_semaphore pool(2, 4);
  pool.release(2);
  auto gone = pool.try_acquire(3);
  CHECK(gone.release() == 3);
  CHECK(pool.available_approx() == 1);
}

TEST_CASE("a suspended coroutine that is destroyed leaves the line or passes on its permits") {
  async_semaphore door(2);
  record log;
  auto held = door.try_acquire(2);
  int went_on = 0;
  const auto first = stays(door, 2, went_on);
  logs(door, 1, log, "behind");
  held.give_back(1);
  CHECK(log.empty());
  first.handle.destroy();
  CHECK(log == record{"behind acquired 1"});

  // Let in already, and about to be resumed on this thread.
  const auto second = stays(door, 2, went_on);
  logs(door, 2, log, "next");
  interlock::detail::trampoline::together([&] {
    held.give_back();
    second.handle.destroy();
  });
  CHECK(log.back() == "next acquired 2");
  CHECK(went_on == 0);
  CHECK(door.available_approx() == 2);
}

TEST_CASE("permits move, split, merge, swap, release and adopt") {
  async_semaphore a(5);
  async_semaphore b(5);
  permits none;
  CHECK_FALSE(none);
  CHECK(none.count() == 0);

  auto mine = a.try_acquire(3);
  CHECK(mine.semaphore() == &a);
  auto part = mine.split(1);
  CHECK((mine.count() == 2 && part.count() == 1));
  auto more = a.try_acquire(2);
  more.merge(std::move(part));
  CHECK_FALSE(part);
  CHECK(more.count() == 3);
  none.merge(std::move(more));  // it held nothing: takes them over
  CHECK(none.count() == 3);
  none.merge(permits());
  CHECK(none.count() == 3);
  CHECK(a.available_approx() == 0);

  auto others = b.try_acquire(5);
  mine = std::move(others);  // gives two back to a
  CHECK(a.available_approx() == 2);
  CHECK((mine.semaphore() == &b && mine.count() == 5));
  swap(mine, none);
  CHECK((mine.semaphore() == &a && mine.count() == 3));
  auto& same = mine;
  mine = std::move(same);
  CHECK(mine.count() == 3);

  const std::uint32_t released = mine.release();
  CHECK(released == 3);
  CHECK(a.available_approx() == 2);
  { const permits adopted(a, released, std::adopt_lock); }
  CHECK(a.available_approx() == 5);
  none.give_back(2);
  CHECK((b.available_approx() == 2 && none.count() == 3));
  none.give_back();
  CHECK_FALSE(none);
  CHECK(none.status() == wait_status::acquired);
  CHECK(b.available_approx() == 5);
}

TEST_CASE("coroutines that are let in go on after the one that gives back has suspended") {
  async_semaphore door(1);
  record log;
  const auto owner = [&]() -> task<> {
    auto mine = co_await door.acquire();
    co_await reschedule();
    mine.give_back();
    log.emplace_back("after give_back");
  };
  const auto next = [&]() -> task<> {
    const auto mine = co_await door.acquire();
    log.emplace_back("next");
  };
  sync_wait(when_all(owner(), next()));
  CHECK(log == record{"after give_back", "next"});
}

TEST_CASE("a coroutine that waits for permits resumes where it says") {
  async_semaphore door(0, 2);
  std::vector<std::function<void()>> jobs;
  record log;
  const auto on = [](async_semaphore& from, std::vector<std::function<void()>>& to,
                     record& into) -> detached {
    const auto mine = co_await from.acquire().resume_on([&to](auto job) { to.push_back(job); });
    log_of(into, "executor", mine);
  };
  const auto at_once = [](async_semaphore& from, record& into) -> detached {
    const auto mine = co_await from.acquire().resume_inline();
    log_of(into, "inline", mine);
  };
  on(door, jobs, log);
  at_once(door, log);
  interlock::detail::trampoline::together([&] {
    door.release(2);
    CHECK(log == record{"inline acquired 1"});
  });
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log.back() == "executor acquired 1");
}

TEST_CASE("one release lets a million coroutines in without a deep stack") {
  const std::size_t length = support::rounds(1'000'000);
  std::size_t chain = 0;
  std::size_t wave = 0;
  const auto count = [](async_semaphore& from, std::size_t& to) -> detached {
    const auto mine = co_await from.acquire();
    ++to;
  };
  const auto keep = [](async_semaphore& from, std::size_t& to) -> detached {
    auto mine = co_await from.acquire();
    to += mine.release();
  };
  REQUIRE(support::on_small_stack([&] {
    async_semaphore one(1);
    auto held = one.try_acquire();
    for (std::size_t i = 0; i < length; ++i) count(one, chain);
    held.give_back();
    async_semaphore all(0, async_semaphore::max());
    for (std::size_t i = 0; i < length; ++i) keep(all, wave);
    all.release(length);
  }));
  CHECK(chain == length);
  CHECK(wave == length);
}

TEST_CASE("misuse of a semaphore ends the process with a sentence") {
  using support::death_message;
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(death_message([] {
          async_semaphore door(2);
          door.release();
        }),
        "more permits were given back than it can have"));
  CHECK(has(death_message([] {
          async_semaphore door(1, 2);
          record log;
          logs(door, 2, log, "a");
          door.release(5);
        }),
        "more permits were given back than it can have"));
  CHECK(has(death_message([] {
          async_semaphore door(2);
          permits none;
          none.give_back();
        }),
        "holds none"));
  CHECK(has(death_message([] {
          async_semaphore door(2);
          auto mine = door.try_acquire(1);
          mine.give_back(2);
        }),
        "fewer are held"));
  CHECK(has(death_message([] {
          async_semaphore a(1);
          async_semaphore b(1);
          auto mine = a.try_acquire();
          mine.merge(b.try_acquire());
        }),
        "different semaphores"));
  CHECK(has(death_message([] { async_semaphore door(2, 1); }), "initial <= most"));
  CHECK(has(death_message([] {
          async_semaphore door(0, 1);
          record log;
          logs(door, 1, log, "a");
        }),
        "~async_semaphore: somebody waits"));
  CHECK(has(death_message([] {
          async_semaphore door(0, 1);
          const auto refused = door.try_acquire();
        }),
        "nobody asked"));
}
