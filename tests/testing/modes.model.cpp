// SPDX-License-Identifier: BSL-1.0
// The modes of the explorer: replay, determinism, samples, bounds, budgets and processes. Each
// beside the case in which it has to say no.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "front.hpp"

#if !defined(INTERLOCK_FRONT_B)
#include <interlock/detail/parking.hpp>
#endif

using testing::world;

namespace {

bool says(const std::string& text, const std::string& words) {
  INFO(text);
  return text.find(words) != std::string::npos;
}

// ---- programs -----------------------------------------------------------------------------------

// One outcome may be forbidden, as numbers.
std::vector<long long> forbidden;

template <class... Numbers>
void tell(world& w, Numbers... numbers) {
  w.outcome(numbers...);
  const long long list[] = {static_cast<long long>(numbers)...};
  testing::check(!std::equal(std::begin(list), std::end(list), forbidden.begin(), forbidden.end()),
                 "this outcome is forbidden");
}

struct forbid {
  explicit forbid(const std::string& outcome) {
    std::istringstream in(outcome);
    for (long long n = 0; in >> n;) forbidden.push_back(n);
  }
  forbid(const forbid&) = delete;
  forbid& operator=(const forbid&) = delete;
  ~forbid() { forbidden.clear(); }
};

void two_plus_two(world& w) {
  atomic<int> x{0}, y{0};
  w.thread([&] {
    x.store(1, rlx);
    y.store(2, rlx);
  });
  w.thread([&] {
    y.store(1, rlx);
    x.store(2, rlx);
  });
  w.finally([&] { tell(w, x.load(rlx), y.load(rlx)); });
}

void store_buffering(world& w) {
  atomic<int> x{0}, y{0};
  int a = 9, b = 9;
  w.thread([&] {
    x.store(1, rlx);
    a = y.load(rlx);
  });
  w.thread([&] {
    y.store(1, rlx);
    b = x.load(rlx);
  });
  w.finally([&] { tell(w, a, b); });
}

// Old values, failed and successful updates, a fence, a choice.
void mixed(world& w) {
  atomic<int> x{0}, y{0};
  int a = 9, b = 9, c = 9;
  w.thread([&] {
    x.store(1, rlx);
    x.store(2, rel);
    y.fetch_add(1, rlx);
  });
  w.thread([&] {
    int expected = 1;
    y.compare_exchange_strong(expected, 5, ar, rlx);
    a = expected;
    fence(sc);
    b = x.load(acq);
  });
  w.thread([&] {
    if (testing::choose(2) == 1) y.store(3, sc);
    c = x.load(rlx);
  });
  w.finally([&] { tell(w, a, b, c, x.load(rlx), y.load(rlx)); });
}

void locks(world& w) {
  atomic<int> l{0};
  plain<int> inside{0};
  for (int i = 0; i < 3; ++i) {
    w.thread([&] {
      lock(l);
      inside = inside + 1;
      l.store(0, rel);
    });
  }
  w.finally([&] { testing::check(inside == 3, "each was inside"); });
}

void additions(world& w, int threads, int rounds) {
  atomic<int> x{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&x, rounds] {
      for (int i = 0; i < rounds; ++i) x.fetch_add(1, rlx);
    });
  }
  w.finally([&] { testing::check(x.load(rlx) == threads * rounds, "none is lost"); });
}
void nine_additions(world& w) { additions(w, 3, 3); }

// The flag is seen, and four stores back is read: one execution of many.
void rare(world& w) {
  atomic<int> data{0}, flag{0};
  w.thread([&] {
    for (int i = 1; i < 5; ++i) data.store(i, rlx);
    flag.store(1, rlx);
  });
  w.thread([&] {
    const bool ready = flag.load(rlx) == 1;
    const int seen = data.load(rlx);
    testing::check(!ready || seen != 0, "the first of the data is there");
  });
  w.finally([] {});
}

void racing(world& w) {
  plain<int> data{0};
  atomic<int> ready{0};
  w.thread([&] {
    data = 42;
    ready.store(1, rlx);
  });
  w.thread([&] {
    if (ready.load(acq) == 1) testing::check(data == 42, "the data is there");
  });
  w.finally([] {});
}

void leaking(world& w) {
  atomic<int> x{0};
  w.thread([&] { x.store(1, rlx); });
  w.thread([&] {
    auto* volatile const kept = new int(1);
    if (x.load(rlx) == 0) delete kept;
  });
  w.finally([] {});
}

