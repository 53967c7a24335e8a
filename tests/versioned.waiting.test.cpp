// SPDX-License-Identifier: BSL-1.0
// versioned: coroutines and threads that wait for a version, on both kinds of storage.

#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/transaction.hpp>
#include <interlock/versioned.hpp>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

using interlock::versioned;
using namespace std::chrono_literals;

static_assert(sizeof(versioned<std::uint64_t>) == 8 + 16);
static_assert(sizeof(versioned<std::array<std::uint64_t, 8>>) == 64 + 16);

namespace {

template <class T, class Then>
support::detached when_past(const versioned<T>& cell, std::uint64_t seen, Then then) {
  then(co_await cell.async_wait(seen));
}

template <class T, class Then>
support::owned owned_when_past(const versioned<T>& cell, std::uint64_t seen, Then then) {
  co_await cell.async_wait(seen);
  then();
}

// The same for a value in place and one on the heap.
template <class F>
void on_both_kinds(F f) {
  versioned<int> in_place(0);
  f(in_place);
  versioned<std::string> on_heap(std::string("0"));
  f(on_heap);
}

template <class T>
T number(int n) {
  if constexpr (std::is_same_v<T, int>) {
    return n;
  } else {
    return std::to_string(n);
  }
}

template <class T>
using value_of = decltype(std::declval<T&>().load().value);

}  // namespace

TEST_CASE("a coroutine waits for a version as a thread does") {
  on_both_kinds([](auto& cell) {
    using value = value_of<decltype(cell)>;
    cell.store(number<value>(1));
    std::uint64_t version = 0;
    when_past(cell, 0, [&](const auto& seen) { version = seen.version; });
    CHECK(version == 1);  // without being suspended
    const auto next = [](const versioned<value>& from) -> interlock::task<value> {
      const auto seen = co_await from.async_wait(1);
      co_return seen.value;
    };
    std::string data;
    std::thread writer([&] {
      data = "two";
      cell.store(number<value>(2));
    });
    CHECK(interlock::sync_wait(next(cell)) == number<value>(2));
    CHECK(data == "two");
    writer.join();
  });
}

TEST_CASE("a commit wakes only those whose version it has passed") {
  on_both_kinds([](auto& cell) {
    using value = value_of<decltype(cell)>;
    std::vector<std::uint64_t> resumed;
    for (const std::uint64_t seen : {3U, 0U, 2U, 1U, 0U, 9U}) {
      when_past(cell, seen, [&, seen](const auto& now) {
        CHECK(now.version > seen);
        resumed.push_back(seen);
      });
    }
    cell.store(number<value>(1));
    CHECK(resumed == std::vector<std::uint64_t>{0, 0});
    (void)cell.compare_and_set(1, number<value>(2));
    CHECK(resumed.size() == 3);
    cell.store_if_newer(7, number<value>(7));
    CHECK(resumed == std::vector<std::uint64_t>{0, 0, 1, 2, 3});
    cell.store_if_newer(10, number<value>(10));
    CHECK(resumed.size() == 6);
  });
}

TEST_CASE("a transaction wakes those who wait for its cells when all of it is visible") {
  versioned<int> a(0);
  versioned<std::string> b(std::string("0"));
  int resumed = 0;
  when_past(a, 0, [&](const auto&) { resumed += b.load().value == "1" ? 1 : 0; });
  when_past(b, 0, [&](const auto&) { resumed += a.load().value == 1 ? 1 : 0; });
  when_past(b, 1, [&](const auto&) { ++resumed; });
  interlock::atomically([&](interlock::transaction& t) {
    t.write(a, 1);
    t.write(b, std::string("1"));
  });
  CHECK(resumed == 2);
  b.store("2");
  CHECK(resumed == 3);
}

TEST_CASE("a coroutine that a transaction with the turn wakes may take the turn itself") {
  versioned<int> cell(0);
  versioned<int> noise(0);
  versioned<int> other(0);
  const auto loses_often = [&](versioned<int>& written) {
    int runs = 0;
    interlock::atomically([&](interlock::transaction& t) {
      (void)t.read(noise);
      if (++runs < 40) noise.store(runs);  // as another thread might
      t.write(written, 1);
    });
  };
  when_past(cell, 0, [&](const auto&) { loses_often(other); });
  loses_often(cell);
  CHECK(other.load().value == 1);
}

TEST_CASE("waiting for a version allocates nothing and refuses one that cannot come") {
  versioned<int> cell(0);
  std::vector<support::owned> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(owned_when_past(cell, 0, [] {}));
  const std::size_t before = support::allocations();
  CHECK_FALSE(cell.wait_until(0, std::chrono::steady_clock::now() + 1ms));
  cell.store(1);
  CHECK(support::allocations() == before);
  for (const support::owned& one : waiting) one.handle.destroy();
  CHECK_THROWS_AS((void)cell.async_wait(versioned<int>::max_version), std::invalid_argument);
}

