// SPDX-License-Identifier: BSL-1.0
// The three hooks, the internal mutex, the waiter node and the trampoline.

#include <interlock/detail/futex_mutex.hpp>
#include <interlock/detail/misuse.hpp>
#include <interlock/detail/waiter.hpp>

#include <chrono>
#include <mutex>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/threads.hpp"

namespace il = interlock::detail;

using support::detached;

namespace {

struct wait_in {
  std::vector<il::waiter*>& line;
  il::coroutine_waiter node{};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) {
    node.continuation = self;
    line.push_back(&node);
  }
  void await_resume() const noexcept {}
};

detached wake_the_next_when_woken(std::vector<il::waiter*>& line, std::size_t index,
                                  std::size_t& resumed) {
  co_await wait_in{line};
  ++resumed;
  if (index + 1 < line.size()) line[index + 1]->wake();
}

detached append_when_woken(std::vector<il::waiter*>& line, std::vector<int>& order, int id) {
  co_await wait_in{line};
  order.push_back(id);
}

}  // namespace

TEST_CASE("park returns when the word holds another value or after unpark") {
  il::park_word word{1};
  il::park(word, 0);  // returns: the word is not 0
  std::thread sleeper([&] {
    while (word.load(std::memory_order_acquire) == 1) il::park(word, 1);
  });
  word.store(2, std::memory_order_release);
  il::unpark_all(&word);
  sleeper.join();
  CHECK(word.load() == 2);
}

TEST_CASE("park_until returns false once the deadline has passed") {
  il::park_word word{0};
  bool in_time = true;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
  while (in_time) in_time = il::park_until(word, 0, deadline);
  CHECK(std::chrono::steady_clock::now() >= deadline);
  CHECK_FALSE(il::park_until(word, 0, std::chrono::steady_clock::time_point::min()));
  CHECK(il::park_until(word, 7, std::chrono::steady_clock::time_point::max()));
}

TEST_CASE("coarse_now goes on, never back, and never ahead of steady_clock") {
  const auto steady = [] { return std::chrono::steady_clock::now().time_since_epoch(); };
  const std::chrono::nanoseconds begin = il::coarse_now();
  std::chrono::nanoseconds last = begin;
  bool in_order = true;
  while (last - begin < std::chrono::milliseconds(20)) {
    const std::chrono::nanoseconds now = il::coarse_now();
    in_order = in_order && last <= now && now <= steady();
    last = now;
  }
  CHECK(in_order);
}

TEST_CASE("futex_mutex lets one thread in at a time") {
  il::futex_mutex mutex;
  const std::size_t each = support::rounds(200'000);
  std::size_t total = 0;
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      const std::lock_guard lock(mutex);
      ++total;
    }
  });
  CHECK(total == 4 * each);
  CHECK(mutex.try_lock());
  CHECK_FALSE(mutex.try_lock());
  mutex.unlock();
}

TEST_CASE("a thread that waits sees what was done before its wake-up") {
  for (std::size_t i = 0; i < support::rounds(2'000); ++i) {
    int data = 0;
    int seen = -1;
    il::thread_waiter node;
    std::thread waker([&] {
      data = 42;
      node.wake();
    });
    node.wait();
    seen = data;
    waker.join();
    REQUIRE(seen == 42);
  }
}

TEST_CASE("a chain of a million wake-ups needs no stack") {
  const std::size_t length = support::rounds(1'000'000);
  std::vector<il::waiter*> line;
  line.reserve(length);
  std::size_t resumed = 0;
  for (std::size_t i = 0; i < length; ++i) wake_the_next_when_woken(line, i, resumed);
  line.front()->wake();
  CHECK(resumed == length);
}

TEST_CASE("waiters are woken in the order of the list") {
  std::vector<il::waiter*> line;
  std::vector<int> order;
  for (int id = 0; id < 5; ++id) append_when_woken(line, order, id);
  for (std::size_t i = 0; i + 1 < line.size(); ++i) line[i + 1]->next = line[i];
  line.front()->next = nullptr;  // a stack: last arrival first
  il::wake_all(il::reverse(line.back()));
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("a coroutine that is woken with others goes on after the last of them is woken") {
  std::vector<il::waiter*> line;
  std::vector<int> order;
  for (int id = 0; id < 3; ++id) append_when_woken(line, order, id);
  il::trampoline::together([&] {
    line[1]->wake();
    line[0]->wake();
    CHECK(order.empty());
    il::trampoline::together([&] { line[2]->wake(); });
    CHECK(order.empty());
  });
  CHECK(order == std::vector<int>{1, 0, 2});
}

TEST_CASE("a coroutine that is ready can be forgotten, wherever it is in the line") {
  for (const std::size_t gone : {0U, 1U, 2U, 3U}) {
    std::vector<il::waiter*> line;
    std::vector<int> order;
    for (int id = 0; id < 3; ++id) append_when_woken(line, order, id);
    std::vector<int> expected{0, 1, 2};
    il::trampoline::together([&] {
      for (il::waiter* each : line) each->wake();
      if (gone < 3) {
        auto& node = static_cast<il::coroutine_waiter&>(*line[gone]);
        il::trampoline::forget(node);
        node.continuation.destroy();
        expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(gone));
      }
      line.clear();
      append_when_woken(line, order, 7);
      line[0]->wake();  // lands behind those that are left
      expected.push_back(7);
    });
    CHECK(order == expected);
  }
}

TEST_CASE("misuse ends the process with its sentence") {
  CHECK(support::death_message([] { il::misuse("do this instead"); }) ==
        "interlock: do this instead\n");
  CHECK(support::death_message([] {}) == "(survived)");
}
