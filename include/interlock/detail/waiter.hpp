// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/waiter.hpp - the node on which coroutines and threads wait, and the trampoline.
//
// A waiter lives in the awaiter (a coroutine frame) or on a thread's stack, so waiting allocates
// nothing. Whoever grants calls wake() exactly once; the node may be gone when wake() returns, so
// a list is read (next) before its node is woken. A thread can also wait for several wake-ups, or
// until a deadline; then it is the waker's list that says whether a wake-up is still to come.
//
// A woken coroutine is resumed by the trampoline of the waking thread, never recursively: if a
// coroutine is being resumed there already, the new one queues behind it. A chain of a million
// hand-offs needs no deep stack, at -O0 and without tail calls.

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <utility>

#include "../wait_status.hpp"
#include "parking.hpp"

namespace interlock::detail {

class waiter {
public:
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  // Effects: releases whoever waits here. Called once; the node may be destroyed meanwhile.
  void wake() noexcept { wake_(*this); }

  // For the list that holds the node; written by that list's owner.
  waiter* next = nullptr;
  waiter* previous = nullptr;  // null while in no ring (see ring.hpp)

  std::uint32_t amount = 0;                      // what it waits for, in the words of the object
  wait_status status = wait_status::acquired;    // written by whoever ends the wait, before wake()
  bool suspended = false;                        // from await_suspend to await_resume
  bool ended = false;                            // not to be listed any more; under the list's lock
  bool dropped = false;                          // by the executor that was to resume it

  using wake_function = void (*)(waiter&) noexcept;

protected:
  explicit waiter(wake_function function) noexcept : wake_(function) {}
  ~waiter() = default;

private:
  wake_function wake_;
};

// Returns: the list in the opposite order. Stacks of new arrivals become queues this way.
inline waiter* reverse(waiter* list) noexcept {
  waiter* reversed = nullptr;
  while (list != nullptr) {
    waiter* const rest = list->next;
    list->next = reversed;
    reversed = list;
    list = rest;
  }
  return reversed;
}

class coroutine_waiter : public waiter {
public:
  coroutine_waiter() noexcept : waiter(&resume_soon) {}

  // Set by await_suspend before the node is published. Without one it is no coroutine but a step of
  // an awaiter, on a flat stack: in its turn wake() is called again.
  std::coroutine_handle<> continuation;

  static void resume_soon(waiter& self) noexcept;  // by the trampoline

protected:
  explicit coroutine_waiter(wake_function function) noexcept : waiter(function) {}
};

// Returns: an address that no other thread has. Out of line: a coroutine may change threads.
[[gnu::noinline]] inline const void* this_thread() noexcept {
  thread_local const char here = 0;
  return &here;
}

// The coroutines that this thread has to resume, oldest first.
// Its entry points are out of line: the address of a thread_local must be taken anew on each
// thread, and a coroutine may change threads between two calls.
class trampoline {
public:
  // Effects: resumes the coroutine on this thread: at once if none is being resumed here, else
  //          after the ones that are.
  [[gnu::noinline]] static void resume(coroutine_waiter& ready) noexcept {
    trampoline& here = of_this_thread();
    ready.next = nullptr;
    if (here.first_ == nullptr) {
      here.first_ = &ready;
    } else {
      here.last_->next = &ready;
    }
    here.last_ = &ready;
    if (!here.running_) here.drain();
  }

  // Effects: as resume(), but before the coroutines that are ready already. Calls and returns
  //          between coroutines go this way: the last one in is the next one out.
  [[gnu::noinline]] static void resume_next(coroutine_waiter& ready) noexcept {
    trampoline& here = of_this_thread();
    ready.next = here.first_;
    if (here.first_ == nullptr) here.last_ = &ready;
    here.first_ = &ready;
    if (!here.running_) here.drain();
  }

  // Effects: resumes the coroutines that are ready on this thread and those that they make ready,
  //          even if called by one of them: for a thread that is about to block.
  [[gnu::noinline]] static void run_ready() noexcept { of_this_thread().drain(); }

