// SPDX-License-Identifier: BSL-1.0
// Work in order per key, and copies of which the newest stays: over the engine in memory.

#include <interlock/keyed_mirror.hpp>
#include <interlock/memory/mirror_target.hpp>
#include <interlock/memory/serial_queue.hpp>
#include <interlock/mirror.hpp>
#include <interlock/task.hpp>

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::mirror_version;
using store::errc;

namespace {

using queue = memory::serial_queue<int>;

struct two_clients {
  std::shared_ptr<memory::manual_clock> time = std::make_shared<memory::manual_clock>();
  memory::client one{{}, {.clock = time}};
  memory::client two = one.beside();
};
const store::queue_options short_lease{.lease = 3s, .tries = 3};

memory::faults no_heartbeats() {
  return memory::faults([](const memory::request& r) {
    return r.operation == "serial_queue.heartbeat" ? memory::fault::drop() : memory::fault::none();
  });
}

}  // namespace

TEST_CASE("An item is ended under an id that another holder of it gave") {
  two_clients c;
  const auto job = store::operation_id::fresh();  // which each process that has the job is given
  const queue here(c.one, "jobs", short_lease);
  const queue there(c.two, "jobs", short_lease);
  REQUIRE(here.push("k", 1).applied());
  REQUIRE(here.push("k", 2).applied());
  CHECK(here.take()->give_back({}, {.id = job}).applied());
  CHECK(there.take()->give_back({}, {.id = job}).applied());
  CHECK(here.take()->finish({.id = job}).applied());
  CHECK(there.take()->finish({.id = job}).applied());
  CHECK(here.depth()->waiting == 0);
  CHECK(here.depth()->taken == 0);
  REQUIRE(here.push("k", 3).applied());
  CHECK(interlock::sync_wait(there.take()->async_finish({.id = job})).applied());
  CHECK(here.depth()->waiting == 0);
}

TEST_CASE("Items of a key are worked on one at a time and in the order of their pushes") {
  memory::client engine;
  const queue jobs(engine, "jobs", {.poll = 1ms});
  constexpr int keys = 5;
  constexpr int each = 40;
  for (int n = 0; n < each; ++n) {
    for (int k = 0; k < keys; ++k) REQUIRE(jobs.push(std::string(1, char('a' + k)), n).applied());
  }
  std::mutex guard;
  std::map<std::string, std::vector<int>> done;
  std::map<std::string, int> inside;
  bool together = false;
  std::atomic<int> all{0};
  interlock::inplace_stop_source stop;
  support::run_threads(4, [&](std::size_t) {
    jobs.work(
        [&](queue::item& item) {
          {
            const std::lock_guard lock(guard);
            together = together || inside[item.key()]++ != 0;
            done[item.key()].push_back(item.value());
          }
          std::this_thread::yield();
          {
            const std::lock_guard lock(guard);
            --inside[item.key()];
          }
          if (++all == keys * each) stop.request_stop();
        },
        stop.get_token());
  });
  CHECK_FALSE(together);
  REQUIRE(done.size() == keys);
  for (const auto& [key, values] : done) {
    CHECK(values.size() == each);
    CHECK(std::is_sorted(values.begin(), values.end()));
  }
  CHECK(jobs.depth()->waiting == 0);
}

TEST_CASE("An item whose worker is dead is another's after the lease") {
  two_clients c;
  const queue here(c.one, "jobs", short_lease);
  const queue there(c.two, "jobs", short_lease);
  CHECK(*here.push("k", 1) == 1);
  CHECK(*here.push("k", 2) == 2);
  {
    const auto taken = here.take().value();
    CHECK(taken.value() == 1);
    for (int i = 0; i < 4; ++i) {  // its heartbeats keep it
      const auto asked = c.one.requests();
      c.time->advance(1100ms);
      REQUIRE(support::eventually([&] { return c.one.requests() > asked; }));
      std::this_thread::sleep_for(2ms);
      CHECK(there.take().conflicted());
    }
  }  // dead
  CHECK(there.take().conflict().next.value() > 0ms);
  c.time->advance(3s);
  auto again = there.take().value();
  CHECK(again.value() == 1);
  CHECK(again.tries() == 2);
  CHECK(again.attempt() == 2);
  CHECK(again.finish().applied());
  CHECK(there.take()->value() == 2);
}

