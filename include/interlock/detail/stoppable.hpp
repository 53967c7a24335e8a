// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/stoppable.hpp - what a wait takes as a stop token: std::stop_token where there
// is one, or a token of the same kind.

#include <version>

#include <concepts>

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
// another thread is at it: the stoppable_token of C++26. If that constructor throws, so does the
// call, and nothing waits on its behalf.
template <class Token>
concept stop_token_like = std::copy_constructible<Token> && requires(const Token& token) {
  { token.stop_requested() } -> std::convertible_to<bool>;
  typename stop_callback_of<Token, void (*)()>::type;
};

}  // namespace interlock::detail
