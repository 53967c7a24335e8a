// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/counters.hpp - counters, with and without bounds. Statements alone: who
// calls them says in which transaction.

#include <cstdint>
#include <optional>
#include <string>

#include "connection.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using count_outcome = store::outcome<std::int64_t>;
using bounded_outcome = store::outcome<std::int64_t, store::bounded_state>;

// One statement if the counter is there, two if it is not; each alone is atomic.
inline count_outcome add_to_counter(connection& on, const request& by, std::int64_t amount) {
  try {
    for (const sql which : {sql::counter_add, sql::counter_first}) {
      statement add(on, which, by.name, amount);
      if (!add.row()) continue;
      const std::int64_t value = add.integer(0);
      add.run();
      return value;
    }
  } catch (const fault& why) {
    if (why.code != SQLITE_CONSTRAINT_DATATYPE) throw;  // the sum became a real number
  }
  return by.refuse(store::errc::bad_argument, "the sum does not fit into 64 bits",
                   "keep counters within 64 bits, or give them bounds (bounded_counter)");
}

inline count_outcome load_counter(connection& on, const request& by) {
  statement load(on, sql::counter_load, by.name);
  return load.row() ? load.integer(0) : 0;
}

// In a transaction.
inline count_outcome exchange_counter(connection& on, const request& by, std::int64_t value) {
  count_outcome before = load_counter(on, by);
  statement(on, sql::counter_set, by.name, value).run();
  return before;
}

inline std::optional<store::bounded_state> find_bounded(connection& on, const request& by) {
  statement load(on, sql::bounded_load, by.name);
  if (!load.row()) return std::nullopt;
  return store::bounded_state{load.integer(0), load.integer(1), load.integer(2)};
}

inline store::refusal refuse_unopened(const request& by) {
  return by.refuse(store::errc::wrong_kind, "no bounded counter of this name was opened",
                   "open it with its value and bounds first");
}

// In a transaction.
inline store::outcome<store::bounded_state> open_bounded(connection& on, const request& by,
                                                         const store::bounded_state& wanted) {
  if (wanted.low > wanted.high || wanted.value < wanted.low || wanted.value > wanted.high) {
    return by.refuse(store::errc::bad_argument, "the value is not within the bounds",
                     "give low <= value <= high");
  }
  const std::optional<store::bounded_state> found = find_bounded(on, by);
  if (!found) {
    statement(on, sql::bounded_make, by.name, wanted.value, wanted.low, wanted.high).run();
    return wanted;
  }
  if (found->low == wanted.low && found->high == wanted.high) return *found;
  std::string detail = "it has the bounds ";
  detail += std::to_string(found->low);
  detail += " and ";
  detail += std::to_string(found->high);
  return by.refuse(store::errc::wrong_kind, std::move(detail),
                   "open it with those, or take another name");
}

// Returns: the new value; none if it would pass a bound, or was never opened.
inline std::optional<std::int64_t> try_add_to_bounded(connection& on, const request& by,
                                                      std::int64_t amount) {
  try {
    statement add(on, sql::bounded_add, by.name, amount);
    if (!add.row()) return std::nullopt;
    const std::int64_t value = add.integer(0);
    add.run();
    return value;
  } catch (const fault& why) {
    if (why.code != SQLITE_CONSTRAINT_DATATYPE) throw;  // below 64 bits, a real number is the bound
    return std::nullopt;
  }
}

// In a transaction.
inline bounded_outcome add_to_bounded(connection& on, const request& by, std::int64_t amount) {
  if (const auto value = try_add_to_bounded(on, by, amount)) return *value;
  if (const auto found = find_bounded(on, by)) return store::conflicting{*found};
  return refuse_unopened(by);
}

inline store::outcome<store::bounded_state> load_bounded(connection& on, const request& by) {
  if (const auto found = find_bounded(on, by)) return *found;
  return refuse_unopened(by);
}

}  // namespace interlock::sqlite::detail
