// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/check_list_append.hpp - infers which transaction came before which from the
// lists that they read, and names what cannot be. list_append.hpp has the contract.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "append_report.hpp"
#include "dependency_graph.hpp"
#include "history.hpp"

// K. Kingsbury, P. Alvaro, "Elle: inferring isolation anomalies from experimental observations",
// VLDB 2020. An append keeps what was there, so a list that was read tells the order of the writes.

namespace interlock::testing {

namespace history_detail {

class append_check {
public:
  using entry = recorded<append_transaction>;
  using operation = append_transaction::operation;
  using value = std::uint64_t;

  explicit append_check(const std::vector<entry>& all)
      : all_(all), happened_(all.size()), graph_(all.size()) {}

  append_report operator()() {
    collect();
    for (auto& [key, one] : lists_) {
      choose_order(key, one);
      look_at_appends(key, one);
      for (const reading& read : one.reads) look_at_read(key, one, read);
      connect(key, one);
    }
    for (node t = 0; t < all_.size(); ++t) {
      if (happened_[t]) look_inside(t);
    }
    look_for_cycles();
    return std::move(report_);
  }

private:
  using node = std::uint32_t;
  static constexpr node nobody = std::numeric_limits<node>::max();
  static constexpr std::size_t few = 5;    // findings of a name
  static constexpr std::size_t ends = 64;  // appends that nobody saw, as ends of dependencies

  struct appended {
    node by = nobody;
    bool last = true;  // of this transaction to this key
  };
  struct reading {
    node by;
    std::size_t at;  // which operation
    const std::vector<value>* list;
    bool fits = true;  // it begins the order
  };
  static const std::vector<value>& empty() {
    static const std::vector<value> none;
    return none;
  }
  struct per_key {
    std::unordered_map<value, appended> appends;
    std::vector<std::pair<node, value>> in_order;   // of the transactions, and of their operations
    std::vector<reading> reads;                     // of transactions that happened
    const std::vector<value>* order = &empty();     // the longest list that was read
    std::unordered_map<value, std::size_t> places;  // in it
    std::vector<node> writers;                      // of it; nobody if it did not happen
    std::set<value> elsewhere;                      // in lists that do not fit
    reading longest{}, other{};  // that fit: the longest, and the longest of somebody else
  };

  // Effects: tells it, followed by the transactions that it speaks of.
  void find(const std::string& name, isolation breaks, const std::string& what,
            std::vector<node> of) {
    if (++told_[name] > few) return;
    std::string text = name + ": " + what;
    std::sort(of.begin(), of.end());
    of.erase(std::unique(of.begin(), of.end()), of.end());
    for (const node t : of) text += words("\n  T", t, " is ", text_of(all_[t]));
    report_.findings.push_back({name, breaks, std::move(text)});
  }

  void collect() {
    for (node t = 0; t < all_.size(); ++t) {
      happened_[t] = all_[t].op.outcome == append_outcome::applied;
      report_.operations += all_[t].op.operations.size();
      for (const operation& one : all_[t].op.operations) {
        per_key& key = lists_[one.key];
        if (one.append) append(t, one, key);
      }
    }
    for (node t = 0; t < all_.size(); ++t) {
      if (all_[t].op.outcome == append_outcome::applied) mark_seen(t);
    }
    for (node t = 0; t < all_.size(); ++t) {
      if (!happened_[t]) continue;
      const std::vector<operation>& operations = all_[t].op.operations;
      for (std::size_t i = 0; i < operations.size(); ++i) {
        if (operations[i].append) continue;
        lists_[operations[i].key].reads.push_back({t, i, &operations[i].list});
      }
    }
  }

  void append(node t, const operation& one, per_key& key) {
    const auto [place, is_new] = key.appends.try_emplace(one.value, appended{t});
    if (!is_new) {
      find("not unique", isolation::read_committed,
           words("T", place->second.by, " and T", t, " append ", one.value, " to key ", one.key,
                 "; the check needs a new value for each append"),
           {place->second.by, t});
      return;
    }
    // Of one transaction they come in a row.
    for (auto before = key.in_order.rbegin(); before != key.in_order.rend() && before->first == t;
         ++before) {
      key.appends[before->second].last = false;
    }
    key.in_order.emplace_back(t, one.value);
  }

