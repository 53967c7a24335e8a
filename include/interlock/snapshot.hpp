// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/snapshot.hpp - the values of several versioned cells at one moment.
//
// Problem     Two cells belong together. Read one after the other, they are from before and after
//             somebody's commit, and the sum is one that never was.
// Guarantee   All values of a snapshot were current at one moment.
//             That moment lies between the call and its return.
// Progress    Optimistic: starts again when a commit came between. After 16 times it takes a turn
//             before the transactions that would start. Plain commits may still win.
// Cost        A load of each cell and one more of its version; nothing is written for cells whose
//             values are inline, and nothing is allocated but the vector of a range.
// Lifetime    The cells outlive the call.
// Not for     One cell (versioned::load), or writing as well (transaction).
//
// Example     const auto [in_a, in_b] = snapshot(a, b);                 // examples/transaction.cpp

#include <cstddef>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/turnstile.hpp"
#include "versioned.hpp"

namespace interlock {

namespace detail {

// What snapshot() may do with a cell.
struct snapshot_access {
  template <class T>
  static auto& cell(const versioned<T>& of) noexcept {
    return of.cell_;
  }
};

template <class Cell>
struct value_in {};
template <class T>
struct value_in<versioned<T>> {
  using type = T;
};

template <class Range>
concept versioned_range =
    std::ranges::forward_range<const Range> &&
    requires { typename value_in<std::ranges::range_value_t<const Range>>::type; };

}  // namespace detail

// Returns: the values of all cells at one moment.
// Throws: what a copy of a value throws.
// Synchronization: as versioned::load(), of each cell.
// Complexity: linear in the cells, unless a commit comes between.
template <class... T>
  requires(sizeof...(T) > 0)
[[nodiscard]] std::tuple<T...> snapshot(const versioned<T>&... cells) {
  detail::attempts attempts;
  for (;; attempts.next()) {
    std::tuple seen(detail::snapshot_access::cell(cells).read()...);
    // A version does not come back: what has it still was current when the last one was read.
    const bool current = std::apply(
        [&](const auto&... each) {
          return (detail::snapshot_access::cell(cells).holds(each.version) && ...);
        },
        seen);
    if (!current) continue;
    return std::apply(
        [](auto&... each) { return std::tuple<T...>(std::move(each).take()...); }, seen);
  }
}

// Returns: the values of all cells of the range at one moment, in its order.
// Throws: std::bad_alloc; what a copy of a value throws.
template <detail::versioned_range Range>
[[nodiscard]] auto snapshot(const Range& cells) {
  using cell = std::ranges::range_value_t<const Range>;
  using view = decltype(detail::snapshot_access::cell(std::declval<const cell&>()).read());
  std::vector<view> seen;
  if constexpr (std::ranges::sized_range<const Range>) seen.reserve(std::ranges::size(cells));
  detail::attempts attempts;
  for (bool current = false;; attempts.next()) {
    seen.clear();
    for (const cell& each : cells) seen.push_back(detail::snapshot_access::cell(each).read());
    current = true;
    auto at = seen.begin();
    for (const cell& each : cells) {
      current = current && detail::snapshot_access::cell(each).holds(at++->version);
    }
    if (current) break;
  }
  std::vector<typename detail::value_in<cell>::type> values;
  values.reserve(seen.size());
  for (view& each : seen) values.push_back(std::move(each).take());
  return values;
}

}  // namespace interlock
