// SPDX-License-Identifier: BSL-1.0
// async_semaphore in every execution: no permit is lost or made, whoever lets in, cancels, closes
// or destroys; nobody is overtaken; what is freed by who was let in is touched no more.

#include "testing/front.hpp"

#include <interlock/async_semaphore.hpp>
#include <interlock/detail/wait_queue.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "support/one_alarm.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

namespace detail = interlock::detail;
using interlock::async_semaphore;
using interlock::max_waiters;
using interlock::wait_status;
using testing::world;

namespace {

// ---- taking and giving back ---------------------------------------------------------------------

struct guarded {
  explicit guarded(std::uint32_t n) : door(n) {}
  async_semaphore door;
  int inside = 0;  // plain: a race if two are inside who need all permits
};
using user = void (*)(guarded&, std::uint32_t);

void blocking_section(guarded& g, std::uint32_t n) {
  const auto mine = g.door.acquire_blocking(n);
  ++g.inside;
}

support::detached section(guarded& g, std::uint32_t n) {
  const auto mine = co_await g.door.acquire(n);
  ++g.inside;
}
void coroutine_section(guarded& g, std::uint32_t n) { section(g, n); }

// Everybody needs all permits, so they exclude each other.
void sections(world& w, std::vector<user> users, std::uint32_t n, int rounds) {
  auto* const g = new guarded(n);
  for (std::size_t i = 0; i < users.size(); ++i) {
    w.thread([g, enter = users[i], n, rounds] {
      for (int k = 0; k < rounds; ++k) enter(*g, n);
    });
  }
  w.finally([g, n, all = static_cast<int>(users.size()) * rounds] {
    testing::check(g->inside == all, "everybody was let in");
    testing::check(g->door.available_approx() == n, "no permit is lost or made");
    testing::check(g->door.waiters_approx() == 0, "nobody is counted who has gone");
    delete g;
  });
}

// One who needs both permits between two who need one each: it shares a plain object with both.
support::detached touches(async_semaphore& door, std::uint32_t n, int& mine, int& other) {
  const auto held = co_await door.acquire(n);
  ++mine;
  if (n == 2) ++other;
}

void weights(world& w) {
  auto* const door = new async_semaphore(2);
  std::array<int, 2> visits{};
  w.thread([&, door] { touches(*door, 1, visits[0], visits[1]); });
  w.thread([&, door] { touches(*door, 2, visits[0], visits[1]); });
  w.thread([&, door] { touches(*door, 1, visits[1], visits[0]); });
  w.finally([&, door] {
    testing::check(visits[0] == 2 && visits[1] == 2, "everybody was let in");
    testing::check(door->available_approx() == 2, "no permit is lost or made");
    delete door;
  });
}

// Parts of what is held are given back by different threads.
void in_parts(world& w) {
  auto* const c = new guarded(2);
  w.thread([c] {
    auto both = c->door.acquire_blocking(2);
    ++c->inside;
    auto one = both.split(1);
    both.give_back();
  });
  w.thread([c] { section(*c, 2); });
  w.finally([c] {
    testing::check(c->inside == 2 && c->door.available_approx() == 2, "all came back");
    delete c;
  });
}

// Who is refused at once was refused for a reason, and who is not sees what came before.
void tries(world& w) {
  auto* const g = new guarded(2);
  int got = 0;
  w.thread([g] {
    auto mine = g->door.acquire_blocking(2);
    ++g->inside;
  });
  w.thread([g, &got] {
    if (const auto mine = g->door.try_acquire(2)) {
      ++g->inside;
      got = 1;
    }
  });
  w.finally([&w, &got, g] {
    testing::check(g->inside == 1 + got, "everybody who was let in was inside");
    w.outcome(got);
    delete g;
  });
}

// ---- order --------------------------------------------------------------------------------------

support::detached counts(async_semaphore& door, std::uint32_t n, int& from, int& to) {
  const auto mine = co_await door.acquire(n);
  to = from + 1;
}

// One permit of two is out. Who needs both stands in line; those who come later get none before.
void nobody_overtakes(world& w) {
  async_semaphore door(2);
  int start = 0;
  int large = 0;
  int small = 0;
  atomic<int> listed{0};
  auto held = door.try_acquire();
  testing::check(held.owns_lock(), "nobody else is here");
  w.thread([&] {
    counts(door, 2, start, large);
    counts(door, 1, large, small);
    listed.store(1, rel);
  });
  w.thread([&] {
    while (listed.load(acq) == 0) testing::spin_hint();
    // What is there is for the one at the head, unless it has gone through already.
    const auto newcomer = door.try_acquire();
    testing::check(!newcomer || large == 1, "no newcomer passes the line");
  });
  w.thread([&] { held.give_back(); });
  w.finally([&] {
    testing::check(large == 1 && small == 2, "first come, first served");
    testing::check(door.available_approx() == 2, "no permit is lost or made");
  });
}

// ---- ends ---------------------------------------------------------------------------------------

struct ends {
  async_semaphore door{0, 4};
  support::stop_source source;
  support::one_alarm timer;
  int got = 0;        // permits, which are kept
  int went_on = 0;
  wait_status how{};

