// SPDX-License-Identifier: BSL-1.0
// The mistakes that explorers made before this one, each with the test that fails on an engine with
// that mistake. seeded_engines.py seeds the mistakes and runs these cases; the numbers are its.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#if !defined(INTERLOCK_FRONT_B)
#include <coroutine>
#endif

#include "litmus.hpp"

#include <interlock/detail/parking.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/order_monitors.hpp>
#include <interlock/testing/specifications.hpp>

using testing::world;

namespace {

void holds(const char* name, const char* code, const char* watched, const char* expected) {
  litmus::verify(litmus::family{name, code, watched, {}}, litmus::variant{"", expected});
}

bool says(const testing::report& report, const char* words) {
  INFO(report.text());
  return report.failure.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("pitfall 1: seq_cst neither stronger nor weaker than C++20 says") {
  const char* const sb = "x.sc=1; a=y.sc | y.sc=1; b=x.sc";
  holds("too weak: accesses", sb, "a b", "not 0 0");
  holds("too weak: fences", "x.rlx=1; F.sc; a=y.rlx | y.rlx=1; F.sc; b=x.rlx", "a b", "not 0 0");
  holds("too weak: fences and readers",
        "x.rlx=1 | y.rlx=1 | a=x.rlx; F.sc; b=y.rlx | c=y.rlx; F.sc; d=x.rlx", "a b c d",
        "not 1 0 1 0");
  holds("too weak: a chain between accesses",
        "x.sc=1; z.rel=1 | a=z.acq; b=y.sc | y.sc=1; c=x.sc", "a b c", "not 1 0 0");
  holds("too strong: C++11 forbade this", "x.sc=1 | y.sc=1 | a=x.acq; b=y.sc | c=y.acq; d=x.sc",
        "a b c d", "all");
  holds("too strong: an access is no fence", "x.sc=1; a=y.rlx | y.sc=1; b=x.rlx", "a b", "all");
  holds("too strong: updates", "x.sc += 1; a=y.rlx | y.sc += 1; b=x.rlx", "a b", "all");
}

TEST_CASE("pitfall 2: the order of stores is not that in which they are executed") {
  holds("2+2W", "x.rlx=1; y.rlx=2 | y.rlx=1; x.rlx=2", "x y", "all");
  holds("the last store", "x.rlx=1 | x.rlx=2; y.rel=1 | a=y.acq", "a x", "0 1, 0 2, 1 1, 1 2");
  // An MPSC queue whose exchange does not release: the link of the next producer is overwritten.
  holds("the node's own first store", "x.rlx=5; y.rlx := 1 | a=y.rlx := 2; if a==1: x.rlx=7", "a x",
        "0 5, 1 5, 1 7");
}

TEST_CASE("pitfall 3: each pair of dependent events is tried in both orders, once") {
  holds("two stores and a reader", "x.rlx=1 | x.rlx=2 | a=x.rlx", "a x",
        "0 1, 0 2, 1 1, 1 2, 2 1, 2 2");
  holds("a reader before its writer", "a=x.rlx | x.rlx=1", "a", "all");
  holds("readers of two", "a=x.rlx; b=y.rlx | x.rlx=1; y.rlx=1 | c=y.rlx; d=x.rlx", "a b c d",
        "all");
  holds("updates", "a=x.rlx += 1 | b=x.rlx += 1 | c=x.rlx += 1", "a b c",
        "0 1 2, 0 2 1, 1 0 2, 1 2 0, 2 0 1, 2 1 0");
  holds("no store between the halves of an update", "x.rlx=5 | a=x.rlx += 1", "a x", "0 5, 5 6");
  holds("what was read decides what is done", "a=x.rlx; if a==1: y.rlx=1 | x.rlx=1; b=y.rlx", "a b",
        "0 0, 1 0, 1 1");
}

TEST_CASE("pitfall 4: a failed compare_exchange may read an old value") {
  holds("store buffering", "x.rel=1; a=y.acq ? 9 : 8 | y.rel=1; b=x.acq ? 9 : 8", "a b",
        "0 0, 0 1, 1 0, 1 1");
  holds("one writer", "x.rlx=1; x.rlx=2; y.rel=1 | x.rlx ? 9 : 8; b=y.acq; a=x.rlx ? 9 : 8", "a b",
        "0 0, 1 0, 2 0, 2 1");
}

TEST_CASE("pitfall 5: a store of the same thread ends a release sequence, an update does not") {
  holds("P0982", "x.rlx=1; y.rel=1; y.rlx=2 | a=y.acq; b=x.rlx", "a b", "0 0, 0 1, 1 1, 2 0, 2 1");
  holds("the race", "p=1; x.rel=1; x.rlx=2 | a=x.acq; if a==2: b=p", "", "race");
  holds("an update", "x.rlx=1; y.rel=1 | y.rlx += 1 | a=y.acq; b=x.rlx", "a b",
        "0 0, 0 1, 1 0, 1 1, 2 1");
}

TEST_CASE("pitfall 6: histories and threads are as long and as many as the program's") {
  const auto old_values = proved([](world& w) {
    atomic<int> x{0};
    int last = 0;
    w.thread([&] {
      for (int i = 1; i <= 40; ++i) x.store(i, rlx);
    });
    w.thread([&] { last = x.load(rlx); });
    w.finally([&] { w.outcome(last); });
  });
  CHECK(old_values.executions == 41);
  CHECK(old_values.outcomes.size() == 41);
  const auto threads = proved([](world& w) {
    atomic<int> x{0};
    int got[7] = {};
    for (int& mine : got) w.thread([&] { mine = x.load(rlx); });
    w.finally([] {});
  });
  CHECK(threads.executions == 1);
  const auto events = proved([](world& w) {
    atomic<int> x{0};
    w.thread([&] {
      for (int i = 0; i < 250; ++i) x.fetch_add(1, rlx);
    });
    w.finally([&] { testing::check(x.load(rlx) == 250, "all of them"); });
  });
  CHECK(events.executions == 1);
}

TEST_CASE("pitfall 7: a loop that spins is a wait, not a thousand branches") {
  const auto report = proved([](world& w) {
    atomic<int> lock{0};
    plain<int> inside{0};
    for (int i = 0; i < 3; ++i) {
      w.thread([&] {
        while (lock.exchange(1, acq) != 0) {
          while (lock.load(rlx) != 0) testing::spin_hint();
        }
        inside = inside + 1;
        lock.store(0, rel);
      });
    }
    w.finally([&] { testing::check(inside == 3, "each was inside"); });
  });
  CHECK(report.executions < 1000);
  const auto bounded = proved([](world& w) {
    atomic<int> ready{0};
    w.thread([&] {
      for (int round = 0; round < 5000 && ready.load(acq) == 0; ++round) testing::spin_hint();
    });
    w.thread([&] { ready.store(1, rel); });
    w.finally([] {});
  });
  CHECK(bounded.executions < 10);
  CHECK(says(failing([](world& w) {
               atomic<int> never{0};
               w.thread([&] {
                 while (never.load(rlx) == 0) testing::spin_hint();
               });
               w.finally([] {});
             }),
             "deadlock"));
}

namespace {
void three_old_values(world& w) {
  atomic<int> x[3] = {};
  w.thread([&] {
    for (auto& one : x) one.store(1, rlx);
  });
  w.thread([&] {
    int sum = 0;
    for (auto& one : x) sum += one.load(rlx);
    testing::check(sum > 0, "one of them is new");
  });
  w.finally([] {});
}
}  // namespace

TEST_CASE("pitfall 8: a bounded exploration is no proof") {
  testing::options bounded;
  bounded.departures = 2;
  const auto some = testing::explore(bounded, &three_old_values);
  INFO(some.text());
  CHECK(some.failure.empty());
  CHECK_FALSE(some.proved());
  CHECK_FALSE(some.scope.empty());
  CHECK(says(testing::explore(&three_old_values), "one of them is new"));
}

TEST_CASE("pitfall 12: what a run leaves behind when it is given up is not lost") {
  const auto report = proved([](world& w) {
    atomic<int> round{0};
    for (int i = 0; i < 3; ++i) {
      w.thread([&] {
        const std::unique_ptr<char[]> much(new char[65536]);  // an owner that is not unwound
        while (round.load(acq) != 10) testing::spin_hint();
        much[0] = 1;
      });
    }
    w.thread([&] {
      for (int i = 1; i <= 10; ++i) round.store(i, rel);
    });
    w.finally([] {});
  });
  CHECK(report.executions >= 1);
  CHECK(report.blocked > 600);  // times 64 KiB is more than a thread may have
}

namespace {
void takes_what_it_saw(world& w) {
  atomic<int*> current{new int(1)};
  atomic<int> version{0};
  w.thread([&] {
    int* seen = current.load(acq);
    const int before = version.load(rlx);
    if (seen != nullptr && current.compare_exchange_strong(seen, nullptr, acq, rlx)) {
      testing::check(version.load(rlx) == before, "it was not replaced in between");
      delete seen;
    }
  });
  w.thread([&] {
    int* const old = current.exchange(nullptr, acq);
    if (old == nullptr) return;
    delete old;
    auto* const other = new int(2);
    version.store(1, rlx);
    current.store(other, rel);
  });
  w.finally([&] { delete current.load(rlx); });
}
}  // namespace

TEST_CASE("pitfall 13: memory comes back, and an equal address is not the same object") {
  CHECK(says(failing(&takes_what_it_saw), "it was not replaced in between"));
  testing::options fresh;
  fresh.reuse_memory = false;
  CHECK(testing::explore(fresh, &takes_what_it_saw).proved());
}

TEST_CASE("pitfall 14: to notify through an object that its waiter has destroyed is found") {
  struct event {
    atomic<int> done{0};
    atomic<int> waiters{1};
  };
  const auto with = [](bool looks_late) {
    return [looks_late](world& w) {
      auto* const e = new event;
      w.thread([e, looks_late] {
        if (!looks_late) (void)e->waiters.load(rlx);
        e->done.store(1, rel);
        if (looks_late) (void)e->waiters.load(rlx);
      });
      w.thread([e] {
        while (e->done.load(acq) == 0) testing::spin_hint();
        delete e;
      });
      w.finally([] {});
    };
  };
  CHECK(says(failing(with(true)), "free"));
  proved(with(false));
}

TEST_CASE("pitfall 15: a wake-up is lost where a waiter and its waker do not see each other") {
  // The shape of libc++'s atomic::wait: z is 1 if the waiter sleeps and nobody wakes it.
  const char* const code =
      "x.rel=1; y.rel += 1; F.$1; a=u.sc | u.sc += 1; F.$1; b=y.rlx; if b==0: z.rlx=1";
  const auto with = [&](const char* order, const char* expected) {
    holds("wait and notify", litmus::filled(code, {order}).c_str(), "a z", expected);
  };
  with("none", "0 0, 0 1, 1 0, 1 1");
  with("sc", "0 0, 1 0, 1 1");
}

TEST_CASE("pitfall 16: fences and failure orders count") {
  holds("fences publish", "p=1; F.rel; x.rlx=1 | a=x.rlx; F.acq; if a==1: b=p", "a b", "0 0, 1 1");
  holds("one is not enough", "p=1; F.rel; x.rlx=1 | a=x.rlx; if a==1: b=p", "", "race");
  holds("nor the other", "p=1; x.rlx=1 | a=x.rlx; F.acq; if a==1: b=p", "", "race");
  holds("failure order", "p=1; x.rel=1 | a=x.sc/rlx ? 9 : 8; if a==1: b=p", "", "race");
  holds("failure order alone", "p=1; x.rel=1 | a=x.rlx/acq ? 9 : 8; if a==1: b=p", "a b",
        "0 0, 1 1");
}

TEST_CASE("pitfall 17: samples take old values and any place in the order of stores") {
  litmus::reader two_writes("x.rlx=1; y.rlx=2 | y.rlx=1; x.rlx=2");
  litmus::reader two_reads("x.rlx=1; a=y.rlx | y.rlx=1; b=x.rlx");
  for (const auto how : {testing::sampling::random_walk, testing::sampling::pct,
                         testing::sampling::pos}) {
    testing::options drawn;
    drawn.sample = how;
    drawn.samples = 2000;
    const auto writes = litmus::explored<int>(
        two_writes.code, litmus::watched("x y", two_writes), drawn);
    CHECK(seen(writes) == outcomes{"1 1", "1 2", "2 1", "2 2"});
    CHECK_FALSE(writes.proved());
    const auto reads = litmus::explored<int>(
        two_reads.code, litmus::watched("a b", two_reads), drawn);
    CHECK(seen(reads) == outcomes{"0 0", "0 1", "1 0", "1 1"});
  }
}

TEST_CASE("pitfall 18: equal values hide a wrong order, versions do not") {
  using testing::cell_call;
  using kind = cell_call::kind;
  // The value goes away and comes back; then somebody replaces what he saw at first.
  const std::vector<testing::recorded<cell_call>> all = {
      {{kind::load, 0, 0, 0}, {0, 1}, 0},
      {{kind::store, 0, 5, 1}, {2, 3}, 1},
      {{kind::store, 0, 0, 2}, {4, 5}, 1},
      {{kind::replaced, 0, 7, 1}, {6, 7}, 0},
  };
  CHECK_FALSE(testing::linearizable(all, testing::cell_state{}));
  struct without_versions {
    std::int64_t value = 0;
    bool apply(const cell_call& c, bool answered) {
      const std::int64_t asked = 0;  // each version of the history has this value where it is asked
      if (c.what == kind::load && answered && c.value != value) return false;
      if (c.what == kind::replaced && answered && value != asked) return false;
      if (c.writes()) value = c.value;
      return true;
    }
    bool operator==(const without_versions&) const = default;
  };
  CHECK(testing::linearizable(all, without_versions{}));
}

TEST_CASE("pitfall 19: a fast monitor agrees with the search on every small history") {
  // Two pushes and two pops: all overlaps, and all answers.
  using testing::queue_call;
  using kind = queue_call::kind;
  const queue_call answers[] = {{kind::pop, 1}, {kind::pop, 2}, {kind::pop_empty, 0}};
  std::string ends = "00112233";
  unsigned right = 0, histories = 0, different = 0;
  do {
    for (unsigned answer = 0; answer < 9; ++answer) {
      std::vector<testing::recorded<queue_call>> all = {{{kind::push, 1}, {}, 0},
                                                        {{kind::push, 2}, {}, 1},
                                                        {answers[answer % 3], {}, 2},
                                                        {answers[answer / 3], {}, 3}};
      for (unsigned i = 0; i < 4; ++i) {
        const char name = static_cast<char>('0' + i);
        all[i].when = {ends.find(name), ends.rfind(name)};
      }
      const bool possible = static_cast<bool>(testing::linearizable(all, testing::queue_state{}));
      different += static_cast<bool>(testing::monitor_queue(all)) == possible ? 0 : 1;
      right += possible ? 1 : 0;
      ++histories;
    }
  } while (std::next_permutation(ends.begin(), ends.end()));
  CHECK(different == 0);
  CHECK(histories == 22680);
  CHECK(right > 5000);
  CHECK(right < 17000);
}

TEST_CASE("pitfall 20: load buffering is outside of the model") {
  // C++20 and ARM allow 1 1 here. This pins what a proof does not cover.
  holds("LB", "a=y.rlx; x.rlx=1 | b=x.rlx; y.rlx=1", "a b", "not 1 1");
}

namespace {
[[gnu::noinline]] void allocates() {
  int* volatile p = new int(1);
  delete p;
}
}  // namespace

TEST_CASE("pitfall 22: malloc and free are no synchronisation") {
  CHECK(says(failing([](world& w) {
               plain<int> data{0};
               for (int i = 0; i < 2; ++i) {
                 w.thread([&] {
                   allocates();
                   data = 1;
                   allocates();
                 });
               }
               w.finally([] {});
             }),
             "data race"));
}

#if !defined(INTERLOCK_FRONT_B)  // what the compiler's instrumentation sees; a parking word

namespace {
namespace hooks = interlock::detail;
using word = std::atomic<std::uint32_t>;
}  // namespace

TEST_CASE("pitfall 9: parking looks at the word again, and its lock is no synchronisation") {
  proved([](world& w) {
    word flag{0};
    w.thread([&] {
      if (flag.load(rlx) == 0) hooks::park(flag, 0);
    });
    w.thread([&] {
      flag.store(1, rlx);
      hooks::unpark_all(&flag);
    });
    w.finally([] {});
  });
  const auto publish = [](std::memory_order store, std::memory_order load) {
    return [store, load](world& w) {
      word flag{0};
      int data = 0;
      w.thread([&, load] {
        while (flag.load(load) == 0) hooks::park(flag, 0);
        testing::check(data == 1, "published");
      });
      w.thread([&, store] {
        data = 1;
        flag.store(1, store);
        hooks::unpark_all(&flag);
      });
      w.finally([] {});
    };
  };
  CHECK(says(failing(publish(rlx, rlx)), "data race"));
  proved(publish(rel, acq));
  CHECK(says(failing([](world& w) {
               word flag{0};
               plain<int> data{0};
               w.thread([&] {
                 hooks::park(flag, 0);
                 // It slept: its waker has written the data, but did not publish it.
                 if (flag.load(rlx) == 0) testing::check(data < 2, "what was there");
               });
               w.thread([&] {
                 data = 1;
                 hooks::unpark_all(&flag);
                 flag.store(1, rlx);
                 hooks::unpark_all(&flag);
               });
               w.finally([] {});
             }),
             "data race"));
  proved([](world& w) {
    word flag{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        while (flag.load(rlx) == 0) hooks::park(flag, 0);
      });
    }
    w.thread([&] {
      flag.store(1, rlx);
      hooks::unpark_all(&flag);
    });
    w.finally([] {});
  });
}

