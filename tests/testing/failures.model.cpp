// SPDX-License-Identifier: BSL-1.0
// What the explorer has to find, and what it must not report: one case for each mistake that an
// explorer can make or that it is there to see.

#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "front.hpp"

#include <interlock/detail/parking.hpp>

using testing::world;

namespace {

bool says(const testing::report& report, const char* words) {
  INFO(report.text());
  return report.failure.find(words) != std::string::npos;
}

[[gnu::noinline]] void throwing() { throw std::runtime_error("broken"); }

}  // namespace

TEST_CASE("a check that does not hold in one of the executions is found, with its line") {
  const auto report = failing([](world& w) {
    atomic<int> x{0};
    for (int i = 0; i < 2; ++i) w.thread([&] { x.store(x.load(sc) + 1, sc); });
    w.finally([&] { testing::check(x.load(rlx) == 2, "no update is lost"); });
  });
  CHECK(says(report, "no update is lost"));
  CHECK(says(report, "failures.model.cpp:"));
  CHECK(report.trace.find("thread 2") != std::string::npos);
  CHECK_FALSE(report.proved());
}

TEST_CASE("the steps of a failing execution are an interleaving, with the notes where they belong") {
  const auto report = failing([](world& w) {
    atomic<int> x{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        const int seen = x.load(sc);
        testing::note(seen == 0 ? "reads 0" : "reads 1");
        x.store(seen + 1, sc);
        testing::note("writes");
      });
    }
    w.finally([&] { testing::check(x.load(rlx) == 2, "no update is lost"); });
  });
  CHECK(report.interleaved);
  std::string order;
  for (const testing::step& one : report.steps) {
    CHECK_FALSE(one.place.empty());
    if (one.note) order += std::to_string(one.thread) + " " + one.text + ", ";
  }
  CAPTURE(report.trace);
  CHECK((order == "1 reads 0, 2 reads 0, 1 writes, 2 writes, " ||
         order == "1 reads 0, 2 reads 0, 2 writes, 1 writes, " ||
         order == "2 reads 0, 1 reads 0, 1 writes, 2 writes, " ||
         order == "2 reads 0, 1 reads 0, 2 writes, 1 writes, "));
  CHECK(report.trace.find("(old)") == std::string::npos);
  CHECK(report.trace.find("reads 0") != std::string::npos);
}

TEST_CASE("steps that no interleaving gives say which value was old") {
  const auto report = failing([](world& w) {
    atomic<int> x{0}, y{0};
    int got[2] = {};
    w.thread([&] {
      x.store(1, rlx);
      got[0] = y.load(rlx);
    });
    w.thread([&] {
      y.store(1, rlx);
      got[1] = x.load(rlx);
    });
    w.finally([&] { testing::check(got[0] + got[1] != 0, "one sees the other"); });
  });
  CHECK_FALSE(report.interleaved);
  CHECK(report.trace.find("(old)") != std::string::npos);
}

TEST_CASE("a data race on a plain object is found") {
  CHECK(says(failing([](world& w) {
               plain<int> x{0};
               w.thread([&] { x = 1; });
               w.thread([&] { x = 2; });
               w.finally([&] { testing::check(x != 0, "written"); });
             }),
             "data race"));
}

TEST_CASE("a plain object published by a relaxed store is a data race, by a release store is not") {
  const auto publish = [](std::memory_order store) {
    return [store](world& w) {
      plain<int> data{0};
      atomic<int> ready{0};
      w.thread([&] {
        data = 42;
        ready.store(1, store);
      });
      w.thread([&] {
        if (ready.load(acq) == 1) testing::check(data == 42, "the data is there");
      });
      w.finally([] {});
    };
  };
  CHECK(says(failing(publish(rlx)), "data race"));
  CHECK(proved(publish(rel)).executions == 2);
}

