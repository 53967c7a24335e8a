// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/refuse_nothing.hpp - for who takes a function to call it later, when it is too
// late to say that there is none.

#include <stdexcept>
#include <type_traits>

namespace interlock::detail {

// Throws: std::invalid_argument for an empty std::function and for a null pointer to a function.
template <class F>
void refuse_nothing(const F& f) {
  bool empty = false;
  if constexpr (std::is_pointer_v<F>) {
    empty = f == nullptr;
  } else if constexpr (requires { f.operator bool(); }) {
    empty = !f;
  }
  if (empty) {
    throw std::invalid_argument(
        "interlock: an empty function was posted, which nobody could call; post one that does "
        "something");
  }
}

}  // namespace interlock::detail
