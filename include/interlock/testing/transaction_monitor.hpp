// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/transaction_monitor.hpp - did the transactions happen one after the other?
//
// Problem     Sums that come out right say little: write skew and half a commit seen by an attempt
//             that later aborts leave no trace in them.
// Guarantee   The transaction monitor gives the same answer as a search.
//             An aborted attempt that saw two moments is found.
// Progress    plain functions, on the calling thread.
// Cost        O(n log n) in attempts and accesses.
// Lifetime    nothing is kept.
// Not for     Cells whose versions are not 0, 1, 2 ... in the order of the commits.
//
// Example     none

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"
#include "specifications.hpp"

// A. Adya, "Weak consistency", MIT 1999: dependencies by versions (who read or replaced what whom
// made) and a circle among them. K. Kingsbury, P. Alvaro, "Elle", VLDB 2020, infers them from
// histories. With real time as an edge, no circle is strict serializability; with the aborted
// attempts as nodes, opacity (R. Guerraoui, M. Kapalka, PPoPP 2008).

namespace interlock::testing {

namespace history_detail {

class dependencies {
public:
  explicit dependencies(const std::vector<recorded<attempt>>& all) : all_(all) {}

  verdict operator()() {
    collect();
    if (found_) add_time();
    if (found_) look_for_circle();
    found_.operations = all_.size();
    return found_;
  }

private:
  using node = std::uint32_t;
  struct edge {
    node to;
    const char* why;
  };
  struct version {
    bool made = false, sure = false;
    node maker = 0;
    std::vector<node> readers;
  };

  void make(node i, const attempt::access& one) {
    version& v = versions_[{one.cell, one.version}];
    const bool sure = all_[i].when.answered();
    if (v.sure && sure) {
      found_.violation = words("both made", attempt::name(one), ": ", text_of(all_[v.maker]),
                               " and ", text_of(all_[i]));
    }
    if (v.made && !sure) return;  // it may not have committed
    v = {true, sure, i, std::move(v.readers)};
  }

  void collect() {
    for (node i = 0; i < all_.size(); ++i) {
      const attempt& a = all_[i].op;
      for (const auto& one : a.reads) versions_[{one.cell, one.version}].readers.push_back(i);
      if (!a.committed) continue;
      for (const auto& one : a.writes) make(i, one);
    }
    edges_.resize(all_.size());
    for (const auto& [name, v] : versions_) {
      if (!v.made && name.second != 0) {
        const std::string what = attempt::name({name.first, name.second});
        found_.violation = text_of(all_[v.readers.front()]) + ": nobody made" + what;
        return;
      }
      const auto next = versions_.find({name.first, name.second + 1});
      const bool replaced = next != versions_.end() && next->second.made;
      if (v.made && replaced) add(v.maker, next->second.maker, "was replaced by");
      if (v.made && name.second > 1 && versions_.count({name.first, name.second - 1}) == 0) {
        found_.violation = text_of(all_[v.maker]) + ": nobody made the version before";
        return;
      }
      for (const node reader : v.readers) {
        if (v.made && v.maker == reader) {
          found_.violation = text_of(all_[reader]) + ": saw before what it made itself";
        }
        if (v.made) add(v.maker, reader, "was read by");
        if (replaced) add(reader, next->second.maker, "read what was replaced by");
      }
    }
  }

  void add(node from, node to, const char* why) {
    if (from != to) edges_[from].push_back({to, why});
  }

  // A node for each return, in a row; who is invoked later hangs on the last one before him.
  void add_time() {
    const auto returns = ordered(all_.size(), [&](std::size_t i) { return all_[i].when.returned; });
    const auto calls = ordered(all_.size(), [&](std::size_t i) { return all_[i].when.invoked; });
    std::size_t next = 0;
    for (const keyed& one : calls) {
      for (; next < returns.size() && returns[next].key <= one.key; ++next) {
        edges_.emplace_back();
        const auto now = static_cast<node>(edges_.size() - 1);
        edges_[returns[next].at].push_back({now, "returned before"});
        if (next != 0) edges_[now - 1].push_back({now, ""});
      }
      if (next != 0) edges_.back().push_back({one.at, ""});
    }
  }

  void look_for_circle() {
    // What is left after taking away, again and again, who depends on nobody, holds a circle.
    std::vector<std::uint32_t> incoming(edges_.size());
    for (const auto& list : edges_) {
      for (const edge& one : list) ++incoming[one.to];
    }
    std::vector<node> free;
    for (node i = 0; i < edges_.size(); ++i) {
      if (incoming[i] == 0) free.push_back(i);
    }
    while (!free.empty()) {
      const node i = free.back();
      free.pop_back();
      for (const edge& one : edges_[i]) {
        if (--incoming[one.to] == 0) free.push_back(one.to);
      }
    }
    std::vector<node> shortest;
    std::size_t tried = 0;
    for (node i = 0; i < all_.size() && tried < 200; ++i) {
      if (incoming[i] == 0) continue;
      ++tried;
      const std::vector<node> circle = circle_through(i, incoming);
      if (!circle.empty() && (shortest.empty() || circle.size() < shortest.size())) {
        shortest = circle;
      }
    }
    if (!shortest.empty()) tell(shortest);
  }

  // Returns: a shortest way from the node back to it; empty if there is none.
  [[nodiscard]] std::vector<node> circle_through(node start,
                                                 const std::vector<std::uint32_t>& left) const {
    std::map<node, node> from;
    std::deque<node> todo{start};
    while (!todo.empty()) {
      const node i = todo.front();
      todo.pop_front();
      for (const edge& one : edges_[i]) {
        if (left[one.to] == 0 || from.count(one.to) != 0) continue;
        from[one.to] = i;
        if (one.to != start) {
          todo.push_back(one.to);
          continue;
        }
        std::vector<node> way{start};
        for (node k = i; k != start; k = from[k]) way.push_back(k);
        std::reverse(way.begin() + 1, way.end());
        return way;
      }
    }
    return {};
  }

  void tell(const std::vector<node>& circle) {
    std::string& text = found_.violation;
    text = "no order explains";
    for (std::size_t i = 0; i < circle.size(); ++i) {
      const node from = circle[i], to = circle[(i + 1) % circle.size()];
      if (from >= all_.size()) continue;  // a point in time
      const auto& list = edges_[from];
      const auto which = std::find_if(list.begin(), list.end(),
                                      [&](const edge& e) { return e.to == to; });
      text += (i == 0 ? ": " : "; ") + text_of(all_[from]) + " " + which->why;
    }
    text += " the first";
  }

  const std::vector<recorded<attempt>>& all_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, version> versions_;
  std::vector<std::vector<edge>> edges_;
  verdict found_;
};

}  // namespace history_detail

// Returns: whether the attempts fit into one order. A commit that was never answered counts if its
//          versions were seen.
[[nodiscard]] inline verdict monitor_transactions(const std::vector<recorded<attempt>>& all) {
  return history_detail::dependencies(all)();
}

}  // namespace interlock::testing
