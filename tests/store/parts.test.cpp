// SPDX-License-Identifier: BSL-1.0
// What engines' clients are built of: connections, back-off, deadlines, names, awaited calls.

#include <interlock/store/detail/backoff.hpp>
#include <interlock/store/detail/connection_pool.hpp>
#include <interlock/store/detail/deadline.hpp>
#include <interlock/store/detail/names.hpp>
#include <interlock/store/detail/offload.hpp>
#include <interlock/store/detail/sleeper.hpp>
#include <interlock/task.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace store = interlock::store;
namespace parts = interlock::store::detail;
using parts::call_deadline;
using store::errc;

// A server that counts.
struct fake_server {
  std::atomic<int> connects{0};
  std::atomic<int> open{0};
  std::atomic<int> most_open{0};
  std::atomic<int> asked{0};
  std::atomic<bool> down{false};
  std::atomic<bool> healthy{true};
};

struct fake_connection {
  fake_connection(fake_server& to, int n) : server(&to), number(n) {
    const int now = ++server->open;
    int most = server->most_open;
    while (most < now && !server->most_open.compare_exchange_weak(most, now)) {
    }
  }
  ~fake_connection() { --server->open; }
  fake_connection(const fake_connection&) = delete;
  fake_connection& operator=(const fake_connection&) = delete;
  bool healthy(const call_deadline&) noexcept {
    ++server->asked;
    return server->healthy;
  }
  fake_server* server;
  int number;
};

using pool = parts::connection_pool<fake_connection>;

pool::factory to(fake_server& server) {
  return [&server](const call_deadline&) -> pool::made {
    const int n = ++server.connects;
    if (server.down) {
      return store::error{errc::access_denied, "fake", "client", "", "no entry", "knock"};
    }
    return std::make_unique<fake_connection>(server, n);
  };
}

parts::pool_settings settings(std::size_t most) {
  parts::pool_settings made;
  made.engine = "fake";
  made.most = most;
  return made;
}

const call_deadline soon() {
  return call_deadline(20ms);
}
const call_deadline late() {
  return call_deadline(30s);
}

}  // namespace

TEST_CASE("A pool makes connections as needed and gives out the one that came back last") {
  fake_server server;
  pool connections(settings(4), to(server));
  CHECK(connections.size() == 0);
  {
    auto a = connections.checkout(late(), "test");
    auto b = connections.checkout(late(), "test");
    CHECK(a.value()->number == 1);
    CHECK(b.value()->number == 2);
  }  // the second one comes back first
  CHECK(connections.idle() == 2);
  auto again = connections.checkout(late(), "test");
  CHECK(again.value()->number == 1);
  CHECK(server.asked == 0);
  CHECK(server.connects == 2);
}

TEST_CASE("A pool is never more than its bound and refuses with overloaded at the deadline") {
  fake_server server;
  pool connections(settings(2), to(server));
  auto a = connections.checkout(late(), "counter.add", "hits");
  auto b = connections.checkout(late(), "counter.add", "hits");
  const auto c = connections.checkout(soon(), "counter.add", "hits");
  REQUIRE(c.refused());
  CHECK(c.error().code == errc::overloaded);
  CHECK(c.error().message().find("counter.add 'hits'") != std::string::npos);
  const auto d = connections.checkout(call_deadline(-1ms), "counter.add");
  CHECK(d.error().code == errc::timed_out);
}

TEST_CASE("Threads share a bounded pool and each gets a connection for itself") {
  fake_server server;
  pool connections(settings(3), to(server));
  std::atomic<int> served{0};
  std::atomic<int> doubled{0};
  std::vector<std::atomic<int>> users(16);
  support::run_threads(8, [&](std::size_t) {
    for (std::size_t i = 0; i < support::rounds(2000); ++i) {
      auto got = connections.checkout(late(), "test");
      if (!got) continue;
      std::atomic<int>& mine = users[static_cast<std::size_t>(got.value()->number)];
      if (++mine != 1) ++doubled;
      --mine;
      ++served;
    }
  });
  CHECK(served == static_cast<int>(8 * support::rounds(2000)));
  CHECK(doubled == 0);
  CHECK(server.most_open <= 3);
}

