// SPDX-License-Identifier: BSL-1.0
// Recording, searches and monitors: they agree with an oracle that tries every order.

#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/monitors.hpp>
#include <interlock/testing/order_monitors.hpp>
#include <interlock/testing/transaction_monitor.hpp>

#include <algorithm>
#include <atomic>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace interlock::testing;  // NOLINT: this file is about nothing else

namespace {

// ---- an oracle: every subset of the unanswered, every order -------------------------------------

template <class State, class Op>
bool some_order(const std::vector<recorded<Op>>& all, std::vector<bool>& done, const State& state) {
  bool complete = true;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!done[i] && all[i].when.answered()) complete = false;
  }
  if (complete) return true;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (done[i]) continue;
    bool first = true;  // nobody else has to come before
    for (std::size_t k = 0; k < all.size(); ++k) {
      if (!done[k] && all[k].when.returned <= all[i].when.invoked) first = false;
    }
    State next = state;
    if (!first || !next.apply(all[i].op, all[i].when.answered())) continue;
    done[i] = true;
    if (some_order(all, done, next)) return true;
    done[i] = false;
  }
  return false;
}

template <class State, class Op>
bool oracle(const std::vector<recorded<Op>>& all, const State& initial) {
  std::vector<bool> done(all.size());
  return some_order(all, done, initial);
}

// The same history as a partial order: `interval` under another name.
struct partial {
  interval when;
  [[nodiscard]] bool answered() const { return when.answered(); }
  [[nodiscard]] std::string text() const { return when.text(); }
  friend bool precedes(const partial& a, const partial& b) { return precedes(a.when, b.when); }
};

template <class Op>
std::vector<recorded<Op, partial>> as_partial(const std::vector<recorded<Op>>& all) {
  std::vector<recorded<Op, partial>> result;
  for (const auto& one : all) result.push_back({one.op, {one.when}, one.thread});
  return result;
}

// ---- random histories ---------------------------------------------------------------------------

// Runs `act` on a sequential object at random moments of random intervals, then spoils some answers.
// So about half of the histories are right, and the wrong ones only just.
class random_history {
public:
  explicit random_history(unsigned seed) : random_(seed) {}

  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

  // act(thread) -> Op takes effect now; forget: how many of 16 stay unanswered.
  template <class Op, class Act>
  std::vector<recorded<Op>> make(unsigned threads, unsigned count, unsigned forget, Act act) {
    enum class phase { idle, called, done };
    struct one_thread {
      phase at = phase::idle;
      std::size_t index = 0;
    };
    std::vector<one_thread> all(threads);
    std::vector<recorded<Op>> result;
    std::uint64_t now = 0;
    for (std::size_t answered = 0; answered < count;) {
      const unsigned who = below(threads);
      one_thread& t = all[who];
      if (t.at == phase::idle) {
        if (result.size() == count) break;
        t.index = result.size();
        result.push_back({Op{}, {now, interval::never}, who});
        t.at = phase::called;
      } else if (t.at == phase::called) {
        result[t.index].op = act(who);
        t.at = phase::done;
        if (below(16) < forget) t = {};  // never answered; the thread goes on as another
      } else {
        result[t.index].when.returned = ++now;
        t.at = phase::idle;
        ++answered;
      }
    }
    for (const one_thread& t : all) {  // called, and nothing done yet
      if (t.at == phase::called) result[t.index].op = act(0);
    }
    return result;
  }

private:
  std::mt19937 random_;
};

struct tally {
  unsigned right = 0, wrong = 0, undecided = 0;
  void count(bool ok) { ++(ok ? right : wrong); }
};

template <class State, class Op, class Monitor>
void compare(tally& seen, const std::vector<recorded<Op>>& all, const State& initial,
             Monitor monitor) {
  const bool expected = oracle(all, initial);
  seen.count(expected);
  const verdict search = linearizable(all, initial);
  const verdict by_parts = linearizable(as_partial(all), initial);
  verdict fast{};
  bool decided = true;
  try {
    fast = monitor(all);
  } catch (const std::invalid_argument&) {
    decided = false;
    ++seen.undecided;
  }
  if (static_cast<bool>(search) == expected && static_cast<bool>(by_parts) == expected &&
      (!decided || static_cast<bool>(fast) == expected)) {
    return;
  }
  std::string text = expected ? "right:" : "wrong:";
  for (const auto& one : all) text += "\n  " + text_of(one);
  INFO(text);
  INFO("search: " << search);
  INFO("partial: " << by_parts);
  INFO("monitor: " << fast);
  CHECK(static_cast<bool>(search) == expected);
  CHECK(static_cast<bool>(by_parts) == expected);
  CHECK((!decided || static_cast<bool>(fast) == expected));
}