void used_after_free(world& w) {
  auto* const x = new atomic<int>(0);
  atomic<int> gone{0};
  w.thread([&] {
    delete x;
    gone.store(1, rel);
  });
  w.thread([&] {
    if (gone.load(acq) == 1) x->store(1, rlx);
  });
  w.finally([] {});
}

void endless(world& w) {
  atomic<int> x{0};
  w.thread([] {});
  w.thread([&] {
    for (;;) x.fetch_add(1, rlx);
  });
  w.finally([] {});
}

void after_you(world& w) {
  atomic<int> mine{0};
  w.thread([&] {
    while (mine.exchange(1, ar) != 2) testing::spin_hint();
  });
  w.finally([] {});
}

const auto failing_bodies = {&rare, &racing, &leaking, &used_after_free, &endless, &after_you,
                             &opposite_locks};

testing::report replayed(const std::string& text, const std::function<void(world&)>& body) {
  testing::options how;
  how.replay = text;
  return testing::explore(how, body);
}

testing::report sampled(testing::sampling policy, std::uint64_t samples, std::uint64_t seed,
                        const std::function<void(world&)>& body) {
  testing::options how;
  how.sample = policy;
  how.samples = samples;
  how.seed = seed;
  return testing::explore(how, body);
}

constexpr testing::sampling policies[] = {testing::sampling::random_walk, testing::sampling::pct,
                                          testing::sampling::pos};

}  // namespace

// ---- replay -------------------------------------------------------------------------------------

TEST_CASE("each failure has a replay string, which gives the same failure and trace again") {
  for (const auto body : failing_bodies) {
    const auto first = failing(body);
    REQUIRE_FALSE(first.replay.empty());
    CHECK(says(first.text(), "INTERLOCK_REPLAY=" + first.replay));
    const auto again = replayed(first.replay, body);
    CHECK(again.failure == first.failure);
    CHECK(again.trace == first.trace);
    CHECK(again.replay == first.replay);
    CHECK_FALSE(again.proved());
  }
}

TEST_CASE("a replay string finds each outcome of a program again") {
  for (const auto body : {&two_plus_two, &store_buffering, &mixed}) {
    for (const std::string& wanted : seen(proved(body))) {
      std::string text;
      {
        const forbid one(wanted);
        const auto first = failing(body);
        CHECK(replayed(first.replay, body).failure == first.failure);
        text = first.replay;
      }
      // Nothing is forbidden now: this one execution has the outcome.
      const auto bare = replayed(text, body);
      CHECK(joined(seen(bare)) == wanted);
      CHECK(bare.executions == 1);
      CHECK_FALSE(bare.proved());
    }
  }
}

TEST_CASE("a sample that fails has a replay string as well") {
  for (const auto policy : policies) {
    for (const auto body : failing_bodies) {
      const auto first = sampled(policy, 20000, 1, body);
      CAPTURE(first.text());
      CHECK_FALSE(first.failure.empty());
      CHECK(replayed(first.replay, body).failure == first.failure);
    }
  }
}

TEST_CASE("a replay string that is cut, changed or of another body is named as such") {
  const std::string text = failing(&rare).replay;
  CHECK(says(replayed(text.substr(0, text.size() - 1), &rare).failure, "no replay string"));
  CHECK(says(replayed("nonsense", &rare).failure, "no replay string"));
  std::string changed = text;
  changed[3] = changed[3] == 'A' ? 'B' : 'A';
  CHECK(says(replayed(changed, &rare).failure, "no replay string"));
  const auto other = replayed(text, &nine_additions);
  CHECK(says(other.failure, "does not fit this body: its event "));
  CHECK(says(other.failure, "of thread "));
  CHECK_FALSE(other.proved());
}

TEST_CASE("a replay string is read from the environment") {
  const auto first = failing(&rare);
  setenv("INTERLOCK_REPLAY", first.replay.c_str(), 1);
  const auto again = testing::explore(&rare);
  unsetenv("INTERLOCK_REPLAY");
  CHECK(again.failure == first.failure);
  CHECK(says(again.scope, "replay string"));
  CHECK(proved(&two_plus_two).scope.empty());
}

TEST_CASE("a replay of what was mended does not fail, and proves nothing") {
  static int least = 0;
  const auto body = [](world& w) {
    atomic<int> x{0};
    for (int i = 0; i < 2; ++i) w.thread([&] { x.store(x.load(rlx) + 1, rlx); });
    w.finally([&] { testing::check(x.load(rlx) >= least, "enough"); });
  };
  least = 2;
  const auto broken = failing(body);
  least = 1;
  const auto mended = replayed(broken.replay, body);
  CHECK(mended.failure.empty());
  CHECK_FALSE(mended.proved());
}