TEST_CASE("A worker who was taken for dead cannot end the item of his successor") {
  two_clients c;
  c.one.inject(no_heartbeats());
  const queue here(c.one, "jobs", short_lease);
  const queue there(c.two, "jobs", short_lease);
  CHECK(here.push("k", 1).applied());
  CHECK(here.push("k", 2).applied());
  auto late = here.take().value();
  c.time->advance(3s);
  CHECK(support::eventually([&] { return late.lost().stop_requested(); }));
  auto next = there.take().value();
  c.one.inject({});
  CHECK(late.finish().conflicted());
  CHECK(late.give_back().conflicted());
  CHECK(late.heartbeat().conflicted());
  CHECK(there.take().conflicted());
  CHECK(next.finish().applied());
  CHECK(there.take()->value() == 2);  // with an end by the late one, 2 were skipped or 1 done twice

  // The control: an end that asks for the key alone ends what is not his.
  const auto raw = c.one.object_named(store::object_kind::queue, "naive");
  const auto a = store::unique_id::fresh();
  CHECK(c.one.queue_push(raw, "k", "1", {}).applied());
  CHECK(c.one.queue_push(raw, "k", "2", {}).applied());
  const auto first = c.one.queue_take(raw, a, 3s, 9, {}).value();
  c.time->advance(3s);
  const auto second = c.one.queue_take(raw, a, 3s, 9, {}).value();  // the same owner: no fence
  CHECK(c.one.queue_finish(raw, "k", a, first.attempt, {}).conflicted());  // but for the attempt
  CHECK(c.one.queue_finish(raw, "k", a, second.attempt, {}).applied());
}

TEST_CASE("An item that fails too often is set aside and its key goes on") {
  two_clients c;
  const queue jobs(c.one, "jobs", short_lease);
  CHECK(jobs.push("k", 1).applied());
  CHECK(jobs.push("k", 2).applied());
  interlock::inplace_stop_source stop;
  int told = 0;
  store::work_options how;
  how.delay = [](std::uint64_t) { return 0ms; };
  how.on_failure = [&](const std::string& key, const std::exception_ptr&) { told += key == "k"; };
  const auto done = jobs.work(
      [&](queue::item& item) {
        if (item.value() == 1) throw std::runtime_error("poison");
        stop.request_stop();
      },
      stop.get_token(), how);
  CHECK(done.failed == 3);
  CHECK(told == 3);
  CHECK(done.finished == 1);
  const auto aside = jobs.set_aside().value();
  REQUIRE(aside.size() == 1);
  CHECK(aside[0].value == 1);
  CHECK(aside[0].tries == 3);
  CHECK(jobs.depth()->set_aside == 1);
  CHECK(*jobs.restore("k", aside[0].sequence) == 3);
  CHECK(jobs.restore("k", aside[0].sequence).conflicted());
  auto again = jobs.take().value();
  CHECK(again.value() == 1);
  CHECK(again.tries() == 1);
  CHECK(again.give_back(2s).applied());
  CHECK(jobs.take().conflict().next == 2s);
}

TEST_CASE("A payload that does not decode is set aside like one that fails") {
  two_clients c;
  CHECK(memory::serial_queue<std::string>(c.two, "jobs").push("k", "seven").applied());
  const queue jobs(c.one, "jobs", short_lease);
  CHECK(jobs.push("k", 8).applied());
  const auto taken = jobs.take().value();
  CHECK(taken.value() == 8);
  const auto aside = jobs.set_aside().value();
  REQUIRE(aside.size() == 1);
  CHECK_FALSE(aside[0].value.has_value());
  CHECK(queue(c.one, "jobs", {.lease = 1ms}).take().error().code == errc::bad_argument);
  CHECK(jobs.push("", 1).error().code == errc::bad_argument);
}

