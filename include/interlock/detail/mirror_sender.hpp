// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_sender.hpp - one send at a time, one beginning after each request.
//
// Knows neither source nor target: Owner::attempt() is one send, Owner::delay(failures) the wait
// after a failed one, Owner::surface(failures) says that it keeps failing. All three are noexcept.
//
// word_ counts the requests that no send has taken up, in units of one_request, beside two bits:
//
//   idle                    nothing to send, nobody sends: the next request starts a sender
//   requests                a sender was started and will begin(): it takes all of them up
//   sending                 a send is under way, or waits to be tried again
//   requests | sending      the same, and another send has to follow
//   any of these | closed   close() was called: one more send, then stopped
//
// Why no change is missed. A thread changes the source, then requests. Its fetch_add releases, the
// begin() that takes it up is a read-modify-write that acquires, and every change of word_ between
// them is a read-modify-write too; so the change happens before begin(), which comes before
// attempt() reads the source. The source's own memory orders do not matter.
//
// The tempting cheaper request looks first: one is there already, so a send will follow. That
// loses. "Change, then read word_" against "write word_, then read the source" is the store buffer
// test: with release and acquire both may read the old value. is_requested() is that look, right
// only if the change and the source's read are seq_cst as well, or exclude each other by a lock
// (either the change comes first and is read, or begin() happens before the look, which sees it).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "misuse.hpp"
#include "parking.hpp"
#include "waiter.hpp"

namespace interlock::detail {

enum class send_result : unsigned char { done, failed, closed };

// Someone who waits for a send; lives on the stack or in the coroutine frame of the one who waits.
class send_request {
public:
  explicit send_request(waiter& who) noexcept : who_(who) {}

  // Called once by the sender, with the result in place, and once by the one who waits, when it
  // touches nothing else any more. Returns: true to the second, who need not wait for the first.
  bool arrive() noexcept {
    // order: acq_rel [send_request.arrive] pairs with [send_request.arrive]: the second sees all that the first did
    return arrived_.exchange(true, std::memory_order_acq_rel);
  }

  // Coroutines go on after the last one has its answer: no thread waits for one before it.
  static void answer(send_request* list, send_result result) noexcept {
    trampoline::together([=]() mutable noexcept {
      while (list != nullptr) {
        send_request& each = *std::exchange(list, list->next);
        each.result = result;
        if (each.arrive()) each.who_.wake();
      }
    });
  }

  send_request* next = nullptr;
  send_result result = send_result::closed;

private:
  waiter& who_;
  std::atomic<bool> arrived_{false};
};

// Thread: what sends where there is no executor; the model tests have another one.
template <class Owner, class Thread = std::thread>
class mirror_sender {
public:
  using nanoseconds = std::chrono::nanoseconds;
  using scheduler = std::function<void(nanoseconds, std::function<void()>)>;

  // Effects: sends on a thread of its own, or in jobs for `schedule` if that is not empty.
  mirror_sender(Owner& owner, std::size_t attempts, scheduler schedule)
      : owner_(owner),
        attempts_(attempts),
        schedule_(schedule ? std::make_shared<const scheduler>(std::move(schedule)) : nullptr) {
    if (!schedule_) worker_ = Thread([this] { work(); });
  }

  mirror_sender(const mirror_sender&) = delete;
  mirror_sender& operator=(const mirror_sender&) = delete;

  ~mirror_sender() {
    if (is_sender() || worker_.get_id() == std::this_thread::get_id()) {
      misuse("mirror: destroyed on the thread that is sending; destroy it on another one");
    }
    close();
    if (worker_.joinable()) worker_.join();
  }

  // Effects: has a send follow that begins after this call. Returns: false if closed.
  bool request() noexcept {
    // order: release [mirror.request] pairs with [mirror.begin]: the send that takes it up sees the change
    const std::uint64_t before = word_.fetch_add(one_request, std::memory_order_release);
    if (before == idle) start();
    if ((before & closed) == 0) return true;
    // order: relaxed: statistics, publishes nothing
    refused_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }

  // Returns: true if a send will begin after this call, under the conditions named at the top.
  bool is_requested() const noexcept {
    // order: seq_cst [mirror.is_requested] total order with [mirror.begin]: the send reads the change, or has begun here
    const std::uint64_t now = word_.load(std::memory_order_seq_cst);
    return now >= one_request && (now & closed) == 0;
  }

