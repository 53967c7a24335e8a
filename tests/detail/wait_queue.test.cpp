// SPDX-License-Identifier: BSL-1.0
// The queue under every waiting type, and the awaiter on top of it: who decides how a wait ends,
// and where the coroutine goes on.

#include <interlock/detail/ring.hpp>
#include <interlock/detail/wait_queue.hpp>
#include <interlock/detail/waiting.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>

#include <array>
#include <chrono>
#include <coroutine>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/counting_token.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/permits.hpp"

namespace il = interlock::detail;

using interlock::inplace_stop_source;
using interlock::manual_timer;
using interlock::wait_status;
using support::permits;
using namespace std::chrono_literals;

namespace {

// An executor that keeps what it is given until told to run it.
struct later {
  std::vector<std::function<void()>>* jobs;
  template <class F>
  void execute(F f) const {
    jobs->push_back(f);
  }
};

// One that moves what it is given, and may drop it.
struct mover {
  using moves_what_it_runs = void;
  template <class F>
  void execute(F f) const {
    static_assert(!std::is_copy_constructible_v<F>);
    if (full) throw std::runtime_error("full");
    *job = std::make_unique<F>(std::move(f));
  }
  std::unique_ptr<il::resumption>* job;
  bool full = false;
};

template <class Wait>
support::detached logs(Wait wait, std::vector<std::string>& log, std::string name) {
  const wait_status how = co_await wait();
  log.push_back(name + " " + to_string(how));
}

manual_timer::time_point at(std::chrono::milliseconds since_start) {
  return manual_timer::time_point(since_start);
}

struct plain_node : il::waiter {
  plain_node() noexcept : waiter([](waiter&) noexcept {}) {}
};

std::vector<std::ptrdiff_t> places(const il::ring& ring, const std::array<plain_node, 4>& nodes) {
  std::vector<std::ptrdiff_t> result;
  for (const il::waiter* each = ring.first(); each != nullptr; each = ring.after(*each)) {
    result.push_back(static_cast<const plain_node*>(each) - nodes.data());
  }
  return result;
}

}  // namespace

TEST_CASE("a ring keeps its order, whoever leaves") {
  using order = std::vector<std::ptrdiff_t>;
  il::ring line;
  std::array<plain_node, 4> nodes;
  CHECK(line.empty());
  CHECK_FALSE(line.remove(nodes[0]));
  for (plain_node& each : nodes) line.push_back(each);
  CHECK(places(line, nodes) == order{0, 1, 2, 3});
  CHECK(line.remove(nodes[2]));
  CHECK_FALSE(line.remove(nodes[2]));
  CHECK(places(line, nodes) == order{0, 1, 3});
  CHECK(line.remove(nodes[0]));
  CHECK(places(line, nodes) == order{1, 3});
  CHECK(line.remove(nodes[3]));
  line.push_front(nodes[2]);
  line.push_back(nodes[0]);
  CHECK(places(line, nodes) == order{2, 1, 0});
  CHECK(&line.pop_front() == &nodes[2]);
  CHECK(&line.pop_front() == &nodes[1]);
  CHECK(&line.pop_front() == &nodes[0]);
  CHECK(line.empty());
}

TEST_CASE("a wait ends by a grant, a stop, a deadline or a close, in the order of the line") {
  permits from;
  inplace_stop_source source;
  manual_timer timer;
  std::vector<std::string> log;
  logs([&] { return from.take(); }, log, "a");
  logs([&] { return from.take_unless(source.get_token()); }, log, "b");
  logs([&] { return from.take_until(timer, at(5ms)); }, log, "c");
  logs([&] { return from.take_until(timer, at(9ms), source.get_token()); }, log, "d");
  logs([&] { return from.take_until(timer, at(9ms)); }, log, "e");
  from.give();
  timer.advance_to(at(5ms));
  source.request_stop();
  from.close();
  logs([&] { return from.take(); }, log, "f");
  timer.advance_to(at(20ms));
  CHECK(log == std::vector<std::string>{"a acquired", "c timed out", "b cancelled", "d cancelled",
                                        "e closed", "f closed"});
}

TEST_CASE("a stop that was requested before takes nothing, a deadline in the past tries once") {
  permits from(1);
  inplace_stop_source stopped;
  stopped.request_stop();
  manual_timer timer(at(7ms));
  std::vector<std::string> log;
  logs([&] { return from.take_unless(stopped.get_token()); }, log, "a");
  logs([&] { return from.take_until(timer, at(7ms), stopped.get_token()); }, log, "b");
  CHECK(from.free() == 1);
  logs([&] { return from.take_until(timer, at(7ms)); }, log, "c");
  CHECK(from.free() == 0);
  logs([&] { return from.take_until(timer, at(7ms)); }, log, "d");
  CHECK(log == std::vector<std::string>{"a cancelled", "b cancelled", "c acquired", "d timed out"});
}

TEST_CASE("an end that comes later does not change how a wait ended") {
  permits from;
  inplace_stop_source source;
  std::vector<std::string> log;
  std::vector<std::function<void()>> jobs;
  logs([&] { return from.take_unless(source.get_token()).resume_on(later{&jobs}); }, log, "a");
  from.give();
  source.request_stop();  // the coroutine has not gone on, but has been let in
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log == std::vector<std::string>{"a acquired"});
}

TEST_CASE("no end looks at an object once all who waited for it are woken") {
  manual_timer timer;
  int registered = 0;
  std::vector<std::string> log;
  std::vector<std::function<void()>> jobs;
  const auto wait = [&](permits& from, std::string name) {
    logs([&] { return from.take_until(timer, at(1ms), support::counting_token{&registered})
                   .resume_on(later{&jobs}); },
         log, std::move(name));
  };
  {
    permits from;
    wait(from, "a");
    wait(from, "b");
    CHECK(registered == 2);
    from.give();
    CHECK(registered == 1);
    from.close();
    CHECK(registered == 0);
  }
  timer.advance_to(at(2ms));
  for (const auto& job : jobs) job();
  CHECK(log == std::vector<std::string>{"a acquired", "b closed"});
}