  void went(async_semaphore::permits mine) {
    how = mine.status();
    got += static_cast<int>(mine.release());
    ++went_on;
  }
  void check_all(int given) const {
    testing::check(went_on == 1, "it goes on, once");
    testing::check(got == (how == wait_status::acquired ? 1 : 0), "granted or ended, not both");
    testing::check(door.waiters_approx() == 0, "nobody is left in line");
    testing::check(static_cast<int>(door.available_approx()) + got == given,
                   "no permit is lost or made");
  }
};

support::detached until_stopped(ends& e) {
  e.went(co_await e.door.acquire(1, e.source.get_token()));
}
support::detached until_late(ends& e) { e.went(co_await e.door.acquire_until(e.timer, 1)); }
support::detached until_either(ends& e) {
  e.went(co_await e.door.acquire_until(e.timer, 1, 1, e.source.get_token()));
}
support::detached until_closed(ends& e) { e.went(co_await e.door.acquire()); }

void blocks_until_late(ends& e) {
  e.went(e.door.acquire_blocking_until(std::chrono::steady_clock::now() + std::chrono::seconds(1)));
}

using step = void (*)(ends&);
void starts_stoppable(ends& e) { until_stopped(e); }
void starts_timed(ends& e) { until_late(e); }
void starts_both(ends& e) { until_either(e); }
void starts_plain(ends& e) { until_closed(e); }
void gives(ends& e) { e.door.release(); }
void stops(ends& e) { e.source.request_stop(); }
void rings(ends& e) { e.timer.ring(); }
void closes(ends& e) { e.door.close(); }

// One waits, the others let it in or end its wait. Outcomes: how it went.
void races(world& w, std::vector<step> steps, int given) {
  auto* const e = new ends;
  for (const step each : steps) {
    w.thread([e, each] { each(*e); });
  }
  w.finally([&w, e, given] {
    e->check_all(given);
    w.outcome(static_cast<int>(e->how));
    delete e;
  });
}

support::detached takes(async_semaphore& door, std::uint32_t n, int& got) {
  auto mine = co_await door.acquire(n);
  got += static_cast<int>(mine.release());
}
support::detached takes_unless(async_semaphore& door, std::uint32_t n, int& got,
                               support::stop_source::token stop) {
  auto mine = co_await door.acquire(n, stop);
  if (mine) got += static_cast<int>(mine.release());
}

// The one at the head needs more than there is. When it gives up, the one behind it goes on.
void cancelled_head(world& w) {
  async_semaphore door(1, 4);
  support::stop_source source;
  int large = 0;
  int small = 0;
  w.thread([&] {
    takes_unless(door, 2, large, source.get_token());
    takes(door, 1, small);
  });
  w.thread([&] { source.request_stop(); });
  w.thread([&] { door.release(1); });
  w.finally([&] {
    testing::check(large == 2 || small == 1, "somebody was let in");
    const auto there = static_cast<int>(door.available_approx());
    testing::check(there + large + small == 2, "no permit is lost or made");
    if (door.waiters_approx() == 1) {  // the large one was faster
      testing::check(large == 2 && small == 0, "nobody waits for what is there");
      door.release(1);
    }
    testing::check(small == 1, "the small one goes on in the end");
  });
}

// Nobody gives: it goes on at once, by the stop alone, or after a newcomer that was there before.
void at_once_behind_a_cancelled_head(world& w) {
  async_semaphore door(1, 4);
  support::stop_source source;
  int large = 0;
  int small = 0;
  w.thread([&] {
    takes_unless(door, 2, large, source.get_token());
    takes(door, 1, small);
  });
  w.thread([&] { source.request_stop(); });
  w.thread([&] { testing::check(door.try_acquire().status() != wait_status::closed, "open"); });
  w.finally([&] {
    testing::check(large == 0 && small == 1, "the small one was let in");
    testing::check(door.available_approx() == 0, "no permit is lost or made");
  });
}

// The same where the one at the head is a thread whose deadline passes.
void late_head(world& w) {
  async_semaphore door(1, 4);
  int large = 0;
  int small = 0;
  w.thread([&] {
    auto mine = door.acquire_blocking_until(
        std::chrono::steady_clock::now() + std::chrono::seconds(1), 2);
    if (mine) large += static_cast<int>(mine.release());
  });
  w.thread([&] { takes(door, 1, small); });
  w.finally([&] {
    testing::check(large == 0 && small == 1, "only one of two permits was there");
    testing::check(door.available_approx() == 0, "no permit is lost or made");
  });
}

support::owned waits_for_ever(async_semaphore& door, std::uint32_t n) {
  const auto mine = co_await door.acquire(n);
  testing::check(false, "there are never so many");
}

// A suspended coroutine is destroyed while others take and give: those behind it go on.
void destroyed_while_it_waits(world& w) {
  auto* const door = new async_semaphore(0, 4);
  int got = 0;
  w.thread([door] { waits_for_ever(*door, 3).handle.destroy(); });
  w.thread([&got, door] { takes(*door, 1, got); });
  w.thread([door] { door->release(1); });
  w.finally([&got, door] {
    testing::check(got == 1, "the one behind it was let in");
    testing::check(door->available_approx() == 0 && door->waiters_approx() == 0, "all is in order");
    delete door;
  });
}

// As many wait as may: one more is told so at once, unless the first has gone.
void one_may_wait(world& w) {
  async_semaphore door(0, 4, max_waiters{1});
  int got = 0;
  int refused = 0;
  const auto waits = [](async_semaphore& from, int& in, int& out) -> support::detached {
    auto mine = co_await from.acquire();
    if (mine) {
      in += static_cast<int>(mine.release());
    } else {
      testing::check(mine.status() == wait_status::overloaded, "no other reason");
      ++out;
    }
  };
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  for (std::size_t t = 0; t < 2; ++t) {
    w.thread([&, t] { waits(door, in[t], out[t]); });
  }
  w.thread([&] { door.release(); });
  w.finally([&] {
    got = in[0] + in[1];
    refused = out[0] + out[1];
    if (door.waiters_approx() == 1) {
      door.release();
      got = in[0] + in[1];
    }
    testing::check(got + refused == 2 && got >= 1, "each was let in or told");
    w.outcome(refused);
  });
}

// ---- the end of the semaphore -------------------------------------------------------------------

support::detached destroys_after(async_semaphore* door, std::uint32_t n) {
  auto mine = co_await door->acquire(n);
  static_cast<void>(mine.release());
  delete door;
}

// Who waits for all of them destroys the semaphore: no release touches it afterwards.
void last_permit_destroys(world& w, bool blocks) {
  auto* const door = new async_semaphore(0, 4);
  for (int t = 0; t < 2; ++t) {
    w.thread([door] { door->release(); });
  }
  w.thread([door, blocks] {
    if (!blocks) {
      destroys_after(door, 2);
      return;
    }
    static_cast<void>(door->acquire_blocking(2).release());
    delete door;
  });
  w.finally([] {});
}

// A wait is cancelled while somebody gives; who waited then takes the permit and destroys the
// semaphore: whoever gives finds the line gone, and must not give with the queue locked.
void destroys_after_a_stop(world& w) {
  auto* const door = new async_semaphore(0, 4);
  support::stop_source source;
  w.thread([&, door] {
    const auto waits = [](async_semaphore* from, support::stop_source::token stop)
        -> support::detached {
      auto mine = co_await from->acquire(1, stop);
      if (!mine) mine = co_await from->acquire(1);
      static_cast<void>(mine.release());
      delete from;
    };
    waits(door, source.get_token());
  });
  w.thread([&] { source.request_stop(); });
  w.thread([door] { door->release(); });
  w.finally([] {});
}

// Who is told that it was closed destroys it; it waited, or it came later.
void destroys_when_closed(world& w) {
  auto* const door = new async_semaphore(0, 4);
  int goods = 0;
  w.thread([&goods, door] {
    const auto waits = [](async_semaphore* from, int& seen) -> support::detached {
      const auto mine = co_await from->acquire();
      testing::check(mine.status() == wait_status::closed, "nobody gives");
      testing::check(seen == 3, "what was done before close() is visible");
      delete from;
    };
    waits(door, goods);
  });
  w.thread([&goods, door] {
    goods = 3;
    door->close();
  });
  w.finally([] {});
}

// ---- what is visible ----------------------------------------------------------------------------

// Two permits come at once: one lets in who waits, the other one a newcomer.
void one_for_a_newcomer(world& w) {
  async_semaphore door(0, 2);
  int goods = 0;
  const auto looks = [](async_semaphore& from, const int& seen) -> support::detached {
    const auto mine = co_await from.acquire();
    testing::check(seen == 3, "what was done before the permits were given is visible");
  };
  w.thread([&] { looks(door, goods); });
  w.thread([&] {
    goods = 3;
    door.release(2);
  });
  w.thread([&] {
    if (const auto mine = door.try_acquire()) {
      testing::check(goods == 3, "what was done before the permits were given is visible");
    }
  });
  w.finally([] {});
}

// Of what lets one in a part was there before it came: taken back, and given again.
void bit_by_bit(world& w) {
  async_semaphore door(0, 2);
  int goods = 0;
  w.thread([&] {
    const auto looks = [](async_semaphore& from, int& seen) -> support::detached {
      auto mine = co_await from.acquire(2);
      ++seen;
    };
    looks(door, goods);
  });
  w.thread([&] {
    door.release();
    auto again = door.try_acquire();
    if (!again) return;
    ++goods;
    again.give_back();
  });
  w.thread([&] { door.release(); });
  w.finally([&] { testing::check(goods >= 1, "it was let in"); });
}

// Whoever is told that it is closed sees what came before: who waits, who comes, who tries.
void closed_is_told(world& w, bool somebody_waits) {
  async_semaphore door(1);
  int goods = 0;
  const auto waits = [](async_semaphore& from, const int& seen) -> support::detached {
    auto first = co_await from.acquire();
    if (first) {
      static_cast<void>(first.release());
      first = co_await from.acquire();
    }
    testing::check(first.status() == wait_status::closed && seen == 3, "closed, and why");
  };
  w.thread([&, somebody_waits] {
    if (somebody_waits) {
      waits(door, goods);
    } else if (const auto mine = door.try_acquire(); mine.status() == wait_status::closed) {
      testing::check(goods == 3, "what was done before close() is visible");
    }
  });
  w.thread([&] {
    goods = 3;
    door.close();
    testing::check(door.try_acquire().status() == wait_status::closed, "it stays closed");
  });
  w.thread([&] {
    if (const auto mine = door.try_acquire(); mine.status() == wait_status::closed) {
      testing::check(goods == 3, "what was done before close() is visible");
    }
  });
  w.finally([] {});
}

// ---- what others do -----------------------------------------------------------------------------

// A semaphore of coroutines with one fault each, in the manner of those that shipped it.
class faulty {
public:
  enum class fault {
    none,
    looks_then_counts,   // libcoro: looks for waiters, finds none, then counts up
    cancel_forgets,      // kotlinx.coroutines 2380: granted and cancelled at once: nobody has it
    small_ones_pass,     // newcomers take what is there although somebody is in line
    gives_while_locked,  // glibc 12674: the permit is visible, then the queue is unlocked
  };
  explicit faulty(fault f, int n = 0) : fault_(f), count_(n) {}

