// SPDX-License-Identifier: BSL-1.0
// Locks with a lease, and the resources that notice when one was lost: over the engine in memory,
// with time that is told.

#include <interlock/memory/fenced.hpp>
#include <interlock/memory/mutex.hpp>
#include <interlock/memory/observed_mutex.hpp>
#include <interlock/task.hpp>

#include "engines/sqlite/children.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::inplace_stop_callback;
using interlock::inplace_stop_source;
using store::errc;
using support::eventually;

namespace {

// Two processes, as it were, beside one engine; all live by one clock.
struct two_clients {
  std::shared_ptr<memory::manual_clock> time = std::make_shared<memory::manual_clock>();
  memory::client one{{}, {.clock = time}};
  memory::client two = one.beside();
};

memory::faults drops(std::string_view operation) {
  return memory::faults([operation](const memory::request& r) {
    return r.operation == operation && !r.done ? memory::fault::drop() : memory::fault::none();
  });
}
// Loses the replies of the first n requests.
memory::faults loses_replies(std::uint64_t n) {
  return memory::faults([n](const memory::request& r) {
    return r.number <= n && r.done ? memory::fault::lose_reply() : memory::fault::none();
  });
}

const store::lock_options short_lease{.lease = 3s};
const store::lock_options unrenewed{.lease = 3s, .renew = false};

}  // namespace

TEST_CASE("Of the clients that lock a mutex one holds it while its lease is renewed") {
  two_clients c;
  const memory::mutex mine(c.one, "door");
  const memory::mutex other(c.two, "door");
  {
    const auto guard = mine.lock(short_lease).value();
    for (int i = 0; i < 10; ++i) {
      const auto asked = c.one.requests();
      c.time->advance(1100ms);
      REQUIRE(eventually([&] { return c.one.requests() > asked; }));
      const auto deadline = c.time->now();
      REQUIRE(eventually([&] { return guard.deadline() > deadline + 2s; }));
      CHECK(other.try_lock().conflicted());
    }
    CHECK(guard);
    CHECK_FALSE(guard.lost().stop_requested());
  }
  CHECK(other.try_lock().applied());  // released, by the destructor

  // The control: without renewal, it is another's after its lease.
  const auto guard = mine.lock(unrenewed).value();
  c.time->advance(2s);
  CHECK(other.try_lock().conflict().remaining == 1s);
  c.time->advance(1s);
  CHECK(other.try_lock().applied());
  CHECK_FALSE(guard);
}

TEST_CASE("Each holder has a larger fence than the holders before") {
  two_clients c;
  const memory::mutex mine(c.one, "door");
  const memory::mutex other(c.two, "door");
  std::uint64_t last = 0;
  store::unique_id owner{};
  for (int i = 0; i < 20; ++i) {
    auto guard = (i % 2 == 0 ? mine : other).lock(unrenewed).value();
    CHECK(guard.fence() > last);
    CHECK(guard.owner() != owner);
    last = guard.fence();
    owner = guard.owner();
    if (i % 3 == 0) {
      c.time->advance(4s);  // it is lost
      CHECK((i % 2 == 0 ? other : mine).try_lock(unrenewed)->fence() > last);
      CHECK(guard.unlock().conflicted());
      last += 1;
    }
  }
}

TEST_CASE("A holder is told before his lease ends when no renewal was confirmed") {
  two_clients c;
  c.one.inject(drops("mutex.renew"));
  const memory::mutex mine(c.one, "door");
  const memory::mutex other(c.two, "door");
  auto guard = mine.lock(short_lease).value();
  std::promise<void> told;
  const inplace_stop_callback bell(guard.lost(), [&] { told.set_value(); });
  c.time->advance(2900ms);
  CHECK(told.get_future().wait_for(20s) == std::future_status::ready);
  CHECK(guard.lost().stop_requested());
  CHECK_FALSE(guard);
  CHECK(guard.deadline() > c.time->now());
  CHECK(other.try_lock().conflicted());  // nobody else has it yet
}

TEST_CASE("A holder is told as soon as the engine says that the lock is gone") {
  two_clients c;
  const memory::mutex mine(c.one, "door");
  auto guard = mine.lock(short_lease).value();
  c.one.lose_history();
  c.time->advance(1100ms);
  CHECK(eventually([&] { return guard.lost().stop_requested(); }));

  c.one.accept_history();
  const memory::mutex other(c.two, "door");
  auto slow = mine.lock(unrenewed).value();
  c.time->advance(3s);
  c.two.accept_history();
  const auto next = other.lock().value();
  CHECK(slow.renew().conflicted());
  CHECK(slow.lost().stop_requested());
  CHECK(next.fence() > slow.fence());
}

