// SPDX-License-Identifier: BSL-1.0
// detail::gate in every execution: one closer at a time, and nobody gets through behind his back.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/detail/gate.hpp>

using interlock::detail::gate;
using testing::world;

namespace {

// What a gate must not be: the opener looks for sleepers before it opens.
class naive_gate {
public:
  void pass() noexcept {
    while (word_.load(sc) == closed) sleep();
  }
  void close() noexcept {
    std::uint32_t expected = opened;
    while (!word_.compare_exchange_strong(expected, closed, sc, sc)) {
      sleep();
      expected = opened;
    }
  }
  void open() noexcept {
    const bool somebody = asleep_.exchange(false, sc);
    word_.store(opened, sc);
    if (somebody) interlock::detail::unpark_all(&word_);
  }

private:
  static constexpr std::uint32_t opened = 0, closed = 1;
  void sleep() noexcept {
    asleep_.store(true, sc);
    interlock::detail::park(word_, closed);
  }
  interlock::detail::park_word word_{opened};
  std::atomic<bool> asleep_{false};
};

// And one whose passers only look, without an order: good against nothing but what came before.
class weak_gate : public naive_gate {
public:
  void pass() noexcept {
    while (weak_.load(rlx)) testing::spin_hint();
  }
  void close() noexcept { weak_.store(true, rel); }
  void open() noexcept { weak_.store(false, rel); }

private:
  std::atomic<bool> weak_{false};
};

// Each thread holds it closed for a section, `rounds` times.
template <class Gate>
void sections(world& w, int threads, int rounds) {
  auto* const g = new Gate;
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&, g, rounds] {
      for (int i = 0; i < rounds; ++i) {
        g->close();
        ++inside;  // a plain object: a race if two are inside
        g->open();
      }
    });
  }
  w.finally([&, g, threads, rounds] {
    testing::check(inside == threads * rounds, "every section was run");
    delete g;
  });
}

// Each passer marks, then passes; the closer closes, then looks. A passer whose mark he has missed
// gets through after he has opened.
template <class Gate>
void mark_then_pass(world& w, int passers) {
  auto* const g = new Gate;
  std::atomic<int> marks[3] = {};
  int late[3] = {};
  for (int t = 0; t < passers; ++t) {
    w.thread([&, g, t] {
      marks[t].store(1, sc);
      g->pass();
      late[t] *= 2;  // a race if he missed the mark and has not opened yet
    });
  }
  w.thread([&, g, passers] {
    g->close();
    for (int t = 0; t < passers; ++t) {
      if (marks[t].load(sc) == 0) late[t] = 1;
    }
    g->open();
  });
  w.finally([&, g] {
    for (const int mine : late) testing::check(mine == 0 || mine == 2, "he wrote first");
    delete g;
  });
}

// As above with two closings: who waits, waits until the one that he met is over.
void two_closings(world& w) {
  auto* const g = used_by<gate>::make(2);
  std::atomic<int> mark{0};
  int late = 0;
  w.thread([&, g] {
    mark.store(1, sc);
    (*g)->pass();
    if (late != 0) late += 10;
    g->leave();
  });
  w.thread([&, g] {
    for (int i = 0; i < 2; ++i) {
      (*g)->close();
      if (mark.load(sc) == 0) ++late;
      (*g)->open();
    }
    g->leave();
  });
  w.finally([&] { testing::check(late == 0 || late == 11 || late == 12, "as often as missed"); });
}

// Who has closed it himself meets the next closing like anybody else.
void close_then_pass(world& w) {
  gate g;
  std::atomic<int> mark{0};
  int late = 0;
  w.thread([&] {
    g.close();
    g.open();
    mark.store(1, sc);
    g.pass();
    late *= 2;
  });
  w.thread([&] {
    g.close();
    if (mark.load(sc) == 0) late = 1;
    g.open();
  });
  w.finally([&] { testing::check(late == 0 || late == 2, "he wrote first"); });
}

// Two closers and a passer, each twice.
void all_at_once(world& w) {
  auto* const g = new gate;
  int inside = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, g] {
      for (int i = 0; i < 2; ++i) {
        g->close();
        ++inside;
        g->open();
      }
    });
  }
  w.thread([g] {
    g->pass();
    g->pass();
  });
  w.finally([&, g] {
    testing::check(inside == 4, "every section was run");
    delete g;
  });
}

}  // namespace

TEST_CASE("gate: one thread at a time holds it closed") {
  proved([](world& w) { sections<gate>(w, 2, 1); });
  proved([](world& w) { sections<gate>(w, 2, 2); });
  failing([](world& w) { sections<naive_gate>(w, 2, 1); });
}

TEST_CASE("gate: who was missed by the closer gets through after him") {
  proved([](world& w) { mark_then_pass<gate>(w, 1); });
  proved([](world& w) { mark_then_pass<gate>(w, 2); });
  proved(two_closings);
  proved(close_then_pass);
  failing([](world& w) { mark_then_pass<naive_gate>(w, 2); });
  failing([](world& w) { mark_then_pass<weak_gate>(w, 1); });
}

TEST_CASE("gate: three closers", "[.deep]") {
  proved([](world& w) { sections<gate>(w, 3, 1); });
}

TEST_CASE("gate: three passers and a closer", "[.deep]") {
  proved([](world& w) { mark_then_pass<gate>(w, 3); });
}

TEST_CASE("gate: two closers and a passer, twice each", "[.deep]") { proved(all_at_once); }

TEST_CASE("gate: mutants", "[.mutants]") {
  mutants({[](world& w) { sections<gate>(w, 2, 1); },
           [](world& w) { mark_then_pass<gate>(w, 2); }, two_closings, close_then_pass});
}
