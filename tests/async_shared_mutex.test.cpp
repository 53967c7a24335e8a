// SPDX-License-Identifier: BSL-1.0
// async_shared_mutex: who is in with whom, order, ends of waits, guards, lifetime and misuse.

#include <interlock/async_shared_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::async_shared_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using support::detached;
using namespace std::chrono_literals;

using guard = async_shared_mutex::guard;
using shared_guard = async_shared_mutex::shared_guard;

static_assert(sizeof(async_shared_mutex) <= 32);
static_assert(sizeof(std::declval<async_shared_mutex&>().lock()) <= 48);
static_assert(sizeof(std::declval<async_shared_mutex&>().lock_shared()) <= 48);
static_assert(sizeof(std::declval<async_shared_mutex&>().lock(inplace_stop_token())) <= 128);
static_assert(alignof(decltype(std::declval<async_shared_mutex&>().lock())) <= 16);
static_assert(!std::is_copy_constructible_v<async_shared_mutex>);
static_assert(!std::is_copy_constructible_v<guard> && !std::is_copy_constructible_v<shared_guard>);
static_assert(std::is_nothrow_move_constructible_v<guard> &&
              std::is_nothrow_move_assignable_v<guard>);
static_assert(std::is_nothrow_move_constructible_v<shared_guard> &&
              std::is_nothrow_move_assignable_v<shared_guard>);
static_assert(!std::is_convertible_v<guard, shared_guard> &&
              !std::is_convertible_v<shared_guard, guard>);

// std::lock_guard must not compile with it: it would discard the awaitable of lock().
template <class M>
concept can_unlock = requires(M& m) { m.unlock(); };
static_assert(can_unlock<std::mutex> && !can_unlock<async_shared_mutex>);

namespace {

using story = std::vector<std::string>;

// Enters, says so, stays until it is told to go, and says that it has left.
struct visitor {
  explicit visitor(story& to, std::string called) : says(to), name(std::move(called)) {}
  story& says;
  std::string name;
  guard alone;
  shared_guard shared;

  void leaves() {
    says.push_back("-" + name);
    alone = guard();
    shared = shared_guard();
  }
};

template <class... End>
detached writes(async_shared_mutex& door, visitor& who, End... end) {
  guard held = co_await door.lock(end...);
  who.says.push_back(held ? "+" + who.name : who.name + " " + to_string(held.status()));
  who.alone = std::move(held);
}
template <class... End>
detached reads(async_shared_mutex& door, visitor& who, End... end) {
  shared_guard held = co_await door.lock_shared(end...);
  who.says.push_back(held ? "+" + who.name : who.name + " " + to_string(held.status()));
  who.shared = std::move(held);
}
detached writes_until(async_shared_mutex& door, visitor& who, manual_timer& timer,
                      manual_timer::time_point deadline) {
  guard held = co_await door.lock_until(timer, deadline);
  who.says.push_back(held ? "+" + who.name : who.name + " " + to_string(held.status()));
  who.alone = std::move(held);
}
detached reads_until(async_shared_mutex& door, visitor& who, manual_timer& timer,
                     manual_timer::time_point deadline, inplace_stop_token stop) {
  shared_guard held = co_await door.lock_shared_until(timer, deadline, stop);
  who.says.push_back(held ? "+" + who.name : who.name + " " + to_string(held.status()));
  who.shared = std::move(held);
}

bool is_free(async_shared_mutex& door) { return door.try_lock().owns_lock(); }
bool is_open_to_readers(async_shared_mutex& door) { return door.try_lock_shared().owns_lock(); }

}  // namespace

TEST_CASE("One exclusive guard owns the mutex or any number of shared ones") {
  async_shared_mutex door;
  {
    const guard alone = door.try_lock();
    REQUIRE(alone);
    CHECK(door.held());
    CHECK_FALSE(is_free(door));
    CHECK_FALSE(is_open_to_readers(door));
  }
  {
    const shared_guard first = door.try_lock_shared();
    const shared_guard second = door.try_lock_shared();
    CHECK((first.owns_lock() && second.owns_lock()));
    CHECK_FALSE(is_free(door));
  }
  CHECK_FALSE(door.held());
  CHECK(is_free(door));

  // Under threads: the writers count, and nobody reads in the middle of a change.
  struct pair {
    std::size_t a = 0;
    std::size_t b = 0;
  } pair;
  std::atomic<std::size_t> torn{0};
  const std::size_t each = support::rounds(20'000);
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if ((i + id) % 4 == 0) {
        const guard alone = door.lock_blocking();
        ++pair.a;
        ++pair.b;
      } else {
        const shared_guard shared = door.lock_shared_blocking();
        if (pair.a != pair.b) torn.fetch_add(1);
      }
    }
  });
  CHECK(torn == 0);
  CHECK(pair.a == each);
}

