// SPDX-License-Identifier: BSL-1.0
// lock_graph: circles of waits, circles of the order, and what is neither.

#include <interlock/detail/lock_graph.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/reports.hpp"

using interlock::lock_report;
using interlock::to_string;
using interlock::detail::lock_graph;
using interlock::detail::lock_party;
using interlock::detail::lock_wait;
using interlock::detail::tracked_lock;
using interlock::detail::wait_end;
using support::is;
using support::names;

namespace {

struct lock : tracked_lock {
  explicit lock(const char* called) {
    name = called;
    graph().enroll(*this);
  }
  ~lock() { graph().destroy(*this, false); }
  static lock_graph& graph() { return lock_graph::instance(); }
};

lock_party thread(std::uintptr_t id) {
  return {lock_party::kind::thread, id, nullptr};
}
lock_party frame(std::uintptr_t id) {
  return {lock_party::kind::coroutine, id, nullptr};
}
lock_party named(const char* name) {
  return {lock_party::kind::named, reinterpret_cast<std::uintptr_t>(name), name};
}

using here = std::source_location;

// Somebody who asks for locks and may wait for one at a time.
struct asker {
  explicit asker(std::vector<lock_party> whole_chain) : wait{std::move(whole_chain), {}} {}
  ~asker() { lock::graph().end(wait); }

  void ask(lock& wanted, wait_end end = wait_end::never, here at = here::current()) {
    wait.at = at;
    wait.end = end;
    lock::graph().ask(wait, wanted);
  }
  void take(lock& wanted, here at = here::current()) {
    ask(wanted, wait_end::never, at);
    lock::graph().take(wait, wanted);
  }
  void stop_waiting() { lock::graph().end(wait); }

  lock_wait wait;
};

void let_go(lock& held) {
  lock::graph().let_go(held);
}

using list = std::vector<std::string>;

// One party takes the first, then the second.
void both(lock& first, lock& second) {
  asker a({thread(1)});
  a.take(first);
  a.take(second);
  let_go(second);
  let_go(first);
}

}  // namespace

TEST_CASE("Who waits for what it owns is a circle of one") {
  const support::reports reports;
  lock door("door");
  asker a({thread(1)});
  a.take(door);
  CHECK(reports.empty());
  a.ask(door);
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::relock, true));
  REQUIRE(reports[0].parties.size() == 1);
  CHECK(reports[0].parties[0].name == "thread 1");
  CHECK(names(reports[0].parties[0].holds) == list{"door"});
  CHECK(names(reports[0].parties[0].waits) == list{"door"});
}

TEST_CASE("A circle of two is told when it closes with what each holds and asks for") {
  const support::reports reports;
  lock x("x"), y("y"), z("z");
  asker a({thread(7)}), b({frame(8)});
  a.take(z);
  a.take(x);
  b.take(y);
  a.ask(y);
  CHECK(reports.empty());
  b.ask(x);
  REQUIRE(reports.size() == 1);  // and not the order as well
  CHECK(is(reports[0], lock_report::kind::cycle, true));
  REQUIRE(reports[0].parties.size() == 2);
  CHECK(reports[0].parties[0].name == "coroutine 1");
  CHECK(names(reports[0].parties[0].holds) == list{"y"});
  CHECK(names(reports[0].parties[0].waits) == list{"x"});
  CHECK(reports[0].parties[1].name == "thread 1");
  CHECK(names(reports[0].parties[1].holds) == list{"z", "x"});
  CHECK(names(reports[0].parties[1].waits) == list{"y"});
  CHECK(reports[0].parties[1].waits[0].at.line() == a.wait.at.line());
}

TEST_CASE("A circle of many is found and a shortest one is told") {
  const support::reports reports;
  constexpr std::size_t count = 100;
  std::vector<std::unique_ptr<lock>> locks;
  std::vector<std::unique_ptr<asker>> askers;
  for (std::size_t i = 0; i < count; ++i) {
    locks.push_back(std::make_unique<lock>("one of many"));
    askers.push_back(std::make_unique<asker>(std::vector{frame(100 + i)}));
    askers[i]->take(*locks[i]);
  }
  for (std::size_t i = 0; i + 1 < count; ++i) askers[i]->ask(*locks[i + 1]);
  CHECK(reports.empty());
  askers[count - 1]->ask(*locks[count - 3]);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].parties.size() == 3);
}

TEST_CASE("Waits without a circle are none") {
  const support::reports reports;
  lock x("x"), y("y");
  asker a({thread(1)}), b({thread(2)}), c({thread(3)});
  a.take(x);
  b.ask(x);
  c.ask(x);
  a.take(y);
  let_go(x);
  lock::graph().take(b.wait, x);
  let_go(y);
  a.ask(x);  // behind c: a holds nothing
  CHECK(reports.empty());
}