TEST_CASE("A lock whose answer was lost is given to the same owner when it asks again") {
  two_clients c;
  c.one.inject(loses_replies(2));
  const memory::mutex mine(c.one, "door");
  const memory::mutex other(c.two, "door");
  auto guard = mine.lock(short_lease).value();
  CHECK(guard.fence() == 1);
  CHECK(other.try_lock().conflicted());
  CHECK(guard.unlock().applied());

  // The control: one who asks with another owner each time waits for his own lease to end.
  const auto lock = c.one.object_named(store::object_kind::mutex, "naive");
  CHECK(c.two.lease_acquire(lock, store::unique_id::fresh(), 3s, {}).applied());  // answer lost
  CHECK(c.two.lease_acquire(lock, store::unique_id::fresh(), 3s, {}).conflicted());
}

TEST_CASE("A callback that blocks holds up no renewal") {
  two_clients c;
  memory::client third = c.one.beside();
  c.one.inject(drops("mutex.renew"));
  std::promise<void> over;
  const std::shared_future<void> end = over.get_future().share();
  third.inject(memory::faults([end](const memory::request& r) {  // an engine that hangs
    if (r.operation == "mutex.renew" && !r.done) end.wait();
    return memory::fault::none();
  }));
  std::atomic<int> blocked{0};
  {
    const auto lost = memory::mutex(c.one, "a").lock(short_lease).value();
    const auto hung = memory::mutex(third, "b").lock(short_lease).value();
    const inplace_stop_callback one(lost.lost(), [&] { ++blocked, end.wait(); });
    const inplace_stop_callback two(hung.lost(), [&] { ++blocked, end.wait(); });
    const auto guard = memory::mutex(c.two, "c").lock(short_lease).value();
    for (int i = 0; i < 6; ++i) {
      const auto now = c.time->now();
      c.time->advance(1100ms);
      REQUIRE(eventually([&] { return guard.deadline() > now + 4s; }));
    }
    CHECK(guard);
    CHECK(eventually([&] { return blocked == 2; }));
    over.set_value();
  }
}

TEST_CASE("Callbacks that block hold up no renewal however many they are") {
  constexpr int many = 80;
  using callback = inplace_stop_callback<std::function<void()>>;
  for (const bool answered : {true, false}) {  // told by the engine, or by the time
    two_clients c;
    std::promise<void> over;
    const std::shared_future<void> end = over.get_future().share();
    std::atomic<int> blocked{0};
    c.one.inject(memory::faults([answered](const memory::request& r) {
      if (r.operation != "mutex.renew" || r.done) return memory::fault::none();
      return answered ? memory::fault::refuse(errc::history_lost) : memory::fault::drop();
    }));
    {
      std::vector<memory::mutex::guard> lost;
      std::list<callback> bells;
      for (int i = 0; i < many; ++i) {
        lost.push_back(memory::mutex(c.one, std::to_string(i)).lock(short_lease).value());
        bells.emplace_back(lost.back().lost(), [&blocked, end] { ++blocked, end.wait(); });
      }
      const auto guard = memory::mutex(c.two, "c").lock(short_lease).value();
      bool renewed = true;
      for (int i = 0; i < 6 && renewed; ++i) {
        const auto now = c.time->now();
        c.time->advance(1100ms);
        renewed = eventually([&] { return guard.deadline() > now + 4s; });
      }
      CHECK(renewed);
      CHECK(guard);
      CHECK(eventually([&] { return blocked == many; }));  // and nobody is told too late
      over.set_value();
    }
  }
}

