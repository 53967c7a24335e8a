// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/version_word.hpp - the version of one cell, which is also its commit lock, and
// those who wait for the next version.

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>

#include "parking.hpp"
#include "wait_list.hpp"

namespace interlock::detail {

// A commit is in (busy) while it changes the payload; who is in has the sole right to commit. That
// right can be had before: a claim keeps other commits out while readers go on as if it were not
// there. So a transaction can run user code, or a commit write where no reader looks, without
// holding up anybody who reads.
//
//   plain commit   lock() or lock_at(v) .. publish(w) or unlock(v)
//   with a claim   try_claim(v) .. unclaim(v), or mark_busy(v) .. publish(w) or unlock(v)
//
// word_ = version << 2 | claimed | busy. The version only grows, so a word without busy never comes
// back with another payload.
//   v            nobody is in, the payload belongs to this version
//   v claimed    the same, and one thread has the sole right to commit next
//   v both       that thread is in and may be changing the payload, still under the old version
//                v  -> v both      try_lock
//                v  -> v claimed   try_claim
//        v claimed  -> v both      mark_busy
//           v both  -> w > v       publish
// v claimed, v both -> v           unclaim, unlock
class version_word {
public:
  using version_type = std::uint64_t;
  using waiters = wait_list<version_type>;
  static constexpr version_type max_version = (version_type{1} << 62U) - 1;
  static constexpr const char* exhausted =
      "interlock::versioned: no version follows 2^62 - 1, which store_if_newer() has set; give it "
      "smaller ones";

  explicit version_word(version_type initial) noexcept : word_(word_of(initial)) {}
  version_word(const version_word&) = delete;
  version_word& operator=(const version_word&) = delete;
  ~version_word() {
    waiters_.expect_empty("~versioned: somebody waits for a version; let every waiter go first");
  }

  // Returns: the version at a moment when nobody was in; waits for that moment, not for a claim.
  version_type settled() const noexcept {
    for (unsigned round = 0;; ++round) {
      const std::uint64_t word = peek();
      if (is_settled(word)) return version_of(word);
      spin_hint(round);
    }
  }

  // Returns: the word as it is, for the next four.
  std::uint64_t peek() const noexcept {
    // order: seq_cst [cell.peek] total order with [cell.try_lock], [cell.mark_busy], [cell.publish_claimed] and pairs with [cell.leave]: two readers agree on the order of two commits; sees the payload of this version
    return word_.load(std::memory_order_seq_cst);
  }
  static constexpr bool is_settled(std::uint64_t word) noexcept { return (word & busy) == 0; }
  static constexpr version_type version_of(std::uint64_t word) noexcept { return word >> 2U; }

  // Returns: true if the cell is at this version and nobody is in.
  bool is_settled_at(version_type version) const noexcept {
    return (peek() | claimed) == (word_of(version) | claimed);
  }

  // Returns: true if nobody has come in, claimed or committed since peek() returned `seen`.
  bool unchanged(std::uint64_t seen) const noexcept {
    // order: relaxed: ordered behind the loads of the payload, see shared_bytes
    return word_.load(std::memory_order_relaxed) == seen;
  }
  // Returns: true if nobody is in, and the version is at most `more` greater than it was.
  bool at_most_past(std::uint64_t seen, version_type more) const noexcept {
    // order: relaxed: as in unchanged()
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    return word == seen || (is_settled(word) && version_of(word) - version_of(seen) <= more);
  }
  // Preconditions: this thread is in or has a claim.
  version_type own_version() const noexcept {
    // order: relaxed: nobody else changes it
    return version_of(word_.load(std::memory_order_relaxed));
  }
  // Returns: the word when nobody is in, after a moment. Out of line: the way past it is shorter.
  [[gnu::noinline]] std::uint64_t peek_again() const noexcept {
    std::uint64_t word;
    unsigned round = 0;
    do {
      spin_hint(round++);
      word = peek();
    } while (!is_settled(word));
    return word;
  }

  // Returns: true if the cell is at this version and nobody is in; waits if somebody is.
  bool holds(version_type version) const noexcept {
    return is_settled_at(version) || holds_again(version);
  }