TEST_CASE("A waiting writer stops newcomers and waits for those alone who came before it") {
  async_shared_mutex door;
  story says;
  visitor r1(says, "r1"), r2(says, "r2"), w1(says, "w1"), r3(says, "r3");
  reads(door, r1);
  reads(door, r2);
  writes(door, w1);
  CHECK_FALSE(is_open_to_readers(door));
  reads(door, r3);
  CHECK(door.waiters_approx() == 2);
  r1.leaves();
  CHECK(says == story{"+r1", "+r2", "-r1"});
  r2.leaves();
  CHECK(says == story{"+r1", "+r2", "-r1", "-r2", "+w1"});
  w1.leaves();
  CHECK(says.back() == "+r3");
  CHECK(is_open_to_readers(door));
  r3.leaves();
  CHECK(is_free(door));
}

// Readers pass whoever waits: a count, and a writer that waits until it is 0.
class passing {
public:
  void lock_shared() { ++readers_; }
  void unlock_shared() { --readers_; }
  bool writer_is_in() const { return readers_ == 0; }

private:
  int readers_ = 0;
};

TEST_CASE("negative control: readers that overlap for ever starve a writer if they may pass it") {
  passing naive;
  naive.lock_shared();
  int rounds = 0;
  for (; !naive.writer_is_in() && rounds < 1000; ++rounds) {
    naive.lock_shared();  // the next one comes before the last one leaves
    naive.unlock_shared();
  }
  CHECK(rounds == 1000);

  async_shared_mutex door;
  story says;
  visitor w(says, "w");
  shared_guard last = door.try_lock_shared();
  writes(door, w);
  for (rounds = 0; says.empty() && rounds < 1000; ++rounds) {
    shared_guard next = door.try_lock_shared();
    if (!next) next = shared_guard();  // stopped
    last = std::move(next);
  }
  CHECK(rounds == 1);
  CHECK(says == story{"+w"});
}

TEST_CASE("Readers that queue behind a writer enter together when it leaves") {
  async_shared_mutex door;
  story says;
  visitor w1(says, "w1"), r1(says, "r1"), r2(says, "r2"), w2(says, "w2"), r3(says, "r3");
  writes(door, w1);
  reads(door, r1);
  reads(door, r2);
  writes(door, w2);
  reads(door, r3);
  w1.leaves();
  CHECK(says == story{"+w1", "-w1", "+r1", "+r2"});  // up to the next writer
  r2.leaves();
  CHECK(says.back() == "-r2");
  r1.leaves();
  CHECK(says.back() == "+w2");
  w2.leaves();
  CHECK(says.back() == "+r3");
  r3.leaves();
  CHECK(is_free(door));
}