  // Effects: who appended what this transaction read has happened, if that was unknown.
  void mark_seen(node reader) {
    for (const operation& one : all_[reader].op.operations) {
      if (one.append) continue;
      per_key& key = lists_[one.key];
      const std::vector<value>& list = one.list;
      if (is_prefix(list, *key.order)) continue;
      // Most begin as the longest so far: then only what is new.
      const std::size_t known = is_prefix(*key.order, list) ? key.order->size() : 0;
      for (std::size_t i = known; i < list.size(); ++i) {
        const auto found = key.appends.find(list[i]);
        if (found == key.appends.end()) continue;
        const node by = found->second.by;
        if (all_[by].op.outcome == append_outcome::unknown) happened_[by] = true;
      }
      if (list.size() > key.order->size()) key.order = &list;
    }
  }

  static bool is_prefix(const std::vector<value>& list, const std::vector<value>& of) {
    return list.size() <= of.size() && std::equal(list.begin(), list.end(), of.begin());
  }

  void choose_order(std::uint64_t key, per_key& one) {
    node reader = nobody;
    one.order = &empty();
    for (const reading& read : one.reads) {
      if (read.list->size() <= one.order->size()) continue;
      one.order = read.list;
      reader = read.by;
    }
    for (reading& read : one.reads) take(one, read);
    for (std::size_t i = 0; i < one.order->size(); ++i) {
      const value v = (*one.order)[i];
      if (!one.places.try_emplace(v, i).second) {
        find("duplicate", isolation::read_committed,
             words("T", reader, " read ", v, " twice in key ", key, ", which was appended once"),
             {reader});
      }
      const auto found = one.appends.find(v);
      const bool counts = found != one.appends.end() && happened_[found->second.by];
      one.writers.push_back(counts ? found->second.by : nobody);
    }
  }

  void take(per_key& one, reading& read) {
    read.fits = is_prefix(*read.list, *one.order);
    if (!read.fits) {
      one.elsewhere.insert(read.list->begin(), read.list->end());
      return;
    }
    const auto size = [](const reading& of) { return of.list == nullptr ? 0 : of.list->size(); };
    if (size(read) > size(one.longest)) {
      if (one.longest.by != read.by) one.other = one.longest;
      one.longest = read;
    } else if (read.by != one.longest.by && size(read) > size(one.other)) {
      one.other = read;
    }
  }

  // Returns: whether somebody else read it.
  static bool was_seen(const per_key& one, node by, value v) {
    if (one.elsewhere.count(v) != 0) return true;
    const reading& of = one.longest.by == by ? one.other : one.longest;
    const auto place = one.places.find(v);
    return place != one.places.end() && of.list != nullptr && place->second < of.list->size();
  }

  // Who appended twice stands there twice, in this order; what nobody saw may be lost.
  void look_at_appends(std::uint64_t key, const per_key& one) {
    std::uint64_t last_begin = 0;
    node last = nobody;
    for (const reading& read : one.reads) {
      if (last != nobody && all_[read.by].when.invoked <= last_begin) continue;
      last_begin = all_[read.by].when.invoked;
      last = read.by;
    }
    for (std::size_t i = 0; i < one.in_order.size(); ++i) {
      const auto [t, v] = one.in_order[i];
      if (!happened_[t]) continue;
      const auto place = one.places.find(v);
      if (i + 1 < one.in_order.size() && one.in_order[i + 1].first == t) {
        const value next = one.in_order[i + 1].second;
        const auto after = one.places.find(next);
        const bool held = place != one.places.end();
        if (after != one.places.end() && (!held || after->second < place->second)) {
          find(held ? "incompatible order" : "lost append", isolation::read_committed,
               words(
                   "T", t, " appended ", v, " to key ", key, " and then ", next,
                   held ? "; they were read the other way round: " : "; only the second was read: ",
                   append_transaction::text_of_list(*one.order)),
               {t});
        }
      }
      const bool sure = all_[t].op.outcome == append_outcome::applied;
      if (sure && last != nobody && !was_seen(one, t, v) && all_[t].when.returned <= last_begin) {
        find("lost append", isolation::read_committed,
             words("T", t, " appended ", v, " to key ", key, ", which nobody else ever read; T",
                   last, " began after that and read it without"),
             {t, last});
      }
    }
  }