  void release(int n) {
    if (fault_ == fault::looks_then_counts) {
      if (!anybody_.load(acq)) {
        count_.fetch_add(n, sc);  // somebody may have come since the look
        return;
      }
    }
    detail::waiter* lucky = nullptr;
    if (fault_ == fault::gives_while_locked) {
      detail::wait_queue::locked waiting(queue_);
      count_.fetch_add(n, sc);
      return;
    }
    {
      detail::wait_queue::locked waiting(queue_);
      count_.fetch_add(n, sc);
      if (!waiting.empty() && take(static_cast<int>(waiting.first()->amount))) {
        lucky = &waiting.pop_front();
        anybody_.store(!waiting.empty(), rel);
      }
    }
    if (lucky != nullptr) lucky->wake();
  }

  bool take(int n) {
    int seen = count_.load(sc);
    while (seen >= n) {
      if (count_.compare_exchange_strong(seen, seen - n, sc, sc)) return true;
    }
    return false;
  }

  bool try_take(int n) {
    if (fault_ == fault::small_ones_pass) return take(n);
    detail::wait_queue::locked waiting(queue_);
    return waiting.empty() && take(n);
  }

  // Returns: true if it waits.
  bool wait(detail::waiter& node) {
    detail::wait_queue::locked waiting(queue_);
    if (waiting.empty() && take(static_cast<int>(node.amount))) return false;
    node.suspended = true;
    anybody_.store(true, rel);
    waiting.push_back(node);
    return true;
  }

