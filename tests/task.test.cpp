// SPDX-License-Identifier: BSL-1.0
// task, sync_wait, reschedule: the contract on one thread, and results that come from another.

#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

static_assert(interlock::detail::awaitable<interlock::task<int>>);
static_assert(!interlock::detail::awaitable<interlock::task<int>&>);  // it is given away
static_assert(!std::is_copy_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_assignable_v<task<int>>);
static_assert(sizeof(task<std::string>) == sizeof(void*));
static_assert(std::is_same_v<decltype(sync_wait(std::declval<task<int&>>())), int&>);
static_assert(std::is_same_v<decltype(sync_wait(std::declval<task<>>())), void>);

using support::detached;

namespace {

// Resumes the coroutine on a new thread, outside any trampoline.
class on_new_thread {
public:
  explicit on_new_thread(std::thread& thread) : thread_(thread) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) {
    std::thread& slot = thread_;
    slot = std::thread([self] { self.resume(); });  // *this may be gone from here on
  }
  void await_resume() const noexcept {}

private:
  std::thread& thread_;
};

struct ready_with {
  int value;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return value; }
};
struct through_member {
  ready_with operator co_await() const noexcept { return {1}; }
};
struct through_function {};
ready_with operator co_await(through_function) noexcept { return {2}; }

task<int> give(int value) { co_return value; }

task<int> fail(const char* why) {
  throw std::runtime_error(why);
  co_return 0;
}

task<std::size_t> await_in_a_loop(std::size_t times) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < times; ++i) {
    const int one = co_await give(1);
    sum += static_cast<std::size_t>(one);
  }
  co_return sum;
}

task<std::size_t> await_nested(std::size_t depth) {
  if (depth == 0) co_return 0;
  const std::size_t below = co_await await_nested(depth - 1);
  co_return below + 1;
}

task<> visit(std::vector<int>& log, int id, int times) {
  for (int i = 0; i < times; ++i) {
    log.push_back(id);
    co_await reschedule();
  }
}

std::string message_of_failure(task<int> work) {
  try {
    return std::to_string(sync_wait(std::move(work)));
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

}  // namespace

TEST_CASE("A task runs when it is awaited and never before") {
  bool ran = false;
  const auto set = [](bool& flag) -> task<> {
    flag = true;
    co_return;
  };
  {
    const task<> never = set(ran);
    CHECK_FALSE(ran);
  }
  CHECK_FALSE(ran);
  sync_wait(set(ran));
  CHECK(ran);
}

TEST_CASE("Its result or its exception reaches the one who awaits it") {
  const auto relay = [](task<int> work) -> task<int> { co_return co_await std::move(work); };
  CHECK(sync_wait(relay(give(7))) == 7);
  CHECK(message_of_failure(relay(relay(fail("no such account")))) == "no such account");

  const auto recover = []() -> task<std::string> {
    std::string caught;
    try {
      co_await fail("caught inside");
    } catch (const std::runtime_error& failure) {
      caught = failure.what();
    }
    co_return caught;
  };
  CHECK(sync_wait(recover()) == "caught inside");
}

TEST_CASE("A million awaits in a loop or nested need no deep stack") {
  const std::size_t times = support::rounds(1'000'000);
  std::size_t looped = 0;
  std::size_t nested = 0;
  REQUIRE(support::on_small_stack([&] { looped = sync_wait(await_in_a_loop(times)); }));
  REQUIRE(support::on_small_stack([&] { nested = sync_wait(await_nested(times)); }));
  CHECK(looped == times);
  CHECK(nested == times);
}

TEST_CASE("sync_wait returns once the awaitable is done and its thread has no coroutine left to run") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    int written = 0;
    std::thread other;
    const auto write = [](int& to, std::thread& thread) -> task<int> {
      co_await on_new_thread(thread);
      to = 42;
      co_return 1;
    };
    const int result = sync_wait(write(written, other));
    const int seen = written;
    if (other.joinable()) other.join();
    REQUIRE(result == 1);
    REQUIRE(seen == 42);
  }
  // A coroutine that the awaitable made ready runs too: no other thread would ever run it.
  bool ran = false;
  const auto leave_one_ready = [](bool& done) -> task<> {
    [](bool& flag) -> detached {
      co_await reschedule();
      flag = true;
    }(done);
    co_return;
  };
  sync_wait(leave_one_ready(ran));
  CHECK(ran);
}

