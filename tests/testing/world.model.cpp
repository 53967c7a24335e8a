// SPDX-License-Identifier: BSL-1.0
// What explored code may do besides atomic operations: ask who runs and what time it is,
// wait for a deadline.

#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <stop_token>
#include <thread>
#include <vector>

#include "front.hpp"

#include <interlock/detail/parking.hpp>

using namespace std::chrono_literals;
using testing::world;

namespace {

[[maybe_unused]] bool says(const testing::report& report, const char* words) {
  INFO(report.text());
  return report.failure.find(words) != std::string::npos;
}

namespace hooks = interlock::detail;
using word = std::atomic<std::uint32_t>;
using clock_type = std::chrono::steady_clock;

}  // namespace

// ---- time ---------------------------------------------------------------------------------------

TEST_CASE("the clocks of an explored thread stand still, and begin at the same time in each run") {
  static clock_type::time_point first;
  first = {};
  const auto report = proved([](world& w) {
    atomic<int> x{0};
    if (first == clock_type::time_point{}) first = clock_type::now();
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        const auto start = clock_type::now();
        const auto date = std::chrono::system_clock::now();
        const auto tick = hooks::coarse_now();
        x.fetch_add(1, rlx);
        testing::check(start == first, "as in the run before");
        testing::check(clock_type::now() == start, "time does not pass");
        testing::check(std::chrono::system_clock::now() == date, "nor does the date");
        testing::check(hooks::coarse_now() == tick, "nor does the coarse clock");
        testing::check(tick == start.time_since_epoch(), "they are one clock");
      });
    }
    w.finally([] {});
  });
  CHECK(report.executions == 2);
  const auto before = clock_type::now();
  while (clock_type::now() == before) {  // outside, time passes
  }
}

TEST_CASE("time passes by advance(), for who does it and for who learns of it") {
  const auto report = proved([](world& w) {
    atomic<int> x{0};
    const auto start = clock_type::now();
    w.thread([&] {
      testing::advance(5ms);
      testing::check(clock_type::now() == start + 5ms, "own time");
      x.store(1, rlx);
    });
    w.thread([&, start] {
      const bool late = x.load(rlx) == 1;
      w.outcome(late, (clock_type::now() - start) / 1ms);
    });
    w.finally([&] { testing::check(clock_type::now() == start + 5ms, "joined"); });
  });
  CHECK(joined(seen(report)) == "0 0, 1 5");
}

#if !defined(INTERLOCK_FRONT_B)  // a parking word is a std::atomic

namespace {

// Returns: whether the flag was set in time.
bool waits_for(const word& flag, clock_type::time_point deadline) {
  while (flag.load(acq) == 0) {
    if (!hooks::park_until(flag, 0, deadline)) return flag.load(acq) != 0;
  }
  return true;
}

void timed_wait(world& w, bool unparks) {
  word flag{0};
  bool in_time = false;
  w.thread([&] {
    const auto start = clock_type::now();
    in_time = waits_for(flag, start + 10ms);
    const auto passed = clock_type::now() - start;
    testing::check(passed == 0ms || passed == 10ms, "no time between");
    testing::check(in_time || passed == 10ms, "not before the deadline");
  });
  w.thread([&, unparks] {
    flag.store(1, rel);
    if (unparks) hooks::unpark_all(&flag);
  });
  w.finally([&] { w.outcome(in_time); });
}

}  // namespace

TEST_CASE("park_until: woken or timed out, and then the clock is at the deadline") {
  CHECK(joined(seen(proved([](world& w) { timed_wait(w, true); }))) == "0, 1");
}

TEST_CASE("park_until: a lost wake-up costs the time until the deadline, and is no deadlock") {
  const auto report = proved([](world& w) { timed_wait(w, false); });
  CHECK(joined(seen(report)) == "0, 1");
  CHECK(report.blocked > 0);
}

TEST_CASE("park_until: a deadline in the past asks without blocking; none at all is a park") {
  CHECK(proved([](world& w) {
          word flag{0};
          w.thread([&] {
            testing::check(!hooks::park_until(flag, 0, clock_type::now() - 1ms), "passed");
            testing::check(!hooks::park_until(flag, 0, clock_type::now()), "passes");
          });
          w.finally([] {});
        }).executions == 1);
  CHECK(says(failing([](world& w) {
               word flag{0};
               w.thread([&] { (void)hooks::park_until(flag, 0, clock_type::time_point::max()); });
               w.finally([] {});
             }),
             "nobody will unpark it"));
}