TEST_CASE("What is asked about a lock keeps its own time while a renewal is under way") {
  two_clients c;
  std::promise<void> over;
  const std::shared_future<void> end = over.get_future().share();
  std::atomic<bool> under_way{false};
  c.one.inject(memory::faults([&under_way, end](const memory::request& r) {  // an engine that hangs
    if (r.operation == "mutex.renew" && !r.done) under_way = true, end.wait_for(10s);
    return memory::fault::none();
  }));
  auto guard = memory::mutex(c.one, "door").lock(short_lease).value();
  c.time->advance(1100ms);
  REQUIRE(eventually([&] { return under_way.load(); }));
  const store::call_options brief{.timeout = 20ms};
  const auto late = [](const auto& said) {
    return said.refused() && said.error().code == errc::timed_out;
  };
  CHECK(late(guard.renew(brief)));
  CHECK(late(guard.raise(guard.fence(), brief)));
  CHECK(late(guard.unlock(brief)));
  CHECK_FALSE(guard);
  const auto asked = c.one.requests();
  over.set_value();
  CHECK(guard.renew().conflicted());  // it waits for the one that hung, and asks nothing
  CHECK(c.one.requests() == asked);
  CHECK(memory::mutex(c.two, "door").try_lock().conflicted());
  CHECK(guard.unlock().applied());  // the control: there is time now
  CHECK(memory::mutex(c.two, "door").try_lock().applied());
}

TEST_CASE("A child of fork renews its leases itself and ends what it has of its parent's") {
  if (support::sanitized) return;  // allows no new thread in the child of a process with threads
  two_clients c;
  std::optional<memory::mutex> door(std::in_place, c.one, "door");
  door->lock(short_lease).value().unlock().value();  // the keeper's thread runs from now on
  const auto renewed = [](const std::shared_ptr<memory::manual_clock>& time, const auto& guard) {
    const auto now = time->now();
    time->advance(1100ms);
    return eventually([&] { return guard.deadline() > now + 3s; });
  };
  for (const bool drops_first : {false, true}) {
    support::child_process child([&] {
      ::alarm(60);
      if (drops_first) door.reset();
      two_clients own;
      const memory::mutex mine(own.one, "door");
      const auto guard = mine.lock(short_lease).value();
      for (int i = 0; i < 3; ++i) {
        if (!renewed(own.time, guard)) throw store::failure({});
      }
      own.one.inject(drops("mutex.renew"));
      own.time->advance(2900ms);
      if (!eventually([&] { return guard.lost().stop_requested(); })) throw store::failure({});
      door.reset();
    });
    CHECK(child.ended_well());
  }
  const auto guard = door->lock(short_lease).value();  // and the parent goes on
  CHECK(renewed(c.time, guard));
}

TEST_CASE("A wait for a lock ends with its time or its stop") {
  two_clients c;
  memory::client real;  // by the machine's clock
  const memory::mutex mine(real, "door");
  auto guard = mine.lock().value();
  CHECK(mine.try_lock().conflicted());
  CHECK(mine.lock({.wait = 20ms}).conflict().remaining > 1s);
  CHECK(mine.lock_until(std::chrono::steady_clock::now() + 20ms).conflicted());
  CHECK(mine.lock_until(std::chrono::steady_clock::now() - 20ms).conflicted());
  CHECK(mine.lock_until(std::chrono::steady_clock::time_point::min()).conflicted());
  CHECK(mine.lock({.wait = std::chrono::milliseconds::min()}).conflicted());
  inplace_stop_source stop;
  std::thread stopper([&] {
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
  });
  const auto stopped = mine.lock({.poll = 1h}, stop.get_token());  // the stop wakes it
  stopper.join();
  CHECK(stopped.error().code == errc::cancelled);
  CHECK(mine.lock(stop.get_token()).error().code == errc::cancelled);
  CHECK(mine.lock({.lease = 1ms}).error().code == errc::bad_argument);

  std::optional<memory::mutex::guard> waited;
  std::thread waiter([&] { waited.emplace(mine.lock().value()); });
  CHECK(guard.unlock().applied());
  waiter.join();
  CHECK(*waited);
}

TEST_CASE("A request for a lock has its usual time at the end of a wait") {
  two_clients c;
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "mutex.acquire" && r.done ? memory::fault::delay(50ms)
                                                    : memory::fault::none();
  }));
  const memory::mutex door(c.one, "door");
  const store::lock_options brief{.lease = 3s, .renew = false, .wait = 20ms};
  auto guard = door.lock(brief);
  REQUIRE(guard.applied());
  CHECK(guard->unlock().applied());
  CHECK(interlock::sync_wait(door.async_lock(brief)).applied());
}

