// SPDX-License-Identifier: BSL-1.0
// wait_list in every execution: no lost wake-up, none twice, a node that leaves or is taken but not
// both, and an object that is gone as soon as somebody saw its change.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/detail/wait_list.hpp>

#include <array>
#include <chrono>
#include <coroutine>
#include <utility>

#include "support/detached.hpp"
#include "support/listed_in.hpp"
#include "support/owned.hpp"

namespace detail = interlock::detail;
using wait_list = detail::wait_list<int>;
using testing::world;

namespace {

// A number under a lock bit, as in versioned: odd while it is being changed.
class cell {
public:
  ~cell() { list.expect_empty("~cell: somebody waits"); }

  bool is_below(int height) const {
    const int word = word_.load(sc);
    return word % 2 == 0 && word / 2 < height;
  }
  int number() const {
    for (;;) {
      const int word = word_.load(acq);
      if (word % 2 == 0) return word / 2;
      testing::spin_hint();
    }
  }
  int lock() {
    for (;;) {
      int seen = 2 * number();
      if (word_.compare_exchange_strong(seen, seen + 1, sc, rlx)) return seen / 2;
    }
  }
  void publish(int next) { word_.store(2 * next, rel); }

  void change() {
    const int before = lock();
    wait_list::node* const waiters = list.empty() ? nullptr : list.take(before + 1);
    publish(before + 1);
    if (waiters != nullptr) wait_list::wake(waiters);  // the cell may be gone
  }

  void wait_past(int seen) {
    while (number() <= seen) {
      detail::wait_in(
          list, seen + 1, [=, this] { return is_below(seen + 1); }, nullptr);
    }
  }

  bool wait_past_until(int seen, std::chrono::steady_clock::time_point deadline) {
    while (number() <= seen) {
      const auto ending = detail::wait_in(
          list, seen + 1, [=, this] { return is_below(seen + 1); }, &deadline);
      testing::check(ending != detail::wait_ending::reached || number() > seen, "woken in time");
      if (ending == detail::wait_ending::too_late) return number() > seen;
    }
    return true;
  }

  wait_list list;

private:
  std::atomic<int> word_{0};
};

// co_await: waits for the first number above the one seen, unless it comes meanwhile.
class change_of : detail::coroutine_place<int> {
public:
  change_of(cell& object, int seen)
      : coroutine_place(seen + 1, &coroutine_waiter::resume_soon),
        object_(object),
        height_(seen + 1) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    continuation = self;
    return suspend_in(object_.list, [this] { return object_.is_below(height_); });
  }
  void await_resume() noexcept { suspended = false; }

private:
  cell& object_;
  int height_;
};

template <class Then>
support::detached when_changed(cell& object, int seen, Then then) {
  while (object.number() <= seen) co_await change_of(object, seen);
  then();
}

// ---- waiting for a cell -------------------------------------------------------------------------

// Each waiter, a thread or a coroutine, leaves the cell as soon as it saw the change; the last one
// destroys it, whatever the one who changed it is still at.
void changed_and_gone(world& w, int threads, int coroutines) {
  auto* const object = used_by<cell>::make(threads + coroutines);
  auto* const goods = new int(0);
  int went_on = 0;
  std::atomic<int> left{threads + coroutines};
  const auto done = [&went_on, &left, object, goods] {
    testing::check(*goods == 7, "what was done before the change is visible");
    object->leave();
    if (left.fetch_sub(1, ar) == 1) went_on = 1;
  };
  for (int t = 0; t < threads; ++t) {
    w.thread([done, object] {
      (*object)->wait_past(0);
      done();
    });
  }
  for (int t = 0; t < coroutines; ++t) {
    w.thread([done, object] { when_changed(**object, 0, done); });
  }
  w.thread([object, goods] {
    *goods = 7;
    (*object)->change();
  });
  w.finally([&went_on, goods] {
    testing::check(went_on == 1, "all went on");
    delete goods;
  });
}

