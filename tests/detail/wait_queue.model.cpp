// SPDX-License-Identifier: BSL-1.0
// The queue and the awaiter under every waiting type, in every execution: a wait ends once, by one
// of those who want to end it, nothing that was given is lost, and the last one may destroy it all.

#include "testing/front.hpp"

#include <interlock/detail/wait_queue.hpp>
#include <interlock/detail/waiting.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>

#include <chrono>
#include <functional>
#include <string>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/permits.hpp"
#include "testing/last_user.hpp"

using interlock::inplace_stop_source;
using interlock::manual_timer;
using interlock::wait_status;
using support::flaw;
using support::permits;
using support::permits_with;
using testing::world;
using namespace std::chrono_literals;

namespace {

const manual_timer::time_point due{1ms};

template <class Permits>
struct scene {
  Permits from;
  inplace_stop_source source;
  manual_timer timer;
};
using plain_scene = used_by<scene<permits>>;

// Writes how the wait ended, and leaves the scene.
template <class Shared, class Wait>
support::detached logs(Shared& shared, wait_status& how, int& resumed, Wait wait) {
  const wait_status status = co_await wait(*shared);
  how = status;
  ++resumed;
  shared.leave();
}

// What is left, and how the wait ended: a permit was given, the last user destroys the scene.
template <class Permits>
void one_wait(world& w, bool given, bool stopped, bool late, bool closed) {
  using shared_scene = used_by<scene<Permits>>;
  const int others = (given ? 1 : 0) + (stopped ? 1 : 0) + (late ? 1 : 0) + (closed ? 1 : 0);
  auto* const shared = shared_scene::make(2 + others);
  wait_status how = wait_status::overloaded;
  int resumed = 0;
  w.thread([&, shared] {
    if (stopped && late) {
      logs(*shared, how, resumed, [](scene<Permits>& s) {
        return s.from.take_until(s.timer, due, s.source.get_token());
      });
    } else if (late) {
      logs(*shared, how, resumed,
           [](scene<Permits>& s) { return s.from.take_until(s.timer, due); });
    } else if (stopped) {
      logs(*shared, how, resumed,
           [](scene<Permits>& s) { return s.from.take_unless(s.source.get_token()); });
    } else {
      logs(*shared, how, resumed, [](scene<Permits>& s) { return s.from.take(); });
    }
  });
  if (given) {
    w.thread([shared] {
      (*shared)->from.give();
      shared->leave();
    });
  }
  if (stopped) {
    w.thread([shared] {
      (*shared)->source.request_stop();
      shared->leave();
    });
  }
  if (late) {
    w.thread([shared] {
      (*shared)->timer.advance_to(due);
      shared->leave();
    });
  }
  if (closed) {
    w.thread([shared] {
      (*shared)->from.close();
      shared->leave();
    });
  }
  w.finally([&, shared, given] {
    testing::check(resumed == 1, "resumed once");
    const int left = (*shared)->from.free();
    testing::check(left == (given && how != wait_status::acquired ? 1 : 0), "no permit is lost");
    w.outcome(static_cast<int>(how));
    shared->leave();
  });
}

// Without the question of who is the last.
support::detached waits_with_both(scene<permits>& s, wait_status& how, int& resumed) {
  const wait_status ended = co_await s.from.take_until(s.timer, due, s.source.get_token());
  how = ended;
  ++resumed;
}

// A coroutine that is suspended, and three who end its wait.
void three_ends(world& w) {
  scene<permits> s;
  wait_status how = wait_status::overloaded;
  int resumed = 0;
  waits_with_both(s, how, resumed);
  w.thread([&] { s.from.give(); });
  w.thread([&] { s.source.request_stop(); });
  w.thread([&] { s.timer.advance_to(due); });
  w.finally([&] {
    testing::check(resumed == 1, "resumed once");
    testing::check(s.from.free() == (how == wait_status::acquired ? 0 : 1), "no permit is lost");
    w.outcome(static_cast<int>(how));
  });
}

// A stop and a deadline before, while and after it is suspended.
void stop_or_deadline(world& w) {
  scene<permits> s;
  wait_status how = wait_status::overloaded;
  int resumed = 0;
  w.thread([&] { waits_with_both(s, how, resumed); });
  w.thread([&] { s.source.request_stop(); });
  w.thread([&] { s.timer.advance_to(due); });
  w.finally([&] {
    testing::check(resumed == 1, "resumed once");
    w.outcome(static_cast<int>(how));
  });
}

// Two who wait, one of whom is stopped: the other one gets the permit.
void the_other_one_gets_it(world& w) {
  permits from;
  inplace_stop_source source;
  wait_status stopped = wait_status::overloaded;
  wait_status other = wait_status::overloaded;
  w.thread([&] {
    const auto wait = [](permits& p, inplace_stop_source& s, wait_status& how) -> support::detached {
      const wait_status status = co_await p.take_unless(s.get_token());
      how = status;
      if (status == wait_status::acquired) p.give();
    };
    wait(from, source, stopped);
  });
  w.thread([&] { other = from.take_blocking(); });
  w.thread([&] { source.request_stop(); });
  from.give();
  w.finally([&] {
    testing::check(other == wait_status::acquired, "it got the permit");
    w.outcome(static_cast<int>(stopped));
  });
}

// A thread that waits until a deadline, and one who gives.
void thread_or_deadline(world& w) {
  permits from;
  const auto soon = std::chrono::steady_clock::now() + 1ms;
  wait_status how = wait_status::overloaded;
  w.thread([&] { how = from.take_blocking(&soon); });
  w.thread([&] { from.give(); });
  w.finally([&] {
    testing::check(from.free() == (how == wait_status::acquired ? 0 : 1), "no permit is lost");
    w.outcome(static_cast<int>(how));
  });
}

support::owned waits_for_ever(permits& from) {
  co_await from.take();
  testing::check(false, "nobody lets it in");
}

// A suspended coroutine is destroyed while another one comes and is let in.
void destroyed_while_it_waits(world& w) {
  permits from;
  w.thread([&] {
    waits_for_ever(from).handle.destroy();
    from.give();
  });
  w.thread([&] { testing::check(from.take_blocking() == wait_status::acquired, "let in"); });
  w.finally([&] { testing::check(from.free() == 0, "no permit is lost"); });
}

// A coroutine that waits with a stop token is destroyed while the stop of another one is requested.
void destroyed_beside_a_stop(world& w) {
  permits from;
  inplace_stop_source source;
  int stopped = 0;
  const auto stays = [](permits& p, inplace_stop_source& s, int& count) -> support::detached {
    const wait_status how = co_await p.take_unless(s.get_token());
    if (how == wait_status::cancelled) ++count;
  };
  stays(from, source, stopped);
  w.thread([&] {
    const auto wait = [](permits& p, inplace_stop_source& s) -> support::owned {
      co_await p.take_unless(s.get_token());
    };
    inplace_stop_source own;
    wait(from, own).handle.destroy();
  });
  w.thread([&] { source.request_stop(); });
  w.finally([&] { testing::check(stopped == 1, "stopped once"); });
}

// An executor: another explored thread, which runs one job.
class runner {
public:
  template <class F>
  void operator()(F f) {
    run_ = [f]() mutable { f(); };
    state_.store(1, rel);
  }
  void work() {
    while (state_.load(acq) == 0) testing::spin_hint();
    run_();
  }

private:
  std::function<void()> run_;
  std::atomic<int> state_{0};
};

// The coroutine goes on in another thread, and destroys what it waited for, while the one who let
// it in may still be in execute().
void resumes_elsewhere(world& w) {
  struct shop {
    permits from;
  };
  auto* const shared = new shop;
  runner elsewhere;
  int resumed = 0;
  w.thread([&, shared] {
    const auto wait = [](shop* s, runner& r, int& count) -> support::detached {
      const wait_status how =
          co_await s->from.take().resume_on([&r](auto f) { r(f); });
      testing::check(how == wait_status::acquired, "let in");
      ++count;
      delete s;
    };
    wait(shared, elsewhere, resumed);
    shared->from.give();
  });
  w.thread([&] { elsewhere.work(); });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

}  // namespace

TEST_CASE("wait_queue: a grant or a stop, one of them") {
  const auto report = proved([](world& w) { one_wait<permits>(w, true, true, false, false); },
                             whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}
TEST_CASE("wait_queue: a stop or a deadline, one of them") {
  CHECK(joined(seen(proved(stop_or_deadline, whole_waits()))) == "1, 2");
}
TEST_CASE("wait_queue: a grant, a stop or a deadline, one of them") {
  CHECK(joined(seen(proved(three_ends, whole_waits()))) == "0, 1, 2");
}
TEST_CASE("wait_queue: a grant or a close, one of them") {
  const auto report = proved([](world& w) { one_wait<permits>(w, true, false, false, true); },
                             whole_waits());
  CHECK(joined(seen(report)) == "0, 3");
}
TEST_CASE("wait_queue: a close or a stop, one of them") {
  const auto report = proved([](world& w) { one_wait<permits>(w, false, true, false, true); },
                             whole_waits());
  CHECK(joined(seen(report)) == "1, 3");
}
TEST_CASE("wait_queue: a grant, a stop or a deadline, at any moment", "[.deep]") {
  const auto report = proved([](world& w) { one_wait<permits>(w, true, true, true, false); },
                             whole_waits());
  CHECK(joined(seen(report)) == "0, 1, 2");
}

TEST_CASE("wait_queue: who is stopped passes nothing on that it did not get") {
  const auto report = proved(the_other_one_gets_it, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("wait_queue: a thread leaves at its deadline or is let in") {
  CHECK(joined(seen(proved(thread_or_deadline))) == "0, 2");
}

TEST_CASE("wait_queue: a coroutine may be destroyed while it waits") {
  proved(destroyed_while_it_waits, whole_waits());
  proved(destroyed_beside_a_stop, whole_waits());
}

TEST_CASE("wait_queue: a coroutine goes on where its executor runs, and may destroy all there") {
  proved(resumes_elsewhere, whole_waits());
}

TEST_CASE("wait_queue: a late end that overwrites the status is found") {
  using hasty = permits_with<flaw::forgets_that_it_decided>;
  const auto report = failing([](world& w) { one_wait<hasty>(w, true, true, false, false); },
                              whole_waits());
  CHECK(report.failure.find("no permit is lost") != std::string::npos);
}

TEST_CASE("wait_queue: who touches a node after its wake-up is found") {
  using curious = permits_with<flaw::reads_after_wake>;
  failing([](world& w) { one_wait<curious>(w, true, false, false, false); }, whole_waits());
}

TEST_CASE("wait_queue: who wakes under the lock is found") {
  using stuck = permits_with<flaw::wakes_under_the_lock>;
  const auto report = failing([](world& w) {
    stuck from;
    w.thread([&] {
      const auto wait = [](stuck& p) -> support::detached {
        const wait_status how = co_await p.take();
        if (how == wait_status::acquired) p.give();
      };
      wait(from);
    });
    w.thread([&] { from.give(); });
    w.finally([] {});
  });
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("wait_queue: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({[](world& w) { one_wait<permits>(w, true, true, false, false); }, thread_or_deadline,
           [](world& w) { one_wait<permits>(w, true, false, false, true); }},
          how);
}
