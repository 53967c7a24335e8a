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
// Progress    A hit: no lock, no wait. Joiners block, or suspend. All else: short locks of one
//             shard, never held while f, a Hash, a constructor or a destructor of yours runs.
// Cost        visit: stores nothing that another thread reads, but a mark once per round of the
//             eviction. A handle: two stores for the first two of a thread, else two reference
//             counts. A miss: one allocation, of 48 bytes beyond key and response (40 for keys
//             that are numbers, with seeded_hash); 11 to 22 of buckets. Shards evict the oldest
//             answers first.
// Lifetime    The cache outlives its runs and tickets. A response lives on with whoever holds it.
//             What was evicted is destroyed by a later call, when nobody is inside visit any more.
// Not for     Surviving a crash: it is all in memory. Coroutines that wait for each other's runs.
// Resumes on  The thread that settles or gives up the run, from its list of ready coroutines, or
//             where .resume_on(executor) puts it.
// Cancellation By a stop token or a deadline: that joiner leaves and nobody else. A suspended one
//             may be destroyed, unless another thread settles or gives up its run or ends its wait,
//             or did so, or an executor has it. An owner that is destroyed gives up.
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
#include <optional>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>

#include "coarse_time.hpp"
#include "detail/awaitable.hpp"
#include "detail/idempotency_table.hpp"
#include "detail/lookup_key.hpp"
#include "detail/parking.hpp"
#include "detail/pins.hpp"
#include "detail/run_waits.hpp"
#include "detail/waiter.hpp"
#include "detail/waiting.hpp"
#include "idempotency_outcome.hpp"
#include "seeded_hash.hpp"
#include "timer.hpp"

namespace interlock {

template <class T>
class task;

// Requirements: Equal neither throws nor calls the cache; all else of the user's may do both. Where
// Hash and Equal are transparent, a key may be given as anything that they take and that a Key can
// be made of: it is made on a miss alone.
template <class Key, class Response, class Hash = seeded_hash<Key>, class Equal = std::equal_to<>>
class idempotency_cache {
  static_assert(std::is_object_v<Response> && !std::is_const_v<Response>,
                "Response is a plain object type; for a run without an answer use std::monostate");
  using table = detail::idempotency_table<Key, Response, Hash, Equal, idempotency_outcome,
                                          idempotency_statistics>;
  using record = typename table::record;
  using record_ptr = typename table::record_ptr;
  using held_record = detail::held_node<record>;
  using nanoseconds = std::chrono::nanoseconds;
  template <class View>
  class claim_place;
  template <class View, class... Ends>
  using claims = detail::waiting<claim_place<View>, detail::by_trampoline, Ends...>;

public:
  using time_point = std::chrono::steady_clock::time_point;

  struct options {
    // Entries, running ones included. Dealt out evenly to 1 shard per 256, at most 64, rounded
    // down to a power of two; each evicts its own oldest, and refuses when all of its are running.
    std::size_t capacity = 65'536;
    // What all answers may weigh together, dealt out in the same way; 0: as much as they like. One
    // too heavy for its shard, or of 2^31 and more, is given to its joiners and not kept.
    std::uint64_t max_weight = 0;
    std::function<std::uint64_t(const Key&, const Response&)> weigh = nullptr;  // failures: 1
    std::size_t max_key_size = 255;  // of keys with a size(); an empty or longer one: bad_key
    nanoseconds ttl = std::chrono::hours(24);  // counted from the answer
    nanoseconds failure_ttl = ttl;             // the same for failures that are kept
    // How long a run may take before the next caller takes its key over; 0: as long as it likes.
    // See ticket::renew and ticket::begin_effect.
    nanoseconds lease = nanoseconds(0);
    // Whether an outcome is final, hence kept. By default every response is and no failure is; what
    // is not final reaches the joiners of its run, and the next caller runs again.
    std::function<bool(const Response&)> is_final_response = nullptr;
    std::function<bool(const std::exception_ptr&)> is_final_failure = nullptr;
    // A clock that never goes back; any thread calls it. The default ticks: every 1 to 10 ms on
    // Linux. It keeps a ttl to within one tick; one below a tick ends with the tick it began in.
    std::function<nanoseconds()> now = nullptr;
    // Instead of a clock, a word that somebody else moves: then a hit reads no clock at all.
    const coarse_time* time = nullptr;
    // Told what becomes of runs and answers (see idempotency_news), outside every lock, on the
    // thread that does it; of a hit never, and unset it costs nothing. It may call the cache; what
    // it throws is dropped. The end of a run is told after its start, and before those who joined
    // go on; given_up and left_in_doubt, before another one can own the key. What different threads
    // do to a key at once, and what leaves by itself, may be told in another order.
    std::function<void(const idempotency_event<Key>&)> on_event = nullptr;
    Hash hash{};
  };

