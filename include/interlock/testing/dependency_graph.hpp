// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/dependency_graph.hpp - which transactions had to come before which, and a
// shortest circle among them, with the name that the literature gives it.
//
// Problem     Each transaction looks right by itself. What is wrong is that A came before B, B
//             before C, and C before A; and how bad that is depends on why each came before.
// Guarantee   A cycle is found exactly if there is one.
//             Its kind is the gravest of its component and no cycle of that kind is shorter.
//             Real time is blamed only where no cycle does without it.
// Progress    plain functions, on the calling thread.
// Cost        O(n + m) for n transactions and m dependencies without a cycle; real time adds 4 n.
//             A cycle costs a search for each edge of its component, until 20 million steps have
//             been spent: then the shortest so far is told.
// Lifetime    nothing is kept but the edges.
// Not for     Finding out what the dependencies are: list_append.hpp, transaction_monitor.hpp.
//
// Example     dependency_graph graph(2);                   // examples/testing/list_append.cpp
//             graph.add({.from = 0, .to = 1, .kind = dependency::rw, .key = 1, .after = 11});
//             graph.add({.from = 1, .to = 0, .kind = dependency::rw, .key = 2, .after = 20});
//             const std::string skew = graph.cycles().front().text();

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"

// A. Adya, "Weak consistency", MIT 1999: the dependencies and G0 to G2. K. Kingsbury, P. Alvaro,
// "Elle", VLDB 2020: which kind of cycle each level of isolation forbids, also with real time.
// A. Cerone, A. Gotsman, "Analysing snapshot isolation", JACM 2018: snapshot isolation is that each
// cycle has two rw in a row. R. Tarjan, "Depth-first search", SICOMP 1972.

namespace interlock::testing {

// Why one transaction came before another.
enum class dependency : std::uint8_t {
  ww,  // it wrote what the other replaced
  wr,  // it wrote what the other read
  rw,  // it read what the other replaced
  rt,  // it returned before the other began
};

struct dependency_edge {
  static constexpr std::uint64_t nothing = std::numeric_limits<std::uint64_t>::max();

  std::uint32_t from = 0, to = 0;
  dependency kind = dependency::ww;
  std::uint64_t key = 0;
  std::uint64_t before = nothing;  // what `from` wrote or read
  std::uint64_t after = nothing;   // what `to` wrote in its place

  [[nodiscard]] std::string text() const {
    using history_detail::words;
    switch (kind) {
      case dependency::ww:
        return words("T", from, " wrote ", before, " to key ", key, " before T", to, " wrote ",
                     after);
      case dependency::wr:
        return words("T", from, " wrote ", before, " to key ", key, " and T", to, " read it");
      case dependency::rw:
        return words("T", from, " read ", before == nothing ? "nothing" : std::to_string(before),
                     " of key ", key, " before T", to, " wrote ", after);
      case dependency::rt:
        break;
    }
    return words("T", from, " returned before T", to, " began");
  }
};

// The gravest first. Beside rw, each may have ww and wr.
enum class cycle_kind : std::uint8_t {
  G0,             // only ww
  G1c,            // only ww and wr
  G_single,       // one rw
  G_nonadjacent,  // several rw, no two in a row: what snapshot isolation still forbids
  G2,             // several rw, two of them in a row
};

struct dependency_cycle {
  cycle_kind kind = cycle_kind::G0;
  bool real_time = false;  // it has an rt
  std::vector<dependency_edge> edges;

  [[nodiscard]] std::string name() const {
    static constexpr const char* names[] = {"G0", "G1c", "G-single", "G-nonadjacent", "G2"};
    std::string text = names[static_cast<std::size_t>(kind)];
    if (real_time) text += "-realtime";
    return text;
  }
  [[nodiscard]] std::string text() const {
    std::string text = name();
    const char* separator = ": ";
    for (const dependency_edge& one : edges) {
      text += separator + one.text();
      separator = "; ";
    }
    return text;
  }
};

namespace history_detail {

// Nodes from `transactions` on are points in time. A state is a node, and for G-nonadjacent whether
// it was reached by rw: node * 2, + 1 if so.
class cycle_search {
public:
  using node = std::uint32_t;

