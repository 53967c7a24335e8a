// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/permit_queue.hpp - permits, and who stands in line for them.
//
// What semaphores and events have in common. The free case is decided by word_ alone; what is
// taken in line is decided with the queue locked, also how each wait ends (see wait_queue.hpp).
//
//   word_   number of permits | `closed` | `queued`: somebody is in line
//
// Invariants
//   queued is set exactly while the ring holds somebody, but for moments with the queue locked.
//   Without queued anybody may change the word, by compare-and-swap. With queued only whoever has
//   the queue locked does: so a newcomer overtakes nobody, and the one at the head, if it asks for
//   much, collects what is given back.
//   Whoever is at the head asks for more than there is.
//
// When the object may be destroyed. Whoever gives permits touches it for the last time by the
// compare-and-swap that makes them visible; or, if somebody is in line, by unlocking the queue,
// after which those who are let in are woken. If the line is found to have gone meanwhile, the lock
// is given back before the permits are given: else the one who takes them could destroy the object
// while it is locked (glibc bug 12674, where sem_post touched what its waiter had freed).

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>

#include "../wait_status.hpp"
#include "misuse.hpp"
#include "parking.hpp"
#include "wait_queue.hpp"
#include "waiter.hpp"

namespace interlock::detail {

enum class permit_kind {
  counted,   // are taken, and add up to a maximum: semaphore
  single,    // is taken; a second one is the same as one: auto-reset event
  standing,  // lets everybody in and stays: manual-reset event
};

// How many permits there can be. Only of those that add up is it worth a member.
template <permit_kind Kind>
struct permit_limit {
  static constexpr std::uint32_t most = 1;
};
template <>
struct permit_limit<permit_kind::counted> {
  const std::uint32_t most;
};

template <permit_kind Kind>
class permit_queue : private permit_limit<Kind> {
public:
  using limit = permit_limit<Kind>;

  constexpr permit_queue(limit most, std::uint32_t initial, max_waiters room) noexcept
      : limit(most), word_(initial * one), room_(room.count) {}

  // For the destructor of the object.
  void expect_empty(const char* sentence) const noexcept { queue_.expect_empty(sentence); }

  std::uint32_t most() const noexcept { return limit::most; }

  // Returns: the permits at one moment; perhaps they are kept for the first in line.
  // Synchronization: sees what was done before they were given.
  std::uint32_t permits() const noexcept { return permits_in(look()); }
  bool is_closed() const noexcept { return (look() & closed) != 0; }

  std::uint32_t in_line() const noexcept {
    // order: relaxed: written with the queue locked; elsewhere a guess
    return in_line_.load(std::memory_order_relaxed);
  }

  // Effects: takes n permits if there are so many and nobody is in line.
  // Returns: how that ended; timed_out: not now, but possible.
  wait_status try_take(std::uint32_t n) noexcept {
    std::uint64_t seen = look();
    return take(n, seen);
  }

  // Effects: as try_take(node.amount); if not now, lists the node. Its status says what happened.
  // Returns: true if listed: then it may have been woken already; touch neither it nor the object.
  [[gnu::noinline]] bool join(waiter& node) noexcept {
    wait_queue::locked waiting(queue_);
    if (node.ended) return false;
    std::uint64_t seen = look();
    do {
      node.status = take(node.amount, seen);
      if (node.status == wait_status::timed_out && in_line() >= room_) {
        node.status = wait_status::overloaded;
      }
      if (node.status != wait_status::timed_out) return waiting.settle(node, node.status);
    } while (!mark_queued(seen));
    count(1);
    return waiting.enlist(node);
  }

  // Effects: blocks this thread until it has n permits, or past the deadline, if there is one.
  wait_status wait(std::uint32_t n,
                   const std::chrono::steady_clock::time_point* deadline) noexcept {
    std::uint64_t seen = look();
    for (unsigned round = 0; (seen & queued) == 0 && round < spin_rounds; ++round) {
      const wait_status now = take(n, seen);
      if (now != wait_status::timed_out) return now;
      spin_hint(round);
      seen = look();
    }
    thread_waiter self;
    self.amount = n;
    if (!join(self)) return self.status;
    waiter* let_in = nullptr;
    const wait_status ended = wait_in(
        queue_, self, deadline, [&](wait_queue::locked& waiting) { let_in = left(waiting); });
    wake(let_in);
    return ended;
  }

  // Effects: adds n permits, or makes the single or standing one be there; lets in those at the
  //          head for whom there is enough, first to last, and wakes them.
  void give(std::uint64_t n) noexcept {
    // order: relaxed: only a guess that the exchange verifies
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
      if ((seen & queued) != 0 && give_in_line(n, seen)) return;
      // Also if it changes nothing: whoever resets an event that was set twice sees both setters.
      // order: release/relaxed [permit_queue.give] pairs with [permit_queue.look], [permit_queue.take], [permit_queue.mark], [permit_queue.reset]: publishes what came before
    } while (!word_.compare_exchange_weak(seen, with(seen, n), std::memory_order_release,
                                          std::memory_order_relaxed));
  }