TEST_CASE("An item that does not decode and is not taken back is in doubt") {
  memory::client engine;
  CHECK(memory::serial_queue<std::string>(engine, "jobs").push("k", "seven").applied());
  const queue jobs(engine, "jobs", {.tries = 100'000'000});
  engine.inject(memory::faults([](const memory::request& r) {
    return r.operation == "serial_queue.give_back" ? memory::fault::drop() : memory::fault::none();
  }));
  CHECK(jobs.take().unknown());
  CHECK(jobs.take().conflicted());  // it is nobody's
  engine.inject({});
  CHECK(memory::serial_queue<std::string>(engine, "others").push("k", "seven").applied());
  const auto late = queue(engine, "others", {.tries = 100'000'000}).take({.timeout = 20ms});
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::timed_out);
}

TEST_CASE("An item that its function moves elsewhere is left as it is") {
  memory::client engine;
  const queue jobs(engine, "jobs", {.poll = 1ms});
  REQUIRE(jobs.push("k", 7).applied());
  interlock::inplace_stop_source stop;
  std::vector<queue::item> held;
  const auto done = jobs.work(
      [&](queue::item& item) {
        held.push_back(std::move(item));
        stop.request_stop();
      },
      stop.get_token());
  CHECK(done.failed + done.unknown + done.lost == 0);
  REQUIRE(held.size() == 1);
  queue::item& mine = held.front();
  held.front() = std::move(mine);  // itself
  CHECK(mine.value() == 7);
  CHECK_FALSE(mine.ended());
  CHECK(mine.heartbeat().applied());
  CHECK(mine.finish().applied());
  CHECK(mine.ended());
}

TEST_CASE("No item is lost whatever happens to its worker") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    two_clients c;
    c.one.inject(memory::faults::seeded(seed, {.drop = 50, .lose_reply = 50}));
    memory::client pusher = c.one.beside();
    const queue jobs(c.one, "jobs", {.lease = 3s, .tries = 1000});
    for (int n = 0; n < 30; ++n) {
      REQUIRE(queue(pusher, "jobs").push(n % 2 == 0 ? "a" : "b", n).applied());
    }
    std::mt19937_64 random(seed);
    std::vector<int> times(30);
    std::map<std::string, int> last{{"a", -1}, {"b", -1}};
    bool in_order = true;
    for (int step = 0; step < 2000 && queue(pusher, "jobs").depth()->waiting > 0; ++step) {
      auto said = jobs.take();
      if (said) {
        auto& before = last[said->key()];
        in_order = in_order && said->value() >= before && said->value() <= before + 2;
        before = std::max(before, said->value());
        ++times[static_cast<std::size_t>(said->value())];
        if (random() % 4 != 0) static_cast<void>(said->finish());  // else it dies
      }
      c.time->advance(1s);
    }
    CHECK(in_order);
    CHECK(std::count(times.begin(), times.end(), 0) == 0);  // at least once
    CHECK(std::count(times.begin(), times.end(), 1) < 30);  // the control: some died on the way
  }
}