// ---- determinism --------------------------------------------------------------------------------

TEST_CASE("a body that reads memory that nobody set is named, with thread and line") {
  const auto body = [](bool sets) {
    return [sets](world& w) {
      atomic<int> x{0};
      w.thread([&, sets] {
        auto* const memory = static_cast<unsigned char*>(::operator new(64));
        if (sets) std::fill(memory, memory + 64, static_cast<unsigned char>(0));
        x.store(memory[5], rlx);
        ::operator delete(memory);
      });
      w.finally([] {});
    };
  };
  const auto report = failing(body(false));
  CHECK(says(report.failure, "not deterministic"));
  CHECK(says(report.failure, "thread 1"));
  CHECK(says(report.failure, "modes.model.cpp:"));
  CHECK(says(report.failure, "memory that was not set"));
  proved(body(true));
}

TEST_CASE("a body that uses what a stack held before is named") {
  const auto body = [](bool sets) {
    return [sets](world& w) {
      atomic<int> x{0};
      w.thread([&, sets] {
        volatile unsigned char leftovers[4096];
        volatile unsigned deepest = 0;  // deeper than anything else gets
        if (sets) leftovers[deepest] = 0;
        x.store(leftovers[deepest], rlx);
      });
      w.finally([] {});
    };
  };
  proved(body(true));  // and leaves the same to all that follow
  CHECK(says(failing(body(false)).failure, "not deterministic"));
}

TEST_CASE("a body that counts its runs is named, whatever it does with the number") {
  static int runs = 0;
  CHECK(says(failing([](world& w) {
               atomic<int> x{0};
               w.thread([&, n = ++runs] { x.store(n, rlx); });
               w.finally([] {});
             }).failure, "not deterministic"));
  CHECK(says(failing([](world& w) {
               w.thread([] {});
               w.finally([&] { w.outcome(++runs); });
             }).failure, "another outcome"));
  CHECK(says(failing([](world& w) {
               atomic<int> x{0};
               w.thread([&, n = ++runs] {
                 for (int i = 0; i < n % 3; ++i) x.store(1, rlx);
               });
               w.finally([] {});
             }).failure, "not deterministic"));
}

TEST_CASE("a body that stores something else in a late run is named") {
  static int runs = 0;
  runs = 0;
  const auto report = failing([](world& w) {
    atomic<int> x{0}, y{0};
    const int n = ++runs < 6 ? 1 : 2;
    w.thread([&, n] {
      y.store(n, rlx);
      (void)x.load(rlx);
    });
    for (int i = 0; i < 2; ++i) w.thread([&] { x.fetch_add(1, rlx); });
    w.finally([] {});
  });
  CHECK(says(report.failure, "not deterministic"));
  CHECK(says(report.failure, "thread 1"));
  CHECK(report.executions > 0);
}

TEST_CASE("a failure that does not come back is a body that is not deterministic") {
  static int runs = 0;
  runs = 0;
  CHECK(says(failing([](world& w) {
               w.thread([] { testing::check(++runs != 1, "only the first time"); });
               w.finally([] {});
             }).failure, "did not come back"));
  // In a late run: the same program, told to fail then.
  const auto late = failing([](world& w) {
    const int n = ++runs;
    additions(w, 3, 1);
    testing::check(n != 8, "the eighth");
  });
  CHECK(says(late.failure, "did not come back"));
  CHECK(says(late.failure, "the eighth"));
  CHECK(late.replay.empty());
}

// ---- samples ------------------------------------------------------------------------------------

TEST_CASE("samples see every outcome of the exploration, and no other") {
  for (const auto body : {&two_plus_two, &store_buffering, &mixed}) {
    const auto all = proved(body);
    for (const auto policy : policies) {
      const auto some = sampled(policy, 20000, 1, body);
      CAPTURE(some.text());
      CHECK(joined(seen(some)) == joined(seen(all)));
      CHECK(some.distinct == all.executions);
      CHECK(some.executions + some.pruned == 20000);
      CHECK(some.sampled);
      CHECK_FALSE(some.proved());
      CHECK(says(some.text(), "no proof"));
    }
  }
}

