// SPDX-License-Identifier: BSL-1.0
// Litmus tests: the outcomes that the model allows, no more and no fewer; and the number of
// executions, where it is known (GenMC --rc11 counts the same).

#include "front.hpp"

using testing::world;

namespace {

struct shared {
  atomic<int> x{0}, y{0}, z{0};
  int r[8] = {};
};

// The threads, each a function of what they share, and how many of r[] make the outcome.
template <class... Threads>
void litmus(const outcomes& allowed, std::uint64_t executions, int results, Threads... threads) {
  const testing::report report = proved([&](world& w) {
    shared s;
    (w.thread([&s, threads] { threads(s); }), ...);
    w.finally([&] {
      const int* r = s.r;
      if (results == 1) w.outcome(r[0]);
      if (results == 2) w.outcome(r[0], r[1]);
      if (results == 3) w.outcome(r[0], r[1], r[2]);
      if (results == 4) w.outcome(r[0], r[1], r[2], r[3]);
    });
  });
  CHECK(joined(seen(report)) == joined(allowed));
  CHECK(report.executions == executions);
}

void final_values(shared& s) {
  s.r[0] = s.x.load(rlx);
  s.r[1] = s.y.load(rlx);
}

outcomes all_bits(int n) {
  outcomes result;
  for (int bits = 0; bits < (1 << n); ++bits) {
    std::string text;
    for (int i = n; i-- > 0;) text += (text.empty() ? "" : " ") + std::to_string((bits >> i) & 1);
    result.insert(text);
  }
  return result;
}

outcomes all_bits_but(int n, const outcomes& forbidden) {
  outcomes result = all_bits(n);
  for (const std::string& one : forbidden) result.erase(one);
  return result;
}

}  // namespace

// ---- SB: store buffering ------------------------------------------------------------------------

namespace {
void sb(std::memory_order store, std::memory_order load, bool fences, bool allowed) {
  litmus(
      allowed ? all_bits(2) : all_bits_but(2, {"0 0"}), allowed ? 4 : 3, 2,
      [=](shared& s) {
        s.x.store(1, store);
        if (fences) fence(sc);
        s.r[0] = s.y.load(load);
      },
      [=](shared& s) {
        s.y.store(1, store);
        if (fences) fence(sc);
        s.r[1] = s.x.load(load);
      });
}
}  // namespace

TEST_CASE("SB: both may read old values unless all is seq_cst or fences are") {
  sb(rlx, rlx, false, true);
  sb(rel, acq, false, true);
  sb(sc, acq, false, true);
  sb(rel, sc, false, true);
  sb(sc, sc, false, false);
  sb(rlx, rlx, true, false);
}