TEST_CASE("pitfall 10: the standard's own headers are explored as they are") {
  CHECK(says(failing([](world& w) {
               std::vector<int> list;
               list.reserve(4);
               for (int i = 0; i < 2; ++i) w.thread([&] { list.push_back(1); });
               w.finally([] {});
             }),
             "data race"));
  proved([](world& w) {
    auto shared = std::make_shared<int>(5);
    for (int i = 0; i < 2; ++i) {
      w.thread([mine = shared] { testing::check(*mine == 5, "alive"); });
    }
    shared.reset();
    w.finally([] {});
  });
  struct large {
    long long part[12] = {};
  };
  CHECK(says(failing([](world& w) {
               large from, to;
               w.thread([&] { to = from; });
               w.thread([&] { from.part[7] = 1; });
               w.finally([&] { testing::check(to.part[7] < 2, "one of the two"); });
             }),
             "data race"));
}

TEST_CASE("pitfall 11: plain fields are seen, or weak orders hide") {
  struct node {
    int item = 0;
    node* next = nullptr;
  };
  const auto push_and_look = [](std::memory_order publish) {
    return [publish](world& w) {
      node bottom, top;
      std::atomic<node*> head{&bottom};
      w.thread([&, publish] {
        top.next = head.load(rlx);
        head.store(&top, publish);
      });
      w.thread([&] {
        const node* const n = head.load(acq);
        if (n == &top) testing::check(n->next == &bottom, "linked");
      });
      w.finally([] {});
    };
  };
  CHECK(says(failing(push_and_look(rlx)), "data race"));
  proved(push_and_look(rel));
}

