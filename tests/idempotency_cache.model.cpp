// SPDX-License-Identifier: BSL-1.0
// idempotency_cache in every execution: one run for a key, no joiner left behind, whatever throws.

#include "testing/front.hpp"

#include <interlock/coarse_time.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/task.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "testing/begin_anew.hpp"
#include "testing/last_user.hpp"

using interlock::fingerprint;
using interlock::idempotency_outcome;
using interlock::sync_wait;
using interlock::task;
using testing::world;

namespace {

using cache = interlock::idempotency_cache<int, int, std::hash<int>>;

using shared_cache = used_by<cache>;
using interlock::detail::readers;

// Threads that have entered themselves as readers: a step of each that is the same everywhere.
class crew {
public:
  explicit crew(world& w) : world_(w) { begin_anew(4); }

  template <class F>
  void thread(F f) {
    world_.thread([number = ++number_, f = std::move(f)]() mutable {
      readers::take_place(number);
      f();
    });
  }
  template <class F>
  void threads(std::size_t n, const F& f) {
    for (std::size_t i = 0; i < n; ++i) thread(f);
  }

private:
  world& world_;
  std::uint32_t number_ = 0;
};
constexpr fingerprint pay{17};
constexpr fingerprint refund{18};

struct refused {};  // what a run throws

cache::options small(std::size_t capacity = 2) {
  cache::options how;
  how.capacity = capacity;
  return how;
}

// A run that is in flight when the threads begin.
cache::ticket* claimed_before(shared_cache* shared) {
  readers::take_place(3);
  return new cache::ticket((*shared)->try_claim(1, pay).owner);
}

bool first_hand(idempotency_outcome what) { return what == idempotency_outcome::executed; }
bool second_hand(idempotency_outcome what) {
  return what == idempotency_outcome::joined || what == idempotency_outcome::replayed;
}

// Each thread sends the same request, some of them from a coroutine. Those alike stand together.
enum class caller { thread, coroutine };

cache::result send(cache& c, caller who, int& runs) {
  if (who == caller::thread) return c.run(1, pay, [&runs] { return ++runs; });
  return sync_wait(c.async_run(1, pay, [&runs]() -> task<int> { co_return ++runs; }));
}

void one_key(world& w, std::vector<caller> callers, int rounds) {
  crew staff(w);
  auto* const shared = shared_cache::make(static_cast<int>(callers.size()), small());
  int runs = 0;  // plain: a race if two run at once
  for (std::size_t from = 0, n = 0; from < callers.size(); from += n) {
    for (n = 1; from + n < callers.size() && callers[from + n] == callers[from];) ++n;
    staff.threads(n, [&runs, shared, rounds, who = callers[from]] {
      for (int i = 0; i < rounds; ++i) {
        const auto got = send(**shared, who, runs);
        testing::check(got && *got == 1 && got.attempt == 1, "all get the answer of the one run");
        testing::check(first_hand(got.outcome) || second_hand(got.outcome), "and are told whose");
      }
      shared->leave();
    });
  }
  w.finally([&] { testing::check(runs == 1, "one execution for the key"); });
}

void threads_send(world& w, int threads, int rounds) {
  one_key(w, std::vector<caller>(static_cast<std::size_t>(threads), caller::thread), rounds);
}

// Two keys, one place: each thread sends both; what is evicted runs again, nothing runs twice at
// once, and no run in flight is evicted.
void one_place(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small(1));
  int runs[2] = {};  // plain
  int refusals = 0;
  atomic<int> served{0};
  for (int t = 0; t < 2; ++t) {
    staff.thread([&, shared, t] {
      const auto got = (*shared)->run(t, pay, [&runs, t] { return ++runs[t]; });
      if (got) served.fetch_add(1, rlx);
      testing::check(first_hand(got.outcome) || got.outcome == idempotency_outcome::over_capacity,
                     "runs, or hears that the place is taken by a run");
      shared->leave();
    });
  }
  w.finally([&] {
    const int all = served.load(rlx);
    testing::check(runs[0] + runs[1] == all && all >= 1 && refusals == 0, "who was served ran");
  });
}