  // A share of an answer, which it keeps alive. Null if there is none. One that ends on another
  // thread than found it may take a short lock of that thread's.
  class response_ptr {
  public:
    response_ptr() = default;
    response_ptr(std::nullptr_t) noexcept {}

    const Response* get() const noexcept { return held_ ? &held_->response() : nullptr; }
    const Response& operator*() const noexcept { return held_->response(); }
    const Response* operator->() const noexcept { return &held_->response(); }
    explicit operator bool() const noexcept { return static_cast<bool>(held_); }
    friend bool operator==(const response_ptr& a, const response_ptr& b) noexcept {
      return a.held_.get() == b.held_.get();
    }

  private:
    friend idempotency_cache;
    [[gnu::always_inline]] explicit response_ptr(held_record held) noexcept
        : held_(std::move(held)) {}
    explicit response_ptr(record_ptr held) noexcept : held_(held.release()) {}

    held_record held_;
  };

  struct result {
    response_ptr response;  // null if this call got no answer; not a copy
    idempotency_outcome outcome = idempotency_outcome::in_flight;
    std::uint32_t attempt = 0;  // which run gave the answer: 2 after one take-over
    nanoseconds age{};          // since the answer was given

    // Returns: whether there is an answer that everybody gets. A late owner has its own response,
    //          to undo what it did perhaps, but the key's answer is another one.
    explicit operator bool() const noexcept {
      return response && outcome != idempotency_outcome::lost_ownership;
    }
    const Response& operator*() const noexcept { return *response; }
    const Response* operator->() const noexcept { return response.get(); }
  };

  class ticket;
  struct [[nodiscard("dropping the ticket gives up the run")]] claim_result {
    ticket owner;   // if set, the key is yours to run
    result answer;  // else why it is not
  };

  // A key with its hash, for those who ask several times: see hashed(). The key outlives it.
  template <class K>
  class hashed_key;

  idempotency_cache() : idempotency_cache(options{}) {}
  // Throws: std::invalid_argument if the capacity or the longest key is 0, a ttl is not positive, a
  //         lease is negative, or there is a weight without a limit or a limit without a weight.
  explicit idempotency_cache(options how);
  idempotency_cache(const idempotency_cache&) = delete;
  idempotency_cache& operator=(const idempotency_cache&) = delete;

  // Effects: executes f, unless the key has an answer or another call is about to give one; waits
  //          for that. If that call gives up, this one may be chosen to execute f in its place.
  // Throws: what f threw, to its caller and to all who get that answer; bad_alloc; what Key, Hash,
  //         Response and the options throw. Whatever it is, no joiner is left behind.
  template <class K = Key, class F>
  result run(const K& key, fingerprint payload, F&& f) {
    return run_by(nullptr, no_stop(), key, payload, std::forward<F>(f));
  }
  // As run, but waits no longer for another call than until a stop is requested, or the deadline:
  // cancelled, timed_out. Neither ends f, nor keeps from an answer, or a key, that needs no wait.
  template <class K = Key, class F, detail::stop_token_like Token>
  result run(const K& key, fingerprint payload, F&& f, Token stop) {
    return run_by(nullptr, std::move(stop), key, payload, std::forward<F>(f));
  }
  template <class K = Key, class F>
  result run_until(time_point deadline, const K& key, fingerprint payload, F&& f) {
    return run_by(&deadline, no_stop(), key, payload, std::forward<F>(f));
  }
  template <class K = Key, class F, detail::stop_token_like Token>
  result run_until(time_point deadline, const K& key, fingerprint payload, F&& f, Token stop) {
    return run_by(&deadline, std::move(stop), key, payload, std::forward<F>(f));
  }

