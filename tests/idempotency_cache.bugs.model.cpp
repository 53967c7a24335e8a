// SPDX-License-Identifier: BSL-1.0
// The mistakes that things of this kind were shipped with, one at a time: a small cache that has
// it is caught by name, the same cache without it is not, nor is idempotency_cache.
//
// Where they come from: docs/cache-comparison.md.

#include "testing/front.hpp"

#include <interlock/coarse_time.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/idempotency_http.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/linearizability.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "testing/begin_anew.hpp"
#include "testing/last_user.hpp"

using interlock::fingerprint;
using interlock::idempotency_outcome;
using interlock::detail::readers;
using std::chrono::nanoseconds;
using testing::world;

using interlock::idempotency_outcome::absent;
using interlock::idempotency_outcome::cancelled;
using interlock::idempotency_outcome::executed;
using interlock::idempotency_outcome::failed;
using interlock::idempotency_outcome::in_flight;
using interlock::idempotency_outcome::lost_ownership;
using interlock::idempotency_outcome::over_capacity;
using interlock::idempotency_outcome::payload_mismatch;
using interlock::idempotency_outcome::replayed;

namespace {

constexpr auto as_joiner = idempotency_outcome::joined;
constexpr fingerprint pay{17};
constexpr fingerprint refund{18};

struct refused {};  // what a run throws

enum class flaw {
  none,
  leaves_joiners,       // what f throws passes by those who wait
  poisons_key,          // and the key runs for ever
  orphans_key,          // an owner that gives up leaves its key behind
  fails_with_leader,    // its joiners are told that they were cancelled
  leaver_unlinks,       // a joiner that leaves takes the key along
  wakes_first,          // a failure is in the table when its joiners wake up
  runs_twice,           // the look and the entry are two steps
  keeps_forgotten,      // the answer of a run that was forgotten is kept
  calls_under_lock,     // f, under the lock of the table
  joins_unseen,         // the fingerprint is not compared while the run is in flight
  finds_unseen,         // or by a look-up
  never_renews,         // a live owner is taken for a lost one
  slips_unit,           // a lease in nanoseconds, compared with one in milliseconds
  late_overwrites,      // an owner that has lost its key stores its answer
  late_erases,          // or takes its successor's away, when it fails
  enters_before_room,   // the claim is in the table, and then memory runs out
  looks_again,          // the key is stored as the argument is after f
  never_evicts,         // memory without a bound
  evicts_running,       // a run is evicted
  ttl_from_start,       // an answer that took long has expired when it comes
};

struct limits {
  std::size_t capacity = 4;
  nanoseconds ttl = std::chrono::hours(24);
  nanoseconds lease{0};
  const interlock::coarse_time* time = nullptr;
};

// ---- the small form -----------------------------------------------------------------------------

struct said {
  idempotency_outcome outcome{};
  int value = 0;

  explicit operator bool() const { return outcome <= lost_ownership; }
  int operator*() const { return value; }
};

template <flaw F, class Key = int>
class small_cache {
  struct joiner : interlock::detail::thread_waiter {
    idempotency_outcome told{};
    int value = 0;
  };
  struct entry {
    fingerprint payload{};
    std::uint64_t owner = 0;
    bool running = true;
    int value = 0;
    nanoseconds at{};  // began, or was answered
    nanoseconds renewed{};
    interlock::detail::waiter* joiners = nullptr;
  };
  using lock_type = std::unique_lock<interlock::detail::futex_mutex>;

public:
  class ticket {
  public:
    ticket() = default;
    ticket(small_cache& home, Key key, std::uint64_t number)
        : home_(&home), key_(std::move(key)), number_(number) {}
    ticket(ticket&& other) noexcept
        : home_(std::exchange(other.home_, nullptr)),
          key_(std::move(other.key_)),
          number_(other.number_) {}
    ticket& operator=(ticket&&) = delete;
    ~ticket() {
      if (home_ != nullptr) home_->give_up(key_, number_);
    }
    explicit operator bool() const { return home_ != nullptr; }
    said complete(int value) {
      return std::exchange(home_, nullptr)->settle(key_, number_, executed, value);
    }
    void fail(std::exception_ptr) {
      std::exchange(home_, nullptr)->settle(key_, number_, failed, 0);
    }
    bool renew() { return home_->renew(key_, number_); }
    void lose() { home_ = nullptr; }

  private:
    small_cache* home_ = nullptr;
    Key key_{};
    std::uint64_t number_ = 0;
  };
  struct claim_result {
    ticket owner;
    said answer;
  };

  explicit small_cache(const limits& how) : how_(how) {}