  cycle_search(std::size_t transactions, std::size_t nodes, std::vector<dependency_edge> edges)
      : transactions_(transactions),
        begins_(nodes + 1),
        group_(nodes),
        component_(nodes * 2),
        index_(nodes * 2),
        low_(nodes * 2),
        distance_(nodes * 2),
        reached_(nodes * 2),
        settled_(nodes * 2),
        by_(nodes * 2),
        from_(nodes * 2) {
    const auto order = ordered(edges.size(), [&](std::size_t i) { return edges[i].from; });
    edges_.reserve(edges.size());
    for (const keyed& one : order) {
      edges_.push_back(edges[one.at]);
      ++begins_[edges[one.at].from + 1];
    }
    for (std::size_t i = 1; i < begins_.size(); ++i) begins_[i] += begins_[i - 1];
  }

  std::vector<dependency_cycle> operator()(std::size_t most) {
    std::vector<dependency_cycle> found;
    std::vector<bool> explained(group_.size());
    for (const bool real_time : {false, true}) {
      for (const std::vector<node>& group : groups(real_time)) {
        const auto is_explained = [&](node n) { return explained[n]; };
        if (std::any_of(group.begin(), group.end(), is_explained)) continue;
        for (const node n : group) explained[n] = true;
        dependency_cycle one = gravest(group, real_time);
        const auto same = [&](const dependency_cycle& other) {
          return other.kind == one.kind && other.real_time == one.real_time;
        };
        const auto told = std::count_if(found.begin(), found.end(), same);
        if (static_cast<std::size_t>(told) < most) found.push_back(std::move(one));
      }
    }
    return found;
  }

private:
  static constexpr node none = std::numeric_limits<node>::max();
  static constexpr std::uint64_t enough = 20'000'000;
  static constexpr unsigned all = 7;

  struct start {
    node from;
    std::size_t edge;
  };

  static unsigned bit(dependency kind) { return 1U << static_cast<unsigned>(kind); }

  // Returns: the state after the edge; none if the rule forbids it.
  [[nodiscard]] node step(node state, const dependency_edge& edge) const {
    if ((allowed_ & bit(edge.kind)) == 0 || group_[edge.to] != now_) return none;
    if (!apart_ || edge.kind != dependency::rw) return edge.to * 2;
    return state % 2 != 0 ? none : edge.to * 2 + 1;
  }

  // Effects: numbers the components, those that others lead to first.
  void find_components(const std::vector<node>& nodes) {
    for (const node n : nodes) {
      for (node state = n * 2; state <= n * 2 + 1; ++state) {
        index_[state] = 0;
        component_[state] = none;
      }
    }
    visited_ = components_ = 0;
    for (const node n : nodes) {
      if (index_[n * 2] == 0) visit(n * 2);
    }
  }

  void visit(node root) {
    struct frame {
      node state;
      std::size_t next;
    };
    std::vector<frame> frames;
    const auto enter = [&](node state) {
      index_[state] = low_[state] = ++visited_;
      stack_.push_back(state);
      frames.push_back({state, begins_[state / 2]});
    };
    enter(root);
    while (!frames.empty()) {
      const node state = frames.back().state;
      if (frames.back().next < begins_[state / 2 + 1]) {
        const node to = step(state, edges_[frames.back().next++]);
        if (to == none) continue;
        if (index_[to] == 0) {
          enter(to);
        } else if (component_[to] == none) {
          low_[state] = std::min(low_[state], index_[to]);
        }
        continue;
      }
      frames.pop_back();
      if (!frames.empty()) {
        node& above = low_[frames.back().state];
        above = std::min(above, low_[state]);
      }
      if (low_[state] == index_[state]) close(state);
    }
  }

  void close(node root) {
    for (node state = none; state != root;) {
      state = stack_.back();
      stack_.pop_back();
      component_[state] = components_;
    }
    ++components_;
  }