TEST_CASE("a loop on a deadline ends: each wake-up may come for another reason") {
  const auto report = proved([](world& w) {
    word flag{0};
    w.thread([&] {
      const auto deadline = clock_type::now() + 1s;
      unsigned rounds = 0;
      while (flag.load(acq) < 2 && clock_type::now() < deadline) {
        hooks::park_until(flag, flag.load(rlx), deadline);
        testing::check(++rounds <= 3, "no more rounds than there are wake-ups");
      }
    });
    w.thread([&] {
      for (int i = 0; i < 2; ++i) {
        flag.fetch_add(1, rel);
        hooks::unpark_all(&flag);
      }
    });
    w.finally([] {});
  });
  CHECK(report.executions > 3);
}

TEST_CASE("a thread that takes a time-out for the event is found") {
  CHECK(says(failing([](world& w) {
               word flag{0};
               w.thread([&] {
                 if (flag.load(acq) == 0) hooks::park_until(flag, 0, clock_type::now() + 1ms);
                 testing::check(flag.load(acq) == 1, "the event has come");
               });
               w.thread([&] {
                 flag.store(1, rel);
                 hooks::unpark_all(&flag);
               });
               w.finally([] {});
             }),
             "the event has come"));
}

TEST_CASE("two deadlines: each may pass first, and who is woken knows that the other one's has passed") {
  const auto report = proved([](world& w) {
    word flag{0};
    long long after[2] = {};
    for (int i = 0; i < 2; ++i) {
      w.thread([&, i] {
        const auto start = clock_type::now();
        const auto wait = i == 0 ? 1ms : 5ms;
        if (!hooks::park_until(flag, 0, start + wait)) flag.fetch_add(1, rlx);
        after[i] = (clock_type::now() - start) / 1ms;
        hooks::unpark_all(&flag);
      });
    }
    w.finally([&] { w.outcome(after[0], after[1]); });
  });
  CAPTURE(joined(seen(report)));
  CHECK(seen(report).count("1 5") == 1);
  CHECK(seen(report).count("1 1") == 1);
}

#endif

// ---- memory -------------------------------------------------------------------------------------

namespace {

testing::options reusing(bool reuse) {
  testing::options how;
  how.reuse_memory = reuse;
  how.count_distinct = true;
  return how;
}

class spin_lock {
public:
  void lock() {
    for (int open = 0; !word_.compare_exchange_strong(open, 1, acq, rlx); open = 0) {
      testing::spin_hint();
    }
  }
  void unlock() { word_.store(0, rel); }

private:
  atomic<int> word_{0};
};

// A value that is replaced by a new object each time. Who wants to change it computes outside of
// the lock, and takes the same address for the same value.
enum class freeing { at_once, later };

void compares_addresses(world& w, freeing when) {
  struct cell {
    plain<int> value;
  };
  spin_lock mutex;
  cell* current = new cell{1};
  std::array<std::unique_ptr<cell>, 3> retired;
  bool replaced = false;
  w.thread([&] {
    mutex.lock();
    cell* const seen = current;
    const int value = seen->value;
    mutex.unlock();
    auto mine = std::make_unique<cell>(value + 10);
    mutex.lock();
    replaced = current == seen;
    if (replaced) {
      retired[2].reset(current);
      current = mine.release();
    }
    mutex.unlock();
  });
  w.thread([&, when] {
    for (auto& old : {&retired[0], &retired[1]}) {
      mutex.lock();
      old->reset(current);
      if (when == freeing::at_once) {
        const int value = current->value;
        old->reset();
        current = new cell{value + 1};
      } else {
        current = new cell{current->value + 1};
      }
      mutex.unlock();
    }
  });
  w.finally([&] {
    testing::check(current->value == (replaced ? 13 : 3), "no update is lost");
    delete current;
  });
}

}  // namespace

TEST_CASE("memory comes back at the same address: the same pointer is not the same object") {
  const auto body = [](freeing when) { return [when](world& w) { compares_addresses(w, when); }; };
  const auto found = testing::explore(reusing(true), body(freeing::at_once));
  CHECK(says(found, "no update is lost"));
  CHECK(found.trace.find("memory freed before") != std::string::npos);
  CHECK(testing::explore(reusing(false), body(freeing::at_once)).proved());
  CHECK(testing::explore(reusing(true), body(freeing::later)).proved());
}