  // Returns: true if the cell is at this version, nobody is in and nobody has a claim. Gives
  //          whoever is in only a moment to leave (no yield), so that a thread which is in other
  //          cells may ask.
  bool is_at(version_type version) const noexcept {
    for (unsigned round = 0; round + 1 < spin_rounds; ++round) {
      // order: seq_cst [cell.is_at] total order with [cell.try_lock], [cell.try_claim] and pairs with [cell.leave]: of two commits that each read what the other writes, one sees the other in
      const std::uint64_t word = word_.load(std::memory_order_seq_cst);
      if (version_of(word) != version) return false;
      if ((word & (claimed | busy)) == 0) return true;
      spin_hint(round);
    }
    return false;
  }

  // Effects: enters if the cell is at this version, nobody is in and nobody has a claim.
  // Returns: true if entered.
  bool try_lock(version_type version) const noexcept {
    std::uint64_t expected = word_of(version);
    // order: seq_cst/relaxed [cell.try_lock] total order with [cell.peek], [cell.is_at], [cell.rests], [ring.empty] and pairs with [cell.leave]: comes before this thread's look for waiters and at other cells; sees the last payload
    return word_.compare_exchange_strong(expected, expected | claimed | busy,
                                         std::memory_order_seq_cst, std::memory_order_relaxed);
  }

  // Effects: enters if the cell is at this version. Returns: true if entered.
  bool lock_at(version_type version) const noexcept {
    for (unsigned round = 0; !try_lock(version); ++round) {
      if (settled() != version) return false;
      spin_hint(round);
    }
    return true;
  }

  // Effects: enters. Returns: the version found.
  version_type lock() const noexcept {
    for (unsigned round = 0;; ++round) {
      const version_type version = settled();
      if (try_lock(version)) return version;
      spin_hint(round);
    }
  }

  // Effects: takes the sole right to commit next if the cell is at this version and nobody else has
  //          it. Readers notice nothing.
  // Returns: true if taken.
  bool try_claim(version_type version) const noexcept {
    std::uint64_t expected = word_of(version);
    // order: seq_cst/relaxed [cell.try_claim] total order with [cell.is_at], [cell.rests], [ring.empty] and pairs with [cell.leave]: comes before this thread's look for waiters and at other cells; sees the last payload
    return word_.compare_exchange_strong(expected, expected | claimed, std::memory_order_seq_cst,
                                         std::memory_order_relaxed);
  }

  // Returns: true if somebody has a claim and is not in. A guess, for who will not wait for that.
  bool stands_claimed() const noexcept {
    // order: relaxed: a guess, try_lock() and try_claim() decide
    const std::uint64_t guess = word_.load(std::memory_order_relaxed);
    return (guess & (claimed | busy)) == claimed;
  }

  // Effects: as lock_at() and lock(), but with a claim.
  bool claim_at(version_type version) const noexcept {
    for (unsigned round = 0; !try_claim(version); ++round) {
      if (settled() != version) return false;
      spin_hint(round);
    }
    return true;
  }
  version_type claim() const noexcept {
    for (unsigned round = 0;; ++round) {
      const version_type version = settled();
      if (try_claim(version)) return version;
      spin_hint(round);
    }
  }

  // Effects: gives the claim back; nothing has changed.
  void unclaim(version_type version) const noexcept { leave(version); }

  // Effects: enters by the claim.
  void mark_busy(version_type version) const noexcept {
    // order: seq_cst [cell.mark_busy] total order with [cell.peek]: comes before this thread's look at other cells once it has published, as [cell.try_lock] does
    word_.store(word_of(version) | claimed | busy, std::memory_order_seq_cst);
  }

  // Effects: as mark_busy(), for several cells and one full_fence() behind them all.
  void mark_busy_before_fence(version_type version) const noexcept {
    // order: relaxed: the fence makes it visible before this thread looks at other cells, and a payload store comes with release
    word_.store(word_of(version) | claimed | busy, std::memory_order_relaxed);
  }

  // Effects: leaves; the payload is as it was.
  void unlock(version_type version) const noexcept { leave(version); }

  // Effects: leaves with a new payload under a new version. The cell may be gone on return.
  // Returns: those who have waited for it, for wake(); nullptr if nobody has.
  [[nodiscard]] waiters::node* publish(version_type version) noexcept {
    waiters::node* const reached = waiters_.empty() ? nullptr : waiters_.take(version);
    leave(version);
    return reached;
  }
  static void wake(waiters::node* reached) noexcept {
    if (reached != nullptr) waiters::wake(reached);
  }

  // Effects: publish() and wake() at once, for who is in no other cell.
  void publish_and_wake(version_type version) noexcept {
    if (!waiters_.empty()) return publish_to_waiters(version);
    leave(version);
  }

