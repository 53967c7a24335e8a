// SPDX-License-Identifier: BSL-1.0
// idempotency_cache under threads. The story is double_payment: N sends of one key, one charge.
// The naive form has to be seen to charge twice in the same harness.

#include <interlock/coarse_time.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/timer_thread.hpp>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/owned.hpp"
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

// ---- all at once --------------------------------------------------------------------------------

// Threads go through the same keys, a few calls each: plain and from a coroutine, with a stop that
// another thread requests, with a deadline, by a ticket; runs answer, throw, are given up, outlive
// their lease; coroutines that have joined are destroyed; keys are forgotten and evicted. Counted:
// answers of a key beyond those that were dropped, runs that overlap, calls with a wrong outcome,
// answers that are never freed, and what the statistics say otherwise. Who waits for ever stops
// the program. Negative control: a few requests go to another server, with a cache of its own.

namespace {

constexpr fingerprint refund{18};

struct retry_later {};
struct never_retry {};  // kept

class receipt {
public:
  explicit receipt(std::size_t key) noexcept : key_(key) {
    alive.fetch_add(1, std::memory_order_relaxed);
  }
  receipt(const receipt& other) noexcept : receipt(other.key_) {}
  receipt& operator=(const receipt&) = delete;
  ~receipt() { alive.fetch_sub(1, std::memory_order_relaxed); }
  std::size_t key() const { return key_; }

  inline static std::atomic<int> alive{0};

private:
  std::size_t key_;
};

using receipts = idempotency_cache<std::size_t, receipt>;

struct storm_plan {
  std::size_t keys = 0;
  bool leases = false;
  bool second_server = false;
};

// What became of the calls of one thread.
struct tally {
  std::uint64_t answered = 0, thrown = 0;  // runs of its own
  std::uint64_t replayed = 0, joined = 0, told = 0, mismatches = 0;  // told: of a failure
  std::uint64_t cancelled = 0, timed_out = 0, heirs = 0, wrong = 0;

  tally& operator+=(const tally& more) {
    answered += more.answered;
    thrown += more.thrown;
    replayed += more.replayed;
    joined += more.joined;
    told += more.told;
    mismatches += more.mismatches;
    cancelled += more.cancelled;
    timed_out += more.timed_out;
    heirs += more.heirs;
    wrong += more.wrong;
    return *this;
  }
};

class storm {
  static constexpr std::size_t threads = 4;
  static constexpr auto lease = std::chrono::milliseconds(2);
  struct key_log {
    std::atomic<int> kept{0}, dropped{0}, inside{0}, overlaps{0};
  };
  struct stop_slot {
    std::mutex guard;
    interlock::inplace_stop_source* source = nullptr;
  };
  struct call {
    storm& all;
    tally& mine;
    const std::size_t key;
    const unsigned what, how;  // random
    bool ran = false, threw = false;

    key_log& log() const { return all.logs_[key]; }
  };

public:
  // Returns: how many things went wrong.
  static std::uint64_t faults_of(const storm_plan& plan, unsigned seed) {
    const int before = receipt::alive.load();
    std::uint64_t faults = 0;
    {
      storm all(plan);
      support::run_threads(threads, [&](std::size_t me) { all.send(me, seed); });
      faults = all.settle_up();
    }
    return faults + static_cast<std::uint64_t>(receipt::alive.load() - before);
  }

private:
  explicit storm(const storm_plan& plan)
      : plan_(plan), cache_(options_of(plan)), other_(options_of(plan)), logs_(plan.keys) {}

  receipts::options options_of(const storm_plan& plan) {
    receipts::options how;
    how.lease = plan.leases ? nanoseconds(lease) : nanoseconds(0);
    how.time = &time_;
    how.is_final_failure = [](const std::exception_ptr& failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const never_retry&) {
        return true;
      } catch (...) {
        return false;
      }
    };
    return how;
  }

  void send(std::size_t me, unsigned seed) {
    std::minstd_rand random(seed * 16 + static_cast<unsigned>(me) + 1);
    tally& mine = tallies_[me];
    for (std::size_t key = 0; key < plan_.keys; ++key) {
      for (int i = 0; i < 4; ++i) {
        call one{*this, mine, key, static_cast<unsigned>(random() >> 8U) % 64,
                 static_cast<unsigned>(random() >> 8U) % 32};
        const bool astray = plan_.second_server && one.how == 20;
        try {
          take(one, astray ? other_ : cache_, me);
        } catch (const retry_later&) {
          mine.told += one.threw ? 0 : 1;
        } catch (const never_retry&) {
          mine.told += one.threw ? 0 : 1;
        }
      }
    }
  }

