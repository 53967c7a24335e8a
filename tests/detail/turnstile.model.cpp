// SPDX-License-Identifier: BSL-1.0
// The turnstile of transactions in every execution: one turn at a time, none forgotten, and those
// who let a turn pass are not held up by it.

#include "testing/front.hpp"

#include <interlock/detail/turnstile.hpp>

using interlock::detail::turnstile;
using testing::world;

namespace {

// The way in for tests: to look whose turn it is.
std::atomic<std::uint32_t>& serving_of(turnstile& t);
template <auto Serving>
struct way_in {
  friend std::atomic<std::uint32_t>& serving_of(turnstile& t) { return t.*Serving; }
};
template struct way_in<&turnstile::serving_>;

// What a turnstile must not be: it wakes one waiter, who may not be the next.
class naive_turnstile {
public:
  void enter() noexcept {
    const std::uint32_t mine = next_.fetch_add(1, rlx);
    for (;;) {
      const std::uint32_t serving = serving_.load(acq);
      if (serving == mine) return;
      interlock::detail::park(serving_, serving);
    }
  }
  void leave() noexcept {
    serving_.fetch_add(1, rel);
    interlock::detail::unpark_one(&serving_);
  }

private:
  interlock::detail::park_word next_{0}, serving_{0};
};

template <class Turnstile, int threads, int rounds>
void turns(world& w) {
  auto* const t = new Turnstile;
  int inside = 0;
  for (int i = 0; i < threads; ++i) {
    w.thread([&, t] {
      for (int k = 0; k < rounds; ++k) {
        t->enter();
        ++inside;  // a plain object: a race if two have the turn
        t->leave();
      }
    });
  }
  w.finally([&, t] {
    testing::check(inside == threads * rounds, "each had its turn");
    delete t;
  });
}

// One has the turn, one lets it pass: at most 50 ms, so it goes on either way.
void lets_pass(world& w) {
  auto* const t = new turnstile;
  std::atomic<bool> left{false};
  w.thread([&, t] {
    t->enter();
    left.store(true, rlx);
    t->leave();
  });
  w.thread([&, t] {
    const auto before = std::chrono::steady_clock::now();
    t->let_pass();
    const auto waited = std::chrono::steady_clock::now() - before;
    testing::check(waited <= std::chrono::milliseconds(50), "not for ever");
  });
  w.finally([t] { delete t; });
}

// The one who has the turn waits for the one who lets it pass.
void not_for_ever(world& w) {
  turnstile t;
  t.enter();
  w.thread([&] { t.let_pass(); });
  w.finally([&] { t.leave(); });
}

// Where no turn is under way there is no wait, also if only the end of the last one is known.
void ended(world& w) {
  turnstile t;
  w.thread([&] {
    t.enter();
    t.leave();
  });
  w.thread([&] {
    if (serving_of(t).load(rlx) == 0) return;
    const auto before = std::chrono::steady_clock::now();
    t.let_pass();
    testing::check(std::chrono::steady_clock::now() == before, "there is no turn");
  });
  w.finally([] {});
}

// Who had a turn himself lets the next one pass as anybody else does.
void lets_the_next_pass(world& w) {
  turnstile t;
  std::atomic<bool> entered{false};
  t.enter();
  t.leave();
  w.thread([&] {
    t.enter();
    t.leave();
    if (!entered.load(acq)) return;
    const auto before = std::chrono::steady_clock::now();
    t.let_pass();
    const auto waited = std::chrono::steady_clock::now() - before;
    testing::check(serving_of(t).load(rlx) == 3 || waited >= std::chrono::milliseconds(50),
                   "until the turn has ended or long enough");
  });
  w.thread([&] {
    t.enter();
    entered.store(true, rel);
    t.leave();
  });
  w.finally([] {});
}

// Who asks whether somebody has the turn, twice: the second answer is not the first one's.
template <bool ended_too>
void tells_whether_it_is_taken(world& w) {
  turnstile t;
  std::atomic<bool> there{false};
  w.thread([&] {
    t.enter();
    if (ended_too) t.leave();
    there.store(true, rel);
  });
  w.thread([&] {
    const bool before = t.is_taken();
    if (!there.load(acq)) return;
    testing::check(t.is_taken() != ended_too, "as it is by now");
    (void)before;
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("turnstile: one turn at a time and nobody is forgotten") {
  proved(turns<turnstile, 2, 1>);
  proved(turns<turnstile, 2, 2>);
  proved(turns<turnstile, 3, 1>);
  failing(turns<naive_turnstile, 3, 1>);
}

TEST_CASE("turnstile: who lets a turn pass is not held up for ever") {
  proved(lets_pass);
  proved(not_for_ever);
  proved(ended);
  proved(lets_the_next_pass);
  proved(tells_whether_it_is_taken<false>);
  proved(tells_whether_it_is_taken<true>);
}

TEST_CASE("turnstile: mutants", "[.mutants]") {
  mutants({turns<turnstile, 2, 1>, lets_pass, not_for_ever, ended, lets_the_next_pass,
           tells_whether_it_is_taken<false>, tells_whether_it_is_taken<true>,
           turns<turnstile, 3, 1>});
}
