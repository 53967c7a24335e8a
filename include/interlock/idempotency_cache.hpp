// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/idempotency_cache.hpp - runs a request once per key; a repetition gets the same answer.
//
// Problem     A client times out and sends the same POST again, perhaps while the first is running.
//             Look up, run, store charges twice: both requests look before either has stored.
// Guarantee   Of the callers of a key that overlap one executes and all get its answer. A later
//             caller gets that answer until its ttl has passed or it is evicted. A key that comes
//             with another payload is refused even while its run is in flight. A retryable failure
//             reaches the joiners of that run and no later caller. A run that is given up goes on
//             with one of its joiners. An owner that lost its key cannot overwrite its successor.
// Progress    Joiners block, or suspend. All else: short locks of one shard, never held while f, a
//             Hash, a constructor or a destructor of yours runs.
// Cost        A hit: a lock, a look-up, a clock read, two reference counts. A miss: one allocation.
//             8 to 16 bytes per entry of capacity up front. Shards evict the oldest answers first.
// Lifetime    The cache outlives its runs and tickets. A response lives on with whoever holds it.
// Not for     Surviving a crash: it is all in memory. Runs that wait for each other in a circle.
// Resumes on  The thread that settles or gives up the run, from its list of ready coroutines.
// Cancellation A suspended joiner may be destroyed, unless another thread settles or gives up its
//             run, or did so. An owner that is destroyed gives up.
//
// Example     idempotency_cache<std::string, receipt> payments;  // examples/idempotency_cache.cpp
//             const auto got = payments.run(key, fingerprint_of(body), [&] { return pay(body); });
//             if (!got) return refuse(got.outcome);  // 409, 422 or 503
//             return reply(*got, got.outcome == idempotency_outcome::replayed);

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/idempotency_table.hpp"
#include "detail/parking.hpp"
#include "detail/waiter.hpp"

namespace interlock {

template <class T>
class task;

// What a request asks for, as a number: two requests with one key must agree on it.
enum class fingerprint : std::uint64_t {};

// Returns: the FNV-1a hash of the bytes. Compared under one key only, so two payloads are taken for
//          one another once in 2^64, by accident. Not cryptographic.
[[nodiscard]] constexpr fingerprint fingerprint_of(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return fingerprint{hash};
}

enum class idempotency_outcome : std::uint8_t {
  executed,          // this call ran f
  joined,            // another call was running f: this is its answer
  replayed,          // a call ran f before: this is its answer
  lost_ownership,    // this call ran f, but the key was forgotten meanwhile: nothing is kept
  payload_mismatch,  // the key is known with another fingerprint
  in_flight,         // another call is running f, and this one does not wait
  reentered,         // this thread is inside f of this very key: waiting would never end
  over_capacity,     // every entry of the key's shard is in flight: those are never evicted
};

struct idempotency_statistics {
  std::size_t entries;  // now; the others count from the beginning
  std::uint64_t executed, joined, replayed, mismatches, refused;
  std::uint64_t failures, takeovers, evicted, expired;
};

// Requirements: Equal neither throws nor calls the cache; all else of the user's may do both.
template <class Key, class Response, class Hash = std::hash<Key>, class Equal = std::equal_to<>>
class idempotency_cache {
  static_assert(std::is_object_v<Response> && !std::is_const_v<Response>,
                "Response is a plain object type; for a run without an answer use std::monostate");
  using table =
      detail::idempotency_table<Key, Response, Equal, idempotency_outcome, idempotency_statistics>;
  class async_claim_awaiter;

public:
  struct options {
    // Entries, running ones included. Dealt out evenly to 1 shard per 256, at most 64, rounded
    // down to a power of two; each evicts its own oldest, and refuses when all of its are running.
    std::size_t capacity = 65'536;
    std::chrono::nanoseconds ttl = std::chrono::hours(24);  // counted from the answer
    std::chrono::nanoseconds failure_ttl = ttl;             // the same for failures that are kept
    // Whether an outcome is final, hence kept. By default every response is and no failure is; what
    // is not final reaches the joiners of its run, and the next caller runs again.
    std::function<bool(const Response&)> is_final_response = nullptr;
    std::function<bool(const std::exception_ptr&)> is_final_failure = nullptr;
    // A clock that never goes back; any thread calls it. The default ticks: every 1 to 10 ms on
    // Linux. It keeps a ttl to within one tick; one below a tick ends with the tick it began in.
    std::function<std::chrono::nanoseconds()> now = nullptr;
  };

  struct result {
    std::shared_ptr<const Response> response;  // null if this call got no answer; not a copy
    idempotency_outcome outcome = idempotency_outcome::in_flight;
    std::uint32_t attempt = 0;       // which run gave the answer: 2 after one take-over
    std::chrono::nanoseconds age{};  // since the answer was given

    explicit operator bool() const noexcept { return response != nullptr; }
    const Response& operator*() const noexcept { return *response; }
    const Response* operator->() const noexcept { return response.get(); }
  };

