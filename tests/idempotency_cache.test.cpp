// SPDX-License-Identifier: BSL-1.0
// idempotency_cache: its guarantees, the failure policy, tickets, bounds, and the bugs of its kind,
// each by its name in the literature: [skipped-fingerprint] [late-owner] [lost-leader]
// [wake-before-unlink] [invalidate-while-loading] [throw-hangs] [re-entry] [expiry]
// [evict-in-flight] [throwing-response] [woken-then-destroyed] [settled-ticket].

#include <interlock/idempotency_cache.hpp>
#include <interlock/task.hpp>

#include <pthread.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <variant>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using interlock::fingerprint;
using interlock::fingerprint_of;
using interlock::idempotency_cache;
using interlock::idempotency_outcome;
using interlock::sync_wait;
using interlock::task;
using enum interlock::idempotency_outcome;
using std::chrono::nanoseconds;

using support::detached;
using support::owned;

namespace {

using cache_type = idempotency_cache<std::string, int>;
using result = cache_type::result;

constexpr fingerprint pay{17};
constexpr fingerprint other_payload{18};

// Time that passes when the test says so.
struct manual_clock {
  std::atomic<std::int64_t> time{1'000};

  void advance(nanoseconds by) { time.fetch_add(by.count(), std::memory_order_relaxed); }
  auto reader() {
    return [this] { return nanoseconds(time.load(std::memory_order_relaxed)); };
  }
};

cache_type::options with_clock(manual_clock& clock, std::size_t capacity = 100) {
  cache_type::options how;
  how.capacity = capacity;
  how.ttl = nanoseconds(100);
  how.failure_ttl = nanoseconds(10);
  how.now = clock.reader();
  return how;
}

template <class Cache>
void wait_for_joiners(const Cache& cache, std::uint64_t n) {
  while (cache.statistics().joined < n) std::this_thread::yield();
}

template <class Result>
bool is(const Result& got, idempotency_outcome outcome, int response) {
  return got.outcome == outcome && got.response != nullptr && *got == response &&
         static_cast<bool>(got) == (outcome != lost_ownership);
}

template <class Result>
bool is_refused(const Result& got, idempotency_outcome outcome) {
  return got.outcome == outcome && !got && got.response == nullptr;
}

// Returns: what f throws, as text; "(nothing)" if it returns.
template <class F>
std::string thrown_by(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "(something else)";
  }
  return "(nothing)";
}

template <class Cache, class F>
detached run_detached(Cache& cache, std::string key, F f,
                      std::optional<typename Cache::result>& got) {
  got = co_await cache.async_run(key, pay, f);
}

// Waits until it owns the key, and then for ever.
owned hold(cache_type& cache, std::string key) {
  const auto claimed = co_await cache.async_claim(key, pay);
  co_await std::suspend_always{};
}

task<int> answer_soon(int value) {
  co_await interlock::reschedule();
  co_return value;
}

}  // namespace

// ---- the guarantees ----------------------------------------------------------------------------

TEST_CASE("Of the callers of a key that overlap one executes and all get its answer") {
  cache_type cache;
  constexpr std::size_t callers = 6;
  std::atomic<int> executions{0};
  std::vector<result> got(callers);
  support::run_threads(callers, [&](std::size_t i) {
    got[i] = cache.run("order-7", pay, [&] {
      executions.fetch_add(1, std::memory_order_relaxed);
      wait_for_joiners(cache, callers - 1);  // all of them overlap
      return 42;
    });
  });
  CHECK(executions.load() == 1);
  std::size_t executed_here = 0;
  for (const result& each : got) {
    CHECK((is(each, executed, 42) || is(each, joined, 42)));
    CHECK(each.attempt == 1);
    CHECK(each.response == got[0].response);  // the same object, no copies
    executed_here += each.outcome == executed ? 1 : 0;
  }
  CHECK(executed_here == 1);
}

TEST_CASE("A later caller gets that answer until its ttl has passed or it is evicted") {
  manual_clock clock;
  cache_type cache(with_clock(clock, 2));
  int executions = 0;
  const auto charge = [&] { return ++executions; };

  // The ttl counts from the answer: the run itself may take longer than that.
  CHECK(is(cache.run("a", pay,
                     [&] {
                       clock.advance(nanoseconds(500));
                       return charge();
                     }),
           executed, 1));
  clock.advance(nanoseconds(99));
  const result late = cache.run("a", pay, charge);
  CHECK(is(late, replayed, 1));
  CHECK(late.age == nanoseconds(99));
  clock.advance(nanoseconds(1));
  CHECK(is(cache.run("a", pay, charge), executed, 2));
  CHECK(cache.statistics().expired == 1);

  CHECK(cache.run("b", pay, charge).outcome == executed);
  CHECK(cache.run("c", pay, charge).outcome == executed);  // evicts a, the oldest
  CHECK(cache.statistics().evicted == 1);
  CHECK(cache.run("b", pay, charge).outcome == replayed);
  CHECK(is(cache.run("a", pay, charge), executed, 5));
}

TEST_CASE("A key that comes with another payload is refused even while its run is in flight") {
  cache_type cache;
  const auto never = [] { return -1; };
  auto claimed = cache.claim("k", pay);
  REQUIRE(claimed.owner);
  CHECK(is_refused(cache.run("k", other_payload, never), payload_mismatch));  // does not wait
  CHECK(is_refused(cache.try_run("k", other_payload, never), payload_mismatch));
  claimed.owner.complete(1);
  CHECK(is_refused(cache.run("k", other_payload, never), payload_mismatch));
  CHECK(cache.statistics().mismatches == 3);
}

