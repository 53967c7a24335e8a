// SPDX-License-Identifier: BSL-1.0
// Waiting for versions in every execution: each coroutine is resumed once, whoever commits, and
// nobody touches a cell that was destroyed by who was woken.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/versioned.hpp>

#include <array>
#include <string>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

namespace detail = interlock::detail;
using interlock::versioned;
using testing::world;

namespace {

using word = std::uint64_t;

// On the heap: not trivially copyable.
struct boxed {
  boxed(word v) : value(v) {}
  boxed(const boxed& other) : value(other.value) {}
  boxed(boxed&& other) noexcept : value(other.value) {}
  operator word() const { return value; }
  word value;
};

template <class T, class Then>
support::detached when_past(const versioned<T>& cell, std::uint64_t seen, Then then) {
  const auto now = co_await cell.async_wait(seen);
  testing::check(now.version > seen && now.value == T(now.version), "newer, and its value");
  then();
}

// A coroutine waits for the first commit; it destroys the cell, whoever resumed it.
template <class T>
void destroyed_when_resumed(world& w) {
  auto* const cell = new versioned<T>(T(0));
  int resumed = 0;
  int goods = 0;
  w.thread([&, cell] {
    when_past(*cell, 0, [&, cell] {
      testing::check(goods == 3, "what was done before the commit is visible");
      ++resumed;
      delete cell;
    });
  });
  w.thread([&, cell] {
    goods = 3;
    cell->store(T(1));
  });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

// And one for the second of two commits by two threads.
template <class T>
void second_commit(world& w) {
  versioned<T> cell(T(0));
  int resumed = 0;
  w.thread([&] { when_past(cell, 1, [&] { ++resumed; }); });
  for (int t = 0; t < 2; ++t) {
    w.thread([&] { cell.update([](const T& value) { return T(value + 1); }); });
  }
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

// A thread and a coroutine; a version that jumps past both.
template <class T>
void thread_and_coroutine(world& w) {
  auto* const cell = used_by<versioned<T>>::make(2, T(0));
  int resumed = 0;
  w.thread([cell] {
    testing::check((*cell)->wait(1).version == 5, "the commit");
    cell->leave();
  });
  w.thread([&, cell] {
    when_past(**cell, 3, [&, cell] {
      ++resumed;
      cell->leave();
    });
  });
  w.thread([cell] { testing::check((*cell)->store_if_newer(5, T(5)), "nobody else commits"); });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

template <class T>
support::owned waits_for_ever(const versioned<T>& cell) {
  (void)co_await cell.async_wait(9);
  testing::check(false, "nobody commits that often");
}

// A suspended coroutine is destroyed while others commit and wait.
template <class T>
void destroyed_while_it_waits(world& w) {
  versioned<T> cell(T(0));
  w.thread([&] { waits_for_ever(cell).handle.destroy(); });
  w.thread([&] { (void)cell.wait(0); });
  w.thread([&] { cell.store(T(1)); });
  w.finally([] {});
}

// A coroutine is told to stop while another thread commits: resumed once, by either.
template <class T, bool committed>
void stopped_or_passed(world& w) {
  auto* const cell = used_by<versioned<T>>::make(committed ? 3 : 2, T(0));
  support::stop_source source;
  int resumed = 0;
  w.thread([&, cell] {
    const auto wait = [](used_by<versioned<T>>& from, support::stop_source::token stop,
                         int& count) -> support::detached {
      const auto news = co_await from->async_wait(0, stop);
      testing::check(news || stop.stop_requested(), "no other reason");
      testing::check(!news || (news->version == 1 && news->value == T(1)), "the commit");
      ++count;
      from.leave();
    };
    wait(*cell, source.get_token(), resumed);
  });
  w.thread([&, cell] {
    source.request_stop();
    cell->leave();
  });
  if (committed) {
    w.thread([cell] {
      (*cell)->store(T(1));
      cell->leave();
    });
  }
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

// Whoever waits while a claim is held sees the commit that comes of it, or of the next one.
void awaits_past_a_claim(world& w, bool given_back) {
  detail::version_word cell(0);
  w.thread([&, given_back] {
    testing::check(cell.try_claim(0), "nobody else commits");
    if (given_back) {
      cell.unclaim(0);
      testing::check(cell.lock_at(0), "nobody else commits");
    } else {
      cell.mark_busy(0);
    }
    cell.publish_and_wake(1);
  });
  w.thread([&] {
    std::array<detail::version_word::waiters::node, 1> places;
    detail::wait_any<std::uint64_t> here(places.data());
    if (cell.join(here, 0)) here.wait(nullptr);
    testing::check(cell.settled() == 1, "the commit");
  });
  w.finally([] {});
}

// A claim that is given back wakes nobody, and who waits does not give up by it.
void a_claim_given_back(world& w) {
  detail::version_word cell(0);
  w.thread([&] {
    if (cell.try_claim(0)) cell.unclaim(0);
  });
  const auto past = std::chrono::steady_clock::time_point::min();
  w.thread([&] { testing::check(!cell.wait_past(0, &past), "nobody commits"); });
  w.finally([] {});
}

// One thread waits for the first commit to one of two cells.
void first_of_two(world& w) {
  auto* const a = used_by<detail::version_word>::make(2, 0U);
  auto* const b = used_by<detail::version_word>::make(2, 0U);
  w.thread([a, b] {
    {
      std::array<detail::version_word::waiters::node, 2> places;
      detail::wait_any<std::uint64_t> here(places.data());
      if ((*a)->join(here, 0) && (*b)->join(here, 0)) here.wait(nullptr);
      testing::check((*a)->settled() == 1 || (*b)->settled() == 1, "one of the commits");
    }
    a->leave();
    b->leave();
  });
  for (auto* const each : {a, b}) {
    w.thread([each] {
      testing::check((*each)->lock() == 0, "nobody else commits");
      (*each)->publish_and_wake(1);
      each->leave();
    });
  }
  w.finally([] {});
}

}  // namespace

TEST_CASE("versioned: a coroutine is resumed once and may destroy the cell") {
  proved(destroyed_when_resumed<word>);
  proved(destroyed_when_resumed<boxed>);
  proved(second_commit<word>);
}

TEST_CASE("versioned: threads and coroutines wait for different versions") {
  proved(thread_and_coroutine<word>);
  proved(thread_and_coroutine<boxed>);
}

TEST_CASE("versioned: a coroutine that waits may be destroyed beside commits") {
  proved(destroyed_while_it_waits<word>);
  proved(destroyed_while_it_waits<boxed>);
}

TEST_CASE("versioned: a stop and a commit resume a coroutine once") {
  proved(stopped_or_passed<word, true>);
  proved(stopped_or_passed<word, false>);
  proved(stopped_or_passed<boxed, true>);
}

TEST_CASE("versioned: a waiter that meets a claim misses no commit") {
  proved([](world& w) { awaits_past_a_claim(w, false); });
  proved([](world& w) { awaits_past_a_claim(w, true); });
  proved(a_claim_given_back);
}

TEST_CASE("versioned: a thread waits for the first of several cells") {
  proved(first_of_two);
}

TEST_CASE("versioned: mutants of waiting", "[.mutants]") {
  mutants({destroyed_when_resumed<word>, destroyed_when_resumed<boxed>, second_commit<word>,
           stopped_or_passed<word, true>, stopped_or_passed<word, false>,
           [](world& w) { awaits_past_a_claim(w, false); },
           [](world& w) { awaits_past_a_claim(w, true); }, first_of_two});
}