  class ticket;
  struct [[nodiscard("dropping the ticket gives up the run")]] claim_result {
    ticket owner;   // if set, the key is yours to run
    result answer;  // else why it is not
  };

  idempotency_cache() : idempotency_cache(options{}) {}
  // Throws: std::invalid_argument if the capacity is 0 or a ttl is not positive.
  explicit idempotency_cache(options how);
  idempotency_cache(const idempotency_cache&) = delete;
  idempotency_cache& operator=(const idempotency_cache&) = delete;

  // Effects: executes f, unless the key has an answer or another call is about to give one; waits
  //          for that. If that call gives up, this one may be chosen to execute f in its place.
  // Throws: what f threw, to its caller and to all who get that answer; bad_alloc; what Key, Hash,
  //         Response and the options throw. Whatever it is, no joiner is left behind.
  template <class F>
  result run(const Key& key, fingerprint payload, F&& f) {
    return execute(claim(key, payload), std::forward<F>(f));
  }

  // As run, but does not wait: in_flight at once.
  template <class F>
  [[nodiscard("f may not have run")]] result try_run(const Key& key, fingerprint payload, F&& f) {
    return execute(try_claim(key, payload), std::forward<F>(f));
  }

  // As run, for an f that returns an awaitable; suspends instead of blocking. Never `reentered`: a
  // coroutine that awaits its own key waits for ever. To use it, include task.hpp.
  template <class F>
  task<result> async_run(Key key, fingerprint payload, F f);

  // run without the call, for work that ends in a callback or on another thread. Returns: a ticket
  // to settle, or the answer. Throws: as run. claim waits as run does, try_claim as try_run.
  claim_result claim(const Key& key, fingerprint payload) {
    detail::thread_waiter node;
    record_ptr seat;
    const request asked = ask(key, payload, &node, true);
    const idempotency_outcome seen = table_.enter(asked, seat);
    if (seen == idempotency_outcome::joined) node.wait();
    return conclude(seen, std::move(seat), asked.now);
  }
  claim_result try_claim(const Key& key, fingerprint payload) {
    record_ptr seat;
    const request asked = ask(key, payload, nullptr, true);
    const idempotency_outcome seen = table_.enter(asked, seat);
    return conclude(seen, std::move(seat), asked.now);
  }
  // Preconditions: the key lives until the await is over, as a temporary in the co_await does.
  [[nodiscard("write co_await")]] auto async_claim(const Key& key, fingerprint payload) {
    return async_claim_awaiter(*this, key, payload);
  }

  // Effects: drops the key's answer, but not a run in flight. Returns: whether there was one.
  bool evict(const Key& key) { return table_.drop(key, hash_of(key), false); }

  // Effects: drops the key altogether. A run in flight goes on and answers those who joined it, but
  //          the next caller executes again: this gives up "at most once" for the key.
  bool forget(const Key& key) { return table_.drop(key, hash_of(key), true); }

  [[nodiscard]] std::size_t size_approx() const noexcept { return statistics().entries; }
  [[nodiscard]] idempotency_statistics statistics() const noexcept { return table_.statistics(); }

private:
  using record_ptr = typename table::record_ptr;
  using request = typename table::request;
  using phase = detail::record_phase;

  request ask(const Key& key, fingerprint payload, detail::waiter* node, bool blocks) const {
    return {key, hash_of(key), static_cast<std::uint64_t>(payload), now(), node, blocks};
  }
  std::chrono::nanoseconds now() const {
    return how_.now ? how_.now() : detail::coarse_now();
  }
  // Spreads what Hash gives, often the key itself: the low half picks a bucket, the high a shard.
  std::uint64_t hash_of(const Key& key) const {
    std::uint64_t hash = hash_(key);
    hash = (hash ^ (hash >> 32U)) * 0x9e3779b97f4a7c15U;
    return hash ^ (hash >> 32U);
  }

  // A joiner that wakes up to a running record is its owner now.
  claim_result conclude(idempotency_outcome seen, record_ptr seat, std::chrono::nanoseconds now) {
    if (seat == nullptr) return {{}, {nullptr, seen}};
    if (seat->phase == phase::running) return {ticket(*this, std::move(seat)), {}};
    if (seat->phase == phase::failed) std::rethrow_exception(seat->failure);
    const auto& done = *seat;
    const auto age = std::max(now - done.settled_at, std::chrono::nanoseconds{});
    return {{}, {{std::move(seat), &done.response->value}, seen, done.attempt, age}};
  }

  template <class F>
  static result execute(claim_result claimed, F&& f) {
    static_assert(!detail::awaitable<std::invoke_result_t<F>>,
                  "interlock: nothing would await what f returns here; use async_run()");
    if (!claimed.owner) return std::move(claimed.answer);
    claimed.owner.run_->runs_here();
    try {
      return claimed.owner.complete_with(std::forward<F>(f));
    } catch (...) {
      claimed.owner.fail(std::current_exception());
      throw;
    }
  }

