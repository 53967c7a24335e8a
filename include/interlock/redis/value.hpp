// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/value.hpp - what a Redis server answered, or why there is no answer.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../store/error.hpp"

namespace interlock::redis {

enum class value_kind : std::uint8_t {
  nil,
  integer,
  bytes,  // a bulk string, or a status such as OK
  list,
  error,      // what the server said instead, "WRONGTYPE Operation against ..."
  not_sent,   // no answer, and the server did not get the command as a whole
  unanswered  // no answer, and the server may have done it, or may do it yet
};

class value {
public:
  value() noexcept = default;  // nil

  [[nodiscard]] static value of(std::int64_t number) {
    value made(value_kind::integer);
    made.integer_ = number;
    return made;
  }
  [[nodiscard]] static value of(std::string bytes) {
    return {value_kind::bytes, std::move(bytes), store::errc::engine_failure};
  }
  [[nodiscard]] static value of(std::vector<value> items) {
    value made(value_kind::list);
    made.items_ = std::move(items);
    return made;
  }
  [[nodiscard]] static value error(std::string text) {
    return {value_kind::error, std::move(text), store::errc::engine_failure};
  }
  // `code` says what kept it: not_connected, timed_out, overloaded.
  [[nodiscard]] static value not_sent(std::string why,
                                      store::errc code = store::errc::not_connected) {
    return {value_kind::not_sent, std::move(why), code};
  }
  // `code`: connection_lost or timed_out.
  [[nodiscard]] static value unanswered(std::string why,
                                        store::errc code = store::errc::connection_lost) {
    return {value_kind::unanswered, std::move(why), code};
  }

  [[nodiscard]] value_kind kind() const noexcept { return kind_; }
  [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }
  // Returns: the bytes, what the server said, or why there is no answer.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  [[nodiscard]] store::errc code() const noexcept { return code_; }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
  [[nodiscard]] const value& at(std::size_t i) const { return items_.at(i); }

private:
  explicit value(value_kind kind) noexcept : kind_(kind) {}
  value(value_kind kind, std::string text, store::errc code)
      : kind_(kind), code_(code), text_(std::move(text)) {}

  value_kind kind_ = value_kind::nil;
  store::errc code_ = store::errc::engine_failure;
  std::int64_t integer_ = 0;
  std::string text_;
  std::vector<value> items_;
};

}  // namespace interlock::redis
