// SPDX-License-Identifier: BSL-1.0
// Histories of explored threads: the order of operations is happens-before.

#include "front.hpp"

#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/order_monitors.hpp>

using testing::counter_call;
using testing::counter_state;
using testing::explored_history;
using testing::here;
using testing::moment;
using testing::precedes;
using testing::world;

namespace {

// The first thread ends an operation and then says so; the second begins one when it has heard.
void one_tells_the_other(world& w, std::memory_order store, std::memory_order load) {
  atomic<int> told{0};
  moment ended[2], begun[2];
  bool heard = false;
  w.thread([&] {
    begun[0] = here();
    ended[0] = here();
    told.store(1, store);
  });
  w.thread([&] {
    heard = told.load(load) == 1;
    begun[1] = here();
    ended[1] = here();
  });
  w.finally([&] {
    const moment last = here();
    w.outcome(heard, precedes(ended[0], begun[1]), precedes(ended[1], begun[0]));
    for (int i = 0; i < 2; ++i) {
      testing::check(precedes(begun[i], ended[i]) && !precedes(ended[i], begun[i]), "as taken");
      testing::check(precedes(ended[i], last) && !precedes(last, begun[i]), "the body joined it");
    }
  });
}

// What a store publishes is what came before it, not the end of the operation that it belongs to.
void the_store_is_inside(world& w) {
  atomic<int> told{0};
  moment ended, begun, first = here();
  bool heard = false;
  w.thread([&] {
    testing::check(precedes(first, here()), "the body was there before");
    told.store(1, rel);
    ended = here();
  });
  w.thread([&] {
    heard = told.load(acq) == 1;
    begun = here();
  });
  w.finally([&] { w.outcome(heard, precedes(ended, begun)); });
}

}  // namespace

TEST_CASE("An operation is before another exactly if its end happens before the call of that") {
  CHECK(seen(proved([](world& w) { one_tells_the_other(w, rel, acq); })) ==
        outcomes{"0 0 0", "1 1 0"});
  CHECK(seen(proved([](world& w) { one_tells_the_other(w, rlx, rlx); })) ==
        outcomes{"0 0 0", "1 0 0"});
  CHECK(seen(proved(the_store_is_inside)) == outcomes{"0 0", "1 0"});
}

TEST_CASE("threads of a second round come after all of the first") {
  proved([](world& w) {
    moment ended, begun;
    w.thread([&] { ended = here(); });
    w.join();
    w.thread([&] { begun = here(); });
    w.finally([&] { testing::check(precedes(ended, begun), "joined in between"); });
  });
}

// ---- histories ----------------------------------------------------------------------------------