  // Effects: takes all permits. Not for those that are counted. Returns: true if there was one.
  bool reset() noexcept {
    static_assert(Kind != permit_kind::counted);
    // While somebody is in line there is none, so this changes nothing that the lock protects.
    // order: acquire [permit_queue.reset] pairs with [permit_queue.give], [permit_queue.serve]: sees what was done before the permits that it takes
    return permits_in(word_.fetch_and(closed | queued, std::memory_order_acquire)) != 0;
  }

  // Effects: from now on every take is told `closed`, and so are all in line.
  void close() noexcept {
    // order: relaxed: only a guess that the exchange verifies
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
      if ((seen & queued) != 0 && close_line(seen)) return;
      // order: release/relaxed [permit_queue.close] pairs with [permit_queue.look], [permit_queue.take], [permit_queue.mark]: who is told `closed` sees what came before
    } while (!word_.compare_exchange_weak(seen, seen | closed, std::memory_order_release,
                                          std::memory_order_relaxed));
  }

  // Effects: ends the wait of a node, listed or not yet, unless it has ended. Those behind it may
  //          be let in by that. The node, the object and this may be gone when it returns.
  void end(waiter& node, wait_status why) noexcept {
    {
      wait_queue::locked waiting(queue_);
      if (!waiting.withdraw(node, why)) return;
      node.next = left(waiting);
    }
    wake(&node);
  }

  // Effects: for the frame of a suspended coroutine that is destroyed: takes the node out of the
  //          line; or, if it was let in and is about to be resumed by this thread, passes on what
  //          it was given. Then the object is touched for that alone: it may be gone otherwise.
  [[gnu::noinline]] void abandon(coroutine_waiter& node) noexcept {
    if (!node.ended) {
      waiter* let_in = nullptr;
      bool listed = false;
      {
        wait_queue::locked waiting(queue_);
        listed = waiting.remove(node);
        if (listed) let_in = left(waiting);
      }
      if (listed) return wake(let_in);
    }
    if (!trampoline::forget(node)) {
      misuse(
          "a coroutine was destroyed while another thread was about to resume it; destroy it "
          "where nothing can end its wait meanwhile");
    }
    if (Kind != permit_kind::standing && node.status == wait_status::acquired) give(node.amount);
  }

private:
  static constexpr std::uint64_t queued = 1;
  static constexpr std::uint64_t closed = 2;
  static constexpr std::uint64_t one = 4;  // permit

  static std::uint32_t permits_in(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word / one);
  }
  static bool covers(std::uint64_t word, std::uint32_t n) noexcept { return n <= word / one; }
  static std::uint64_t without(std::uint64_t word, std::uint32_t n) noexcept {
    return Kind == permit_kind::standing ? word : word - n * one;
  }
  std::uint64_t with(std::uint64_t word, std::uint64_t n) const noexcept {
    if constexpr (Kind != permit_kind::counted) return (word & (closed | queued)) | one;
    if (n > most() - permits_in(word)) {
      misuse(
          "async_semaphore: more permits were given back than it can have; give back what was "
          "acquired, once, or construct it with a higher maximum");
    }
    return word + n * one;
  }

  std::uint64_t look() const noexcept {
    // order: acquire [permit_queue.look] pairs with [permit_queue.give], [permit_queue.serve], [permit_queue.close], [permit_queue.close_line]: who is let in by a standing permit, or told `closed`, sees what came before
    return word_.load(std::memory_order_acquire);
  }

  // Effects: as try_take, from what was seen of the word, which is renewed.
  wait_status take(std::uint32_t n, std::uint64_t& seen) noexcept {
    while ((seen & (closed | queued)) == 0 && covers(seen, n)) {
      if constexpr (Kind == permit_kind::standing) return wait_status::acquired;
      // order: acquire/acquire [permit_queue.take] pairs with [permit_queue.give], [permit_queue.serve], [permit_queue.close], [permit_queue.close_line]: sees what was done before the permits were given
      if (word_.compare_exchange_weak(seen, without(seen, n), std::memory_order_acquire,
                                      std::memory_order_acquire)) {
        return wait_status::acquired;
      }
    }
    if ((seen & closed) != 0) return wait_status::closed;
    if (n == 0) return wait_status::acquired;  // nothing to wait for
    return n > most() ? wait_status::overloaded : wait_status::timed_out;
  }

  // Returns: false if the word has changed since it was seen: it is seen anew.
  bool mark_queued(std::uint64_t& seen) noexcept {
    if ((seen & queued) != 0) return true;
    // order: acquire/acquire [permit_queue.mark] pairs with [permit_queue.give], [permit_queue.serve], [permit_queue.close]: who is let in by what is there already and more sees what was done before either was given
    return word_.compare_exchange_strong(seen, seen | queued, std::memory_order_acquire,
                                         std::memory_order_acquire);
  }

  bool give_in_line(std::uint64_t n, std::uint64_t& word) noexcept;
  bool close_line(std::uint64_t& word) noexcept;
  waiter* serve(wait_queue::locked& waiting, std::uint64_t word) noexcept;

  // Effects: after a node has left with the queue locked: the next ones may fit.
  // Returns: whom to wake once the queue is unlocked.
  waiter* left(wait_queue::locked& waiting) noexcept {
    count(~0U);
    return serve(waiting, locked_word());
  }

  std::uint64_t locked_word() const noexcept {
    // order: relaxed: while the queue is locked and somebody is in line, nobody else changes it
    return word_.load(std::memory_order_relaxed);
  }

  void count(std::uint32_t more) noexcept {
    // order: relaxed: written with the queue locked; read elsewhere as a guess
    in_line_.store(in_line() + more, std::memory_order_relaxed);
  }

  static void wake(waiter* list) noexcept {
    if (list == nullptr) return;
    if (list->next == nullptr) return list->wake();
    wake_all(list);
  }

  std::atomic<std::uint64_t> word_;
  wait_queue queue_;
  std::atomic<std::uint32_t> in_line_{0};
  const std::uint32_t room_;  // how many may be in line
};