TEST_CASE("A retryable failure reaches the joiners of that run and no later caller") {
  cache_type cache;
  const std::exception_ptr timeout = std::make_exception_ptr(std::runtime_error("bank timeout"));
  auto claimed = cache.claim("k", pay);
  std::vector<std::string> caught(3);
  std::vector<std::thread> joiners;
  for (std::string& each : caught) {
    joiners.emplace_back(
        [&] { each = thrown_by([&] { cache.run("k", pay, [] { return -1; }); }); });
  }
  wait_for_joiners(cache, 3);
  claimed.owner.fail(timeout);
  CHECK_FALSE(claimed.owner);
  for (std::thread& each : joiners) each.join();
  CHECK(caught == std::vector<std::string>(3, "bank timeout"));
  CHECK(cache.size_approx() == 0);
  CHECK(is(cache.run("k", pay, [] { return 5; }), executed, 5));
  CHECK(cache.statistics().failures == 1);
}

TEST_CASE("A run that is given up goes on with one of its joiners") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  std::atomic<int> executions{0};
  std::vector<result> got(3);
  std::vector<std::thread> joiners;
  for (result& each : got) {
    joiners.emplace_back([&] {
      each = cache.run("k", pay,
                       [&] { return 10 + executions.fetch_add(1, std::memory_order_relaxed); });
    });
  }
  wait_for_joiners(cache, 3);
  claimed = {};
  for (std::thread& each : joiners) each.join();
  CHECK(executions.load() == 1);
  std::size_t heirs = 0;
  for (const result& each : got) {
    CHECK(*each == 10);
    CHECK(each.attempt == 2);
    CHECK((each.outcome == executed || each.outcome == joined));
    heirs += each.outcome == executed ? 1 : 0;
  }
  CHECK(heirs == 1);
  CHECK(cache.statistics().takeovers == 1);
  CHECK(is(cache.run("k", pay, [] { return -1; }), replayed, 10));
}

TEST_CASE("An owner that lost its key cannot overwrite its successor") {
  cache_type cache;
  for (const std::string how : {"complete", "fail", "give up"}) {
    for (const bool successor_is_done : {false, true}) {
      auto late = cache.claim("k", pay);
      REQUIRE(late.owner);
      CHECK(cache.forget("k"));
      auto successor = cache.claim("k", pay);
      REQUIRE(successor.owner);
      if (successor_is_done) CHECK(successor.owner.complete(2).outcome == executed);

      if (how == "complete") {
        const result lost = late.owner.complete(1);
        CHECK(is(lost, lost_ownership, 1));
      } else if (how == "fail") {
        late.owner.fail(std::make_exception_ptr(std::runtime_error("late")));
      } else {
        late = {};
      }
      if (!successor_is_done) {
        CHECK(is_refused(cache.try_run("k", pay, [] { return -1; }), in_flight));
        CHECK(successor.owner.complete(2).outcome == executed);
      }
      CHECK(is(cache.run("k", pay, [] { return -1; }), replayed, 2));
      CHECK(cache.evict("k"));
    }
  }
}

// ---- bugs of this kind, by name
// ------------------------------------------------------------------

TEST_CASE(
    "[skipped-fingerprint] no state of a record and no way to it goes around the fingerprint") {
  manual_clock clock;
  auto how = with_clock(clock);
  how.is_final_failure = [](const std::exception_ptr&) { return true; };
  cache_type cache(how);
  const auto refuses = [&](const std::string& key) {
    const auto never = []() -> int { throw std::logic_error("ran"); };
    const auto never_async = []() -> task<int> { co_return -1; };
    return cache.run(key, other_payload, never).outcome == payload_mismatch &&
           cache.try_run(key, other_payload, never).outcome == payload_mismatch &&
           cache.claim(key, other_payload).answer.outcome == payload_mismatch &&
           cache.try_claim(key, other_payload).answer.outcome == payload_mismatch &&
           sync_wait(cache.async_run(key, other_payload, never_async)).outcome == payload_mismatch;
  };
  auto running = cache.claim("running", pay);
  CHECK(refuses("running"));
  cache.run("answered", pay, [] { return 1; });
  CHECK(refuses("answered"));
  thrown_by([&] { cache.run("failed", pay, []() -> int { throw std::runtime_error("no"); }); });
  CHECK(refuses("failed"));  // a mismatch, not the other request's failure

  // After a take-over the record still belongs to the payload that made it.
  std::thread heir([&] {
    cache.run("running", pay, [&] {
      const bool refused = refuses("running");
      return refused ? 1 : 0;
    });
  });
  wait_for_joiners(cache, 1);
  running = {};
  heir.join();
  CHECK(is(cache.run("running", pay, [] { return -1; }), replayed, 1));
  CHECK(refuses("running"));

  // A key whose answer is gone is free for any payload.
  clock.advance(nanoseconds(100));
  CHECK(cache.run("answered", other_payload, [] { return 2; }).outcome == executed);
}

