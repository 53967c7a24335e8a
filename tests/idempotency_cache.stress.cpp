// SPDX-License-Identifier: BSL-1.0
// idempotency_cache under threads. The story is double_payment: N sends of one key, one charge.
// The naive form has to be seen to charge twice in the same harness.

#include <interlock/idempotency_cache.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>

#include <atomic>
#include <barrier>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::fingerprint;
using interlock::idempotency_cache;
using interlock::idempotency_outcome;
using interlock::sync_wait;
using interlock::task;
using std::chrono::nanoseconds;

namespace {

constexpr fingerprint pay{17};

// What most services do: look, run, store. Every step is thread-safe; together they are not.
class naive_cache {
public:
  template <class F>
  int run(int key, F f) {
    {
      const std::lock_guard lock(guard_);
      const auto known = answers_.find(key);
      if (known != answers_.end()) return known->second;
    }
    const int answer = f();
    const std::lock_guard lock(guard_);
    answers_[key] = answer;
    return answer;
  }

private:
  std::mutex guard_;
  std::map<int, int> answers_;
};

class fixed_cache {
public:
  template <class F>
  int run(int key, F f) {
    return *cache_.run(key, pay, f);
  }

private:
  idempotency_cache<int, int> cache_;
};

struct storm_report {
  std::size_t charges = 0;
  bool equal_answers = true;
};

// Every thread sends every key, all in the same order: most overlap.
template <class Cache>
storm_report double_payment(std::size_t threads, int keys) {
  Cache cache;
  std::atomic<int> receipts{0};
  std::vector<std::vector<int>> answers(threads);
  support::run_threads(threads, [&](std::size_t t) {
    for (int key = 0; key < keys; ++key) {
      answers[t].push_back(cache.run(key, [&] {
        std::this_thread::yield();  // the call to the bank
        return receipts.fetch_add(1, std::memory_order_relaxed);
      }));
    }
  });
  storm_report report{.charges = static_cast<std::size_t>(receipts.load())};
  for (const auto& each : answers) report.equal_answers &= each == answers[0];
  return report;
}

// One key under every operation at once, with an oracle.
//  - Two executions of a key never overlap (no forget() here, which would allow it).
//  - An answer is one that some execution gave, and none older than the newest that was complete
//    before the call began; and that execution was given the same payload.
class watched_key {
public:
  int begin() {
    if (inside_.exchange(true, std::memory_order_acquire))
      overlaps_.fetch_add(1, std::memory_order_relaxed);
    return next_.fetch_add(1, std::memory_order_relaxed);
  }
  void end() { inside_.store(false, std::memory_order_release); }
  void complete(int id) { newest_.store(id, std::memory_order_release); }
  int newest() const { return newest_.load(std::memory_order_acquire); }
  int begun() const { return next_.load(std::memory_order_relaxed); }
  int overlaps() const { return overlaps_.load(std::memory_order_relaxed); }

private:
  std::atomic<bool> inside_{false};
  std::atomic<int> next_{1};
  std::atomic<int> newest_{0};
  std::atomic<int> overlaps_{0};
};

struct gave_up {};

}  // namespace

TEST_CASE("the naive form charges twice") {
  std::size_t extra = 0;
  for (int attempt = 0; attempt < 100 && extra == 0; ++attempt) {
    extra = double_payment<naive_cache>(4, 500).charges - 500;
  }
  CHECK(extra > 0);
}

TEST_CASE("each key is charged once and every send gets the same answer") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const int keys = static_cast<int>(support::rounds(20'000) / threads) + 1;
    const storm_report report = double_payment<fixed_cache>(threads, keys);
    CHECK(report.charges == static_cast<std::size_t>(keys));
    CHECK(report.equal_answers);
  }
}

TEST_CASE("of the threads that find an expired answer one executes") {
  std::atomic<std::int64_t> time{0};
  idempotency_cache<int, int> cache({.ttl = nanoseconds(10), .now = [&time] {
                                       return nanoseconds(time.load(std::memory_order_relaxed));
                                     }});
  constexpr std::size_t threads = 4;
  const std::size_t epochs = support::rounds(5'000);
  std::atomic<std::size_t> executions{0};
  std::atomic<bool> stale{false};
  std::barrier epoch(threads, [&]() noexcept { time.fetch_add(10, std::memory_order_relaxed); });
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 1; i <= epochs; ++i) {
      epoch.arrive_and_wait();
      const auto got = cache.run(1, pay, [&] {
        executions.fetch_add(1, std::memory_order_relaxed);
        return static_cast<int>(i);
      });
      if (*got != static_cast<int>(i)) stale.store(true, std::memory_order_relaxed);
    }
  });
  CHECK(executions.load() == epochs);
  CHECK_FALSE(stale.load());
  CHECK(cache.statistics().expired == epochs - 1);
}

