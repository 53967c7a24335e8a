// SPDX-License-Identifier: BSL-1.0
// Our awaitables in coroutine types of others: some pass on what they are given, as the promises of
// stdexec, folly and cppcoro do; and an awaitable that can be moved is a sender of std::execution.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/wait_status.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::wait_status;

namespace {

// A coroutine whose promise looks at what is awaited and passes it on, as it came.
struct forwarding {
  struct promise_type {
    forwarding get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
    template <class Awaitable>
    Awaitable&& await_transform(Awaitable&& awaitable) noexcept {
      return static_cast<Awaitable&&>(awaitable);
    }
  };
};

forwarding logs_turn(async_mutex& door, std::vector<std::string>& log, std::string name) {
  const auto held = co_await door.lock();
  log.push_back(name + " " + to_string(held.status()));
}

forwarding logs_turn(async_mutex& door, std::vector<std::string>& log, std::string name,
                     inplace_stop_token stop) {
  const auto held = co_await door.lock(stop);
  log.push_back(name + " " + to_string(held.status()));
}

forwarding logs_call(async_mutex& door, std::vector<std::string>& log) {
  const auto done = co_await door.run_exclusive([&log] { log.emplace_back("inside"); });
  log.emplace_back(done ? "done" : "refused");
}

// ---- what [exec.connect] does with an awaitable -------------------------------------------------

// The operation state: a coroutine that is suspended until start().
struct operation {
  struct promise_type {
    operation get_return_object() noexcept {
      return operation(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };

  explicit operation(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;
  ~operation() { frame_.destroy(); }
  void start() noexcept { frame_.resume(); }

private:
  std::coroutine_handle<promise_type> frame_;
};

template <class Sender, class Receiver>
operation connect_awaitable(Sender sender, Receiver receiver) {
  auto result = co_await static_cast<Sender&&>(sender);
  receiver(std::move(result));
}

template <class Sender, class Receiver>
operation connect(Sender&& sender, Receiver receiver) {
  return connect_awaitable<std::remove_cvref_t<Sender>>(std::forward<Sender>(sender),
                                                        std::move(receiver));
}

// std::execution: a sender is what can be moved, and be awaited in any coroutine.
template <class T>
concept sender_by_await = std::move_constructible<T> && requires(T&& t) {
  { t.await_ready() } -> std::same_as<bool>;
  { t.await_suspend(std::coroutine_handle<>()) } -> std::same_as<bool>;
  t.await_resume();
};

static_assert(sender_by_await<decltype(std::declval<async_mutex&>().lock())>);
static_assert(
    sender_by_await<decltype(std::declval<async_mutex&>().lock(inplace_stop_token()))>);
static_assert(!std::is_copy_constructible_v<decltype(std::declval<async_mutex&>().lock())>);

}  // namespace

TEST_CASE("a coroutine whose promise passes on what it awaits waits its turn") {
  async_mutex door;
  inplace_stop_source stop;
  std::vector<std::string> log;
  auto held = door.try_lock();
  logs_turn(door, log, "first");
  logs_turn(door, log, "second", stop.get_token());
  logs_turn(door, log, "third");
  logs_call(door, log);
  CHECK(log.empty());
  stop.request_stop();
  CHECK(log == std::vector<std::string>{"second cancelled"});
  held.unlock();
  CHECK(log == std::vector<std::string>{"second cancelled", "first acquired", "third acquired",
                                        "inside", "done"});
  CHECK_FALSE(door.held());
}

TEST_CASE("an awaitable is connected and started as a sender") {
  async_mutex door;
  inplace_stop_source stop;
  std::optional<wait_status> one;
  std::optional<wait_status> other;
  auto held = door.try_lock();
  {
    auto waits = door.lock();  // moved into the operation, as a sender that has a name
    operation first = connect(std::move(waits), [&one](auto got) { one = got.status(); });
    operation second =
        connect(door.lock(stop.get_token()), [&other](auto got) { other = got.status(); });
    CHECK(door.waiters_approx() == 0);  // a sender does nothing until its operation is started
    first.start();
    second.start();
    CHECK(door.waiters_approx() == 2);
    stop.request_stop();
    CHECK(other == wait_status::cancelled);
    CHECK_FALSE(one);
    held.unlock();
    CHECK(one == wait_status::acquired);
  }
  CHECK_FALSE(door.held());
}

TEST_CASE("an operation that is destroyed while it waits leaves") {
  async_mutex door;
  const auto held = door.try_lock();
  {
    inplace_stop_source stop;
    operation never = connect(door.lock(stop.get_token()), [](auto) {});
    never.start();
    CHECK(door.waiters_approx() == 1);
  }
  CHECK(door.waiters_approx() == 0);
}