TEST_CASE("[lost-leader] joiners outlive any number of owners that give up") {
  cache_type cache;
  constexpr std::size_t joiners = 5;
  auto first = cache.claim("k", pay);
  std::atomic<std::size_t> gave_up{0};
  std::vector<std::thread> threads;
  std::vector<result> got(joiners);
  for (result& each : got) {
    threads.emplace_back([&] {
      auto claimed = cache.claim("k", pay);
      if (!claimed.owner) {
        each = claimed.answer;
      } else if (gave_up.fetch_add(1, std::memory_order_relaxed) + 2 < joiners) {
        claimed = {};  // this one leaves without an answer
      } else {
        each = claimed.owner.complete(9);
      }
    });
  }
  wait_for_joiners(cache, joiners);
  first = {};
  for (std::thread& each : threads) each.join();
  std::size_t answered = 0;
  for (const result& each : got) answered += each && *each == 9 && each.attempt == joiners ? 1 : 0;
  CHECK(answered == 2);  // the last owner and the one joiner that was left
  CHECK(cache.statistics().takeovers == joiners - 1);
}

#if defined(__GLIBCXX__)  // where pthread_exit unwinds the stack
TEST_CASE("[lost-leader] a thread that exits inside f gives up its run") {
  cache_type cache;
  std::atomic<bool> inside{false};
  pthread_t leaver;
  struct context {
    cache_type& cache;
    std::atomic<bool>& inside;
  } shared{cache, inside};
  const auto body = [](void* data) -> void* {
    auto& in = *static_cast<context*>(data);
    in.cache.run("k", pay, [&]() -> int {
      in.inside.store(true, std::memory_order_release);
      wait_for_joiners(in.cache, 1);
      ::pthread_exit(nullptr);
    });
    return nullptr;
  };
  REQUIRE(::pthread_create(&leaver, nullptr, body, &shared) == 0);
  while (!inside.load(std::memory_order_acquire)) std::this_thread::yield();
  const result got = cache.run("k", pay, [] { return 3; });
  ::pthread_join(leaver, nullptr);
  CHECK(is(got, executed, 3));
  CHECK(got.attempt == 2);
}
#endif

TEST_CASE("[wake-before-unlink] a joiner that hears of a failure can own the next run at once") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  bool owned_again = false;
  const auto retry = [](cache_type& c, bool& owned) -> detached {
    bool failed = false;
    try {
      const auto first = co_await c.async_claim("k", pay);
    } catch (const std::runtime_error&) {
      failed = true;
    }
    // Still inside fail(): the failed run is out of the table, and no lock is held.
    auto again = c.try_claim("k", pay);
    owned = failed && again.owner;
  };
  retry(cache, owned_again);
  claimed.owner.fail(std::make_exception_ptr(std::runtime_error("no")));
  CHECK(owned_again);
}

TEST_CASE("[invalidate-while-loading] forget during a run keeps its answer out of the table") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  result joiner;
  std::thread thread([&] { joiner = cache.run("k", pay, [] { return -1; }); });
  wait_for_joiners(cache, 1);
  CHECK_FALSE(cache.evict("k"));  // settled answers only
  CHECK(cache.forget("k"));
  CHECK_FALSE(cache.forget("k"));
  CHECK(is(claimed.owner.complete(1), lost_ownership, 1));
  thread.join();
  CHECK(is(joiner, joined, 1));  // was there before: gets the answer
  CHECK(is(cache.run("k", pay, [] { return 2; }), executed, 2));
  CHECK(is(cache.run("k", pay, [&] { return -1; }), replayed, 2));

  const result own = cache.run("x", pay, [&] {
    cache.forget("x");
    return 4;
  });
  CHECK(is(own, lost_ownership, 4));
  CHECK(is(cache.run("x", pay, [] { return 5; }), executed, 5));
}

TEST_CASE("[throw-hangs] whatever throws, the joiners go on and the key is free, or answered") {
  struct throwing_response {
    explicit throwing_response(int v) : value(v) {
      if (v == 13) throw std::runtime_error("response");
    }
    int value;
  };
  using cache_t = idempotency_cache<std::string, throwing_response>;
  bool bad_clock = false;
  cache_t::options how;
  how.is_final_response = [](const throwing_response& r) {
    if (r.value == 14) throw std::runtime_error("response classifier");
    return true;
  };
  how.is_final_failure = [](const std::exception_ptr& failure) -> bool {
    if (thrown_by([&] { std::rethrow_exception(failure); }) == "worst") {
      throw std::runtime_error("failure classifier");
    }
    return false;
  };
  how.now = [&bad_clock] {
    if (bad_clock) throw std::runtime_error("clock");
    return nanoseconds(1);
  };
  cache_t cache(how);
  const auto run = [&](auto f) { return thrown_by([&] { cache.run("k", pay, f); }); };
  CHECK(run([]() -> throwing_response { throw std::runtime_error("f"); }) == "f");
  CHECK(run([] { return throwing_response(13); }) == "response");
  // What f has done is not done again: an option that throws behind it does not take it back.
  CHECK(run([] { return throwing_response(14); }) == "response classifier");
  CHECK(cache.find("k", pay)->value == 14);
  CHECK(cache.forget("k"));
  CHECK(run([]() -> throwing_response { throw std::runtime_error("worst"); }) ==
        "failure classifier");
  CHECK(run([&] {
          bad_clock = true;
          return throwing_response(1);
        }) == "clock");
  CHECK(run([] { return throwing_response(2); }) == "clock");
  bad_clock = false;
  CHECK(run([] { return throwing_response(2); }) == "(nothing)");
  CHECK(cache.find("k", pay)->value == 1);
  CHECK(cache.forget("k"));
  CHECK(cache.size_approx() == 0);

  // The same with a joiner: it hears of the failure, or takes over where there is none to hear of.
  const auto joined_to = [&](auto f) {
    std::optional<cache_t::result> got;
    std::string heard;
    const std::uint64_t before = cache.statistics().joined;
    std::thread owner([&] {
      thrown_by([&] {
        cache.run("k", pay, [&] {
          wait_for_joiners(cache, before + 1);
          return f();
        });
      });
    });
    while (cache.size_approx() == 0) std::this_thread::yield();
    heard = thrown_by([&] { got = cache.run("k", pay, [] { return throwing_response(7); }); });
    owner.join();
    if (got) heard = "took over " + std::to_string((*got)->value);
    cache.forget("k");
    return heard;
  };
  const std::exception_ptr held = std::make_exception_ptr(std::runtime_error("f"));
  CHECK(joined_to([&]() -> throwing_response { std::rethrow_exception(held); }) == "f");
  const std::exception_ptr worst = std::make_exception_ptr(std::runtime_error("worst"));
  CHECK(joined_to([&]() -> throwing_response { std::rethrow_exception(worst); }) == "took over 7");
}