TEST_CASE("use after free is found although the memory is another object's by now") {
  for (const bool reuse : {false, true}) {
    const auto late = testing::explore(reusing(reuse), [](world& w) {
      auto* const x = new atomic<int>(0);
      w.thread([x] {
        delete x;
        delete new atomic<int>(1);
      });
      w.thread([x] { x->store(2, rlx); });
      w.finally([] {});
    });
    CHECK(says(late, "after free"));
    const auto ordered = testing::explore(reusing(reuse), [](world& w) {
      auto* const x = new atomic<int>(0);
      atomic<int> gone{0};
      w.thread([&] {
        delete x;
        delete new atomic<int>(1);
        gone.store(1, rel);
      });
      w.thread([&] {
        if (gone.load(acq) == 1) x->store(2, rlx);
      });
      w.finally([] {});
    });
    CHECK(says(ordered, "use after free"));
  }
}

TEST_CASE("memory that comes back holds new objects: other sizes, no old values") {
  const auto report = testing::explore(reusing(true), [](world& w) {
    struct two {
      atomic<int> a{5}, b{6};
    };
    struct one {
      atomic<long long> both{7};
    };
    atomic<one*> shared{nullptr};
    w.thread([&] {
      auto first = std::make_unique<two>();
      first->a.store(first->b.load(rlx), rlx);
      first.reset();
      auto second = std::make_unique<one>();
      testing::check(second->both.load(rlx) == 7, "the value of its constructor");
      second->both.store(8, rlx);
      shared.store(second.release(), rel);
    });
    w.thread([&] {
      one* const seen = shared.load(acq);
      if (seen != nullptr) testing::check(seen->both.load(rlx) == 8, "published");
    });
    w.finally([&] { delete shared.load(rlx); });
  });
  CAPTURE(report.text());
  CHECK(report.proved());
  CHECK(report.executions == 4);  // old memory or new, seen or not
  CHECK(report.distinct == report.executions);
}

namespace {

// Treiber's stack with nodes from the heap.
struct item {
  int value;
  atomic<item*> next{nullptr};
  explicit item(int v) : value(v) {}
};

class item_stack {
public:
  void push(item* one) {
    item* top = head_.load(rlx);
    do {
      one->next.store(top, rlx);
    } while (!head_.compare_exchange_strong(top, one, rel, rlx));
  }
  item* pop() {
    item* top = head_.load(acq);
    while (top != nullptr &&
           !head_.compare_exchange_strong(top, top->next.load(rlx), acq, acq)) {
    }
    return top;
  }

private:
  atomic<item*> head_{nullptr};
};

// One thread takes two values and brings the first one again, another takes one.
void pops(world& w, freeing when) {
  item_stack stack;
  std::vector<std::unique_ptr<item>> retired;
  int first = 0, sum = 0;
  for (int value : {1, 2}) stack.push(new item(value));
  w.thread([&, when] {
    item* const a = stack.pop();
    item* const b = stack.pop();
    const int value = a == nullptr ? 0 : a->value;
    for (item* const one : {b, a}) {
      if (one == nullptr) continue;
      if (when == freeing::at_once) delete one;
      if (when == freeing::later) retired.emplace_back(one);
    }
    if (value != 0) stack.push(new item(value));
    first = b == nullptr ? 0 : b->value;
  });
  item* mine = nullptr;
  w.thread([&] { mine = stack.pop(); });
  w.finally([&] {
    if (mine == nullptr) mine = stack.pop();
    for (; mine != nullptr; mine = stack.pop()) {
      sum += mine->value;
      delete mine;
    }
    testing::check(first + sum == 3, "each value once");
    w.outcome(first, sum);
  });
}

}  // namespace

TEST_CASE("a stack that frees its nodes at once uses them after; kept for later it is proved") {
  CHECK(says(testing::explore(reusing(true), [](world& w) { pops(w, freeing::at_once); }), "free"));
  CHECK(says(testing::explore(reusing(false), [](world& w) { pops(w, freeing::at_once); }), "free"));
  const auto report = testing::explore(reusing(true), [](world& w) { pops(w, freeing::later); });
  CAPTURE(report.text());
  CHECK(report.proved());
  CAPTURE(joined(seen(report)));
  CHECK(report.outcomes.size() > 1);
}

