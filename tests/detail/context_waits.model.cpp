// SPDX-License-Identifier: BSL-1.0
// context_waits in every execution: a context goes while its waits are let in and called off; each
// wait is destroyed once, what it was given is passed on, and nobody uses the context afterwards.

#include "testing/front.hpp"

#include <interlock/detail/context_waits.hpp>
#include <interlock/inplace_stop_token.hpp>

#include <atomic>
#include <coroutine>
#include <utility>

#include "support/permits.hpp"

namespace detail = interlock::detail;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::wait_status;
using support::permits;
using testing::world;

namespace {

// What an io_context is here: somebody to give ended operations to, and gone after its shutdown.
template <class Waits>
class context {
public:
  class operation;

  Waits waits;
  std::atomic<int> posted{0};
};

// Waits for a permit and gives it back when it is destroyed.
template <class Waits>
class context<Waits>::operation : Waits::node {
  struct to_context {
    template <class F>
    void execute(const F&) const noexcept {
      self->woken();
    }
    operation* self;
  };
  using awaiter = decltype(std::declval<permits&>()
                               .take_unless(inplace_stop_token())
                               .resume_on(to_context()));

public:
  operation(context& home, permits& from, inplace_stop_source& stop, int& destroyed)
      : Waits::node(
            [](typename Waits::node& self) noexcept {
              static_cast<operation&>(self).stop_.request_stop();
            },
            [](typename Waits::node& self) noexcept {
              static_cast<operation&>(self).destroy();
            }),
        home_(home),
        from_(from),
        stop_(stop),
        destroyed_(destroyed),
        awaiter_(from.take_unless(stop.get_token()).resume_on(to_context{this})) {}

  void start() {
    testing::check(!awaiter_.await_ready() && home_.waits.enter(*this), "waits");
    if (!awaiter_.await_suspend(std::noop_coroutine())) woken();
  }

private:
  void woken() noexcept {
    context& home = home_;
    if (!home.waits.begin_post(*this)) return;
    destroy();  // as by a context that runs it at once on another thread
    home.posted.fetch_add(1, std::memory_order_relaxed);
    home.waits.end_post();
  }
  void destroy() noexcept {
    permits& from = from_;
    ++destroyed_;
    const bool granted = awaiter_.await_resume() == wait_status::acquired;
    delete this;
    if (granted) from.give();
  }

  context& home_;
  permits& from_;
  inplace_stop_source& stop_;
  int& destroyed_;
  awaiter awaiter_;
};

struct fixture {
  permits from;
  inplace_stop_source stops[2];
  int destroyed[2] = {0, 0};
};

template <class Waits>
void start(fixture& all, context<Waits>& home, int operations) {
  for (int i = 0; i < operations; ++i) {
    (new typename context<Waits>::operation(home, all.from, all.stops[i], all.destroyed[i]))
        ->start();
  }
}

template <class Waits>
void goes(context<Waits>* home) {
  home->waits.shut_down();
  delete home;
}

void once(const fixture& all, int operations) {
  for (int i = 0; i < operations; ++i) {
    testing::check(all.destroyed[i] == 1, "each operation is destroyed once");
  }
}

// Some threads let them in, another destroys the context.
template <class Waits>
void let_in_and_shut_down(world& w, int operations, int givers = 1) {
  auto* const all = new fixture;
  auto* const home = new context<Waits>;
  start(*all, *home, operations);
  for (int i = 0; i < givers; ++i) {
    w.thread([all] { all->from.give(); });
  }
  w.thread([home] { goes(home); });
  w.finally([all, operations, givers] {
    once(*all, operations);
    testing::check(all->from.free() == givers, "what was granted is given back");
    delete all;
  });
}

// As a cancellation slot does it, which does not know whether the context is still there.
template <class Waits>
void cancelled_and_shut_down(world& w) {
  auto* const all = new fixture;
  auto* const home = new context<Waits>;
  start(*all, *home, 1);
  w.thread([all] { all->stops[0].request_stop(); });
  w.thread([home] { goes(home); });
  w.finally([all] {
    once(*all, 1);
    delete all;
  });
}

// All three.
template <class Waits>
void all_at_once(world& w) {
  auto* const all = new fixture;
  auto* const home = new context<Waits>;
  start(*all, *home, 1);
  w.thread([all] { all->from.give(); });
  w.thread([all] { all->stops[0].request_stop(); });
  w.thread([home] { goes(home); });
  w.finally([all] {
    once(*all, 1);
    testing::check(all->from.free() == 1, "what was granted is given back");
    delete all;
  });
}

// Two waits that are no more than a flag: whoever sets it ends the wait.
struct flagged : detail::context_waits::node {
  flagged(context<detail::context_waits>& of, int& counter)
      : node([](node& self) noexcept { static_cast<flagged&>(self).end_it(); },
             [](node& self) noexcept { static_cast<flagged&>(self).destroy(); }),
        home(of),
        destroyed(counter) {}