  claim_result try_claim(const Key& key, fingerprint payload) {
    return enter(key, payload, nullptr);
  }
  claim_result claim(const Key& key, fingerprint payload) {
    joiner self;
    claim_result got = enter(key, payload, &self);
    if (got.answer.outcome != as_joiner) return got;
    self.wait();
    if (self.told == failed) throw refused();
    if (self.told == executed) return {ticket(*this, key, self.amount), {}};
    return {{}, {self.told, self.value}};
  }
  template <class G>
  said run(const Key& key, fingerprint payload, G f) {
    if constexpr (has(flaw::calls_under_lock)) return run_under_lock(key, f);
    return execute(claim(key, payload), key, f);
  }
  template <class G>
  said try_run(const Key& key, fingerprint payload, G f) {
    return execute(try_claim(key, payload), key, f);
  }
  // A joiner whose stop was requested.
  template <class G, class Token>
  said run(const Key& key, fingerprint payload, G f, Token stop) {
    auto got = try_claim(key, payload);
    if (got.answer.outcome != in_flight || !stop.stop_requested()) {
      return execute(std::move(got), key, f);
    }
    if (has(flaw::leaver_unlinks)) forget(key);
    return {cancelled};
  }
  said find(const Key& key, fingerprint payload) {
    const lock_type lock(mutex_);
    const auto at = entries_.find(key);
    if (at == entries_.end() || expired(at->second)) return {absent};
    if (at->second.payload != payload && !has(flaw::finds_unseen)) return {payload_mismatch};
    if (at->second.running) return {in_flight};
    return {replayed, at->second.value};
  }
  bool forget(const Key& key) {
    const lock_type lock(mutex_);
    return entries_.erase(key) != 0;  // of the bodies here, none forgets what has joiners
  }
  std::size_t size_approx() const { return entries_.size(); }

private:
  static constexpr bool has(flaw which) { return F == which; }
  nanoseconds now() const { return how_.time == nullptr ? nanoseconds(1) : how_.time->now(); }
  bool expired(const entry& each) const {
    return !each.running && now() - each.at >= how_.ttl;
  }
  bool lease_over(const entry& each) const {
    if (!each.running || how_.lease.count() == 0) return false;
    if (has(flaw::slips_unit)) return (now() - each.renewed).count() % 1'000 > how_.lease.count();
    return now() - each.renewed >= how_.lease;
  }