  // Effects: calls wake(); the coroutines that it wakes get ready and go on when it is done. For
  //          whoever wakes a whole list: otherwise the first one runs before the others, and the
  //          threads among them, are woken, and may end a waiter that is still in the list.
  template <class F>
  [[gnu::noinline]] static void together(F wake) noexcept {
    trampoline& here = of_this_thread();
    const bool nested = std::exchange(here.running_, true);
    wake();
    if (!nested) here.drain();
    here.running_ = nested;
  }

  // Effects: takes back a coroutine that is ready on this thread, for one that is destroyed before
  //          its turn. No effect if it is not among them. Complexity: the coroutines before it.
  // Returns: true if it was among them, or an executor has dropped it: nobody resumes it.
  [[gnu::noinline]] static bool forget(coroutine_waiter& gone) noexcept {
    if (gone.dropped) return true;
    trampoline& here = of_this_thread();
    waiter* before = nullptr;
    waiter** at = &here.first_;
    while (*at != nullptr && *at != &gone) at = &(before = *at)->next;
    if (*at == nullptr) return false;
    *at = gone.next;
    if (here.last_ == &gone) here.last_ = before;
    return true;
  }

private:
  static trampoline& of_this_thread() noexcept {
    thread_local trampoline instance;
    return instance;
  }

  void drain() noexcept {
    const bool nested = running_;
    running_ = true;
    while (first_ != nullptr) {
      auto& ready = static_cast<coroutine_waiter&>(*first_);
      first_ = ready.next;
      ready.continuation ? ready.continuation.resume() : ready.wake();  // it may be gone now
    }
    running_ = nested;
  }

  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
  bool running_ = false;
};

inline void coroutine_waiter::resume_soon(waiter& self) noexcept {
  trampoline::resume(static_cast<coroutine_waiter&>(self));
}

// Effects: wakes every node of the list, first to last. Coroutines go on after the last wake-up.
inline void wake_all(waiter* list) noexcept {
  trampoline::together([list]() mutable noexcept {
    while (list != nullptr) std::exchange(list, list->next)->wake();
  });
}

class thread_waiter : public waiter {
public:
  thread_waiter() noexcept : waiter(&signal) {}

  // Effects: blocks until wake(); with `times`, until so many nodes that stand for this thread were
  //          woken. What the wakers did before is visible afterwards.
  void wait(std::uint32_t times = 1) noexcept {
    for (unsigned round = 0;; ++round) {
      const std::uint32_t signals = seen();
      if (signals >= times) return;
      if (round < spin_rounds) {
        spin_hint(round);
      } else {
        park(word_, signals);
      }
    }
  }

  // Effects: as wait(), but not past the deadline.
  // Returns: false when the deadline has passed; wake() may still come.
  bool wait_until(std::chrono::steady_clock::time_point deadline) noexcept {
    bool in_time = true;
    for (unsigned round = 0; seen() == 0; ++round) {
      if (!in_time) return false;
      if (round < spin_rounds) {
        spin_hint(round);
      } else {
        in_time = park_until(word_, 0, deadline);
      }
    }
    return true;
  }

  // Returns: what holds the wake-ups so far.
  const park_word& wakes() const noexcept { return word_; }

private:
  std::uint32_t seen() const noexcept {
    // order: acquire [thread_waiter.wait] pairs with [thread_waiter.signal]: sees what the waker did
    return word_.load(std::memory_order_acquire);
  }

  static void signal(waiter& self) noexcept {
    park_word& word = static_cast<thread_waiter&>(self).word_;
    const park_word* const address = &word;
    // order: release [thread_waiter.signal] pairs with [thread_waiter.wait]: publishes what came before wake()
    word.fetch_add(1, std::memory_order_release);
    // The node may be gone from here on; unpark uses its address only.
    unpark_one(address);
  }

  park_word word_{0};  // the wake-ups so far
};

}  // namespace interlock::detail