  // As run, but does not wait: in_flight at once.
  template <class K = Key, class F>
  [[nodiscard("f may not have run")]] result try_run(const K& key, fingerprint payload, F&& f) {
    return execute(try_claim(key, payload), std::forward<F>(f));
  }

  // As run, for an f that returns an awaitable; suspends instead of blocking. Never `reentered`: a
  // coroutine that awaits its own key waits for ever. To use it, include task.hpp.
  template <class F>
  task<result> async_run(Key key, fingerprint payload, F f) {
    return execute_async(std::move(key), payload, std::move(f));
  }
  template <class F, detail::stop_token_like Token>
  task<result> async_run(Key key, fingerprint payload, F f, Token stop) {
    return execute_async(std::move(key), payload, std::move(f), stops<Token>{std::move(stop)});
  }
  template <timer Timer, class F>
  task<result> async_run_until(Timer& timer, typename Timer::time_point deadline, Key key,
                               fingerprint payload, F f) {
    return execute_async(std::move(key), payload, std::move(f), times_out<Timer>{&timer, deadline});
  }
  template <timer Timer, class F, detail::stop_token_like Token>
  task<result> async_run_until(Timer& timer, typename Timer::time_point deadline, Key key,
                               fingerprint payload, F f, Token stop) {
    return execute_async(std::move(key), payload, std::move(f), stops<Token>{std::move(stop)},
                         times_out<Timer>{&timer, deadline});
  }

  // Effects: calls f(response) if the key has an answer, without a lock, a copy or a reference
  //          count. f is short: what is evicted meanwhile is not freed before it is done.
  // Returns: replayed if so; absent, in_flight, payload_mismatch, or `failed`.
  template <class K = Key, class F>
  idempotency_outcome visit(const K& key, fingerprint payload, F&& f) const;
  // Returns: the key's answer, or why there is none, as visit does. Does not throw a failure.
  template <class K = Key>
  [[nodiscard]] result find(const K& key, fingerprint payload) const;
  // Returns: the key with its hash, to be given instead of a key.
  template <class K>
  [[nodiscard]] hashed_key<K> hashed(const K& key) const {
    return hashed_key<K>(key, looked_for::hash(how_.hash, view_of(key)));
  }

