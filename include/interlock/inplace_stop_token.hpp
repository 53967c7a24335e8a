// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/inplace_stop_token.hpp - call off what waits, from any thread, without an allocation.
//
// Problem     std::stop_source allocates, std::stop_callback costs more than a whole uncontended
//             lock, and libc++ has neither without a flag.
// Guarantee   A callback is called once if the stop is requested and never otherwise.
//             A callback that is registered after the request is called by its constructor.
//             A destroyed callback is not running on another thread.
//             A callback may destroy itself.
//             A coroutine that a callback wakes goes on after the last callback has returned.
//             What was done before the request is visible to whoever sees it.
// Progress    stop_requested: wait-free. The others: a few instructions in turn with each other;
//             ~inplace_stop_callback waits for its callback if another thread is calling it.
// Cost        40 bytes a source; 32 a callback and what it calls. To register and
//             to unregister: one compare-and-swap each.
// Lifetime    The source must outlive its callbacks and the return of request_stop(). Tokens are
//             pointers to it.
// Not for     A source that may be gone before its tokens (std::stop_source shares its state).
//
// Example     inplace_stop_source stop;                   // examples/inplace_stop_token.cpp
//             const inplace_stop_callback bell(stop.get_token(), [] { std::puts("stopped"); });
//             stop.request_stop();  // calls it; false from the second request on

#include <atomic>
#include <concepts>
#include <type_traits>
#include <utility>

#include "detail/callback_turn.hpp"
#include "detail/ring.hpp"
#include "detail/waiter.hpp"

namespace interlock {

template <class CallbackFn>
class inplace_stop_callback;
class inplace_stop_token;

namespace detail {

// What a source knows of a callback.
struct stop_registration {
  using call_function = void (*)(stop_registration&) noexcept;

  explicit stop_registration(call_function function) noexcept : call(function) {}

  stop_registration* next = nullptr;
  stop_registration* previous = nullptr;
  call_function call;
};

}  // namespace detail

// The names and the meaning are those of C++26, <stop_token>.
class inplace_stop_source {
public:
  constexpr inplace_stop_source() noexcept = default;
  inplace_stop_source(const inplace_stop_source&) = delete;
  inplace_stop_source& operator=(const inplace_stop_source&) = delete;
  // Preconditions: no callback is registered.
  ~inplace_stop_source() {
    callbacks_.expect_empty("~inplace_stop_source: a callback is registered; destroy it before");
  }

  [[nodiscard]] constexpr inplace_stop_token get_token() const noexcept;
  [[nodiscard]] static constexpr bool stop_possible() noexcept { return true; }

  [[nodiscard]] bool stop_requested() const noexcept {
    // order: acquire [stop_source.requested] pairs with [stop_source.request]: sees what was done before the request
    return requested_.load(std::memory_order_acquire);
  }

  // Effects: the first call calls the callbacks on this thread, in the order in which they
  //          were registered. Coroutines that they wake are resumed here after the last of them.
  // Returns: true if it is the first call.
  bool request_stop() noexcept {
    detail::stop_registration* first = nullptr;
    if (!begin(first)) return false;
    if (first != nullptr) {
      detail::trampoline::together([this, first]() noexcept { call_all(first); });
    }
    return true;
  }

private:
  template <class>
  friend class inplace_stop_callback;
  using registrations = detail::guarded_ring<detail::stop_registration>;

  bool begin(detail::stop_registration*& first) noexcept {
    registrations::locked listed(callbacks_);
    // order: relaxed: written under the lock alone
    if (requested_.load(std::memory_order_relaxed)) return false;
    // order: release [stop_source.request] pairs with [stop_source.requested]: publishes what was done before the request
    requested_.store(true, std::memory_order_release);
    first = take_first(listed);
    return true;
  }
  [[gnu::noinline]] void call_all(detail::stop_registration* each) noexcept {
    while (each != nullptr) {
      each->call(*each);  // it may be gone now
      detail::waiter* leaver = nullptr;
      each = next(leaver);
      if (leaver != nullptr) leaver->wake();
    }
  }
  detail::stop_registration* next(detail::waiter*& leaver) noexcept {
    registrations::locked listed(callbacks_);
    leaver = turn_.end();
    return take_first(listed);
  }
  detail::stop_registration* take_first(registrations::locked& listed) noexcept {
    if (listed.empty()) return nullptr;
    detail::stop_registration& first = listed.pop_front();
    turn_.begin(&first);
    return &first;
  }