  void cancel(detail::waiter& node) {
    bool listed = false;
    {
      detail::wait_queue::locked waiting(queue_);
      node.status = wait_status::cancelled;  // also if it was let in a moment ago
      listed = waiting.remove(node);
    }
    if (listed) node.wake();
  }

  const fault fault_;
  std::atomic<int> count_;
  std::atomic<bool> anybody_{false};
  detail::wait_queue queue_;
};
using fault = faulty::fault;

struct faulty_wait {
  faulty& from;
  detail::coroutine_waiter& node;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    node.continuation = self;
    return from.wait(node);
  }
  void await_resume() const noexcept {}
};

support::detached goes_through(faulty& door, detail::coroutine_waiter& node, std::uint32_t n,
                               int& in, int& out) {
  node.amount = n;
  co_await faulty_wait{door, node};
  ++(node.status == wait_status::acquired ? in : out);
}

void one_waits(world& w, fault f) {
  faulty door(f);
  detail::coroutine_waiter node;
  int in = 0;
  int out = 0;
  w.thread([&] { goes_through(door, node, 1, in, out); });
  w.thread([&] { door.release(1); });
  w.finally([&] { testing::check(in == 1, "it was let in"); });
}

void one_is_cancelled(world& w, fault f) {
  faulty door(f);
  detail::coroutine_waiter node;
  int in = 0;
  int out = 0;
  goes_through(door, node, 1, in, out);
  w.thread([&] { door.release(1); });
  w.thread([&] { door.cancel(node); });
  w.finally([&] {
    testing::check(in + out == 1, "it went on, once");
    testing::check(in + door.count_.load(sc) == 1, "no permit is lost");
  });
}

