// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_line.hpp - one send at a time for each key, one beginning after each
// touch.
//
// Knows neither sources nor targets. Of its Owner, all noexcept:
//   attempt(key)      reads and writes once: what became of it, and the version that was read
//   surface(key, f)   says that it keeps failing
//   pause(failures)   how long to wait then
//   hold(key)         the lock of the key's place in a table, if there is one, for as long as the
//                     answer lives; taken before the line's
//   retire(key)       with both locked: nothing is known of the key any more, it may be forgotten
//
// The bit `dirty` of the key's word says: a send will begin that has not begun yet. A touch sets
// it, take() clears it. Where a key is in line (mirror_place) is the lock's affair: whoever sets
// the bit finds the key idle and lists it, or finds it in line, or being sent; and whoever ends a
// send looks at the bit with the lock held. A failed send sets the bit again: touches meanwhile
// have one load to do.
//
// Why no change is missed. A thread changes the source, then touches. If its touch is an update of
// the word: take() is an update that acquires, and all between them are updates, so the change
// happens before the read of the source. The source's own memory orders do not matter.
//
// The cheaper touch looks first: it is dirty, so a send will follow. "Change, then look" against
// "clear, then read the source" is the store buffer test: with loads and stores alone both may see
// the old value, and the change is lost. So there is an asymmetric fence between the two on both
// sides, free for who touches; in its total order either the change comes before the read, or the
// clearing before the look, which then does not see the bit of before. Where there is no such fence
// the bit `updates` is set, and the look never succeeds.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "asymmetric_fence.hpp"
#include "futex_mutex.hpp"
#include "mirror_crew.hpp"
#include "mirror_key.hpp"
#include "mirror_pace.hpp"
#include "mirror_queue.hpp"
#include "waiter.hpp"

namespace interlock::detail {

enum class mirror_ending : unsigned char { sent, lost, too_late, is_sender };

template <class Owner, class Version, class Fence = asymmetric_fence, class Thread = std::thread>
class mirror_line {
public:
  using key = mirror_key<Version>;
  using node = flush_node<Version>;
  using nanoseconds = std::chrono::nanoseconds;
  using time_point = typename key::time_point;
  using crew = mirror_crew<mirror_line, Thread>;
  using errand = typename crew::errand;
  using attempt = mirror_attempt<Version>;

  mirror_line(Owner& owner, mirror_pace pace, std::uint32_t parallel, mirror_schedule how)
      : owner_(owner), pace_(pace), crew_(*this, parallel, std::move(how)) {}

  // Preconditions: closed, and all threads that use it have left.
  ~mirror_line() { crew_.join(); }

  // Returns: whether a look at a key that is dirty will do.
  static bool looks() noexcept { return Fence::available(); }

  // ---- touching ---------------------------------------------------------------------------------

  // Effects: has a send follow that begins after this call; a hand that has to be lent for it is
  //          this one. Returns: false if closed.
  bool touch(key& k, const lent_hand* hand = nullptr) noexcept {
    const std::uint32_t now = look(k);
    return key::says_due(now) || touch_clean(k, now, hand);
  }

  // Returns: true if a send will begin after this call. One load.
  static bool is_due(const key& k) noexcept { return key::says_due(look(k)); }

  // Effects: the rest of touch(), but for what is to be done without a lock: `todo`.
  bool mark(key& k, errand& todo) noexcept {
    // order: release [mirror.mark] pairs with [mirror.take]: the send that takes it up sees the change
    const std::uint32_t before = k.word.fetch_or(key::dirty, std::memory_order_release);
    if ((before & key::closed) != 0) return false;
    if ((before & (key::dirty | key::stuck)) == key::dirty) return true;
    const std::lock_guard lock(mutex_);
    list_if_due(k, todo);
    return true;
  }

  // ---- waiting for a send -----------------------------------------------------------------------

  // Effects: has a send follow that answers the node, if the key is open; with `least`, one that
  //          reads that version or a newer one.
  // Returns: true if it is listed: once nothing is locked any more it may be woken and gone. false:
  //          its result is in place. Then run(todo, hand).
  bool enlist(key& k, node& n, errand& todo, lent_hand& hand) noexcept {
    const std::lock_guard lock(mutex_);
    if (n.who.ended) return false;
    if (n.blocks && crew_.is_here()) {
      n.is_sender = true;
      return false;
    }
    // order: relaxed: set under the lock
    if ((k.word.load(std::memory_order_relaxed) & key::closed) != 0) {
      n.result = mirror_flush_result::closed;
      n.who.ended = true;
      return false;
    }
    if (n.least != nullptr && k.reaches(*n.least)) {
      n.result = mirror_flush_result::flushed;
      n.who.ended = true;
      return false;
    }
    n.ticket = k.begun + 1;
    n.of = &k;
    n.who.suspended = true;
    k.waiting.push_back(n);
    ++numbers_.flushes;
    // order: relaxed: under the lock, which orders it before the send that takes it up
    k.word.fetch_or(key::dirty, std::memory_order_relaxed);
    list_if_due(k, todo);
    hand.until = n.until;
    crew_.may_lend(hand, n.hand, todo);
    return true;
  }