  void take(call& one, receipts& cache, std::size_t me) {
    const std::size_t key = one.key;
    if (one.what < 6) {
      note(one, cache.run(key, pay, [&one] { return charge(one); }));
    } else if (one.what < 12) {
      note(one, sync_wait(cache.async_run(key, pay, [&one] { return charge_later(one); })));
    } else if (one.what < 18) {
      note(one, stoppable(me, [&](auto stop) {
             return cache.run(key, pay, [&one] { return charge(one); }, stop);
           }));
    } else if (one.what < 24) {
      note(one, stoppable(me, [&](auto stop) {
             return sync_wait(
                 cache.async_run(key, pay, [&one] { return charge_later(one); }, stop));
           }));
    } else if (one.what < 28) {
      note(one, cache.run_until(soon(one), key, pay, [&one] { return charge(one); }));
    } else if (one.what < 32) {
      note(one, sync_wait(cache.async_run_until(timer_, soon(one), key, pay,
                                                [&one] { return charge_later(one); })));
    } else if (one.what < 36) {
      note(one, cache.try_run(key, pay, [&one] { return charge(one); }));
    } else if (one.what < 38) {
      note(one, cache.run(key, refund, [&one] { return charge(one); }));
    } else if (one.what < 42) {
      note(one, cache.find(key, pay));
    } else if (one.what < 50) {
      auto claimed = cache.claim(key, pay);
      if (claimed.owner) return settle(one, std::move(claimed.owner));
      note(one, claimed.answer);
    } else if (one.what < 54) {
      destroy_joiners(one, cache);
    } else if (one.what < 62) {
      stop_next(me);
      time_.advance_to(time_.now() + lease / 4);
    } else if (one.what == 62) {
      if (cache.evict(key)) one.log().dropped.fetch_add(1, std::memory_order_relaxed);
    } else if (key % 2 != 0) {
      one.log().overlaps.store(-1'000, std::memory_order_relaxed);  // may overlap from now on
      if (cache.forget(key)) one.log().dropped.fetch_add(1, std::memory_order_relaxed);
    }
  }

  // ---- the runs

  static receipt charge(call& one) {
    one.ran = true;
    key_log& log = one.log();
    if (log.inside.fetch_add(1, std::memory_order_relaxed) != 0) {
      log.overlaps.fetch_add(1, std::memory_order_relaxed);
    }
    if (one.how % 2 == 0) std::this_thread::yield();
    if (one.how % 8 == 1) one.all.time_.advance_to(one.all.time_.now() + lease);
    log.inside.fetch_sub(1, std::memory_order_relaxed);
    one.threw = one.how < 10;
    if (!one.threw) {
      ++one.mine.answered;
      return receipt(one.key);
    }
    ++one.mine.thrown;
    if (one.how == 0) throw never_retry();
    throw retry_later();
  }
  static task<receipt> charge_later(call& one) { co_return charge(one); }

  static void settle(call& one, receipts::ticket owner) {
    const bool stays = !one.all.plan_.leases && one.key % 2 == 0;  // nobody takes the key away
    if (owner.attempt() > 1) ++one.mine.heirs;
    const bool effect = one.how % 4 == 0 && owner.begin_effect();
    if (one.how % 4 == 1) std::this_thread::yield();
    if (one.how % 4 == 2 && !owner.renew() && stays) ++one.mine.wrong;
    if (one.how < 4) return;  // given up; in doubt if its effect had begun
    if (one.how < 8) {
      ++one.mine.thrown;
      return owner.fail(std::make_exception_ptr(retry_later()));
    }
    ++one.mine.answered;
    const auto got = owner.complete(receipt(one.key));
    const bool keeps = stays || (effect && one.key % 2 == 0);
    if (keeps && got.outcome != idempotency_outcome::executed) ++one.mine.wrong;
    count(one, got, true);
  }

  static support::owned joins(call& one, receipts& cache) {
    const auto got = co_await cache.async_claim(one.key, pay);
    if (got.answer.outcome == idempotency_outcome::joined) ++one.mine.joined;
    if (got.owner || !got.answer) ++one.mine.wrong;
  }
  // Three coroutines wait for a run of this thread. One of them is destroyed, or all.
  static void destroy_joiners(call& one, receipts& cache) {
    auto claimed = cache.try_claim(one.key, pay);
    if (!claimed.owner) return note(one, claimed.answer);
    const bool others_may_settle = one.all.plan_.leases || one.key % 2 != 0;
    if (others_may_settle) return settle(one, std::move(claimed.owner));
    if (claimed.owner.attempt() > 1) ++one.mine.heirs;
    support::owned waiting[] = {joins(one, cache), joins(one, cache), joins(one, cache)};
    std::swap(waiting[one.how % 3], waiting[2]);
    waiting[2].handle.destroy();
    const bool answers = one.how < 24;
    one.mine.cancelled += answers ? 1 : 3;
    if (answers) {
      ++one.mine.answered;
      count(one, claimed.owner.complete(receipt(one.key)), true);
    }
    for (int i = 0; i < 2; ++i) {
      if (answers && !waiting[i].handle.done()) ++one.mine.wrong;
      waiting[i].handle.destroy();
    }
  }

  // ---- the outcomes

  static void note(call& one, const receipts::result& got) {
    using enum idempotency_outcome;
    if (got.outcome == payload_mismatch) ++one.mine.mismatches;
    if (got.outcome == replayed) ++one.mine.replayed;
    if (got.outcome == joined) ++one.mine.joined;
    if (got.outcome == failed) ++one.mine.told;
    const bool waits = one.what < 32;
    if (waits && (got.outcome == in_flight || got.outcome == absent)) ++one.mine.wrong;
    if (one.ran && got.attempt > 1) ++one.mine.heirs;
    count(one, got, one.ran);
  }
  static void count(call& one, const receipts::result& got, bool ran) {
    using enum idempotency_outcome;
    const bool executes = got.outcome == executed || got.outcome == lost_ownership;
    const bool answers =
        got.outcome == executed || got.outcome == joined || got.outcome == replayed;
    const bool never = got.outcome == reentered || got.outcome == circular ||
                       got.outcome == bad_key || got.outcome == over_capacity;
    if (executes != ran || answers != static_cast<bool>(got) || never) ++one.mine.wrong;
    if (got.response && got->key() != one.key) ++one.mine.wrong;
    if (got.outcome == cancelled) ++one.mine.cancelled;
    if (got.outcome == timed_out) ++one.mine.timed_out;
    if (got.outcome == executed) one.log().kept.fetch_add(1, std::memory_order_relaxed);
  }

  // ---- those who end waits

  template <class F>
  receipts::result stoppable(std::size_t me, F f) {
    interlock::inplace_stop_source source;
    struct entered {
      entered(stop_slot& its, interlock::inplace_stop_source& what) : slot(its) { put(&what); }
      entered(const entered&) = delete;
      entered& operator=(const entered&) = delete;
      ~entered() { put(nullptr); }
      void put(interlock::inplace_stop_source* what) {
        const std::lock_guard lock(slot.guard);
        slot.source = what;
      }
      stop_slot& slot;
    } const here(slots_[me], source);
    return f(source.get_token());
  }
  void stop_next(std::size_t me) {
    stop_slot& slot = slots_[(me + 1) % threads];
    const std::lock_guard lock(slot.guard);
    if (slot.source != nullptr) slot.source->request_stop();
  }
  static std::chrono::steady_clock::time_point soon(const call& one) {
    return std::chrono::steady_clock::now() + std::chrono::microseconds(8 * one.how);
  }

  // Returns: the faults, those that only the end shows included.
  std::uint64_t settle_up() {
    using enum idempotency_outcome;
    std::uint64_t faults = 0, known = 0, dropped = 0;
    tally sum;
    for (const tally& each : tallies_) sum += each;
    for (std::size_t key = 0; key < plan_.keys; ++key) {
      const key_log& log = logs_[key];
      faults += log.kept.load() > 1 + log.dropped.load() ? 1 : 0;
      dropped += static_cast<std::uint64_t>(log.dropped.load());
      faults += !plan_.leases && log.overlaps.load() > 0 ? 1 : 0;
      const auto last = cache_.find(key, pay).outcome;
      known += last != absent ? 1 : 0;
      sum.replayed += last == replayed ? 1 : 0;
      sum.told += last == failed ? 1 : 0;
      sum.mismatches += last == payload_mismatch ? 1 : 0;
      if (last != in_flight) continue;  // without an owner it can be in doubt alone
      faults += cache_.try_claim(key, pay).answer.outcome != in_doubt ? 1 : 0;
    }
    const auto counted = cache_.statistics();
    const auto expect = [&faults](bool holds) { faults += holds ? 0 : 1; };
    expect(counted.executed == sum.answered && counted.failures == sum.thrown);
    expect(counted.mismatches == sum.mismatches && counted.entries == known);
    expect(counted.joined >= sum.joined && counted.takeovers >= sum.heirs);
    expect(counted.replayed >= sum.replayed && counted.replayed <= sum.replayed + sum.told);
    expect(counted.cancelled == sum.cancelled && counted.timed_out == sum.timed_out);
    expect(counted.dropped == dropped && counted.running <= known);
    expect(counted.refused == 0 && counted.evicted == 0 && counted.expired == 0);
    return faults + sum.wrong;
  }

  const storm_plan plan_;
  interlock::coarse_time time_{nanoseconds(1)};
  interlock::timer_thread timer_;
  receipts cache_, other_;
  std::vector<key_log> logs_;
  std::array<tally, threads> tallies_;
  std::array<stop_slot, threads> slots_;
};

}  // namespace

TEST_CASE("with runs that throw, vanish and are late, and calls that are ended: one answer a key") {
  for (unsigned seed = 0; seed < 4; ++seed) {
    const std::size_t keys = support::rounds(8'000);
    CAPTURE(seed);
    CHECK(storm::faults_of({.keys = keys, .leases = seed % 2 != 0}, seed) == 0);
  }
}

TEST_CASE("a request that goes to another server is found") {
  CHECK(storm::faults_of({.keys = support::rounds(1'000), .second_server = true}, 1) > 0);
}