TEST_CASE("A coroutine waits for a lock without a thread") {
  memory::client engine({.threads = 1});  // which the holder needs to unlock
  const memory::mutex door(engine, "door");
  const auto held = [&]() -> interlock::task<int> {
    auto first = co_await door.async_try_lock();
    auto busy = co_await door.async_try_lock();
    auto late = co_await door.async_lock({.wait = 30ms});
    auto mine = std::move(first).value();
    auto said = co_await mine.async_unlock();
    auto second = co_await door.async_lock();
    inplace_stop_source stop;
    stop.request_stop();
    auto stopped = co_await door.async_lock(stop.get_token());
    auto begun = memory::mutex(engine, "other").async_lock();  // whose handle is gone
    auto other = co_await std::move(begun);
    co_return busy.conflicted() + late.conflicted() + said.applied() + second.applied() +
        stopped.refused() + other.applied();
  };
  CHECK(interlock::sync_wait(held()) == 6);
}

TEST_CASE("An observed mutex has one holder whatever is done to the clock of the engine") {
  two_clients c;
  const memory::observed_mutex mine(c.one, "door");
  const memory::observed_mutex other(c.two, "door");
  auto guard = mine.lock(unrenewed).value();
  CHECK(other.try_lock().conflicted());
  c.one.shift_clock(10min);
  CHECK(other.try_lock().conflicted());
  CHECK(guard.renew().applied());
  c.one.shift_clock(-20min);
  CHECK(other.try_lock().conflicted());
  CHECK(guard.unlock().applied());
  CHECK(other.try_lock().applied());

  // The control: a lease by the engine's clock goes to the next at once.
  const memory::mutex by_server(c.one, "door");
  const auto first = by_server.lock(unrenewed).value();
  c.one.shift_clock(10min);
  const auto second = memory::mutex(c.two, "door").try_lock();
  CHECK(second.applied());
  CHECK(first);  // both have it
}

TEST_CASE("A lease is taken over by who saw it unrenewed for all its time by his own clock") {
  two_clients c;
  const memory::observed_mutex mine(c.one, "door");
  const memory::observed_mutex other(c.two, "door");
  auto guard = mine.lock(unrenewed).value();
  c.time->advance(2s);  // nobody has looked
  CHECK(other.try_lock().conflict().remaining == 3030ms);
  c.time->advance(2s);
  CHECK(guard.renew().applied());
  c.time->advance(1100ms);
  CHECK(other.try_lock().conflicted());  // a new beat
  c.time->advance(3s);
  CHECK(other.try_lock().conflict().remaining == 30ms);
  c.time->advance(30ms);
  const auto next = other.try_lock();
  REQUIRE(next.applied());
  CHECK(next->fence() > guard.fence());
  CHECK(guard.renew().conflicted());
  CHECK(guard.lost().stop_requested());
}

TEST_CASE("A lock that was released is not taken again by its guard") {
  two_clients c;
  const auto check = [](const auto& mine, const auto& other) {
    auto guard = mine.lock(unrenewed).value();
    guard.unlock().value();
    CHECK(guard.renew().conflicted());
    CHECK(guard.raise(guard.fence()).conflicted());
    CHECK_FALSE(guard.lost().stop_requested());
    auto next = other.try_lock(unrenewed);
    REQUIRE(next.applied());
    CHECK(guard.unlock().conflicted());
    CHECK(next->unlock().applied());
  };
  check(memory::mutex(c.one, "door"), memory::mutex(c.two, "door"));
  check(memory::observed_mutex(c.one, "door"), memory::observed_mutex(c.two, "door"));
}

TEST_CASE("Each holder of an observed mutex has a larger fence than the holders before") {
  two_clients c;
  c.one.inject(memory::faults::seeded(7, {.drop = 50, .lose_reply = 200}));
  const memory::observed_mutex mine(c.one, "door");
  std::uint64_t last = 0;
  int locked = 0;
  for (int i = 0; i < 50; ++i) {
    auto said = mine.lock({.lease = 3s, .renew = false, .wait = 0ms});
    if (said) {
      ++locked;
      CHECK(said->fence() > last);
      last = said->fence();
      static_cast<void>(said->renew());
      static_cast<void>(said->unlock());
    }
    c.time->advance(4s);
  }
  CHECK(locked > 10);
}

