// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/striped_bounded_counter.hpp - take only what is there, from many processors at once.
//
// Problem     A limit is one number, so every request waits for its cache line. Parts that are
//             handed out in advance are fast, but a request is then refused while others hold
//             what it needs, or granted from a sum that was old.
// Guarantee   The striped value never leaves the closed range from min to max.
//             A striped request is granted whole or not at all.
//             A striped request is refused only if it did not fit at one moment during the call.
//             What is granted on all stripes adds up to exactly what the value changed by.
//             A load returns the striped value at one moment during the call.
// Progress    A request that its processor's part covers: wait-free with restartable sequences
//             (one that the kernel cuts short asks for a part), else lock-free. Near a bound:
//             lock-free. To ask for a part, and load: blocking.
// Cost        56 bytes; where threads collide, 8 more per processor. A request is mostly a few
//             plain instructions; near a bound it is one compare-and-swap, and refused by a load.
//             Now and then all parts are taken back, in microseconds for which others may wait.
// Lifetime    May be destroyed as soon as every call has returned. Threads may end at any time.
// Not for     Signal handlers; values that are read often (load takes all parts back) or that stay
//             near a bound (bounded_counter is smaller and as fast there).
//
// Example     // examples/striped_bounded_counter.cpp
//             striped_bounded_counter tickets(100'000, 0, 100'000);
//             const auto sell = [&](int n) { return tickets.try_sub(n) ? n : 0; };
//             while (const int n = sell(1)) mine += n;  // a refusal is true: nobody held one back

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "detail/bounds.hpp"
#include "detail/column.hpp"
#include "detail/escrow.hpp"
#include "detail/futex_mutex.hpp"

namespace interlock {

class striped_bounded_counter {
public:
  using value_type = std::int64_t;

  // Throws: std::invalid_argument unless min <= initial <= max.
  striped_bounded_counter(std::int64_t initial, std::int64_t min, std::int64_t max)
      : bounds_("striped_bounded_counter", initial, min, max),
        whole_(bounds_.span() < apart ? bounds_.distance(min, initial) : apart),
        pool_(bounds_.distance(min, initial)) {}
  striped_bounded_counter(const striped_bounded_counter&) = delete;
  striped_bounded_counter& operator=(const striped_bounded_counter&) = delete;
  ~striped_bounded_counter();

  // Effects: at one moment during the call (linearizable), adds n if the sum is at most max().
  // Returns: true if it was added.
  // Throws: std::invalid_argument if n is negative.
  [[nodiscard("a refused amount has not been added")]] bool try_add(std::int64_t n) {
    if (n < 0) bounds_.throw_negative("striped_bounded_counter", "try_add", n, "try_sub");
    const auto amount = static_cast<std::uint64_t>(n);
    if (amount <= detail::escrow::most &&
        detail::restartable::put(state_, static_cast<std::uint32_t>(amount))) {
      return true;
    }
    return ask(way::up, amount);
  }

  // Effects: at one moment during the call (linearizable), subtracts n if the difference is at
  //          least min().
  // Returns: true if it was subtracted.
  // Throws: std::invalid_argument if n is negative.
  [[nodiscard("a refused amount has not been taken")]] bool try_sub(std::int64_t n) {
    if (n < 0) bounds_.throw_negative("striped_bounded_counter", "try_sub", n, "try_add");
    const auto amount = static_cast<std::uint64_t>(n);
    if (amount <= detail::escrow::most &&
        detail::restartable::take(state_, static_cast<std::uint32_t>(amount))) {
      return true;
    }
    return ask(way::down, amount);
  }

  // Returns: the value at one moment during the call (linearizable). Do not decide on it: ask with
  //          try_sub.
  // Complexity: linear in the processors if the value is in parts; the next request on each of
  //             them then asks for a new one.
  [[nodiscard]] std::int64_t load() const noexcept;