  claim_result enter(const Key& key, fingerprint payload, joiner* self) {
    lock_type lock(mutex_);
    auto at = entries_.find(key);
    if (at != entries_.end() && expired(at->second)) at = entries_.erase(at);
    if (at != entries_.end() && at->first == key && !expired(at->second)) {
      entry& there = at->second;
      const bool unseen = has(flaw::joins_unseen) && there.running;
      if (there.payload != payload && !unseen) return {{}, {payload_mismatch}};
      if (!there.running) return {{}, {replayed, there.value}};
      if (!lease_over(there)) {
        if (self == nullptr) return {{}, {in_flight}};
        self->next = std::exchange(there.joiners, self);
        return {{}, {as_joiner}};
      }
      there.owner = ++last_owner_;
      there.at = there.renewed = now();
      return {ticket(*this, key, there.owner), {}};
    }
    if (has(flaw::runs_twice)) {
      lock.unlock();
      lock.lock();
    }
    if (!make_room()) return {{}, {over_capacity}};
    if (!has(flaw::enters_before_room)) take_memory();
    entry& fresh = entries_[key];
    fresh.payload = payload;
    fresh.owner = ++last_owner_;
    fresh.running = true;
    fresh.at = fresh.renewed = now();
    const std::uint64_t number = fresh.owner;
    lock.unlock();
    if (has(flaw::enters_before_room)) take_memory();
    return {ticket(*this, key, number), {}};
  }
  // Calls, which no compiler leaves out, as it may a new-expression.
  static void take_memory() { ::operator delete(::operator new(1)); }
  bool make_room() {
    if (entries_.size() < how_.capacity || has(flaw::never_evicts)) return true;
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->second.running && !has(flaw::evicts_running)) continue;
      entries_.erase(at);
      return true;
    }
    return false;
  }

  template <class G>
  said execute(claim_result got, const Key& key, G& f) {
    if (!got.owner) return got.answer;
    try {
      const int value = f();
      if (!has(flaw::looks_again)) return got.owner.complete(value);
      const said done = got.owner.complete(value);
      const lock_type lock(mutex_);
      auto moved = entries_.extract(entries_.begin());
      moved.key() = key;
      entries_.insert(std::move(moved));
      return done;
    } catch (const refused&) {
      if (has(flaw::poisons_key) || has(flaw::leaves_joiners)) {
        got.owner.lose();
        if (has(flaw::leaves_joiners)) forget(key);
      } else {
        got.owner.fail(std::current_exception());
      }
      throw;
    }
  }
  template <class G>
  said run_under_lock(const Key& key, G& f) {
    const lock_type lock(mutex_);
    const auto at = entries_.find(key);
    if (at != entries_.end()) return {replayed, at->second.value};
    const int value = f();
    entries_[key].value = value;
    return {executed, value};
  }

  // Returns: the entry, if it is the owner's.
  entry* owned(const Key& key, std::uint64_t number) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return nullptr;
    return at->second.running && at->second.owner == number ? &at->second : nullptr;
  }
  said settle(const Key& key, std::uint64_t number, idempotency_outcome how, int value) {
    lock_type lock(mutex_);
    entry* const mine = owned(key, number);
    if (mine == nullptr) {
      if (how == failed && has(flaw::late_erases)) entries_.erase(key);
      const bool stores = has(flaw::late_overwrites) && entries_.contains(key);
      if (how == executed && (stores || has(flaw::keeps_forgotten))) store(entries_[key], value);
      return {lost_ownership, value};
    }
    interlock::detail::waiter* const all = std::exchange(mine->joiners, nullptr);
    for (auto* each = all; each != nullptr; each = each->next) {
      static_cast<joiner*>(each)->told = how == executed ? as_joiner : failed;
      static_cast<joiner*>(each)->value = value;
    }
    if (how == executed) {
      store(*mine, value);
    } else if (has(flaw::wakes_first)) {
      lock.unlock();
      interlock::detail::wake_all(all);
      lock.lock();
      entries_.erase(key);
      return {failed};
    } else {
      entries_.erase(key);
    }
    lock.unlock();
    interlock::detail::wake_all(all);
    return {how, value};
  }
  void store(entry& to, int value) {
    to.running = false;
    to.payload = pay;
    to.value = value;
    if (!has(flaw::ttl_from_start)) to.at = now();
  }
  void give_up(const Key& key, std::uint64_t number) {
    lock_type lock(mutex_);
    entry* const mine = owned(key, number);
    if (mine == nullptr || has(flaw::orphans_key)) return;
    auto* const heir = static_cast<joiner*>(mine->joiners);
    if (heir == nullptr || has(flaw::fails_with_leader)) {
      if (heir != nullptr) heir->told = cancelled;
      entries_.erase(key);
    } else {
      mine->joiners = heir->next;
      heir->told = executed;
      mine->owner = ++last_owner_;
      heir->amount = static_cast<std::uint32_t>(mine->owner);
    }
    lock.unlock();
    if (heir != nullptr) heir->wake();
  }
  bool renew(const Key& key, std::uint64_t number) {
    const lock_type lock(mutex_);
    entry* const mine = owned(key, number);
    if (mine == nullptr) return false;
    if (!has(flaw::never_renews)) mine->renewed = now();
    return true;
  }

  const limits how_;
  interlock::detail::futex_mutex mutex_;
  std::map<Key, entry> entries_;
  std::uint64_t last_owner_ = 0;
};

// ---- ours ---------------------------------------------------------------------------------------

template <class Key = int>
class ours : public interlock::idempotency_cache<Key, int, std::hash<Key>> {
  using base = interlock::idempotency_cache<Key, int, std::hash<Key>>;
  static typename base::options options_of(const limits& how) {
    typename base::options made;
    made.capacity = how.capacity;
    made.ttl = made.failure_ttl = how.ttl;
    made.lease = how.lease;
    made.time = how.time;
    return made;
  }

public:
  explicit ours(const limits& how) : base(options_of(how)) {}
};

// ---- checks that take one thread ----------------------------------------------------------------

// Each returns the promise that is broken, or "".
using broken = std::string;
constexpr auto one = [] { return 1; };
constexpr auto two = [] { return 2; };

#define HOLDS(condition, promise) \
  if (!(condition)) return promise

template <class Cache>
broken key_of_a_lost_run_is_free() {
  Cache cache({});
  {
    const auto claimed = cache.try_claim(1, pay);
  }
  HOLDS(cache.try_run(1, pay, one).outcome == executed, "whoever gives up leaves the key free");
  try {
    cache.run(2, pay, []() -> int { throw refused(); });
    return "what f throws reaches its caller";
  } catch (const refused&) {
  }
  HOLDS(cache.try_run(2, pay, one).outcome == executed, "a throw leaves the key free");
  return "";
}

