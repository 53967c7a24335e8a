// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/tracked_async_mutex.hpp - an async_mutex that knows its owner and reports deadlocks.
//
// Problem     A coroutine that locks what it owns, or two that lock in opposite orders, stand still
//             for good, without a word; or one day, under load.
// Guarantee   A lock of what the caller owns is reported before it waits. A circle of waits is
//             reported when it closes with what each party holds and asks for. Two orders are
//             reported once even if no deadlock happens. A tracked mutex waits and answers as an
//             async_mutex does. A guard that moved is held against nobody.
// Progress    As async_mutex; but all tracked mutexes of the process share one lock, held while the
//             graph is searched.
// Cost        For debug builds: some hundred bytes, allocations, two to four sections of that lock
//             for each lock and unlock. A build that uses async_mutex pays nothing.
// Lifetime    As async_mutex. A program that lends a guard to others by reference, instead of
//             moving it, looks like one that waits for itself.
// Resumes on  As async_mutex.
// Cancellation As async_mutex.
// Not for     Release builds. Coroutines that own by try_lock, unless a lock_owner says who it is.
//
// Example     constexpr bool debug = true;               // examples/tracked_async_mutex.cpp
//             using my_mutex = std::conditional_t<debug, interlock::tracked_async_mutex,
//                                                 interlock::async_mutex>;
//             struct account {
//               explicit account(const char* name) : door(named<my_mutex>(name)) {}
//               my_mutex door;

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <mutex>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "async_mutex.hpp"
#include "detail/lock_graph.hpp"
#include "detail/lock_parties.hpp"
#include "detail/tracked_operations.hpp"
#include "lock_owner.hpp"
#include "lock_report.hpp"

namespace interlock {

namespace detail {

template <bool Leaves>
class tracked_place;

}  // namespace detail

// Each operation is that of async_mutex, and reports. See there.
class tracked_async_mutex : public detail::tracked_operations<tracked_async_mutex> {
  using where = std::source_location;

public:
  class guard;
  class owned;  // what lock_owner::at() gives

  // The name is for reports; without one it is where the mutex was made.
  tracked_async_mutex(where made = where::current()) : tracked_async_mutex(name_of(made)) {}
  explicit tracked_async_mutex(std::string name) { enroll(std::move(name)); }
  explicit tracked_async_mutex(max_waiters bound, where made = where::current())
      : tracked_async_mutex(name_of(made), bound) {}
  tracked_async_mutex(std::string name, max_waiters bound) : plain_(bound), bounded_(true) {
    enroll(std::move(name));
  }
  tracked_async_mutex(const tracked_async_mutex&) = delete;
  tracked_async_mutex& operator=(const tracked_async_mutex&) = delete;
  // Effects: reports if the mutex is owned or waited for; then async_mutex ends the program.
  ~tracked_async_mutex() {
    detail::lock_graph::instance().destroy(node_, plain_.held() || plain_.waiters_approx() != 0);
  }

  void close() noexcept {
    detail::lock_graph::instance().close(node_);
    plain_.close();
  }
  [[nodiscard]] bool closed() const noexcept { return plain_.closed(); }
  [[nodiscard]] bool held() const noexcept { return plain_.held(); }
  [[nodiscard]] std::size_t waiters_approx() const noexcept { return plain_.waiters_approx(); }

  [[nodiscard]] const std::string& name() const noexcept { return node_.name; }
  // Effects: for lock_all, which has locked it and all others.
  void kept_by_all() noexcept { detail::lock_graph::instance().kept(node_); }
  [[nodiscard]] owned as_owner(const lock_owner& owner) noexcept;

private:
  template <class>
  friend class detail::tracked_operations;
  template <bool>
  friend class detail::tracked_place;
  template <class Plain>
  class awaiting;

  static std::string name_of(const where& made);
  void enroll(std::string name);

  tracked_async_mutex& target() noexcept { return *this; }
  const lock_owner* asker() const noexcept { return nullptr; }

  guard try_lock_by(const lock_owner* owner, const where& at);
  template <class Make>
  auto awaiting_of(const lock_owner* owner, detail::wait_end end, const where& at, Make make);
  template <class Make>
  guard block(const lock_owner* owner, detail::wait_end end, const where& at, Make make);
  guard received(async_mutex::guard got, detail::lock_wait& wait) noexcept;
  detail::wait_end end_of(detail::wait_end given) const noexcept {
    return given == detail::wait_end::never && bounded_ ? detail::wait_end::refusal : given;
  }