TEST_CASE("few samples see a part of the outcomes, and say how many graphs") {
  const auto all = proved(&mixed);
  const auto some = sampled(testing::sampling::random_walk, 20, 1, &mixed);
  CHECK(some.distinct <= 20);
  CHECK(seen(some).size() < seen(all).size());
  for (const std::string& one : seen(some)) CHECK(seen(all).count(one) == 1);
}

TEST_CASE("the same seed draws the same samples, another seed others") {
  for (const auto policy : policies) {
    const auto first = sampled(policy, 100, 7, &mixed);
    CHECK(sampled(policy, 100, 7, &mixed).outcomes == first.outcomes);
    CHECK(sampled(policy, 100, 8, &mixed).outcomes != first.outcomes);
    const auto failure = sampled(policy, 20000, 3, &rare);
    CHECK(sampled(policy, 20000, 3, &rare).replay == failure.replay);
    CHECK(sampled(policy, 20000, 3, &rare).executions == failure.executions);
  }
}

TEST_CASE("rare mistakes are found within the samples that they are worth") {
  for (const auto policy : policies) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      for (const auto body : failing_bodies) {
        const auto report = sampled(policy, 2000, seed, body);
        CAPTURE(static_cast<int>(policy), seed, report.text());
        CHECK_FALSE(report.failure.empty());
      }
    }
  }
}

TEST_CASE("samples of a program without a mistake report none, spinning threads included") {
  for (const auto policy : policies) {
    for (const auto body : {&locks, &nine_additions}) {
      const auto report = sampled(policy, 2000, 1, body);
      CAPTURE(report.text());
      CHECK(report.failure.empty());
      CHECK(report.blocked == 0);
      CHECK(report.executions + report.pruned == 2000);
      CHECK(report.executions > 1900);
    }
  }
}

TEST_CASE("samples of waits that are one step end, and their replay strings are good") {
  testing::options how;
  how.whole_waits = true;
  how.samples = 500;
  for (const auto policy : policies) {
    how.sample = policy;
    how.replay.clear();
    const auto sound = testing::explore(how, &locks);
    CAPTURE(sound.text());
    CHECK(sound.failure.empty());
    CHECK(sound.blocked == 0);
    const auto first = testing::explore(how, &opposite_locks);
    CHECK(says(first.failure, "deadlock"));
    how.replay = first.replay;
    CHECK(testing::explore(how, &opposite_locks).failure == first.failure);
  }
}

#if !defined(INTERLOCK_FRONT_B)  // a parking word is a std::atomic

namespace {
void parks(world& w, bool unparks_last) {
  std::atomic<std::uint32_t> flag{0};
  w.thread([&] {
    while (flag.load(acq) == 0) interlock::detail::park(flag, 0);
  });
  w.thread([&, unparks_last] {
    if (!unparks_last) interlock::detail::unpark_all(&flag);
    flag.store(1, rel);
    if (unparks_last) interlock::detail::unpark_all(&flag);
  });
  w.finally([] {});
}
}  // namespace

TEST_CASE("samples of mutexes end, find the deadlock, and its replay string finds it again") {
  const auto with = [](bool opposite) {
    return [opposite](world& w) {
      std::mutex a, b;
      for (int i = 0; i < 3; ++i) {
        w.thread([&, opposite, i] {
          std::mutex& first = opposite && i == 2 ? b : a;
          const std::scoped_lock one(first);
          const std::scoped_lock two(&first == &a ? b : a);
        });
      }
      w.finally([] {});
    };
  };
  for (const auto policy : policies) {
    const auto sound = sampled(policy, 500, 1, with(false));
    CAPTURE(sound.text());
    CHECK(sound.failure.empty());
    CHECK(sound.blocked == 0);
    const auto broken = sampled(policy, 500, 1, with(true));
    CHECK(says(broken.failure, "deadlock"));
    CHECK(replayed(broken.replay, with(true)).failure == broken.failure);
  }
}

TEST_CASE("samples find a lost wake-up, and its replay string finds it again") {
  for (const auto policy : policies) {
    const auto sound = sampled(policy, 500, 1, [](world& w) { parks(w, true); });
    CHECK(sound.failure.empty());
    CHECK(sound.executions > 450);  // few are given up
    const auto broken = [](world& w) { parks(w, false); };
    const auto report = sampled(policy, 500, 1, broken);
    CHECK(says(report.failure, "parked and nobody will unpark it"));
    CHECK(replayed(report.replay, broken).failure == report.failure);
  }
}

#endif

// ---- bounds -------------------------------------------------------------------------------------