  // Effects: the node waits no more, if it does. With `why`, not even if it would be listed later.
  // Returns: true if it was listed; then `spare` is its key if nobody needs that any more.
  bool withdraw(node& n, const wait_status* why, key*& spare, errand& todo) noexcept {
    const std::lock_guard lock(mutex_);
    const bool listed = n.previous != nullptr;
    if (why != nullptr && (listed || (!n.who.suspended && !n.who.ended))) {
      n.who.ended = true;
      n.who.status = *why;
    }
    if (!listed) return false;
    n.of->waiting.remove(n);
    if (n.hand != nullptr) crew_.call_off(*n.hand, todo);
    spare = n.of->is_spare() ? n.of : nullptr;
    return true;
  }

  // ---- the end ----------------------------------------------------------------------------------

  // Effects: touches of this key are refused; what was touched before is sent at once. What is left
  //          to do when nothing is locked is added for complete().
  void close(key& k, node*& answered, errand& todo) noexcept {
    const std::lock_guard lock(mutex_);
    shut(k, answered, todo);
  }
  void complete(node* answered, errand& todo) noexcept { answer(answered), crew_.run(todo); }

  // Effects: after close() of all keys, but for `only` which it closes itself: blocks until the
  //          last send has ended, or past the deadline.
  mirror_ending wait_for_end(const time_point* deadline, key* only = nullptr) noexcept {
    node* answered = nullptr;
    errand todo;
    const lent_hand hand{deadline};
    todo.hand = &hand;
    std::unique_lock lock(mutex_);
    if (crew_.is_here()) return mirror_ending::is_sender;
    if (only != nullptr) shut(*only, answered, todo);
    closing_ = true;
    if (in_line_ == 0) crew_.all_done(todo);
    if (answered != nullptr || !todo.idle()) {
      lock.unlock();
      complete(answered, todo);
      lock.lock();
    }
    if (!crew_.wait_until_left(lock, deadline)) return mirror_ending::too_late;
    return only != nullptr && only->lost ? mirror_ending::lost : mirror_ending::sent;
  }

  // Effects: no send begins any more for a key that was closed. The rest as of close().
  void abandon(key& k, node*& answered, errand& todo) noexcept {
    const std::lock_guard lock(mutex_);
    const bool waits = queue_.remove(k);
    k.last = k.abandoned = true;
    if (!waits) return;
    k.lost = !k.resting;
    stop(k, answered);
    if (at_end()) crew_.all_done(todo);
  }

  // ---- what others may know ---------------------------------------------------------------------

  // Returns: what look() does, with the line locked.
  template <class F>
  auto locked(F look) {
    const std::lock_guard lock(mutex_);
    return look();
  }
  mirror_statistics statistics() noexcept { return locked([&] { return numbers_; }); }
  bool is_sender() noexcept { return locked([&] { return crew_.is_here(); }); }
  bool is_spare(const key& k) noexcept { return locked([&] { return k.is_spare(); }); }
  // Returns: how many keys are in line or being sent.
  std::size_t in_line() noexcept { return locked([&] { return in_line_; }); }
  // What was decided under a lock, without it. This may be gone if nobody is counted.
  void run(errand& todo) noexcept { crew_.run(todo); }
  void run(errand& todo, lent_hand& hand) noexcept {
    crew_.run(todo);
    if (hand.counted) crew_.take_back(hand);
  }

private:
  friend crew;
  futex_mutex& mutex() noexcept { return mutex_; }

  static std::uint32_t look(const key& k) noexcept {
    Fence::light();
    // order: relaxed: the asymmetric fence orders it behind the change, and against take()
    return k.word.load(std::memory_order_relaxed);
  }
  // Out of line: in the caller's loop it would push what that keeps in registers to memory.
  [[gnu::noinline]] bool touch_clean(key& k, std::uint32_t seen,
                                     const lent_hand* hand) noexcept {
    if ((seen & key::closed) != 0) return false;  // what is refused has no effects
    errand todo;
    todo.hand = hand;
    const bool open = mark(k, todo);
    crew_.run(todo);
    return open;
  }

  // ---- for the crew: with the lock held ---------------------------------------------------------