  // Returns: a value from min() to max(): the counter's, if no call overlaps this one. Else units
  //          that pass from one part to another meanwhile may be missed or counted twice.
  // Complexity: linear in the processors if the value is in parts. Nobody waits for it.
  [[nodiscard]] std::int64_t load_approx() const noexcept;

  [[nodiscard]] std::int64_t min() const noexcept { return bounds_.min(); }
  [[nodiscard]] std::int64_t max() const noexcept { return bounds_.max(); }

  // Effects: puts the value in parts now rather than when threads collide. Without memory for
  //          that it does nothing.
  void spread() noexcept;

private:
  using way = detail::escrow::way;

  bool ask(way to, std::uint64_t n) noexcept;
  bool ask_pool(way to, std::uint64_t n) noexcept;
  void pay(std::uint32_t amount, way to, std::uint64_t n, std::uint64_t share) noexcept;
  bool make_slots() noexcept;
  void lend_part(way to, std::uint64_t n) noexcept;
  void take_back() const noexcept;
  void settle() noexcept;
  void go_apart() noexcept;

  std::uint64_t look() const noexcept {
    // order: seq_cst [striped_bounded.look] total order with [striped_bounded.replace], [striped_bounded.part] and pairs with [striped_bounded.settle]: sees what was done before the units were put here, and a refusal holds among all counters
    return whole_.load(std::memory_order_seq_cst);
  }
  // Returns: how far requests in this direction can go, if `share` is all that is above min().
  std::uint64_t reach(way to, std::uint64_t share) const noexcept {
    return to == way::down ? share : bounds_.span() - share;
  }
  // The pool. Preconditions: lock_ is held, but in load_approx().
  std::uint64_t pool() const noexcept {
    // order: relaxed: lock_ is held; or no decision is made on it
    return pool_.load(std::memory_order_relaxed);
  }
  void pool(std::uint64_t share) const noexcept {
    // order: relaxed: lock_ is held
    pool_.store(share, std::memory_order_relaxed);
  }
  std::uint64_t pooled(way to) const noexcept {
    return reach(to, pool()) - (to == way::up ? lent_ : 0);
  }
  std::int64_t value(std::uint64_t above_min) const noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(min()) + above_min);
  }

  // Returns: what a processor is lent at a time. Were it half of what there is, as between two, the
  //          tenth processor would get a thousandth and be back at once; with one part in twice
  //          the processors each can come twice, and then a third of it is still in the pool.
  static std::uint64_t part_of(std::uint64_t pooled) noexcept {
    const std::uint64_t parts = 2 * std::uint64_t{detail::restartable::rows()};
    return std::min(pooled / parts, detail::escrow::most / (2 * parts));
  }

  // The value is in one of two conditions:
  //   whole   whole_ is value - min(). Requests change it by compare-and-swap; slots are empty.
  //   apart   whole_ is `apart`. value - min() is pool_ and the shares of the slots; max() - value
  //           is the rest of the pool and the rooms of the slots.
  // All but whole_ while whole, and dues_, change while lock_ is held.
  //   state_       where the slots are; once there are some they stay: see stripe_state.hpp
  //   pool_        while apart, the share that is not lent; atomic for load_approx() alone
  //   lent_        while apart, share and room of all slots together
  //   dues_        what requests have to pay while whole before the value goes apart: a collision
  //                pays, and once there are slots every grant does. Written without care: what is
  //                lost is paid again.
  // With a range of 2^63 or more the value has no bit for the mark, and is always apart.
  static constexpr std::uint64_t apart = std::uint64_t{1} << 63U;
  static constexpr std::uint32_t dues_of_collision = 16;
  static constexpr std::uint32_t dues_at_first = 16 * dues_of_collision;
  static constexpr std::uint32_t dues_near_bound = 64 * dues_of_collision;
  static constexpr std::uint64_t calls_per_part = 16;

  const detail::bounds bounds_;
  mutable std::atomic<std::uint64_t> state_{detail::no_slots};
  std::atomic<std::uint64_t> whole_;
  mutable std::atomic<std::uint64_t> pool_;
  mutable std::uint32_t lent_ = 0;
  mutable detail::futex_mutex lock_;
  std::atomic<std::uint32_t> dues_{dues_at_first};
};