// ---- allocations that fail ----------------------------------------------------------------------

namespace {

template <class Body>
testing::report with_failures(unsigned failures, Body body) {
  testing::options how;
  how.allocation_failures = failures;
  how.count_distinct = true;
  return testing::explore(how, body);
}

// The compiler may leave out an allocation that it sees both ends of.
[[gnu::noinline]] std::unique_ptr<int> allocated(int value) { return std::make_unique<int>(value); }

void one_allocation_each(world& w) {
  bool failed[2] = {};
  for (bool& mine : failed) {
    w.thread([&mine] {
      try {
        allocated(1);
      } catch (const std::bad_alloc&) {
        mine = true;
      }
    });
  }
  w.finally([&] { w.outcome(failed[0], failed[1]); });
}

}  // namespace

TEST_CASE("an allocation fails in each thread, as often as allowed in one execution") {
  CHECK(joined(seen(with_failures(0, one_allocation_each))) == "0 0");
  const auto once = with_failures(1, one_allocation_each);
  CHECK(joined(seen(once)) == "0 0, 0 1, 1 0");
  CHECK(once.executions == 3);
  CHECK(once.distinct == 3);
  CHECK(joined(seen(with_failures(2, one_allocation_each))) == "0 0, 0 1, 1 0, 1 1");
}

TEST_CASE("nothrow new is null where the allocation fails") {
  const auto report = with_failures(1, [](world& w) {
    bool null = false;
    w.thread([&] {
      const std::unique_ptr<int> p(new (std::nothrow) int(1));
      null = p == nullptr;
    });
    w.finally([&] { w.outcome(null); });
  });
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("bad_alloc: code with the strong guarantee is proved, a leak is found") {
  const auto report = with_failures(2, [](world& w) {
    std::vector<int> list;
    w.thread([&] {
      for (int i = 0; i < 3; ++i) {
        const std::size_t before = list.size();
        try {
          list.push_back(i);
        } catch (const std::bad_alloc&) {
          testing::check(list.size() == before, "as before");
        }
      }
    });
    w.finally([] {});
  });
  CAPTURE(report.text());
  CHECK(report.proved());
  CHECK(report.executions > 3);
  const auto leaks = [](world& w) {
    w.thread([] {
      try {
        int* const first = allocated(1).release();
        int* const second = allocated(2).release();
        delete second;
        delete first;
      } catch (const std::bad_alloc&) {  // if the second fails, the first is lost
      }
    });
    w.finally([] {});
  };
  CHECK(with_failures(0, leaks).proved());
  CHECK(says(with_failures(1, leaks), "leak"));
}

TEST_CASE("bad_alloc: a thread that does not expect it ends with an uncaught exception") {
  CHECK(says(with_failures(1, [](world& w) {
               w.thread([] { allocated(1); });
               w.finally([] {});
             }),
             "uncaught exception: std::bad_alloc"));
}

// ---- compare_exchange_weak ----------------------------------------------------------------------

#if defined(INTERLOCK_FRONT_B) || !defined(__clang__)  // Clang does not say which one is weak

TEST_CASE("compare_exchange_weak without a loop is found, with a loop it is proved") {
  enum class form { weak, weak_in_loop, strong };
  const auto adding = [](form how_it_is_done) {
    return [how_it_is_done](world& w) {
      atomic<int> x{0};
      w.thread([&, how_it_is_done] {
        int old = x.load(rlx);
        if (how_it_is_done == form::strong) {
          x.compare_exchange_strong(old, old + 1, rlx, rlx);
        } else {
          while (!x.compare_exchange_weak(old, old + 1, rlx, rlx) &&
                 how_it_is_done == form::weak_in_loop) {
          }
        }
      });
      w.finally([&] { testing::check(x.load(rlx) == 1, "counted"); });
    };
  };
  testing::options how;
  how.spurious_failures = 2;
  CHECK(says(testing::explore(how, adding(form::weak)), "counted"));
  CHECK(testing::explore(how, adding(form::strong)).executions == 1);
  CHECK(testing::explore(how, adding(form::weak_in_loop)).executions == 3);
  CHECK(testing::explore(adding(form::weak)).proved());
}

#endif

// ---- who is woken -------------------------------------------------------------------------------

#if !defined(INTERLOCK_FRONT_B)

TEST_CASE("unpark_one wakes any of the sleepers") {
  const auto report = proved([](world& w) {
    word flag{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        while (flag.load(acq) == 0) hooks::park(flag, 0);
      });
    }
    w.thread([&] {
      flag.store(1, rel);
      hooks::unpark_one(&flag);
      hooks::unpark_one(&flag);
    });
    w.finally([] {});
  });
  CAPTURE(report.text());
  CHECK(report.executions == 29);  // 27 if it were the oldest: 2 orders to fall asleep, 2 to wake
}