TEST_CASE("fences publish a plain object: no race; one fence alone is not enough") {
  const auto publish = [](bool first, bool second) {
    return [first, second](world& w) {
      plain<int> data{0};
      atomic<int> ready{0};
      w.thread([&, first] {
        data = 42;
        if (first) fence(rel);
        ready.store(1, rlx);
      });
      w.thread([&, second] {
        const bool is_ready = ready.load(rlx) == 1;
        if (second) fence(acq);
        if (is_ready) testing::check(data == 42, "the data is there");
      });
      w.finally([] {});
    };
  };
  proved(publish(true, true));
  CHECK(says(failing(publish(true, false)), "data race"));
  CHECK(says(failing(publish(false, true)), "data race"));
}

TEST_CASE("an object that is published before its atomic member is made is a data race") {
  struct node {
    atomic<int> value{7};
  };
  const auto publish = [](std::memory_order store) {
    return [store](world& w) {
      atomic<node*> head{nullptr};
      w.thread([&] { head.store(new node, store); });
      w.thread([&] {
        node* const n = head.load(acq);
        if (n != nullptr) testing::check(n->value.load(rlx) == 7, "made");
      });
      w.finally([&] { delete head.load(rlx); });
    };
  };
  CHECK(says(failing(publish(rlx)), "data race"));
  proved(publish(rel));
}

TEST_CASE("a relaxed store of the same thread breaks the release sequence: the race is found") {
  CHECK(says(failing([](world& w) {
               plain<int> data{0};
               atomic<int> ready{0};
               w.thread([&] {
                 data = 1;
                 ready.store(1, rel);
                 ready.store(2, rlx);
               });
               w.thread([&] {
                 if (ready.load(acq) == 2) testing::check(data == 1, "seen");
               });
               w.finally([] {});
             }),
             "data race"));
}

TEST_CASE("use after free, double free and leak are found") {
  CHECK(says(failing([](world& w) {
               auto* const x = new atomic<int>(0);
               atomic<int> done{0};
               w.thread([&] { x->store(1, rlx); });
               w.thread([&] {
                 if (done.load(rlx) == 0) delete x;
               });
               w.finally([] {});
             }),
             "free"));
  CHECK(says(failing([](world& w) {
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
             }),
             "use after free"));
  CHECK(says(failing([](world& w) {
               atomic<int*> shared_pointer{new int(1)};
               for (int i = 0; i < 2; ++i) {
                 w.thread([&] {
                   int* const mine = shared_pointer.load(acq);
                   shared_pointer.store(nullptr, rel);
                   delete mine;
                 });
               }
               w.finally([] {});
             }),
             "double free"));
  const auto leaking = [](world& w) {
    auto* volatile kept = new int(1);
    static_cast<void>(kept);
    w.thread([] {});
    w.finally([] {});
  };
  CHECK(says(failing(leaking), "leak"));
  testing::options how;
  how.leaks = false;
  CHECK(testing::explore(how, leaking).proved());
}

TEST_CASE("the last owner may free: a reference count with release and acquire is no race") {
  struct counted {
    plain<int> value{0};
    atomic<int> owners{2};
  };
  const auto with = [](std::memory_order order) {
    return [order](world& w) {
      auto* const object = new counted;
      for (int i = 0; i < 2; ++i) {
        w.thread([object, order] {
          testing::check(object->value == 0, "alive");
          if (object->owners.fetch_sub(1, order) == 1) delete object;
        });
      }
      w.finally([] {});
    };
  };
  proved(with(ar));
  CHECK_FALSE(failing(with(rel)).failure.empty());
  CHECK_FALSE(failing(with(acq)).failure.empty());
}

TEST_CASE("an uncaught exception is found, a caught one is the code's own affair") {
  CHECK(says(failing([](world& w) {
               w.thread([] { throwing(); });
               w.finally([] {});
             }),
             "uncaught exception: broken"));
}

TEST_CASE("abort, a failed assert and std::terminate are found") {
  CHECK(says(failing([](world& w) {
               w.thread([] { std::abort(); });
               w.finally([] {});
             }),
             "abort() was called"));
  CHECK(says(failing([](world& w) {
               w.thread([]() noexcept { throwing(); });
               w.finally([] {});
             }),
             "std::terminate"));
}