// Returns: false if nobody is in line any more: nothing was done, and the word is read anew.
template <permit_kind Kind>
[[gnu::noinline]] bool permit_queue<Kind>::give_in_line(std::uint64_t n,
                                                        std::uint64_t& word) noexcept {
  waiter* let_in = nullptr;
  {
    wait_queue::locked waiting(queue_);
    word = locked_word();
    if ((word & queued) == 0) return false;
    let_in = serve(waiting, with(word, n));
  }
  wake(let_in);
  return true;
}

template <permit_kind Kind>
[[gnu::noinline]] bool permit_queue<Kind>::close_line(std::uint64_t& word) noexcept {
  waiter* told = nullptr;
  {
    wait_queue::locked waiting(queue_);
    word = locked_word();
    if ((word & queued) == 0) return false;
    waiter** last = &told;
    while (!waiting.empty()) {
      waiter& head = waiting.pop_front();
      head.status = wait_status::closed;
      head.ended = true;
      *last = &head;
      last = &head.next;
    }
    *last = nullptr;
    count(0U - in_line());
    // order: release [permit_queue.close_line] pairs with [permit_queue.look], [permit_queue.take]: who is told `closed` sees what came before
    word_.store((word | closed) & ~queued, std::memory_order_release);
  }
  wake(told);
  return true;
}

// Effects: lets in those at the head for whom there is enough, and makes `word` the word.
// Returns: them, to be woken once the queue is unlocked.
template <permit_kind Kind>
waiter* permit_queue<Kind>::serve(wait_queue::locked& waiting, std::uint64_t word) noexcept {
  waiter* let_in = nullptr;
  waiter** last = &let_in;
  std::uint32_t gone = 0;
  while (!waiting.empty() && covers(word, waiting.first()->amount)) {
    waiter& head = waiting.pop_front();
    word = without(word, head.amount);
    head.status = wait_status::acquired;
    head.ended = true;
    *last = &head;
    last = &head.next;
    ++gone;
  }
  *last = nullptr;
  count(0U - gone);
  if (waiting.empty()) word &= ~queued;
  // order: release [permit_queue.serve] pairs with [permit_queue.look], [permit_queue.take], [permit_queue.mark], [permit_queue.reset]: publishes what came before the permits that are left
  word_.store(word, std::memory_order_release);
  return let_in;
}

// What a coroutine does in line, for waiting<>. Owner has `line_`, and a static
// finish(Owner&, wait_status, amount), which makes the result and does not touch the owner if
// it was not let in; both private, with this as a friend.
template <class Owner>
class permit_place : public coroutine_waiter {
public:
  struct request {
    Owner* owner;
    std::uint32_t n;
  };

  permit_place(const request& what, wake_function function) noexcept
      : coroutine_waiter(function), owner_(*what.owner) {
    amount = what.n;
  }
  permit_place(const permit_place&) = delete;
  permit_place& operator=(const permit_place&) = delete;
  ~permit_place() {
    if (suspended) owner_.line_.abandon(*this);
  }
  request what() const noexcept { return {&owner_, amount}; }

  bool try_now() noexcept {
    status = owner_.line_.try_take(amount);
    return status != wait_status::timed_out;
  }
  bool suspend() noexcept { return owner_.line_.join(*this); }
  void end(wait_status why) noexcept { owner_.line_.end(*this, why); }
  auto finish() noexcept {
    suspended = false;
    return Owner::finish(owner_, status, amount);
  }

private:
  Owner& owner_;
};

// The same for a wait without ends, which was not asked to try before.
template <class Owner>
class plain_permit_place : public permit_place<Owner> {
public:
  using permit_place<Owner>::permit_place;
  bool suspend() noexcept { return !this->try_now() && permit_place<Owner>::suspend(); }
};

}  // namespace interlock::detail
