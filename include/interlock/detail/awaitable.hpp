// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/awaitable.hpp - what co_await does to an expression, for those who ask first.

#include <concepts>
#include <type_traits>
#include <utility>

namespace interlock::detail {

// Returns: the awaiter of the awaitable, as co_await finds it outside await_transform.
template <class Awaitable>
decltype(auto) awaiter_of(Awaitable&& awaitable) {
  if constexpr (requires { std::forward<Awaitable>(awaitable).operator co_await(); }) {
    return std::forward<Awaitable>(awaitable).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<Awaitable>(awaitable)); }) {
    return operator co_await(std::forward<Awaitable>(awaitable));
  } else {
    return std::forward<Awaitable>(awaitable);
  }
}

template <class T>
concept awaitable = requires(T&& t) {
  { awaiter_of(std::forward<T>(t)).await_ready() } -> std::convertible_to<bool>;
};

// The type of co_await expr; an rvalue reference becomes a value, so that it outlives the awaiter.
template <awaitable T>
using await_raw_result_t = decltype(awaiter_of(std::declval<T>()).await_resume());
template <awaitable T>
using await_result_t =
    std::conditional_t<std::is_rvalue_reference_v<await_raw_result_t<T>>,
                       std::remove_reference_t<await_raw_result_t<T>>, await_raw_result_t<T>>;

}  // namespace interlock::detail