constexpr unsigned histories = 6000;

}  // namespace

TEST_CASE("A monitor of counters or cells or maxima gives the same answer as a search") {
  tally seen;
  for (unsigned seed = 0; seed < histories; ++seed) {
    random_history random(seed);
    counter_state object{-3};
    const unsigned forget = seed % 3;
    const bool equal = forget != 0;
    auto all = random.make<counter_call>(4, 7, forget, [&](unsigned) {
      counter_call call;
      call.what = random.below(3) == 0 ? counter_call::kind::load : counter_call::kind::add;
      call.amount = equal ? 2 : 1 + random.below(3);
      call.seen = object.value;
      object.apply(call, true);
      return call;
    });
    if (seed % 2 == 0) all[random.below(7) % all.size()].op.seen += random.below(2) != 0 ? 1 : -1;
    if (seed % 4 == 1) std::swap(all.front().op.seen, all.back().op.seen);
    compare(seen, all, counter_state{-3}, [](const auto& h) { return monitor_counter(h, -3); });
  }
  CHECK(seen.right > histories / 4);
  CHECK(seen.wrong > histories / 4);
  CHECK(seen.undecided < histories / 3 * 2);
}

TEST_CASE("The queue monitor gives the same answer as a search") {
  tally seen;
  for (unsigned seed = 0; seed < histories; ++seed) {
    random_history random(seed);
    queue_state object;
    std::uint64_t pushed = 0;
    const unsigned forget = seed % 3;
    const bool empties = seed % 2 == 0;
    auto all = random.make<queue_call>(4, 8, forget, [&](unsigned) {
      queue_call call;
      call.what = random.below(2) == 0 && (empties || !object.values.empty())
                      ? queue_call::kind::pop
                      : queue_call::kind::push;
      if (call.what == queue_call::kind::push) {
        call.value = ++pushed;
      } else if (object.values.empty()) {
        call.what = queue_call::kind::pop_empty;
      } else {
        call.value = object.values.front();
      }
      object.apply(call, true);
      return call;
    });
    for (auto& one : all) {  // an unanswered pop does not know what it found
      if (!one.when.answered() && one.op.what == queue_call::kind::pop_empty) {
        one.op.what = queue_call::kind::pop;
      }
    }
    // Two answers change places, or a pop finds nothing.
    std::vector<std::size_t> pops;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].op.what != queue_call::kind::push && all[i].when.answered()) pops.push_back(i);
    }
    if (seed % 4 < 2 && pops.size() > 1) std::swap(all[pops[0]].op, all[pops.back()].op);
    if (seed % 16 == 2 && !pops.empty()) all[pops[0]].op = {queue_call::kind::pop_empty, 0};
    if (seed % 32 == 3 && !pops.empty()) all[pops[0]].op.value = 77;
    if (seed % 32 == 5 && pops.size() > 1) all[pops[0]].op = all[pops[1]].op;
    compare(seen, all, queue_state{}, [](const auto& h) { return monitor_queue(h); });
  }
  CHECK(seen.right > histories / 4);
  CHECK(seen.wrong > histories / 10);
  CHECK(seen.undecided < histories / 3 * 2);
}

TEST_CASE("a monitor of cells gives the same answer as a search") {
  tally seen;
  for (unsigned seed = 0; seed < histories; ++seed) {
    random_history random(seed);
    cell_state object{100, 3};
    std::int64_t fresh = 0;
    auto all = random.make<cell_call>(4, 7, seed % 3, [&](unsigned) {
      cell_call call{static_cast<cell_call::kind>(random.below(3)), 0, ++fresh, 0};
      if (call.what == cell_call::kind::replaced) {
        call.expected = object.version - (random.below(3) == 0 ? 1 : 0);
        if (call.expected != object.version) call.what = cell_call::kind::refused;
      }
      call.version = object.version + (call.writes() ? 1 : 0);
      if (!call.writes()) call.value = object.value;
      object.apply(call, true);
      return call;
    });
    auto& spoilt = all[random.below(7) % all.size()].op;
    if (seed % 4 == 0) spoilt.version += random.below(2) != 0 ? 1U : ~0ULL;
    if (seed % 8 == 1) spoilt.value = random.below(6);
    if (seed % 4 == 2) std::swap(all.front().op, all.back().op);
    for (auto& one : all) {
      if (!one.when.answered() && one.op.what == cell_call::kind::refused) {
        one.op.what = cell_call::kind::replaced;
        one.op.value = ++fresh;
      }
    }
    compare(seen, all, cell_state{100, 3},
            [](const auto& h) { return monitor_cell(h, {100, 3}); });
  }
  CHECK(seen.right > histories / 4);
  CHECK(seen.wrong > histories / 4);
  CHECK(seen.undecided < histories / 3 * 2);
}