TEST_CASE("A worker asks again for the end of an item while it is unknown or refused") {
  memory::client engine;
  const queue jobs(engine, "jobs", {.poll = 1ms});
  for (int n = 0; n < 10; ++n) REQUIRE(jobs.push("k", n).applied());
  int ends = 0;
  engine.inject(memory::faults([&](const memory::request& r) {
    if (r.operation != "serial_queue.finish") return memory::fault::none();
    if (!r.done) return ++ends % 4 == 1 ? memory::fault::drop() : memory::fault::none();
    return ends % 4 == 2 ? memory::fault::lose_reply() : memory::fault::none();
  }));
  interlock::inplace_stop_source stop;
  int seen = 0;
  const auto done = jobs.work(
      [&](queue::item& item) {
        seen += item.value() == seen;
        if (seen == 10) stop.request_stop();
      },
      stop.get_token());
  CHECK(seen == 10);  // none came again
  CHECK(done.finished + done.unknown == 10);
  CHECK(done.unknown > 0);  // done, but its answer was lost: that is what is reported
  engine.inject({});
  CHECK(jobs.depth()->waiting == 0);
}

TEST_CASE("The end of an item is no loss to who asked for it though a heartbeat meets it") {
  two_clients c;
  const queue jobs(c.one, "jobs", short_lease);
  for (int n = 0; n < 3; ++n) REQUIRE(jobs.push("k", n).applied());
  std::atomic<bool> answered{false};
  std::atomic<bool> met{false};
  const queue::item* ours = nullptr;
  c.one.inject(memory::faults([&](const memory::request& r) {
    if (r.operation == "serial_queue.heartbeat" && r.done) met = true;
    const bool end = r.operation == "serial_queue.finish" || r.operation == "serial_queue.give_back";
    if (!end || !r.done) return memory::fault::none();
    met = false;  // it is done, and its answer on the way, when the next heartbeat comes
    c.time->advance(1100ms);
    if (support::eventually([&] { return met.load(); })) {
      static_cast<void>(support::eventually([&] { return ours->lost().stop_requested(); }, 50ms));
    }
    return answered ? memory::fault::none() : memory::fault::lose_reply();
  }));
  {
    auto item = jobs.take().value();
    ours = &item;
    answered = true;
    CHECK(item.give_back().applied());
    CHECK(met);
    CHECK(item.ended());
    CHECK_FALSE(item.lost().stop_requested());
  }
  {
    auto item = jobs.take().value();
    ours = &item;
    CHECK(item.finish().applied());
    CHECK(met);
    CHECK_FALSE(item.lost().stop_requested());
  }
  {  // The control: nobody knows of the end, and the engine has said that it is gone.
    auto item = jobs.take().value();
    ours = &item;
    answered = false;
    CHECK(item.finish().unknown());
    CHECK(met);
    CHECK_FALSE(item.ended());
    CHECK(support::eventually([&] { return item.lost().stop_requested(); }));
  }
}

TEST_CASE("Coroutines push, take and finish") {
  memory::client engine;
  const queue jobs(engine, "jobs");
  const auto works = [&]() -> interlock::task<int> {
    auto pushed = co_await jobs.async_push("k", 7);
    auto taken = co_await jobs.async_take();
    auto done = co_await taken->async_finish();
    co_return pushed.applied() && done.applied() ? taken->value() : 0;
  };
  CHECK(interlock::sync_wait(works()) == 7);
  CHECK(jobs.depth()->waiting == 0);
}

namespace {
using target = memory::mirror_target<std::string, int>;
}

TEST_CASE("An item is not taken where its worker could not end it") {
  two_clients c;
  const queue jobs(c.one, "jobs", short_lease);
  REQUIRE(jobs.push("a", 1).applied());
  // Asked again under one id: another taker, who is not the owner of the first one's item.
  const auto id = store::operation_id::fresh();
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "serial_queue.take" && r.done ? memory::fault::lose_reply()
                                                        : memory::fault::none();
  }));
  CHECK(jobs.take({.id = id}).unknown());
  c.one.inject({});
  CHECK(jobs.take({.id = id}).conflicted());
  c.time->advance(4s);
  auto item = jobs.take({.id = id});
  REQUIRE(item.applied());
  CHECK(item->finish().applied());
  // An answer that comes after the lease.
  REQUIRE(jobs.push("a", 2).applied());
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "serial_queue.take" && r.done ? memory::fault::delay(1900ms)
                                                        : memory::fault::none();
  }));
  CHECK(queue(c.one, "jobs", {.lease = 1500ms}).take().unknown());
  CHECK(queue(c.two, "jobs", short_lease).take()->value() == 2);
}