TEST_CASE("No write of a former holder takes effect once a later holder has opened the resource") {
  two_clients c;
  const memory::mutex mine(c.one, "door");
  const memory::fenced<int> stock(c.one, "stock");
  auto former = mine.lock(unrenewed).value();
  const auto seen = stock.open(former).value();
  CHECK(stock.write(seen, 5).applied());
  c.time->advance(3s);
  auto later = memory::mutex(c.two, "door").lock().value();
  const memory::fenced<int> theirs(c.two, "stock");
  const auto opened = theirs.open(later).value();
  CHECK(opened.value == 5);
  CHECK(stock.write(seen, 6).conflict().watermark == later.fence());
  CHECK(stock.open({former.fence(), former.owner()}).conflicted());
  CHECK(theirs.write(opened, 7).applied());
  CHECK(theirs.modify(later, [](int& n) { ++n; }).value() == 8);
  CHECK(stock.modify(former, [](int& n) { ++n; }).conflicted());
}

namespace {

// A resource that checks the fence when it is written and at no other time.
struct checked_at_write {
  int value = 0;
  std::uint64_t watermark = 0;
  int read() const { return value; }
  bool write(std::uint64_t fence, int next) {
    if (fence < watermark) return false;
    watermark = fence;
    value = next;
    return true;
  }
};

// Holders whose leases end at any moment, and who go on all the same. Returns: updates lost.
template <class Open, class Write>
int lost_updates(std::uint64_t seed, Open open, Write write) {
  struct holder {
    std::uint64_t fence = 0;
    int seen = -1;
  };
  std::mt19937_64 random(seed);
  std::vector<holder> holders(3);
  std::uint64_t fences = 0;
  int accepted = 0;
  int last = 0;
  for (int step = 0; step < 60; ++step) {
    holder& of = holders[random() % holders.size()];
    if (of.fence == 0) {
      of.fence = ++fences;  // the lease of the one before has ended
    } else if (of.seen < 0) {
      of.seen = open(of.fence);
      if (of.seen < 0) of = {};
    } else {
      if (write(of.fence, of.seen + 1)) {
        ++accepted;
        last = of.seen + 1;
      }
      of = {};
    }
  }
  return accepted - last;
}

}  // namespace

TEST_CASE("No update is lost that holders make between open and write") {
  int lost = 0;
  int lost_without = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    memory::client engine;
    const memory::fenced<int> resource(engine, "stock");
    std::vector<memory::fenced<int>::opened> held(100);
    const store::unique_id owner = {1, 2};
    lost += lost_updates(
        seed,
        [&](std::uint64_t fence) {
          auto said = resource.open({fence, owner});
          if (!said) return -1;
          held[fence] = *said;
          return said->value.value_or(0);
        },
        [&](std::uint64_t fence, int next) { return resource.write(held[fence], next).applied(); });
    checked_at_write naive;
    lost_without += lost_updates(
        seed, [&](std::uint64_t) { return naive.read(); },
        [&](std::uint64_t fence, int next) { return naive.write(fence, next); });
  }
  CHECK(lost == 0);
  CHECK(lost_without > 0);  // the control
}

TEST_CASE("Two holders with equal fences are told apart by their owners") {
  memory::client engine;  // as behind a lock that went back and gave a fence twice
  const memory::fenced<int> stock(engine, "stock");
  const auto a = store::unique_id::fresh();
  const auto b = store::unique_id::fresh();
  const auto opened = stock.open({5, a}).value();
  CHECK(stock.open({5, a}).applied());
  CHECK(stock.open({5, b}).conflicted());
  CHECK(stock.write({{}, {5, b}}, 1).conflicted());
  CHECK(stock.write(opened, 1).applied());
}

TEST_CASE("A lock whose fence fell behind its resource is raised above it and opens it") {
  two_clients c;
  const memory::fenced<int> stock(c.one, "stock");
  CHECK(stock.open({1000, store::unique_id::fresh()}).applied());
  for (const bool lossy : {false, true}) {
    if (lossy)
      c.one.inject(memory::faults([](const memory::request& r) {
        return r.operation == "mutex.raise" && r.done && r.number % 3 != 0
                   ? memory::fault::lose_reply()
                   : memory::fault::none();
      }));
    const memory::mutex door(c.one, lossy ? "other" : "door");
    auto guard = door.lock(unrenewed).value();
    CHECK(guard.fence() == 1);
    CHECK(stock.open({guard.fence(), guard.owner()}).conflicted());
    const auto opened = stock.open(guard);
    REQUIRE(opened.applied());
    CHECK(opened->by.fence == guard.fence());
    CHECK(guard.fence() > 1000);
    CHECK(guard.renew().applied());
    CHECK(guard.unlock().applied());
  }
  const memory::observed_mutex seen(c.one, "door");
  auto guard = seen.lock(unrenewed).value();
  CHECK(guard.raise(guard.fence()).value() > 1);
  CHECK(guard.raise(1'000'000).error().code == errc::bad_argument);
  CHECK(guard.unlock().applied());
}