TEST_CASE("a spinning thread waits: a lock with a spin loop ends in every execution") {
  const auto report = proved([](world& w) {
    atomic<int> lock{0};
    plain<int> inside{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        for (;;) {
          int expected = 0;
          if (lock.compare_exchange_strong(expected, 1, acq, rlx)) break;
          testing::spin_hint();
        }
        inside = inside + 1;
        lock.store(0, rel);
      });
    }
    w.finally([&] { testing::check(inside == 2, "both were inside"); });
  });
  // 2, or 4 if the compiler made two places of the first round and the others.
  CHECK((report.executions == 2 || report.executions == 4));
  CHECK(report.blocked > 0);
}

TEST_CASE("a spin on what nobody stores is a deadlock") {
  CHECK(says(failing([](world& w) {
               atomic<int> flag{0};
               w.thread([&] {
                 while (flag.load(acq) == 0) testing::spin_hint();
               });
               w.thread([&] { flag.store(0, rel); });
               w.finally([] {});
             }),
             "deadlock"));
}

TEST_CASE("two locks in opposite order are a deadlock") {
  CHECK(says(failing(opposite_locks), "deadlock"));
}

TEST_CASE("a loop that never waits is named, not run forever") {
  CHECK(says(failing([](world& w) {
               atomic<int> x{0};
               w.thread([&] {
                 for (;;) x.fetch_add(1, rlx);
               });
               w.finally([] {});
             }),
             "unbounded loop"));
}

TEST_CASE("a body that does not do the same again is named") {
  static int calls = 0;
  calls = 0;
  CHECK(says(failing([](world& w) {
               atomic<int> x{0}, y{0};
               ++calls;
               const bool other = calls > 1;
               w.thread([&, other] { (other ? y : x).store(1, rlx); });
               w.thread([&] { (void)x.load(rlx); });
               w.finally([] {});
             }),
             "deterministic"));
}

TEST_CASE("a body that leaves its threads behind, and too many threads, are named") {
  CHECK(says(failing([](world& w) { w.thread([] {}); }), "world.finally"));
  CHECK(says(failing([](world& w) {
               for (int i = 0; i < 8; ++i) w.thread([] {});
               w.finally([] {});
             }),
             "more than 7 threads"));
}

TEST_CASE("choose explores every choice") {
  const auto report = proved([](world& w) {
    unsigned got = 9;
    w.thread([&] { got = testing::choose(3); });
    w.finally([&] { w.outcome(got); });
  });
  CHECK(joined(seen(report)) == "0, 1, 2");
  CHECK(report.executions == 3);
}

TEST_CASE("memory that an atomic leaves may be used for another") {
  proved([](world& w) {
    alignas(8) static unsigned char memory[sizeof(atomic<int>)];
    atomic<int> other{0};
    w.thread([&] {
      for (int i = 1; i < 3; ++i) {
        auto* const x = ::new (static_cast<void*>(memory)) atomic<int>(i);
        testing::check(x->load(rlx) == i, "the value of its constructor");
        x->store(i + 5, rlx);
        other.store(x->load(rlx), rlx);
        x->~atomic<int>();
      }
    });
    w.thread([&] { (void)other.load(rlx); });
    w.finally([&] { testing::check(other.load(rlx) == 7, "the last one's value"); });
  });
}

TEST_CASE("a budget of runs ends the exploration without a claim") {
  testing::options how;
  how.max_runs = 3;
  const auto report = testing::explore(how, [](world& w) {
    atomic<int> x{0};
    for (int i = 0; i < 4; ++i) w.thread([&] { x.fetch_add(1, rlx); });
    w.finally([] {});
  });
  CHECK_FALSE(report.exhausted);
  CHECK_FALSE(report.proved());
  CHECK(report.failure.empty());
}

// ---- parking ------------------------------------------------------------------------------------

#if !defined(INTERLOCK_FRONT_B)  // a parking word is a std::atomic

namespace {
namespace hooks = interlock::detail;
using word = std::atomic<std::uint32_t>;
}  // namespace

