// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_calls.hpp - how idempotency_cache does what it says: the calls that
// wait, and what a ticket does. Included by idempotency_cache.hpp only.

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "idempotency_table.hpp"
#include "run_waits.hpp"
#include "waiting.hpp"

namespace interlock {

template <class K, class R, class H, class E>
idempotency_cache<K, R, H, E>::idempotency_cache(options how)
    : how_(std::move(how)),
      table_({.capacity = how_.capacity,
              .weight = how_.max_weight,
              .key_size = how_.max_key_size,
              .answer_ttl = how_.ttl,
              .failure_ttl = how_.failure_ttl,
              .lease = how_.lease},
             how_.hash, how_.on_event) {
  const auto expect = [](bool holds, const char* sentence) {
    if (!holds) throw std::invalid_argument(sentence);
  };
  expect(how_.capacity != 0,
         "interlock::idempotency_cache: capacity 0 leaves no room for a run; use at least 1");
  expect(how_.ttl.count() > 0 && how_.failure_ttl.count() > 0,
         "interlock::idempotency_cache: a ttl of 0 or less forgets every answer at once; use one "
         "longer than the client's last retry, such as 24 h");
  expect(how_.max_key_size != 0,
         "interlock::idempotency_cache: max_key_size 0 leaves no key; 255 characters are plenty");
  expect(how_.lease.count() >= 0,
         "interlock::idempotency_cache: a lease below 0 is over before it begins; 0 is none");
  expect((how_.max_weight != 0) == static_cast<bool>(how_.weigh),
         "interlock::idempotency_cache: max_weight and weigh need each other; give both or none");
}

// ---- look-ups -----------------------------------------------------------------------------------

template <class Key, class R, class H, class E>
template <class K, class F>
idempotency_outcome idempotency_cache<Key, R, H, E>::visit(const K& key, fingerprint payload,
                                                           F&& f) const {
  const auto& seen = view_of(key);
  const auto look = [&f](record& there, phase how) {
    if (how == phase::failed) return idempotency_outcome::failed;
    std::forward<F>(f)(there.response());
    return idempotency_outcome::replayed;
  };
  using visits = typename table::template seen_by<decltype(look)>;
  return table_.find(ask(key, seen, payload), seen, visits{look});
}

template <class Key, class R, class H, class E>
template <class K>
bool idempotency_cache<Key, R, H, E>::drop(const K& key, bool force) {
  const auto& seen = view_of(key);
  return table_.drop(ask(key, seen, {}), seen, force);
}

template <class Key, class R, class H, class E>
inline auto idempotency_cache<Key, R, H, E>::age_of(const record& done, nanoseconds now) noexcept
    -> nanoseconds {
  return std::max(now - done.at, nanoseconds{});
}

// A hit is built where the caller wants it. A failure is put into `failed`, if that is not null.
template <class Key, class R, class H, class E>
struct idempotency_cache<Key, R, H, E>::answers {
  nanoseconds now;
  record_ptr* failed;

