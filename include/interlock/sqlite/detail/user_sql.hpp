// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/user_sql.hpp - a statement of the user's own, inside a transaction.
//
// What would end the transaction, or change the connection for others, is not prepared: SQLite asks
// the connection's authorizer.

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../store/codec.hpp"
#include "../../store/sql_rows.hpp"
#include "connection.hpp"
#include "scopes.hpp"

namespace interlock::sqlite::detail {

// Numbers, text, bytes (std::span<const std::byte>), nullptr, or a std::optional of one of these.
class parameters {
public:
  explicit parameters(sqlite3_stmt* to) noexcept : to_(to) {}

  // Returns: SQLite's code.
  template <class Value>
  int put(const Value& value) {
    if constexpr (std::is_same_v<Value, std::nullptr_t> || std::is_same_v<Value, std::nullopt_t>) {
      return sqlite3_bind_null(to_, ++place_);
    } else if constexpr (std::is_floating_point_v<Value>) {
      return sqlite3_bind_double(to_, ++place_, static_cast<double>(value));
    } else if constexpr (std::is_integral_v<Value>) {
      static_assert(sizeof(Value) < 8 || std::is_signed_v<Value>,
                    "SQLite keeps signed 64 bits: give a std::int64_t");
      return sqlite3_bind_int64(to_, ++place_, static_cast<std::int64_t>(value));
    } else if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
      const std::string_view text = value;
      return sqlite3_bind_text64(to_, ++place_, text.empty() ? "" : text.data(), text.size(),
                                 SQLITE_STATIC, SQLITE_UTF8);
    } else if constexpr (std::is_convertible_v<const Value&, std::span<const std::byte>>) {
      const std::span<const std::byte> bytes = value;
      return bytes.empty()
                 ? sqlite3_bind_zeroblob(to_, ++place_, 0)
                 : sqlite3_bind_blob64(to_, ++place_, bytes.data(), bytes.size(), SQLITE_STATIC);
    } else {
      return value ? put(*value) : sqlite3_bind_null(to_, ++place_);
    }
  }

private:
  sqlite3_stmt* to_;
  int place_ = 0;
};

// Lets a statement be prepared and run as the user's: what it may not do is refused, and it ends at
// the deadline.
class as_user {
public:
  explicit as_user(connection& on) noexcept : on_(&on) {
    on.of_user = true;
    sqlite3_progress_handler(on.raw(), 4000, &as_user::late, &on);
  }
  as_user(const as_user&) = delete;
  as_user& operator=(const as_user&) = delete;
  ~as_user() {
    on_->of_user = false;
    sqlite3_progress_handler(on_->raw(), 0, nullptr, nullptr);
  }

private:
  static int late(void* on) {
    return call_deadline::clock::now() >= static_cast<connection*>(on)->until() ? 1 : 0;
  }
  connection* on_;
};

[[nodiscard]] inline store::sql_rows::value value_at(sqlite3_stmt* from, int column) {
  switch (sqlite3_column_type(from, column)) {
    case SQLITE_NULL:
      return std::nullopt;
    case SQLITE_INTEGER:
      return store::codec<std::int64_t>::encode(sqlite3_column_int64(from, column));
    case SQLITE_FLOAT:
      return store::codec<double>::encode(sqlite3_column_double(from, column));
    default:
      break;
  }
  const void* const data = sqlite3_column_blob(from, column);
  const int size = sqlite3_column_bytes(from, column);
  if (data == nullptr) return std::string();
  return std::string(static_cast<const char*>(data), static_cast<std::size_t>(size));
}

// Returns: all its rows. Throws: fault.
[[nodiscard]] inline store::sql_rows all_rows(connection& on, sqlite3_stmt* of) {
  std::vector<std::string> columns;
  for (int i = 0; i < sqlite3_column_count(of); ++i) {
    columns.emplace_back(sqlite3_column_name(of, i));
  }
  std::vector<store::sql_rows::value> values;
  const std::int64_t before = sqlite3_total_changes(on.raw());
  int code = sqlite3_step(of);
  for (; code == SQLITE_ROW; code = sqlite3_step(of)) {
    for (int i = 0; i < static_cast<int>(columns.size()); ++i) values.push_back(value_at(of, i));
  }
  if (code != SQLITE_DONE) throw fault_of(on.raw(), code);
  const bool changes = sqlite3_total_changes(on.raw()) != before;
  return {std::move(columns), std::move(values), changes ? on.changes() : 0};
}

// Returns: all rows of the statement with these values for its '?'.
// Throws: fault, with SQLITE_MISUSE for another number of values.
template <class... Values>
[[nodiscard]] store::sql_rows all_rows_with(connection& on, sqlite3_stmt* of,
                                            const Values&... values) {
  const as_user user(on);
  const struct reset {
    sqlite3_stmt* of;
    ~reset() {
      sqlite3_reset(of);
      sqlite3_clear_bindings(of);
    }
  } at_end{of};
  if (sqlite3_bind_parameter_count(of) != static_cast<int>(sizeof...(values))) {
    throw fault{SQLITE_MISUSE, "the statement has another number of parameters", 0, false};
  }
  parameters to(of);
  int code = SQLITE_OK;
  static_cast<void>(((code = to.put(values), code == SQLITE_OK) && ...));
  if (code != SQLITE_OK) throw fault_of(on.raw(), code);
  return all_rows(on, of);
}

// Effects: runs one statement with these values for its '?', as a whole or not at all.
// Throws: fault, with SQLITE_MISUSE for several statements or another number of values.
template <class... Values>
[[nodiscard]] store::sql_rows run_user_sql(connection& on, std::string_view text,
                                           const Values&... values) {
  sqlite3_stmt* const made = [&] {
    const as_user user(on);
    return on.prepared_for_user(text);
  }();
  if (sqlite3_stmt_readonly(made) != 0) return all_rows_with(on, made, values...);
  step_scope whole(on);
  store::sql_rows rows = all_rows_with(on, made, values...);
  whole.keep();
  return rows;
}

}  // namespace interlock::sqlite::detail