namespace {

// A register: a store or a load.
struct memory_call {
  bool store = false;
  int value = 0;
  friend std::string describe(const memory_call& a) {
    return testing::history_detail::words(a.store ? "store " : "load ", a.value);
  }
};
struct memory {
  int value = 0;
  bool apply(const memory_call& a, bool answered) {
    if (a.store) value = a.value;
    return !answered || value == a.value;
  }
  static bool reads(const memory_call& a) { return !a.store; }
  friend bool operator==(const memory&, const memory&) = default;
};

#define UNSEEN __attribute__((no_sanitize("thread")))

// The mistake: takes the order in which the explorer happens to run things for time.
struct order_of_running {
  using when = testing::interval;
  using unseen = testing::unseen;
  static std::size_t thread() { return here().thread; }
  UNSEEN static testing::interval begin() {
    return {ticket, testing::interval::never};
  }
  UNSEEN static void end(testing::interval& of) { of.returned = ++ticket; }
  static inline std::uint64_t ticket = 0;
} by_running;

template <class History>
void relaxed_register(world& w, History& calls) {
  atomic<int> x{0}, told{0};
  w.thread([&] {
    calls.record(memory_call{true, 1}, [&](memory_call&) { x.store(1, rlx); });
    told.store(1, rel);
  });
  w.thread([&] {
    calls.record(memory_call{}, [&](memory_call& a) { a.value = x.load(rlx); });
    if (told.load(acq) == 0) return;
    calls.record(memory_call{}, [&](memory_call& a) { a.value = x.load(rlx); });
  });
  w.finally([&] {
    const testing::unseen hidden;
    const testing::verdict found = linearizable(calls.operations(), memory{});
    testing::check(static_cast<bool>(found), found.violation.c_str());
  });
}

// Two copies; a reader may take the one that is written last.
void stale_copy(world& w) {
  explored_history<memory_call> calls;
  atomic<int> x[2] = {0, 0};
  atomic<int> told{0};
  w.thread([&] {
    calls.record({true, 1}, [&](memory_call&) { x[0].store(1, rlx); });
    told.store(1, rel);
    x[1].store(1, rlx);
  });
  w.thread([&] {
    if (told.load(acq) == 0) return;
    calls.record({}, [&](memory_call& a) { a.value = x[1].load(rlx); });
  });
  w.finally([&] { calls.check(memory{}); });
}

void counts(world& w, bool recorded, bool whole) {
  explored_history<counter_call> calls;
  atomic<int> hits{0};
  const auto hit = [&](counter_call& call) {
    if (whole) {
      call.seen = hits.fetch_add(1, rlx);
    } else {
      call.seen = hits.load(rlx);
      hits.store(static_cast<int>(call.seen) + 1, rlx);
    }
  };
  for (int i = 0; i < 3; ++i) {
    w.thread([&] {
      counter_call unseen;
      for (int k = 0; k < 2; ++k) {
        if (recorded) {
          calls.record({counter_call::kind::add, 1, 0}, hit);
        } else {
          hit(unseen);
        }
      }
    });
  }
  w.finally([&] { calls.check(counter_state{}); });
}

// The thread may die before, between or after; nobody learns what it did.
void dies(world& w, bool twice) {
  explored_history<counter_call> calls;
  atomic<int> hits{0};
  w.thread([&] {
    (void)calls.begin(here().thread, {counter_call::kind::add, 1, 0});
    if (testing::choose(2) == 0) return;
    hits.fetch_add(1, rlx);
    if (twice) hits.fetch_add(1, rlx);
  });
  w.thread([&] {
    for (int i = 0; i < 2; ++i) {
      calls.record({counter_call::kind::load, 0, 0},
                   [&](counter_call& call) { call.seen = hits.load(rlx); });
    }
  });
  w.finally([&] { calls.check(counter_state{}); });
}

// A lock whose orders may be too weak. Inside is nothing that could race.
void excludes(world& w, std::memory_order take, std::memory_order leave) {
  struct visit {};
  explored_history<visit> visits;
  atomic<int> taken{0};
  for (int i = 0; i < 2; ++i) {
    w.thread([&] {
      int expected = 0;
      while (!taken.compare_exchange_strong(expected, 1, take, rlx)) {
        expected = 0;
        testing::spin_hint();
      }
      visits.record({}, [](visit&) {});
      taken.store(0, leave);
    });
  }
  w.finally([&] { visits.check([](const auto& all) { return monitor_exclusion(all); }); });
}

}  // namespace

TEST_CASE("a stale value is no error without happens-before and would be one by time") {
  proved([](world& w) {
    explored_history<memory_call> calls;
    relaxed_register(w, calls);
  });
  const auto report = failing([](world& w) {
    testing::history<memory_call, order_of_running> calls(by_running, 8);
    relaxed_register(w, calls);
  });
  CHECK(report.failure.find("no order explains") != std::string::npos);
}

TEST_CASE("a stale value is an error where happens-before forbids it") {
  const auto report = failing(stale_copy);
  CHECK(report.failure.find("load 0") != std::string::npos);
}

TEST_CASE("Recording adds no event and no execution and orders nothing") {
  const auto plain_run = proved([](world& w) { counts(w, false, true); });
  const auto with_history = proved([](world& w) { counts(w, true, true); });
  CHECK(plain_run.executions == 90);
  CHECK(with_history.executions == plain_run.executions);
  CHECK(with_history.blocked == plain_run.blocked);
  CHECK(with_history.pruned == plain_run.pruned);
}

TEST_CASE("every complete execution is checked and the first wrong one ends the exploration") {
  const auto report = failing([](world& w) { counts(w, true, false); });
  CHECK(report.failure.find("no order explains") != std::string::npos);
  CHECK(report.failure.find("add(1) saw 0") != std::string::npos);
}

TEST_CASE("a thread that dies has done its operation or not") {
  proved([](world& w) { dies(w, false); });
  failing([](world& w) { dies(w, true); });
}

TEST_CASE("owners exclude each other by happens-before") {
  proved([](world& w) { excludes(w, acq, rel); });
  failing([](world& w) { excludes(w, rlx, rel); });
  failing([](world& w) { excludes(w, acq, rlx); });
}

#if !defined(INTERLOCK_FRONT_B)
namespace {

// What the tickets of real threads claim is enforced: where one says `before`, nothing can race.
void tickets_order(world& w) {
  testing::ticket_clock clock;
  int data = 0;
  w.thread([&] {
    data = 1;
    (void)clock.tick();
  });
  w.thread([&] { (void)clock.tick(); });
  w.thread([&] {
    if (clock.now() == 2) testing::check(data == 1, "written before the ticket");
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("a ticket clock claims an order only where it makes one") {
  proved(tickets_order);
  CHECK(survivors(tickets_order) == "");
}
#endif