TEST_CASE("runs that answer, fail, give up, expire and are evicted never overlap or go back") {
  constexpr std::size_t threads = 6;
  constexpr std::size_t keys = 8;
  std::atomic<std::int64_t> time{0};
  idempotency_cache<std::size_t, int> cache(
      {.capacity = keys - 1,  // evicts, and may refuse
       .ttl = nanoseconds(50),
       .now = [&time] { return nanoseconds(time.load(std::memory_order_relaxed)); }});
  std::vector<watched_key> watched(keys);
  std::atomic<std::size_t> wrong{0}, answered{0};
  const std::size_t each = support::rounds(60'000) / threads;
  support::run_threads(threads, [&](std::size_t t) {
    std::minstd_rand random(static_cast<unsigned>(t) + 1);
    for (std::size_t i = 0; i < each; ++i) {
      time.fetch_add(1, std::memory_order_relaxed);
      const std::size_t key = random() % keys;
      watched_key& watch = watched[key];
      const unsigned how = random() % 8;
      const int newest = watch.newest();
      const int payload = how == 7 ? 1 : 0;  // part of the answer: 2 * id + payload
      const auto charge = [&] {
        const int id = watch.begin();
        if (how == 1) std::this_thread::yield();
        if (how == 2) {
          watch.end();
          throw gave_up{};
        }
        watch.complete(id);
        watch.end();
        return 2 * id + payload;
      };
      const auto check = [&](const auto& got) {
        if (!got) return;
        answered.fetch_add(1, std::memory_order_relaxed);
        const int id = *got / 2;
        if (id < newest || id >= watch.begun() || *got % 2 != payload) {
          wrong.fetch_add(1, std::memory_order_relaxed);
        }
      };
      try {
        if (how == 3) {
          cache.evict(key);
        } else if (how == 4) {
          const auto claimed = cache.claim(key, pay);  // dropped: gives up
          check(claimed.answer);
        } else if (how == 5) {
          check(cache.try_run(key, pay, charge));
        } else if (how == 6) {
          check(sync_wait(cache.async_run(key, pay, [&]() -> task<int> { co_return charge(); })));
        } else if (how == 7) {
          check(cache.run(key, fingerprint{1}, charge));
        } else {
          check(cache.run(key, pay, charge));
        }
      } catch (const gave_up&) {
      }
    }
  });
  int overlaps = 0;
  for (const watched_key& watch : watched) overlaps += watch.overlaps();
  CHECK(overlaps == 0);
  CHECK(wrong.load() == 0);
  CHECK(answered.load() > 0);
  CHECK(cache.size_approx() <= keys - 1);
  const auto counted = cache.statistics();
  CHECK(counted.evicted > 0);
  CHECK(counted.expired > 0);
  CHECK(counted.failures > 0);
  CHECK(counted.mismatches > 0);
}

TEST_CASE("owners that vanish are followed until somebody answers") {
  constexpr std::size_t threads = 8;
  idempotency_cache<std::size_t, int> cache;
  const std::size_t keys = support::rounds(4'000);
  std::atomic<std::size_t> answers{0}, dropped{0};
  support::run_threads(threads, [&](std::size_t t) {
    for (std::size_t key = 0; key < keys; ++key) {
      auto claimed = cache.claim(key, pay);
      if (!claimed.owner) continue;
      if ((key + t) % threads == 0) {
        claimed.owner.complete(1);
        answers.fetch_add(1, std::memory_order_relaxed);
      } else {
        dropped.fetch_add(1, std::memory_order_relaxed);
        claimed = {};
      }
    }
  });
  CHECK(answers.load() == keys);  // per key one thread answers, and the others let go until it does
  CHECK(dropped.load() > 0);
}

TEST_CASE("an answer given just before the ticket, the entry and the caller go is still whole") {
  const std::size_t rounds = support::rounds(3'000);
  std::size_t whole = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    auto cache = std::make_unique<idempotency_cache<int, std::vector<int>>>();
    auto claimed = cache->claim(1, pay);
    idempotency_cache<int, std::vector<int>>::response_ptr answer;
    std::thread joiner(
        [&] { answer = cache->run(1, pay, [] { return std::vector<int>(8, 0); }).response; });
    claimed.owner.complete(std::vector<int>(8, 7));
    cache->forget(1);  // the joiner joins before, or executes after
    joiner.join();
    cache.reset();
    whole += *answer == std::vector<int>(8, 7) || *answer == std::vector<int>(8, 0) ? 1 : 0;
  }
  CHECK(whole == rounds);
}

// ---- a map with runs in flight, linearizable ----------------------------------------------------

namespace {

struct claim_call {
  enum class kind { try_claim, find, complete, forget } what = kind::find;
  idempotency_outcome said{};  // of forget: replayed if there was something, else absent
  int id = 0;                  // of the owner, or of the answer

  friend std::string describe(const claim_call& c) {
    constexpr const char* names[] = {"try_claim ", "find ", "complete ", "forget "};
    return std::string(names[static_cast<int>(c.what)]) + to_string(c.said) + " " +
           std::to_string(c.id);
  }
};

struct claimed_key {
  int running = 0;
  int answer = 0;

  bool apply(const claim_call& c, bool) {
    using enum idempotency_outcome;
    switch (c.what) {
      case claim_call::kind::find:
      case claim_call::kind::try_claim:
        if (c.said == replayed) return answer != 0 && answer == c.id;
        if (c.said == in_flight) return running != 0;
        if (running != 0 || answer != 0) return false;
        if (c.said == executed) running = c.id;
        return true;
      case claim_call::kind::complete:
        if ((c.said == executed) != (running == c.id)) return false;
        if (c.said == executed) answer = std::exchange(running, 0);
        return true;
      case claim_call::kind::forget:
        if ((c.said == replayed) != (running != 0 || answer != 0)) return false;
        running = answer = 0;
        return true;
    }
    return false;
  }
  static bool reads(const claim_call& c) {
    using enum idempotency_outcome;
    const bool owns = c.said == executed || c.what != claim_call::kind::try_claim;
    return c.what == claim_call::kind::find || !owns;
  }
  friend bool operator==(const claimed_key&, const claimed_key&) = default;
};

// `stale` keeps what it has once found: a look-up that is not told of what is forgotten.
template <bool Stale>
interlock::testing::verdict history_of_a_key(std::size_t each) {
  constexpr std::size_t threads = 3;
  idempotency_cache<int, int> cache({.capacity = 2});
  interlock::testing::ticket_clock clock;
  interlock::testing::history<claim_call> calls(clock, threads);
  std::atomic<int> ids{0};
  support::run_threads(threads, [&](std::size_t me) {
    std::minstd_rand random(static_cast<unsigned>(me) + 1);
    int known = 0;
    for (std::size_t i = 0; i < each; ++i) {
      using kind = claim_call::kind;
      const unsigned how = random() % 4;
      if (how == 0) {
        calls.record(me, {.what = kind::forget}, [&](auto& call) {
          call.said = cache.forget(1) ? idempotency_outcome::replayed : idempotency_outcome::absent;
        });
      } else if (how == 1) {
        calls.record(me, {.what = kind::find}, [&](auto& call) {
          const auto got = cache.find(1, pay);
          call.said = got.outcome;
          if (got) known = call.id = *got;
          if (!Stale || known == 0) return;
          call.said = idempotency_outcome::replayed;
          call.id = known;
        });
      } else {
        const int id = ids.fetch_add(1) + 1;
        idempotency_cache<int, int>::claim_result claimed;
        calls.record(me, {.what = kind::try_claim, .id = id}, [&](auto& call) {
          claimed = cache.try_claim(1, pay);
          call.said = claimed.owner ? idempotency_outcome::executed : claimed.answer.outcome;
          if (claimed.answer) call.id = *claimed.answer;
        });
        if (!claimed.owner) continue;
        if (how == 2) std::this_thread::yield();
        calls.record(me, {.what = kind::complete, .id = id},
                     [&](auto& call) { call.said = claimed.owner.complete(id).outcome; });
      }
    }
  });
  return interlock::testing::linearizable(calls.operations(), claimed_key{});
}

}  // namespace

TEST_CASE("a key is a linearizable map entry with runs in flight; a stale look-up is found") {
  for (int round = 0; round < 3; ++round) {
    const auto found = history_of_a_key<false>(support::rounds(3'000));
    CAPTURE(found.text());
    CHECK(found);
  }
  CHECK_FALSE(history_of_a_key<true>(2'000));
}