TEST_CASE("[throw-hangs] a key that throws when hashed or copied leaves no trace") {
  struct key {
    key(int v, bool throws) : value(v), throws_on_copy(throws) {}
    key(const key& other) : value(other.value), throws_on_copy(other.throws_on_copy) {
      if (throws_on_copy) throw std::runtime_error("copy");
    }
    bool operator==(const key& other) const { return value == other.value; }
    int value;
    bool throws_on_copy;
  };
  struct hash {
    std::size_t operator()(const key& k) const {
      if (k.value < 0) throw std::runtime_error("hash");
      return 1;  // all keys collide
    }
  };
  idempotency_cache<key, int, hash> cache;
  CHECK(thrown_by([&] { cache.run(key(1, true), pay, [] { return 1; }); }) == "copy");
  CHECK(thrown_by([&] { cache.run(key(-1, false), pay, [] { return 1; }); }) == "hash");
  CHECK(cache.size_approx() == 0);
  for (int i = 1; i < 50; ++i) {
    CHECK(is(cache.run(key(i, false), pay, [&] { return i; }), executed, i));
  }
  for (int i = 1; i < 50; ++i) {
    CHECK(is(cache.run(key(i, true), pay, [] { return -1; }), replayed, i));
  }
  CHECK(cache.evict(key(25, true)));
  CHECK(cache.size_approx() == 48);
}

TEST_CASE("[re-entry] a run that would wait for itself is told so") {
  cache_type cache;
  const auto never = [] { return -1; };
  idempotency_outcome inner{}, through_another{}, without_waiting{}, claimed{};
  const result outer = cache.run("k", pay, [&] {
    inner = cache.run("k", pay, never).outcome;
    claimed = cache.claim("k", pay).answer.outcome;
    without_waiting = cache.try_run("k", pay, never).outcome;
    cache.run("l", pay, [&] {
      through_another = cache.run("k", pay, never).outcome;
      return 0;
    });
    return 1;
  });
  CHECK(is(outer, executed, 1));
  CHECK(inner == reentered);
  CHECK(claimed == reentered);
  CHECK(through_another == reentered);
  CHECK(without_waiting == in_flight);
  CHECK(is(cache.run("l", pay, never), replayed, 0));

  // A run that has thrown is no longer on this thread's list.
  thrown_by([&] { cache.run("m", pay, []() -> int { throw std::runtime_error("no"); }); });
  CHECK(is(cache.run("m", pay, [] { return 3; }), executed, 3));
  // Once the key is forgotten, the inner run has nothing to wait for.
  cache.run("n", pay, [&] {
    cache.forget("n");
    inner = cache.run("n", pay, [] { return 2; }).outcome;
    return 1;
  });
  CHECK(inner == executed);
  CHECK(is(cache.run("n", pay, never), replayed, 2));
}

TEST_CASE("[re-entry] a thread that gave up a run may wait for its heir") {
  cache_type cache({.is_final_failure = [](const std::exception_ptr&) -> bool {
    throw std::runtime_error("no answer at all");
  }});
  owned heir{};
  const auto give_up = [&]() -> int {
    heir = hold(cache, "k");
    throw 1;
  };
  CHECK(thrown_by([&] { cache.run("k", pay, give_up); }) == "no answer at all");
  std::thread helper([&] {
    wait_for_joiners(cache, 2);
    heir.handle.destroy();
  });
  const result got = cache.run("k", pay, [] { return 5; });
  helper.join();
  CHECK(is(got, executed, 5));
  CHECK(got.attempt == 3);
}

TEST_CASE("[evict-in-flight] a run in flight is never evicted") {
  manual_clock clock;
  cache_type cache(with_clock(clock, 1));
  auto first = cache.claim("first", pay);
  REQUIRE(first.owner);
  CHECK(is_refused(cache.run("second", pay, [] { return -1; }), over_capacity));
  CHECK(is_refused(cache.claim("second", pay).answer, over_capacity));
  CHECK(cache.statistics().refused == 2);
  clock.advance(nanoseconds(1'000'000));  // nor does it expire
  CHECK(is_refused(cache.try_run("first", pay, [] { return -1; }), in_flight));
  CHECK(is(first.owner.complete(1), executed, 1));
  CHECK(is(cache.run("first", pay, [] { return -1; }), replayed, 1));
  CHECK(is(cache.run("second", pay, [] { return 2; }), executed, 2));  // evicts the settled one
  CHECK(cache.size_approx() == 1);

  cache_type four(with_clock(clock, 4));
  auto pinned = four.claim("pinned", pay);
  for (int i = 0; i < 100; ++i) four.run(std::to_string(i), pay, [&] { return i; });
  CHECK(four.size_approx() == 4);
  CHECK(four.statistics().evicted == 97);
  CHECK(is(pinned.owner.complete(7), executed, 7));
  CHECK(is(four.run("pinned", pay, [] { return -1; }), replayed, 7));
}

