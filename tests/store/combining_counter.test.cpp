// SPDX-License-Identifier: BSL-1.0
// combining_counter: each guarantee, over the engine in memory.

#include <interlock/memory/counter.hpp>
#include <interlock/store/combining_counter.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <limits>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace store = interlock::store;
namespace memory = interlock::memory;
using combining = store::combining_counter<memory::counter>;

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

// A gate in front of the engine's adds: the first one stops there until it is opened.
class gate {
public:
  explicit gate(memory::client& engine) {
    engine.inject(memory::faults([this](const memory::request& r) {
      if (r.writes && !r.done && !used_.exchange(true)) {
        arrived_.release();
        open_.acquire();
      }
      return memory::fault::none();
    }));
  }
  void wait() { arrived_.acquire(); }
  void open() { open_.release(); }

private:
  std::atomic<bool> used_{false};
  std::binary_semaphore arrived_{0};
  std::binary_semaphore open_{0};
};

// Effects: behind the gate, one add of 0, and then these as one batch.
std::vector<store::outcome<std::int64_t>> together(memory::client& engine, const combining& hits,
                                                   const std::vector<std::int64_t>& amounts,
                                                   memory::faults behind = {}) {
  std::vector<std::optional<store::outcome<std::int64_t>>> answers(amounts.size());
  std::latch done(static_cast<std::ptrdiff_t>(amounts.size()));
  const auto one = [&](std::size_t i) -> support::detached {
    answers[i].emplace(co_await hits.async_add(amounts[i]));
    done.count_down();
  };
  {
    gate door(engine);
    std::thread first([&] { (void)hits.add(0); });
    door.wait();
    for (std::size_t i = 0; i < amounts.size(); ++i) one(i);  // until it is suspended in the line
    engine.inject(std::move(behind));
    door.open();
    first.join();
    done.wait();
  }
  std::vector<store::outcome<std::int64_t>> given;
  for (auto& each : answers) given.push_back(*std::move(each));
  return given;
}

}  // namespace

TEST_CASE("No combined add is lost or counted twice") {
  for (const std::size_t lanes : {1U, 3U}) {
    memory::client engine;
    const combining hits(memory::counter(engine, "hits"), {.max_batch = 5, .in_flight = lanes});
    engine.inject(memory::faults::seeded(7, {.drop = 0, .lose_reply = 20}));
    const std::size_t each = support::rounds(500);
    std::atomic<std::int64_t> sum{0};
    std::atomic<int> failed{0};
    support::run_threads(8, [&](std::size_t id) {
      for (std::size_t i = 0; i < each; ++i) {
        const std::int64_t n =
            id % 3 == 0 ? -static_cast<std::int64_t>(i % 7) : static_cast<std::int64_t>(i % 5);
        if (hits.add(n)) {
          sum += n;
        } else {
          ++failed;
        }
      }
    });
    engine.inject({});
    CHECK(failed == 0);
    CHECK(*hits.load() == sum);
    CHECK(engine.requests() > 0);
  }
}

TEST_CASE("Each caller gets the value as if the adds had come one after the other") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  const std::size_t each = support::rounds(500);
  std::vector<std::atomic<int>> seen(8 * each + 1);
  support::run_threads(8, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) ++seen[static_cast<std::size_t>(*hits.add(1))];
  });
  CHECK(std::all_of(seen.begin() + 1, seen.end(), [](const auto& n) { return n == 1; }));

  const std::uint64_t before = engine.requests();
  const std::int64_t base = *hits.load();
  const auto values = together(engine, hits, {5, 0, 7, 1});
  CHECK(*values[0] == base + 5);
  CHECK(*values[1] == base + 5);
  CHECK(*values[2] == base + 12);
  CHECK(*values[3] == base + 13);
  CHECK(engine.requests() - before == 3);  // the load, the one at the gate, the batch
}

TEST_CASE("Adds of two signs go in batches of their own") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  hits.add(largest - 1).value();
  const auto values = together(engine, hits, {1, -5, -5});
  for (const auto& each : values) CHECK(each.applied());
  CHECK(*hits.load() == largest - 10);
}

TEST_CASE("A sum that does not fit is sent in its parts") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  hits.add(largest - 10).value();
  const auto values = together(engine, hits, {7, 100, 3});
  CHECK(values[0].applied());
  REQUIRE(values[1].refused());
  CHECK(values[1].error().code == store::errc::bad_argument);
  CHECK(values[2].applied());
  CHECK(*hits.load() == largest);
  // the sum itself would overflow here
  const combining others(memory::counter(engine, "others"));
  const auto far = together(engine, others, {largest, largest});
  CHECK(far[0].applied());
  CHECK(far[1].refused());
}

TEST_CASE("A batch with a lost reply is asked again under its id") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  const auto lost = std::make_shared<std::atomic<int>>(0);
  const auto values =
      together(engine, hits, {1, 2, 3}, memory::faults([lost](const memory::request& r) {
                 return r.done && r.writes && lost->fetch_add(1) < 3 ? memory::fault::lose_reply()
                                                                     : memory::fault::none();
               }));
  engine.inject({});
  for (const auto& each : values) CHECK(each.applied());
  CHECK(*hits.load() == 6);
  CHECK(*lost > 3);
}