// A waiter for the second of two changes by two threads.
void second_change(world& w) {
  cell object;
  w.thread([&] { object.wait_past(1); });
  for (int t = 0; t < 2; ++t) w.thread([&] { object.change(); });
  w.finally([] {});
}

void second_change_awaited(world& w) {
  cell object;
  bool went_on = false;
  w.thread([&] { when_changed(object, 1, [&] { went_on = true; }); });
  for (int t = 0; t < 2; ++t) w.thread([&] { object.change(); });
  w.finally([&] { testing::check(went_on, "resumed by a change"); });
}

// In time or not; then the node is gone, whoever has taken it.
void in_time_or_not(world& w) {
  auto* const object = used_by<cell>::make(2);
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  w.thread([object, soon] {
    const bool changed = (*object)->wait_past_until(0, soon);
    testing::check(changed || std::chrono::steady_clock::now() >= soon, "not before the deadline");
    testing::check(!changed || (*object)->number() == 1, "true if it has changed");
    object->leave();
  });
  w.thread([object] {
    (*object)->change();
    object->leave();
  });
  w.finally([] {});
}

void all_the_time(world& w) {
  cell object;
  w.thread([&] {
    const auto never = std::chrono::steady_clock::time_point::max();
    testing::check(object.wait_past_until(0, never), "there is all the time");
  });
  w.thread([&] { object.change(); });
  w.finally([] {});
}

// One that gives up at once, before or after one that does not.
void one_gives_up(world& w) {
  cell object;
  w.thread([&] { (void)object.wait_past_until(0, {}); });
  w.thread([&] { object.wait_past(0); });
  w.thread([&] { object.change(); });
  w.finally([] {});
}

// ---- nodes --------------------------------------------------------------------------------------

struct counting : detail::waiter {
  counting()
      : waiter(
            [](waiter& self) noexcept { static_cast<counting&>(self).woken.fetch_add(1, rel); }) {}
  std::atomic<int> woken{0};
};

constexpr auto always = [] { return true; };

// Each of three nodes leaves, or is taken by one of two and woken once.
void leaves_or_is_taken(world& w) {
  wait_list list;
  counting who[3];
  wait_list::node nodes[3];
  int left[3] = {};
  for (int i = 0; i < 3; ++i) {
    nodes[i].stand_for(who[i], 1);
    list.add(nodes[i], always);
  }
  for (const int mine : {0, 1}) w.thread([&, mine] { left[mine] = nodes[mine].leave() ? 1 : 0; });
  w.thread([&] {
    if (wait_list::node* const taken = list.take(1)) wait_list::wake(taken);
  });
  w.finally([&] {
    for (int i = 0; i < 3; ++i) {
      testing::check(left[i] + who[i].woken.load(rlx) == 1, "it left or was woken, once");
    }
    testing::check(list.empty(), "nobody is left");
  });
}

void taken_once(world& w) {
  wait_list list;
  counting who[2];
  wait_list::node nodes[2];
  for (int i = 0; i < 2; ++i) {
    nodes[i].stand_for(who[i], 1);
    list.add(nodes[i], always);
  }
  for (int t = 0; t < 2; ++t) {
    w.thread([&] {
      if (wait_list::node* const taken = list.take(1)) wait_list::wake(taken);
    });
  }
  w.finally([&] {
    testing::check(who[0].woken.load(rlx) == 1 && who[1].woken.load(rlx) == 1, "each once");
  });
}

// ---- heights ------------------------------------------------------------------------------------

// Nodes that arrive in any order are taken from the lowest one on.
void lowest_first(world& w) {
  wait_list list;
  counting who[3];
  wait_list::node nodes[3];
  for (int i = 0; i < 3; ++i) nodes[i].stand_for(who[i], i + 1);
  list.add(nodes[1], always);
  w.thread([&] { list.add(nodes[0], always); });
  w.thread([&] { list.add(nodes[2], always); });
  w.thread([&] {
    if (wait_list::node* const low = list.take(1)) wait_list::wake(low);
  });
  w.finally([&] {
    testing::check(who[1].woken.load(rlx) == 0 && who[2].woken.load(rlx) == 0, "too high");
    if (wait_list::node* const rest = list.take(2)) wait_list::wake(rest);
    testing::check(who[0].woken.load(rlx) == 1 && who[1].woken.load(rlx) == 1, "reached");
    testing::check(nodes[2].leave() && list.empty(), "the highest one is left");
  });
}