TEST_CASE("An opening whose raise was refused or not answered is refused and no conflict") {
  two_clients c;
  const memory::fenced<int> stock(c.one, "stock");
  CHECK(stock.open({1000, store::unique_id::fresh()}).applied());
  auto guard = memory::mutex(c.one, "door").lock(unrenewed).value();
  for (const bool answered : {true, false}) {
    c.one.inject(memory::faults([answered](const memory::request& r) {
      if (r.operation != "mutex.raise") return memory::fault::none();
      if (answered) return memory::fault::refuse(errc::read_only);
      return r.done ? memory::fault::lose_reply() : memory::fault::none();
    }));
    const auto said = stock.open(guard, {.timeout = 20ms});
    REQUIRE(said.refused());
    CHECK(said.error().operation == "mutex.raise");
    if (answered) CHECK(said.error().code == errc::read_only);
  }
  c.one.inject({});
  CHECK(stock.open(guard).applied());
  // The control: the lock is another's, and the conflict tells of the resource.
  CHECK(stock.open({5000, store::unique_id::fresh()}).applied());
  c.time->advance(4s);
  CHECK(memory::mutex(c.two, "door").lock(unrenewed).applied());
  const auto late = stock.open(guard);
  REQUIRE(late.conflicted());
  CHECK(late.conflict().watermark == 5000);
}

TEST_CASE("A raise that was not answered is asked again before the next request") {
  two_clients c;
  const auto check = [&](const auto& door) {
    for (const bool renews : {true, false}) {
      auto guard = door.lock(unrenewed).value();
      const auto old = guard.fence();
      c.one.inject(memory::faults([](const memory::request& r) {
        return r.done && r.writes ? memory::fault::lose_reply() : memory::fault::none();
      }));
      CHECK(guard.raise(old, {.timeout = 20ms}).unknown());
      CHECK(guard.fence() == old);
      CHECK(guard.renew().unknown());
      c.one.inject({});
      if (renews) {
        CHECK(guard.renew().applied());
        CHECK(guard.fence() > old);
        CHECK(guard.raise(guard.fence()).applied());
      }
      CHECK_FALSE(guard.lost().stop_requested());
      CHECK(guard.unlock().applied());
    }
  };
  check(memory::mutex(c.one, "door"));
  check(memory::observed_mutex(c.one, "door"));
}

TEST_CASE("A fenced value that does not decode is refused and a name is checked") {
  memory::client engine;
  const memory::fenced<std::string> text(engine, "stock");
  const auto owner = store::unique_id::fresh();
  CHECK(text.write(text.open({1, owner}).value(), "many").applied());
  CHECK(memory::fenced<int>(engine, "stock").open({1, owner}).error().code == errc::bad_value);
  CHECK_THROWS_AS(memory::mutex(engine, ""), store::failure);
  CHECK_THROWS_AS(memory::observed_mutex(engine, ""), store::failure);
  CHECK_THROWS_AS(memory::observed_mutex(engine, std::string(500, 'x')), store::failure);
  CHECK(memory::observed_mutex(engine, "door").name() == "door");
}

TEST_CASE("A lock or an opening that may have been done is not called refused") {
  memory::client engine(store::client_options{.timeout = 100ms});
  // The first request is done and its reply lost; then the engine is away.
  const auto lost_then_away = [&] {
    const auto asked = std::make_shared<std::atomic<int>>(0);
    engine.inject(memory::faults([asked](const memory::request& r) {
      if (r.done) return memory::fault::lose_reply();
      return asked->fetch_add(1) == 0 ? memory::fault::none() : memory::fault::drop();
    }));
  };
  const memory::mutex door(engine, "door");
  lost_then_away();
  CHECK(door.try_lock().unknown());
  CHECK(memory::mutex(engine.beside(), "door").try_lock().conflicted());  // it is held
  const memory::fenced<int> stock(engine, "stock");
  lost_then_away();
  CHECK(stock.open({5, store::unique_id::fresh()}).unknown());
  CHECK(memory::fenced<int>(engine.beside(), "stock")
            .open({4, store::unique_id::fresh()})
            .conflicted());
  engine.inject(drops("fenced.open"));
  CHECK(stock.open({6, store::unique_id::fresh()}).refused());
}