TEST_CASE("a monitor of maxima gives the same answer as a search") {
  tally seen;
  for (unsigned seed = 0; seed < histories; ++seed) {
    random_history random(seed);
    peak_state object{2};
    auto all = random.make<peak_call>(4, 7, seed % 3, [&](unsigned) {
      peak_call call{peak_call::kind::load, object.value};
      if (random.below(2) == 0) {
        call.value = 1 + random.below(9);
        call.what = call.value > object.value ? peak_call::kind::raised : peak_call::kind::too_low;
      }
      object.apply(call, true);
      return call;
    });
    auto& spoilt = all[random.below(7) % all.size()].op;
    if (seed % 4 == 0) spoilt.value += random.below(2) != 0 ? 1U : ~0ULL;
    if (seed % 4 == 1) std::swap(all[0].op, all.back().op);
    if (seed % 8 == 2) std::swap(all[1].op, all.back().op);
    for (auto& one : all) {
      if (!one.when.answered() && one.op.what == peak_call::kind::too_low) {
        one.op.what = peak_call::kind::raised;
      }
    }
    compare(seen, all, peak_state{2}, [](const auto& h) { return monitor_peak(h, 2); });
  }
  CHECK(seen.right > histories / 4);
  CHECK(seen.wrong > histories / 4);
  CHECK(seen.undecided < histories / 3 * 2);
}

TEST_CASE("The transaction monitor gives the same answer as a search") {
  tally seen;
  for (unsigned seed = 0; seed < histories; ++seed) {
    random_history random(seed);
    cells_state object;
    auto all = random.make<attempt>(4, 6, 0, [&](unsigned) {
      attempt made;
      made.committed = random.below(4) != 0;
      for (std::uint32_t cell = 0; cell < 3; ++cell) {
        const unsigned what = random.below(3);
        if (what != 0) made.reads.push_back({cell, object.versions[cell]});
        if (what == 2) made.writes.push_back({cell, object.versions[cell] + 1});
      }
      object.apply(made, true);
      return made;
    });
    all.erase(std::remove_if(all.begin(), all.end(),
                             [](const auto& one) { return !one.when.answered(); }),
              all.end());
    if (seed % 2 == 0) {
      auto& spoilt = all[random.below(7) % all.size()].op;
      if (!spoilt.reads.empty()) {
        auto& version = spoilt.reads[random.below(3) % spoilt.reads.size()].version;
        version += random.below(2) != 0 || version == 0 ? 1U : ~0ULL;
      }
    }
    if (seed % 4 == 1) std::swap(all.front().op, all.back().op);
    compare(seen, all, cells_state{}, [](const auto& h) { return monitor_transactions(h); });
  }
  CHECK(seen.right > histories / 4);
  CHECK(seen.wrong > histories / 4);
  CHECK(seen.undecided < histories / 3 * 2);
}

TEST_CASE("rare histories: search and monitor agree with every order tried") {
  using queue = queue_call::kind;
  using peak = peak_call::kind;
  tally seen;
  const auto queues = [&](const std::vector<recorded<queue_call>>& all) {
    compare(seen, all, queue_state{}, [](const auto& h) { return monitor_queue(h); });
  };
  const auto peaks = [&](const std::vector<recorded<peak_call>>& all) {
    compare(seen, all, peak_state{0}, [](const auto& h) { return monitor_peak(h); });
  };
  // One value comes when the other goes: there is no moment without any.
  queues({{{queue::push, 1}, {0, 1}, 0},
          {{queue::push, 2}, {0, 2}, 1},
          {{queue::pop, 1}, {2, 4}, 0},
          {{queue::pop_empty, 0}, {1, 3}, 2}});
  CHECK(seen.wrong == 1);
  // The other comes a moment later.
  queues({{{queue::push, 1}, {0, 1}, 0},
          {{queue::pop, 1}, {1, 4}, 0},
          {{queue::push, 2}, {0, 2}, 1},
          {{queue::pop_empty, 0}, {1, 3}, 2}});
  CHECK(seen.right == 1);
  // Refused before the lower of two raises began: the higher one was not there yet either.
  peaks({{{peak::raised, 7}, {0, 9}, 0},
         {{peak::too_low, 5}, {0, 1}, 1},
         {{peak::raised, 5}, {1, 2}, 1}});
  CHECK(seen.wrong == 2);
  // Nobody knows whether it was too low.
  peaks({{{peak::too_low, 5}, {0, interval::never}, 0},
         {{peak::load, 0}, {0, 1}, 1},
         {{peak::load, 5}, {1, 2}, 1}});
  CHECK(seen.right == 2);
}