// The idea is escrow (P. O'Neil, "The Escrow Transactional Method", TODS 1986) with a part for each
// processor, as in the counters of P. McKenney, "Is Parallel Programming Hard", chapter 5.
//
// Why the range is never left. Units above min() and units below max() are each in exactly one
// place: whole_, the pool or a slot. A grant moves its amount from one kind to the other in one
// step in one place, and needs as much to be there.
//
// Why a refusal is exact. It is decided in two places only. While the value is whole, by one load
// of all there is. While it is apart, under lock_, after all slots were emptied: requests that
// were granted by slots came before that; later ones find nothing and wait for lock_. So the pool
// is then all there is, until the lock is released.
//
// Where it is whole. After all was taken back and a part of it would serve only a few calls like
// the present one, the bound is near, and taking back for each request would cost more than a
// collision. So the value stays whole until 64 collisions or 1024 grants were paid for, which cost
// no less than taking back, and then goes apart only if a part would serve twice as many calls.
// Whatever the calls do, parts cost at most about what they pay on one word in any case.
//
// The tempting wrong ways. A sum of all slots, then a decision: slots change behind the sum, and
// it oversells. A refusal because the own slot and the pool are empty: others hold units, and it
// refuses for no reason. Taking back slot by slot until there is enough, without emptying those
// already passed: units move behind the back of who takes, and it refuses again.

inline striped_bounded_counter::~striped_bounded_counter() {
  // order: relaxed: every call has returned
  const std::uint64_t state = state_.load(std::memory_order_relaxed);
  if (detail::has_slots(state)) {
    detail::column_pool::give_back(&detail::slot_of(state, 0), detail::restartable::rows());
  }
}

[[gnu::noinline]] inline bool striped_bounded_counter::ask(way to, std::uint64_t n) noexcept {
  if (n == 0) return true;
  if (!detail::restartable::available() && n <= detail::escrow::most &&
      detail::escrow::trade(state_, to, n)) {
    return true;
  }
  std::uint64_t seen = look();
  for (;;) {
    if (seen == apart) {
      const std::lock_guard guard(lock_);
      seen = look();
      if (seen == apart) return ask_pool(to, n);
    }
    if (reach(to, seen) < n) return false;
    const std::uint64_t changed = to == way::down ? seen - n : seen + n;
    // order: seq_cst/seq_cst [striped_bounded.replace] total order with [striped_bounded.look]: hands on what was done before the units were put here
    if (whole_.compare_exchange_weak(seen, changed, std::memory_order_seq_cst,
                                     std::memory_order_seq_cst)) {
      // order: relaxed: only when the value goes apart depends on it
      if (detail::has_slots(state_.load(std::memory_order_relaxed))) pay(1, to, n, changed);
      return true;
    }
    if (seen != apart) pay(dues_of_collision, to, n, seen);
  }
}

// Preconditions: lock_ is held, the value is apart.
inline bool striped_bounded_counter::ask_pool(way to, std::uint64_t n) noexcept {
  if (pooled(to) < n) take_back();
  const bool granted = pooled(to) >= n;
  if (granted) pool(to == way::down ? pool() - n : pool() + n);
  if (lent_ == 0 && part_of(pooled(to)) / calls_per_part < n) {
    settle();
  } else {
    lend_part(to, n);
  }
  return granted;
}