  // Returns: the next key, which is being sent from now on; nullptr: there is none just now.
  key* take(errand& todo) noexcept {
    promote(todo);
    if (!queue_.any_ready()) return nullptr;
    key& k = queue_.take();
    // order: acquire [mirror.take] pairs with [mirror.mark]: sees each change
    const std::uint32_t before =
        k.word.fetch_and(~(key::dirty | key::stuck), std::memory_order_acquire);
    k.at = mirror_place::sending;
    k.last = (before & key::closed) != 0;
    k.resting = (before & key::dirty) == 0;
    if (k.resting) return &k;
    if (k.failures == 0) ++numbers_.touches;
    ++k.begun;
    if (pace_.min_interval != nanoseconds(0)) k.began = crew_.now();
    if (pace_.max_staleness != nanoseconds(0) && k.failures == 0) {
      k.oldest = k.since != time_point{} ? k.since : crew_.now();
    }
    k.since = {};
    return &k;
  }

  time_point first_due() const noexcept { return queue_.first_due(); }
  bool any_ready() const noexcept { return queue_.any_ready(); }
  bool any_waits() const noexcept { return !queue_.empty(); }
  bool at_end() const noexcept { return closing_ && in_line_ == 0; }
  bool closing() const noexcept { return closing_; }

  // Effects: those whose time has come are ready. One of them is the caller's affair.
  void promote(errand& todo) noexcept {
    if (first_due() == time_point::max()) return;
    const time_point now = crew_.now();
    for (bool others = false; queue_.promote(now);) {
      if (std::exchange(others, true)) crew_.need_sender(todo);
    }
  }

  // Effects: nobody will come for those in line: the next touch or flush of one of them asks for a
  //          sender again, who serves all.
  void strand() noexcept {
    queue_.for_each([](key& k) {
      // order: relaxed: under the lock; a touch that has not seen it came before
      k.word.fetch_or(key::stuck, std::memory_order_relaxed);
    });
  }

  // ---- for the crew: without a lock -------------------------------------------------------------

  // Effects: one send, and then what is to be done.
  void send(key& k, errand& todo) noexcept {
    if (k.resting) return finish(k, {mirror_end::skipped}, nanoseconds(0), todo);
    if (looks()) Fence::heavy();
    const attempt done = owner_.attempt(k);
    nanoseconds pause{0};
    if (done.failed()) {
      ++k.failures;
      surface(k, done);
      pause = owner_.pause(k.failures);
    }
    finish(k, done, pause, todo);
  }

  void surface(key& k, const attempt& done) noexcept {
    const bool late = pace_.max_staleness != nanoseconds(0) && !k.overdue &&
                      crew_.now() - k.oldest >= pace_.max_staleness;
    if (!late && k.failures % pace_.attempts != 0) return;
    if (late) {
      const std::lock_guard lock(mutex_);
      k.overdue = true;
      ++numbers_.overdue;
    }
    owner_.surface(k, {k.failures, done.result(), done.error, late});
  }

  void finish(key& k, const attempt& done, nanoseconds pause, errand& todo) noexcept {
    node* answered = nullptr;
    {
      [[maybe_unused]] const auto home = owner_.hold(k);
      const std::lock_guard lock(mutex_);
      crew_.sent();
      if (done.version) k.sent = done.version;
      if (done.failed()) {
        keep(k, done.how, pause, answered, todo);
      } else {
        if (!k.resting) confirm(k, done, answered);
        done.partly ? go_on(k, answered, todo) : move_on(k, answered, todo);  // it may be gone
      }
      if (at_end()) crew_.all_done(todo);
    }
    answer(answered);
    crew_.run(todo);
  }

  // ---- with the lock held -----------------------------------------------------------------------

  void list_if_due(key& k, errand& todo) noexcept {
    // order: relaxed: by whoever set it, or orders it by the lock
    if ((k.word.load(std::memory_order_relaxed) & key::dirty) == 0) return;
    if (pace_.max_staleness != nanoseconds(0) && k.since == time_point{}) k.since = crew_.now();
    if (k.at == mirror_place::timed) k.resting = false;
    if (k.at == mirror_place::idle) {
      ++in_line_;
      make_ready(k, todo);
    } else {
      ask_again(k, todo);
    }
  }

  void ask_again(key& k, errand& todo) noexcept {
    // order: relaxed: set and cleared under the lock
    const std::uint32_t before = k.word.fetch_and(~key::stuck, std::memory_order_relaxed);
    if ((before & key::stuck) == 0) return;
    k.at == mirror_place::ready ? crew_.need_sender(todo) : crew_.need_alarm(todo);
  }