// ---- outcomes -----------------------------------------------------------------------------------

TEST_CASE("An operation with an unknown outcome may take effect at any later time or never") {
  using call = recorded<counter_call>;
  const call unknown{{counter_call::kind::add, 1, 0}, {1, interval::never}, 0};
  const auto load = [](std::int64_t seen, std::uint64_t from, std::uint64_t to) {
    return call{{counter_call::kind::load, 0, seen}, {from, to}, 1};
  };
  const auto both_agree = [](const std::vector<call>& all) {
    const verdict search = linearizable(all, counter_state{});
    CHECK(static_cast<bool>(monitor_counter(all)) == static_cast<bool>(search));
    return search;
  };
  CHECK(both_agree({unknown, load(0, 1, 2), load(0, 8, 9)}));        // never
  CHECK(both_agree({unknown, load(0, 1, 2), load(1, 8, 9)}));        // late
  CHECK(both_agree({unknown, load(1, 1, 2), load(1, 8, 9)}));        // at once
  CHECK_FALSE(both_agree({unknown, load(1, 1, 2), load(0, 8, 9)}));  // and back
  CHECK_FALSE(both_agree({unknown, load(1, 0, 1)}));                 // before it was called
  CHECK_FALSE(both_agree({unknown, load(2, 1, 2)}));                 // twice
}

TEST_CASE("It accepts an unanswered operation in any state") {
  CHECK(counter_state{5}.apply({counter_call::kind::add, 1, 77}, false));
  CHECK(bounded_state{5, 0, 9}.apply({bounded_call::kind::sub, 6, true}, false));
  CHECK(queue_state{}.apply({queue_call::kind::pop, 77}, false));
  CHECK(cell_state{1, 4}.apply({cell_call::kind::replaced, 9, 1, 10}, false));
  CHECK(peak_state{5}.apply({peak_call::kind::raised, 3}, false));
  CHECK(cells_state{}.apply({{{0, 7}}, {{0, 9}}, true}, false));
}

TEST_CASE("A sequential object accepts the right answer and no other") {
  CHECK(counter_state{5}.apply({counter_call::kind::add, 1, 5}, true));
  CHECK_FALSE(counter_state{5}.apply({counter_call::kind::add, 1, 6}, true));
  bounded_state bounded{5, 0, 9};
  CHECK_FALSE(bounded.apply({bounded_call::kind::sub, 6, true}, true));
  CHECK_FALSE(bounded.apply({bounded_call::kind::sub, 5, false}, true));
  CHECK_FALSE(bounded.apply({bounded_call::kind::add, 5, true}, true));
  CHECK(bounded.apply({bounded_call::kind::add, 5, false}, true));
  CHECK_FALSE(bounded.apply({bounded_call::kind::load, 0, true, 4}, true));
  CHECK(bounded.apply({bounded_call::kind::sub, 5, true}, true));
  CHECK(bounded == bounded_state{0, 0, 9});
  queue_state queue{{3, 4}};
  CHECK_FALSE(queue.apply({queue_call::kind::pop, 4}, true));
  CHECK_FALSE(queue.apply({queue_call::kind::pop_empty, 0}, true));
  CHECK(queue.apply({queue_call::kind::pop, 3}, true));
  CHECK(queue == queue_state{{4}});
  CHECK(cell_state{7, 2}.apply({cell_call::kind::replaced, 2, 9, 3}, true));
  CHECK_FALSE(cell_state{7, 2}.apply({cell_call::kind::replaced, 1, 9, 2}, true));
  CHECK_FALSE(cell_state{7, 2}.apply({cell_call::kind::refused, 2, 7, 2}, true));
  CHECK(peak_state{5}.apply({peak_call::kind::too_low, 5}, true));
  CHECK_FALSE(peak_state{5}.apply({peak_call::kind::raised, 5}, true));
  CHECK_FALSE(cells_state{}.apply({{{0, 1}}, {}, true}, true));
}

