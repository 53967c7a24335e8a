// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/combiner.hpp - callers put their adds in a line; one of them sends the
// sum.
//
// A lane is the right to have one batch under way; there are as many as batches may be in flight.
// Who finds a lane free leads: he takes the adds at the head of the line, sends their sum under the
// next id of the lane's session, and gives each its answer. Then the lane goes to a thread that
// waits in the line, or to one of the client's where only coroutines wait, or it is free. Until one
// of the client's has come for it, a thread that arrives takes it: it may be the only one. Threads
// that were answered are woken before that, so that most of them are in the line again for the next
// batch; coroutines after it, since they run here and may wait for that batch.
//
// A batch holds adds of one sign, so that with base and sum all that lies between fits as well.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../detail/waiter.hpp"
#include "../until_known.hpp"

namespace interlock::store::detail {

// One add, from its arrival in the line to its answer.
struct combined_add {
  explicit combined_add(std::int64_t amount, bool thread) noexcept : n(amount), blocks(thread) {}

  const std::int64_t n;
  const bool blocks;                         // a thread waits, which may be given a lane
  interlock::detail::waiter* who = nullptr;  // null: nobody waits any more
  combined_add* next = nullptr;              // in the line, or in the batch
  bool in_line = false;
  bool settled = false;                           // has its answer
  std::optional<std::size_t> lane{};              // that its thread was given, to lead
  std::optional<outcome<std::int64_t>> answer{};  // written by who leads its batch
  std::shared_ptr<combined_add> kept{};           // itself, while others know it; for coroutines
};

struct combiner_settings {
  std::size_t most;   // adds in a batch
  std::size_t lanes;  // batches in flight
  std::chrono::milliseconds patience;
};

template <class Counter>
class combiner : public std::enable_shared_from_this<combiner<Counter>> {
public:
  combiner(Counter counter, const combiner_settings& how)
      : counter_(std::move(counter)),
        how_(how),
        thrown_({errc::engine_failure, "store", "combining_counter.add", "",
                 "the counter threw where it should have returned, or there was no memory for "
                 "what it said",
                 "see what the counter throws"}),
        sessions_(how.lanes) {
    posted_.reserve(how.lanes);
    for (std::size_t lane = 0; lane < how.lanes; ++lane) free_.push_back(lane);
  }

  [[nodiscard]] Counter& counter() noexcept { return counter_; }

  // Effects: blocks until the add has its answer.
  outcome<std::int64_t> add(std::int64_t n);

  // Effects: puts it in the line; its `who` is woken when it has its answer.
  // Throws: if a lane is free and no thread of the client can be had; it is not in the line then.
  void enqueue(const std::shared_ptr<combined_add>& given) {
    const std::lock_guard lock(mutex_);
    put_in_line(*given);
    given->kept = given;
    const std::optional<std::size_t> lane = take_lane(free_);
    if (!lane) return;
    try {
      send_leader(*lane);
    } catch (...) {
      free_.push_back(*lane);
      leave(*given);
      throw;
    }
  }

  // Effects: nobody waits for it any more. Returns: false if it is being woken.
  [[nodiscard]] bool abandon(combined_add& gone) noexcept {
    const std::lock_guard lock(mutex_);
    if (gone.who == nullptr) return false;
    gone.who = nullptr;
    if (gone.in_line) leave(gone);
    return true;
  }

private:
  using lock_type = std::unique_lock<std::mutex>;

  // All of these: under the lock.
  void put_in_line(combined_add& given) noexcept {
    given.in_line = true;
    (first_ == nullptr ? first_ : last_->next) = &given;
    last_ = &given;
  }
  [[nodiscard]] static std::optional<std::size_t> take_lane(std::vector<std::size_t>& of) noexcept {
    if (of.empty()) return std::nullopt;
    const std::size_t lane = of.back();
    of.pop_back();
    return lane;
  }
  // Effects: takes it out of the line. It may be gone then.
  void leave(combined_add& gone) noexcept {
    combined_add* before = nullptr;
    combined_add** at = &first_;
    while (*at != &gone) at = &(before = *at)->next;
    *at = gone.next;
    if (last_ == &gone) last_ = before;
    gone.in_line = false;
    const std::shared_ptr<combined_add> last_reference = std::move(gone.kept);
  }