  detail::tracked_lock node_;
  async_mutex plain_;
  bool bounded_ = false;
};

// As async_mutex::guard. A guard that is moved or swapped is nobody's in particular from then on:
// it may be on its way to whom one cannot see. A lock_owner can take it over.
class [[nodiscard("the guard unlocks when it is destroyed")]] tracked_async_mutex::guard {
public:
  guard() = default;
  // Effects: takes over what a guard released. If none did, reports it and owns nothing.
  guard(tracked_async_mutex & held, std::adopt_lock_t, where at = where::current()) noexcept {
    if (!graph().adopt(held.node_, detail::thread_at(detail::this_thread()), at)) return;
    plain_ = async_mutex::guard(held.plain_, std::adopt_lock);
    mutex_ = &held;
  }
  guard(guard && other) noexcept : plain_(std::move(other.plain_)), mutex_(other.mutex_) {
    moved();
  }
  guard& operator=(guard&& other) noexcept {
    guard(std::move(other)).swap(*this);
    return *this;
  }
  ~guard() {
    letting_go();
  }

  void unlock() noexcept {
    letting_go();
    plain_.unlock();
  }
  [[nodiscard("adopt it in another guard")]] tracked_async_mutex* release() noexcept {
    tracked_async_mutex* const held = mutex();
    if (held != nullptr) graph().loosen(held->node_);
    static_cast<void>(plain_.release());
    return held;
  }

  // Effects: as release(), for lock_all, which is still the owner.
  void release_to_all() noexcept {
    if (mutex() != nullptr) graph().keep(mutex_->node_);
    static_cast<void>(plain_.release());
  }

  [[nodiscard]] tracked_async_mutex* mutex() const noexcept {
    return plain_.mutex() != nullptr ? mutex_ : nullptr;
  }
  [[nodiscard]] bool owns_lock() const noexcept {
    return plain_.owns_lock();
  }
  explicit operator bool() const noexcept {
    return owns_lock();
  }
  [[nodiscard]] wait_status status() const noexcept {
    return plain_.status();
  }

  // Effects: what this guard owns is that owner's, or that coroutine's.
  void belongs_to(const lock_owner& owner) const {
    give(detail::party_of(owner));
  }
  void belongs_to(std::coroutine_handle<> frame) const {
    give(detail::party_of_frame(frame.address()));
  }

  // Returns: the guard inside, for async_condition, which unlocks it and locks it again. As after a
  //          move, nobody in particular owns the mutex from then on.
  operator async_mutex::guard&() noexcept {
    moved();
    return plain_;
  }

  void swap(guard & other) noexcept {
    plain_.swap(other.plain_);
    std::swap(mutex_, other.mutex_);
    moved();
    other.moved();
  }
  friend void swap(guard & a, guard & b) noexcept {
    a.swap(b);
  }

private:
  friend tracked_async_mutex;

  guard(async_mutex::guard got, tracked_async_mutex & mutex) noexcept
      : plain_(std::move(got)), mutex_(&mutex) {}

  static detail::lock_graph& graph() noexcept {
    return detail::lock_graph::instance();
  }
  void give(const detail::lock_party& to) const {
    if (mutex() != nullptr) graph().give(mutex_->node_, to);
  }
  void moved() noexcept {
    if (mutex() != nullptr) graph().move(mutex_->node_);
  }
  void letting_go() noexcept {
    if (mutex() != nullptr) graph().let_go(mutex_->node_);
  }

  async_mutex::guard plain_;
  tracked_async_mutex* mutex_ = nullptr;  // of plain_; stays when it lets go
};

class tracked_async_mutex::owned : public detail::tracked_operations<owned> {
private:
  template <class>
  friend class detail::tracked_operations;
  friend tracked_async_mutex;

  owned(tracked_async_mutex& mutex, const lock_owner& owner) noexcept
      : mutex_(mutex), owner_(owner) {}
  tracked_async_mutex& target() noexcept { return mutex_; }
  const lock_owner* asker() const noexcept { return &owner_; }

  tracked_async_mutex& mutex_;
  const lock_owner& owner_;
};

// Returns: a mutex of that name; of a type that has no names, one without.
template <class Mutex, class... Args>
[[nodiscard]] Mutex named(const char* name, Args... args) {
  if constexpr (std::is_constructible_v<Mutex, const char*, Args...>) {
    return Mutex(name, std::move(args)...);
  } else {
    return Mutex(std::move(args)...);
  }
}

// ------------------------------------------------------------------------------------------------
// The awaiter is that of async_mutex. In front of it the coroutine says what it asks for; behind it
// what it got. In between it is in no hand of ours: it may be gone once it is suspended.

template <class Plain>
class [[nodiscard("write co_await")]] tracked_async_mutex::awaiting {
public:
  template <class Make>
  awaiting(tracked_async_mutex & mutex, const lock_owner* owner, detail::wait_end end,
           const where& at, Make make)
      : mutex_(mutex), owner_(owner), plain_(make(mutex.plain_)) {
    wait_.at = at;
    wait_.end = mutex.end_of(end);
  }
  // Preconditions: not awaited yet.
  awaiting(awaiting && other)
      : mutex_(other.mutex_), owner_(other.owner_), plain_(std::move(other.plain_)) {
    wait_.at = other.wait_.at;
    wait_.end = other.wait_.end;
  }
  awaiting& operator=(awaiting&&) = delete;
  ~awaiting() {
    if (asked_) detail::lock_graph::instance().end(wait_);
  }