TEST_CASE("Keys are checked each by itself which finds the same") {
  struct keyed_add {
    unsigned key = 0;
    counter_call call;
  };
  struct many {  // all counters as one object
    counter_state one[3];
    bool apply(const keyed_add& op, bool answered) { return one[op.key].apply(op.call, answered); }
    bool operator==(const many&) const = default;
  };
  struct single : counter_state {
    bool apply(const keyed_add& op, bool answered) {
      return counter_state::apply(op.call, answered);
    }
    bool operator==(const single&) const = default;
  };
  tally seen;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    random_history random(seed);
    many object;
    auto all = random.make<keyed_add>(4, 9, 1, [&](unsigned) {
      const unsigned key = random.below(3);
      const keyed_add op{key, {counter_call::kind::add, 1, object.one[key].value}};
      object.apply(op, true);
      return op;
    });
    if (seed % 2 == 0) ++all[random.below(9) % all.size()].op.call.seen;
    const bool together = static_cast<bool>(linearizable(all, many{}));
    seen.count(together);
    const verdict apart =
        linearizable(all, single{}, [](const keyed_add& op) { return op.key; });
    CHECK(static_cast<bool>(apart) == together);
    CHECK(apart.operations == all.size());
  }
  CHECK(seen.right > 250);
  CHECK(seen.wrong > 250);
}

TEST_CASE("A history is accepted exactly if such an order exists") {
  // Distinct values show what repeated ones hide: the same swap of two reads.
  struct write_or_read {
    bool write = false;
    int value = 0;
  };
  struct memory {
    int value = 0;
    bool apply(const write_or_read& op, bool) {
      if (op.write) value = op.value;
      return op.value == value;
    }
    bool operator==(const memory&) const = default;
  };
  const auto story = [](int first, int second) {
    return std::vector<recorded<write_or_read>>{{{true, first}, {0, 1}, 0},
                                                {{true, second}, {0, 2}, 1},
                                                {{false, second}, {2, 3}, 0},
                                                {{false, first}, {3, 4}, 1}};
  };
  CHECK(linearizable(story(1, 1), memory{}));
  CHECK_FALSE(linearizable(story(1, 2), memory{}));
  CHECK_THROWS_AS(linearizable(std::vector<recorded<write_or_read>>(65), memory{}),
                  std::length_error);
}

// ---- recording ----------------------------------------------------------------------------------

TEST_CASE("An operation is recorded as before another only if it returned before that was called") {
  ticket_clock clock;
  history<counter_call> calls(clock, 4);
  std::atomic<std::int64_t> count{0};
  support::run_threads(4, [&](std::size_t me) {
    for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
      calls.record(me, {counter_call::kind::add, 1, 0},
                   [&](counter_call& call) { call.seen = count.fetch_add(1); });
    }
  });
  const auto all = calls.operations();
  CHECK(all.size() == 4 * support::rounds(20'000));
  CHECK(monitor_counter(all));
  CHECK(linearizable(all, counter_state{}));
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[i].thread == all[i - 1].thread && !precedes(all[i - 1].when, all[i].when)) {
      FAIL_CHECK("a thread's own operations are not in order");
    }
  }
}

TEST_CASE("a counter that loads and stores is caught in what threads recorded") {
  bool caught = false;
  for (int attempt = 0; attempt < 200 && !caught; ++attempt) {
    ticket_clock clock;
    history<counter_call> calls(clock, 2);
    std::atomic<std::int64_t> count{0};
    support::run_threads(2, [&](std::size_t me) {
      for (int i = 0; i < 2'000; ++i) {
        calls.record(me, {counter_call::kind::add, 1, 0}, [&](counter_call& call) {
          call.seen = count.load();
          if (i % 64 == 0) std::this_thread::yield();
          count.store(call.seen + 1);
        });
      }
    });
    const auto all = calls.operations();
    caught = !monitor_counter(all);
    CHECK(static_cast<bool>(linearizable(all, counter_state{})) == !caught);
  }
  CHECK(caught);
}

TEST_CASE("An operation that throws has an unknown outcome") {
  ticket_clock clock;
  history<counter_call> calls(clock, 1);
  CHECK_THROWS(calls.record(0, {counter_call::kind::add, 1, 0},
                            [](counter_call&) { throw std::runtime_error("no answer"); }));
  auto open = calls.begin(0, {counter_call::kind::load, 0, 0});
  open.answer({counter_call::kind::load, 0, 1});
  const auto all = calls.operations();
  REQUIRE(all.size() == 2);
  CHECK_FALSE(all[0].when.answered());
  CHECK(all[1].when.answered());
  CHECK(monitor_counter(all));
}