void one_is_large(world& w, fault f) {
  faulty door(f, 1);
  detail::coroutine_waiter node;
  int in = 0;
  int out = 0;
  goes_through(door, node, 2, in, out);  // in line: one is missing
  w.thread([&] { testing::check(!door.try_take(1), "nobody passes the line"); });
  w.finally([&] { door.release(1); });
}

void one_destroys(world& w, fault f) {
  auto* const door = new faulty(f);
  w.thread([door] { door->release(1); });
  w.thread([door] {
    while (!door->take(1)) testing::spin_hint();
    delete door;
  });
  w.finally([] {});
}

const auto two_threads = [](world& w) { sections(w, {blocking_section, blocking_section}, 1, 1); };
const auto two_of_both = [](world& w) {
  sections(w, {coroutine_section, blocking_section}, 2, 1);
};
const auto three_coroutines = [](world& w) {
  sections(w, {coroutine_section, coroutine_section, coroutine_section}, 1, 1);
};
const auto let_in_or_stopped = [](world& w) { races(w, {starts_stoppable, stops, gives}, 1); };
const auto let_in_or_late = [](world& w) { races(w, {starts_timed, rings, gives}, 1); };
const auto let_in_or_closed = [](world& w) { races(w, {starts_plain, closes, gives}, 1); };
const auto thread_let_in_or_late = [](world& w) { races(w, {blocks_until_late, gives}, 1); };
const auto thread_let_in_or_closed = [](world& w) {
  races(w, {blocks_until_late, closes, gives}, 1);
};

std::string ways(std::initializer_list<wait_status> all) {
  outcomes names;
  for (const wait_status each : all) names.insert(std::to_string(static_cast<int>(each)));
  return joined(names);
}

}  // namespace

TEST_CASE("async_semaphore: who needs all permits excludes the others") {
  proved(two_threads);
  proved(two_of_both);
  proved([](world& w) { sections(w, {coroutine_section, coroutine_section}, 2, 2); });
  proved(three_coroutines);
  proved([](world& w) {
    sections(w, {coroutine_section, coroutine_section, blocking_section}, 1, 1);
  }, whole_waits());
}