  void shut(key& k, node*& answered, errand& todo) noexcept {
    // order: relaxed: the lock orders it; what was touched was published by the touch
    k.word.fetch_or(key::closed, std::memory_order_relaxed);
    list_if_due(k, todo);
    if (k.at == mirror_place::timed) {
      queue_.remove(k);
      make_ready(k, todo);
    } else if (k.at == mirror_place::idle) {
      k.at = mirror_place::stopped;
      k.collect(mirror_flush_result::closed, answered);
    }
  }

  void make_ready(key& k, errand& todo) noexcept {
    queue_.make_ready(k);
    crew_.need_sender(todo);
  }

  void wait_until(key& k, time_point when, errand& todo) noexcept {
    queue_.wait_until(k, when);
    crew_.need_alarm(todo);
  }

  // Effects: after a failure: the same again later, with what the source holds by then.
  void keep(key& k, mirror_end how, nanoseconds pause, node*& answered, errand& todo) noexcept {
    count(how, numbers_);
    const bool surfaced = k.failures % pace_.attempts == 0;
    if (surfaced) k.collect(mirror_flush_result::failed, answered);
    if (k.abandoned || (surfaced && k.last)) {
      k.lost = true;
      return stop(k, answered);
    }
    // order: relaxed: under the lock; the bit alone counts
    const std::uint32_t before = k.word.fetch_or(key::dirty, std::memory_order_relaxed);
    pause = std::min<nanoseconds>(pause, longest_wait);
    if (pace_.max_staleness != nanoseconds(0)) pause = std::min(pause, until_stale(k));
    const bool rests = pause > nanoseconds(0) || pace_.min_interval != nanoseconds(0);
    if (!rests || (before & key::closed) != 0) return make_ready(k, todo);
    wait_until(k, std::max(crew_.now() + pause, k.began + pace_.min_interval), todo);
  }

  // Effects: after a send that was right and not all of it: the rest, and then whoever waits.
  void go_on(key& k, node*& answered, errand& todo) noexcept {
    k.lost = k.abandoned;
    if (k.abandoned) return stop(k, answered);
    k.since = k.oldest;
    // order: relaxed: under the lock; the bit alone counts
    const std::uint32_t before = k.word.fetch_or(key::dirty, std::memory_order_relaxed);
    const bool rests = pace_.min_interval != nanoseconds(0) && (before & key::closed) == 0;
    rests ? wait_until(k, k.began + pace_.min_interval, todo) : make_ready(k, todo);
  }

  // Returns: how long a wait after a failure may be for max_staleness.
  nanoseconds until_stale(const key& k) const noexcept {
    return k.overdue ? pace_.max_staleness : k.oldest + pace_.max_staleness - crew_.now();
  }

  void confirm(key& k, const attempt& done, node*& answered) noexcept {
    count(done.how, numbers_);
    if (pace_.max_staleness != nanoseconds(0) && !k.overdue && until_stale(k) <= nanoseconds(0)) {
      ++numbers_.overdue;
    }
    k.failures = 0;
    k.overdue = false;
    if (done.how != mirror_end::skipped) k.confirmed = done.version;
    if (!done.partly) k.collect(mirror_flush_result::flushed, answered);
  }

  // Effects: after a send that did not fail: another one if need be.
  void move_on(key& k, node*& answered, errand& todo) noexcept {
    // order: relaxed: whoever set it before the lock was taken finds it being sent, and is seen
    const std::uint32_t now = k.word.load(std::memory_order_relaxed);
    const bool again = (now & key::dirty) != 0;
    k.lost = k.abandoned && again;
    if (k.last) return stop(k, answered);
    if (!again && (now & key::closed) != 0) return stop(k, answered);
    const bool rests = pace_.min_interval != nanoseconds(0) && (now & key::closed) == 0 &&
                       !k.resting;
    k.resting = !again;
    if (rests) return wait_until(k, k.began + pace_.min_interval, todo);
    if (again) return make_ready(k, todo);
    k.resting = false;
    k.at = mirror_place::idle;
    --in_line_;
    if (k.is_spare()) owner_.retire(k);
  }

  void stop(key& k, node*& answered) noexcept {
    k.collect(mirror_flush_result::closed, answered);
    k.at = mirror_place::stopped;
    --in_line_;
  }

  Owner& owner_;
  const mirror_pace pace_;

  futex_mutex mutex_;
  // All under mutex_.
  mirror_queue<Version> queue_;
  std::size_t in_line_ = 0;  // keys that are ready, timed or being sent
  bool closing_ = false;
  mirror_statistics numbers_{};
  crew crew_;
};

}  // namespace interlock::detail
