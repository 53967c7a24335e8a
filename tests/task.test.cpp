// SPDX-License-Identifier: BSL-1.0
// task, sync_wait, reschedule, stop tokens: the contract on one thread, results that come from
// another, and tasks that are destroyed while they wait.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <version>
#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include "support/allocations.hpp"
#include "support/awaiters.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/stopping.hpp"
#include "support/threads.hpp"

using interlock::current_stop_token;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;
using interlock::with_stop_token;

static_assert(interlock::detail::awaitable<interlock::task<int>>);
static_assert(!interlock::detail::awaitable<interlock::task<int>&>);  // it is given away
static_assert(!std::is_copy_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_assignable_v<task<int>>);
static_assert(sizeof(task<std::string>) == sizeof(void*));
static_assert(std::is_same_v<decltype(sync_wait(std::declval<task<int&>>())), int&>);
static_assert(std::is_same_v<decltype(sync_wait(std::declval<task<>>())), void>);

using support::counted;
using support::detached;
using support::park_in;
using support::ready_with;

namespace {

// A coroutine type that looks at what is awaited, as those of stdexec and folly do.
struct forwarding {
  struct promise_type : detached::promise_type {
    forwarding get_return_object() noexcept { return {}; }
    template <class Awaitable>
    Awaitable&& await_transform(Awaitable&& awaitable) noexcept {
      return static_cast<Awaitable&&>(awaitable);
    }
  };
};

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

task<inplace_stop_token> token_at(int depth) {
  if (depth == 0) co_return co_await current_stop_token();
  co_return co_await token_at(depth - 1);
}

task<bool> stop_seen_after(int yields) {
  for (int i = 0; i < yields; ++i) co_await reschedule();
  const inplace_stop_token stop = co_await current_stop_token();
  co_return stop.stop_requested();
}

// A coroutine of another kind that has a stop token of our kind.
struct foreign_with_token {
  struct promise_type {
    explicit promise_type(inplace_stop_token stop, inplace_stop_token&) : mine(stop) {}
    foreign_with_token get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
    inplace_stop_token get_stop_token() const noexcept { return mine; }
    inplace_stop_token mine;
  };
};

foreign_with_token see_token(inplace_stop_token, inplace_stop_token& to) {
  to = co_await token_at(2);
}

task<> stay(int& alive, std::coroutine_handle<>& to) {
  const counted here(alive);
  co_await park_in{to};
}
task<> stay_below(int depth, int& alive, std::coroutine_handle<>& to) {
  const counted here(alive);
  if (depth == 0) {
    co_await stay(alive, to);
  } else {
    co_await stay_below(depth - 1, alive, to);
  }
}

support::owned start(task<> work, int& ended) {
  co_await std::move(work);
  ++ended;
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

TEST_CASE("all that is awaited here can be awaited behind an await_transform that passes it on") {
  const auto passes_on = [](int& sum) -> forwarding {
    const int first = co_await give(1);
    co_await reschedule();
    const inplace_stop_token stop = co_await current_stop_token();
    const auto both = co_await when_all(give(2), give(3));
    sum = first + std::get<0>(both) + std::get<1>(both) + (stop.stop_possible() ? 100 : 0);
  };
  int sum = 0;
  passes_on(sum);
  CHECK(sum == 6);
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

TEST_CASE("A task has the stop token of the one who awaits it") {
  inplace_stop_source stop;
  CHECK(sync_wait(token_at(0)) == inplace_stop_token());
  CHECK(sync_wait(token_at(0), stop.get_token()) == stop.get_token());
  CHECK(sync_wait(token_at(9), stop.get_token()) == stop.get_token());
  CHECK_FALSE(sync_wait(stop_seen_after(2), stop.get_token()));
  stop.request_stop();
  CHECK(sync_wait(stop_seen_after(2), stop.get_token()));
  CHECK_FALSE(sync_wait(stop_seen_after(2)));

  const auto of_another_kind = [](inplace_stop_token& seen) -> detached {
    seen = co_await token_at(2);
    const inplace_stop_token own = co_await current_stop_token();
    if (own.stop_possible()) seen = own;
  };
  inplace_stop_token seen = stop.get_token();
  of_another_kind(seen);
  CHECK(seen == inplace_stop_token());
  see_token(stop.get_token(), seen);
  CHECK(seen == stop.get_token());
}

TEST_CASE("with_stop_token gives a task another token: the innermost counts") {
  inplace_stop_source outer;
  inplace_stop_source inner;
  CHECK(sync_wait(with_stop_token(inner.get_token(), token_at(3)), outer.get_token()) ==
        inner.get_token());
  CHECK(sync_wait(with_stop_token(outer.get_token(),
                                  with_stop_token(inner.get_token(), token_at(3)))) ==
        inner.get_token());
  CHECK(sync_wait(with_stop_token({}, token_at(3)), outer.get_token()) == inplace_stop_token());
  const auto around = [](inplace_stop_token token) -> task<std::vector<inplace_stop_token>> {
    std::vector<inplace_stop_token> seen;
    seen.push_back(co_await token_at(1));
    seen.push_back(co_await with_stop_token(token, token_at(1)));
    seen.push_back(co_await token_at(1));
    co_return seen;
  };
  CHECK(sync_wait(around(inner.get_token()), outer.get_token()) ==
        std::vector<inplace_stop_token>{outer.get_token(), inner.get_token(), outer.get_token()});
}

TEST_CASE("sync_wait hands on a stop of any kind of token, and any awaitable takes one") {
  support::stop_source stop;
  const auto stop_halfway = [](auto& source) -> task<bool> {
    const bool before = co_await stop_seen_after(1);
    source.request_stop();
    const bool after = co_await stop_seen_after(1);
    co_return !before && after;
  };
  CHECK(sync_wait(stop_halfway(stop), stop.get_token()));
  CHECK(sync_wait(stop_seen_after(0), stop.get_token()));  // requested before
  inplace_stop_source other;
  CHECK(sync_wait(current_stop_token(), other.get_token()) == other.get_token());
  CHECK(sync_wait(ready_with{5}, other.get_token()) == 5);
#if defined(__cpp_lib_jthread)
  std::stop_source standard;
  CHECK(sync_wait(stop_halfway(standard), standard.get_token()));
#endif
}

TEST_CASE("a stop from another thread reaches a task that waits for it") {
  for (std::size_t i = 0; i < support::rounds(200); ++i) {
    inplace_stop_source stop;
    std::thread other([&] { stop.request_stop(); });
    const auto poll = []() -> task<int> {
      const inplace_stop_token mine = co_await current_stop_token();
      int turns = 0;
      for (; !mine.stop_requested(); ++turns) co_await reschedule();
      co_return turns;
    };
    const int turns = sync_wait(poll(), stop.get_token());
    other.join();
    REQUIRE(turns >= 0);
  }
}

TEST_CASE("stop tokens cost no allocation, and a task one") {
  if (!support::counts_allocations) return;
  inplace_stop_source stop;
  const auto measure = [](inplace_stop_token token) -> task<std::size_t> {
    const std::size_t before = support::allocations();
    const int one = co_await with_stop_token(token, give(1));
    const inplace_stop_token mine = co_await current_stop_token();
    co_await reschedule();
    co_return support::allocations() - before - static_cast<std::size_t>(mine == token ? one : 9);
  };
  CHECK(sync_wait(measure(stop.get_token()), stop.get_token()) == 0);
  const std::size_t before = support::allocations();
  sync_wait(token_at(0), stop.get_token());
  CHECK(support::allocations() - before == 1);
}

TEST_CASE("a task that is destroyed while it waits takes the tasks that it awaits along") {
  int alive = 0;
  int ended = 0;
  std::coroutine_handle<> parked;
  {
    const support::owned whole = start(stay_below(10, alive, parked), ended);
    CHECK(alive == 12);
    whole.handle.destroy();
  }
  CHECK(alive == 0);
  // The same inside a coroutine, which goes on.
  const auto destroyer = [](int& n, int& ends, std::coroutine_handle<>& to) -> task<> {
    const support::owned whole = start(stay_below(3, n, to), ends);
    co_await reschedule();
    CHECK(n == 5);
    whole.handle.destroy();
    CHECK(n == 0);
    co_await reschedule();
  };
  sync_wait(destroyer(alive, ended, parked));
  CHECK(ended == 0);
}

TEST_CASE("a coroutine that is ready may be destroyed before its turn, on its thread") {
  int alive = 0;
  int ended = 0;
  std::coroutine_handle<> parked;
  const auto destroyer = [](int& n, int& ends, std::coroutine_handle<>& to) -> task<> {
    {  // a task that has not begun
      const support::owned whole = start(stay_below(1, n, to), ends);
      CHECK(n == 0);
      whole.handle.destroy();
    }
    {  // one whose child has ended
      support::owned whole = start(stay_below(1, n, to), ends);
      co_await reschedule();
      interlock::detail::trampoline::together([&] {
        to.resume();  // its caller is ready, and this coroutine is not suspended
        whole.handle.destroy();
      });
    }
    {  // one that waits for its turn
      const auto give_way = [](int& count) -> task<> {
        const counted here(count);
        co_await reschedule();
        ++count;
      };
      const support::owned first = start(give_way(n), ends);
      const support::owned second = start(give_way(n), ends);
      co_await reschedule();
      CHECK(n == 2);
      second.handle.destroy();
      co_await reschedule();
      CHECK(ends == 1);
      first.handle.destroy();
    }
    co_await reschedule();
  };
  sync_wait(destroyer(alive, ended, parked));
  CHECK(ended == 1);
  CHECK(alive == 1);  // what the first one added at its end
}

TEST_CASE("destroying a coroutine that another thread is about to resume ends with a sentence") {
  CHECK(support::death_message([] {
          std::coroutine_handle<> parked;
          int alive = 0;
          int ended = 0;
          const support::owned whole = start(stay(alive, parked), ended);
          interlock::detail::trampoline::together([&] {
            parked.resume();  // the task has ended: its caller is ready, here
            std::thread([&] { whole.handle.destroy(); }).join();
          });
        }) ==
        "interlock: a coroutine was destroyed while another thread was about to resume it; "
        "destroy it on that thread, or where nothing that it awaits can end meanwhile\n");
}

TEST_CASE("a million tasks under as many stop tokens, and as many exceptions, need no deep stack") {
  const std::size_t times = support::rounds(1'000'000);
  std::size_t seen = 0;
  bool caught = false;
  REQUIRE(support::on_small_stack([&] {
    const auto nest = [](auto& self, std::size_t depth) -> task<std::size_t> {
      if (depth == 0) co_return 0;
      inplace_stop_source own;
      const std::size_t below =
          co_await with_stop_token(own.get_token(), self(self, depth - 1));
      co_return below + 1;
    };
    seen = sync_wait(nest(nest, times));
    const auto fail_below = [](auto& self, std::size_t depth) -> task<> {
      if (depth == 0) throw std::runtime_error("from below");
      co_await self(self, depth - 1);
    };
    try {
      sync_wait(fail_below(fail_below, times / 10));
    } catch (const std::runtime_error&) {
      caught = true;
    }
  }));
  CHECK(seen == times);
  CHECK(caught);
}

TEST_CASE("sync_wait ends wherever it is called: in a callback, under an unlock, under another") {
  const auto two_turns = [](std::vector<std::string>& log, std::string who) -> task<> {
    co_await reschedule();
    log.push_back(who);
    co_await reschedule();
  };
  std::vector<std::string> log;
  // In a stop callback, while the list collects those whom the callbacks wake.
  inplace_stop_source stop;
  const auto in_callback = [&] { sync_wait(two_turns(log, "callback")); };
  {
    const interlock::inplace_stop_callback bell(stop.get_token(), in_callback);
    stop.request_stop();
  }
  // Under an unlock, whose thread resumes the next owner there and then.
  interlock::async_mutex door;
  auto held = door.try_lock();
  const auto waits = [&]() -> detached {
    const auto mine = co_await door.lock().resume_inline();
    sync_wait(two_turns(log, "unlock"));
  };
  waits();
  held.unlock();
  // Ten deep, each inside a coroutine that the one above resumed.
  const auto nested = [&](auto& self, int depth) -> task<> {
    if (depth > 0) sync_wait(self(self, depth - 1));
    co_await two_turns(log, "nested");
  };
  sync_wait(nested(nested, 9));
  // With a stop that comes while it waits, from a coroutine of the same thread.
  inplace_stop_source later;
  const auto outer = [&]() -> task<> {
    const auto stops = [](inplace_stop_source& source) -> detached {
      co_await reschedule();
      co_await reschedule();
      source.request_stop();
    };
    stops(later);
    const auto poll = []() -> task<> {
      const inplace_stop_token mine = co_await current_stop_token();
      while (!mine.stop_requested()) co_await reschedule();
    };
    sync_wait(poll(), later.get_token());
    log.emplace_back("stopped");
    co_return;
  };
  sync_wait(outer());
  CHECK(log.size() == 13);
  CHECK(log.front() == "callback");
  CHECK(log.back() == "stopped");
}

TEST_CASE("a section that runs alone has the stop token of the one who awaits it") {
  interlock::async_mutex door;
  inplace_stop_source stop;
  const auto caller = [&]() -> task<inplace_stop_token> {
    inplace_stop_token seen;
    const auto done = co_await door.run_exclusive([&]() -> task<> { seen = co_await token_at(1); });
    co_return done ? seen : inplace_stop_token();
  };
  CHECK(sync_wait(caller(), stop.get_token()) == stop.get_token());
}