TEST_CASE("A row never goes back to an older version whoever writes it and when") {
  two_clients c;
  const target here(c.one, "likes");
  const target there(c.two, "likes");
  CHECK(here.put_if_newer("dog", {0, 2}, 20).applied());
  const auto late = there.put_if_newer("dog", {0, 1}, 10);
  CHECK(late.conflict().value == 20);
  CHECK(late.conflict().version == mirror_version{0, 2});
  CHECK(there.put_if_newer("dog", {0, 2}, 21).conflicted());
  CHECK(there.put_if_newer("dog", {1, 1}, 5).applied());  // a new life of the source
  CHECK(here.get("dog")->value == 5);
  CHECK_FALSE(here.get("cat")->version.has_value());

  // In any order, the newest stays; last write wins is the control.
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> order(20);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i + 1;
  bool control_lost = false;
  for (int round = 0; round < 20; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    const std::string key(1, static_cast<char>('a' + round));
    std::uint64_t naive = 0;
    for (const std::uint64_t n : order) {
      static_cast<void>(here.put_if_newer(key, {0, n}, static_cast<int>(n)));
      naive = n;
    }
    CHECK(here.get(key)->value == 20);
    control_lost = control_lost || naive != 20;
  }
  CHECK(control_lost);
}

TEST_CASE("A write that comes late does not bring a deleted row back") {
  memory::client engine;
  const target rows(engine, "likes");
  CHECK(rows.put_if_newer("dog", {0, 1}, 10).applied());
  CHECK(rows.erase("dog", {0, 3}).applied());
  CHECK(rows.put_if_newer("dog", {0, 2}, 20).conflicted());
  CHECK_FALSE(rows.get("dog")->value.has_value());
  CHECK(rows.get("dog")->version == mirror_version{0, 3});
  CHECK(memory::mirror_target<std::string, std::string>(engine, "text")
            .put_if_newer("dog", {0, 1}, "ten")
            .applied());
  CHECK(target(engine, "text").get("dog").error().code == errc::bad_value);
  CHECK(target(engine, "text").put_if_newer("dog", {0, 1}, 1).conflicted());
  CHECK(rows.put_if_newer("", {0, 1}, 1).error().code == errc::bad_argument);
}

TEST_CASE("A mirror in front of a target brings it to the source's last value") {
  memory::client engine;
  engine.inject(memory::faults::seeded(3, {.drop = 200, .lose_reply = 200}));
  const target copies(engine.beside(), "likes");
  std::atomic<int> likes{0};
  const auto now = [&] {
    const int n = likes;
    return interlock::mirror_snapshot<int>{n, {0, static_cast<std::uint64_t>(n)}};
  };
  const auto read = [&](const std::string&) { return now(); };
  interlock::keyed_mirror_options<std::string> how;
  how.attempts = 1000;
  how.delay = [](std::size_t) { return 1ms; };
  {
    interlock::keyed_mirror<std::string, int, mirror_version> rows(read, target(engine, "likes"),
                                                                   std::move(how));
    for (int n = 1; n <= 100; ++n) {
      likes = n;
      rows.touch("dog");
      if (n % 10 == 0) (void)rows.flush("dog");
    }
    CHECK(rows.close().empty());
  }
  CHECK(copies.get("dog")->value == 100);
  CHECK(copies.get("dog")->version == mirror_version{0, 100});

  engine.inject({});
  const auto one = [&] {
    struct seen {
      int value;
      std::uint64_t version;
    };
    return seen{likes, 101};
  };
  interlock::mirror row(one, copies.row_of("cat"));
  CHECK(row.flush() == interlock::mirror_flush_result::flushed);
  CHECK(copies.get("cat")->value == 100);
}