namespace {
struct detached {
  struct promise_type {
    detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};
struct hand_over {
  std::atomic<void*>& to;
  std::memory_order order;
  static bool await_ready() noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const {
    std::atomic<void*>& target = to;
    target.store(h.address(), order);
    return std::noop_coroutine();
  }
  static void await_resume() noexcept {}
};
detached two_halves(std::atomic<void*>& to, std::memory_order order) {
  int local = 1;
  co_await hand_over{to, order};
  local += 1;
  testing::check(local == 2, "the frame came along");
}
}  // namespace

TEST_CASE("pitfall 16: a coroutine that goes on elsewhere takes its frame along, or races") {
  const auto with = [](std::memory_order order) {
    return [order](world& w) {
      std::atomic<void*> handle{nullptr};
      w.thread([&, order] { two_halves(handle, order); });
      w.thread([&] {
        void* address = nullptr;
        while ((address = handle.load(acq)) == nullptr) testing::spin_hint();
        std::coroutine_handle<>::from_address(address).resume();
      });
      w.finally([] {});
    };
  };
  proved(with(rel));
  CHECK_FALSE(failing(with(rlx)).failure.empty());
}

TEST_CASE("pitfall 21: atomics made of bytes by a cast are seen, their neighbours kept apart") {
  const auto with = [](std::memory_order order) {
    return [order](world& w) {
      alignas(8) unsigned char bytes[16] = {};
      w.thread([&, order] {
        bytes[9] = 7;
        std::atomic_ref<int>(*reinterpret_cast<int*>(&bytes[4])).store(1, order);
        bytes[0] = 1;
      });
      w.thread([&] {
        bytes[1] = 2;
        if (std::atomic_ref<int>(*reinterpret_cast<int*>(&bytes[4])).load(acq) == 1) {
          testing::check(bytes[9] == 7, "published");
        }
      });
      w.finally([] {});
    };
  };
  proved(with(rel));
  CHECK(says(failing(with(rlx)), "data race"));
}

#endif