TEST_CASE("[throwing-response] a response is built in place and never copied or moved") {
  struct immovable {
    explicit immovable(int v) : value(v) {}
    immovable(immovable&&) = delete;
    int value;
  };
  idempotency_cache<int, immovable> cache;
  const auto first = cache.run(1, pay, [] { return immovable(4); });
  CHECK(first->value == 4);
  CHECK(cache.run(1, pay, [] { return immovable(5); }).response == first.response);
  auto claimed = cache.claim(2, pay);
  CHECK(claimed.owner.complete_with([] { return immovable(6); })->value == 6);
}

TEST_CASE("[throwing-response] a ticket whose response throws on the way in still owns the run") {
  struct fragile {
    explicit fragile(int v) : value(v) {}
    fragile(const fragile& other) : value(other.value) {
      if (value == 0) throw std::runtime_error("copy");
    }
    int value;
  };
  idempotency_cache<int, fragile> cache;
  auto claimed = cache.claim(1, pay);
  const fragile bad(0);
  CHECK(thrown_by([&] { claimed.owner.complete(bad); }) == "copy");
  CHECK(claimed.owner);
  CHECK(cache.try_claim(1, pay).answer.outcome == in_flight);
  CHECK(claimed.owner.complete(fragile(8))->value == 8);
  CHECK_FALSE(claimed.owner);
}

// ---- failure policy
// ------------------------------------------------------------------------------

TEST_CASE("a final failure is thrown at later callers until its own ttl has passed") {
  manual_clock clock;
  auto how = with_clock(clock);
  how.is_final_failure = [](const std::exception_ptr& failure) {
    return thrown_by([&] { std::rethrow_exception(failure); }) == "card declined";
  };
  cache_type cache(how);
  const auto decline = []() -> int { throw std::runtime_error("card declined"); };
  CHECK(thrown_by([&] { cache.run("k", pay, decline); }) == "card declined");
  CHECK(thrown_by([&] { cache.run("k", pay, [] { return 1; }); }) == "card declined");
  CHECK(thrown_by([&] { (void)cache.claim("k", pay); }) == "card declined");
  CHECK(cache.statistics().replayed == 2);
  clock.advance(nanoseconds(10));  // failure_ttl; the ttl of answers is 100
  CHECK(is(cache.run("k", pay, [] { return 1; }), executed, 1));
}

TEST_CASE("a response that is not final reaches its joiners and no later caller") {
  auto how = cache_type::options{};
  how.is_final_response = [](const int& status) { return status < 500; };
  cache_type cache(how);
  auto claimed = cache.claim("k", pay);
  result joiner;
  std::thread thread([&] { joiner = cache.run("k", pay, [] { return -1; }); });
  wait_for_joiners(cache, 1);
  CHECK(is(claimed.owner.complete(503), executed, 503));
  thread.join();
  CHECK(is(joiner, joined, 503));
  CHECK(is(cache.run("k", pay, [] { return 201; }), executed, 201));
  CHECK(is(cache.run("k", pay, [] { return -1; }), replayed, 201));
}

// ---- tickets
// -------------------------------------------------------------------------------------

TEST_CASE("a ticket settles once, from any thread, and an empty one settles nothing") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  std::thread elsewhere([ticket = std::move(claimed.owner)]() mutable { ticket.complete(6); });
  elsewhere.join();
  CHECK_FALSE(claimed.owner);
  CHECK(is_refused(claimed.owner.complete(1), lost_ownership));
  claimed.owner.fail(std::make_exception_ptr(1));
  CHECK(is(cache.run("k", pay, [] { return -1; }), replayed, 6));

  auto second = cache.claim("l", pay);
  second.owner.fail(nullptr);  // gives up
  CHECK_FALSE(second.owner);
  CHECK(cache.size_approx() == 1);
  second = cache.claim("m", pay);
  second = cache.claim("n", pay);  // m is given up
  CHECK(cache.try_claim("m", pay).owner);
  CHECK(cache.size_approx() == 2);
}

TEST_CASE("a dropped ticket frees the key") {
  cache_type cache;
  { const auto claimed = cache.claim("k", pay); }
  CHECK(cache.size_approx() == 0);
  CHECK(is(cache.run("k", pay, [] { return 1; }), executed, 1));
}

// ---- coroutines
// ----------------------------------------------------------------------------------

TEST_CASE("coroutines and threads join one run") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  std::optional<result> first, second;
  result from_thread;
  const auto never = [] { return answer_soon(-1); };
  run_detached(cache, "k", never, first);
  std::thread thread([&] { from_thread = cache.run("k", pay, [] { return -1; }); });
  run_detached(cache, "k", never, second);
  wait_for_joiners(cache, 3);
  CHECK_FALSE(first.has_value());
  claimed.owner.complete(8);
  thread.join();
  REQUIRE(first.has_value());
  REQUIRE(second.has_value());
  CHECK(is(*first, joined, 8));
  CHECK(is(*second, joined, 8));
  CHECK(is(from_thread, joined, 8));
}

