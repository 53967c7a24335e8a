// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/waiting.hpp - the awaiter of everything that is awaited.
//
// A primitive writes a place: what to do when the coroutine comes and when it leaves. waiting<>
// adds what is the same everywhere: ends (a stop token, a deadline) and how the coroutine resumes.
//
//   class place : public coroutine_waiter {        // all of it noexcept, but for finish()
//     using request = ...;                         // what the call said: small, copied
//     place(const request&, wake_function);
//     request what() const;     // the same, for a copy that has not been awaited
//     ~place();                 // a frame that is destroyed while it waits: leaves, or passes on
//     bool try_now();           // true: need not wait. Asked first when the wait has ends
//     bool suspend();           // true: listed; wake() comes, or came: touch nothing any more
//                               // false: `status` says how it ended, and `ended` is set since the
//                               // decision (locked::settle), or a late end would overwrite it
//     void end(wait_status);    // on any thread, also before and during suspend(), not when wake()
//                               // has returned: keeps the coroutine out of the list (`ended`) and,
//                               // if it is in, wakes it, with this `status`; this may be gone then
//     auto finish();            // the result of co_await, from `status`
//     void comes_from(std::coroutine_handle<Promise>);  // optional, may throw: who is coming
//     static constexpr bool never_inline = true;   // optional: wake() comes where that would harm
//     static constexpr bool owns = true;           // optional: what it acquired keeps the object
//   };                                             // alive, so that an end may be late
//
// Who decides: whoever takes the node off the list. An end that comes too late does nothing. wake()
// lets go of the ends that did not call it, and waits for a call on another thread: so whoever has
// woken all may destroy the object, even if a coroutine goes on much later. The end that did is let
// go by the coroutine, which waits for its call: what that touches behind wake() is still there. So
// are all ends of one that owns: who unlocks should not wait for a call that lets others in.

#include <coroutine>
#include <memory>
#include <new>
#include <tuple>
#include <utility>

#include "../executor.hpp"
#include "../timer.hpp"
#include "../wait_status.hpp"
#include "stoppable.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Ends a wait when the token is asked to stop; before it began if it was asked before.
template <stop_token_like Token>
struct stop_end {
  template <class F>
  using registration = typename stop_callback_of<Token, F>::type;
  static constexpr wait_status why = wait_status::cancelled;

  bool due() const noexcept { return token.stop_requested(); }
  template <class F>
  registration<F> arm(F f) {
    return registration<F>(std::move(token), f);  // a copy would count references
  }

  Token token;
};

// Ends a wait at a time of the timer. A deadline that has passed lets the coroutine try once.
template <timer Timer>
struct deadline_end {
  template <class F>
  using registration = typename Timer::template alarm<F>;
  static constexpr wait_status why = wait_status::timed_out;

  bool due() const noexcept { return false; }
  template <class F>
  registration<F> arm(F f) {
    return registration<F>(*timer, deadline, f);
  }

  Timer* timer;
  typename Timer::time_point deadline;
};

// How a coroutine that is woken goes on: by the trampoline of the waking thread, inside wake(), or
// where an executor puts it. The executor's thread has its trampoline at work meanwhile: what the
// coroutine lets in goes on when it suspends, not inside it. An executor that throws did not take
// the coroutine, which then goes on by the trampoline here.
struct by_trampoline {
  template <class>
  static void go_on(waiter& self) noexcept {
    coroutine_waiter::resume_soon(self);
  }
};
struct in_place {
  template <class>
  static void go_on(waiter& self) noexcept {
    static_cast<coroutine_waiter&>(self).continuation.resume();
  }
};

// What an executor is given that moves it and never copies it. Destroyed instead of called, with
// the executor's context say, it leaves the coroutine suspended, which may be destroyed then.
class resumption {
public:
  explicit resumption(coroutine_waiter& node) noexcept : node_(&node) {}
  resumption(resumption&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  resumption& operator=(resumption&&) = delete;
  ~resumption() {
    if (node_ != nullptr) node_->dropped = true;
  }
  void operator()() noexcept {
    const std::coroutine_handle<> continuation = std::exchange(node_, nullptr)->continuation;
    trampoline::together([continuation] { continuation.resume(); });
  }

private:
  coroutine_waiter* node_;
};

// `Executor` is what is kept of one: see executor.hpp.
template <class Executor, bool Moves>
struct by_executor {
  template <class Waiting>
  static void go_on(waiter& node) noexcept {
    auto& self = static_cast<Waiting&>(static_cast<coroutine_waiter&>(node));
    // The frame, and what is in it, may be gone before the executor returns.
    Executor executor = std::move(self.by_executor::executor_);
#if defined(__cpp_exceptions)
    try {
      hand_on(executor, self);
    } catch (...) {
      node.dropped = false;
      coroutine_waiter::resume_soon(node);
    }
#else
    hand_on(executor, self);
#endif
  }

  static void hand_on(Executor& executor, coroutine_waiter& node) {
    if constexpr (Moves) {
      hand_to(executor, resumption(node));
    } else {
      hand_to(executor, [continuation = node.continuation]() noexcept {
        trampoline::together([continuation] { continuation.resume(); });
      });
    }
  }