  struct batch {
    combined_add* first = nullptr;
    std::int64_t sum = 0;
    std::size_t size = 0;
  };
  // Returns: adds of the sign of the first in the line, in their order, whose sum fits.
  batch take_batch() noexcept;

  // Effects: sends a batch and answers it, and wakes the threads in it. The lock is not held
  //          meanwhile. The coroutines are put before `ready`.
  void lead(lock_type& lock, std::size_t lane, interlock::detail::waiter*& ready);
  // Effects: the lane is somebody else's, or free. It may unlock, and lead as above.
  void hand_on(lock_type& lock, std::size_t lane, interlock::detail::waiter*& ready);
  // Throws: if no thread can be had.
  void send_leader(std::size_t lane) {
    if (coming_ <= posted_.size()) {
      counter_.client().offload([self = this->shared_from_this()] { self->lead_alone(); });
      ++coming_;
    }
    posted_.push_back(lane);
  }

  // Without the lock, and for coroutines without a lane:
  static void wake(interlock::detail::waiter* list) noexcept {
    if (list != nullptr) interlock::detail::wake_all(interlock::detail::reverse(list));
  }
  void lead_alone();
  // Others wait for the answer, so these do not throw.
  outcome<std::int64_t> send(std::int64_t sum, std::size_t lane) noexcept;
  void answer(const batch& sent, const outcome<std::int64_t>& total, std::size_t lane) noexcept;

  Counter counter_;
  const combiner_settings how_;
  const doubt thrown_;                       // a copy needs no memory
  std::vector<operation_session> sessions_;  // each its lane's holder's