TEST_CASE("A renewal that is asked for again under one id begins the lease anew") {
  two_clients c;
  const memory::mutex mine(c.one, "door");
  const memory::mutex other(c.two, "door");
  auto guard = mine.lock(unrenewed).value();
  const auto id = store::operation_id::fresh();
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "mutex.renew" && r.done ? memory::fault::lose_reply()
                                                  : memory::fault::none();
  }));
  CHECK(guard.renew({.id = id}).unknown());
  c.one.inject({});
  c.time->advance(2s);
  CHECK(guard.renew({.id = id}).applied());
  c.time->advance(2s);
  CHECK(guard);
  CHECK(other.try_lock().conflicted());
  c.time->advance(2s);  // the control: nobody renewed it
  CHECK_FALSE(guard);
  CHECK(other.try_lock().applied());
}

TEST_CASE("A resource is opened anew under an id that opened it for another holder") {
  two_clients c;
  const auto job = store::operation_id::fresh();  // which both holders of the job are given
  const memory::fenced<int> mine(c.one, "stock");
  const memory::fenced<int> other(c.two, "stock");
  const memory::mutex door(c.one, "door");
  auto former = door.lock(unrenewed).value();
  const auto seen = mine.open(former, {.id = job}).value();
  c.time->advance(4s);
  auto later = memory::mutex(c.two, "door").lock(unrenewed).value();
  const auto now = other.open(later, {.id = job}).value();
  CHECK(mine.write(seen, 7).conflicted());
  CHECK(other.write(now, 8).applied());
  CHECK(other.open(now.by, {.id = job})->value == 8);
  CHECK(interlock::sync_wait(mine.async_open(seen.by, {.id = job})).conflicted());
  // The same of the fence that a guard is raised to.
  CHECK(later.unlock().applied());
  CHECK(mine.open({1000, store::unique_id::fresh()}).applied());
  std::uint64_t last = 0;
  for (int i = 0; i < 2; ++i) {
    auto guard = door.lock(unrenewed).value();
    const auto raised = guard.raise(1000 + last, {.id = job});
    REQUIRE(raised.applied());
    CHECK(*raised > 1000 + last);
    CHECK(mine.open(guard, {.id = job}).applied());
    last = *raised;
    CHECK(guard.unlock().applied());
  }
}

TEST_CASE("A lock is released under an id that another holder released his under") {
  two_clients c;
  const auto job = store::operation_id::fresh();  // which both holders of the job are given
  const memory::mutex mine(c.one, "door");
  CHECK(mine.lock(unrenewed)->unlock({.id = job}).applied());
  auto later = memory::mutex(c.two, "door").lock(unrenewed).value();
  c.two.inject(memory::faults([](const memory::request& r) {
    return r.done ? memory::fault::lose_reply() : memory::fault::none();
  }));
  const auto said = later.unlock({.id = job});
  REQUIRE(said.unknown());
  CHECK(said.id() == job);
  c.two.inject({});
  CHECK(later.unlock({.id = job}).applied());
  CHECK(mine.try_lock(unrenewed).applied());
}

TEST_CASE("A fenced value is modified under an id of the caller's") {
  memory::client engine;
  const memory::fenced<int> stock(engine, "stock");
  auto guard = memory::mutex(engine, "door").lock().value();
  const auto id = store::operation_id::fresh();
  const auto add = [&] { return stock.modify(guard, [](int& n) { n += 7; }, {.id = id}); };
  CHECK(add().value() == 7);
  CHECK(add().value() == 7);  // it was done
  CHECK(stock.open(guard)->value == 7);
  const auto behind = engine.requests() + 3;  // open, write, and a look at what is there
  engine.inject(memory::faults([behind](const memory::request& r) {
    return r.number == behind ? memory::fault::drop() : memory::fault::none();
  }));
  const auto unseen = add();
  CHECK(unseen.unknown());
  CHECK(unseen.id() == id);
  memory::client other = engine.beside();
  engine.inject(memory::faults([&, behind](const memory::request& r) {
    if (r.number == behind + 3 && !r.done) {
      static_cast<void>(memory::fenced<int>(other, "stock").open({guard.fence() + 1, {1, 2}}));
    }
    return memory::fault::none();
  }));
  CHECK(add().unknown());
  engine.inject({});
  CHECK(stock.modify(guard, [](int& n) { n += 7; }).value() == 14);  // the control
}