TEST_CASE("async_run executes, replays and throws as run does") {
  cache_type cache;
  int executions = 0;
  const auto charge = [&] { return answer_soon(++executions); };
  CHECK(is(sync_wait(cache.async_run("k", pay, charge)), executed, 1));
  CHECK(is(sync_wait(cache.async_run("k", pay, charge)), replayed, 1));
  const auto fail = []() -> task<int> {
    co_await interlock::reschedule();
    throw std::runtime_error("no");
  };
  CHECK(thrown_by([&] { sync_wait(cache.async_run("l", pay, fail)); }) == "no");
  CHECK(cache.size_approx() == 1);
  CHECK(is(sync_wait(cache.async_run("l", pay, charge)), executed, 2));
}

TEST_CASE("a coroutine takes over what a thread gave up, and the other way round") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  std::optional<result> got;
  run_detached(
      cache, "k", [] { return answer_soon(4); }, got);
  claimed = {};
  REQUIRE(got.has_value());
  CHECK(is(*got, executed, 4));
  CHECK(got->attempt == 2);

  // The frame of an owner is destroyed: its run is given up.
  const owned owner = hold(cache, "l");
  result heir;
  std::thread thread([&] { heir = cache.run("l", pay, [] { return 5; }); });
  wait_for_joiners(cache, 2);
  owner.handle.destroy();
  thread.join();
  CHECK(is(heir, executed, 5));
}

TEST_CASE("a joiner that is destroyed while suspended leaves the others in line") {
  cache_type cache;
  const auto never = [] { return answer_soon(-1); };
  for (const bool hand_over : {false, true}) {
    auto claimed = cache.claim("k", pay);
    std::optional<result> first, second;
    std::vector<owned> leavers;
    leavers.push_back(hold(cache, "k"));
    run_detached(cache, "k", never, first);
    leavers.push_back(hold(cache, "k"));
    leavers.push_back(hold(cache, "k"));
    for (const owned& each : leavers) each.handle.destroy();
    run_detached(cache, "k", never, second);
    if (hand_over) {
      claimed = {};
      CHECK(is(first.value(), executed, -1));
      CHECK(is(second.value(), joined, -1));
    } else {
      claimed.owner.complete(6);
      CHECK(is(first.value(), joined, 6));
      CHECK(is(second.value(), joined, 6));
    }
    cache.evict("k");
  }
}

TEST_CASE("[woken-then-destroyed] a joiner may be destroyed between its wake-up and its turn") {
  for (const bool hand_over : {false, true}) {
    cache_type cache;
    result next;
    const auto join = [](cache_type& c, result& got) -> detached {
      auto claimed = co_await c.async_claim("k", pay);
      got = claimed.answer ? claimed.answer : claimed.owner.complete(3);
    };
    const auto own = [&](cache_type& c, bool gives_up) -> task<int> {
      auto claimed = co_await c.async_claim("k", pay);
      const owned joiner = hold(c, "k");
      join(c, next);
      if (gives_up) {
        claimed.owner = {};
      } else {
        claimed.owner.complete(2);
      }
      joiner.handle.destroy();  // woken, but this coroutine has not suspended yet
      co_return 0;
    };
    sync_wait(own(cache, hand_over));
    if (hand_over) {
      CHECK(is(next, executed, 3));  // what the joiner had become the owner of went on
      CHECK(next.attempt == 3);
    } else {
      CHECK(is(next, joined, 2));
    }
    CHECK(is(cache.try_run("k", pay, [] { return -1; }), replayed, hand_over ? 3 : 2));
  }
}

TEST_CASE("[woken-then-destroyed] a joiner may destroy the one behind it") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  owned second{};
  const auto first = [](cache_type& c, owned& other) -> detached {
    const auto got = co_await c.async_claim("k", pay);
    other.handle.destroy();
  };
  first(cache, second);
  second = hold(cache, "k");
  claimed.owner.complete(1);  // by a thread, outside every coroutine
  CHECK(is(cache.try_run("k", pay, [] { return -1; }), replayed, 1));
}

// A joiner that ends the very ticket that is being settled.
detached end_the_ticket(cache_type& cache, std::unique_ptr<cache_type::ticket>& owner, bool empty) {
  try {
    const auto got = co_await cache.async_claim("k", pay);
  } catch (const std::runtime_error&) {
  }
  if (empty) *owner = {};
  owner.reset();
}

TEST_CASE("[settled-ticket] a joiner that ends the ticket does not take the answer back") {
  for (const bool empties_it_first : {false, true}) {
    cache_type cache;
    auto owner = std::make_unique<cache_type::ticket>(cache.claim("k", pay).owner);
    end_the_ticket(cache, owner, empties_it_first);
    cache_type::ticket& settling = *owner;
    CHECK(is(settling.complete(7), executed, 7));
    CHECK(owner == nullptr);
    CHECK(is(cache.try_run("k", pay, [] { return -1; }), replayed, 7));
  }
}

TEST_CASE("[settled-ticket] a joiner that ends the ticket does not take the failure back") {
  for (const bool empties_it_first : {false, true}) {
    cache_type cache({.is_final_failure = [](const std::exception_ptr&) { return true; }});
    auto owner = std::make_unique<cache_type::ticket>(cache.claim("k", pay).owner);
    end_the_ticket(cache, owner, empties_it_first);
    cache_type::ticket& settling = *owner;
    settling.fail(std::make_exception_ptr(std::runtime_error("declined")));
    CHECK(owner == nullptr);
    CHECK(thrown_by([&] { cache.run("k", pay, [] { return -1; }); }) == "declined");
  }
}

