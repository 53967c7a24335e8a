// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/append_report.hpp - transactions that append to lists and read them, and what
// is wrong with them. list_append.hpp records and checks.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "history.hpp"

namespace interlock::testing {

// What a store may promise; each forbids what those before it forbid.
enum class isolation : std::uint8_t {
  read_committed,       // no cycle of writes and what was read; no aborted or half write is read
  snapshot_isolation,   // also no cycle without two rw in a row, and no lost update
  serializable,         // no cycle
  strict_serializable,  // no cycle with real time
};

enum class append_outcome : std::uint8_t {
  applied,
  aborted,  // refused, conflict, rolled back: it had no effect and will have none
  unknown,  // it may have happened, or happen later
};

struct append_transaction {
  struct operation {
    bool append = false;
    std::uint64_t key = 0;
    std::uint64_t value = 0;          // append: unique among those to this key
    std::vector<std::uint64_t> list;  // read: what it gave
  };
  std::vector<operation> operations;  // in their order
  append_outcome outcome = append_outcome::unknown;

  // Returns: the list, or how it ends.
  static std::string text_of_list(const std::vector<std::uint64_t>& list) {
    constexpr std::size_t shown = 8;
    std::string text = "[";
    if (list.size() > shown) text += "... ";
    const std::size_t first = list.size() > shown ? list.size() - shown : 0;
    for (std::size_t i = first; i < list.size(); ++i) {
      if (i != first) text += ' ';
      text += std::to_string(list[i]);
    }
    return text += ']';
  }
  friend std::string describe(const append_transaction& t) {
    using history_detail::words;
    std::string text = t.outcome == append_outcome::applied   ? "applied"
                       : t.outcome == append_outcome::aborted ? "aborted"
                                                              : "unknown";
    for (const operation& one : t.operations) {
      text += one.append ? words(" append(", one.key, ", ", one.value, ")")
                         : words(" read(", one.key, ") = ", text_of_list(one.list));
    }
    return text;
  }
};

// One anomaly.
struct append_finding {
  std::string name;                              // "G1a", "lost append" ...
  isolation breaks = isolation::read_committed;  // the weakest level that forbids it
  std::string text;                              // which transactions, keys and values
};

// All that a check found, a few of each name.
struct append_report {
  std::vector<append_finding> findings;
  std::uint64_t operations = 0;

  // Returns: whether this level forbids nothing of it; what breaks the weakest levels is told
  // first.
  [[nodiscard]] verdict at(isolation level) const {
    verdict result;
    result.operations = operations;
    for (const isolation weaker : {isolation::read_committed, isolation::snapshot_isolation,
                                   isolation::serializable, isolation::strict_serializable}) {
      for (const append_finding& one : findings) {
        if (one.breaks != weaker || weaker > level) continue;
        if (!result.violation.empty()) result.violation += '\n';
        result.violation += one.text;
      }
    }
    return result;
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return std::any_of(findings.begin(), findings.end(),
                       [&](const append_finding& one) { return one.name == name; });
  }
};

}  // namespace interlock::testing