// Effects: gives the processor of the caller a part of the pool, if that is enough for another n.
// Preconditions: lock_ is held, the value is apart.
inline void striped_bounded_counter::lend_part(way to, std::uint64_t n) noexcept {
  std::uint64_t part = part_of(pooled(to));
  if (part < n) return;
  if (part > detail::escrow::most - lent_) {
    take_back();
    part = part_of(pooled(to));
  }
  // order: relaxed: lock_ is held
  if (!detail::has_slots(state_.load(std::memory_order_relaxed)) && !make_slots()) return;
  if (!detail::escrow::lend(state_, to, part)) return;
  lent_ += static_cast<std::uint32_t>(part);
  if (to == way::down) pool(pool() - part);
}

// Preconditions: lock_ is held, the value is apart.
inline void striped_bounded_counter::take_back() const noexcept {
  if (lent_ == 0) return;
  const std::uint64_t sum = detail::escrow::take_back(state_);
  lent_ = 0;
  pool(pool() + detail::escrow::held(way::down, sum));
}

// Preconditions: lock_ is held, the value is apart and nothing is lent.
inline void striped_bounded_counter::settle() noexcept {
  if (bounds_.span() >= apart) return;
  // order: relaxed: only when to go apart depends on it
  dues_.store(dues_near_bound, std::memory_order_relaxed);
  // order: release [striped_bounded.settle] pairs with [striped_bounded.look]: hands on what was done before the units were put anywhere; who misses it asks for lock_
  whole_.store(pool(), std::memory_order_release);
}

// Preconditions: lock_ is held.
// Returns: whether there are slots now.
inline bool striped_bounded_counter::make_slots() noexcept {
  detail::stripe_slot* const column = detail::the_columns.take(detail::restartable::rows());
  if (column == nullptr) return false;
  // order: release [striped_bounded.spread] pairs with [escrow.trade.column], [escrow.shares.column]: the slots are zeros
  state_.store(detail::state_of(column), std::memory_order_release);
  return true;
}

// Effects: puts the value in parts, if it is not yet and there is memory for that.
// Preconditions: lock_ is held.
inline void striped_bounded_counter::go_apart() noexcept {
  if (look() == apart) return;
  // order: relaxed: lock_ is held
  if (!detail::has_slots(state_.load(std::memory_order_relaxed)) && !make_slots()) {
    // order: relaxed: only when to try again depends on it
    dues_.store(dues_near_bound, std::memory_order_relaxed);
    return;
  }
  // order: seq_cst [striped_bounded.part] total order with [striped_bounded.look]: all that was granted while whole is in the pool, what comes later asks for it
  pool(whole_.exchange(apart, std::memory_order_seq_cst));
}

// A request for n on the one word, which held `share`, pays towards parts.
inline void striped_bounded_counter::pay(std::uint32_t amount, way to, std::uint64_t n,
                                         std::uint64_t share) noexcept {
  // order: relaxed: only when the value goes apart depends on it
  const std::uint32_t due = dues_.load(std::memory_order_relaxed);
  const bool paid = due <= amount;
  // order: relaxed: as above
  dues_.store(paid ? dues_near_bound : due - amount, std::memory_order_relaxed);
  if (!paid || part_of(reach(to, share)) / (2 * calls_per_part) < n) return;
  const std::unique_lock guard(lock_, std::try_to_lock);
  if (guard.owns_lock()) go_apart();  // else somebody else is at it, and need not be waited for
}

inline void striped_bounded_counter::spread() noexcept {
  const std::lock_guard guard(lock_);
  go_apart();
}

inline std::int64_t striped_bounded_counter::load() const noexcept {
  std::uint64_t seen = look();
  if (seen == apart) {
    const std::lock_guard guard(lock_);
    seen = look();
    if (seen == apart) {
      take_back();
      seen = pool();
    }
  }
  return value(seen);
}

inline std::int64_t striped_bounded_counter::load_approx() const noexcept {
  const std::uint64_t seen = look();
  if (seen != apart) return value(seen);
  const std::uint64_t pooled = pool();
  const std::uint64_t shares = detail::escrow::shares_approx(state_);
  return value(pooled + std::min(shares, bounds_.span() - pooled));
}

}  // namespace interlock