TEST_CASE("What a writer did is visible to whoever owns the mutex after it") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    async_shared_mutex door;
    std::array<int, 4> data{};
    std::atomic<int> wrong{0};
    support::run_threads(3, [&](std::size_t id) {
      if (id == 0) {
        auto alone = sync_wait([](async_shared_mutex& d) -> task<guard> {
          guard held = co_await d.lock();
          co_return held;
        }(door));
        for (int& each : data) ++each;
        const shared_guard shared = alone.downgrade();
        if (data[0] != 1) wrong.fetch_add(1);
      } else {
        const shared_guard shared = door.lock_shared_blocking();
        for (const int each : data) {
          if (each != data[0]) wrong.fetch_add(1);
        }
      }
    });
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("A wait that is called off holds up nobody behind it") {
  async_shared_mutex door;
  story says;
  inplace_stop_source stop;
  visitor r1(says, "r1"), w(says, "w"), r2(says, "r2"), r3(says, "r3"), w2(says, "w2");
  SECTION("a writer at the head, in front of readers") {
    reads(door, r1);
    writes(door, w, stop.get_token());
    reads(door, r2);
    reads(door, r3);
    writes(door, w2);
    stop.request_stop();
    CHECK(says == story{"+r1", "+r2", "+r3", "w cancelled"});
    CHECK(door.waiters_approx() == 1);
    r1.leaves();
    r2.leaves();
    r3.leaves();
    CHECK(says.back() == "+w2");
  }
  SECTION("one behind a writer that is in") {
    writes(door, w2);
    writes(door, w, stop.get_token());
    reads(door, r1);
    stop.request_stop();
    CHECK(says == story{"+w2", "w cancelled"});
    w2.leaves();
    CHECK(says.back() == "+r1");
  }
  SECTION("the last one: newcomers get in again") {
    reads(door, r1);
    writes(door, w, stop.get_token());
    CHECK_FALSE(is_open_to_readers(door));
    stop.request_stop();
    CHECK(is_open_to_readers(door));
  }
  SECTION("a writer whose deadline passes") {
    manual_timer timer;
    reads(door, r1);
    writes_until(door, w, timer, timer.now() + 1s);
    reads(door, r2);
    timer.advance_to(timer.now() + 999ms);
    CHECK(says == story{"+r1"});
    timer.advance_to(timer.now() + 1ms);
    CHECK(says == story{"+r1", "+r2", "w timed out"});
  }
  SECTION("a coroutine that is destroyed") {
    reads(door, r1);
    const auto waits = [](async_shared_mutex& d) -> support::owned {
      const guard held = co_await d.lock();
    };
    waits(door).handle.destroy();
    CHECK(is_open_to_readers(door));
    const support::owned waiting = waits(door);
    reads(door, r2);
    waiting.handle.destroy();
    CHECK(says == story{"+r1", "+r2"});
  }
  SECTION("a thread whose deadline has passed") {
    reads(door, r1);
    CHECK(door.lock_blocking_until({}).status() == wait_status::timed_out);
    CHECK(is_open_to_readers(door));
    CHECK(door.lock_shared_blocking_until({}).status() == wait_status::acquired);
  }
}

TEST_CASE("Locking and unlocking shared or not allocate nothing") {
  async_shared_mutex door;
  manual_timer timer;
  inplace_stop_source stop;
  inplace_stop_source later;
  story says;
  says.reserve(64);
  visitor r1(says, "r1"), w(says, "w"), r2(says, "r2"), w2(says, "w2");
  std::size_t during = 0;
  const auto all = [&]() -> task<> {
    const std::size_t before = support::allocations();
    {
      auto alone = co_await door.lock();
      const auto shared = alone.downgrade();
      const auto second = co_await door.lock_shared(stop.get_token());
      const auto third = co_await door.lock_shared_until(timer, timer.now() + 1s, stop.get_token());
      const auto fourth = door.lock_shared_blocking_until({});
      const auto refused = door.lock_blocking_until({});
      during = support::allocations() - before;
      CHECK((second && third && fourth && !refused));
    }
    const auto written = co_await door.lock_until(timer, timer.now() + 1s);
    CHECK(written);
  };
  sync_wait(all());
  CHECK(during == 0);
  writes(door, w);
  reads(door, r1, stop.get_token());
  writes_until(door, w2, timer, timer.now() + 1s);
  reads(door, r2, later.get_token());
  const std::size_t before = support::allocations();
  w.alone.unlock();  // r1 is in
  timer.advance_to(timer.now() + 1s);
  door.close();
  r1.shared.unlock();
  CHECK(support::allocations() == before);
  CHECK(says == story{"+w", "+r1", "+r2", "w2 timed out"});
}

TEST_CASE("async_shared_mutex: a writer that downgrades lets no writer in between") {
  async_shared_mutex door;
  story says;
  visitor w1(says, "w1"), r1(says, "r1"), w2(says, "w2"), r2(says, "r2");
  writes(door, w1);
  reads(door, r1);
  writes(door, w2);
  reads(door, r2);
  shared_guard shared = w1.alone.downgrade();
  CHECK_FALSE(w1.alone.owns_lock());
  CHECK(says == story{"+w1", "+r1"});
  r1.leaves();
  shared.unlock();
  CHECK(says == story{"+w1", "+r1", "-r1", "+w2"});
  w2.leaves();
  CHECK(says.back() == "+r2");

  async_shared_mutex behind_a_writer;
  visitor w3(says, "w3"), w4(says, "w4");
  writes(behind_a_writer, w3);
  writes(behind_a_writer, w4);
  shared = w3.alone.downgrade();
  CHECK(says.back() == "+w3");
  CHECK_FALSE(is_open_to_readers(behind_a_writer));
  shared.unlock();
  CHECK(says.back() == "+w4");
}