  void end_it() noexcept {
    context<detail::context_waits>& of = home;
    if (ended.exchange(true, ar) || !of.waits.begin_post(*this)) return;
    destroy();
    of.posted.fetch_add(1, rlx);
    of.waits.end_post();
  }

  void destroy() noexcept {
    ++destroyed;
    if (next_in_line != nullptr) next_in_line->end_it();
  }

  context<detail::context_waits>& home;
  int& destroyed;
  flagged* next_in_line = nullptr;  // who gets what this one had
  std::atomic<bool> ended{false};
};

// The first so many are ended by a thread each; the shutdown passes the first one on to the last.
void passed_on(world& w, int waits, int threads) {
  auto* const home = new context<detail::context_waits>;
  auto* const counters = new int[3]();
  flagged* all[3] = {};
  for (int i = 0; i < waits; ++i) {
    all[i] = new flagged(*home, counters[i]);
    testing::check(home->waits.enter(*all[i]), "entered");
  }
  if (waits == 3) all[0]->next_in_line = all[2];
  for (int t = 0; t < threads; ++t) {
    w.thread([each = all[1 - t]] { each->end_it(); });
  }
  w.thread([home] { goes(home); });
  w.finally([=] {
    for (int i = 0; i < waits; ++i) {
      testing::check(counters[i] == 1, "each is destroyed once");
      delete all[i];
    }
    delete[] counters;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// Destroys what was called off without a look whether another thread has let it in meanwhile.
class hasty_waits : public detail::context_waits {
public:
  void shut_down() {
    node* last = nullptr;
    {
      detail::guarded_ring<node>::locked entered(nodes_);
      last = entered.empty() ? nullptr : &entered.pop_front();
    }
    if (last == nullptr) return;
    last->end(*last);
    last->destroy(*last);
  }
  bool enter(node& fresh) {
    detail::guarded_ring<node>::locked entered(nodes_);
    entered.push_back(fresh);
    return true;
  }
  bool begin_post(node& ended) {
    detail::guarded_ring<node>::locked entered(nodes_);
    return entered.remove(ended);
  }
  void end_post() {}

private:
  detail::guarded_ring<node> nodes_;
};

// Does not wait for those who are handing an operation over.
class uncounted_waits : public detail::context_waits {
public:
  bool begin_post(node& ended) {
    if (!detail::context_waits::begin_post(ended)) return false;
    detail::context_waits::end_post();
    return true;
  }
  void end_post() {}
};

}  // namespace

TEST_CASE("context_waits: a wait is let in while its context goes") {
  proved([](world& w) { let_in_and_shut_down<detail::context_waits>(w, 1); }, whole_waits());
  proved([](world& w) { let_in_and_shut_down<detail::context_waits>(w, 2); }, whole_waits());
}

TEST_CASE("context_waits: two waits are let in by two threads while their context goes") {
  proved([](world& w) { passed_on(w, 2, 2); }, whole_waits());
  proved([](world& w) { passed_on(w, 3, 1); }, whole_waits());
}

TEST_CASE("context_waits: the same with permits", "[.deep]") {
  proved([](world& w) { let_in_and_shut_down<detail::context_waits>(w, 2, 2); }, whole_waits());
}

TEST_CASE("context_waits: a wait is cancelled while its context goes") {
  proved(cancelled_and_shut_down<detail::context_waits>, whole_waits());
}

TEST_CASE("context_waits: a wait is let in and cancelled while its context goes", "[.deep]") {
  proved(all_at_once<detail::context_waits>, whole_waits());
}

TEST_CASE("context_waits: a shutdown that does not wait for the other thread is found") {
  failing([](world& w) { let_in_and_shut_down<hasty_waits>(w, 1); });
}

TEST_CASE("context_waits: a context that goes while an operation is handed to it is found") {
  failing([](world& w) { let_in_and_shut_down<uncounted_waits>(w, 1); });
}

TEST_CASE("context_waits: mutants", "[.mutants]") {
  mutants({[](world& w) { let_in_and_shut_down<detail::context_waits>(w, 1); },
           [](world& w) { let_in_and_shut_down<detail::context_waits>(w, 2); },
           [](world& w) { passed_on(w, 2, 2); },
           [](world& w) { passed_on(w, 3, 1); },
           [](world& w) { cancelled_and_shut_down<detail::context_waits>(w); }});
}