// The first run throws: its joiners get that, and no later caller.
void leader_throws(world& w, int threads) {
  crew staff(w);
  auto* const shared = shared_cache::make(threads, small());
  int runs = 0;
  atomic<int> thrown{0};
  staff.threads(static_cast<std::size_t>(threads), [&runs, &thrown, shared] {
    try {
      const auto got = (*shared)->run(1, pay, [&runs] {
        if (++runs == 1) throw refused();
        return runs;
      });
      testing::check(got && *got == 2, "the second run answers");
    } catch (const refused&) {
      thrown.fetch_add(1, rlx);
    }
    shared->leave();
  });
  w.finally([&, threads] {
    const int all = thrown.load(rlx);
    testing::check(all >= 1 && runs == (all == threads ? 1 : 2), "a failure is not kept");
  });
}

// The same key with two payloads: one of them is refused, even while the other one runs.
void two_payloads(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int runs = 0;
  idempotency_outcome said[2] = {};
  for (int t = 0; t < 2; ++t) {
    staff.thread([&, shared, t] {
      said[t] = (*shared)->run(1, t == 0 ? pay : refund, [&runs] { return ++runs; }).outcome;
      shared->leave();
    });
  }
  w.finally([&] {
    const auto mismatch = idempotency_outcome::payload_mismatch;
    const bool one = first_hand(said[0]) && said[1] == mismatch;
    const bool two = first_hand(said[1]) && said[0] == mismatch;
    testing::check(runs == 1 && (one || two), "one runs, the other one is refused");
  });
}

// A ticket is dropped: whoever waits takes over, with its own function.
void ticket_dropped(world& w, std::vector<caller> others) {
  crew staff(w);
  auto* const shared = shared_cache::make(1 + static_cast<int>(others.size()), small());
  int runs = 0;
  bool dropped = false;
  staff.thread([&, shared] {
    {
      const auto claimed = (*shared)->try_claim(1, pay);
      dropped = static_cast<bool>(claimed.owner);
    }
    shared->leave();
  });
  for (const caller who : others) {
    staff.thread([&, shared, who] {
      const auto got = send(**shared, who, runs);
      testing::check(got && *got == 1, "one of those who waited ran");
      testing::check(got.attempt <= 2, "as the first or after the one that gave up");
      shared->leave();
    });
  }
  w.finally([&] {
    testing::check(runs == 1, "one execution for the key");
    w.outcome(dropped);
  });
}

// One forgets the key while the other one may run it. An owner that lost its key overwrites nothing.
void forgotten(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int kept[2] = {};
  idempotency_outcome said[2] = {};
  for (int t = 0; t < 2; ++t) {
    staff.thread([&, shared, t] {
      if (t == 1) (*shared)->forget(1);
      const auto got = (*shared)->run(1, pay, [t] { return t; });
      said[t] = got.outcome;
      kept[t] = *got;
      if (got.outcome == idempotency_outcome::lost_ownership) {
        testing::check(t == 0 && *got == 0, "its own answer");
        const auto now = (*shared)->try_run(1, pay, [] { return 7; });
        const bool running = now.outcome == idempotency_outcome::in_flight;
        testing::check(running || *now == 1 || (first_hand(now.outcome) && *now == 7),
                       "what is kept is not the loser's");
      }
      shared->leave();
    });
  }
  w.finally([&] {
    const bool both_ran = kept[0] == 0 && kept[1] == 1;
    const bool shared_one = kept[0] == kept[1] && first_hand(said[0]) != first_hand(said[1]);
    const bool third = kept[1] == 7 && second_hand(said[1]);  // from the loser's second try
    testing::check(both_ran || shared_one || third, "own answer, or that of one who ran");
  });
}