TEST_CASE("park: an unpark after the store wakes; a store alone is a lost wake-up") {
  const auto with = [](bool unparks) {
    return [unparks](world& w) {
      word flag{0};
      w.thread([&] {
        while (flag.load(acq) == 0) hooks::park(flag, 0);
      });
      w.thread([&, unparks] {
        flag.store(1, rel);
        if (unparks) hooks::unpark_all(&flag);
      });
      w.finally([] {});
    };
  };
  proved(with(true));
  CHECK(says(failing(with(false)), "parked and nobody will unpark it"));
}

TEST_CASE("park: unpark before the store is a lost wake-up") {
  CHECK(says(failing([](world& w) {
               word flag{0};
               w.thread([&] {
                 while (flag.load(acq) == 0) hooks::park(flag, 0);
               });
               w.thread([&] {
                 hooks::unpark_all(&flag);
                 flag.store(1, rel);
               });
               w.finally([] {});
             }),
             "deadlock"));
}

TEST_CASE("park: unpark_one for two sleepers is a lost wake-up, unpark_all is not") {
  const auto with = [](bool all) {
    return [all](world& w) {
      word flag{0};
      for (int i = 0; i < 2; ++i) {
        w.thread([&] {
          while (flag.load(acq) == 0) hooks::park(flag, 0);
        });
      }
      w.thread([&, all] {
        flag.store(1, rel);
        all ? hooks::unpark_all(&flag) : hooks::unpark_one(&flag);
      });
      w.finally([] {});
    };
  };
  proved(with(true));
  CHECK(says(failing(with(false)), "deadlock"));
}

TEST_CASE("park: a waiter that takes a wake-up for the event is found with spurious wake-ups") {
  const auto body = [](world& w) {
    word flag{0};
    w.thread([&] {
      if (flag.load(acq) == 0) hooks::park(flag, 0);  // no loop
      testing::check(flag.load(acq) == 1, "the event has come");
    });
    w.thread([&] {
      flag.store(1, rel);
      hooks::unpark_all(&flag);
    });
    w.finally([] {});
  };
  testing::options how;
  how.spurious_wakeups = 1;
  CHECK(says(testing::explore(how, body), "the event has come"));
}

TEST_CASE("unpark touches no memory: the word may be gone") {
  proved([](world& w) {
    auto* const flag = new word(0);
    w.thread([&] {
      while (flag->load(acq) == 0) hooks::park(*flag, 0);
      delete flag;
    });
    w.thread([&] {
      const word* const address = flag;
      flag->store(1, rel);
      hooks::unpark_all(address);
    });
    w.finally([] {});
  });
}

TEST_CASE("notifying through an object that the waiter may have destroyed is found") {
  CHECK(says(failing([](world& w) {
               auto* const flag = new word(0);
               w.thread([&] {
                 while (flag->load(acq) == 0) hooks::park(*flag, 0);
                 delete flag;
               });
               w.thread([&] {
                 flag->store(1, rel);
                 (void)flag->load(rlx);  // as a condition variable would
                 hooks::unpark_all(flag);
               });
               w.finally([] {});
             }),
             "free"));
}

// ---- what the compiler's instrumentation alone can see ------------------------------------------

TEST_CASE("a race inside a standard container is found") {
  CHECK(says(failing([](world& w) {
               std::vector<int> list;
               w.thread([&] { list.push_back(1); });
               w.thread([&] { testing::check(list.size() < 2, "few"); });
               w.finally([] {});
             }),
             "data race"));
}

TEST_CASE("each explored thread has its own thread_local variables") {
  static thread_local int mine = 3;
  const auto report = proved([](world& w) {
    atomic<int> x{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        testing::check(mine == 3, "initialised for each thread");
        mine += 1;
        x.fetch_add(1, rlx);
        testing::check(mine == 4, "nobody else changed it");
      });
    }
    w.finally([] {});
  });
  CHECK(report.executions == 2);
  CHECK(mine == 3);
}

#endif
