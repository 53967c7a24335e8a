// SPDX-License-Identifier: BSL-1.0
// when_all on one thread: order, results, failures, stops, what it allocates, and its end.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <list>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/allocations.hpp"
#include "support/awaiters.hpp"
#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::current_stop_token;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;
using interlock::with_stop_token;

using support::counted;
using support::detached;
using support::park_in;
using support::ready_with;

namespace {

task<int> square_later(int value, std::vector<std::string>& log) {
  log.push_back("start " + std::to_string(value));
  for (int i = value; i < 3; ++i) co_await reschedule();  // the first one ends last
  log.push_back("end " + std::to_string(value));
  co_return value * value;
}

task<int> fail_later(std::string why, int after, int& ended) {
  for (int i = 0; i < after; ++i) co_await reschedule();
  ++ended;
  throw std::runtime_error(why);
}

task<int> succeed_later(int after, int& ended) {
  for (int i = 0; i < after; ++i) co_await reschedule();
  ++ended;
  co_return 0;
}

detached sum_of(std::vector<task<int>> tasks, int& sum) {
  const std::vector<int> results = co_await when_all(std::move(tasks));
  for (const int each : results) sum += each;
}

task<> count(std::size_t& counter) {
  ++counter;
  co_return;
}

task<int> succeed() { co_return 1; }

task<std::size_t> gather_nested(std::size_t depth) {
  if (depth == 0) co_return 0;
  const auto below = co_await when_all(gather_nested(depth - 1));
  co_return std::get<0>(below) + 1;
}

// Returns: what the awaitable throws.
template <class Awaitable>
std::string message_of(Awaitable awaitable) {
  try {
    sync_wait(std::move(awaitable));
  } catch (const std::runtime_error& failure) {
    return failure.what();
  }
  return "nothing";
}

task<int> until_stopped(std::string who, std::vector<std::string>& log) {
  const inplace_stop_token stop = co_await current_stop_token();
  while (!stop.stop_requested()) co_await reschedule();
  log.push_back(who + " stopped");
  co_return 0;
}

task<int> fail_when_stopped(std::string who, std::vector<std::string>& log) {
  co_await until_stopped(who, log);
  throw std::runtime_error("a consequence");
}

struct through_member {
  int value;
  ready_with operator co_await() const noexcept { return {value}; }
};
struct counts_moves : ready_with {
  explicit counts_moves(int& to) : ready_with{7}, moves(&to) {}
  counts_moves(counts_moves&& other) noexcept : ready_with(other), moves(other.moves) { ++*moves; }
  int* moves;
};
struct pinned : ready_with {
  explicit pinned(int with) : ready_with{with} {}
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;
};

task<> stay(int& alive, std::coroutine_handle<>& to) {
  const counted here(alive);
  co_await park_in{to};
}

}  // namespace

TEST_CASE("when_all starts its children in order without waiting for any of them") {
  const std::vector<std::string> expected{"start 1", "start 2", "start 3",
                                          "end 3",   "end 2",   "end 1"};
  std::vector<std::string> log;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  sync_wait(when_all(std::move(tasks)));
  CHECK(log == expected);
  log.clear();
  sync_wait(when_all(square_later(1, log), square_later(2, log), square_later(3, log)));
  CHECK(log == expected);
}

TEST_CASE("It ends when all of them have ended and gives their results in order") {
  std::vector<std::string> log;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  CHECK(sync_wait(when_all(std::move(tasks))) == std::vector<int>{1, 4, 9});
  CHECK(log.size() == 6);
  CHECK(sync_wait(when_all(square_later(1, log), square_later(2, log))) == std::tuple(1, 4));
  CHECK(log.size() == 10);
}