TEST_CASE("What a caller owns its callee waits for in vain") {
  const support::reports reports;
  lock x("x");
  asker caller({frame(1)}), callee({frame(2), frame(1)});
  caller.take(x);
  callee.ask(x);
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::relock, true));
  CHECK(reports[0].parties[0].holds[0].note == "coroutine 2, which waits for it to end");
}

TEST_CASE("Callees of one caller may wait for each other") {
  const support::reports reports;
  lock x("x"), y("y");
  asker one({frame(1), frame(9)}), other({frame(2), frame(9)});
  one.take(x);
  other.ask(x);
  one.take(y);
  CHECK(reports.empty());
  lock z("z");
  asker outside({frame(3)});
  outside.take(z);
  one.ask(z);
  CHECK(reports.empty());
  outside.ask(y);
  CHECK(reports.size() == 1);
}

TEST_CASE("A caller is stuck if one of its callees is") {
  const support::reports reports;
  lock x("x"), y("y");
  asker caller({named("caller")}), callee({frame(2), named("caller")}), other({frame(3)});
  const lock_party one = caller.wait.chain[0];
  callee.wait.chain[1] = one;
  caller.take(x);
  other.take(y);
  other.ask(x);
  callee.ask(y);
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::cycle, true));
  CHECK(reports[0].parties[0].holds[0].note == "caller, which waits for it to end");
}

TEST_CASE("A circle that something can end is not certain") {
  for (const wait_end end : {wait_end::refusal, wait_end::stop, wait_end::deadline}) {
    const support::reports reports;
    lock x("x"), y("y");
    asker a({thread(1)}), b({thread(2)});
    a.take(x);
    b.take(y);
    a.ask(y, end);
    b.ask(x);
    REQUIRE(reports.size() == 1);
    CHECK(is(reports[0], lock_report::kind::cycle, false));
    CHECK_FALSE(reports[0].parties[1].waits[0].note.empty());
  }
}

TEST_CASE("What try_lock took may be a coroutine's so a circle through it is not certain") {
  const support::reports reports;
  lock x("x");
  lock::graph().take_at_once(x, thread(1), here::current());
  asker a({thread(1)});
  a.ask(x);
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::relock, false));
  CHECK(reports[0].parties[0].holds[0].note == "by try_lock");
}

TEST_CASE("A guard that moved is nobody's until somebody takes it over") {
  const support::reports reports;
  lock x("x"), y("y");
  asker a({thread(1)}), b({thread(2)});
  a.take(x);
  b.take(y);
  lock::graph().move(x);
  a.ask(x);
  a.stop_waiting();
  a.ask(y);
  b.ask(x);
  CHECK(reports.empty());
  lock::graph().give(x, thread(1));
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::cycle, true));
}

TEST_CASE("What a named owner has stays its own when the guard moves") {
  const support::reports reports;
  lock x("x");
  asker me({named("me")});
  me.take(x);
  lock::graph().move(x);
  me.ask(x);
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::relock, true));
  CHECK(reports[0].parties[0].name == "me");
}

TEST_CASE("Two orders are told once though nobody waits") {
  const support::reports reports;
  lock x("x"), y("y");
  both(x, y);
  both(x, y);
  CHECK(reports.empty());
  both(y, x);
  REQUIRE(reports.size() == 1);
  both(x, y);
  both(y, x);
  CHECK(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::order, false));
  REQUIRE(reports[0].parties.size() == 2);
  CHECK(reports[0].parties[0].name == "thread 1, now");
  CHECK(names(reports[0].parties[0].holds) == list{"y"});
  CHECK(names(reports[0].parties[0].waits) == list{"x"});
  CHECK(reports[0].parties[1].name == "thread, before");
  CHECK(names(reports[0].parties[1].holds) == list{"x"});
  CHECK(names(reports[0].parties[1].waits) == list{"y"});
}

TEST_CASE("A circle of three orders is told") {
  const support::reports reports;
  lock x("x"), y("y"), z("z");
  both(x, y);
  both(y, z);
  CHECK(reports.empty());
  both(z, x);
  REQUIRE(reports.size() == 1);
  REQUIRE(reports[0].parties.size() == 3);
  CHECK(names(reports[0].parties[1].holds) == list{"x"});
  CHECK(names(reports[0].parties[2].holds) == list{"y"});
}