support::owned waits_for_ever(wait_list& list) {
  co_await support::listed_in(list, 2);
}

// A suspended coroutine is destroyed while another thread takes what is below it.
void destroyed_beside_a_change(world& w) {
  wait_list list;
  counting who;
  wait_list::node low(who, -1);
  list.add(low, always);
  w.thread([&] { waits_for_ever(list).handle.destroy(); });
  w.thread([&] {
    if (wait_list::node* const taken = list.take(-1)) wait_list::wake(taken);
  });
  w.finally([&] { testing::check(who.woken.load(rlx) == 1 && list.empty(), "only the low one"); });
}

// ---- several lists ------------------------------------------------------------------------------

// Effects: waits until one of the cells is no longer at 0.
void wait_for_one(cell* const* cells, int count) {
  const auto changed = [&] {
    for (int i = 0; i < count; ++i) {
      if (cells[i]->number() != 0) return true;
    }
    return false;
  };
  while (!changed()) {
    std::array<wait_list::node, 3> places;
    detail::wait_any<int> here(places.data());
    bool all = true;
    for (int i = 0; all && i < count; ++i) {
      all = here.add(cells[i]->list, 1, [&] { return cells[i]->is_below(1); });
    }
    if (all) here.wait(nullptr);
  }
}

// One thread waits for two cells, each changed by another; it may be woken by both.
void first_of_two(world& w) {
  auto* const a = used_by<cell>::make(2);
  auto* const b = used_by<cell>::make(2);
  w.thread([a, b] {
    cell* const both[] = {&**a, &**b};
    wait_for_one(both, 2);
    a->leave();
    b->leave();
  });
  for (auto* const each : {a, b}) {
    w.thread([each] {
      (*each)->change();
      each->leave();
    });
  }
  w.finally([] {});
}

// Only one of them changes; the node in the other's list goes with its thread.
void one_of_two(world& w, int changed) {
  cell cells[2];
  w.thread([&] {
    cell* const both[] = {&cells[0], &cells[1]};
    wait_for_one(both, 2);
  });
  w.thread([&, changed] { cells[changed].change(); });
  w.finally(
      [&] { testing::check(cells[0].list.empty() && cells[1].list.empty(), "nobody is left"); });
}

void any_in_time_or_not(world& w) {
  cell cells[2];
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  w.thread([&] {
    std::array<wait_list::node, 2> places;
    detail::wait_any<int> here(places.data());
    for (cell& each : cells) {
      if (!here.add(each.list, 1, [&] { return each.is_below(1); })) return;
    }
    if (!here.wait(&soon)) {
      testing::check(std::chrono::steady_clock::now() >= soon, "not before the deadline");
    }
  });
  w.thread([&] { cells[0].change(); });
  w.finally(
      [&] { testing::check(cells[0].list.empty() && cells[1].list.empty(), "nobody is left"); });
}

// ---- mistakes -----------------------------------------------------------------------------------

// Looks at the object before the list knows of the waiter.
void looks_too_early(world& w) {
  cell object;
  w.thread([&] {
    detail::thread_waiter self;
    wait_list::node here(self, 1);
    if (!object.is_below(1)) return;
    object.list.add(here, always);
    self.wait();
  });
  w.thread([&] { object.change(); });
  w.finally([] {});
}

// Looks for waiters before the change is marked.
void asks_too_early(world& w) {
  cell object;
  w.thread([&] { object.wait_past(0); });
  w.thread([&] {
    const bool alone = object.list.empty();
    const int before = object.lock();
    wait_list::node* const waiters = alone ? nullptr : object.list.take(before + 1);
    object.publish(before + 1);
    if (waiters != nullptr) wait_list::wake(waiters);
  });
  w.finally([] {});
}