TEST_CASE("The failure that came first is thrown only after all of them have ended") {
  int ended = 0;
  std::vector<task<int>> tasks;
  tasks.push_back(succeed_later(9, ended));
  tasks.push_back(fail_later("late", 5, ended));
  tasks.push_back(fail_later("early", 1, ended));
  CHECK(message_of(when_all(std::move(tasks))) == "early");
  CHECK(ended == 3);
  CHECK(message_of(when_all(succeed_later(9, ended), fail_later("late", 5, ended),
                            fail_later("early", 1, ended))) == "early");
  CHECK(ended == 6);
}

TEST_CASE("A failure requests stop of the others") {
  std::vector<std::string> log;
  std::vector<task<int>> tasks;
  tasks.push_back(until_stopped("first", log));
  tasks.push_back(fail_when_stopped("second", log));
  int ended = 0;
  tasks.push_back(fail_later("the cause", 3, ended));
  tasks.push_back(until_stopped("last", log));
  CHECK(message_of(when_all(std::move(tasks))) == "the cause");
  CHECK(log == std::vector<std::string>{"last stopped", "first stopped", "second stopped"});
  log.clear();
  CHECK(message_of(when_all(until_stopped("first", log), fail_later("the cause", 0, ended),
                            fail_when_stopped("last", log))) == "the cause");
  CHECK(log == std::vector<std::string>{"last stopped", "first stopped"});
}

TEST_CASE("A stop of the one who awaits when_all is a stop of its children") {
  std::vector<std::string> log;
  inplace_stop_source stop;
  const auto stop_later = [](inplace_stop_source& source) -> task<int> {
    for (int i = 0; i < 3; ++i) co_await reschedule();
    source.request_stop();
    co_return 0;
  };
  // Two levels: the inner one hears of it through the outer one.
  sync_wait(when_all(when_all(until_stopped("inner", log), until_stopped("also inner", log)),
                     until_stopped("outer", log), with_stop_token({}, stop_later(stop))),
            stop.get_token());
  CHECK(log.size() == 3);
  // Before it began: they start, and see it.
  log.clear();
  sync_wait(when_all(until_stopped("a", log), until_stopped("b", log)), stop.get_token());
  CHECK(log == std::vector<std::string>{"a stopped", "b stopped"});
}

TEST_CASE("a failure stops nobody but the others, and nobody after when_all") {
  std::vector<std::string> log;
  int ended = 0;
  const auto caller = [](std::vector<std::string>& to, int& count) -> task<bool> {
    try {
      co_await when_all(until_stopped("child", to), fail_later("cause", 1, count));
    } catch (const std::runtime_error&) {
      to.emplace_back("caught");
    }
    const inplace_stop_token mine = co_await current_stop_token();
    co_return mine.stop_requested();
  };
  inplace_stop_source stop;
  CHECK_FALSE(sync_wait(caller(log, ended), stop.get_token()));
  CHECK(log == std::vector<std::string>{"child stopped", "caught"});
  CHECK_FALSE(stop.stop_requested());
}

TEST_CASE("a child with a stop token of its own is not stopped by the failure of another") {
  inplace_stop_source own;
  int ended = 0;
  const auto seen = [](int yields) -> task<bool> {
    for (int i = 0; i < yields; ++i) co_await reschedule();
    const inplace_stop_token mine = co_await current_stop_token();
    co_return mine.stop_requested();
  };
  bool stopped = true;
  const auto keep = [](task<bool> work, bool& to) -> task<int> {
    to = co_await std::move(work);
    co_return 0;
  };
  CHECK(message_of(when_all(with_stop_token(own.get_token(), keep(seen(5), stopped)),
                            fail_later("cause", 0, ended))) == "cause");
  CHECK_FALSE(stopped);
}