  // run without the call, for work that ends in a callback or on another thread. Returns: a ticket
  // to settle, or the answer. Throws: as run. claim waits as run does, try_claim as try_run.
  template <class K = Key>
  claim_result claim(const K& key, fingerprint payload) {
    return claim_by(nullptr, no_stop(), key, payload);
  }
  template <class K = Key, detail::stop_token_like Token>
  claim_result claim(const K& key, fingerprint payload, Token stop) {
    return claim_by(nullptr, std::move(stop), key, payload);
  }
  template <class K = Key>
  claim_result claim_until(time_point deadline, const K& key, fingerprint payload) {
    return claim_by(&deadline, no_stop(), key, payload);
  }
  template <class K = Key, detail::stop_token_like Token>
  claim_result claim_until(time_point deadline, const K& key, fingerprint payload, Token stop) {
    return claim_by(&deadline, std::move(stop), key, payload);
  }
  template <class K = Key>
  claim_result try_claim(const K& key, fingerprint payload) {
    return try_claim_by(key, payload, false);
  }
  // As try_claim, and the ticket of a run that is in doubt: for one who finds out what became of it
  // and settles it then: fail() where nothing has happened. Dropped, it leaves the key in doubt.
  template <class K = Key>
  claim_result claim_in_doubt(const K& key, fingerprint payload) {
    return try_claim_by(key, payload, true);
  }
  // Preconditions: the key lives until the await is over, as a temporary in the co_await does.
  template <class K = Key>
  [[nodiscard("write co_await")]] auto async_claim(const K& key, fingerprint payload) {
    return claims<view<K>>(place_request(key, payload));
  }
  template <class K = Key, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_claim(const K& key, fingerprint payload, Token stop) {
    return claims<view<K>, stops<Token>>(place_request(key, payload), {},
                                         stops<Token>{std::move(stop)});
  }
  template <timer Timer, class K = Key>
  [[nodiscard("write co_await")]] auto async_claim_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         const K& key, fingerprint payload) {
    return claims<view<K>, times_out<Timer>>(place_request(key, payload), {},
                                        times_out<Timer>{&timer, deadline});
  }
  template <timer Timer, class K = Key, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_claim_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         const K& key, fingerprint payload,
                                                         Token stop) {
    return claims<view<K>, stops<Token>, times_out<Timer>>(
        place_request(key, payload), {}, stops<Token>{std::move(stop)},
        times_out<Timer>{&timer, deadline});
  }

  // Effects: drops the key's answer, but not a run in flight. Returns: whether there was one.
  template <class K = Key>
  bool evict(const K& key) {
    return drop(key, false);
  }

  // Effects: drops the key altogether. A run in flight goes on and answers those who joined it, but
  //          the next caller executes again: this gives up "at most once" for the key.
  template <class K = Key>
  bool forget(const K& key) {
    return drop(key, true);
  }

  [[nodiscard]] std::size_t size_approx() const noexcept { return statistics().entries; }
  [[nodiscard]] idempotency_statistics statistics() const noexcept { return table_.statistics(); }

private:
  struct no_stop {};
  template <class Token>
  using stops = detail::stop_end<Token>;
  template <class Timer>
  using times_out = detail::deadline_end<Timer>;
  using request = typename table::request;
  using joiner = typename table::joiner;
  using phase = detail::record_phase;

  using looked_for = detail::lookup_key<Key, Hash, Equal>;
  template <class K>
  static decltype(auto) view_of(const K& key) {
    return looked_for::view_of(key);
  }
  template <class K>
  static decltype(auto) view_of(const hashed_key<K>& key) {
    return looked_for::view_of(key.key_);
  }
  template <class K>  // to be kept
  using view = typename looked_for::template kept<decltype(view_of(std::declval<const K&>()))>;
  template <class K, class V>
  std::uint64_t hash_of(const K&, const V& seen) const {
    return looked_for::hash(how_.hash, seen);
  }
  template <class K, class V>
  std::uint64_t hash_of(const hashed_key<K>& key, const V&) const {
    if constexpr (detail::keeps_hash<Key, Hash>) {
      return key.hash_;
    } else {
      return looked_for::hash(how_.hash, key.key_);  // as it is computed again, from a node
    }
  }
  template <class K, class V>
  request ask(const K& key, const V& seen, fingerprint payload) const {
    const auto number = static_cast<std::uint64_t>(payload);
    return {static_cast<std::uint32_t>(hash_of(key, seen) >> 32U), number, now()};
  }
  nanoseconds now() const {
    if (how_.time != nullptr) [[likely]] return how_.time->now();
    return how_.now ? how_.now() : detail::coarse_now();
  }

  struct answers;
  template <class Token, class K, class F>
  result run_by(const time_point* deadline, Token stop, const K& key, fingerprint payload, F&& f);
  template <class Token, class K>
  claim_result claim_by(const time_point* deadline, Token stop, const K& key,
                        fingerprint payload);
  template <class Token, class V>
  claim_result claim_slowly(const time_point* deadline, Token stop, const V& key, request asked,
                            idempotency_outcome found);
  template <class Token>
  bool wait(const time_point* deadline, const Token& stop, detail::thread_waiter& node,
            joiner& self, const request& asked);
  template <class End>
  bool wait_by(const time_point* deadline, detail::thread_waiter& node, joiner& self,
               request asked, const End& end);
  time_point next_look(joiner& self, const request& asked);
  template <class K>
  claim_result try_claim_by(const K& key, fingerprint payload, bool resolves);
  template <class K>
  auto place_request(const K& key, fingerprint payload) {
    const auto& seen = view_of(key);
    return typename claim_place<view<K>>::request{this, view<K>(seen), ask(key, seen, payload)};
  }
  template <class K>
  bool drop(const K& key, bool force);

  nanoseconds time_or(nanoseconds else_at) const noexcept;
  void give_up(record& run) noexcept;
  claim_result ended_by(wait_status why, std::uint32_t hash);
  claim_result conclude(idempotency_outcome seen, record_ptr seat, nanoseconds now);
  static nanoseconds age_of(const record& done, nanoseconds now) noexcept;

  template <class F>
  static result execute(claim_result claimed, F&& f);
  template <class F, class... Ends>
  task<result> execute_async(Key key, fingerprint payload, F f, Ends... ends);

  const options how_;
  mutable table table_;
};

