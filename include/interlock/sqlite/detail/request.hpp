// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/request.hpp - what a call asks, so that its errors can say it.

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "../../detail/century.hpp"
#include "../../store/call_options.hpp"
#include "../../store/detail/names.hpp"
#include "../../store/outcome.hpp"
#include "../../store/protocol.hpp"

namespace interlock::sqlite::detail {

// A counter, a cell ...: its kind and name.
class object {
public:
  object(store::object_kind kind, std::string_view name) : kind_(kind), name_(name) {}

  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] store::object_kind kind() const noexcept { return kind_; }

private:
  store::object_kind kind_;
  std::string name_;
};

inline constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();

// Returns: the time as the engine counts it; a century at most.
[[nodiscard]] constexpr std::int64_t microseconds_in(std::chrono::milliseconds time) noexcept {
  return std::chrono::microseconds(interlock::detail::within_a_century(time)).count();
}

struct request {
  const char* operation;
  std::string_view name;
  store::object_kind kind;
  const store::call_options& call;
  std::string_view key{};

  // Returns: what it is about, for a person's eyes.
  [[nodiscard]] std::string about() const {
    std::string text = store::detail::printable(name);
    if (key.empty()) return text;
    text += '/';
    text += store::detail::printable(key);
    return text;
  }
  [[nodiscard]] store::refusal refuse(store::errc code, std::string detail,
                                      std::string remedy) const {
    return store::refusal(
        {code, "sqlite", operation, about(), std::move(detail), std::move(remedy)});
  }

  // The following throw store::refusal.
  void require_key() const {
    if (auto bad = store::detail::bad_name("sqlite", operation, key, "key")) {
      bad->object = about();
      throw store::refusal(*std::move(bad));
    }
  }
  void require_size(std::size_t bytes, std::size_t most) const {
    if (auto bad = store::detail::bad_size("sqlite", operation, name, bytes, most)) {
      throw store::refusal(*std::move(bad));
    }
  }
  void require_small(std::uint64_t number, const char* what) const {
    if (number < largest) return;
    std::string detail = "the ";
    detail += what;
    detail += ' ';
    detail += std::to_string(number);
    detail += " has more than 63 bits";
    throw refuse(store::errc::bad_argument, std::move(detail), "SQLite keeps 63 bits: give less");
  }
};

}  // namespace interlock::sqlite::detail
