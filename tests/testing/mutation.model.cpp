// SPDX-License-Identifier: BSL-1.0
// The mutator: each change is made, in the one line that is meant, and judged rightly.

#include "front.hpp"

#include <interlock/detail/parking.hpp>

#include <algorithm>

using testing::world;

namespace {

constexpr auto killed = testing::mutant::fate::killed;
constexpr auto survived = testing::mutant::fate::survived;

struct verdict {
  std::vector<testing::mutant> mutants;

  // Returns: how many mutants with this change ended so.
  [[nodiscard]] long count(const std::string& change, testing::mutant::fate fate) const {
    return std::count_if(mutants.begin(), mutants.end(), [&](const testing::mutant& m) {
      return m.change == change && m.result == fate;
    });
  }
};

verdict judge(std::vector<std::function<void(world&)>> bodies) {
  const testing::mutation_report result = testing::mutate(bodies);
  CAPTURE(result.failure);
  CHECK(result.failure.empty());
  return {result.mutants};
}

void message(world& w, std::memory_order store, std::memory_order load) {
  plain<int> data{0};
  atomic<int> flag{0};
  w.thread([&] {
    data = 1;
    flag.store(1, store);
  });
  w.thread([&] {
    if (flag.load(load) == 1) testing::check(data == 1, "the data is there");
  });
  w.finally([&] { testing::check(flag.load(rlx) == 1, "it was sent"); });
}

}  // namespace

TEST_CASE("Each mutant is the program with one change in one line") {
  const verdict v = judge({[](world& w) { message(w, rel, acq); }});
  CHECK(v.count("release -> relaxed", killed) == 1);
  CHECK(v.count("acquire -> relaxed", killed) == 1);
  CHECK(v.count("store dropped", killed) == 1);
  CHECK(v.mutants.size() == 6);  // and one move of the store, two loads that are not repeated
}

TEST_CASE("A mutant that no body fails for is reported as survived") {
  // Stronger than needed: one step down changes nothing, the second one is noticed.
  const verdict v = judge({[](world& w) { message(w, sc, sc); }});
  CHECK(v.count("seq_cst -> release", survived) == 1);
  CHECK(v.count("seq_cst -> acquire", survived) == 1);
  CHECK(v.count("seq_cst -> relaxed", killed) == 2);
}

TEST_CASE("a mutant is killed if one of several bodies fails") {
  const auto blind = [](world& w) {
    atomic<int> flag{0};
    w.thread([&] { flag.fetch_add(1, rel); });
    w.finally([] {});
  };
  CHECK(judge({blind}).count("update without effect", survived) == 1);
  const auto adds = [](world& w, bool looks) {
    atomic<int> hits{0};
    for (int t = 0; t < 2; ++t) {
      w.thread([&] { hits.fetch_add(1, rlx); });
    }
    w.finally([&] { testing::check(!looks || hits.load(rlx) == 2, "none is lost"); });
  };
  const verdict v = judge({[&](world& w) { adds(w, false); }, [&](world& w) { adds(w, true); }});
  CHECK(v.count("update without effect", killed) == 1);
  CHECK(v.count("update split into load and store", killed) == 1);
}

TEST_CASE("a body that does not hold as it is, is named and not mutated") {
  const testing::mutation_report result =
      testing::mutate({[](world& w) { message(w, rlx, rlx); }});
  CHECK(result.failure.find("body 0 is not proved as it is: data race") == 0);
  CHECK(result.mutants.empty());
}

TEST_CASE("a compare_exchange is split, and its failure order weakened, by itself") {
  const auto once = [](world& w) {
    plain<int> data{0};
    atomic<int> owner{0};
    int winners = 0;
    for (int t = 1; t <= 2; ++t) {
      w.thread([&, t] {
        int nobody = 0;
        if (t == 1) data = 1;
        if (owner.compare_exchange_strong(nobody, t, rel, acq)) {
          ++winners;  // a plain object: a race if both win
        } else if (nobody == 1) {
          testing::check(data == 1, "the winner's data is there");
        }
      });
    }
    w.finally([&] { testing::check(winners == 1, "one wins"); });
  };
  const verdict v = judge({once});
  CHECK(v.count("compare_exchange split into load and store", killed) == 1);
  CHECK(v.count("compare_exchange without effect", killed) == 1);
  CHECK(v.count("failure acquire -> relaxed", killed) == 1);
  CHECK(v.count("release -> relaxed", killed) == 1);
}

TEST_CASE("a store is moved behind the next one that publishes it") {
  const auto two_stores = [](world& w) {
    atomic<int> data{0}, flag{0};
    w.thread([&] {
      data.store(1, rlx);
      flag.store(1, rel);
    });
    w.thread([&] {
      if (flag.load(acq) == 1) testing::check(data.load(rlx) == 1, "the data is there");
    });
    w.finally([] {});
  };
  CHECK(judge({two_stores}).count("store moved behind the next one", killed) == 1);
}

TEST_CASE("a second look is dropped") {
  const auto flags = [](world& w) {  // each says that it comes, then looks: not both pass
    atomic<int> first{0}, second{0};
    plain<int> inside{0};
    const auto pass = [&inside](atomic<int>& mine, atomic<int>& other) {
      if (other.load(sc) != 0) return;  // hopeless
      mine.store(1, sc);
      if (other.load(sc) == 0) inside = inside + 1;
    };
    w.thread([&] { pass(first, second); });
    w.thread([&] { pass(second, first); });
    w.finally([] {});
  };
  const verdict v = judge({flags});
  CHECK(v.count("load not repeated", killed) == 1);    // the second look
  CHECK(v.count("load not repeated", survived) == 1);  // there is nothing to repeat at the first
}

#if !defined(INTERLOCK_FRONT_B)
TEST_CASE("a notify is dropped or narrowed, a sleeper does not look") {
  namespace detail = interlock::detail;
  const auto waits = [](world& w) {
    std::atomic<std::uint32_t> word{0};
    for (int t = 0; t < 2; ++t) {
      w.thread([&] {
        while (word.load(acq) == 0) detail::park(word, 0);
      });
    }
    w.thread([&] {
      word.store(1, rel);
      detail::unpark_all(&word);
    });
    w.finally([] {});
  };
  const verdict v = judge({waits});
  CHECK(v.count("notify dropped", killed) == 1);
  CHECK(v.count("notify_all narrowed to one", killed) == 1);
  CHECK(v.count("sleeps without a look", killed) == 1);
  CHECK(v.count("store moved behind the next one", killed) == 1);  // the notify comes first
}
#endif

TEST_CASE("a loop that never loads again is killed and does not run for ever") {
  const verdict v = judge({[](world& w) {
    atomic<int> flag{0};
    w.thread([&] {
      flag.fetch_add(2, rlx);
      while (flag.load(rlx) < 3) testing::spin_hint();
    });
    w.thread([&] { flag.fetch_add(1, rlx); });
    w.finally([] {});
  }});
  CHECK(v.count("load not repeated", killed) == 1);
}