TEST_CASE("A connection that was idle for long is asked first and replaced if dead") {
  fake_server server;
  parts::pool_settings quick = settings(2);
  quick.idle_check = 0ms;
  pool connections(quick, to(server));
  CHECK(connections.checkout(late(), "test").applied());
  CHECK(connections.checkout(late(), "test").applied());
  CHECK(server.asked == 1);
  CHECK(server.connects == 1);
  server.healthy = false;
  CHECK(connections.checkout(late(), "test").value()->number == 2);
  CHECK(server.open == 1);
}

TEST_CASE("After one connection broke the idle ones are asked, once") {
  fake_server server;
  pool connections(settings(3), to(server));
  {
    auto a = connections.checkout(late(), "test");
    auto b = connections.checkout(late(), "test");
    a.value().discard();
  }
  CHECK(connections.size() == 1);
  CHECK(server.asked == 0);
  // b came back after the break, so it is not suspected
  CHECK(connections.checkout(late(), "test").applied());
  CHECK(server.asked == 0);
  connections.suspect_idle();
  CHECK(connections.checkout(late(), "test").applied());
  CHECK(connections.checkout(late(), "test").applied());
  CHECK(server.asked == 1);
}

TEST_CASE("After a failed connect all are refused with the last error for a while") {
  fake_server server;
  server.down = true;
  parts::pool_settings patient = settings(4);
  patient.first_pause = patient.longest_pause = 1h;
  pool connections(patient, to(server));
  for (int i = 0; i < 100; ++i) {
    const auto got = connections.checkout(late(), "counter.add", "hits");
    REQUIRE(got.refused());
    CHECK(got.error().code == errc::access_denied);
    CHECK(got.error().message() == "fake: counter.add 'hits': access denied: no entry; knock");
  }
  CHECK(server.connects == 1);  // a pool without back-off: 100

  parts::pool_settings hasty = settings(4);
  hasty.first_pause = hasty.longest_pause = 1ms;
  pool others(hasty, to(server));
  CHECK(others.checkout(late(), "test").refused());
  server.down = false;
  CHECK(support::eventually([&] { return others.checkout(late(), "test").applied(); }));
  CHECK(others.checkout(late(), "test").applied());
}

TEST_CASE("Who gave no time to connect keeps nobody else from trying") {
  fake_server server;
  parts::pool_settings patient = settings(4);
  patient.first_pause = patient.longest_pause = 1h;
  pool connections(patient, [&server](const call_deadline& deadline) -> pool::made {
    const int n = ++server.connects;
    if (deadline.at() - deadline.begun() < 50ms) {  // a healthy server takes longer
      while (!deadline.passed()) std::this_thread::yield();
      return store::error{errc::timed_out, "fake", "client", "", "no answer", "wait"};
    }
    return std::make_unique<fake_connection>(server, n);
  });
  const auto hasty = connections.checkout(call_deadline(5ms), "counter.add", "hits");
  REQUIRE(hasty.refused());
  CHECK(hasty.error().message() == "fake: counter.add 'hits': timed out: no answer; wait");
  CHECK(connections.checkout(late(), "test").applied());
}

TEST_CASE("While connecting fails, a connection that is in use is waited for") {
  fake_server server;
  parts::pool_settings patient = settings(2);
  patient.first_pause = patient.longest_pause = 1h;
  pool connections(patient, to(server));
  std::optional<pool::lease> held(connections.checkout(late(), "test").value());
  server.down = true;
  CHECK(connections.checkout(late(), "test").refused());  // tries, fails
  std::optional<bool> got;
  std::thread waiter([&] { got = connections.checkout(late(), "test").applied(); });
  held.reset();
  waiter.join();
  CHECK(got == true);
  // and when that one breaks, the waiter hears the error instead of waiting for nothing
  std::optional<pool::lease> last(connections.checkout(late(), "test").value());
  std::optional<errc> heard;
  std::thread other([&] { heard = connections.checkout(late(), "test").error().code; });
  last->discard();
  other.join();
  CHECK(heard == errc::access_denied);
}

TEST_CASE("A closed pool refuses, those who wait included, and closes what comes back") {
  fake_server server;
  pool connections(settings(1), to(server));
  std::optional<pool::lease> held(connections.checkout(late(), "test").value());
  std::optional<errc> heard;
  std::thread waiter([&] { heard = connections.checkout(late(), "test").error().code; });
  connections.close();
  waiter.join();
  CHECK(heard == errc::closed);
  CHECK(server.open == 1);
  held.reset();
  CHECK(server.open == 0);
  CHECK(connections.size() == 0);
}