template <class Cache>
broken leaver_leaves_the_run() {
  Cache cache({});
  auto claimed = cache.try_claim(1, pay);
  interlock::inplace_stop_source stop;
  stop.request_stop();
  const auto got = cache.run(1, pay, two, stop.get_token());
  HOLDS(got.outcome == cancelled, "a joiner may leave");
  HOLDS(cache.try_run(1, pay, two).outcome == in_flight, "no second run beside the first");
  HOLDS(claimed.owner.complete(1).outcome == executed, "the owner has its key");
  return "";
}

template <class Cache>
broken forgotten_run_is_not_kept() {
  Cache cache({});
  auto claimed = cache.try_claim(1, pay);
  HOLDS(cache.forget(1), "a run can be forgotten");
  claimed.owner.complete(1);
  HOLDS(cache.find(1, pay).outcome == absent, "what was forgotten is not kept");
  return "";
}

template <class Cache>
broken no_way_around_the_fingerprint() {
  Cache cache({});
  {
    auto claimed = cache.try_claim(1, pay);
    HOLDS(cache.try_run(1, refund, two).outcome == payload_mismatch, "compared while it runs");
    HOLDS(cache.find(1, refund).outcome == payload_mismatch, "compared by a look-up");
    claimed.owner.complete(1);
  }
  HOLDS(cache.try_run(1, refund, two).outcome == payload_mismatch, "compared with the answer");
  HOLDS(cache.find(1, refund).outcome == payload_mismatch, "compared by a look-up");
  return "";
}