#endif

// ---- who runs -----------------------------------------------------------------------------------

TEST_CASE("explored threads have different ids, the same in each run") {
  const auto report = proved([](world& w) {
    const auto body = std::this_thread::get_id();
    std::thread::id ids[2];
    atomic<int> x{0};
    for (auto& id : ids) {
      w.thread([&] {
        id = std::this_thread::get_id();
        x.fetch_add(1, rlx);
      });
    }
    w.finally([&] {
      testing::check(ids[0] != ids[1] && ids[0] != body && ids[1] != body, "three threads");
      testing::check(body == std::this_thread::get_id(), "the body is one of them");
    });
  });
  CHECK(report.executions == 2);
}

#if !defined(INTERLOCK_FRONT_B)  // which does not see what the C++ library does
TEST_CASE("std::shared_ptr counts atomically, although no real thread was ever started") {
  const auto report = proved([](world& w) {
    auto shared = std::make_shared<int>(0);
    for (int t = 0; t < 2; ++t) w.thread([copy = shared]() mutable { copy.reset(); });
    w.finally([&] { shared.reset(); });
  });
  CHECK(report.executions == 2);  // and the test's copy of the code was linked, not Catch's
}

#endif

// ---- objects on the stack -----------------------------------------------------------------------

namespace {

// A waiter tells the other thread of a node in its own frame, and returns when it was signalled.
struct stack_node {
  atomic<int> signalled{0};
  atomic<int> touched{0};
};

[[gnu::noinline]] void waits_on_stack(atomic<stack_node*>& shared) {
  stack_node mine;
  shared.store(&mine, rel);
  while (mine.signalled.load(acq) == 0) testing::spin_hint();
}

enum class touching { before, after };

void signals(atomic<stack_node*>& shared, touching when) {
  stack_node* const other = shared.load(acq);
  if (other == nullptr) testing::spin_hint();
  if (other == nullptr) return signals(shared, when);
  if (when == touching::before) other->touched.store(1, rlx);
  other->signalled.store(1, rel);
  if (when == touching::after) other->touched.store(1, rlx);
}

// The waiter is the first thread or the second: it returns before the late access, or after it.
void signal_on_stack(world& w, touching when, bool waiter_first, bool goes_on) {
  atomic<stack_node*> shared{nullptr};
  atomic<int> other{0};
  const auto wait = [&, goes_on] {
    waits_on_stack(shared);
    if (goes_on) other.store(1, rlx);
  };
  if (waiter_first) w.thread(wait);
  w.thread([&, when] { signals(shared, when); });
  if (!waiter_first) w.thread(wait);
  w.finally([] {});
}

}  // namespace

TEST_CASE("a stack object that is touched after its function returned is found") {
  for (const bool goes_on : {false, true}) {
    for (const bool waiter_first : {false, true}) {
      const auto body = [goes_on, waiter_first](touching when) {
        return [=](world& w) { signal_on_stack(w, when, waiter_first, goes_on); };
      };
#if defined(INTERLOCK_FRONT_B)  // without the compiler only what comes after the return is seen
      if (!waiter_first) continue;
#endif
      CHECK(says(failing(body(touching::after)), "stack object"));
      CHECK(testing::explore(body(touching::before)).proved());
    }
  }
}

#if !defined(INTERLOCK_FRONT_B)  // the compiler tells where a function ends