TEST_CASE("async_shared_mutex: a stop token that was asked before and a past deadline") {
  async_shared_mutex door;
  manual_timer timer;
  inplace_stop_source stop;
  stop.request_stop();
  story says;
  visitor w(says, "w"), r(says, "r");
  writes(door, w, stop.get_token());
  CHECK(says.back() == "w cancelled");
  reads(door, r, stop.get_token());
  CHECK(says.back() == "r cancelled");
  CHECK_FALSE(door.held());
  reads_until(door, r, timer, timer.now(), inplace_stop_token());
  CHECK(says.back() == "+r");
  writes_until(door, w, timer, timer.now());
  CHECK(says.back() == "w timed out");
  r.leaves();
  writes_until(door, w, timer, timer.now());
  CHECK(says.back() == "+w");
}

TEST_CASE("async_shared_mutex: close tells all who wait and all who come and leaves the owners") {
  async_shared_mutex door;
  story says;
  inplace_stop_source never;
  visitor r1(says, "r1"), w1(says, "w1"), r2(says, "r2"), w2(says, "w2"), r3(says, "r3");
  reads(door, r1);
  writes(door, w1);
  reads(door, r2, never.get_token());
  std::thread thread([&] { CHECK(door.lock_blocking().status() == wait_status::closed); });
  while (door.waiters_approx() != 3) std::this_thread::yield();
  door.close();
  thread.join();
  CHECK(door.closed());
  CHECK(says == story{"+r1", "w1 closed", "r2 closed"});
  writes(door, w2);
  reads(door, r3, never.get_token());
  CHECK(says == story{"+r1", "w1 closed", "r2 closed", "w2 closed", "r3 closed"});
  CHECK(door.try_lock_shared().status() == wait_status::closed);
  CHECK(door.lock_shared_blocking().status() == wait_status::closed);
  CHECK(door.held());
  r1.leaves();
  CHECK_FALSE(door.held());
  door.close();
  CHECK(door.try_lock().status() == wait_status::closed);
}

TEST_CASE("async_shared_mutex: no more wait than the bound says") {
  async_shared_mutex door(max_waiters{1});
  story says;
  visitor r1(says, "r1"), w1(says, "w1"), r2(says, "r2"), r3(says, "r3");
  reads(door, r1);
  writes(door, w1);
  reads(door, r2);
  CHECK(says == story{"+r1", "r2 overloaded"});
  r1.leaves();
  reads(door, r3);
  w1.leaves();
  CHECK(says.back() == "+r3");
  async_shared_mutex impatient(max_waiters{0});
  const guard alone = impatient.try_lock();
  CHECK(impatient.lock_blocking().status() == wait_status::overloaded);
}

TEST_CASE("async_shared_mutex: a million readers that one writer lets in need no stack") {
  const std::size_t many = support::rounds(1'000'000);
  async_shared_mutex door;
  std::size_t entered = 0;
  const bool started = support::on_small_stack([&] {
    guard alone = door.try_lock();
    const auto enter = [](async_shared_mutex& d, std::size_t& count, bool writes) -> detached {
      if (writes) {
        const guard held = co_await d.lock();
        ++count;
      } else {
        const shared_guard held = co_await d.lock_shared();
        ++count;
      }
    };
    for (std::size_t i = 0; i < many; ++i) enter(door, entered, i % 3 == 0);
    alone.unlock();
  });
  REQUIRE(started);
  CHECK(entered == many);
  CHECK(is_free(door));
}

TEST_CASE("async_shared_mutex: it resumes where it is told to") {
  async_shared_mutex door;
  story says;
  const auto there = [](async_shared_mutex& d, story& to, auto post) -> detached {
    const auto held = co_await d.lock().resume_on(post);
    to.push_back(held ? "there" : "refused");
  };
  const auto inside = [](async_shared_mutex& d, story& to) -> detached {
    const auto held = co_await d.lock_shared().resume_inline();
    to.push_back(held ? "inside" : "refused");
  };
  std::vector<std::function<void()>> jobs;
  guard alone = door.try_lock();
  there(door, says, [&jobs](auto job) { jobs.emplace_back(job); });
  inside(door, says);
  alone.unlock();
  CHECK(says.empty());
  CHECK(door.held());
  REQUIRE(jobs.size() == 1);
  interlock::detail::trampoline::together([&] {
    jobs[0]();  // its unlock lets the reader in
    CHECK(says == story{"there", "inside"});
  });
}