  // Returns: false if the stop has been requested.
  bool add(detail::stop_registration& callback) noexcept {
    registrations::locked listed(callbacks_);
    // order: relaxed: written under the lock alone
    if (requested_.load(std::memory_order_relaxed)) return false;
    listed.push_back(callback);
    return true;
  }
  void remove(detail::stop_registration& callback) noexcept {
    if (!registrations::locked(callbacks_).remove(callback)) wait_for(callback);
  }
  [[gnu::noinline]] void wait_for(detail::stop_registration& callback) noexcept {
    detail::thread_waiter self;
    {
      const registrations::locked listed(callbacks_);
      if (!turn_.must_wait(&callback, self)) return;
    }
    self.wait();
  }

  registrations callbacks_;
  std::atomic<bool> requested_{false};
  detail::callback_turn turn_;  // under the lock of callbacks_
};

// A pointer to a source, or null: then no stop is possible.
class inplace_stop_token {
public:
  template <class CallbackFn>
  using callback_type = inplace_stop_callback<CallbackFn>;

  constexpr inplace_stop_token() noexcept = default;
  friend constexpr bool operator==(const inplace_stop_token&,
                                   const inplace_stop_token&) noexcept = default;

  [[nodiscard]] bool stop_requested() const noexcept {
    return source_ != nullptr && source_->stop_requested();
  }
  [[nodiscard]] constexpr bool stop_possible() const noexcept { return source_ != nullptr; }
  constexpr void swap(inplace_stop_token& other) noexcept { std::swap(source_, other.source_); }
  friend constexpr void swap(inplace_stop_token& a, inplace_stop_token& b) noexcept { a.swap(b); }

private:
  friend inplace_stop_source;
  template <class>
  friend class inplace_stop_callback;
  constexpr explicit inplace_stop_token(const inplace_stop_source& source) noexcept
      : source_(&source) {}

  const inplace_stop_source* source_ = nullptr;
};

// Registered as long as it lives.
template <class CallbackFn>
class inplace_stop_callback : private detail::stop_registration {
  static_assert(std::invocable<CallbackFn>, "interlock::inplace_stop_callback calls f()");

public:
  using callback_type = CallbackFn;

  // Effects: if the stop has been requested, calls the callback; else request_stop() will.
  //          A callback that throws ends the program.
  template <class Initializer>
    requires std::constructible_from<CallbackFn, Initializer>
  explicit inplace_stop_callback(inplace_stop_token token, Initializer&& initializer) noexcept(
      std::is_nothrow_constructible_v<CallbackFn, Initializer>)
      : stop_registration(&call_this),
        callback_(std::forward<Initializer>(initializer)),
        source_(const_cast<inplace_stop_source*>(token.source_)) {
    if (source_ == nullptr || source_->add(*this)) return;
    source_ = nullptr;
    call_this(*this);
  }
  inplace_stop_callback(const inplace_stop_callback&) = delete;
  inplace_stop_callback& operator=(const inplace_stop_callback&) = delete;
  // Effects: unregisters the callback. If another thread is calling it, waits until it returns.
  ~inplace_stop_callback() {
    if (source_ != nullptr) source_->remove(*this);
  }

private:
  static void call_this(stop_registration& self) noexcept {
    std::forward<CallbackFn>(static_cast<inplace_stop_callback&>(self).callback_)();
  }

  CallbackFn callback_;
  inplace_stop_source* source_;
};

template <class CallbackFn>
inplace_stop_callback(inplace_stop_token, CallbackFn) -> inplace_stop_callback<CallbackFn>;

constexpr inplace_stop_token inplace_stop_source::get_token() const noexcept {
  return inplace_stop_token(*this);
}

}  // namespace interlock