TEST_CASE("Two orders behind one gate are none until somebody goes around it") {
  const support::reports reports;
  lock gate("gate"), x("x"), y("y");
  const auto both = [](std::vector<lock*> order) {
    asker a({thread(1)});
    for (lock* each : order) a.take(*each);
    for (lock* each : order) let_go(*each);
  };
  both({&gate, &x, &y});
  both({&gate, &y, &x});
  CHECK(reports.empty());
  both({&x, &y});
  CHECK(reports.size() == 1);
}

TEST_CASE("Hand over hand along a list is one order") {
  const support::reports reports;
  std::vector<std::unique_ptr<lock>> nodes;
  for (int i = 0; i < 20; ++i) nodes.push_back(std::make_unique<lock>("node"));
  for (std::uintptr_t walker = 1; walker <= 3; ++walker) {
    asker a({frame(walker)});
    a.take(*nodes[0]);
    for (std::size_t i = 1; i < nodes.size(); ++i) {
      a.take(*nodes[i]);
      let_go(*nodes[i - 1]);
    }
    let_go(*nodes.back());
  }
  CHECK(reports.empty());
}

TEST_CASE("A wait with a deadline says nothing about the order") {
  const support::reports reports;
  lock x("x"), y("y");
  asker a({thread(1)}), b({thread(2)});
  a.take(x);
  a.take(y);
  let_go(x);
  let_go(y);
  b.take(y);
  b.ask(x, wait_end::deadline);
  b.stop_waiting();
  CHECK(reports.empty());
  b.ask(x, wait_end::stop);
  CHECK(reports.size() == 1);
}

TEST_CASE("Only a lock that a guard released can be adopted") {
  const support::reports reports;
  lock x("x");
  asker a({thread(1)});
  CHECK_FALSE(lock::graph().adopt(x, thread(2), here::current()));
  a.take(x);
  CHECK_FALSE(lock::graph().adopt(x, thread(2), here::current()));
  lock::graph().loosen(x);
  CHECK(lock::graph().adopt(x, thread(2), here::current()));
  CHECK_FALSE(lock::graph().adopt(x, thread(2), here::current()));
  REQUIRE(reports.size() == 3);
  CHECK(reports[0].parties[0].name == "nobody owns it");
  CHECK(reports[1].parties[0].name == "thread 1");
  CHECK(reports[2].parties[0].name == "thread 1, whose guard was moved or released");
  for (const lock_report& one : reports.all()) CHECK(is(one, lock_report::kind::stranger, true));
}

TEST_CASE("The destruction of a lock in use names who owns it and who waits") {
  const support::reports reports;
  asker a({thread(1)}), b({frame(2)});
  {
    lock x("x");
    a.take(x);
    b.ask(x, wait_end::stop);
    lock::graph().destroy(x, true);
  }
  REQUIRE(reports.size() == 1);
  CHECK(is(reports[0], lock_report::kind::destruction, true));
  REQUIRE(reports[0].parties.size() == 2);
  CHECK(names(reports[0].parties[0].holds) == list{"x"});
  CHECK(names(reports[0].parties[1].waits) == list{"x"});
  b.stop_waiting();  // of a lock that is gone
}

TEST_CASE("A lock that is gone is in no order and no circle") {
  const support::reports reports;
  lock x("x");
  asker a({thread(1)});
  {
    lock y("y");
    a.take(x);
    a.take(y);
    let_go(y);
    let_go(x);
  }
  lock y("y");  // perhaps at the same address
  a.take(y);
  a.take(x);
  CHECK(reports.empty());
}

TEST_CASE("Those who were told that the lock is closed wait no more") {
  const support::reports reports;
  lock x("x"), y("y");
  asker a({thread(1)}), b({thread(2)});
  a.take(x);
  b.take(y);
  a.ask(y);
  lock::graph().close(y);
  b.ask(x);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].what == lock_report::kind::order);
}

TEST_CASE("A report reads like this") {
  const support::reports reports;
  lock x("account A"), y("account B");
  asker a({named("transfer A to B")}), b({frame(8)});
#line 101 "folder/transfer.cpp"
  a.take(x);
  b.take(y);
  a.ask(y, wait_end::stop);
  b.ask(x);
  REQUIRE(reports.size() == 1);
  CHECK(to_string(reports[0]) ==
        "interlock: perhaps a deadlock: 2 wait for each other in a circle\n"
        "  coroutine 1\n"
        "    holds \"account B\" since transfer.cpp:102\n"
        "    asks for \"account A\" at transfer.cpp:104\n"
        "  transfer A to B\n"
        "    holds \"account A\" since transfer.cpp:101\n"
        "    asks for \"account B\" at transfer.cpp:103 (may end by a stop)\n");
}
