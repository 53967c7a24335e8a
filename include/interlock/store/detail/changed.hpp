// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/changed.hpp - what a user's function makes of a value that may be missing.

#include <optional>
#include <type_traits>
#include <utility>

namespace interlock::store::detail {

// Returns: what f makes of the value; none to erase it.
template <class T, class F>
std::optional<T> changed(F& f, std::optional<T> value) {
  if constexpr (std::is_invocable_v<F&, const std::optional<T>&>) {
    return f(std::as_const(value));
  } else {
    if (!value) value.emplace();
    if constexpr (std::is_void_v<std::invoke_result_t<F&, T&>>) {
      f(*value);
      return value;
    } else {
      return f(*value);
    }
  }
}

}  // namespace interlock::store::detail