TEST_CASE("After reschedule every coroutine that was ready on the thread has had its turn") {
  std::vector<int> log;
  std::vector<task<>> visitors;
  for (int id = 0; id < 3; ++id) visitors.push_back(visit(log, id, 3));
  sync_wait(when_all(std::move(visitors)));
  CHECK(log == std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1, 2});
}

TEST_CASE("an await runs its task before the other coroutines that are ready") {
  std::vector<int> log;
  const auto note = [](std::vector<int>& to, int id) -> task<> {
    to.push_back(id);
    co_return;
  };
  const auto call_twice = [&note](std::vector<int>& to, int id) -> task<> {
    co_await note(to, id);
    co_await note(to, id);
  };
  std::vector<task<>> both;
  both.push_back(call_twice(log, 1));
  both.push_back(call_twice(log, 2));
  sync_wait(when_all(std::move(both)));
  CHECK(log == std::vector<int>{1, 1, 2, 2});
}

TEST_CASE("a task gives values that can only be moved, and references") {
  const auto boxed = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); };
  CHECK(*sync_wait(boxed()) == 5);

  int target = 0;
  const auto refer = [](int& to) -> task<int&> { co_return to; };
  sync_wait(refer(target)) = 9;
  CHECK(target == 9);

  struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
  };
  const auto made = []() -> task<no_default> { co_return no_default(3); };
  CHECK(sync_wait(made()).value == 3);
}

TEST_CASE("sync_wait takes any awaitable") {
  CHECK(sync_wait(ready_with{5}) == 5);
  CHECK(sync_wait(through_member{}) == 1);
  CHECK(sync_wait(through_function{}) == 2);
  const through_member lvalue;
  CHECK(sync_wait(lvalue) == 1);
  sync_wait(reschedule());
}

TEST_CASE("a coroutine that calls sync_wait lets the others of its thread go on") {
  std::vector<int> log;
  const auto nested = [](std::vector<int>& to) -> task<> {
    sync_wait(visit(to, 1, 3));
    to.push_back(10);
    co_return;
  };
  std::vector<task<>> both;
  both.push_back(nested(log));
  both.push_back(visit(log, 2, 2));
  sync_wait(when_all(std::move(both)));
  CHECK(log == std::vector<int>{1, 2, 1, 2, 1, 10});
}

TEST_CASE("a task can be awaited by a coroutine of another kind") {
  std::string log;
  const auto foreign = [](std::string& to) -> detached {
    const int first = co_await give(1);
    to += std::to_string(first);
    for (int i = 0; i < 3; ++i) co_await reschedule();
    const std::size_t many = co_await await_in_a_loop(1000);
    to += "," + std::to_string(many);
  };
  foreign(log);
  CHECK(log == "1,1000");
}

TEST_CASE("the locals of a task are destroyed before its caller goes on") {
  std::vector<std::string> log;
  struct noisy {
    std::vector<std::string>& log;
    const char* name;
    noisy(std::vector<std::string>& to, const char* called) : log(to), name(called) {}
    noisy(const noisy&) = delete;
    noisy& operator=(const noisy&) = delete;
    ~noisy() { log.emplace_back(name); }
  };
  const auto child = [](std::vector<std::string>& to) -> task<> {
    const noisy local(to, "local");
    co_await reschedule();
  };
  const auto parent = [&child](std::vector<std::string>& to) -> task<> {
    co_await child(to);
    to.emplace_back("caller");
  };
  sync_wait(parent(log));
  CHECK(log == std::vector<std::string>{"local", "caller"});
}

TEST_CASE("a task that is moved runs where it went") {
  task<int> first = give(1);
  task<int> second = give(2);
  second = std::move(first);
  CHECK(sync_wait(std::move(second)) == 1);
  task<int> third = give(3);
  task<int> fourth = give(4);
  third.swap(fourth);
  CHECK(sync_wait(std::move(third)) == 4);
}

TEST_CASE("awaiting a task that is empty or was awaited ends with a sentence") {
  CHECK(support::death_message([] {
          task<int> first = give(1);
          const task<int> second = std::move(first);
          sync_wait(std::move(first));
        }) == "interlock: co_await of a task that was moved from: await the one it moved to\n");
  CHECK(support::death_message([] {
          const auto twice = []() -> task<> {
            task<int> once = give(1);
            co_await std::move(once);
            co_await std::move(once);
          };
          sync_wait(twice());
        }) ==
        "interlock: co_await of a task that was awaited before: call its function again for "
        "another run\n");
}