  void look_at_read(std::uint64_t key, const per_key& one, const reading& read) {
    const std::vector<value>& list = *read.list;
    if (!read.fits) look_at_other_order(key, one, read);
    // A prefix holds what the order holds: tell that once, of who read it first.
    const bool whole = read.list == one.order || !read.fits;
    for (std::size_t i = 0; whole && i < list.size(); ++i) look_at_value(key, one, read, list[i]);
    std::size_t end = list.size();
    const auto writer = [&](value v) {
      const auto found = one.appends.find(v);
      return found == one.appends.end() ? nullptr : &found->second;
    };
    for (; end != 0; --end) {
      const appended* const by = writer(list[end - 1]);
      if (by == nullptr) return;
      if (by->by == read.by) continue;
      if (by->last || all_[by->by].op.outcome == append_outcome::aborted) return;
      find("G1b", isolation::read_committed,
           words("T", read.by, " read ", list[end - 1], " of key ", key, ", after which T", by->by,
                 " appended more in the same transaction"),
           {read.by, by->by});
      return;
    }
  }

  void look_at_value(std::uint64_t key, const per_key& one, const reading& read, value v) {
    const auto found = one.appends.find(v);
    if (found == one.appends.end()) {
      find("unwritten", isolation::read_committed,
           words("T", read.by, " read ", v, " of key ", key, ", which nobody appended"), {read.by});
    } else if (all_[found->second.by].op.outcome == append_outcome::aborted) {
      const node by = found->second.by;
      find("G1a", isolation::read_committed,
           words("T", read.by, " read ", v, " of key ", key, ", which T", by,
                 " appended that was aborted"),
           {read.by, by});
    }
  }

  void look_at_other_order(std::uint64_t key, const per_key& one, const reading& read) {
    using list = append_transaction;
    node other = nobody;
    for (const reading& candidate : one.reads) {
      if (candidate.list == one.order) other = candidate.by;
    }
    find("incompatible order", isolation::read_committed,
         words("T", read.by, " read ", list::text_of_list(*read.list), " of key ", key, " and T",
               other, " read ", list::text_of_list(*one.order), "; neither begins the other"),
         {read.by, other});
    std::vector<value> sorted = *read.list;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice == sorted.end()) return;
    find("duplicate", isolation::read_committed,
         words("T", read.by, " read ", *twice, " twice in key ", key, ", which was appended once"),
         {read.by});
  }

  // Effects: adds what the reads of this key say about who came before whom.
  void connect(std::uint64_t key, const per_key& one) {
    const std::vector<value>& order = *one.order;
    const std::vector<std::pair<node, value>> unseen = unseen_of(one);
    std::vector<std::size_t> next(order.size() + 1, order.size());  // place that happened, from i
    for (std::size_t i = order.size(); i-- != 0;) {
      next[i] = one.writers[i] != nobody ? i : next[i + 1];
    }
    const auto replaced = [&](node from, dependency kind, value before, std::size_t after) {
      if (after != order.size()) {
        graph_.add({from, one.writers[after], kind, key, before, order[after]});
        return;
      }
      for (const auto& [by, v] : unseen) graph_.add({from, by, kind, key, before, v});
    };
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (one.writers[i] != nobody) {
        replaced(one.writers[i], dependency::ww, order[i], next[i + 1]);
      }
    }
    for (const reading& read : one.reads) {
      const std::size_t size = read.list->size();
      if (!read.fits) continue;
      std::size_t from = size;  // what it read that is not its own
      while (from != 0 && (one.writers[from - 1] == nobody || one.writers[from - 1] == read.by)) {
        --from;
      }
      if (from != 0) {
        graph_.add({one.writers[from - 1], read.by, dependency::wr, key, order[from - 1]});
      }
      replaced(read.by, dependency::rw, size == 0 ? dependency_edge::nothing : order[size - 1],
               next[size]);
    }
    look_for_lost_update(key, one);
  }