TEST_CASE("a coroutine that waits for a version may be destroyed and is not resumed") {
  on_both_kinds([](auto& cell) {
    using value = value_of<decltype(cell)>;
    int resumed = 0;
    std::vector<support::owned> waiting;
    for (std::uint64_t i = 0; i < 6; ++i) {
      waiting.push_back(owned_when_past(cell, i / 3, [&] { ++resumed; }));
    }
    for (const std::size_t gone : {1U, 3U, 5U}) waiting[gone].handle.destroy();
    cell.store(number<value>(1));
    CHECK(resumed == 2);
    cell.store(number<value>(2));
    CHECK(resumed == 3);
    for (const std::size_t done : {0U, 2U, 4U}) waiting[done].handle.destroy();
  });
}

TEST_CASE("a coroutine waits for a version no longer than its deadline") {
  versioned<int> cell(5);
  interlock::manual_timer timer;
  const auto soon = timer.now() + std::chrono::milliseconds(5);
  support::stop_source source;
  std::vector<std::string> log;
  const auto wait = [&](std::uint64_t seen, auto... stop) -> support::detached {
    const auto news = co_await cell.async_wait_until(timer, soon, seen, stop...);
    log.push_back(news ? std::to_string(news->value) : "nothing");
  };
  wait(0);
  wait(1);
  wait(2, source.get_token());
  cell.store(6);
  source.request_stop();
  timer.advance_to(soon);
  cell.store(7);
  wait(1);  // a deadline in the past asks
  wait(2);
  CHECK(log == std::vector<std::string>{"6", "nothing", "nothing", "7", "nothing"});
}

TEST_CASE("a wait for a version ends when its stop is requested") {
  on_both_kinds([](auto& cell) {
    using value = value_of<decltype(cell)>;
    using maybe = std::optional<typename std::remove_reference_t<decltype(cell)>::snapshot>;
    support::stop_source source;
    const auto wait = [](const versioned<value>& from, std::uint64_t seen,
                         support::stop_source::token stop, maybe& news,
                         int& resumed) -> support::detached {
      news = co_await from.async_wait(seen, stop);
      ++resumed;
    };
    maybe news;
    int resumed = 0;
    wait(cell, 0, source.get_token(), news, resumed);
    cell.store(number<value>(1));
    CHECK(resumed == 1);
    CHECK((news && news->version == 1 && news->value == number<value>(1)));
    wait(cell, 1, source.get_token(), news, resumed);
    CHECK(resumed == 1);
    std::thread([&] { source.request_stop(); }).join();
    CHECK(resumed == 2);
    CHECK_FALSE(news);
    wait(cell, 1, source.get_token(), news, resumed);
    CHECK(resumed == 3);  // without being suspended
    CHECK_FALSE(news);
    wait(cell, 0, source.get_token(), news, resumed);
    CHECK((resumed == 4 && news));
    CHECK_THROWS_AS((void)cell.async_wait(versioned<value>::max_version, source.get_token()),
                    std::invalid_argument);
  });
}

TEST_CASE("a coroutine that waited may destroy the cell and others that were woken with it") {
  on_both_kinds([](auto& stack_cell) {
    using cell_type = std::remove_reference_t<decltype(stack_cell)>;
    using value = value_of<decltype(stack_cell)>;
    auto* const cell = new cell_type(number<value>(0));
    bool resumed = false;
    support::owned second{};
    const support::owned first = owned_when_past(*cell, 0, [&] {
      second.handle.destroy();
      delete cell;
    });
    second = owned_when_past(*cell, 0, [&] { resumed = true; });
    cell->store(number<value>(1));
    CHECK_FALSE(resumed);
    first.handle.destroy();
  });
}

TEST_CASE("a value whose copy throws throws from co_await") {
  struct uncopyable_later {
    explicit uncopyable_later(bool t) : throws(t) {}
    uncopyable_later(const uncopyable_later& other) : throws(other.throws) {
      if (throws) throw std::runtime_error("no copy");
    }
    uncopyable_later(uncopyable_later&& other) noexcept : throws(other.throws) {}
    bool throws;
  };
  versioned<uncopyable_later> cell(uncopyable_later(false));
  bool caught = false;
  const auto wait = [](const versioned<uncopyable_later>& from, bool& flag) -> support::detached {
    try {
      (void)co_await from.async_wait(0);
    } catch (const std::runtime_error&) {
      flag = true;
    }
  };
  wait(cell, caught);
  cell.store(uncopyable_later(true));
  CHECK(caught);
}

TEST_CASE("a cell that somebody waits for is not destroyed") {
  CHECK(support::death_message([] {
          auto* const cell = new versioned<int>(0);
          when_past(*cell, 0, [](const auto&) {});
          delete cell;
        }) == "interlock: ~versioned: somebody waits for a version; let every waiter go first\n");
}
