// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/stoppable.hpp - an awaiter that also ends when it is told to stop, from any
// thread: by std::stop_token where there is one, or by a token of the same kind.
//
// The awaiter has stop() and outcome() besides what co_await asks for. stop() and whoever
// resumes the coroutine agree on who does (see coroutine_place), and the callback is gone before
// the coroutine goes on: its destructor waits for a callback that runs on another thread.

#include <version>

#include <concepts>
#include <coroutine>
#include <optional>
#include <utility>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace interlock::detail {

template <class Token, class F>
struct stop_callback_of {
  using type = typename Token::template callback_type<F>;
};
#if defined(__cpp_lib_jthread)
template <class F>
struct stop_callback_of<std::stop_token, F> {
  using type = std::stop_callback<F>;
};
#endif

// std::stop_token, or what has stop_requested() and a callback_type<F> that is constructed from the
// token and an F, calls it once the stop is requested, and in its destructor waits for that call if
// another thread is at it: the stoppable_token of C++26.
template <class Token>
concept stop_token_like = std::copy_constructible<Token> && requires(const Token& token) {
  { token.stop_requested() } -> std::convertible_to<bool>;
  typename stop_callback_of<Token, void (*)()>::type;
};

template <class Awaiter, stop_token_like Token>
class [[nodiscard("write co_await")]] stoppable : private Awaiter {
public:
  template <class... Args>
  explicit stoppable(Token token, const Args&... args) noexcept
      : Awaiter(args...), token_(std::move(token)) {}

  bool await_ready() const noexcept {
    return Awaiter::await_ready() || token_.stop_requested();
  }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    callback_.emplace(token_, on_stop{this});  // may call it at once: then it is not suspended
    return Awaiter::await_suspend(self);
  }
  auto await_resume() {
    callback_.reset();
    return Awaiter::outcome();
  }

private:
  struct on_stop {
    stoppable* self;
    void operator()() const noexcept { self->stop(); }  // it and this may be gone behind
  };

  Token token_;
  std::optional<typename stop_callback_of<Token, on_stop>::type> callback_;
};

}  // namespace interlock::detail
