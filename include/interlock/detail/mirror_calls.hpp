// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_calls.hpp - the calls that mirrors of many keys have in common: flushes
// and numbers. What they promise is said where a mirror names them.

#include <chrono>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "../mirror_options.hpp"
#include "mirror_flush.hpp"
#include "waiting.hpp"

namespace interlock::detail {

// Has no state. Self, whose friend this is, has rows_, its mirror_rows. `versions`: a flush may ask
// for a version.
template <class Self, class Key, class Version, bool versions>
class mirror_calls {
public:
  using time_point = std::chrono::steady_clock::time_point;

  [[nodiscard("a flush may have failed")]] mirror_flush_result flush(const Key& key) {
    return rows().flush(rows().asks(key), nullptr);
  }
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush(const Key& key,
                                                                     const Version& least)
    requires versions
  {
    return rows().flush(rows().asks(key, least), nullptr);
  }
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush_until(time_point deadline,
                                                                           const Key& key) {
    return rows().flush(rows().asks(key), &deadline);
  }
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush_until(time_point deadline,
                                                                           const Key& key,
                                                                           const Version& least)
    requires versions
  {
    return rows().flush(rows().asks(key, least), &deadline);
  }

  template <stop_token_like... Token>
    requires(sizeof...(Token) <= 1)
  [[nodiscard("write co_await")]] auto async_flush(Key key, Token... stop) {
    return waits(rows().asks(std::move(key)), stop_end<Token>{std::move(stop)}...);
  }
  template <stop_token_like... Token>
    requires(versions && sizeof...(Token) <= 1)
  [[nodiscard("write co_await")]] auto async_flush(Key key, Version least, Token... stop) {
    return waits(rows().asks(std::move(key), std::move(least)),
                 stop_end<Token>{std::move(stop)}...);
  }
  template <timer Timer, stop_token_like... Token>
  [[nodiscard("write co_await")]] auto async_flush_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         Key key, Token... stop) {
    return waits(rows().asks(std::move(key)), deadline_end<Timer>{&timer, deadline},
                 stop_end<Token>{std::move(stop)}...);
  }
  template <timer Timer, stop_token_like... Token>
    requires versions
  [[nodiscard("write co_await")]] auto async_flush_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         Key key, Version least, Token... stop) {
    return waits(rows().asks(std::move(key), std::move(least)),
                 deadline_end<Timer>{&timer, deadline}, stop_end<Token>{std::move(stop)}...);
  }

  [[nodiscard]] mirror_statistics statistics() noexcept { return rows().statistics(); }
  [[nodiscard]] std::size_t dirty_keys_approx() noexcept { return rows().in_line(); }
  [[nodiscard]] std::size_t known_keys_approx() noexcept { return rows().size(); }

private:
  friend Self;
  mirror_calls() = default;

  auto& rows() noexcept { return static_cast<Self&>(*this).rows_; }

  template <class Request, class... Ends>
  static auto waits(Request what, Ends... ends) {
    using from = std::remove_pointer_t<decltype(what.from)>;
    return waiting<flush_place<from>, by_trampoline, Ends...>(std::move(what), {},
                                                              std::move(ends)...);
  }
};

}  // namespace interlock::detail