  // Effects: has a send that reads the source after this call answer `who`, if request() follows.
  // Returns: false if stopped.
  bool enlist(send_request& who) noexcept {
    // order: acquire [mirror.enlist.look] pairs with [mirror.stop]: stopped_as_ may be read if stopped
    who.next = requests_.load(std::memory_order_acquire);
    do {
      if (who.next == stopped()) return false;
      // order: release/acquire [mirror.enlist] pairs with [mirror.collect], [mirror.stop]: publishes the request; as above
    } while (!requests_.compare_exchange_weak(who.next, &who, std::memory_order_release,
                                              std::memory_order_acquire));
    return true;
  }

  send_result flush() {
    forbid_sender("interlock::mirror: flush() on the thread that sends would wait for itself");
    thread_waiter thread;
    send_request mine(thread);
    if (!enlist(mine)) return send_result::closed;
    request();
    if (!mine.arrive()) thread.wait();
    return mine.result;
  }

  send_result close() {
    forbid_sender("interlock::mirror: close() on the thread that sends would wait for itself");
    // order: release [mirror.close] pairs with [mirror.begin]: the last send sees what came before
    const std::uint64_t before = word_.fetch_or(closed, std::memory_order_release);
    before == idle ? start() : signal();  // the signal cuts worker_'s wait after a failure short
    for (;;) {
      thread_waiter thread;
      send_request mine(thread);
      if (!enlist(mine)) return stopped_as_;
      if (!mine.arrive()) thread.wait();  // a send that is not the last may answer too
    }
  }

  // Returns: the number of requests so far, but for the refused.
  std::uint64_t requests() const noexcept {
    // order: relaxed: statistics, publishes nothing
    const std::uint64_t refused = refused_.load(std::memory_order_relaxed);
    // order: relaxed: statistics, publishes nothing
    const std::uint64_t waiting = word_.load(std::memory_order_relaxed) / one_request;
    // order: relaxed: statistics, publishes nothing
    const std::uint64_t all = waiting + taken_up_.load(std::memory_order_relaxed);
    return all - std::min(all, refused);  // what begin() is counting just now may be missing
  }

private:
  static constexpr std::uint64_t idle = 0;
  static constexpr std::uint64_t sending = 1;
  static constexpr std::uint64_t closed = 2;
  static constexpr std::uint64_t one_request = 4;

  enum class after { idle, again, stopped };
  struct outlook {
    after what;
    nanoseconds delay{0};
  };

  std::uint64_t begin() noexcept;
  void collect() noexcept;
  outlook step() noexcept;
  outlook leave() noexcept;
  outlook stop(send_result result) noexcept;
  bool send_until_idle() noexcept;
  void schedule(nanoseconds delay) noexcept;

  void start() noexcept { schedule_ ? schedule(nanoseconds(0)) : signal(); }

  void work() noexcept {
    do {
      while (!take_signal()) park(signal_, 0);
    } while (!send_until_idle());
  }

  void signal() noexcept {
    // An exchange, as a store could come before an earlier one that the worker has taken already:
    // request() and close() do not acquire what leave() releases. So the worker would sleep on.
    // order: release [mirror.signal] pairs with [mirror.take_signal]: the worker sees why it is woken
    signal_.exchange(1, std::memory_order_release);
    unpark_one(&signal_);
  }

  bool take_signal() noexcept {
    // order: acquire [mirror.take_signal] pairs with [mirror.signal]: sees why it was woken
    return signal_.exchange(0, std::memory_order_acquire) != 0;
  }

  void back_off(nanoseconds delay) noexcept {
    if (delay <= nanoseconds(0)) return;
    const nanoseconds bounded = std::min<nanoseconds>(delay, std::chrono::hours(24));
    const auto deadline = std::chrono::steady_clock::now() + bounded;
    while (!take_signal() && park_until(signal_, 0, deadline)) {
    }
  }