TEST_CASE("SB: an acq_rel fence does not forbid both old") {
  litmus(
      all_bits(2), 4, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        fence(ar);
        s.r[0] = s.y.load(rlx);
      },
      [](shared& s) {
        s.y.store(1, rlx);
        fence(ar);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("SB: a seq_cst fence on one side alone does not forbid both old") {
  litmus(
      all_bits(2), 4, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        fence(sc);
        s.r[0] = s.y.load(rlx);
      },
      [](shared& s) {
        s.y.store(1, sc);
        s.r[1] = s.x.load(acq);
      });
}

TEST_CASE("SB: a seq_cst fence on one side and seq_cst accesses on the other forbid both old") {
  const auto fenced = [](shared& s) {
    s.x.store(1, rlx);
    fence(sc);
    s.r[0] = s.y.load(rlx);
  };
  const auto accesses = [](shared& s) {
    s.y.store(1, sc);
    s.r[1] = s.x.load(sc);
  };
  litmus(all_bits_but(2, {"0 0"}), 3, 2, fenced, accesses);
}

TEST_CASE("SB: updates of one object in between order it, acquire and release") {
  litmus(
      all_bits_but(2, {"0 0"}), 4, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.z.fetch_add(1, ar);
        s.r[0] = s.y.load(rlx);
      },
      [](shared& s) {
        s.y.store(1, rlx);
        s.z.fetch_add(1, ar);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("SB: a failed compare_exchange may read an old value") {
  const auto by_cas = [](std::memory_order order) {
    return [order](shared& s) {
      s.y.store(1, rel);
      int expected = 5;
      (void)s.x.compare_exchange_strong(expected, 6, order, order);
      s.r[1] = expected;
    };
  };
  const auto left = [](shared& s) {
    s.x.store(1, rel);
    int expected = 5;
    (void)s.y.compare_exchange_strong(expected, 6, acq, acq);
    s.r[0] = expected;
  };
  litmus(all_bits(2), 4, 2, left, by_cas(acq));
}

// ---- MP: message passing ------------------------------------------------------------------------

namespace {
void mp(std::memory_order store, std::memory_order load, bool allowed) {
  litmus(
      allowed ? all_bits(2) : all_bits_but(2, {"1 0"}), allowed ? 4 : 3, 2,
      [=](shared& s) {
        s.x.store(1, rlx);
        s.y.store(1, store);
      },
      [=](shared& s) {
        s.r[0] = s.y.load(load);
        s.r[1] = s.x.load(rlx);
      });
}
}  // namespace

TEST_CASE("MP: release and acquire are both needed") {
  mp(rlx, rlx, true);
  mp(rel, rlx, true);
  mp(rlx, acq, true);
  mp(rel, acq, false);
  mp(sc, sc, false);
}

TEST_CASE("MP: fences serve as well") {
  const auto with = [](std::memory_order first, std::memory_order second, bool allowed) {
    litmus(
        allowed ? all_bits(2) : all_bits_but(2, {"1 0"}), allowed ? 4 : 3, 2,
        [=](shared& s) {
          s.x.store(1, rlx);
          fence(first);
          s.y.store(1, rlx);
        },
        [=](shared& s) {
          s.r[0] = s.y.load(rlx);
          fence(second);
          s.r[1] = s.x.load(rlx);
        });
  };
  with(rel, acq, false);
  with(ar, ar, false);
  with(sc, sc, false);
  with(acq, acq, true);
  with(rel, rel, true);
}

TEST_CASE("MP: a release store reaches an acquire fence, and a release fence an acquire load") {
  litmus(
      all_bits_but(2, {"1 0"}), 3, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.y.store(1, rel);
      },
      [](shared& s) {
        s.r[0] = s.y.load(rlx);
        fence(acq);
        s.r[1] = s.x.load(rlx);
      });
  litmus(
      all_bits_but(2, {"1 0"}), 3, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        fence(rel);
        s.y.store(1, rlx);
      },
      [](shared& s) {
        s.r[0] = s.y.load(acq);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("MP: a failed compare_exchange acquires by its failure order") {
  const auto with = [](std::memory_order failure, bool allowed) {
    litmus(
        allowed ? all_bits(2) : all_bits_but(2, {"1 0"}), allowed ? 4 : 3, 2,
        [](shared& s) {
          s.x.store(1, rlx);
          s.y.store(1, rel);
        },
        [=](shared& s) {
          int expected = 9;
          (void)s.y.compare_exchange_strong(expected, 3, sc, failure);
          s.r[0] = expected;
          s.r[1] = s.x.load(rlx);
        });
  };
  with(rlx, true);
  with(acq, false);
}

// ---- release sequences --------------------------------------------------------------------------

TEST_CASE("release sequence: updates by anyone continue it") {
  litmus(
      {"0 0", "0 1", "1 0", "1 1", "2 1"}, 9, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.y.store(1, rel);
      },
      [](shared& s) { s.y.fetch_add(1, rlx); },
      [](shared& s) {
        s.r[0] = s.y.load(acq);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("release sequence: a later relaxed store of the same thread does not continue it") {
  litmus(
      {"0 0", "0 1", "1 1", "2 0", "2 1"}, 5, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.y.store(1, rel);
        s.y.store(2, rlx);
      },
      [](shared& s) {
        s.r[0] = s.y.load(acq);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("release sequence: an update of a relaxed store carries nothing") {
  litmus(
      {"0 0", "0 1", "1 0", "1 1", "2 0", "2 1"}, 12, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.y.store(1, rlx);
      },
      [](shared& s) { s.y.fetch_add(1, ar); },
      [](shared& s) {
        s.r[0] = s.y.load(acq);
        s.r[1] = s.x.load(rlx);
      });
}

// ---- coherence ----------------------------------------------------------------------------------

TEST_CASE("CoRR: one object is never seen backwards") {
  litmus(
      {"0 0", "0 1", "0 2", "1 1", "1 2", "2 2"}, 6, 2,
      [](shared& s) {
        s.x.store(1, rlx);
        s.x.store(2, rlx);
      },
      [](shared& s) {
        s.r[0] = s.x.load(rlx);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("CoRR2: two readers agree on the order of two stores") {
  const outcomes none;
  const auto report = proved([](world& w) {
    shared s;
    w.thread([&] { s.x.store(1, rlx); });
    w.thread([&] { s.x.store(2, rlx); });
    for (int i = 0; i < 2; ++i) {
      w.thread([&s, i] {
        s.r[2 * i] = s.x.load(rlx);
        s.r[2 * i + 1] = s.x.load(rlx);
      });
    }
    w.finally([&] {
      const bool one_way = s.r[0] == 1 && s.r[1] == 2 && s.r[2] == 2 && s.r[3] == 1;
      const bool other = s.r[0] == 2 && s.r[1] == 1 && s.r[2] == 1 && s.r[3] == 2;
      testing::check(!one_way && !other, "the readers agree");
    });
  });
  CHECK(report.executions == 72);
}

TEST_CASE("CoWW, CoWR, CoRW: a thread's own stores and reads keep their order") {
  litmus({"2"}, 1, 1, [](shared& s) {
    s.x.store(1, rlx);
    s.x.store(2, rlx);
    s.r[0] = s.x.load(rlx);
  });
  litmus(
      {"1", "2"}, 3, 1, [](shared& s) { s.x.store(2, rlx); },
      [](shared& s) {
        s.x.store(1, rlx);
        s.r[0] = s.x.load(rlx);
      });
  litmus(
      {"0", "2"}, 3, 1, [](shared& s) { s.x.store(2, rlx); },
      [](shared& s) {
        s.r[0] = s.x.load(rlx);
        s.x.store(1, rlx);
      });
}

TEST_CASE("history: a read may see the fifth newest store") {
  litmus(
      {"0", "1", "2", "3", "4", "5"}, 6, 1,
      [](shared& s) {
        for (int i = 1; i <= 5; ++i) s.x.store(i, rlx);
      },
      [](shared& s) { s.r[0] = s.x.load(rlx); });
}

// ---- order of stores ----------------------------------------------------------------------------

TEST_CASE("2+2W: both first stores may win unless seq_cst") {
  const auto with = [](std::memory_order order, const outcomes& allowed, std::uint64_t n) {
    const auto report = proved([=](world& w) {
      shared s;
      w.thread([&] {
        s.x.store(1, order);
        s.y.store(2, order);
      });
      w.thread([&] {
        s.y.store(1, order);
        s.x.store(2, order);
      });
      w.finally([&] {
        final_values(s);
        w.outcome(s.r[0], s.r[1]);
      });
    });
    CHECK(joined(seen(report)) == joined(allowed));
    CHECK(report.executions == n);
  };
  with(rlx, {"1 1", "1 2", "2 1", "2 2"}, 4);
  with(rel, {"1 1", "1 2", "2 1", "2 2"}, 4);
  with(sc, {"1 2", "2 1", "2 2"}, 3);
}

TEST_CASE("S: a release store may not be overtaken by what its reader writes") {
  const auto with = [](std::memory_order store, std::memory_order load, const outcomes& allowed) {
    const auto report = proved([=](world& w) {
      shared s;
      w.thread([&] {
        s.x.store(2, rlx);
        s.y.store(1, store);
      });
      w.thread([&] {
        s.r[0] = s.y.load(load);
        s.x.store(1, rlx);
      });
      w.finally([&] { w.outcome(s.r[0], s.x.load(rlx)); });
    });
    CHECK(joined(seen(report)) == joined(allowed));
    CHECK(report.executions == allowed.size());
  };
  with(rel, acq, {"0 1", "0 2", "1 1"});
  with(rlx, acq, {"0 1", "0 2", "1 1", "1 2"});
}

TEST_CASE("R: seq_cst fences order a store against a load") {
  const auto with = [](bool fences, std::size_t n) {
    const auto report = proved([=](world& w) {
      shared s;
      w.thread([&] {
        s.x.store(1, rlx);
        if (fences) fence(sc);
        s.y.store(1, rlx);
      });
      w.thread([&] {
        s.y.store(2, rlx);
        if (fences) fence(sc);
        s.r[0] = s.x.load(rlx);
      });
      w.finally([&] { w.outcome(s.y.load(rlx), s.r[0]); });
    });
    CHECK(report.executions == n);
    CHECK(seen(report).count("2 0") == (fences ? 0 : 1));
  };
  with(false, 4);
  with(true, 3);
}

// ---- load buffering -----------------------------------------------------------------------------

TEST_CASE("LB: out of thin air and load buffering are outside of RC11") {
  litmus(
      all_bits_but(2, {"1 1"}), 3, 2,
      [](shared& s) {
        s.r[0] = s.y.load(rlx);
        s.x.store(1, rlx);
      },
      [](shared& s) {
        s.r[1] = s.x.load(rlx);
        s.y.store(1, rlx);
      });
}

// ---- three and four threads ---------------------------------------------------------------------

namespace {
void iriw(std::memory_order store, std::memory_order load, bool fences, bool allowed) {
  litmus(
      allowed ? all_bits(4) : all_bits_but(4, {"1 0 1 0"}), allowed ? 16 : 15, 4,
      [=](shared& s) { s.x.store(1, store); }, [=](shared& s) { s.y.store(1, store); },
      [=](shared& s) {
        s.r[0] = s.x.load(load);
        if (fences) fence(sc);
        s.r[1] = s.y.load(load);
      },
      [=](shared& s) {
        s.r[2] = s.y.load(load);
        if (fences) fence(sc);
        s.r[3] = s.x.load(load);
      });
}
}  // namespace

TEST_CASE("IRIW: readers may disagree on independent stores unless seq_cst") {
  iriw(rlx, rlx, false, true);
  iriw(rel, acq, false, true);
  iriw(sc, acq, false, true);
  iriw(sc, sc, false, false);
  iriw(rlx, rlx, true, false);
}

TEST_CASE("WRC: what was read is passed on by release and acquire") {
  const auto with = [](std::memory_order store, std::memory_order load, bool allowed) {
    litmus(
        allowed ? all_bits(3) : all_bits_but(3, {"1 1 0"}), allowed ? 8 : 7, 3,
        [](shared& s) { s.x.store(1, rlx); },
        [=](shared& s) {
          s.r[0] = s.x.load(rlx);
          s.y.store(1, store);
        },
        [=](shared& s) {
          s.r[1] = s.y.load(load);
          s.r[2] = s.x.load(rlx);
        });
  };
  with(rlx, rlx, true);
  with(rel, acq, false);
}

TEST_CASE("ISA2: release and acquire are transitive over another object") {
  const auto with = [](std::memory_order middle, bool allowed) {
    litmus(
        allowed ? all_bits(3) : all_bits_but(3, {"1 1 0"}), allowed ? 8 : 7, 3,
        [](shared& s) {
          s.x.store(1, rlx);
          s.y.store(1, rel);
        },
        [=](shared& s) {
          s.r[0] = s.y.load(acq);
          s.z.store(1, middle);
        },
        [](shared& s) {
          s.r[1] = s.z.load(acq);
          s.r[2] = s.x.load(rlx);
        });
  };
  with(rel, false);
  with(rlx, true);
}

TEST_CASE("RWC: a reader and a writer may disagree unless seq_cst fences separate them") {
  const auto with = [](bool fences) {
    litmus(
        fences ? all_bits_but(3, {"1 0 0"}) : all_bits(3), fences ? 7 : 8, 3,
        [](shared& s) { s.x.store(1, rlx); },
        [=](shared& s) {
          s.r[0] = s.x.load(rlx);
          if (fences) fence(sc);
          s.r[1] = s.y.load(rlx);
        },
        [=](shared& s) {
          s.y.store(1, rlx);
          if (fences) fence(sc);
          s.r[2] = s.x.load(rlx);
        });
  };
  with(false);
  with(true);
}

TEST_CASE("W+RWC: seq_cst fences after a release chain") {
  const auto with = [](bool fences) {
    litmus(
        fences ? all_bits_but(3, {"1 0 0"}) : all_bits(3), fences ? 7 : 8, 3,
        [](shared& s) {
          s.x.store(1, rlx);
          s.z.store(1, rel);
        },
        [=](shared& s) {
          s.r[0] = s.z.load(acq);
          if (fences) fence(sc);
          s.r[1] = s.y.load(rlx);
        },
        [=](shared& s) {
          s.y.store(1, rlx);
          if (fences) fence(sc);
          s.r[2] = s.x.load(rlx);
        });
  };
  with(false);
  with(true);
}

TEST_CASE("Z6.U: seq_cst accesses mixed with others order less than C++11 said") {
  // P0668: r0 == 1, r1 == 3, r2 == 0 was forbidden by C++11 and is allowed since C++20.
  const auto report = proved([](world& w) {
    shared s;
    w.thread([&] {
      s.x.store(1, sc);
      s.y.store(1, rel);
    });
    w.thread([&] {
      s.r[0] = s.y.fetch_add(1, sc);
      s.r[1] = s.y.load(rlx);
    });
    w.thread([&] {
      s.y.store(3, sc);
      s.r[2] = s.x.load(sc);
    });
    w.finally([&] { w.outcome(s.r[0], s.r[1], s.r[2]); });
  });
  CHECK(seen(report).count("1 3 0") == 1);
}

TEST_CASE("parking lot: a release store and a seq_cst load of another object do not exclude both") {
  const auto with = [](bool fixed) {
    litmus(
        fixed ? all_bits_but(2, {"0 0"}) : all_bits(2), fixed ? 3 : 4, 2,
        [=](shared& s) {
          s.x.store(1, rel);
          if (fixed) fence(sc);
          s.r[0] = s.y.load(sc);
        },
        [](shared& s) {
          s.y.fetch_add(1, sc);
          s.r[1] = s.x.load(sc);
        });
  };
  with(false);
  with(true);
}

// ---- updates ------------------------------------------------------------------------------------

TEST_CASE("updates never see the same value") {
  litmus(
      {"0 1", "1 0"}, 2, 2, [](shared& s) { s.r[0] = s.x.fetch_add(1, rlx); },
      [](shared& s) { s.r[1] = s.x.fetch_add(1, rlx); });
  litmus(
      {"0 1", "2 0"}, 2, 2, [](shared& s) { s.r[0] = s.x.exchange(1, rlx); },
      [](shared& s) { s.r[1] = s.x.exchange(2, rlx); });
}

TEST_CASE("one compare_exchange wins") {
  litmus(
      {"0 1", "1 0"}, 2, 2,
      [](shared& s) {
        int expected = 0;
        s.r[0] = s.x.compare_exchange_strong(expected, 1, rlx) ? 1 : 0;
      },
      [](shared& s) {
        int expected = 0;
        s.r[1] = s.x.compare_exchange_strong(expected, 1, rlx) ? 1 : 0;
      });
}

TEST_CASE("no store comes between an update and what it read") {
  litmus(
      {"0 1", "0 5", "5 6"}, 3, 2, [](shared& s) { s.x.store(5, rlx); },
      [](shared& s) {
        s.r[0] = s.x.fetch_add(1, rlx);
        s.r[1] = s.x.load(rlx);
      });
}

TEST_CASE("all widths and operations compute as std::atomic does") {
  const auto report = proved([](world& w) {
    atomic<unsigned char> byte{250};
    atomic<unsigned short> half{0xF0F0};
    atomic<long long> wide{-5};
    atomic<int> word{0};
    w.thread([&] {
      testing::check(byte.fetch_add(10, rlx) == 250 && byte.load(rlx) == 4, "8 bits wrap");
      testing::check(half.fetch_and(0xFF00, rlx) == 0xF0F0 && half.load(rlx) == 0xF000, "and");
      testing::check(half.fetch_or(0x0001, rlx) == 0xF000 && half.load(rlx) == 0xF001, "or");
      testing::check(half.fetch_xor(0xF001, rlx) == 0xF001 && half.load(rlx) == 0, "xor");
      testing::check(wide.fetch_sub(10, rlx) == -5 && wide.load(rlx) == -15, "64 bits");
      testing::check(word.exchange(-1, rlx) == 0 && word.fetch_sub(1, rlx) == -1, "32 bits");
    });
    w.finally([&] { testing::check(word.load(rlx) == -2, "the last value"); });
  });
  CHECK(report.executions == 1);
}