TEST_CASE("a stack object whose last use elsewhere is not known to have happened is found") {
  const auto with = [](std::memory_order order) {
    return [order](world& w) {
      atomic<stack_node*> shared{nullptr};
      w.thread([&, order] {
        stack_node* other = nullptr;
        while ((other = shared.load(acq)) == nullptr) testing::spin_hint();
        other->signalled.store(1, order);
      });
      w.thread([&, order] {
        const auto once = [&] {
          stack_node mine;
          shared.store(&mine, rel);
          while (mine.signalled.load(order == rel ? acq : rlx) == 0) testing::spin_hint();
        };
        once();
      });
      w.finally([] {});
    };
  };
  const auto says_it = [](const testing::report& report) {
    return says(report, "a stack object's lifetime ends while another thread uses it");
  };
  CHECK(says_it(testing::explore(with(rlx))));
  proved(with(rel));
}

namespace {

[[gnu::noinline]] int recursive(atomic<int>& shared, int depth) {
  atomic<int> mine{depth};
  if (depth == 3) throw std::bad_alloc();
  try {
    return recursive(shared, depth + 1) + mine.load(rlx);
  } catch (const std::bad_alloc&) {
    shared.fetch_add(1, ar);
    if (depth > 0) throw;
  }
  return depth;
}

}  // namespace

TEST_CASE("exceptions, recursion and frames that come again give no false alarm") {
  const auto report = proved([](world& w) {
    atomic<int> own{0}, other{0};
    std::array<atomic<stack_node*>, 2> shared{};
    const auto throws = [](atomic<int>& count) {
      try {
        (void)recursive(count, 0);
      } catch (const std::bad_alloc&) {
      }
    };
    w.thread([&] {
      for (auto& each : shared) {
        throws(own);
        waits_on_stack(each);  // where a frame of the recursion was
      }
    });
    w.thread([&] {
      for (auto& each : shared) {
        throws(other);
        signals(each, touching::before);
      }
    });
    w.finally([&] { testing::check(own.load(rlx) == 6 && other.load(rlx) == 6, "unwound"); });
  });
  CHECK(report.executions > 0);
}

#endif

// ---- interruptions ------------------------------------------------------------------------------

namespace {

// A result that one thread waits for, another one brings, and a third one may call off.
class pending {
public:
  enum state : int { waiting, done, cancelled };

  explicit pending(bool checks) : checks_(checks) {}
  void complete() {
    value_ = 7;
    settle(done);
  }
  void cancel() { settle(cancelled); }
  state wait() {
    int now = 0;
    while ((now = state_.load(acq)) == waiting) testing::spin_hint();
    return static_cast<state>(now);
  }
  int value() const { return value_; }

private:
  void settle(state how) {
    int open = waiting;
    if (checks_) {
      state_.compare_exchange_strong(open, how, rel, rlx);
    } else {
      state_.store(how, rel);  // may call off what is done
    }
  }

  bool checks_;
  plain<int> value_{0};
  atomic<int> state_{waiting};
};

void wait_called_off(world& w, bool checks) {
  pending result(checks);
  pending::state first = pending::waiting;
  w.thread([&] {
    first = result.wait();
    if (first == pending::done) testing::check(result.value() == 7, "the value is there");
    testing::check(result.wait() == first, "it stays what it was");
  });
  w.thread([&] { result.complete(); });
  w.interruption([&] { result.cancel(); });
  w.finally([&] { w.outcome(first); });
}

}  // namespace

TEST_CASE("an interruption comes at any moment or not at all: a wait that is called off twice fails") {
  CHECK(joined(seen(proved([](world& w) { wait_called_off(w, true); }))) == "1, 2");
  CHECK(says(failing([](world& w) { wait_called_off(w, false); }), "it stays what it was"));
}

#if !defined(INTERLOCK_FRONT_B)

TEST_CASE("an interruption of the standard library's kind: request_stop of a condition variable") {
  const auto report = testing::explore([](world& w) {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::stop_source source;
    bool came = false;
    w.thread([&] {
      std::unique_lock guard(mutex);
      const bool seen_it = changed.wait(guard, source.get_token(), [&] { return came; });
      testing::check(seen_it || source.stop_requested(), "one of the two");
    });
    w.interruption([&] { source.request_stop(); });
    w.thread([&] {
      const std::lock_guard guard(mutex);
      came = true;
      changed.notify_one();
    });
    w.finally([] {});
  });
  CAPTURE(report.text());
  CHECK(report.proved());
  CHECK(report.executions > 3);
}

#endif