  bool is_sender() const noexcept {
    // order: relaxed: equal only to what this very thread has stored
    return sender_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

  void set_sender(std::thread::id who) noexcept {
    // order: relaxed: other threads need only see that it is not their own; begin() orders the senders' stores
    sender_.store(who, std::memory_order_relaxed);
  }

  void forbid_sender(const char* sentence) const {
    if (!is_sender()) return;
    const auto code = std::make_error_code(std::errc::resource_deadlock_would_occur);
    throw std::system_error(code, sentence);
  }

  // Marks the list of requests that takes no more. No request can have this address.
  send_request* stopped() const noexcept {
    return reinterpret_cast<send_request*>(const_cast<mirror_sender*>(this));
  }

  Owner& owner_;
  const std::size_t attempts_;
  const std::shared_ptr<const scheduler> schedule_;  // null: worker_ sends

  std::atomic<std::uint64_t> word_{idle};
  std::atomic<send_request*> requests_{nullptr};  // newest first; stopped() ends it for good
  park_word signal_{0};                           // 1: the worker has something to look at
  std::atomic<std::thread::id> sender_{};         // who is inside step()
  std::atomic<std::uint64_t> taken_up_{0};        // requests that begin() has seen
  std::atomic<std::uint64_t> refused_{0};         // requests after close()

  // Of whoever sends; handed to the next through word_, or by the executor to its next job:
  send_request* waiting_ = nullptr;             // oldest first
  std::size_t failures_ = 0;                    // in a row
  send_result stopped_as_ = send_result::done;  // published by stop()

  Thread worker_;
};

// Effects: takes all requests up. Returns: what the word was.
template <class Owner, class Thread>
std::uint64_t mirror_sender<Owner, Thread>::begin() noexcept {
  // order: relaxed: a guess that the exchange below checks
  std::uint64_t before = word_.load(std::memory_order_relaxed);
  // order: seq_cst/relaxed [mirror.begin] total order with [mirror.is_requested] and pairs with [mirror.request], [mirror.close], [mirror.leave]: sees each change, and the state of the send before
  while (!word_.compare_exchange_weak(before, (before & closed) | sending,
                                      std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  // order: relaxed: statistics, publishes nothing
  taken_up_.fetch_add(before / one_request, std::memory_order_relaxed);
  return before;
}

// Effects: moves the new requests behind those that wait already, in the order of arrival.
template <class Owner, class Thread>
void mirror_sender<Owner, Thread>::collect() noexcept {
  // order: acquire [mirror.collect] pairs with [mirror.enlist]: sees the requests
  send_request* newest = requests_.exchange(nullptr, std::memory_order_acquire);
  send_request* arrivals = nullptr;
  while (newest != nullptr) {
    send_request* const older = std::exchange(newest->next, arrivals);
    arrivals = std::exchange(newest, older);
  }
  send_request** end = &waiting_;
  while (*end != nullptr) end = &(*end)->next;
  *end = arrivals;
}

// Effects: one send. Unless this answers `again`, another thread may send, or the mirror be gone.
template <class Owner, class Thread>
auto mirror_sender<Owner, Thread>::step() noexcept -> outlook {
  const std::uint64_t before = begin();
  set_sender(std::this_thread::get_id());  // after begin(): behind what the last sender stored
  const bool last = (before & closed) != 0;
  collect();
  if (before >= one_request || failures_ != 0) {
    if (!owner_.attempt()) {
      if (++failures_ % attempts_ == 0) {
        owner_.surface(failures_);
        send_request::answer(std::exchange(waiting_, nullptr), send_result::failed);
        if (last) return stop(send_result::failed);
      }
      set_sender({});
      return {after::again, owner_.delay(failures_)};
    }
    failures_ = 0;
    send_request::answer(std::exchange(waiting_, nullptr), send_result::done);
  }
  return last ? stop(send_result::done) : leave();
}

template <class Owner, class Thread>
auto mirror_sender<Owner, Thread>::leave() noexcept -> outlook {
  set_sender({});
  std::uint64_t expected = sending;
  // order: release/relaxed [mirror.leave] pairs with [mirror.begin]: hands over the state of the send
  const bool left = word_.compare_exchange_strong(expected, idle, std::memory_order_release,
                                                  std::memory_order_relaxed);
  return {left ? after::idle : after::again};
}

template <class Owner, class Thread>
auto mirror_sender<Owner, Thread>::stop(send_result result) noexcept -> outlook {
  stopped_as_ = result;
  set_sender({});
  send_request* const waiting = std::exchange(waiting_, nullptr);
  // order: acq_rel [mirror.stop] pairs with [mirror.enlist], [mirror.enlist.look]: sees the late requests; publishes stopped_as_
  send_request* const late = requests_.exchange(stopped(), std::memory_order_acq_rel);
  // From here on close() may return, and the mirror be gone.
  send_request::answer(waiting, send_result::closed);
  send_request::answer(late, send_result::closed);
  return {after::stopped};
}

// Returns: true if stopped; then the mirror may be gone.
template <class Owner, class Thread>
bool mirror_sender<Owner, Thread>::send_until_idle() noexcept {
  for (;;) {
    const outlook next = step();
    if (next.what != after::again) return next.what == after::stopped;
    back_off(next.delay);
  }
}

// Effects: has the executor make the next step; if it throws, this thread sends instead.
template <class Owner, class Thread>
void mirror_sender<Owner, Thread>::schedule(nanoseconds delay) noexcept {
  const auto executor = schedule_;  // the job may end, and the mirror with it, during the call
  try {
    (*executor)(delay, [this] {
      const outlook next = step();
      if (next.what == after::again) schedule(next.delay);
    });
  } catch (...) {
    back_off(delay);
    send_until_idle();
  }
}

}  // namespace interlock::detail