  std::mutex mutex_;  // protects all below, and all adds in the line
  std::vector<std::size_t> free_;
  std::vector<std::size_t> posted_;  // for threads of the client, or whoever comes first
  std::size_t coming_ = 0;           // of those threads: one for each of these lanes at least
  combined_add* first_ = nullptr;
  combined_add* last_ = nullptr;
};

template <class Counter>
auto combiner<Counter>::take_batch() noexcept -> batch {
  constexpr std::int64_t top = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t bottom = std::numeric_limits<std::int64_t>::min();
  batch taken;
  combined_add** end = &taken.first;
  combined_add* before = nullptr;
  combined_add** at = &first_;
  const bool negative = first_ != nullptr && first_->n < 0;
  while (*at != nullptr && taken.size < how_.most) {
    combined_add& each = **at;
    const bool fits = negative ? each.n < 0 && taken.sum >= bottom - each.n
                               : each.n >= 0 && taken.sum <= top - each.n;
    if (!fits) {
      before = &each;
      at = &each.next;
      continue;
    }
    *at = each.next;
    if (last_ == &each) last_ = before;
    each.next = nullptr;
    each.in_line = false;
    *end = &each;
    end = &each.next;
    taken.sum += each.n;
    ++taken.size;
  }
  return taken;
}

template <class Counter>
outcome<std::int64_t> combiner<Counter>::add(std::int64_t n) {
  combined_add mine(n, true);
  interlock::detail::thread_waiter first;
  mine.who = &first;
  std::unique_lock lock(mutex_);
  put_in_line(mine);
  mine.lane = take_lane(free_.empty() ? posted_ : free_);
  if (!mine.lane) {
    lock.unlock();
    first.wait();
    if (!mine.lane) return *std::move(mine.answer);
    lock.lock();
  }
  interlock::detail::waiter* ready = nullptr;
  while (mine.in_line) lead(lock, *mine.lane, ready);
  interlock::detail::thread_waiter second;
  const bool settled = mine.settled;
  const std::size_t lane = *mine.lane;
  if (!settled) {  // it is in the batch of another lane
    mine.lane.reset();
    mine.who = &second;
  }
  hand_on(lock, lane, ready);
  if (lock.owns_lock()) lock.unlock();
  wake(ready);
  if (!settled) second.wait();
  return *std::move(mine.answer);
}

template <class Counter>
void combiner<Counter>::lead(lock_type& lock, std::size_t lane,
                             interlock::detail::waiter*& ready) {
  const batch taken = take_batch();
  if (taken.size == 0) return;
  lock.unlock();
  answer(taken, send(taken.sum, lane), lane);
  interlock::detail::waiter* threads = nullptr;
  lock.lock();
  for (combined_add* each = taken.first; each != nullptr;) {
    combined_add& done = *std::exchange(each, each->next);
    done.settled = true;
    interlock::detail::waiter* const who = std::exchange(done.who, nullptr);
    if (who != nullptr && !done.lane) {  // who leads is awake
      interlock::detail::waiter*& list = done.blocks ? threads : ready;
      who->next = list;
      list = who;
    }
    const std::shared_ptr<combined_add> last_reference = std::move(done.kept);
  }
  if (threads == nullptr) return;
  lock.unlock();
  wake(threads);
  lock.lock();
}

template <class Counter>
outcome<std::int64_t> combiner<Counter>::send(std::int64_t sum, std::size_t lane) noexcept {
  const operation_id id = sessions_[lane].next();
  try {
    try {
      return until_known([&](const call_options& call) { return counter_.add(sum, call); },
                         {.limit = how_.patience, .id = id});
    } catch (const std::exception& thrown) {
      return doubt({errc::engine_failure, "store", "combining_counter.add", "", thrown.what(),
                    "the counter threw where it should have returned"},
                   id);
    }
  } catch (...) {
    return thrown_;
  }
}

template <class Counter>
void combiner<Counter>::answer(const batch& sent, const outcome<std::int64_t>& total,
                               std::size_t lane) noexcept {
  if (total.refused() && total.error().code == errc::bad_argument && sent.size > 1) {
    // The sum did not fit; one or the other may.
    for (combined_add* each = sent.first; each != nullptr; each = each->next) {
      each->answer.emplace(send(each->n, lane));
    }
    return;
  }
  std::int64_t value = total.applied() ? *total - sent.sum : 0;
  for (combined_add* each = sent.first; each != nullptr; each = each->next) {
    if (total.applied()) {
      each->answer.emplace(value += each->n);
    } else if (total.unknown()) {
      // Not with the batch's id: under that, this add alone would stand for all of them.
      try {
        error why = total.error();
        why.detail += " (combined under the id ";
        why.detail += total.id().text();
        why.detail += ')';
        each->answer.emplace(doubt(std::move(why)));
      } catch (...) {
        each->answer.emplace(thrown_);
      }
    } else {
      each->answer.emplace(total);
    }
  }
}

template <class Counter>
void combiner<Counter>::lead_alone() {
  interlock::detail::waiter* ready = nullptr;
  std::unique_lock lock(mutex_);
  --coming_;
  const std::optional<std::size_t> lane = take_lane(posted_);
  if (!lane) return;  // another had all of them
  lead(lock, *lane, ready);
  hand_on(lock, *lane, ready);
  if (lock.owns_lock()) lock.unlock();
  wake(ready);
}

template <class Counter>
void combiner<Counter>::hand_on(lock_type& lock, std::size_t lane,
                                interlock::detail::waiter*& ready) {
  for (;;) {
    if (first_ == nullptr) {
      free_.push_back(lane);
      return;
    }
    combined_add* next = first_;
    while (next != nullptr && (!next->blocks || next->lane)) next = next->next;
    if (next != nullptr) {
      next->lane = lane;
      interlock::detail::waiter* const who = next->who;
      lock.unlock();
      who->wake();  // it waits for this, even if another lane answers it meanwhile
      return;
    }
    if constexpr (requires { counter_.client().offload([] {}); }) {
      try {
        return send_leader(lane);
      } catch (...) {
        // no thread to be had: this one goes on
      }
    }
    lead(lock, lane, ready);
  }
}

}  // namespace interlock::store::detail