// Marks the change by a store that may still be under way when it looks for waiters.
void marks_by_a_store(world& w) {
  std::atomic<int> word{0};
  wait_list list;
  w.thread([&] {
    detail::wait_in(
        list, 1, [&] { return word.load(sc) == 0; }, nullptr);
  });
  w.thread([&] {
    word.store(1, rel);
    if (!list.empty()) wait_list::wake(list.take(1));
  });
  w.finally([] {});
}

// Publishes, then looks for waiters in an object that one of them has destroyed.
void takes_too_late(world& w) {
  auto* const object = new cell;
  w.thread([object] {
    object->wait_past(0);
    delete object;
  });
  w.thread([object] {
    object->publish(object->lock() + 1);
    if (!object->list.empty()) wait_list::wake(object->list.take(1));
  });
  w.finally([] {});
}

// Gives up without a look at whether the node was taken.
void leaves_regardless(world& w) {
  cell object;
  w.thread([&] {
    detail::thread_waiter self;
    wait_list::node here(self, 1);
    if (!object.list.add(here, [&] { return object.is_below(1); })) return;
    if (!self.wait_until({})) here.leave();
  });
  w.thread([&] { object.change(); });
  w.finally([] {});
}

// Waits for the first wake-up only, though two nodes are taken.
void one_wake_up_of_two(world& w) {
  cell cells[2];
  w.thread([&] {
    detail::thread_waiter self;
    wait_list::node here[2];
    for (int i = 0; i < 2; ++i) {
      here[i].stand_for(self, 1);
      if (!cells[i].list.add(here[i], [&] { return cells[i].is_below(1); })) {
        if (i == 1 && !here[0].leave()) self.wait();
        return;
      }
    }
    self.wait();
    for (wait_list::node& each : here) each.leave();
  });
  for (cell& each : cells) w.thread([&each] { each.change(); });
  w.finally([] {});
}

}  // namespace

TEST_CASE("wait_list: no change is missed, and who saw it may destroy the object") {
  proved([](world& w) { changed_and_gone(w, 1, 0); });
  proved([](world& w) { changed_and_gone(w, 0, 1); });
  proved([](world& w) { changed_and_gone(w, 1, 1); });
  proved([](world& w) { changed_and_gone(w, 2, 0); });
}

TEST_CASE("wait_list: a waiter for the second of two changes") {
  proved(second_change);
  proved(second_change_awaited);
}

TEST_CASE("wait_list: a deadline passes or a change takes the node") {
  proved(in_time_or_not);
  proved(one_gives_up);
  proved(all_the_time);
}

TEST_CASE("wait_list: a node leaves or is woken once") {
  proved(leaves_or_is_taken);
  proved(taken_once);
}

TEST_CASE("wait_list: the lowest ones are taken, in any order of arrival") {
  proved(lowest_first);
}

TEST_CASE("wait_list: a suspended coroutine leaves when it is destroyed") {
  proved(destroyed_beside_a_change);
}

TEST_CASE("wait_list: one thread waits for the first of several changes") {
  proved([](world& w) { one_of_two(w, 0); });
  proved([](world& w) { one_of_two(w, 1); });
  proved(any_in_time_or_not);
  proved(first_of_two);
}

TEST_CASE("wait_list: mistakes in its use are found") {
  CHECK(failing(looks_too_early).failure.rfind("deadlock", 0) == 0);
  CHECK(failing(asks_too_early).failure.rfind("deadlock", 0) == 0);
  CHECK(failing(marks_by_a_store).failure.rfind("deadlock", 0) == 0);
  failing(takes_too_late);
  failing(leaves_regardless);
  failing(one_wake_up_of_two);
}

TEST_CASE("wait_list: mutants", "[.mutants]") {
  mutants({[](world& w) { changed_and_gone(w, 1, 0); }, [](world& w) { changed_and_gone(w, 0, 1); },
           in_time_or_not, all_the_time, leaves_or_is_taken, taken_once,
           [](world& w) { one_of_two(w, 1); }, first_of_two, destroyed_beside_a_change});
}
