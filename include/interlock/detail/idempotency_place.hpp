// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_place.hpp - what is awaited for an answer of idempotency_cache.
// Included by idempotency_cache.hpp only.

#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "../wait_status.hpp"
#include "misuse.hpp"
#include "waiter.hpp"
#include "waiting.hpp"

namespace interlock {

// A place for waiting<>: see detail/waiting.hpp.
template <class Key, class R, class H, class E>
template <class View>
class idempotency_cache<Key, R, H, E>::claim_place : public detail::coroutine_waiter {
public:
  struct request {
    idempotency_cache* cache;
    View key;
    typename idempotency_cache::request asked;
  };

  claim_place(const request& what, detail::waiter::wake_function function)
      : coroutine_waiter(function), what_(what), self_(*this) {}
  request what() const { return what_; }
  claim_place(const claim_place&) = delete;
  claim_place& operator=(const claim_place&) = delete;
  // Destroyed while suspended: it leaves the ring, or, if this thread has settled its run, those
  // who are woken or this thread's ready coroutines; then it may have become the owner.
  ~claim_place() {
    if (!suspended || what_.cache->table_.leave(what_.asked.hash, self_)) return;
    if (!table::leave_woken(self_) && !detail::trampoline::forget(*this)) {
      detail::misuse(
          "a coroutine was destroyed that has joined a run of an idempotency_cache, while an "
          "executor or another thread is about to resume it; let it go on");
    }
    if (self_.told != idempotency_outcome::executed) return;
    what_.cache->give_up(*self_.record);
  }

  static constexpr bool never_inline = true;  // the others are to have their answer before
  static constexpr bool looks_first = true;   // an answer that is there is given

  bool try_now() noexcept {
    const idempotency_outcome seen = enter(nullptr);
    if (seen == idempotency_outcome::in_flight) return false;
    seen_ = seen;
    return true;
  }
  bool suspend() noexcept {
    const idempotency_outcome seen = enter(&self_);
    if (seen == idempotency_outcome::joined) return true;  // *this may be gone
    seen_ = seen;
    return false;
  }
  void end(wait_status why) noexcept {
    if (what_.cache->table_.withdraw(what_.asked.hash, self_, why)) wake();
  }
  claim_result finish() {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    const bool waited = std::exchange(suspended, false);
    const bool decided = seen_ != idempotency_outcome::joined;
    if (!decided && waited && self_.told != idempotency_outcome::cancelled) {
      return what_.cache->conclude(self_.told, std::move(self_.record), what_.asked.now);
    }
    if (decided && seen_ != idempotency_outcome::cancelled) {
      return what_.cache->conclude(seen_, std::move(seat_), what_.asked.now);
    }
    // Nobody has told it of a lease that is over: it looks once more.
    if (status == wait_status::timed_out && what_.cache->how_.lease.count() != 0) {
      const idempotency_outcome seen = enter(nullptr);
      if (failure_ != nullptr) std::rethrow_exception(failure_);
      if (seen != idempotency_outcome::in_flight) {
        return what_.cache->conclude(seen, std::move(seat_), what_.asked.now);
      }
    }
    return what_.cache->ended_by(status, what_.asked.hash);
  }

private:
  idempotency_outcome enter(joiner* self) noexcept {
    try {
      what_.asked.now = what_.cache->now();  // it may have been made long ago
      what_.asked.asks_again = self == nullptr;
      auto& table = what_.cache->table_;
      const auto& key = static_cast<const std::unwrap_reference_t<View>&>(what_.key);
      const idempotency_outcome found = table.find(what_.asked, key, seat_);
      const bool absent = found == idempotency_outcome::absent;
      if (!absent && found != idempotency_outcome::in_flight) return found;
      return table.enter(what_.asked, key, self, seat_, absent);
    } catch (...) {
      failure_ = std::current_exception();
      return idempotency_outcome::failed;
    }
  }

  request what_;
  joiner self_;
  record_ptr seat_;  // of what was decided without a wait
  idempotency_outcome seen_ = idempotency_outcome::joined;
  std::exception_ptr failure_;
};

}  // namespace interlock