  // Returns: the components of two and more nodes.
  std::vector<std::vector<node>> groups(bool real_time) {
    allowed_ = all | (real_time ? bit(dependency::rt) : 0);
    apart_ = false;
    now_ = 0;
    std::fill(group_.begin(), group_.end(), 0);
    std::vector<node> nodes(group_.size());
    for (node n = 0; n < nodes.size(); ++n) nodes[n] = n;
    find_components(nodes);
    std::vector<std::vector<node>> by_component(components_), result;
    for (const node n : nodes) by_component[component_[n * 2]].push_back(n);
    for (std::vector<node>& one : by_component) {
      if (one.size() < 2) continue;
      result.push_back(std::move(one));
      for (const node n : result.back()) group_[n] = static_cast<node>(result.size());
    }
    return result;
  }

  dependency_cycle gravest(const std::vector<node>& group, bool real_time) {
    dependency_cycle found;
    found.real_time = real_time;
    now_ = group_[group.front()];
    for (const cycle_kind kind : {cycle_kind::G0, cycle_kind::G1c, cycle_kind::G_single,
                                  cycle_kind::G_nonadjacent, cycle_kind::G2}) {
      found.kind = kind;
      shortest(group, found);
      if (!found.edges.empty()) break;
    }
    return found;
  }

  void shortest(const std::vector<node>& group, dependency_cycle& found) {
    const cycle_kind kind = found.kind;
    const dependency through = kind == cycle_kind::G0    ? dependency::ww
                               : kind == cycle_kind::G1c ? dependency::wr
                                                         : dependency::rw;
    allowed_ = kind == cycle_kind::G0         ? bit(dependency::ww)
               : kind <= cycle_kind::G_single ? bit(dependency::ww) | bit(dependency::wr)
                                              : all;
    if (found.real_time) allowed_ |= bit(dependency::rt);
    apart_ = kind == cycle_kind::G_nonadjacent;
    find_components(group);
    std::vector<start> starts;
    for (const node n : group) {
      for (std::size_t i = begins_[n]; i < begins_[n + 1]; ++i) {
        const dependency_edge& edge = edges_[i];
        if (edge.kind != through || group_[edge.to] != now_) continue;
        const bool back = component_[after(edge)] == component_[n * 2];
        if (back || kind == cycle_kind::G_single) starts.push_back({n, i});
      }
    }
    if (kind == cycle_kind::G_single) keep_returning(group, starts);
    work_ = 0;
    for (const start& one : starts) {
      const std::size_t best = found.edges.size();
      if (best == 2 || (best != 0 && work_ > enough)) break;
      const auto limit = best == 0 ? none : static_cast<node>(best - 2);
      if (way(after(edges_[one.edge]), one.from * 2, limit)) tell(one, found.edges);
    }
  }

  [[nodiscard]] node after(const dependency_edge& edge) const {
    return edge.to * 2 + (apart_ ? 1 : 0);
  }

  // Effects: keeps the edges from whose end a way leads to their begin. There is no cycle without
  //          them: each node is a component, and its number is after those that it leads to.
  void keep_returning(const std::vector<node>& group, std::vector<start>& starts) {
    std::vector<node> order(components_, none);
    for (const node n : group) order[component_[n * 2]] = n;
    std::vector<std::uint64_t> leads(components_);  // to which of 64 begins
    std::vector<start> kept;
    for (std::size_t first = 0, next = 0; first < starts.size(); first = next) {
      std::fill(leads.begin(), leads.end(), 0);
      std::uint64_t one = 1;
      for (next = first; next < starts.size(); ++next) {
        if (next != first && starts[next].from != starts[next - 1].from) one <<= 1U;
        if (one == 0) break;
        leads[component_[starts[next].from * 2]] = one;
      }
      for (const node n : order) {
        for (std::size_t i = begins_[n]; i < begins_[n + 1]; ++i) {
          const node to = step(n * 2, edges_[i]);
          if (to != none) leads[component_[n * 2]] |= leads[component_[to]];
        }
      }
      one = 1;
      for (std::size_t i = first; i < next; ++i) {
        if (i != first && starts[i].from != starts[i - 1].from) one <<= 1U;
        if ((leads[component_[after(edges_[starts[i].edge])]] & one) != 0)
          kept.push_back(starts[i]);
      }
    }
    starts = std::move(kept);
  }