template <class Cache>
broken leases_mean_what_they_say() {
  interlock::coarse_time time{nanoseconds(1)};
  Cache cache({.lease = nanoseconds(1'000'000), .time = &time});
  auto slow = cache.try_claim(1, pay);
  time.advance_to(nanoseconds(900'000));
  HOLDS(slow.owner.renew(), "an owner can say that it lives");
  time.advance_to(nanoseconds(1'500'000));
  HOLDS(cache.try_run(1, pay, two).outcome == in_flight, "a live owner keeps its key");
  time.advance_to(nanoseconds(2'000'000));
  HOLDS(cache.try_run(1, pay, two).outcome == executed, "a lost owner does not");
  return "";
}

template <class Cache>
broken late_owner_touches_nothing() {
  interlock::coarse_time time{nanoseconds(1)};
  Cache cache({.lease = nanoseconds(100), .time = &time});
  for (const bool fails : {false, true}) {
    const int key = fails ? 1 : 2;
    auto late = cache.try_claim(key, pay);
    time.advance_to(time.now() + nanoseconds(200));
    HOLDS(cache.try_run(key, pay, two).outcome == executed, "a lost owner is followed");
    if (fails) {
      late.owner.fail(std::make_exception_ptr(refused()));
    } else {
      HOLDS(late.owner.complete(1).outcome == lost_ownership, "a late owner is told");
    }
    const auto kept = cache.find(key, pay);
    HOLDS(kept.outcome == replayed, "a late owner takes nothing away");
    HOLDS(*kept == 2, "a late owner overwrites nothing");
  }
  return "";
}

template <class Cache>
broken key_is_stored_as_it_was() {
  Cache cache({});
  std::string key = "a key that is changed by the run for which it was given";
  const std::string before = key;
  cache.run(key, pay, [&key] {
    key[0] = 'x';
    return 1;
  });
  HOLDS(cache.find(before, pay).outcome == replayed, "the key is that of the call");
  HOLDS(cache.find(key, pay).outcome == absent, "no other key has the answer");
  return "";
}

template <class Cache>
broken bound_holds_and_spares_runs() {
  Cache cache({.capacity = 2});
  for (int key = 10; key < 20; ++key) cache.run(key, pay, one);
  HOLDS(cache.size_approx() <= 2, "memory has a bound");
  auto first = cache.try_claim(1, pay);
  auto second = cache.try_claim(2, pay);
  HOLDS(cache.try_run(3, pay, two).outcome == over_capacity, "no run is evicted");
  HOLDS(first.owner.complete(1).outcome == executed, "no run is evicted");
  HOLDS(cache.try_run(1, pay, two).outcome == replayed, "an answer is kept");
  return "";
}

template <class Cache>
broken ttl_begins_with_the_answer() {
  interlock::coarse_time time{nanoseconds(1)};
  Cache cache({.ttl = nanoseconds(100), .time = &time});
  auto claimed = cache.try_claim(1, pay);
  time.advance_to(nanoseconds(201));
  claimed.owner.complete(1);
  HOLDS(cache.try_run(1, pay, two).outcome == replayed, "a slow answer is kept as long");
  time.advance_to(nanoseconds(301));
  HOLDS(cache.try_run(1, pay, two).outcome == executed, "and no longer");
  return "";
}

#undef HOLDS

broken scopes_are_apart(const std::function<std::string(std::string_view, std::string_view)>& key) {
  return key("a", "bc") == key("ab", "c") || key("1", ":x") == key("1:", "x")
             ? "two accounts, two keys"
             : "";
}

// ---- checks in every execution ------------------------------------------------------------------

// Two threads and what they share; the body's own thread is the third reader.
template <class Cache>
struct pair_of {
  explicit pair_of(world& w, const limits& how = {}) : world_(w) {
    begin_anew(3);
    readers::take_place(3);
    shared = used_by<Cache>::make(2, how);
  }
  template <class F>
  void thread(F f) {
    world_.thread([number = ++number_, f = std::move(f), cache = shared]() mutable {
      readers::take_place(number);
      f(**cache);
      cache->leave();
    });
  }
  auto claim_before() {
    return std::make_shared<decltype((*shared)->try_claim(1, pay))>((*shared)->try_claim(1, pay));
  }

  used_by<Cache>* shared;

private:
  world& world_;
  std::uint32_t number_ = 0;
};

template <class Cache>
void runs_once(world& w) {
  pair_of<Cache> both(w);
  atomic<int> runs{0};
  for (int t = 0; t < 2; ++t) {
    both.thread([&runs](Cache& cache) { cache.run(1, pay, [&] { return runs.fetch_add(1, rlx); }); });
  }
  w.finally([&] { testing::check(runs.load(rlx) == 1, "one execution for the key"); });
}

template <class Cache>
void throws_at_joiners(world& w) {
  pair_of<Cache> both(w);
  for (int t = 0; t < 2; ++t) {
    both.thread([](Cache& cache) {
      try {
        cache.run(1, pay, []() -> int { throw refused(); });
        testing::check(false, "it throws");
      } catch (const refused&) {
      }
    });
  }
  w.finally([] {});
}

template <class Cache>
void joiner_follows(world& w) {
  pair_of<Cache> both(w);
  both.thread([](Cache& cache) { static_cast<void>(cache.try_claim(1, pay)); });
  both.thread([](Cache& cache) {
    testing::check(static_cast<bool>(cache.run(1, pay, one)), "a joiner takes over, or runs");
  });
  w.finally([] {});
}

template <class Cache>
void retries_at_once(world& w) {
  pair_of<Cache> both(w);
  both.thread([](Cache& cache) {
    auto claimed = cache.try_claim(1, pay);
    if (claimed.owner) claimed.owner.fail(std::make_exception_ptr(refused()));
  });
  both.thread([](Cache& cache) {
    try {
      cache.run(1, pay, one);
    } catch (const refused&) {
      const auto again = cache.try_run(1, pay, two);
      testing::check(again.outcome == executed, "who hears of a failure can retry at once");
    }
  });
  w.finally([] {});
}

template <class Cache>
void run_asks_another_key(world& w) {
  pair_of<Cache> both(w);
  both.thread([](Cache& cache) {
    cache.run(1, pay, [&cache] { return *cache.run(2, pay, one); });
  });
  both.thread([](Cache& cache) { cache.run(2, pay, one); });
  w.finally([] {});
}

template <class Cache>
void keys_in_a_circle(world& w) {
  pair_of<Cache> both(w);
  for (int t = 1; t < 3; ++t) {
    both.thread([t](Cache& cache) {
      cache.run(t, pay, [&cache, t] {
        const auto inner = cache.run(3 - t, pay, one);
        return inner ? *inner : 0;
      });
    });
  }
  w.finally([] {});
}

template <class Cache>
void memory_runs_out(world& w) {
  pair_of<Cache> both(w);
  for (int t = 0; t < 2; ++t) {
    both.thread([](Cache& cache) {
      bool failed_once = false;
      try {
        cache.run(1, pay, one);
      } catch (const std::bad_alloc&) {
        failed_once = true;
      }
      if (failed_once) {
        testing::check(static_cast<bool>(cache.run(1, pay, one)), "a claim that failed is none");
      }
    });
  }
  w.finally([] {});
}

// ---- whole histories ----------------------------------------------------------------------------

// A call of a key and what it was told. A run is two calls of one span: it claims and completes,
// or it joins and hears.
struct key_call {
  enum class kind { claim, complete, find, forget, run, join, hear } what = kind::find;
  int id = 0;  // of the run, which is its answer as well
  idempotency_outcome said{};  // of forget: replayed if there was something, else absent

  friend std::string describe(const key_call& c) {
    constexpr const char* names[] = {"claim ", "complete ", "find ", "forget ",
                                     "run ",   "join ",     "hear "};
    return testing::history_detail::words(names[static_cast<int>(c.what)], c.id, " was told ",
                                          to_string(c.said));
  }
};

// What a key is to who looks at it from outside.
struct key_in_flight {
  int running = 0, answer = 0;
  unsigned settled = 0;  // a bit for each run

  bool apply(const key_call& c, bool) {
    using kind = key_call::kind;
    switch (c.what) {
      case kind::claim:
      case kind::find:
        if (c.said == replayed) return answer != 0 && answer == c.id;
        if (c.said == in_flight) return running != 0;
        if (running != 0 || answer != 0) return false;
        if (c.said == executed) running = c.id;
        return c.said == executed || c.said == absent;
      case kind::complete:
        if ((c.said == executed) != (running == c.id)) return false;
        if (c.said == executed) answer = std::exchange(running, 0);
        settled |= 1U << c.id;
        return true;
      case kind::forget:
        if ((c.said == replayed) != (running != 0 || answer != 0)) return false;
        running = answer = 0;
        return true;
      case kind::join: return running == c.id;
      case kind::hear: return (settled >> c.id & 1U) != 0;
      case kind::run: return false;
    }
    return false;
  }
  friend bool operator==(const key_in_flight&, const key_in_flight&) = default;
};

enum class step { run, claim, complete, find, forget };
using steps = std::vector<step>;

template <class Cache>
struct recorded_key {
  using kind = key_call::kind;
  using claimed = decltype(std::declval<Cache&>().try_claim(1, pay));

  // Effects: one thread's part; the number of its first step is that of its first run.
  void take(Cache& cache, const steps& its, int first) {
    std::optional<claimed> mine;
    int owned = 0;
    for (std::size_t i = 0; i < its.size(); ++i) {
      const int id = first + static_cast<int>(i);
      if (its[i] == step::run) {
        calls.record({kind::run, id}, [&](key_call& c) {
          answer(c, cache.run(1, pay, [id] { return id; }));
        });
      } else if (its[i] == step::find) {
        calls.record({kind::find, id},
                     [&](key_call& c) { answer(c, cache.find(1, pay)); });
      } else if (its[i] == step::forget) {
        calls.record({kind::forget, id},
                     [&](key_call& c) { c.said = cache.forget(1) ? replayed : absent; });
      } else if (its[i] == step::claim) {
        calls.record({kind::claim, id}, [&](key_call& c) {
          mine.emplace(cache.try_claim(1, pay));
          owned = id;
          if (mine->owner) {
            c.said = executed;
          } else {
            answer(c, mine->answer);
          }
        });
      } else if (mine && mine->owner) {
        calls.record({kind::complete, owned},
                     [&](key_call& c) { c.said = mine->owner.complete(owned).outcome; });
      }
    }
  }
  void check() const {
    calls.check([](const auto& all) {
      auto parts = all;
      parts.clear();
      for (auto each : all) {
        const bool runs = each.op.what == kind::run;
        const bool joins = each.op.said == as_joiner;
        if (!runs) {
          parts.push_back(each);
        } else if (each.op.said == replayed) {
          each.op.what = kind::find;
          parts.push_back(each);
        } else {
          auto second = each;
          each.op.what = joins ? kind::join : kind::claim;
          second.op.what = joins ? kind::hear : kind::complete;
          if (!joins) each.op.said = executed;
          parts.push_back(each);
          parts.push_back(second);
        }
      }
      return testing::linearizable(parts, key_in_flight{});
    });
  }

  testing::explored_history<key_call> calls;

private:
  template <class Result>
  static void answer(key_call& c, const Result& got) {
    c.said = got.outcome;
    if (got) c.id = *got;
  }
};

template <class Cache>
void history_of(world& w, const std::vector<steps>& threads) {
  begin_anew(static_cast<std::uint32_t>(threads.size()) + 1);
  readers::take_place(static_cast<std::uint32_t>(threads.size()) + 1);
  auto* const shared = used_by<Cache>::make(static_cast<int>(threads.size()), limits{});
  recorded_key<Cache> book;
  std::uint32_t number = 0;
  int first = 1;
  for (const steps& its : threads) {
    w.thread([&book, &its, shared, first, number = ++number] {
      readers::take_place(number);
      book.take(**shared, its, first);
      shared->leave();
    });
    first += static_cast<int>(its.size());
  }
  w.finally([&book] { book.check(); });
}

using enum step;

// The check finds what is wrong in some execution and says this.
template <class Body>
bool says(Body body, const std::string& promise, const testing::options& how = whole_waits()) {
  const auto report = failing(body, how);
  INFO(report.failure);
  return report.failure.find(promise) != std::string::npos;
}

}  // namespace

TEST_CASE("bugs: a throw leaves joiners hanging, or poisons the key") {
  using poisoned = small_cache<flaw::poisons_key>;
  CHECK(key_of_a_lost_run_is_free<poisoned>() == "a throw leaves the key free");
  CHECK(key_of_a_lost_run_is_free<small_cache<flaw::none>>().empty());
  CHECK(key_of_a_lost_run_is_free<ours<>>().empty());
  CHECK(says(throws_at_joiners<small_cache<flaw::leaves_joiners>>, "deadlock"));
  proved(throws_at_joiners<small_cache<flaw::none>>, whole_waits());
}

TEST_CASE("bugs: idempotency_cache hands a throw to all who have joined", "[.deep]") {
  proved(throws_at_joiners<ours<>>, whole_waits());
}

TEST_CASE("bugs: an owner that gives up leaves its key locked") {
  using orphaned = small_cache<flaw::orphans_key>;
  CHECK(key_of_a_lost_run_is_free<orphaned>() == "whoever gives up leaves the key free");
}

TEST_CASE("bugs: the leader is cancelled, and everybody fails") {
  CHECK(says(joiner_follows<small_cache<flaw::fails_with_leader>>, "a joiner takes over"));
  proved(joiner_follows<small_cache<flaw::none>>, whole_waits());
  proved(joiner_follows<ours<>>, whole_waits());
}

TEST_CASE("bugs: a joiner is cancelled, and a second run starts") {
  CHECK(leaver_leaves_the_run<small_cache<flaw::leaver_unlinks>>() ==
        "no second run beside the first");
  CHECK(leaver_leaves_the_run<small_cache<flaw::none>>().empty());
  CHECK(leaver_leaves_the_run<ours<>>().empty());
}

TEST_CASE("bugs: a failure wakes its joiners before it is out of the table") {
  CHECK(says(retries_at_once<small_cache<flaw::wakes_first>>, "can retry at once"));
  proved(retries_at_once<small_cache<flaw::none>>, whole_waits());
  proved(retries_at_once<ours<>>, whole_waits());
}

TEST_CASE("bugs: the same key runs twice") {
  CHECK(says(runs_once<small_cache<flaw::runs_twice>>, "one execution"));
  proved(runs_once<small_cache<flaw::none>>, whole_waits());
}

TEST_CASE("bugs: an answer is kept that was invalidated while it was made") {
  CHECK(forgotten_run_is_not_kept<small_cache<flaw::keeps_forgotten>>() ==
        "what was forgotten is not kept");
  CHECK(forgotten_run_is_not_kept<small_cache<flaw::none>>().empty());
  CHECK(forgotten_run_is_not_kept<ours<>>().empty());
}

TEST_CASE("bugs: a run asks for another key, or keys ask in a circle") {
  CHECK(says(run_asks_another_key<small_cache<flaw::calls_under_lock>>, "deadlock"));
  proved(run_asks_another_key<small_cache<flaw::none>>, whole_waits());
  CHECK(says(keys_in_a_circle<small_cache<flaw::none>>, "deadlock"));  // knows of no circles
}

TEST_CASE("bugs: idempotency_cache knows of circles of keys", "[.deep]") {
  proved(run_asks_another_key<ours<>>, whole_waits());
  proved(keys_in_a_circle<ours<>>, whole_waits());
}

TEST_CASE("bugs: one of several ways to a record skips the fingerprint") {
  CHECK(no_way_around_the_fingerprint<small_cache<flaw::joins_unseen>>() ==
        "compared while it runs");
  CHECK(no_way_around_the_fingerprint<small_cache<flaw::finds_unseen>>() ==
        "compared by a look-up");
  CHECK(no_way_around_the_fingerprint<small_cache<flaw::none>>().empty());
  CHECK(no_way_around_the_fingerprint<ours<>>().empty());
}

TEST_CASE("bugs: a live owner is taken for a lost one, or a lost one never is") {
  CHECK(leases_mean_what_they_say<small_cache<flaw::never_renews>>() ==
        "a live owner keeps its key");
  CHECK(leases_mean_what_they_say<small_cache<flaw::slips_unit>>() == "a lost owner does not");
  CHECK(leases_mean_what_they_say<small_cache<flaw::none>>().empty());
  CHECK(leases_mean_what_they_say<ours<>>().empty());
}

TEST_CASE("bugs: a late owner overwrites or deletes what its successor has") {
  CHECK(late_owner_touches_nothing<small_cache<flaw::late_overwrites>>() ==
        "a late owner overwrites nothing");
  CHECK(late_owner_touches_nothing<small_cache<flaw::late_erases>>() ==
        "a late owner takes nothing away");
  CHECK(late_owner_touches_nothing<small_cache<flaw::none>>().empty());
  CHECK(late_owner_touches_nothing<ours<>>().empty());
}

TEST_CASE("bugs: a claim fails and is in the table all the same") {
  testing::options how = whole_waits();
  how.allocation_failures = 1;
  CHECK(says(memory_runs_out<small_cache<flaw::enters_before_room>>, "deadlock", how));
  proved(memory_runs_out<small_cache<flaw::none>>, how);
}

TEST_CASE("bugs: idempotency_cache has no claim that failed, and runs once", "[.deep]") {
  testing::options how = whole_waits();
  how.allocation_failures = 1;
  proved(memory_runs_out<ours<>>, how);
  proved(runs_once<ours<>>, whole_waits());
}

TEST_CASE("bugs: the key is looked at again when the answer is stored") {
  using looks = small_cache<flaw::looks_again, std::string>;
  CHECK(key_is_stored_as_it_was<looks>() == "the key is that of the call");
  CHECK(key_is_stored_as_it_was<small_cache<flaw::none, std::string>>().empty());
  CHECK(key_is_stored_as_it_was<ours<std::string>>().empty());
}

TEST_CASE("bugs: memory without a bound, and runs that are evicted") {
  CHECK(bound_holds_and_spares_runs<small_cache<flaw::never_evicts>>() == "memory has a bound");
  CHECK(bound_holds_and_spares_runs<small_cache<flaw::evicts_running>>() == "no run is evicted");
  CHECK(bound_holds_and_spares_runs<small_cache<flaw::none>>().empty());
  CHECK(bound_holds_and_spares_runs<ours<>>().empty());
}

TEST_CASE("bugs: an answer that took long has expired when it comes") {
  CHECK(ttl_begins_with_the_answer<small_cache<flaw::ttl_from_start>>() ==
        "a slow answer is kept as long");
  CHECK(ttl_begins_with_the_answer<small_cache<flaw::none>>().empty());
  CHECK(ttl_begins_with_the_answer<ours<>>().empty());
}

TEST_CASE("bugs: a key is not bound to its account") {
  const auto joined_up = [](std::string_view scope, std::string_view key) {
    return std::string(scope).append(key);
  };
  const auto with_colon = [](std::string_view scope, std::string_view key) {
    return std::string(scope).append(":").append(key);
  };
  CHECK(scopes_are_apart(joined_up) == "two accounts, two keys");
  CHECK(scopes_are_apart(with_colon) == "two accounts, two keys");
  CHECK(scopes_are_apart(interlock::scoped_key).empty());
}

TEST_CASE("bugs: a key answers as one entry that may be in flight, in every execution") {
  const auto ours_explored = [](const std::vector<steps>& threads) {
    proved([&](world& w) { history_of<ours<>>(w, threads); }, whole_waits());
  };
  ours_explored({{claim, complete}, {find, find}});
  ours_explored({{claim, complete}, {forget, find}});
  const auto told = [](auto body) { return says(body, "no order explains the answer"); };
  CHECK(told([](world& w) {
    history_of<small_cache<flaw::keeps_forgotten>>(w, {{claim, complete}, {forget, find}});
  }));
  CHECK(told([](world& w) {
    history_of<small_cache<flaw::runs_twice>>(w, {{claim, complete}, {claim, complete}});
  }));
}

TEST_CASE("bugs: longer histories of a key", "[.deep]") {
  const auto ours_explored = [](const std::vector<steps>& threads) {
    proved([&](world& w) { history_of<ours<>>(w, threads); }, whole_waits());
  };
  ours_explored({{run, find}, {run}});
  ours_explored({{run}, {forget, find}});
  ours_explored({{run}, {forget, run}});
  ours_explored({{claim, complete}, {forget, claim, complete, find}});
}

TEST_CASE("bugs: a history of a key by three threads", "[.deep]") {
  proved([](world& w) { history_of<ours<>>(w, {{claim, complete}, {find}, {forget}}); },
         whole_waits());
}