#if defined(__cpp_lib_jthread)
TEST_CASE("async_shared_mutex: std::stop_token") {
  async_shared_mutex door;
  std::stop_source stop;
  story says;
  visitor r1(says, "r1"), w(says, "w"), r2(says, "r2");
  reads(door, r1, stop.get_token());
  writes(door, w, stop.get_token());
  reads(door, r2);
  std::thread([&] { stop.request_stop(); }).join();
  CHECK(says.front() == "+r1");
  CHECK(says.size() == 3);
  CHECK(w.alone.status() == wait_status::cancelled);
  CHECK(r2.shared.owns_lock());
}
#endif

TEST_CASE("async_shared_mutex: guards move, swap, release and adopt") {
  async_shared_mutex a;
  async_shared_mutex b;
  guard first = a.try_lock();
  guard second = b.try_lock();
  swap(first, second);
  CHECK((first.mutex() == &b && second.mutex() == &a));
  first = std::move(second);  // b is unlocked
  CHECK(is_free(b));
  CHECK(first.mutex() == &a);
  async_shared_mutex* const released = first.release();
  CHECK_FALSE(first.owns_lock());
  CHECK(a.held());
  guard adopted(*released, std::adopt_lock);
  shared_guard shared = adopted.downgrade();
  shared_guard other = b.try_lock_shared();
  swap(shared, other);
  shared = std::move(other);
  CHECK(is_free(b));
  shared_guard again(*shared.release(), std::adopt_lock);
  again.unlock();
  CHECK(is_free(a));
}

TEST_CASE("async_shared_mutex: a coroutine that was let in and is destroyed passes the lock on") {
  async_shared_mutex door;
  story says;
  visitor r(says, "r");
  bool went_on = false;
  const auto waits = [](async_shared_mutex& d, bool& done) -> support::owned {
    const guard held = co_await d.lock();
    done = true;
  };
  guard alone = door.try_lock();
  const support::owned waiting = waits(door, went_on);
  reads(door, r);
  interlock::detail::trampoline::together([&] {
    alone.unlock();
    waiting.handle.destroy();
  });
  CHECK_FALSE(went_on);
  CHECK(says == story{"+r"});
}

TEST_CASE("async_shared_mutex stops at misuse with a sentence") {
  using support::death_message;
  CHECK(death_message([] { guard().unlock(); }) ==
        "interlock: async_shared_mutex::guard::unlock: owns no mutex; ask owns_lock() first\n");
  CHECK(death_message([] { shared_guard().unlock(); }) ==
        "interlock: async_shared_mutex::shared_guard::unlock: owns no mutex; ask owns_lock() first\n");
  CHECK(death_message([] { (void)guard().downgrade(); }) ==
        "interlock: async_shared_mutex::guard::downgrade: owns no mutex; ask owns_lock() first\n");
  const std::string stranger =
      "interlock: async_shared_mutex: unlocked by who does not own it; adopt only what a guard of "
      "the same kind released\n";
  CHECK(death_message([] {
          async_shared_mutex door;
          guard(door, std::adopt_lock).unlock();
        }) == stranger);
  CHECK(death_message([] {
          async_shared_mutex door;
          const guard alone = door.try_lock();
          shared_guard(door, std::adopt_lock).unlock();
        }) == stranger);
  CHECK(death_message([] {
          auto door = std::make_unique<async_shared_mutex>();
          const shared_guard shared = door->try_lock_shared();
          door.reset();
        }) == "interlock: ~async_shared_mutex: still owned; let every guard go first\n");
  CHECK(death_message([] {
          auto door = std::make_unique<async_shared_mutex>();
          story says;
          visitor r(says, "r"), w(says, "w");
          reads(*door, r);
          writes(*door, w);
          door.reset();
        }) == "interlock: ~async_shared_mutex: somebody waits for it; close() it and let them go "
              "first\n");
  CHECK(death_message([] {
          async_shared_mutex door;
          const shared_guard shared = door.try_lock_shared();
          const guard refused = door.try_lock();
        }).find("nobody asked") != std::string::npos);
}