TEST_CASE("After a pool was renewed nobody gets a connection from before, however healthy") {
  fake_server server;
  std::atomic<bool> meanwhile{false};
  pool* here = nullptr;
  parts::pool_settings patient = settings(4);
  patient.first_pause = patient.longest_pause = 1h;
  pool connections(patient, [&](const call_deadline& deadline) {
    if (meanwhile.exchange(false)) here->renew();  // by another thread, while this one connects
    return to(server)(deadline);
  });
  here = &connections;
  std::optional<pool::lease> first(connections.checkout(late(), "test").value());
  CHECK(connections.checkout(late(), "test").value()->number == 2);
  CHECK(connections.idle() == 1);
  connections.renew();
  CHECK(connections.idle() == 0);
  CHECK(server.open == 1);  // the first: it is closed when its caller is done
  CHECK(connections.checkout(late(), "test").value()->number == 3);
  first.reset();
  CHECK(server.open == 1);
  CHECK(connections.checkout(late(), "test").value()->number == 3);
  connections.renew();
  meanwhile = true;
  CHECK(connections.checkout(late(), "test").value()->number == 4);
  CHECK(connections.size() == 0);  // it may have been of the old server
  CHECK(connections.checkout(late(), "test").value()->number == 5);
  CHECK(server.asked == 0);

  // Nor does anybody hear an error of the old server.
  server.down = true;
  connections.renew();
  CHECK(connections.checkout(late(), "test").refused());
  server.down = false;
  CHECK(connections.checkout(late(), "test").refused());
  connections.renew();
  CHECK(connections.checkout(late(), "test").applied());
  // One who waits for one of the old connections goes on when that is closed.
  pool single(settings(1), to(server));
  std::optional<pool::lease> held(single.checkout(late(), "test").value());
  const int before = (*held)->number;
  std::atomic<int> got{0};
  std::thread waiter([&] { got = single.checkout(late(), "test").value()->number; });
  single.renew();
  held.reset();
  waiter.join();
  CHECK(got == before + 1);
}

TEST_CASE("Nobody waits for one who still tries the server of before a pool was renewed") {
  fake_server server;
  server.down = true;
  std::binary_semaphore tries{0};
  std::binary_semaphore goes_on{0};
  parts::pool_settings impatient = settings(4);
  impatient.first_pause = impatient.longest_pause = 0ms;
  pool connections(impatient, [&](const call_deadline& deadline) {
    if (server.connects == 1) {
      ++server.connects;
      tries.release();
      goes_on.acquire();
    }
    return to(server)(deadline);
  });
  CHECK(connections.checkout(late(), "test").refused());  // from now on one tries alone
  std::thread stuck([&] { static_cast<void>(connections.checkout(late(), "test").refused()); });
  tries.acquire();
  // The control: before that, others do wait for him.
  CHECK(connections.checkout(soon(), "test").refused());
  connections.renew();
  server.down = false;
  const auto got = connections.checkout(call_deadline(1s), "test");
  CHECK(got.applied());
  goes_on.release();
  stuck.join();
}

TEST_CASE("A back-off doubles up to its limit, jittered by half") {
  parts::backoff pace(100us, 1000us);
  for (const int step : {100, 200, 400, 800, 1000, 1000}) {
    const auto pause = pace.next().count();
    CHECK(pause >= step / 2);
    CHECK(pause <= step);
  }
  pace.reset();
  CHECK(pace.next() <= 100us);
  int different = 0;
  for (int i = 0; i < 20; ++i) {
    parts::backoff one(1s, 1s);
    parts::backoff two(1s, 1s);
    different += one.next() != two.next();
  }
  CHECK(different > 10);
  CHECK_FALSE(parts::pause(pace, std::chrono::steady_clock::now()));
  CHECK(parts::pause(pace, std::chrono::steady_clock::now() + 1h));
}