TEST_CASE("departures: each one more shows more, and enough of them is a proof") {
  for (const auto body : {&two_plus_two, &mixed, &nine_additions, &locks}) {
    const auto all = proved(body);
    std::uint64_t before = 0;
    bool complete = false;
    for (unsigned n = 0; !complete && n < 40; ++n) {
      testing::options how;
      how.departures = n;
      how.count_distinct = true;
      const auto report = testing::explore(how, body);
      CAPTURE(n, report.text());
      CHECK(report.bounded);
      CHECK(report.executions >= before);
      CHECK(report.executions <= all.executions);
      CHECK(report.distinct == report.executions);
      CHECK(report.proved() == (report.cut == 0));
      CHECK(says(report.text(), "bounded to " + std::to_string(n) + " departures"));
      for (const std::string& one : seen(report)) CHECK(seen(all).count(one) == 1);
      before = report.executions;
      complete = report.proved();
      if (n == 0) CHECK(report.executions + report.blocked + report.pruned == 1);
      if (n == 0) CHECK(report.cut > 0);
    }
    CHECK(complete);
    CHECK(before == all.executions);
  }
}

TEST_CASE("departures: so many of three choices may be other than the first") {
  const auto body = [](world& w) {
    unsigned sum = 0;
    w.thread([&] {
      for (int i = 0; i < 3; ++i) sum += testing::choose(2);
    });
    w.finally([&] { w.outcome(sum); });
  };
  constexpr unsigned sums[] = {1, 1 + 3, 1 + 3 + 3, 1 + 3 + 3 + 1};
  for (unsigned n = 0; n < 4; ++n) {
    testing::options how;
    how.departures = n;
    const auto report = testing::explore(how, body);
    CHECK(report.executions == sums[n]);
    CHECK(report.outcomes.size() == n + 1);
    CHECK(report.proved() == (n == 3));
  }
}

TEST_CASE("departures: a mistake beyond the bound is not found, and not disproved") {
  testing::options how;
  how.departures = 0;
  const auto none = testing::explore(how, &store_buffering);
  CHECK(none.failure.empty());
  const forbid both_old("0 0");
  unsigned needed = 0;
  for (;; ++needed) {
    REQUIRE(needed < 10);
    how.departures = needed;
    const auto report = testing::explore(how, &store_buffering);
    CHECK_FALSE(report.proved());
    if (!report.failure.empty()) break;
    CHECK(report.cut > 0);
  }
  CHECK(needed > 0);
}

TEST_CASE("max_events: a thread stops there, the others go on, and there is no proof") {
  const auto body = [](world& w) {
    atomic<int> x{0};
    w.thread([&] {
      while (x.exchange(1, ar) != 2) testing::spin_hint();
    });
    w.thread([&] { x.store(2, rel); });
    w.finally([] {});
  };
  CHECK(says(failing(body).failure, "livelock"));
  testing::options how;
  how.max_events = 10;
  const auto report = testing::explore(how, body);
  CAPTURE(report.text());
  CHECK(report.failure.empty());
  CHECK(report.executions > 0);
  CHECK(report.cut > 0);
  CHECK_FALSE(report.proved());
  CHECK(says(report.text(), "10 events"));
  CHECK(testing::explore(how, &two_plus_two).proved());  // it is shorter
}

// ---- budgets ------------------------------------------------------------------------------------

TEST_CASE("a budget of time ends the exploration without a claim") {
  testing::options how;
  how.budget = std::chrono::milliseconds{50};
  const auto begin = std::chrono::steady_clock::now();
  const auto report = testing::explore(how, [](world& w) { additions(w, 4, 5); });
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{10});
  CHECK(report.failure.empty());
  CHECK(report.executions > 0);
  CHECK_FALSE(report.proved());
  CHECK(says(report.text(), "stopped before the end"));
  how.budget = std::chrono::hours{1};
  const auto small = testing::explore(how, &two_plus_two);
  CHECK(small.proved());
  CHECK(small.text().find("stopped") == std::string::npos);
}

TEST_CASE("a budget of runs is kept to the run") {
  for (const std::uint64_t runs : {1U, 3U, 64U, 100U}) {
    testing::options how;
    how.max_runs = runs;
    const auto report = testing::explore(how, &nine_additions);
    CHECK(report.executions + report.blocked + report.pruned == runs);
    CHECK_FALSE(report.proved());
  }
}

// ---- processes ----------------------------------------------------------------------------------