TEST_CASE("when_all takes any awaitable: void gives std::monostate, references stay references") {
  int target = 0;
  const auto refer = [](int& to) -> task<int&> { co_return to; };
  const auto nothing = []() -> task<> { co_return; };
  const auto boxed = [](int value) -> task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(value);
  };
  ready_with named{3};
  auto [a, b, c, d, e, f] = sync_wait(when_all(nothing(), refer(target), boxed(2), named,
                                               through_member{4}, reschedule()));
  STATIC_REQUIRE(std::is_same_v<decltype(a), std::monostate>);
  STATIC_REQUIRE(std::is_same_v<decltype(f), std::monostate>);
  b = 9;
  CHECK(target == 9);
  CHECK(*c == 2);
  CHECK(d == 3);
  CHECK(e == 4);
  CHECK(sync_wait(when_all()) == std::tuple<>());
  CHECK(sync_wait(when_all(when_all(named), nothing())) ==
        std::tuple(std::tuple(3), std::monostate()));
}

TEST_CASE("when_all keeps what can be moved and uses what cannot where it is") {
  int moves = 0;
  auto all = when_all(counts_moves{moves}, task<int>(succeed()));
  const int before = moves;
  CHECK(before >= 1);
  CHECK(sync_wait(std::move(all)) == std::tuple(7, 1));
  pinned here{5};
  CHECK(sync_wait(when_all(here, pinned{6})) == std::tuple(5, 6));  // lvalue, temporary
}

TEST_CASE("when_all of locks gives their guards, also if it is awaited behind another statement") {
  interlock::async_mutex one;
  interlock::async_mutex two;
  {
    auto both = when_all(one.lock(), two.lock());
    CHECK(one.try_lock().owns_lock());  // nothing has begun
    const auto [first, second] = sync_wait(std::move(both));
    CHECK(first.owns_lock());
    CHECK(second.owns_lock());
    CHECK_FALSE(two.try_lock().owns_lock());
  }
  CHECK(one.try_lock().owns_lock());
  CHECK(two.try_lock().owns_lock());
}

TEST_CASE("when_all takes any range of tasks that can be gone through twice") {
  std::list<task<int>> list;
  for (int i = 1; i <= 3; ++i) list.push_back(succeed());
  CHECK(sync_wait(when_all(std::move(list))) == std::vector<int>{1, 1, 1});
  std::array<task<int>, 2> array{succeed(), succeed()};
  CHECK(sync_wait(when_all(std::span(array))) == std::vector<int>{1, 1});  // which stay mine
  std::size_t counter = 0;
  std::array<task<>, 2> voids{count(counter), count(counter)};
  STATIC_REQUIRE(std::is_same_v<decltype(when_all(std::move(voids))), task<>>);
  sync_wait(when_all(std::move(voids)));
  CHECK(counter == 2);
}

TEST_CASE("when_all allocates nothing for tasks, and for a range a frame and a vector") {
  if (!support::counts_allocations) return;
  const auto measure = []() -> task<std::array<std::size_t, 3>> {
    std::array<std::size_t, 3> used{};
    std::size_t before = support::allocations();
    co_await when_all(succeed(), succeed(), succeed());
    used[0] = support::allocations() - before - 3;  // the frames of the tasks
    before = support::allocations();
    co_await when_all(succeed(), reschedule(), ready_with{1});
    used[1] = support::allocations() - before - 1;
    std::array<task<int>, 2> two{succeed(), succeed()};
    before = support::allocations();
    co_await when_all(std::span(two));
    used[2] = support::allocations() - before;
    co_return used;
  };
  CHECK(sync_wait(measure()) == std::array<std::size_t, 3>{0, 2, 2});
}

TEST_CASE("a when_all that is destroyed while it waits takes its children along") {
  int alive = 0;
  std::coroutine_handle<> parked;
  const auto gather = [](int& n, std::coroutine_handle<>& to) -> support::owned {
    co_await when_all(stay(n, to), succeed(), stay(n, to));
  };
  gather(alive, parked).handle.destroy();
  CHECK(alive == 0);
  const auto gather_range = [](int& n, std::coroutine_handle<>& to) -> support::owned {
    std::vector<task<>> tasks;
    tasks.push_back(stay(n, to));
    tasks.push_back(stay(n, to));
    co_await when_all(std::move(tasks));
  };
  gather_range(alive, parked).handle.destroy();
  CHECK(alive == 0);
}