  Executor executor_;
};

// What an end calls.
template <class Place, wait_status Why>
struct end_with {
  Place* place;
  void operator()() const noexcept { place->end(Why); }  // it and this may be gone behind
};

// An end, and from await_suspend to await_resume its registration in the same place.
template <class Place, class End>
class armed_end {
  using call = end_with<Place, End::why>;
  using registration = typename End::template registration<call>;

public:
  explicit armed_end(End given) : end_(std::move(given)) {}
  armed_end(armed_end&& other) : end_(std::move(other.end_)) {}  // not armed yet
  armed_end& operator=(armed_end&&) = delete;
  ~armed_end() {
    disarm();
    if (holds_ == what::end) std::destroy_at(&end_);
  }

  const End& end() const noexcept { return end_; }
  bool due(waiter& node) const noexcept {
    if (!end_.due()) return false;
    node.status = End::why;
    return true;
  }
  void arm(Place& place) {
    End end(std::move(end_));
    std::destroy_at(&end_);
    holds_ = what::nothing;
    ::new (static_cast<void*>(&registration_)) registration(end.arm(call{&place}));
    holds_ = what::registration;
  }
  void disarm() noexcept {
    if (holds_ != what::registration) return;
    holds_ = what::nothing;
    std::destroy_at(&registration_);
  }
  void disarm_unless(wait_status how) noexcept {
    if (End::why != how) disarm();
  }

private:
  enum class what : unsigned char { end, registration, nothing };

  union {
    End end_;
    registration registration_;
  };
  what holds_ = what::end;
};

// All of them bases: then those that are empty take no room.
template <class Place, class Resumption, class... Ends>
class [[nodiscard("write co_await")]] waiting : private Place,
                                                private Resumption,
                                                private std::tuple<armed_end<Place, Ends>...> {
  using request = typename Place::request;

  template <class Promise>
  static constexpr bool asks_who =
      requires(Place& place, std::coroutine_handle<Promise> self) { place.comes_from(self); };

public:
  explicit waiting(const request& what, Resumption resumption = {}, Ends... ends)
      : Place(what, &go_on),
        Resumption(std::move(resumption)),
        std::tuple<armed_end<Place, Ends>...>(std::move(ends)...) {}
  // Preconditions: not awaited yet. For coroutine types whose await_transform passes it on, where
  // GCC 12 moves it into the frame, and for those who take an awaitable by value, such as senders.
  waiting(waiting&& other)
      : Place(other.what(), &go_on),
        Resumption(static_cast<Resumption&&>(other)),
        std::tuple<armed_end<Place, Ends>...>(std::move(other.ends())) {}
  waiting& operator=(waiting&&) = delete;

  // Effects: instead, the coroutine resumes where the executor runs what it is given.
  // Preconditions: not awaited yet.
  template <executor Executor>
  auto resume_on(Executor&& on) && {
    using kept = kept_executor<Executor>;
    using by = by_executor<typename kept::type, kept::moves>;
    return again(by{kept::of(std::forward<Executor>(on))});
  }
  // Effects: instead, the coroutine resumes inside the call that lets it in.
  auto resume_inline() &&
    requires(!requires { Place::never_inline; })
  {
    return again(in_place{});
  }

  bool await_ready() noexcept {
    if constexpr (sizeof...(Ends) == 0) {
      return false;  // suspend() looks and lists in one go
    } else {
      constexpr bool first = requires { Place::looks_first; };  // else it takes nothing late
      if (first && Place::try_now()) return true;
      return std::apply([&](auto&... each) { return (each.due(*this) || ...); }, ends()) ||
             (!first && Place::try_now());
    }
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> self) {
    this->continuation = self;
    if constexpr (asks_who<Promise>) Place::comes_from(self);
    // An end that is due ends it here: then suspend() lists nothing. What arm() throws, as what
    // comes_from() does, leaves a place that is in no list.
    std::apply([&](auto&... each) { (each.arm(*this), ...); }, ends());
    return Place::suspend();
  }
  decltype(auto) await_resume() noexcept(noexcept(std::declval<Place&>().finish())) {
    std::apply([](auto&... each) { (each.disarm(), ...); }, ends());
    return Place::finish();
  }

private:
  template <class, bool>
  friend struct by_executor;

  // What wake() does.
  static void go_on(waiter& node) noexcept {
    if constexpr (sizeof...(Ends) != 0) {
      auto& self = static_cast<waiting&>(static_cast<coroutine_waiter&>(node));
      const bool owns = requires { Place::owns; } && node.status == wait_status::acquired;
      if (!owns) {
        std::apply([&](auto&... each) { (each.disarm_unless(node.status), ...); }, self.ends());
      }
    }
    Resumption::template go_on<waiting>(node);
  }

  std::tuple<armed_end<Place, Ends>...>& ends() noexcept { return *this; }

  template <class Other>
  auto again(Other other) {
    return std::apply(
        [&](const auto&... each) {
          return waiting<Place, Other, Ends...>(Place::what(), std::move(other), each.end()...);
        },
        ends());
  }
};

}  // namespace interlock::detail