TEST_CASE("several processes see what one sees") {
  for (const auto body : {&two_plus_two, &mixed, &nine_additions, &locks}) {
    const auto one = proved(body);
    for (const unsigned n : {2U, 3U}) {
      testing::options how;
      how.processes = n;
      how.count_distinct = true;
      const auto report = testing::explore(how, body);
      CAPTURE(n, report.text());
      CHECK(report.proved());
      CHECK(report.executions == one.executions);
      CHECK(report.blocked == one.blocked);
      CHECK(report.pruned == one.pruned);
      CHECK(report.distinct == one.distinct);
      CHECK(report.outcomes == one.outcomes);
      CHECK(report.scope.empty());
    }
  }
  testing::options how;
  how.processes = 2;
  CHECK(testing::explore(how, &nine_additions).processes == 2);
}

TEST_CASE("several processes: the failure comes with its trace, and nothing is proved") {
  testing::options how;
  how.processes = 2;
  const auto body = [](world& w) {
    atomic<int> x{0}, order{0};
    for (int t = 0; t < 3; ++t) {
      w.thread([&, t] {
        for (int i = 0; i < 3; ++i) {
          x.fetch_add(1, rlx);
          order.exchange(t, rlx);
        }
      });
    }
    w.finally([&] { testing::check(x.load(rlx) != 9 || order.load(rlx) != 0, "0 is not last"); });
  };
  const auto report = testing::explore(how, body);
  CAPTURE(report.text());
  CHECK(says(report.failure, "0 is not last"));
  CHECK(says(report.trace, "thread 3"));
  CHECK_FALSE(report.steps.empty());
  CHECK_FALSE(report.proved());
  CHECK(replayed(report.replay, body).failure == report.failure);
}

TEST_CASE("several processes share the budget of runs") {
  testing::options how;
  how.processes = 2;
  how.max_runs = 1000;
  const auto report = testing::explore(how, [](world& w) { additions(w, 3, 4); });
  CHECK(report.executions + report.blocked + report.pruned <= 1000);
  CHECK(report.executions > 0);
  CHECK_FALSE(report.proved());
}

TEST_CASE("several processes draw the samples that one draws") {
  testing::options how;
  how.sample = testing::sampling::pos;
  how.samples = 1000;
  const auto one = testing::explore(how, &mixed);
  how.processes = 2;
  const auto two = testing::explore(how, &mixed);
  CHECK(two.outcomes == one.outcomes);
  CHECK(two.distinct == one.distinct);
  CHECK(two.executions == one.executions);
  CHECK_FALSE(two.proved());
}

TEST_CASE("where no process is to be had, one does it all and says so") {
  rlimit files{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
  const rlimit none{3, files.rlim_max};  // no pipe, and so no process to hear of
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  testing::options how;
  how.processes = 2;
  const auto report = testing::explore(how, &nine_additions);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(report.proved());
  CHECK(report.executions == 1680);
  CHECK(report.processes == 1);
  CHECK(says(report.text(), "processes to be had: 1"));
}

TEST_CASE("a process that dies is a failure, not a smaller proof") {
  static const pid_t parent = getpid();
  testing::options how;
  how.processes = 2;
  const auto report = testing::explore(how, [](world& w) {
    atomic<int> x{0}, last{0};
    for (int t = 0; t < 3; ++t) {
      w.thread([&, t] {
        for (int i = 0; i < 3; ++i) x.fetch_add(1, rlx);
        last.exchange(t + 1, rlx);
      });
    }
    w.finally([&] {
      if (last.load(rlx) == 1 && getpid() != parent) std::raise(SIGKILL);
    });
  });
  CHECK(says(report.failure, "a process of the exploration ended"));
  CHECK_FALSE(report.proved());
}

// ---- bad input ----------------------------------------------------------------------------------

TEST_CASE("an unbounded loop and a livelock are named with thread and line, and told apart") {
  const auto loop = failing(&endless);
  CHECK(says(loop.failure, "unbounded loop"));
  CHECK(says(loop.failure, "Thread 2"));
  CHECK(says(loop.failure, "modes.model.cpp:"));
  const auto live = failing(&after_you);
  CHECK(says(live.failure, "livelock: thread 1"));
  CHECK(says(live.failure, "modes.model.cpp:"));
  CHECK(says(failing(&opposite_locks).failure, "deadlock"));
}

TEST_CASE("one thread too many is named with its line") {
  const auto report = failing([](world& w) {
    for (int i = 0; i < 8; ++i) w.thread([] {});
    w.finally([] {});
  });
  CHECK(says(report.failure, "more than 7 threads"));
  CHECK(says(report.failure, "modes.model.cpp:"));
}