TEST_CASE("a thread does not wait for the coroutine that joined before it") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  std::binary_semaphore thread_has_its_answer{0};
  bool came = false;
  const auto slow = [](cache_type& c, std::binary_semaphore& other, bool& in_time) -> detached {
    const auto got = co_await c.async_claim("k", pay);
    in_time = other.try_acquire_for(std::chrono::seconds(10));  // runs inside complete()
  };
  slow(cache, thread_has_its_answer, came);
  result behind;
  std::thread thread([&] {
    behind = cache.run("k", pay, [] { return -1; });
    thread_has_its_answer.release();
  });
  wait_for_joiners(cache, 2);
  claimed.owner.complete(5);
  thread.join();
  CHECK(came);
  CHECK(is(behind, joined, 5));
}

// ---- bounds, statistics, static properties
// ---------------------------------------------------------

TEST_CASE("the cache never holds more than its capacity") {
  for (const std::size_t capacity : {1U, 2U, 3U, 255U, 600U, 5'000U}) {
    idempotency_cache<std::size_t, int> cache({.capacity = capacity});
    bool within = true;
    for (std::size_t i = 0; i < 3 * capacity; ++i) {
      cache.run(i, pay, [] { return 0; });
      within = within && cache.size_approx() <= capacity;
    }
    CHECK(within);
    CHECK(cache.size_approx() >= capacity - capacity / 10);
    const auto counted = cache.statistics();
    CHECK(counted.executed == 3 * capacity);
    CHECK(counted.executed - counted.evicted == cache.size_approx());
  }
}

TEST_CASE("runs in flight can fill the whole capacity, whatever it is divided by") {
  for (const std::size_t capacity : {1U, 513U, 1'023U, 1'300U}) {
    idempotency_cache<std::size_t, int> cache({.capacity = capacity});
    std::vector<idempotency_cache<std::size_t, int>::ticket> running;
    for (std::size_t i = 0; i < 20 * capacity; ++i) {
      auto claimed = cache.try_claim(i, pay);
      if (claimed.owner) running.push_back(std::move(claimed.owner));
    }
    CHECK(running.size() == capacity);
  }
}

TEST_CASE("an answer that was asked for again outlives one that was not") {
  idempotency_cache<int, int> cache({.capacity = 4});
  for (int i = 0; i < 4; ++i) cache.run(i, pay, [&] { return i; });
  cache.run(0, pay, [] { return -1; });
  cache.run(4, pay, [] { return 4; });
  CHECK(cache.try_run(0, pay, [] { return -1; }).outcome == replayed);
  CHECK(cache.try_run(1, pay, [] { return 1; }).outcome == executed);
}

TEST_CASE("the default clock moves: an answer with a ttl below its tick is soon forgotten") {
  cache_type cache({.ttl = nanoseconds(1)});
  int executions = 0;
  const auto charge = [&] { return ++executions; };
  cache.run("k", pay, charge);
  while (cache.run("k", pay, charge).outcome == replayed) std::this_thread::yield();
  CHECK(executions == 2);
  CHECK(cache.statistics().expired == 1);
}

TEST_CASE("expired answers make room before anything else is evicted") {
  manual_clock clock;
  cache_type cache(with_clock(clock, 3));
  for (const char* key : {"a", "b", "c"}) cache.run(key, pay, [] { return 0; });
  clock.advance(nanoseconds(100));
  for (const char* key : {"d", "e"}) cache.run(key, pay, [] { return 0; });
  CHECK(cache.statistics().expired == 2);
  CHECK(cache.statistics().evicted == 0);
}

TEST_CASE("each new key takes one expired answer out of memory") {
  manual_clock clock;
  cache_type cache(with_clock(clock));
  for (const char* key : {"a", "b", "c"}) cache.run(key, pay, [] { return 0; });
  clock.advance(nanoseconds(100));
  CHECK(cache.size_approx() == 3);
  cache.run("d", pay, [] { return 0; });
  CHECK(cache.size_approx() == 3);
  cache.run("e", pay, [] { return 0; });
  CHECK(cache.size_approx() == 3);
  CHECK(cache.statistics().expired == 2);
}

TEST_CASE("statistics count what became of every call") {
  cache_type cache({.capacity = 1});
  cache.run("a", pay, [] { return 1; });
  cache.run("a", pay, [] { return 1; });
  cache.run("a", other_payload, [] { return 1; });
  cache.run("b", pay, [] { return 1; });
  thrown_by([&] { cache.run("c", pay, []() -> int { throw 1; }); });
  const auto counted = cache.statistics();
  CHECK(counted.executed == 2);
  CHECK(counted.replayed == 1);
  CHECK(counted.mismatches == 1);
  CHECK(counted.evicted == 2);
  CHECK(counted.failures == 1);
  CHECK(counted.joined + counted.refused + counted.takeovers + counted.expired == 0);
}

TEST_CASE("a response outlives its entry and the cache") {
  auto cache = std::make_unique<idempotency_cache<int, std::string>>();
  const auto got = cache->run(1, pay, [] { return std::string(100, 'x'); });
  cache->evict(1);
  CHECK(got->size() == 100);
  const auto second = cache->run(1, pay, [] { return std::string(50, 'y'); });
  cache.reset();
  CHECK(got->size() == 100);
  CHECK(*second == std::string(50, 'y'));
}

TEST_CASE("an answer is destroyed with the last that holds it, on whatever thread") {
  using cache_t = idempotency_cache<int, std::shared_ptr<int>>;
  const auto lives = std::make_shared<int>(7);
  auto cache = std::make_unique<cache_t>();
  cache->run(1, pay, [&] { return lives; });
  std::vector<cache_t::response_ptr> held;
  for (int i = 0; i < 5; ++i) held.push_back(cache->find(1, pay).response);  // some are pins
  held.push_back(held[1]);
  held[2] = held[1];
  held[3] = nullptr;
  CHECK(cache->find(1, pay).response == held[0]);
  CHECK(cache->forget(1));
  cache.reset();
  CHECK(lives.use_count() == 2);
  std::thread([late = std::move(held)]() mutable {
    while (late.size() > 1) late.pop_back();
    std::thread([last = std::move(late)] {}).join();
  }).join();
  CHECK(lives.use_count() == 1);
}

TEST_CASE("an answer that its reader holds is destroyed in time, not before") {
  const auto lives = std::make_shared<int>(7);
  idempotency_cache<int, std::shared_ptr<int>> cache({.capacity = 1});
  cache.run(1, pay, [&] { return lives; });
  for (int i = 0; i < 3; ++i) {
    const auto got = cache.find(1, pay);
    CHECK(**got == 7);
  }
  {
    const auto got = cache.find(1, pay);
    for (int other = 2; other < 10; ++other) cache.run(other, pay, [] { return nullptr; });
    CHECK(lives.use_count() == 2);
    CHECK(**got == 7);
  }
  CHECK(lives.use_count() == 1);
}

TEST_CASE("the user's code runs outside every lock") {
  struct nosy;
  using cache_t = idempotency_cache<int, std::shared_ptr<nosy>>;
  struct nosy {
    explicit nosy(cache_t& c) : cache(c) {}
    ~nosy() {
      cache.run(99, pay, [] { return nullptr; });
    }
    cache_t& cache;
  };
  cache_t cache({.capacity = 2, .is_final_response = [&](const std::shared_ptr<nosy>&) {
                   return cache.size_approx() > 0;
                 }});
  for (int i = 0; i < 10; ++i) {
    cache.run(i, pay, [&] { return std::make_shared<nosy>(cache); });  // evicts, destroys a nosy
  }
  for (int i = 0; i < 10; ++i) cache.forget(i);
  CHECK(cache.size_approx() == 1);
  CHECK(cache.run(99, pay, [] { return nullptr; }).outcome == replayed);
}

TEST_CASE("a miss allocates once and a hit never") {
  idempotency_cache<int, std::array<char, 100>> cache({.capacity = 2});
  const auto f = [] { return std::array<char, 100>{}; };
  const std::size_t before = support::allocations();
  for (int i = 0; i < 10; ++i) cache.run(i, pay, f);  // evicts too
  const std::size_t after_misses = support::allocations();
  for (int i = 0; i < 10; ++i) cache.run(9, pay, f);
  const std::size_t after_hits = support::allocations();
  CHECK(after_misses - before == (support::counts_allocations ? 10 : 0));
  CHECK(after_hits == after_misses);
}

TEST_CASE("a run without an answer uses std::monostate") {
  idempotency_cache<int, std::monostate> seen;
  int effects = 0;
  const auto once = [&] {
    ++effects;
    return std::monostate();
  };
  CHECK(seen.run(1, fingerprint{}, once).outcome == executed);
  CHECK(seen.run(1, fingerprint{}, once).outcome == replayed);
  CHECK(effects == 1);
}

TEST_CASE("bad options are refused with a sentence") {
  CHECK(thrown_by([] { cache_type cache({.capacity = 0}); }) ==
        "interlock::idempotency_cache: capacity 0 leaves no room for a run; use at least 1");
  const std::string bad_ttl = thrown_by([] { cache_type cache({.ttl = nanoseconds(0)}); });
  CHECK(bad_ttl.find("use one longer than the client's last retry") != std::string::npos);
  CHECK(thrown_by([] { cache_type cache({.failure_ttl = nanoseconds(-1)}); }) == bad_ttl);
  CHECK(thrown_by([] { cache_type cache({.ttl = nanoseconds::max()}); }) == "(nothing)");
}

TEST_CASE("fingerprint_of is FNV-1a") {
  static_assert(fingerprint_of("") == fingerprint{0xcbf29ce484222325U});
  static_assert(fingerprint_of("a") == fingerprint{0xaf63dc4c8601ec8cU});
  static_assert(fingerprint_of("foobar") == fingerprint{0x85944171f73967e8U});
  CHECK(fingerprint_of("\xff") != fingerprint_of("\x7f"));
}

TEST_CASE("an idempotency_cache stays where it is and a ticket moves") {
  static_assert(!std::is_copy_constructible_v<cache_type>);
  static_assert(!std::is_move_constructible_v<cache_type>);
  static_assert(!std::is_copy_constructible_v<cache_type::ticket>);
  static_assert(std::is_nothrow_move_constructible_v<cache_type::ticket>);
  static_assert(std::is_nothrow_move_assignable_v<cache_type::ticket>);
  static_assert(std::is_nothrow_default_constructible_v<cache_type::ticket>);
  SUCCEED();
}