  // Returns: whether a way of at most so many transactions leads there; by_ and from_ are a
  //          shortest. A point in time is on it for nothing.
  bool way(node begin, node target, node limit) {
    ++round_;
    std::deque<node> todo{begin};
    reached_[begin] = round_;
    distance_[begin] = 0;
    while (!todo.empty()) {
      const node state = todo.front();
      todo.pop_front();
      if (state == target) return true;
      if (std::exchange(settled_[state], round_) == round_) continue;
      for (std::size_t i = begins_[state / 2]; i < begins_[state / 2 + 1]; ++i) {
        ++work_;
        const node to = step(state, edges_[i]);
        if (to == none) continue;
        const bool point = edges_[i].to >= transactions_;
        const node far = distance_[state] + (point ? 0 : 1);
        if (far > limit || (reached_[to] == round_ && distance_[to] <= far)) continue;
        reached_[to] = round_;
        distance_[to] = far;
        by_[to] = i;
        from_[to] = state;
        if (point) {
          todo.push_front(to);
        } else {
          todo.push_back(to);
        }
      }
    }
    return false;
  }

  // Effects: writes down the way that was found.
  void tell(const start& begin, std::vector<dependency_edge>& edges) const {
    std::vector<dependency_edge> backwards;
    const node first = after(edges_[begin.edge]);
    for (node state = begin.from * 2; state != first; state = from_[state]) {
      backwards.push_back(edges_[by_[state]]);
    }
    backwards.push_back(edges_[begin.edge]);
    edges.clear();
    node left = 0;
    for (auto one = backwards.rbegin(); one != backwards.rend(); ++one) {
      if (one->from < transactions_) left = one->from;
      if (one->to >= transactions_) continue;
      edges.push_back(*one);
      edges.back().from = left;
    }
  }

  std::size_t transactions_;
  std::vector<dependency_edge> edges_;  // by from
  std::vector<std::size_t> begins_;     // of each node's edges
  std::vector<node> group_;             // only edges between nodes of group now_ count
  std::vector<node> component_, index_, low_, stack_;
  std::vector<node> distance_, reached_, settled_;
  std::vector<std::size_t> by_;
  std::vector<node> from_;
  unsigned allowed_ = all;
  bool apart_ = false;
  node now_ = 0, visited_ = 0, components_ = 0, round_ = 0;
  std::uint64_t work_ = 0;
};

}  // namespace history_detail

// Transactions are numbers from 0.
class dependency_graph {
public:
  explicit dependency_graph(std::size_t transactions)
      : transactions_(transactions), nodes_(transactions) {}

  // Effects: adds the edge; nothing if it leads from a transaction to itself.
  // Preconditions: both ends are less than the number of transactions.
  void add(const dependency_edge& edge) {
    if (edge.from != edge.to) edges_.push_back(edge);
  }

  // Effects: adds rt wherever one returned before another began; when[i] is that of transaction i.
  //          Not an edge for each pair: a point for each return, in a row; who begins later hangs
  //          on the last one before him.
  void add_real_time(const std::vector<interval>& when) {
    using history_detail::keyed, history_detail::ordered;
    const auto returns = ordered(when.size(), [&](std::size_t i) { return when[i].returned; });
    const auto calls = ordered(when.size(), [&](std::size_t i) { return when[i].invoked; });
    std::size_t next = 0;
    for (const keyed& one : calls) {
      for (; next < returns.size() && returns[next].key <= one.key; ++next) {
        const auto point = static_cast<std::uint32_t>(nodes_++);
        edges_.push_back({.from = returns[next].at, .to = point, .kind = dependency::rt});
        if (next == 0) continue;
        edges_.push_back({.from = point - 1, .to = point, .kind = dependency::rt});
      }
      if (next == 0) continue;
      const auto last = static_cast<std::uint32_t>(nodes_ - 1);
      edges_.push_back({.from = last, .to = one.at, .kind = dependency::rt});
    }
  }

  // Returns: a shortest cycle of the gravest kind of each strongly connected component, at most so
  //          many of a kind; first those without rt, then those of components that have none
  //          without.
  [[nodiscard]] std::vector<dependency_cycle> cycles(std::size_t most = 5) const {
    return history_detail::cycle_search(transactions_, nodes_, edges_)(most);
  }

private:
  std::size_t transactions_;
  std::size_t nodes_;  // and points in time
  std::vector<dependency_edge> edges_;
};

}  // namespace interlock::testing