// A run is settled while another thread forgets it.
void forgets(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(3, small());
  auto* const owner = claimed_before(shared);
  bool lost = false;
  staff.thread([&lost, shared, owner] {
    lost = owner->complete(1).outcome == idempotency_outcome::lost_ownership;
    delete owner;
    shared->leave();
  });
  staff.thread([shared] {
    testing::check((*shared)->forget(1), "a run or its answer");
    shared->leave();
  });
  w.finally([&lost, &w, shared] {
    const auto now = (*shared)->find(1, pay);
    testing::check(now.outcome == idempotency_outcome::absent, "a late owner stores nothing");
    testing::check((*shared)->statistics().entries == 0, "it has left once");
    shared->leave();
    w.outcome(lost);
  });
}

// The same, by an owner whose first answer could not be judged.
void forgets_beside_second_answer(world& w) {
  crew staff(w);
  cache::options how = small();
  how.is_final_response = [](const int& answer) { return answer != 0 ? true : throw refused(); };
  auto* const shared = shared_cache::make(3, std::move(how));
  auto* const owner = claimed_before(shared);
  try {
    owner->complete(0);
    testing::check(false, "it throws");
  } catch (const refused&) {
  }
  staff.thread([shared, owner] {
    testing::check(*owner->complete(1) == 1, "its second answer");
    delete owner;
    shared->leave();
  });
  staff.thread([shared] {
    testing::check((*shared)->forget(1), "a run or its answer");
    shared->leave();
  });
  w.finally([shared] {
    testing::check((*shared)->statistics().entries == 0, "it has left once");
    shared->leave();
  });
}

// Two bring another payload. Both are counted.
void mismatches_counted(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(3, small());
  auto* const owner = claimed_before(shared);
  owner->complete(1);
  delete owner;
  staff.threads(2, [shared] {
    const auto got = (*shared)->find(1, refund);
    testing::check(got.outcome == idempotency_outcome::payload_mismatch, "told");
    shared->leave();
  });
  w.finally([shared] {
    testing::check((*shared)->statistics().mismatches == 2, "each is counted");
    shared->leave();
  });
}

// One runs while the other one forgets the key and has a run of its own.
void forgets_while_it_runs(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  bool lost = false;
  staff.thread([&, shared] {
    const auto got = (*shared)->run(1, pay, [] { return 1; });
    lost = got.outcome == idempotency_outcome::lost_ownership;
    testing::check(*got == 1 || (*got == 2 && second_hand(got.outcome)), "an answer");
    shared->leave();
  });
  staff.thread([shared] {
    (*shared)->forget(1);
    auto claimed = (*shared)->try_claim(1, pay);
    if (claimed.owner) {
      testing::check(first_hand(claimed.owner.complete(2).outcome), "it keeps its key");
      const auto now = (*shared)->find(1, pay);
      testing::check(now && *now == 2, "a late owner overwrites nothing");
    }
    shared->leave();
  });
  w.finally([&] { w.outcome(lost); });
}

// One reads an answer without a lock while the other one has it evicted, and freed at once if it can.
void visited(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  {
    interlock::detail::readers::take_place(3);
    static_cast<void>((*shared)->run(1, pay, [] { return 7; }));
  }
  staff.thread([shared] {
    const auto said = (*shared)->visit(1, pay, [](const int& answer) {
      testing::check(answer == 7, "whole as long as it is looked at");
    });
    testing::check(said == idempotency_outcome::replayed || said == idempotency_outcome::absent,
                   "there or not");
    shared->leave();
  });
  staff.thread([shared] {
    testing::check((*shared)->evict(1), "it was there");
    shared->leave();
  });
  w.finally([] {});
}