  // Effects: ends a claim with a new payload where no reader of this version looks, as
  //          publish_and_wake() does for who is in.
  void publish_claimed(version_type version) noexcept {
    waiters::node* const reached = waiters_.empty() ? nullptr : waiters_.take(version);
    // order: seq_cst [cell.publish_claimed] total order with [cell.peek]: publishes the payload; comes before this thread's look at other cells, for nobody had to wait for it before
    word_.store(word_of(version), std::memory_order_seq_cst);
    wake(reached);
  }

  // Effects: blocks until the version is greater than `seen`, or past the deadline if there is one.
  // Returns: false when the deadline has passed.
  bool wait_past(version_type seen,
                 const std::chrono::steady_clock::time_point* deadline) const noexcept {
    for (unsigned round = 0; settled() <= seen; ++round) {
      if (round < spin_rounds || (is_claimed() && !past(deadline))) {
        spin_hint(round);
        continue;
      }
      const auto stays = [this, seen] { return rests_up_to(seen); };
      const wait_ending ending = wait_in(waiters_, seen + 1, stays, deadline);
      if (ending == wait_ending::reached) return true;
      if (ending == wait_ending::too_late || past(deadline)) return settled() > seen;
    }
    return true;
  }

  // Effects: lists the coroutine, to be resumed when the version is greater than `seen`.
  // Returns: false if it is, or if the coroutine is to stop; true if listed: touch nothing of it.
  class place;

  // Effects: lists the thread, to be woken when the version is greater than `seen`.
  // Returns: false if it is; true if listed.
  bool join(wait_any<version_type>& here, version_type seen) const noexcept {
    const auto stays = [this, seen] { return rests_up_to(seen); };
    for (unsigned round = 0; settled() <= seen; ++round) {
      if (!is_claimed() && here.add(waiters_, seen + 1, stays)) return true;
      spin_hint(round);
    }
    return false;
  }

private:
  static constexpr std::uint64_t busy = 1;
  static constexpr std::uint64_t claimed = 2;
  static constexpr std::uint64_t word_of(version_type version) noexcept { return version << 2U; }

  [[gnu::noinline]] bool holds_again(version_type version) const noexcept {
    return settled() == version;
  }

  static bool past(const std::chrono::steady_clock::time_point* deadline) noexcept {
    return deadline != nullptr && std::chrono::steady_clock::now() >= *deadline;
  }

  [[gnu::noinline]] void publish_to_waiters(version_type version) noexcept {
    waiters::node* const reached = waiters_.take(version);
    leave(version);
    wake(reached);
  }

  // Returns: true if the version is no more than this, nobody is in and nobody has a claim, whose
  //          owner may have looked for waiters already.
  bool rests_up_to(version_type version) const noexcept {
    // order: seq_cst [cell.rests] total order with [cell.try_lock], [cell.try_claim], [ring.lock]: of a waiter and a commit, one sees the other
    const std::uint64_t word = word_.load(std::memory_order_seq_cst);
    return (word & (claimed | busy)) == 0 && version_of(word) <= version;
  }

  bool is_claimed() const noexcept {
    // order: relaxed: a guess, rests_up_to() decides
    return (word_.load(std::memory_order_relaxed) & claimed) != 0;
  }

  void leave(version_type version) const noexcept {
    // order: release [cell.leave] pairs with [cell.peek], [cell.is_at], [cell.try_lock], [cell.try_claim]: publishes the payload
    word_.store(word_of(version), std::memory_order_release);
  }

  mutable std::atomic<std::uint64_t> word_;  // mutable: readers of a node_cell enter too
  mutable waiters waiters_;
};

// Where a coroutine waits until the version is greater than `seen`.
class version_word::place : public coroutine_place<version_type> {
public:
  place(const version_word& word, version_type seen, wake_function function) noexcept
      : coroutine_place(seen + 1, function), word_(word), seen_(seen) {}

  bool try_now() const noexcept { return word_.settled() > seen_; }
  bool suspend() noexcept {
    const auto stays = [this] { return word_.rests_up_to(seen_); };
    for (unsigned round = 0; !try_now() && !stopped(); ++round) {
      if (!word_.is_claimed() && suspend_in(word_.waiters_, stays)) return true;
      spin_hint(round);
    }
    return false;
  }
  void end(wait_status why) noexcept { end_in(word_.waiters_, why); }

protected:
  version_type seen() const noexcept { return seen_; }

private:
  const version_word& word_;
  const version_type seen_;
};

}  // namespace interlock::detail