  [[gnu::always_inline]] result operator()(record& there, phase how, detail::reader* self) const {
    if (how == phase::failed) [[unlikely]] {
      if (failed != nullptr) *failed = record_ptr::share(there);
      return {nullptr, idempotency_outcome::failed};
    }
    return {response_ptr(held_record(there, self)), idempotency_outcome::replayed,
            there.word().turn(), age_of(there, now)};
  }
  result operator()(idempotency_outcome why) const noexcept { return {nullptr, why}; }
};

template <class Key, class R, class H, class E>
template <class K>
auto idempotency_cache<Key, R, H, E>::find(const K& key, fingerprint payload) const -> result {
  const auto& seen = view_of(key);
  const request asked = ask(key, seen, payload);
  return table_.find(asked, seen, answers{asked.now, nullptr});
}

// ---- calls that run f ---------------------------------------------------------------------------

template <class Key, class R, class H, class E>
template <class Token, class K, class F>
auto idempotency_cache<Key, R, H, E>::run_by(const time_point* deadline, Token stop, const K& key,
                                             fingerprint payload, F&& f) -> result {
  const auto& seen = view_of(key);
  const request asked = ask(key, seen, payload);
  record_ptr failed;
  result got = table_.find(asked, seen, answers{asked.now, &failed});
  if (got.response) [[likely]] return got;
  if (got.outcome == idempotency_outcome::payload_mismatch || failed) [[unlikely]] {
    got = conclude(got.outcome, std::move(failed), asked.now).answer;
  } else {
    got = execute(claim_slowly(deadline, std::move(stop), seen, asked, got.outcome),
                  std::forward<F>(f));
  }
  return got;
}

template <class Key, class R, class H, class E>
template <class Token, class K>
auto idempotency_cache<Key, R, H, E>::claim_by(const time_point* deadline, Token stop,
                                               const K& key, fingerprint payload) -> claim_result {
  const auto& seen = view_of(key);
  const request asked = ask(key, seen, payload);
  record_ptr seat;
  const idempotency_outcome found = table_.find(asked, seen, seat);
  if (found != idempotency_outcome::absent && found != idempotency_outcome::in_flight) {
    return conclude(found, std::move(seat), asked.now);
  }
  return claim_slowly(deadline, std::move(stop), seen, asked, found);
}

template <class Key, class R, class H, class E>
template <class K>
auto idempotency_cache<Key, R, H, E>::try_claim_by(const K& key, fingerprint payload,
                                                   bool resolves) -> claim_result {
  const auto& seen = view_of(key);
  request asked = ask(key, seen, payload);
  asked.resolves = resolves;
  record_ptr seat;
  idempotency_outcome found = table_.find(asked, seen, seat);
  if (found == idempotency_outcome::absent || found == idempotency_outcome::in_flight) {
    found = table_.enter(asked, seen, nullptr, seat, found == idempotency_outcome::absent);
  }
  return conclude(found, std::move(seat), asked.now);
}

template <class Key, class R, class H, class E>
template <class Token, class V>
[[gnu::noinline]]
auto idempotency_cache<Key, R, H, E>::claim_slowly(const time_point* deadline, Token stop,
                                                   const V& key, request asked,
                                                   idempotency_outcome found) -> claim_result {
  asked.blocks = true;
  for (bool absent = found == idempotency_outcome::absent;; absent = false, asked.now = now()) {
    detail::thread_waiter node;
    joiner self(node);
    if (detail::run_waits::is_inside()) self.thread = detail::readers::here();
    record_ptr seat;
    const idempotency_outcome seen = table_.enter(asked, key, &self, seat, absent);
    if (seen != idempotency_outcome::joined) return conclude(seen, std::move(seat), asked.now);
    if (!wait(deadline, stop, node, self, asked)) continue;  // a lease may be over
    if (self.told != idempotency_outcome::cancelled) {
      return conclude(self.told, std::move(self.record), asked.now);
    }
    return ended_by(node.status, asked.hash);
  }
}

// Effects: blocks this thread, which is queued, until it is woken or its wait has ended.
// Returns: false if it is time to look at the lease of the run.
template <class Key, class R, class H, class E>
template <class Token>
bool idempotency_cache<Key, R, H, E>::wait(const time_point* deadline, const Token& stop,
                                           detail::thread_waiter& node, joiner& self,
                                           const request& asked) {
  const auto end = [&](wait_status why) noexcept { return table_.withdraw(asked.hash, self, why); };
  struct leaver {
    ~leaver() {
      if (here != nullptr) detail::run_waits::end(*here);
    }
    detail::reader* here;
  } const leaves{self.thread};
  detail::trampoline::run_ready();  // one of them may be about to answer
  const auto cancel = [&]() noexcept {
    if (end(wait_status::cancelled)) node.wake();
  };
  if constexpr (!std::is_same_v<Token, no_stop>) {
    std::optional<typename detail::stop_callback_of<Token, decltype(cancel)>::type> armed;
    try {
      armed.emplace(stop, cancel);
    } catch (...) {
      if (end(wait_status::cancelled)) throw;  // else it is woken, and perhaps owns the key
    }
    return wait_by(deadline, node, self, asked, end);
  } else {
    return wait_by(deadline, node, self, asked, end);
  }
}

// It looks at the lease from where it is, and leaves when that is over: an owner that renewed it
// may have an answer for those who joined.
template <class Key, class R, class H, class E>
template <class End>
bool idempotency_cache<Key, R, H, E>::wait_by(const time_point* deadline,
                                              detail::thread_waiter& node, joiner& self,
                                              request asked, const End& end) {
  for (;;) {
    const time_point look = next_look(self, asked);
    if (look == time_point::min()) return false;
    const bool by_lease = deadline == nullptr || look < *deadline;
    if (by_lease && look == time_point::max()) break;
    if (node.wait_until(by_lease ? look : *deadline)) break;
    if (!by_lease) {
      if (end(wait_status::timed_out)) return true;
      break;
    }
    try {
      asked.now = now();
    } catch (...) {
      if (end(wait_status::cancelled)) throw;
      break;
    }
  }
  node.wait();  // until whoever has taken the node wakes it
  return true;
}

// Returns: when a joiner should look at the lease of its run again; min if it is over, and self is
//          taken off. The clock of the cache may tick, or be another one: not in a hurry.
template <class Key, class R, class H, class E>
auto idempotency_cache<Key, R, H, E>::next_look(joiner& self, const request& asked) -> time_point {
  if (how_.lease.count() == 0) return time_point::max();
  const nanoseconds left = table_.look_at_lease(asked.hash, self, asked.now);
  if (left.count() == 0) return time_point::min();
  const nanoseconds tick = std::min<nanoseconds>(how_.lease, std::chrono::milliseconds(1));
  const time_point here = std::chrono::steady_clock::now();
  return left > time_point::max() - here ? time_point::max() : here + std::max(left, tick);
}

template <class Key, class R, class H, class E>
auto idempotency_cache<Key, R, H, E>::ended_by(wait_status why, std::uint32_t hash)
    -> claim_result {
  using counts = idempotency_statistics;
  const bool late = why == wait_status::timed_out;
  table_.count(hash, late ? &counts::timed_out : &counts::cancelled);
  const auto seen = late ? idempotency_outcome::timed_out : idempotency_outcome::cancelled;
  table_.tell({idempotency_news::refused, nullptr, 0, seen});
  return {{}, {nullptr, seen}};
}

// A joiner that is told `executed` is the owner now.
template <class Key, class R, class H, class E>
auto idempotency_cache<Key, R, H, E>::conclude(idempotency_outcome seen, record_ptr seat,
                                               nanoseconds now) -> claim_result {
  if (!seat || seen == idempotency_outcome::in_doubt) {
    table_.tell({idempotency_news::refused, nullptr, 0, seen});
    return {{}, {nullptr, seen}};
  }
  if (seen == idempotency_outcome::executed) {
    if (table_.has_listener()) {
      const detail::run_waits::inside here(seat.get());
      const bool first = seat->word().turn() == 1;
      table_.tell(first ? idempotency_news::started : idempotency_news::taken_over, *seat);
    }
    return {ticket(*this, std::move(seat)), {}};
  }
  if (seen == idempotency_outcome::joined) table_.tell(idempotency_news::joined, *seat);
  if (seat->word().phase() == phase::failed) std::rethrow_exception(seat->failure());
  const std::uint32_t turn = seat->word().turn();
  const nanoseconds age = age_of(*seat, now);
  return {{}, {response_ptr(std::move(seat)), seen, turn, age}};
}

template <class Key, class R, class H, class E>
template <class F>
auto idempotency_cache<Key, R, H, E>::execute(claim_result claimed, F&& f) -> result {
  static_assert(!detail::awaitable<std::invoke_result_t<F>>,
                "interlock: nothing would await what f returns here; use async_run()");
  if (!claimed.owner) return std::move(claimed.answer);
  try {
    return claimed.owner.complete_with(std::forward<F>(f));
  } catch (...) {
    claimed.owner.end_with(std::current_exception());
    throw;
  }
}

template <class Key, class R, class H, class E>
template <class F, class... Ends>
auto idempotency_cache<Key, R, H, E>::execute_async(Key key, fingerprint payload, F f,
                                                    Ends... ends) -> task<result> {
  claim_result claimed =
      co_await claims<view<Key>, Ends...>(place_request(key, payload), {}, std::move(ends)...);
  if (!claimed.owner) co_return std::move(claimed.answer);
  try {
    R response = co_await f();
    co_return claimed.owner.complete(std::move(response));
  } catch (...) {
    claimed.owner.end_with(std::current_exception());
    throw;
  }
}

// ---- times --------------------------------------------------------------------------------------

// The time, where nothing may throw; a clock that does says what `else_at` says.
template <class Key, class R, class H, class E>
auto idempotency_cache<Key, R, H, E>::time_or(nanoseconds else_at) const noexcept -> nanoseconds {
  try {
    return now();
  } catch (...) {
    return else_at;
  }
}

// ---- tickets ------------------------------------------------------------------------------------

// Told before anybody else can own the key: a listener that asks for it is inside the run.
template <class Key, class R, class H, class E>
void idempotency_cache<Key, R, H, E>::give_up(record& run) noexcept {
  if (table_.has_listener()) {
    const detail::run_waits::inside here(&run);
    const bool doubt = run.word().has(detail::record_word::effect_begun);
    table_.tell(doubt ? idempotency_news::left_in_doubt : idempotency_news::given_up, run);
  }
  table_.abandon(run, time_or({}));
}

template <class Key, class R, class H, class E>
template <class F>
auto idempotency_cache<Key, R, H, E>::ticket::complete_with(F&& make) -> result {
  if (!run_) return {nullptr, idempotency_outcome::lost_ownership};
  const options& how = cache_->how_;
  record_ptr run;
  detail::run_waits::inside here(run_.get());
  const R& built = run_->build(std::forward<F>(make));
  const bool keep = !how.is_final_response || how.is_final_response(built);
  const std::uint64_t weight = how.weigh ? how.weigh(run_->key, built) : 0;
  const nanoseconds at = cache_->now();
  run = std::move(run_);  // a joiner that goes on may end this ticket
  here.leave();           // and may come to wait for this thread
  const bool owned = cache_->table_.settle(*run, phase::answered, keep, weight, at);
  const std::uint32_t turn = run->word().turn();
  using enum idempotency_outcome;
  return {response_ptr(std::move(run)), owned ? executed : lost_ownership, turn};
}

// For run: f has answered, and one of the options has thrown. What is done is not done again.
template <class Key, class R, class H, class E>
void idempotency_cache<Key, R, H, E>::ticket::end_with(std::exception_ptr failure) {
  if (!run_ || !run_->word().has(detail::record_word::built)) return fail(std::move(failure));
  const record_ptr run = std::move(run_);
  cache_->table_.settle(*run, phase::answered, true, cache_->how_.weigh ? 1 : 0,
                        cache_->time_or(nanoseconds::max()));
}

template <class Key, class R, class H, class E>
void idempotency_cache<Key, R, H, E>::ticket::fail(std::exception_ptr failure) {
  if (!run_ || failure == nullptr) return void(*this = ticket());
  record_ptr run;
  detail::run_waits::inside here(run_.get());
  const bool keep = cache_->how_.is_final_failure && cache_->how_.is_final_failure(failure);
  const std::uint64_t weight = cache_->how_.weigh ? 1 : 0;
  const nanoseconds at = cache_->now();
  run_->fail(std::move(failure));
  run = std::move(run_);  // a joiner that goes on may end this ticket
  here.leave();           // and may come to wait for this thread
  cache_->table_.settle(*run, phase::failed, keep, weight, at);
}

}  // namespace interlock