TEST_CASE("async_semaphore: three threads", "[.deep]") {
  proved([](world& w) {
    sections(w, {blocking_section, blocking_section, blocking_section}, 1, 1);
  });
}
TEST_CASE("async_semaphore: three coroutines with two sections each", "[.deep]") {
  proved([](world& w) {
    sections(w, {coroutine_section, coroutine_section, coroutine_section}, 1, 2);
  });
}

TEST_CASE("async_semaphore: never more permits are out than there are") {
  proved(weights);
  proved(in_parts);
  CHECK(joined(seen(proved(tries))) == "0, 1");
}

TEST_CASE("async_semaphore: a large one at the head is not overtaken") { proved(nobody_overtakes); }

TEST_CASE("async_semaphore: let in or stopped or late or closed, one of them and once") {
  CHECK(joined(seen(proved(let_in_or_stopped))) ==
        ways({wait_status::acquired, wait_status::cancelled}));
  CHECK(joined(seen(proved(let_in_or_late))) ==
        ways({wait_status::acquired, wait_status::timed_out}));
  CHECK(joined(seen(proved(let_in_or_closed))) ==
        ways({wait_status::acquired, wait_status::closed}));
  CHECK(joined(seen(proved([](world& w) { races(w, {starts_both, stops, rings}, 0); }))) ==
        ways({wait_status::cancelled, wait_status::timed_out}));
  CHECK(joined(seen(proved([](world& w) { races(w, {starts_stoppable, stops, closes}, 0); }))) ==
        ways({wait_status::cancelled, wait_status::closed}));
}

TEST_CASE("async_semaphore: a thread is let in or late or closed, one of them and once") {
  CHECK(joined(seen(proved(thread_let_in_or_late))) ==
        ways({wait_status::acquired, wait_status::timed_out}));
  CHECK(joined(seen(proved(thread_let_in_or_closed))) ==
        ways({wait_status::acquired, wait_status::timed_out, wait_status::closed}));
}

TEST_CASE("async_semaphore: let in, stopped and late, all at once", "[.deep]") {
  proved([](world& w) { races(w, {starts_both, stops, rings, gives}, 1); });
}
TEST_CASE("async_semaphore: let in, stopped and closed, all at once", "[.deep]") {
  proved([](world& w) { races(w, {starts_stoppable, stops, closes, gives}, 1); });
}

TEST_CASE("async_semaphore: when the head gives up those behind it go on") {
  proved(cancelled_head);
  proved(at_once_behind_a_cancelled_head);
  proved(late_head);
  proved(destroyed_while_it_waits);
}

TEST_CASE("async_semaphore: as many wait as may") {
  CHECK(joined(seen(proved(one_may_wait))) == "0, 1");
}

TEST_CASE("async_semaphore: who got the last permit may destroy it") {
  proved([](world& w) { last_permit_destroys(w, true); }, whole_waits());
  proved([](world& w) { last_permit_destroys(w, false); });
  proved(destroys_after_a_stop);
  proved(destroys_when_closed);
}

TEST_CASE("async_semaphore: what was done before is visible to who is let in or told") {
  proved(one_for_a_newcomer);
  proved(bit_by_bit);
  proved([](world& w) { closed_is_told(w, false); });
  proved([](world& w) { closed_is_told(w, true); });
}

TEST_CASE("async_semaphore: a semaphore that looks for waiters and then counts up is found") {
  proved([](world& w) { one_waits(w, fault::none); });
  failing([](world& w) { one_waits(w, fault::looks_then_counts); });
}

TEST_CASE("async_semaphore: a permit that is lost when it is granted and cancelled is found") {
  failing([](world& w) { one_is_cancelled(w, fault::cancel_forgets); });
}

TEST_CASE("async_semaphore: a semaphore that lets small ones pass is found") {
  proved([](world& w) { one_is_large(w, fault::none); });
  failing([](world& w) { one_is_large(w, fault::small_ones_pass); });
}

TEST_CASE("async_semaphore: a release that touches what was destroyed is found") {
  failing([](world& w) { one_destroys(w, fault::gives_while_locked); });
}

TEST_CASE("async_semaphore: mutants", "[.mutants]") {
  mutants({two_threads, two_of_both, three_coroutines, tries, let_in_or_stopped, let_in_or_closed,
           cancelled_head, destroys_after_a_stop, destroys_when_closed, one_may_wait,
           one_for_a_newcomer, bit_by_bit,
           [](world& w) { closed_is_told(w, false); }, [](world& w) { closed_is_told(w, true); },
           [](world& w) { last_permit_destroys(w, false); }});
}
