// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/wire.hpp - parameters and results in PostgreSQL's binary format.

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "../../store/operation_id.hpp"
#include "../../store/protocol.hpp"

namespace interlock::postgres::detail {

inline void write_number(char* out, std::uint64_t number) noexcept {
  for (int i = 7; i >= 0; --i, number >>= 8U) out[i] = static_cast<char>(number & 255U);
}
[[nodiscard]] inline std::int64_t read_number(const char* in) noexcept {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = (number << 8U) | static_cast<unsigned char>(in[i]);
  return static_cast<std::int64_t>(number);
}

// Appends to a binary array: what PostgreSQL calls bytea[] and int8[].
class array_text {
public:
  explicit array_text(std::uint32_t element_type, std::size_t size) {
    put(size == 0 ? 0 : 1);  // dimensions
    put(1);                  // may hold nulls
    put(element_type);
    if (size == 0) return;
    put(static_cast<std::uint32_t>(size));
    put(1);  // the first index
  }
  void add(std::optional<std::string_view> bytes) {
    put(bytes ? static_cast<std::uint32_t>(bytes->size()) : 0xffffffffU);
    if (bytes) text_.append(*bytes);
  }
  void add_number(std::uint64_t number) {
    char bytes[8];
    write_number(bytes, number);
    add(std::string_view(bytes, sizeof bytes));
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

  static constexpr std::uint32_t of_bytes = 17;
  static constexpr std::uint32_t of_numbers = 20;

private:
  void put(std::uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      text_ += static_cast<char>((number >> static_cast<unsigned>(shift)) & 255U);
    }
  }

  std::string text_;
};

// What a statement is given; strings are not copied. Notes what no statement may be given, which
// whoever runs it looks at.
class parameters {
public:
  static constexpr std::size_t most = 10;

  parameters& bytes(std::string_view text) noexcept {
    return put(text.data() == nullptr ? "" : text.data(), text.size());
  }
  parameters& null() noexcept { return put(nullptr, 0); }
  // A key inside an object.
  parameters& key(std::string_view text) noexcept {
    if (text.empty() || text.size() > store::max_name_bytes) bad_key_ = text;
    return bytes(text);
  }
  // Something that the client's limit holds for.
  parameters& value(std::optional<std::string_view> text) noexcept {
    limited(text);
    return text ? bytes(*text) : null();
  }
  parameters& limited(std::optional<std::string_view> text) noexcept {
    if (text) largest_ = std::max(largest_, text->size());
    return *this;
  }
  parameters& number(std::int64_t number) noexcept {
    char* const at = numbers_[count_].data();
    write_number(at, static_cast<std::uint64_t>(number));
    return put(at, 8);
  }
  parameters& number(std::uint64_t number) noexcept {
    too_high_ = too_high_ || number > INT64_MAX;
    return this->number(static_cast<std::int64_t>(number));
  }
  // A time that a column can hold: less than a thousand years.
  parameters& time(std::chrono::milliseconds time) noexcept {
    return number(std::clamp<std::int64_t>(time.count(), 0, std::int64_t{1} << 44U));
  }
  parameters& id(const store::unique_id& id) noexcept {
    char* const at = numbers_[count_].data();
    write_number(at, id.high);
    write_number(at + 8, id.low);
    return put(at, 16);
  }

  [[nodiscard]] int count() const noexcept { return static_cast<int>(count_); }
  [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
  [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
  [[nodiscard]] static const int* formats() noexcept { return all_binary.data(); }

  [[nodiscard]] bool too_high() const noexcept { return too_high_; }
  [[nodiscard]] std::size_t largest() const noexcept { return largest_; }
  [[nodiscard]] const std::optional<std::string_view>& bad_key() const noexcept { return bad_key_; }

  parameters() noexcept {}                 // the arrays stay as they are
  parameters(const parameters&) = delete;  // it points into itself
  parameters& operator=(const parameters&) = delete;

private:
  parameters& put(const char* data, std::size_t size) noexcept {
    values_[count_] = data;
    lengths_[count_] = static_cast<int>(size);
    ++count_;
    return *this;
  }

  static constexpr std::array<int, most> all_binary{1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

  std::size_t count_ = 0;
  std::array<const char*, most> values_;
  std::array<int, most> lengths_;
  std::array<std::array<char, 16>, most> numbers_;
  std::size_t largest_ = 0;
  bool too_high_ = false;
  std::optional<std::string_view> bad_key_;
};

struct clear_result {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using result = std::unique_ptr<PGresult, clear_result>;

[[nodiscard]] inline bool is_null(const result& from, int row, int column) noexcept {
  return PQgetisnull(from.get(), row, column) != 0;
}
[[nodiscard]] inline std::int64_t number_in(const result& from, int row, int column) noexcept {
  return read_number(PQgetvalue(from.get(), row, column));
}
[[nodiscard]] inline std::uint64_t count_in(const result& from, int row, int column) noexcept {
  return static_cast<std::uint64_t>(number_in(from, row, column));
}
[[nodiscard]] inline std::string_view bytes_in(const result& from, int row, int column) noexcept {
  return {PQgetvalue(from.get(), row, column),
          static_cast<std::size_t>(PQgetlength(from.get(), row, column))};
}
[[nodiscard]] inline std::optional<std::string> bytes_or_none(const result& from, int row,
                                                              int column) {
  if (is_null(from, row, column)) return std::nullopt;
  return std::string(bytes_in(from, row, column));
}

}  // namespace interlock::postgres::detail
