// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/body_answer.hpp - what the body of a transaction returns, and how that is
// kept for who asks again under its id.

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "../codec.hpp"
#include "../outcome.hpp"

namespace interlock::store::detail {

// What a body's result becomes: nothing, of a body that returns none.
template <class F, class Transaction>
using body_answer =
    std::conditional_t<std::is_void_v<std::invoke_result_t<F&, Transaction&>>, nothing,
                       std::decay_t<std::invoke_result_t<F&, Transaction&>>>;

template <class R>
inline constexpr bool keepable = encodable<R> || std::is_same_v<R, nothing>;

// Of a type that is not keepable, nothing is kept.
template <class R>
[[nodiscard]] std::string kept_form(const R& answer) {
  if constexpr (encodable<R>) {
    return codec<R>::encode(answer);
  } else {
    return {};
  }
}
// Returns: none if the bytes are not of this type.
template <class R>
[[nodiscard]] std::optional<R> kept_answer(std::string_view bytes) {
  if constexpr (encodable<R>) {
    return codec<R>::decode(bytes);
  } else if constexpr (std::is_same_v<R, nothing>) {
    return nothing{};
  } else {
    return std::nullopt;
  }
}

}  // namespace interlock::store::detail