TEST_CASE("waits allocate nothing and are small") {
  permits from(1);
  inplace_stop_source source;
  manual_timer timer;
  static_assert(sizeof(from.take()) <= 48);
  static_assert(sizeof(from.take_unless(source.get_token())) <= 128);
  static_assert(sizeof(from.take().resume_inline()) <= 48);
  std::size_t before = 0;
  std::size_t behind = 0;
  const auto wait = [&]() -> support::detached {
    before = support::allocations();
    co_await from.take_until(timer, at(1ms), source.get_token());
    co_await from.take_until(timer, at(1ms), source.get_token());
    behind = support::allocations();
  };
  wait();
  timer.advance_to(at(2ms));
  CHECK(behind == before);
  if (support::counts_allocations) CHECK(before > 0);
}

TEST_CASE("a suspended coroutine may be destroyed: it leaves, or passes on what it was given") {
  permits from;
  std::vector<std::string> log;
  const auto wait = [&](std::string name) -> support::owned {
    const wait_status how = co_await from.take();
    log.push_back(name + " " + to_string(how));
  };
  const support::owned a = wait("a");
  const support::owned b = wait("b");
  const support::owned c = wait("c");
  a.handle.destroy();
  il::trampoline::together([&] {
    from.give();  // b is let in, and ready
    b.handle.destroy();
  });
  CHECK(log == std::vector<std::string>{"c acquired"});
  c.handle.destroy();
}

TEST_CASE("a coroutine that another thread is about to resume is not destroyed silently") {
  CHECK(support::death_message([] {
          permits from;
          std::vector<std::function<void()>> jobs;
          const auto wait = [&]() -> support::owned {
            co_await from.take().resume_on(later{&jobs});
          };
          const support::owned a = wait();
          from.give();  // the executor has it
          a.handle.destroy();
        }).find("destroyed while another thread was about to resume it") != std::string::npos);
}

TEST_CASE("a coroutine that its executor has dropped may be destroyed: it passes on what it has") {
  permits from;
  std::unique_ptr<il::resumption> job;
  const auto wait = [&](std::string& told, mover on) -> support::owned {
    const wait_status how = co_await from.take().resume_on(on);
    told = to_string(how);
  };
  std::string told;
  const support::owned dropped = wait(told, mover{&job});
  from.give();
  CHECK(from.free() == 0);
  job = nullptr;
  dropped.handle.destroy();
  CHECK(told.empty());
  CHECK(from.free() == 1);

  const support::owned run = wait(told, mover{&job});  // need not wait
  CHECK(std::exchange(told, {}) == "acquired");
  run.handle.destroy();
  const support::owned ran = wait(told, mover{&job});
  from.give();
  (*job)();
  CHECK(std::exchange(told, {}) == "acquired");
  job = nullptr;
  ran.handle.destroy();
  CHECK(from.free() == 0);

  const support::owned refused = wait(told, mover{&job, true});
  il::trampoline::together([&] {
    from.give();
    refused.handle.destroy();  // it was to go on here
  });
  CHECK(told.empty());
  CHECK(from.free() == 1);
}

TEST_CASE("by default nobody goes on inside another coroutine") {
  permits from;
  std::vector<std::string> log;
  logs([&] { return from.take(); }, log, "waiter");
  const auto gives = [&]() -> support::detached {
    co_await from.take();
    from.give();
    log.push_back("giver goes on");
  };
  gives();
  from.give();
  CHECK(log == std::vector<std::string>{"waiter acquired"});
  from.give();
  CHECK(log == std::vector<std::string>{"waiter acquired", "giver goes on"});
}

TEST_CASE("resume_inline goes on inside the call that lets it in") {
  permits from;
  std::vector<std::string> log;
  logs([&] { return from.take().resume_inline(); }, log, "waiter");
  il::trampoline::together([&] {
    from.give();
    log.push_back("behind give");
  });
  CHECK(log == std::vector<std::string>{"waiter acquired", "behind give"});
}

TEST_CASE("what a coroutine lets in that an executor resumed goes on when it suspends") {
  permits from;
  std::vector<std::function<void()>> jobs;
  std::vector<std::string> log;
  const auto gives = [&]() -> support::detached {
    co_await from.take().resume_on(later{&jobs});
    from.give();
    log.push_back("behind give");
  };
  gives();
  logs([&] { return from.take(); }, log, "waiter");
  from.give();
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log == std::vector<std::string>{"behind give", "waiter acquired"});
}

TEST_CASE("an executor resumes the coroutine, and may have it destroyed before execute returns") {
  permits from;
  std::vector<std::function<void()>> jobs;
  std::vector<std::string> log;
  logs([&] { return from.take().resume_on(later{&jobs}); }, log, "a");
  from.give();
  CHECK(log.empty());
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log == std::vector<std::string>{"a acquired"});

  const auto at_once = [](auto f) { f(); };  // the frame is gone when it returns
  logs([&] { return from.take().resume_on(at_once); }, log, "b");
  from.give();
  CHECK(log == std::vector<std::string>{"a acquired", "b acquired"});
}

TEST_CASE("an executor that throws loses nothing: the coroutine goes on where it was let in") {
  permits from;
  std::vector<std::string> log;
  const auto full = [](auto) { throw std::runtime_error("full"); };
  logs([&] { return from.take().resume_on(full); }, log, "a");
  from.give();
  CHECK(log == std::vector<std::string>{"a acquired"});
}