  // Returns: who appended what nobody saw, which therefore comes after all that was read: the first
  //          to return.
  [[nodiscard]] std::vector<std::pair<node, value>> unseen_of(const per_key& one) const {
    std::vector<std::pair<node, value>> unseen;
    for (const auto& [t, v] : one.in_order) {
      const bool sure = all_[t].op.outcome == append_outcome::applied;
      const bool read = one.places.count(v) != 0 || one.elsewhere.count(v) != 0;
      if (sure && !read) unseen.emplace_back(t, v);
    }
    std::sort(unseen.begin(), unseen.end(), [&](const auto& a, const auto& b) {
      const std::uint64_t left = all_[a.first].when.returned, right = all_[b.first].when.returned;
      return left != right ? left < right : a < b;
    });
    if (unseen.size() > ends) unseen.resize(ends);
    return unseen;
  }

  // Two that read the same list and appended to it: one of them overlooked the other.
  void look_for_lost_update(std::uint64_t key, const per_key& one) {
    std::map<value, node> first;  // by the value that the list ended with
    node done = nobody;
    for (const reading& read : one.reads) {
      if (read.by == done) continue;
      done = read.by;
      const std::vector<operation>& of = all_[read.by].op.operations;
      const auto appends = [&](const operation& o) { return o.append && o.key == key; };
      const auto begin = of.begin() + static_cast<std::ptrdiff_t>(read.at);
      if (std::any_of(of.begin(), begin, appends) || std::none_of(begin, of.end(), appends)) {
        continue;
      }
      const value end = read.list->empty() ? dependency_edge::nothing : read.list->back();
      const auto [place, is_new] = first.try_emplace(end, read.by);
      if (is_new) continue;
      find("lost update", isolation::snapshot_isolation,
           words("T", place->second, " and T", read.by, " both read key ", key, " as ",
                 append_transaction::text_of_list(*read.list), " and both appended to it"),
           {place->second, read.by});
    }
  }

  // A transaction sees its own appends, in their order, and none before it made it.
  void look_inside(node t) {
    std::map<std::uint64_t, std::vector<value>> all, so_far;
    const std::vector<operation>& operations = all_[t].op.operations;
    for (const operation& one : operations) {
      if (one.append) all[one.key].push_back(one.value);
    }
    for (const operation& one : operations) {
      if (one.append) so_far[one.key].push_back(one.value);
      const auto own = all.find(one.key);
      if (one.append || own == all.end()) continue;
      std::vector<value> seen;
      for (const value v : one.list) {
        if (std::find(own->second.begin(), own->second.end(), v) != own->second.end()) {
          seen.push_back(v);
        }
      }
      const std::vector<value>& made = so_far[one.key];
      if (seen == made) continue;
      find("internal", isolation::read_committed,
           words("T", t, " had appended ", append_transaction::text_of_list(made), " to key ",
                 one.key, " itself and read ", append_transaction::text_of_list(one.list)),
           {t});
    }
  }

  static isolation broken_by(const dependency_cycle& cycle) {
    if (cycle.real_time) return isolation::strict_serializable;
    if (cycle.kind == cycle_kind::G2) return isolation::serializable;
    return cycle.kind <= cycle_kind::G1c ? isolation::read_committed
                                         : isolation::snapshot_isolation;
  }

  void look_for_cycles() {
    std::vector<interval> when;
    when.reserve(all_.size());
    for (node t = 0; t < all_.size(); ++t) {
      when.push_back(all_[t].when);
      if (all_[t].op.outcome == append_outcome::unknown) when.back().returned = interval::never;
    }
    graph_.add_real_time(when);
    for (const dependency_cycle& cycle : graph_.cycles(few)) {
      const isolation breaks = broken_by(cycle);
      std::vector<node> of;
      for (const dependency_edge& one : cycle.edges) of.push_back(one.from);
      const std::string text = cycle.text();
      find(cycle.name(), breaks, text.substr(cycle.name().size() + 2), std::move(of));
    }
  }

  const std::vector<entry>& all_;
  std::vector<bool> happened_;
  std::map<std::uint64_t, per_key> lists_;
  std::map<std::string, std::size_t> told_;
  dependency_graph graph_;
  append_report report_;
};

}  // namespace history_detail

// Returns: the anomalies of these transactions. Those whose times are not known have the interval
//          {}: nothing came before or after them.
[[nodiscard]] inline append_report check_list_append(
    const std::vector<recorded<append_transaction>>& all) {
  return history_detail::append_check(all)();
}

}  // namespace interlock::testing