  template <executor Executor>
  auto resume_on(Executor&& on)&& {
    return again([&](auto&&) { return std::move(plain_).resume_on(std::forward<Executor>(on)); });
  }
  auto resume_inline()&& {
    return again([&](auto&&) { return std::move(plain_).resume_inline(); });
  }

  bool await_ready() const noexcept {
    return false;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> self) {
    wait_.chain = detail::chain_of(owner_, self);
    if (plain_.await_ready()) return false;
    asked_ = true;
    detail::lock_graph::instance().ask(wait_, mutex_.node_);
    return plain_.await_suspend(self);
  }
  guard await_resume() noexcept {
    return mutex_.received(plain_.await_resume(), wait_);
  }

private:
  template <class Make>
  auto again(Make make) {
    using other = decltype(make(mutex_.plain_));
    return awaiting<other>(mutex_, owner_, wait_.end, wait_.at, make);
  }

  tracked_async_mutex& mutex_;
  const lock_owner* owner_;
  bool asked_ = false;
  detail::lock_wait wait_;
  Plain plain_;
};

inline std::string tracked_async_mutex::name_of(const where& made) {
  return "mutex made at " + detail::place_of(made);
}

inline void tracked_async_mutex::enroll(std::string name) {
  node_.name = std::move(name);
  detail::lock_graph::instance().enroll(node_);
}

inline tracked_async_mutex::owned tracked_async_mutex::as_owner(const lock_owner& owner) noexcept {
  return owned(*this, owner);
}

inline tracked_async_mutex::guard tracked_async_mutex::try_lock_by(const lock_owner* owner,
                                                                   const where& at) {
  async_mutex::guard got = plain_.try_lock();
  if (got.mutex() != nullptr) {
    detail::lock_graph::instance().take_at_once(
        node_,
        owner != nullptr ? detail::party_of(*owner) : detail::thread_at(detail::this_thread()), at);
  }
  return guard(std::move(got), *this);
}

template <class Make>
auto tracked_async_mutex::awaiting_of(const lock_owner* owner, detail::wait_end end,
                                      const where& at, Make make) {
  return awaiting<decltype(make(plain_))>(*this, owner, end, at, make);
}

template <class Make>
tracked_async_mutex::guard tracked_async_mutex::block(const lock_owner* owner, detail::wait_end end,
                                                      const where& at, Make make) {
  struct asking : detail::lock_wait {
    ~asking() { detail::lock_graph::instance().end(*this); }
  } wait;
  wait.chain = detail::chain_of(owner);
  wait.at = at;
  wait.end = end_of(end);
  detail::lock_graph::instance().ask(wait, node_);
  return received(make(plain_), wait);
}

// Returns: our guard for the plain one. If that owns nothing the mutex may be gone by now.
inline tracked_async_mutex::guard tracked_async_mutex::received(async_mutex::guard got,
                                                                detail::lock_wait& wait) noexcept {
  if (got.mutex() != nullptr) {
    detail::lock_graph::instance().take(wait, node_);
  } else {
    detail::lock_graph::instance().end(wait);
  }
  return guard(std::move(got), *this);
}

namespace detail {

// How lock_all waits for one of several: as for an async_mutex, but says so.
template <bool Leaves>
class tracked_place : public mutex_place<Leaves> {
public:
  tracked_place(tracked_async_mutex* mutex, waiter::wake_function function) noexcept
      : mutex_place<Leaves>(&mutex->plain_, &woken), mutex_(*mutex), function_(function) {
    wait_.end = mutex->end_of(Leaves ? wait_end::stop : wait_end::never);
  }
  ~tracked_place() { lock_graph::instance().end(wait_); }

  void asked_by(std::coroutine_handle<> frame) {
    wait_.chain.assign(1, party_of_frame(frame.address()));
  }
  bool suspend() noexcept {
    lock_graph::instance().ask(wait_, mutex_.node_);
    if (mutex_place<Leaves>::suspend()) return true;  // this may be gone
    over();
    return false;
  }

private:
  static void woken(waiter& node) noexcept {
    auto& self = static_cast<tracked_place&>(static_cast<coroutine_waiter&>(node));
    self.over();
    self.function_(node);
  }
  void over() noexcept {
    if (this->status == wait_status::acquired) {
      lock_graph::instance().take(wait_, mutex_.node_);
      lock_graph::instance().keep(mutex_.node_);
    } else {
      lock_graph::instance().end(wait_);
    }
  }

  tracked_async_mutex& mutex_;
  waiter::wake_function function_;
  lock_wait wait_;
};

// See lock_all.hpp.
template <class Mutex, bool Leaves>
struct lock_place_of;
template <bool Leaves>
struct lock_place_of<tracked_async_mutex, Leaves> {
  using type = tracked_place<Leaves>;
};

}  // namespace detail

}  // namespace interlock