TEST_CASE("A deadline comes of the call or else of the client, and never overflows") {
  const call_deadline usual({}, 5s);
  CHECK(usual.at() - usual.begun() == 5s);
  const call_deadline own({.timeout = 7s}, 5s);
  CHECK(own.at() - own.begun() == 7s);
  CHECK_FALSE(own.hopeless());
  CHECK_FALSE(own.passed());
  CHECK(own.remaining() <= 7s);
  CHECK(own.remaining() > 0s);
  const call_deadline never(std::chrono::milliseconds::max());
  CHECK(never.at() > never.begun());
  CHECK(call_deadline(-15'000'000'000'000ms).hopeless());
  CHECK(parts::poll_pause(std::chrono::milliseconds::max()) >= 30min);
  CHECK(parts::poll_pause(std::chrono::milliseconds::max()) <= 1h);
  CHECK(parts::poll_pause(0ms) >= 500us);
  const call_deadline gone({.timeout = -5ms}, 5s);
  CHECK(gone.hopeless());
  CHECK(gone.passed());
  CHECK(gone.remaining() == 0ms);
  CHECK(gone.rest().timeout == 1ms);  // 0 would mean the client's
}

TEST_CASE("Names are 1 to 512 bytes and prefixes are identifiers, and errors say so") {
  CHECK_FALSE(parts::bad_name("fake", "counter", "a"));
  CHECK_FALSE(parts::bad_name("fake", "counter", std::string(512, '\0')));
  CHECK(parts::bad_name("fake", "counter", "")->code == errc::bad_argument);
  const auto far = parts::bad_name("fake", "queue.push", std::string(513, 'x'), "key");
  REQUIRE(far);
  CHECK(far->code == errc::too_large);
  CHECK(far->message().find("the key has 513 bytes; give 1 to 512 bytes") != std::string::npos);
  CHECK(parts::printable(std::string_view("a\0\x7f", 3)) == "a\\x00\\x7f");
  for (const char* good : {"a", "A-b_9"}) CHECK_FALSE(parts::bad_prefix("fake", good));
  for (const char* bad : {"", "a:b", "a b", "a'", "{a}"}) CHECK(parts::bad_prefix("fake", bad));
  CHECK(parts::bad_prefix("fake", std::string(65, 'a')));
  CHECK_FALSE(parts::bad_size("fake", "cell.put", "a", 10, 10));
  CHECK(parts::bad_size("fake", "cell.put", "a", 11, 10)->code == errc::too_large);
  CHECK_THROWS_AS(parts::require_none(parts::bad_prefix("fake", "")), store::failure);
}

namespace {

// A client as far as awaited calls know it: a handle of its threads.
struct fake_client {
  std::shared_ptr<parts::offload_threads> threads = std::make_shared<parts::offload_threads>(2);
  template <class F>
  void offload(F f) {
    threads->execute(std::move(f));
  }
};

template <class F>
auto on(fake_client& client, F f) {
  return parts::offloaded<fake_client, F>(client, std::move(f));
}

}  // namespace

TEST_CASE("An awaited call runs on a thread of the client and goes on there") {
  fake_client client;
  std::thread::id ran;
  std::thread::id resumed;
  const auto work = [&]() -> interlock::task<int> {
    const int answer = co_await on(client, [&] {
      ran = std::this_thread::get_id();
      return 42;
    });
    resumed = std::this_thread::get_id();
    co_return answer;
  };
  CHECK(interlock::sync_wait(work()) == 42);
  CHECK(ran == resumed);
  CHECK(ran != std::this_thread::get_id());
}

TEST_CASE("What an awaited call throws reaches the coroutine") {
  fake_client client;
  const auto work = [&]() -> interlock::task<int> {
    co_return co_await on(client, []() -> int { throw std::runtime_error("no"); });
  };
  CHECK_THROWS_AS(interlock::sync_wait(work()), std::runtime_error);
}

TEST_CASE("A coroutine may be destroyed while its call is under way") {
  fake_client client;
  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
  std::atomic<bool> resumed{false};
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
  const auto work = [&]() -> started {
    co_await on(client, [&] {
      begun.release();
      go_on.acquire();
      return 0;
    });
    resumed = true;
  };
  const started one = work();
  begun.acquire();
  one.frame.destroy();
  go_on.release();
  client.threads.reset();  // joins
  CHECK_FALSE(resumed);
}

TEST_CASE("The last handle of a client may end on one of its threads") {
  std::atomic<bool> ended{false};
  std::weak_ptr<parts::offload_threads> seen;
  const auto work = [&](fake_client client) -> interlock::task<int> {
    const int answer = co_await on(client, [] { return 7; });
    fake_client last = std::move(client);
    last.threads.reset();
    ended = true;
    co_return answer;
  };
  fake_client client;
  seen = client.threads;
  CHECK(interlock::sync_wait(work(std::move(client))) == 7);
  CHECK(ended);
  CHECK(support::eventually([&] { return seen.expired(); }));
}