TEST_CASE("What becomes of a batch holds for each add in it") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"), {.patience = 20ms});
  for (const bool sent : {false, true}) {
    const auto values =
        together(engine, hits, {1, 2}, memory::faults([sent](const memory::request& r) {
                   if (r.done) return sent ? memory::fault::lose_reply() : memory::fault::none();
                   return sent || !r.writes ? memory::fault::none()
                                            : memory::fault::refuse(store::errc::read_only);
                 }));
    engine.inject({});
    for (const auto& each : values) {
      CHECK(each.status() == (sent ? store::status::unknown : store::status::refused));
      CHECK_FALSE(each.id());
    }
    if (sent) CHECK(values[0].error().message().find("combined under the id") != std::string::npos);
    CHECK(*hits.load() == (sent ? 3 : 0));
  }
}

TEST_CASE("Each add of a batch whose counter throws is unknown") {
  struct throwing {
    store::outcome<std::int64_t> add(std::int64_t, const store::call_options&) {
      if (++*asked == 1) go->acquire();
      throw 42;
    }
    store::outcome<std::int64_t> load(const store::call_options&) { return std::int64_t{0}; }
    std::shared_ptr<std::atomic<int>> asked = std::make_shared<std::atomic<int>>(0);
    std::shared_ptr<std::binary_semaphore> go = std::make_shared<std::binary_semaphore>(0);
  };
  const throwing counter;
  const store::combining_counter<throwing> hits(counter);
  std::optional<store::outcome<std::int64_t>> answers[2];
  std::thread first([&] { answers[0].emplace(hits.add(1)); });
  const bool begun = support::eventually([&] { return *counter.asked == 1; });
  std::thread second([&] { answers[1].emplace(hits.add(1)); });
  counter.go->release();
  first.join();
  second.join();
  CHECK(begun);
  for (const auto& each : answers) CHECK(each->unknown());
}

TEST_CASE("An add with options goes by itself") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  const store::operation_id id = store::operation_id::fresh();
  CHECK(*hits.add(1, {.id = id}) == 1);
  CHECK(*hits.add(1, {.id = id}) == 1);
  CHECK(*hits.add(1, {}) == 2);
  CHECK_THROWS_AS(combining(memory::counter(engine, "hits"), {.max_batch = 0}),
                  std::invalid_argument);
}

TEST_CASE("A coroutine that is destroyed in the line takes its add with it") {
  memory::client engine;
  const combining hits(memory::counter(engine, "hits"));
  gate door(engine);
  std::thread first([&] { hits.add(1).value(); });
  door.wait();
  struct started {
    struct promise_type {
      started get_return_object() {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() { std::terminate(); }
    };
    std::coroutine_handle<promise_type> frame;
  };
  const auto work = [&]() -> started { (void)co_await hits.async_add(10); };
  std::latch done(1);
  const auto other = [&]() -> support::detached {
    (void)co_await hits.async_add(100);
    done.count_down();
  };
  const started gone = work();
  other();
  gone.frame.destroy();
  engine.inject({});
  door.open();
  first.join();
  done.wait();
  CHECK(*hits.load() == 101);
}

TEST_CASE("Coroutines that add together resume once each and need no thread each") {
  memory::client engine(store::client_options{.threads = 1});
  const combining hits(memory::counter(engine, "hits"));
  const std::size_t n = support::rounds(1000);
  std::vector<int> resumed(n, 0);
  std::latch done(static_cast<std::ptrdiff_t>(n));
  const auto one = [&](std::size_t i) -> support::detached {
    (void)co_await hits.async_add(1);
    ++resumed[i];
    done.count_down();
  };
  for (std::size_t i = 0; i < n; ++i) one(i);
  done.wait();
  CHECK(*hits.load() == static_cast<std::int64_t>(n));
  CHECK(std::count(resumed.begin(), resumed.end(), 1) == static_cast<std::ptrdiff_t>(n));
}

TEST_CASE("A coroutine that has its answer may block for the next add") {
  for (const bool thread_leads : {false, true}) {
    memory::client engine;
    const combining hits(memory::counter(engine, "hits"));
    std::atomic<std::int64_t> second{0};
    std::atomic<bool> ended{false};
    const auto one = [&]() -> support::detached {
      (void)co_await hits.async_add(1);
      second = hits.add(10).value();  // needs a batch after the one that woke this
      ended = true;
    };
    if (thread_leads) {
      gate door(engine);
      std::thread first([&] { hits.add(100).value(); });
      door.wait();
      one();
      std::thread leads([&] { hits.add(1000).value(); });  // a batch of both
      door.open();
      first.join();
      leads.join();
      REQUIRE(support::eventually([&] { return ended.load(); }));
      engine.inject({});
    } else {
      one();
      REQUIRE(support::eventually([&] { return ended.load(); }));
    }
    CHECK(second >= 11);
    CHECK(*hits.load() == (thread_leads ? 1111 : 11));
  }
}

TEST_CASE("A coroutine on the only thread of a client may block for the next add") {
  memory::client engine(store::client_options{.threads = 1});
  const combining hits(memory::counter(engine, "hits"));
  std::atomic<std::int64_t> second{0};
  std::atomic<int> ended{0};
  gate door(engine);
  const auto blocks = [&]() -> support::detached {
    (void)co_await hits.async_add(1);
    second = hits.add(10).value();  // the next batch, which only this thread can send
    ++ended;
  };
  const auto waits = [&]() -> support::detached {
    (void)co_await hits.async_add(100);
    ++ended;
  };
  blocks();
  door.wait();
  waits();
  engine.inject({});
  door.open();
  REQUIRE(support::eventually([&] { return ended == 2; }));
  CHECK(second == 111);
  CHECK(*hits.load() == 111);
}