  const options how_;
  const Hash hash_{};
  table table_;
};

// The right and the duty to answer a key. One dropped unsettled gives up the run: the joiner that
// has waited longest takes over with its own f; if there is none, the key is free again.
template <class Key, class Response, class Hash, class Equal>
class idempotency_cache<Key, Response, Hash, Equal>::ticket {
public:
  ticket() = default;
  ticket(ticket&&) = default;
  ticket& operator=(ticket other) noexcept {
    std::swap(cache_, other.cache_);
    run_.swap(other.run_);
    return *this;  // what this one had goes with other, which gives it up
  }
  ~ticket() {
    if (run_ != nullptr) cache_->table_.abandon(*run_);
  }

  // Returns: whether there is a run to settle.
  explicit operator bool() const noexcept { return run_ != nullptr; }

  // Effects: gives the answer to the joiners and, if it is final, to later callers.
  // Returns: it, as executed or lost_ownership. An empty ticket: lost_ownership without a response.
  // Throws: what building the response throws, or the options' functions; the run goes on then.
  template <class R = Response>
  result complete(R&& response) {
    return complete_with([&]() -> Response { return std::forward<R>(response); });
  }

  // As complete, with what make() returns, built in place.
  template <class F>
  result complete_with(F&& make) {
    if (run_ == nullptr) return {nullptr, idempotency_outcome::lost_ownership};
    const Response& built = run_->response.emplace(std::in_place, std::forward<F>(make)).value;
    const bool keep = !cache_->how_.is_final_response || cache_->how_.is_final_response(built);
    const std::chrono::nanoseconds at = cache_->now();
    record_ptr run = std::move(run_);  // a joiner that goes on may end this ticket
    const bool owned = cache_->table_.settle(*run, phase::answered, keep, at);
    const std::uint32_t attempt = run->attempt;
    using enum idempotency_outcome;
    return {{std::move(run), &built}, owned ? executed : lost_ownership, attempt};
  }

  // Effects: throws the failure at the joiners and, if it is final, at later callers. A null one
  //          gives up the run. No effect on an empty ticket.
  void fail(std::exception_ptr failure) {
    if (run_ == nullptr || failure == nullptr) return void(*this = ticket());
    const bool keep = cache_->how_.is_final_failure && cache_->how_.is_final_failure(failure);
    run_->failure = std::move(failure);
    const std::chrono::nanoseconds at = cache_->now();
    const record_ptr run = std::move(run_);  // a joiner that goes on may end this ticket
    cache_->table_.settle(*run, phase::failed, keep, at);
  }

private:
  friend idempotency_cache;
  ticket(idempotency_cache& cache, record_ptr run) : cache_(&cache), run_(std::move(run)) {}

  idempotency_cache* cache_ = nullptr;
  record_ptr run_;  // null when empty, settled or moved from
};

template <class Key, class Response, class Hash, class Equal>
class idempotency_cache<Key, Response, Hash, Equal>::async_claim_awaiter {
public:
  async_claim_awaiter(idempotency_cache& cache, const Key& key, fingerprint payload)
      : cache_(cache), asked_(cache.ask(key, payload, &node_, false)) {}
  // Destroyed while suspended: it leaves the line, or, if it was woken and waits for its turn on
  // this thread, the thread's ready coroutines; then it may have become the owner.
  ~async_claim_awaiter() {
    if (seat_ == nullptr || cache_.table_.leave(*seat_, node_)) return;
    detail::trampoline::forget(node_);
    if (seat_->phase == phase::running) cache_.table_.abandon(*seat_);
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) {
    node_.continuation = self;
    const idempotency_outcome seen = cache_.table_.enter(asked_, seat_);
    if (seen == idempotency_outcome::joined) return true;  // *this may be gone
    seen_ = seen;
    return false;
  }
  claim_result await_resume() { return cache_.conclude(seen_, std::move(seat_), asked_.now); }

private:
  idempotency_cache& cache_;
  detail::coroutine_waiter node_;
  const request asked_;
  record_ptr seat_;
  idempotency_outcome seen_ = idempotency_outcome::joined;
};

template <class K, class R, class H, class E>
idempotency_cache<K, R, H, E>::idempotency_cache(options how)
    : how_(std::move(how)), table_(how_.capacity, how_.ttl, how_.failure_ttl) {
  if (how_.capacity == 0) {
    throw std::invalid_argument(
        "interlock::idempotency_cache: capacity 0 leaves no room for a run; use at least 1");
  }
  if (how_.ttl.count() <= 0 || how_.failure_ttl.count() <= 0) {
    throw std::invalid_argument(
        "interlock::idempotency_cache: a ttl of 0 or less forgets every answer at once; use one "
        "longer than the client's last retry, such as 24 h");
  }
}

template <class K, class R, class H, class E>
template <class F>
auto idempotency_cache<K, R, H, E>::async_run(K key, fingerprint payload, F f) -> task<result> {
  claim_result claimed = co_await async_claim(key, payload);
  if (!claimed.owner) co_return std::move(claimed.answer);
  try {
    R response = co_await f();
    co_return claimed.owner.complete(std::move(response));
  } catch (...) {
    claimed.owner.fail(std::current_exception());
    throw;
  }
}

}  // namespace interlock