// A lease is over: one takes over, the late owner settles at the same time.
void lease_is_over(world& w, bool effect) {
  crew staff(w);
  cache::options how = small();
  how.lease = std::chrono::seconds(1);
  interlock::coarse_time* const time = new interlock::coarse_time(std::chrono::nanoseconds(1));
  how.time = time;
  auto* const shared = shared_cache::make(2, std::move(how));
  interlock::detail::readers::take_place(3);
  auto* const owner = new cache::ticket((*shared)->try_claim(1, pay).owner);
  if (effect) testing::check(owner->begin_effect(), "its own");
  time->advance_to(std::chrono::seconds(2));
  bool kept = false;
  idempotency_outcome next{};
  staff.thread([&kept, shared, owner] {
    kept = first_hand(owner->complete(1).outcome);
    delete owner;
    shared->leave();
  });
  staff.thread([&next, shared] {
    next = (*shared)->try_run(1, pay, [] { return 2; }).outcome;
    const auto now = (*shared)->find(1, pay);
    if (first_hand(next)) testing::check(now && *now == 2, "a late owner overwrites nothing");
    shared->leave();
  });
  w.finally([&, effect, time] {
    testing::check(kept == !first_hand(next), "one of them has the key");
    if (effect) testing::check(kept, "what has had an effect is not run again");
    delete time;
  });
}