template <class Key, class Response, class Hash, class Equal>
template <class K>
class idempotency_cache<Key, Response, Hash, Equal>::hashed_key {
  friend idempotency_cache;
  hashed_key(const K& key, std::uint64_t hash) noexcept : key_(key), hash_(hash) {}

  const K& key_;
  std::uint64_t hash_;
};

// The right and the duty to answer a key. One dropped unsettled gives up the run: the joiner that
// has waited longest takes over with its own f; if there is none, the key is free again. But once
// begin_effect() was called, the key is in doubt then.
template <class Key, class Response, class Hash, class Equal>
class idempotency_cache<Key, Response, Hash, Equal>::ticket {
public:
  ticket() = default;
  ticket(ticket&&) = default;
  ticket& operator=(ticket other) noexcept {
    std::swap(cache_, other.cache_);
    std::swap(run_, other.run_);
    return *this;  // what this one had goes with other, which gives it up
  }
  ~ticket() {
    if (run_) cache_->give_up(*run_);
  }

  // Returns: whether there is a run to settle.
  explicit operator bool() const noexcept { return static_cast<bool>(run_); }
  // Returns: which owner of the key this is: 2 after one take-over. 0 if it is empty.
  [[nodiscard]] std::uint32_t attempt() const noexcept { return run_ ? run_->word().turn() : 0; }

  // Effects: the lease begins anew. Returns: false if the key was lost: settle or drop the ticket.
  [[nodiscard("false: another one owns the key")]] bool renew() {
    return run_ && cache_->table_.renew(*run_, cache_->now(), false);
  }
  // Effects: the same, and from now on nobody runs again in this one's place without asking: after
  //          its lease, or without this ticket, the key is in_doubt until it is settled.
  [[nodiscard("false: another one owns the key")]] bool begin_effect() {
    return run_ && cache_->table_.renew(*run_, cache_->now(), true);
  }

  // Effects: gives the answer to the joiners and, if it is final, to later callers.
  // Returns: it, as executed or lost_ownership. An empty ticket: lost_ownership without a response.
  // Throws: what building the response throws, or the options' functions; the run goes on then.
  template <class R = Response>
  result complete(R&& response) {
    return complete_with([&]() -> Response { return std::forward<R>(response); });
  }
  // As complete, with what make() returns, built in place.
  template <class F>
  result complete_with(F&& make);

  // Effects: throws the failure at the joiners and, if it is final, at later callers. A null one
  //          gives up the run. No effect on an empty ticket.
  void fail(std::exception_ptr failure);

private:
  friend idempotency_cache;

  void end_with(std::exception_ptr failure);
  ticket(idempotency_cache& cache, record_ptr run) : cache_(&cache), run_(std::move(run)) {}

  idempotency_cache* cache_ = nullptr;
  record_ptr run_;  // null when empty, settled or moved from
};

}  // namespace interlock

#include "detail/idempotency_place.hpp"
#include "detail/idempotency_calls.hpp"
