// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/sql_rows.hpp - what a statement in SQL gave back, the same from every engine.
//
// Each value is its text: a number in decimal digits, a string or blob its bytes; or null. get<T>
// reads it as codec.hpp says.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codec.hpp"

namespace interlock::store {

class sql_rows {
public:
  using value = std::optional<std::string>;  // none: null

  sql_rows() = default;
  sql_rows(std::vector<std::string> columns, std::vector<value> values, std::int64_t changed)
      : columns_(std::move(columns)), values_(std::move(values)), changed_(changed) {}

  [[nodiscard]] std::size_t size() const noexcept {
    return columns_.empty() ? 0 : values_.size() / columns_.size();
  }
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }
  [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }
  // Returns: how many rows the statement inserted, updated or deleted.
  [[nodiscard]] std::int64_t changed() const noexcept { return changed_; }

  // Throws: std::out_of_range for a row or column that is not there.
  [[nodiscard]] const value& at(std::size_t row, std::size_t column) const {
    return values_.at(column < columns_.size() ? row * columns_.size() + column : values_.size());
  }
  // Returns: the value as a T; none if it is null or does not decode. Throws: as at().
  template <encodable T>
  [[nodiscard]] std::optional<T> get(std::size_t row, std::size_t column = 0) const {
    const value& found = at(row, column);
    return found ? codec<T>::decode(*found) : std::nullopt;
  }

private:
  std::vector<std::string> columns_;
  std::vector<value> values_;  // row by row
  std::int64_t changed_ = 0;
};

}  // namespace interlock::store