class manual {  // a coroutine that its owner destroys
public:
  struct promise_type {
    manual get_return_object() noexcept {
      return manual(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  manual(manual&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  manual& operator=(manual&&) = delete;
  ~manual() {
    if (frame_) frame_.destroy();
  }

private:
  explicit manual(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

manual awaits_answer(cache& c, int& answered) {
  const auto got = co_await c.async_claim(1, pay);
  if (got.answer) ++answered;
}

// Two coroutines wait for the run of their own thread, another thread perhaps between or behind
// them. The first is destroyed; then the run is settled, or given up.
void joiner_destroyed(world& w, bool settles) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int answered = 0;
  int runs = 0;
  bool owned = false;
  staff.thread([&, shared, settles] {
    {
      auto claimed = (*shared)->try_claim(1, pay);
      if (claimed.owner) {
        owned = true;
        std::optional<manual> gone(awaits_answer(**shared, answered));
        if (settles) {
          const manual stays = awaits_answer(**shared, answered);
          gone.reset();
          ++runs;
          claimed.owner.complete(1);
          testing::check(answered == 1, "it went on inside complete()");
        }
      }
    }
    shared->leave();
  });
  staff.thread([&, shared] {
    const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
    testing::check(got && *got == 1, "the one behind it is answered, or runs");
    shared->leave();
  });
  w.finally([&, settles] {
    testing::check(runs == 1, "one execution for the key");
    testing::check(answered == (owned && settles ? 1 : 0), "the other one was destroyed");
  });
}

// An answer expires while another thread may ask for it.
void expires(world& w) {
  cache::options how = small();
  how.ttl = std::chrono::seconds(1);
  crew staff(w);
  auto* const shared = shared_cache::make(2, std::move(how));
  int runs = 0;
  for (int t = 0; t < 2; ++t) {
    staff.thread([&runs, shared, t] {
      if (t == 1) testing::advance(std::chrono::seconds(1));
      const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
      testing::check(got && (*got == 1 || (t == 1 && *got == 2)), "an answer until its ttl");
      const bool replayed = got.outcome == idempotency_outcome::replayed;
      testing::check(!replayed || got.age < std::chrono::seconds(1), "not beyond");
      shared->leave();
    });
  }
  w.finally([&] { w.outcome(runs); });
}

// From inside its own run a thread asks for the key again, while another one may own or join it.
void asks_again_inside(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int runs = 0;
  for (int t = 0; t < 2; ++t) {
    staff.thread([&runs, shared] {
      const auto got = (*shared)->run(1, pay, [&runs, shared] {
        const auto inner = (*shared)->run(1, pay, [] { return 0; });
        testing::check(inner.outcome == idempotency_outcome::reentered, "told, not hung");
        return ++runs;
      });
      testing::check(got && *got == 1, "the outer run answers");
      shared->leave();
    });
  }
  w.finally([&] { testing::check(runs == 1, "one execution for the key"); });
}

// One does not wait.
void tries(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int runs = 0;
  bool in_flight = false;
  staff.thread([&, shared] {
    static_cast<void>((*shared)->run(1, pay, [&runs] { return ++runs; }));
    shared->leave();
  });
  staff.thread([&, shared] {
    const auto got = (*shared)->try_run(1, pay, [&runs] { return ++runs; });
    in_flight = got.outcome == idempotency_outcome::in_flight;
    testing::check(in_flight != static_cast<bool>(got), "the answer, or none at once");
    shared->leave();
  });
  w.finally([&] { testing::check(runs == 1, "one execution for the key"); });
}

// An answer is evicted while others ask for it or run it.
void evicted(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int runs = 0;
  bool dropped = false;
  staff.thread([&, shared] {
    const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
    testing::check(static_cast<bool>(got), "answered");
    shared->leave();
  });
  staff.thread([&, shared] {
    dropped = (*shared)->evict(1);
    const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
    testing::check(got && *got == (dropped ? 2 : 1), "again after the eviction, which spares a run");
    shared->leave();
  });
  w.finally([&] { testing::check(runs == (dropped ? 2 : 1), "once for each time it was absent"); });
}

// Both hold an answer when it is forgotten, by references, or by pins if it was read before: the
// last one frees it.
void answer_outlives_entry(world& w, bool read) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  auto* const owner = claimed_before(shared);
  owner->complete(1);
  delete owner;
  if (read) (*shared)->visit(1, pay, [](int) {});
  for (int t = 0; t < 2; ++t) {
    staff.thread([shared, t] {
      const auto got = (*shared)->find(1, pay);
      if (t == 0) (*shared)->forget(1);
      shared->leave();
      testing::check(got ? *got == 1 : t == 1, "the answer lives on");
    });
  }
  w.finally([] {});
}

// The same, and nothing but the letting go.
void answer_let_go(world& w) {
  begin_anew(3);
  readers::take_place(3);
  auto* const gone = new cache(small());
  gone->try_claim(1, pay).owner.complete(1);
  cache::response_ptr* held[2] = {};
  for (auto*& each : held) each = new cache::response_ptr(gone->find(1, pay).response);
  delete gone;
  for (auto* const each : held) {
    w.thread([each] {
      testing::check(**each == 1, "the answer lives on");
      delete each;
    });
  }
  w.finally([] {});
}

// A run is settled while another thread looks for its answer.
void found_as_it_is_given(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  auto* const owner = claimed_before(shared);
  staff.thread([shared, owner] {
    owner->complete(7);
    delete owner;
    shared->leave();
  });
  staff.thread([shared] {
    const auto got = (*shared)->find(1, pay);
    const bool to_come = got.outcome == idempotency_outcome::in_flight;
    testing::check(got ? *got == 7 : to_come, "whole, or still to come");
    shared->leave();
  });
  w.finally([] {});
}

// The same, and both send the request.
void answer_of_two_outlives_entry(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  for (int t = 0; t < 2; ++t) {
    staff.thread([shared, t] {
      auto got = (*shared)->run(1, pay, [] { return 1; });
      if (t == 0) (*shared)->forget(1);
      shared->leave();
      testing::check(*got == 1, "the answer lives on");
    });
  }
  w.finally([] {});
}

// A run is given up because the function that judges its failure throws. Then the same thread asks
// again: it may wait for the one that took over.
void gives_up_and_waits(world& w) {
  cache::options how = small();
  how.is_final_failure = [](const std::exception_ptr&) -> bool { throw refused(); };
  crew staff(w);
  auto* const shared = shared_cache::make(2, std::move(how));
  int runs = 0;
  staff.thread([&runs, shared] {
    bool thrown = false;
    try {
      static_cast<void>((*shared)->run(1, pay, []() -> int { throw refused(); }));
    } catch (const refused&) {
      thrown = true;
    }
    if (thrown) {
      const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
      testing::check(got && *got == 1, "waits for its heir, or runs");
    }
    shared->leave();
  });
  staff.thread([&runs, shared] {
    const auto got = (*shared)->run(1, pay, [&runs] { return ++runs; });
    testing::check(got && *got == 1, "takes over, or runs");
    shared->leave();
  });
  w.finally([&] { testing::check(runs == 1, "one execution for the key"); });
}

// Each allocation may fail once: nobody is left behind, and the key is free.
void out_of_memory(world& w, caller who) {
  crew staff(w);
  auto* const shared = shared_cache::make(2, small());
  int runs = 0;
  for (int t = 0; t < 2; ++t) {
    staff.thread([&runs, shared, who] {
      try {
        const auto got = send(**shared, who, runs);
        testing::check(got && *got == 1, "the run answers");
      } catch (const std::bad_alloc&) {
      }
      shared->leave();
    });
  }
  w.finally([&] { testing::check(runs <= 1, "one execution at most"); });
}

// One thread and every change of a record's word, in two parts.
void alone_evicts(world& w) {
  crew staff(w);
  auto* const shared = shared_cache::make(1, small());
  staff.thread([shared] {
    cache& all = **shared;
    const auto runs = [&all](int key) {
      return first_hand(all.run(key, pay, [] { return 1; }).outcome);
    };
    const auto knows = [&all](int key) { return static_cast<bool>(all.find(key, pay)); };
    testing::check(runs(1) && knows(1) && knows(1) && runs(2) && runs(3), "with room for two");
    testing::check(!knows(2) && runs(4) && runs(5) && !knows(1), "what was read is spared once");
    testing::check(all.visit(4, refund, [](int) {}) == idempotency_outcome::payload_mismatch &&
                       all.statistics().mismatches == 1 && all.statistics().replayed == 2,
                   "counted");
    testing::check(all.evict(4) && !knows(4), "evicted");
    shared->leave();
  });
  w.finally([] {});
}

void alone_leases(world& w) {
  crew staff(w);
  cache::options how = small();
  how.lease = std::chrono::seconds(1);
  auto* const time = new interlock::coarse_time(std::chrono::nanoseconds(1));
  how.time = time;
  auto* const shared = shared_cache::make(1, std::move(how));
  staff.thread([shared, time] {
    cache& all = **shared;
    static_cast<void>(all.run(6, pay, [&all] {
      const auto inner = all.run(6, pay, [] { return 0; });
      testing::check(inner.outcome == idempotency_outcome::reentered, "told, not hung");
      return 6;
    }));
    auto late = all.try_claim(7, pay);
    time->advance_to(std::chrono::seconds(2));
    auto next = all.try_claim(7, pay);
    testing::check(next.owner.attempt() == 2 && next.owner.begin_effect(), "the second owner");
    testing::check(late.owner.complete(1).outcome == idempotency_outcome::lost_ownership, "late");
    next = {};
    const auto doubt = all.try_run(7, pay, [] { return 0; });
    testing::check(doubt.outcome == idempotency_outcome::in_doubt, "its effect had begun");
    testing::check(all.claim_in_doubt(7, pay).owner.attempt() == 3, "the third");
    shared->leave();
  });
  w.finally([time] { delete time; });
}

// ---- what others do -----------------------------------------------------------------------------

// Looks, runs, stores.
class naive_cache {
public:
  template <class F>
  int run(F f) {
    {
      const std::lock_guard lock(mutex_);
      if (answer_) return *answer_;
    }
    const int answer = f();
    const std::lock_guard lock(mutex_);
    answer_ = answer;
    return answer;
  }

private:
  interlock::detail::futex_mutex mutex_;
  std::optional<int> answer_;
};

// Has the others wait for the one that runs, and leaves them behind if that throws.
class forgetful_cache {
public:
  template <class F>
  int run(F f) {
    std::unique_lock lock(mutex_);
    if (answer_) return *answer_;
    if (running_) {
      interlock::detail::thread_waiter node;
      node.next = std::exchange(waiting_, &node);
      lock.unlock();
      node.wait();
      return *answer_;
    }
    running_ = true;
    lock.unlock();
    const int answer = f();
    lock.lock();
    answer_ = answer;
    auto* const all = std::exchange(waiting_, nullptr);
    lock.unlock();
    interlock::detail::wake_all(all);
    return answer;
  }

private:
  interlock::detail::futex_mutex mutex_;
  bool running_ = false;
  std::optional<int> answer_;
  interlock::detail::waiter* waiting_ = nullptr;
};

template <class Cache>
void sends_twice(world& w, bool throws) {
  auto* const shared = used_by<Cache>::make(2);
  atomic<int> runs{0};
  for (int t = 0; t < 2; ++t) {
    w.thread([&runs, shared, throws] {
      try {
        (*shared)->run([&runs, throws] {
          runs.fetch_add(1, rlx);
          if (throws) throw refused();
          return 1;
        });
      } catch (const refused&) {
      }
      shared->leave();
    });
  }
  w.finally([&] { testing::check(runs.load(rlx) == 1, "one execution for the key"); });
}

testing::options failing_allocations() {
  testing::options how = whole_waits();
  how.allocation_failures = 1;
  return how;
}

}  // namespace

using enum caller;

TEST_CASE("idempotency_cache: of the callers of a key that overlap one executes, all get its answer") {
  proved([](world& w) { threads_send(w, 2, 1); }, whole_waits());
}

TEST_CASE("idempotency_cache: a thread and a coroutine, or two of them", "[.deep]") {
  proved([](world& w) { one_key(w, {thread, coroutine}, 1); }, whole_waits());
  proved([](world& w) { one_key(w, {coroutine, coroutine}, 1); }, whole_waits());
}

TEST_CASE("idempotency_cache: two callers with two calls each", "[.deep]") {
  proved([](world& w) { threads_send(w, 2, 2); }, whole_waits());
}

TEST_CASE("idempotency_cache: three callers of a key", "[.deep]") {
  proved([](world& w) { threads_send(w, 3, 1); }, whole_waits());
}

TEST_CASE("idempotency_cache: three callers and coroutines among them", "[.deep]") {
  proved([](world& w) { one_key(w, {thread, coroutine, thread}, 1); }, whole_waits());
  proved([](world& w) { one_key(w, {coroutine, coroutine, coroutine}, 1); }, whole_waits());
}

TEST_CASE("idempotency_cache: two callers who park", "[.deep]") {
  proved([](world& w) { threads_send(w, 2, 1); });
}

TEST_CASE("idempotency_cache: three callers with two calls each", "[.deep]") {
  proved([](world& w) { threads_send(w, 3, 2); }, whole_waits());
}

TEST_CASE("idempotency_cache: four callers of a key", "[.deep]") {
  proved([](world& w) { threads_send(w, 4, 1); }, whole_waits());
}

TEST_CASE("idempotency_cache: a later caller gets that answer until its ttl or its eviction") {
  const auto report = proved(expires, whole_waits());
  CHECK(joined(seen(report)) == "1, 2");
  proved(answer_let_go, whole_waits());
  proved(found_as_it_is_given, whole_waits());
}

TEST_CASE("idempotency_cache: two keys and one place", "[.deep]") {
  proved(one_place, whole_waits());
}

TEST_CASE("idempotency_cache: two send a request, hold its answer and forget it", "[.deep]") {
  proved(answer_of_two_outlives_entry, whole_waits());
  proved([](world& w) { answer_outlives_entry(w, false); }, whole_waits());
  proved([](world& w) { answer_outlives_entry(w, true); }, whole_waits());
}

TEST_CASE("idempotency_cache: one thread and every change of a record") {
  proved(alone_evicts, whole_waits());
}

TEST_CASE("idempotency_cache: another payload is refused even while the run is in flight") {
  proved(two_payloads, whole_waits());
  proved(mismatches_counted, whole_waits());
}

TEST_CASE("idempotency_cache: a retryable failure reaches the joiners of that run and nobody else") {
  proved([](world& w) { leader_throws(w, 2); }, whole_waits());
}

TEST_CASE("idempotency_cache: the leader throws and two may have joined", "[.deep]") {
  proved([](world& w) { leader_throws(w, 3); }, whole_waits());
}

TEST_CASE("idempotency_cache: a run that is given up goes on with one of its joiners") {
  CHECK(joined(seen(proved([](world& w) { ticket_dropped(w, {thread}); }, whole_waits()))) ==
        "0, 1");
  proved([](world& w) { ticket_dropped(w, {coroutine}); }, whole_waits());
}

TEST_CASE("idempotency_cache: a run is given up and two may have joined", "[.deep]") {
  proved([](world& w) { ticket_dropped(w, {thread, thread}); }, whole_waits());
  proved([](world& w) { ticket_dropped(w, {thread, coroutine}); }, whole_waits());
}

TEST_CASE("idempotency_cache: an owner that lost its key cannot overwrite its successor") {
  CHECK(joined(seen(proved(forgets, whole_waits()))) == "0, 1");
  proved(forgets_beside_second_answer, whole_waits());
}

TEST_CASE("idempotency_cache: the same, and both run and look again", "[.deep]") {
  proved(forgets_while_it_runs, whole_waits());
  proved(forgotten, whole_waits());
  proved(evicted, whole_waits());
}

TEST_CASE("idempotency_cache: an answer is whole as long as it is visited") {
  proved(visited, whole_waits());
}

TEST_CASE("idempotency_cache: what has had an effect is not run again behind its lease") {
  proved([](world& w) { lease_is_over(w, true); }, whole_waits());
}

TEST_CASE("idempotency_cache: of a late owner and its successor one has the key", "[.deep]") {
  proved([](world& w) { lease_is_over(w, false); }, whole_waits());
}

TEST_CASE("idempotency_cache: a joiner is destroyed, and others wait with it", "[.deep]") {
  proved([](world& w) { joiner_destroyed(w, false); }, whole_waits());
}

TEST_CASE("idempotency_cache: a joiner is destroyed and the others are answered", "[.deep]") {
  proved([](world& w) { joiner_destroyed(w, true); }, whole_waits());
}

TEST_CASE("idempotency_cache: try_run does not wait, and a run within a run is told") {
  proved(alone_leases, whole_waits());
}

TEST_CASE("idempotency_cache: one runs, and one tries to", "[.deep]") {
  proved(tries, whole_waits());
}

TEST_CASE("idempotency_cache: a run within a run, and another one joins", "[.deep]") {
  proved(asks_again_inside, whole_waits());
}

TEST_CASE("idempotency_cache: who gave up a run may wait for its heir", "[.deep]") {
  proved(gives_up_and_waits, whole_waits());
}

TEST_CASE("idempotency_cache: no joiner is left behind if memory runs out", "[.deep]") {
  proved([](world& w) { out_of_memory(w, thread); }, failing_allocations());
}

TEST_CASE("idempotency_cache: no coroutine is left behind if memory runs out", "[.deep]") {
  proved([](world& w) { out_of_memory(w, coroutine); }, failing_allocations());
}

TEST_CASE("idempotency_cache: look, run, store is found to run twice") {
  failing([](world& w) { sends_twice<naive_cache>(w, false); });
}

TEST_CASE("idempotency_cache: joiners that a failure leaves behind are found") {
  proved([](world& w) { sends_twice<forgetful_cache>(w, false); }, whole_waits());
  const auto report =
      failing([](world& w) { sends_twice<forgetful_cache>(w, true); }, whole_waits());
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("idempotency_cache: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({alone_evicts, alone_leases, forgets, found_as_it_is_given, answer_let_go, visited,
           mismatches_counted, forgets_beside_second_answer},
          how);
}