TEST_CASE("a when_all may be destroyed before its children had their first turn or it its last") {
  int alive = 0;
  // Ready on this thread behind the destroyer: children that have not begun.
  const auto gather = [](int& n, std::coroutine_handle<>& to) -> support::owned {
    co_await when_all(stay(n, to), stay(n, to));
  };
  std::coroutine_handle<> parked;
  const auto destroy_unbegun = [&]() -> task<> {
    const support::owned all = gather(alive, parked);  // queues both children: this one runs
    all.handle.destroy();
    CHECK(alive == 0);
    co_return;
  };
  sync_wait(destroy_unbegun());
  // All children have ended, and the caller is ready: destroyed before its turn.
  const auto destroy_ready = [&]() -> task<> {
    const support::owned all = gather(alive, parked);
    co_await reschedule();  // the first child and the second are parked now
    CHECK(alive == 2);
    all.handle.destroy();
    CHECK(alive == 0);
    const support::owned ends = [](int& n) -> support::owned {
      co_await when_all(succeed(), succeed());
      ++n;
    }(alive);
    co_await reschedule();  // both have ended: their caller is behind this one
    ends.handle.destroy();
    co_await reschedule();
    CHECK(alive == 0);
  };
  sync_wait(destroy_ready());
}

TEST_CASE("when_all of nothing is done at once") {
  CHECK(sync_wait(when_all(std::vector<task<int>>())).empty());
  sync_wait(when_all(std::vector<task<>>()));
}

TEST_CASE("when_all can be awaited by a coroutine of another kind") {
  std::vector<std::string> log;
  int sum = 0;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  sum_of(std::move(tasks), sum);
  CHECK(sum == 14);
}

TEST_CASE("when_all gives values that can only be moved") {
  const auto boxed = [](int value) -> task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(value);
  };
  std::vector<task<std::unique_ptr<int>>> tasks;
  tasks.push_back(boxed(1));
  tasks.push_back(boxed(2));
  const auto results = sync_wait(when_all(std::move(tasks)));
  REQUIRE(results.size() == 2);
  CHECK(*results[1] == 2);
}

TEST_CASE("when_all of a million tasks needs no deep stack") {
  const std::size_t n = support::rounds(1'000'000);
  std::size_t counter = 0;
  std::size_t failed = 0;
  REQUIRE(support::on_small_stack([&] {
    std::vector<task<>> tasks;
    for (std::size_t i = 0; i < n; ++i) tasks.push_back(count(counter));
    sync_wait(when_all(std::move(tasks)));
  }));
  CHECK(counter == n);
  // And if all of them wait for a stop, which the last one brings about by its failure.
  REQUIRE(support::on_small_stack([&] {
    std::vector<std::string> log;
    std::vector<task<>> tasks;
    const auto wait = [](std::size_t& to) -> task<> {
      const inplace_stop_token stop = co_await current_stop_token();
      while (!stop.stop_requested()) co_await reschedule();
      ++to;
    };
    const auto fail = []() -> task<> {
      throw std::runtime_error("cause");
      co_return;
    };
    for (std::size_t i = 0; i < n / 4; ++i) tasks.push_back(wait(failed));
    tasks.push_back(fail());
    message_of(when_all(std::move(tasks)));
  }));
  CHECK(failed == n / 4);
}

TEST_CASE("a million when_alls in a loop or nested need no deep stack") {
  const std::size_t n = support::rounds(1'000'000);
  std::size_t counter = 0;
  std::size_t depth = 0;
  REQUIRE(support::on_small_stack([&] {
    const auto loop = [](std::size_t times, std::size_t& to) -> task<> {
      for (std::size_t i = 0; i < times; ++i) co_await when_all(count(to), reschedule());
    };
    sync_wait(loop(n, counter));
    depth = sync_wait(gather_nested(n));
  }));
  CHECK(counter == n);
  CHECK(depth == n);
}
