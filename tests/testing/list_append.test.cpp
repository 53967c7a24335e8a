// SPDX-License-Identifier: BSL-1.0
// Each anomaly by a history written by hand, a store with seeded bugs, and graphs by brute force.

#include <interlock/testing/dependency_graph.hpp>
#include <interlock/testing/list_append.hpp>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace interlock::testing;  // NOLINT: this file is about nothing else

namespace {

using entry = recorded<append_transaction>;
using operation = append_transaction::operation;
using list = std::vector<std::uint64_t>;

operation append(std::uint64_t key, std::uint64_t value) {
  return {true, key, value, {}};
}
operation read(std::uint64_t key, list what) {
  return {false, key, 0, std::move(what)};
}

entry did(std::vector<operation> what, interval when = {},
          append_outcome outcome = append_outcome::applied) {
  return {{std::move(what), outcome}, when, 0};
}
entry aborted(std::vector<operation> what) {
  return did(std::move(what), {}, append_outcome::aborted);
}
entry unknown(std::vector<operation> what, interval when = {}) {
  return did(std::move(what), when, append_outcome::unknown);
}

constexpr isolation levels[] = {isolation::read_committed, isolation::snapshot_isolation,
                                isolation::serializable, isolation::strict_serializable};

// Says where a history does not have this anomaly, in these words, or which level it breaks first.
void has(const std::vector<entry>& all, const char* name, isolation weakest,
         std::initializer_list<const char*> parts = {}) {
  const append_report found = check_list_append(all);
  CAPTURE(name, found.at(isolation::strict_serializable).text());
  CHECK(found.has(name));
  for (const isolation level : levels) {
    CAPTURE(static_cast<int>(level));
    CHECK(static_cast<bool>(found.at(level)) == (level < weakest));
  }
  for (const char* const part : parts) {
    CAPTURE(part);
    CHECK(found.at(weakest).violation.find(part) != std::string::npos);
  }
}
void clean(const std::vector<entry>& all) {
  const append_report found = check_list_append(all);
  CHECK(found.at(isolation::strict_serializable));
  CHECK(found.findings.empty());
}

}  // namespace

TEST_CASE("Each kind of anomaly is found and named") {
  using enum isolation;
  SECTION("none") {
    clean({});
    clean({did({append(1, 1)}, {0, 1}), did({read(1, {1}), append(1, 2)}, {1, 2}),
           did({append(1, 3), read(1, {1, 2, 3}), append(2, 4)}, {2, 3}),
           did({read(1, {1, 2, 3}), read(2, {4})}, {3, 4})});
    // At once: in any order.
    clean({did({append(1, 1)}, {0, 5}), did({read(1, {})}, {0, 5}), did({read(1, {1})}, {1, 5})});
    // An aborted append that nobody read, and what the aborted read itself.
    clean({aborted({append(1, 1), read(1, {7, 1})}), did({append(1, 2)}), did({read(1, {2})})});
  }
  SECTION("what was aborted is read") {
    has({aborted({append(1, 7)}), did({read(1, {7})})}, "G1a", read_committed,
        {"T1 read 7 of key 1, which T0 appended that was aborted", "T0 is thread 0: aborted"});
    // In the middle of the longest list, and in one that does not begin it.
    has({aborted({append(1, 7)}), did({append(1, 8)}), did({read(1, {7, 8})}), did({read(1, {8})})},
        "G1a", read_committed);
    has({aborted({append(1, 7)}), did({append(1, 8)}), did({append(1, 9)}), did({read(1, {7})}),
         did({read(1, {8, 9})})},
        "G1a", read_committed);
  }
  SECTION("half of a transaction is read") {
    has({did({append(1, 1), append(1, 2)}), did({read(1, {1})}), did({read(1, {1, 2})})}, "G1b",
        read_committed, {"T1 read 1 of key 1, after which T0 appended more"});
    has({did({append(1, 1), append(1, 2)}), did({append(1, 3), read(1, {1, 3})}),
         did({read(1, {1, 3, 2})})},
        "G1b", read_committed);
  }
  SECTION("what nobody appended is read") {
    has({did({read(1, {5})})}, "unwritten", read_committed, {"T0 read 5 of key 1"});
  }
  SECTION("an append is there twice") {
    has({did({append(1, 1)}), did({read(1, {1, 1})})}, "duplicate", read_committed,
        {"T1 read 1 twice in key 1"});
    has({did({append(1, 1)}), did({append(1, 2)}), did({append(1, 3)}), did({read(1, {1, 2, 3})}),
         did({read(1, {1, 1})})},
        "duplicate", read_committed);
    has({did({append(1, 1)}), did({append(1, 1)})}, "not unique", read_committed);
  }
  SECTION("two lists of which neither begins the other") {
    has({did({append(1, 1)}), did({append(1, 2)}), did({read(1, {1, 2})}), did({read(1, {2})})},
        "incompatible order", read_committed, {"T3 read [2] of key 1", "T2 read [1 2]"});
    has({did({append(1, 1), append(1, 2)}), did({read(1, {2, 1})})}, "incompatible order",
        read_committed, {"the other way round"});
  }
  SECTION("an append is lost") {
    has({did({append(1, 1)}, {0, 1}), did({append(1, 2)}, {0, 1}), did({read(1, {2})}, {2, 3})},
        "lost append", read_committed, {"T0 appended 1 to key 1", "T2 began after that"});
    has({did({append(1, 1), append(1, 2)}), did({read(1, {2})})}, "lost append", read_committed,
        {"only the second was read"});
    // Its own read does not save it.
    has({did({append(1, 1), read(1, {1})}, {0, 1}), did({read(1, {})}, {2, 3})}, "lost append",
        read_committed);
    // Who began before it returned may have missed it.
    clean({did({append(1, 1)}, {0, 3}), did({read(1, {})}, {2, 4})});
  }
  SECTION("a transaction does not see its own append") {
    has({did({append(1, 1), read(1, {})})}, "internal", read_committed,
        {"T0 had appended [1] to key 1 itself and read []"});
    has({did({read(1, {1}), append(1, 1)})}, "internal", read_committed);
    has({did({append(1, 1), append(1, 2), read(1, {2, 1})})}, "internal", read_committed);
  }
  SECTION("a circle of writes") {
    has({did({append(1, 1), append(2, 2)}), did({append(1, 3), append(2, 4)}),
         did({read(1, {1, 3}), read(2, {4, 2})})},
        "G0", read_committed,
        {"T0 wrote 1 to key 1 before T1 wrote 3", "T1 wrote 4 to key 2 before T0 wrote 2"});
  }
  SECTION("a circle of writes and reads") {
    has({did({append(1, 1), read(2, {2})}), did({append(2, 2), read(1, {1})})}, "G1c",
        read_committed,
        {"T0 wrote 1 to key 1 and T1 read it", "T1 wrote 2 to key 2 and T0 read it"});
  }
  SECTION("one of two writes is read") {
    has({did({append(1, 1), append(2, 2)}), did({read(1, {1}), read(2, {})}), did({read(2, {2})})},
        "G-single", snapshot_isolation,
        {"T0 wrote 1 to key 1 and T1 read it", "T1 read nothing of key 2 before T0 wrote 2"});
    // Also if nobody saw the other.
    has({did({append(1, 1), append(2, 2)}), did({read(1, {1}), read(2, {})})}, "G-single",
        snapshot_isolation);
    // A list that changes while it is read twice.
    has({did({append(1, 1)}), did({read(1, {}), read(1, {1})})}, "G-single", snapshot_isolation);
  }
  SECTION("two append to what both read") {
    const std::vector<entry> both{did({read(1, {}), append(1, 1)}),
                                  did({read(1, {}), append(1, 2)})};
    has(both, "lost update", snapshot_isolation, {"T0 and T1 both read key 1 as []"});
    std::vector<entry> seen = both;
    seen.push_back(did({read(1, {1, 2})}));
    has(seen, "lost update", snapshot_isolation);
    has(seen, "G-single", snapshot_isolation);
    seen.back() = did({read(1, {2})});
    has(seen, "G-single", snapshot_isolation);
  }
  SECTION("two rw that are not in a row") {
    // Two readers see two writes in different orders.
    has({did({append(1, 1)}), did({append(2, 2)}), did({read(1, {1}), read(2, {})}),
         did({read(1, {}), read(2, {2})})},
        "G-nonadjacent", snapshot_isolation);
  }
  SECTION("write skew") {
    has({did({read(1, {}), append(2, 2)}), did({read(2, {}), append(1, 1)}), did({read(1, {1})}),
         did({read(2, {2})})},
        "G2", serializable,
        {"T0 read nothing of key 1 before T1 wrote 1",
         "T1 read nothing of key 2 before T0 wrote 2"});
    // Also if nobody saw what they wrote.
    has({did({read(1, {}), append(2, 2)}), did({read(2, {}), append(1, 1)})}, "G2", serializable);
  }
  SECTION("one grave circle after many that are not") {
    std::vector<entry> all;
    for (std::uint64_t key = 10; key < 50; key += 2) {
      all.push_back(did({read(key, {}), append(key + 1, 2)}));
      all.push_back(did({read(key + 1, {}), append(key, 1)}));
    }
    all.push_back(did({append(1, 1), read(2, {2})}));
    all.push_back(did({append(2, 2), read(1, {1})}));
    has(all, "G1c", read_committed, {"T40 wrote 1 to key 1 and T41 read it"});
    CHECK(check_list_append(all).has("G2"));
  }
  SECTION("an old moment is read") {
    has({did({append(1, 1)}, {0, 1}), did({read(1, {1})}, {1, 2}), did({read(1, {})}, {2, 3})},
        "G-single-realtime", strict_serializable,
        {"T2 read nothing of key 1 before T0 wrote 1", "returned before T2 began"});
    has({did({append(1, 2)}, {0, 1}), did({append(1, 1)}, {2, 3}), did({read(1, {1, 2})}, {4, 5})},
        "G0-realtime", strict_serializable);
    has({did({append(1, 1)}, {3, 4}), did({read(1, {1})}, {0, 1})}, "G1c-realtime",
        strict_serializable);
  }
}

TEST_CASE("A transaction with an unknown outcome counts once one of its appends was read") {
  // It may never happen, happen, or happen later.
  clean({unknown({append(1, 1)}, {0, 1}), did({read(1, {})}, {2, 3})});
  clean({unknown({append(1, 1)}, {0, 1}), did({read(1, {1})}, {2, 3})});
  clean({unknown({append(1, 1)}, {0, 1}), did({read(1, {})}, {2, 3}), did({read(1, {1})}, {4, 5})});
  // If one of its appends was read, both happened.
  has({unknown({append(1, 1), append(2, 2)}), did({read(1, {1}), read(2, {})}),
       did({read(2, {2})})},
      "G-single", isolation::snapshot_isolation);
  // What it read counts as well.
  has({unknown({read(1, {}), append(2, 2)}), did({read(2, {}), append(1, 1)}), did({read(1, {1})}),
       did({read(2, {2})})},
      "G2", isolation::serializable);
  clean({unknown({read(1, {}), append(2, 2)}), did({read(2, {}), append(1, 1)})});
}

TEST_CASE("Real time counts only for strict serializability and for appends that were lost") {
  const auto stale = [](interval writer, interval reader) {
    return check_list_append(
        {did({append(1, 1)}, writer), did({read(1, {1})}), did({read(1, {})}, reader)});
  };
  CHECK(stale({0, 2}, {1, 3}).at(isolation::strict_serializable));
  CHECK_FALSE(stale({0, 1}, {1, 3}).at(isolation::strict_serializable));
  CHECK(stale({0, 1}, {1, 3}).at(isolation::serializable));
  CHECK(stale({}, {}).at(isolation::strict_serializable));
}

namespace {

enum class bug { none, dirty_read, lost_update, write_skew, stale_read };

// A store of several versions, whose transactions take turns: reads of the moment of their begin,
// commit if nothing that was read has changed. One thread plays all workers.
class simulated {
public:
  simulated(bug which, std::uint64_t seed, std::size_t workers)
      : bug_(which), random_(seed), log_(workers), moments_(1) {
    for (std::size_t i = 0; i < workers; ++i) workers_.emplace_back();
  }

  void run(std::size_t transactions) {
    while (done_ < transactions) {
      const std::size_t me = pick(workers_.size());
      step(me, workers_[me]);
    }
    for (std::size_t me = 0; me < workers_.size(); ++me) {
      while (workers_[me].open) step(me, workers_[me]);
    }
    auto last = log_.begin(0);
    for (const auto& [key, what] : moments_.back()) last.read(key, what);
    last.applied();
  }
  [[nodiscard]] append_report check() const { return log_.check(); }
  [[nodiscard]] std::vector<entry> transactions() const { return log_.transactions(); }

private:
  using moment = std::map<std::uint64_t, list>;
  struct worker {
    std::optional<list_append::transaction> open;
    std::size_t left = 0;  // operations
    bool writes = false;
    std::size_t began = 0;  // which moment it sees
    std::set<std::uint64_t> read;
    moment own;
  };

  std::size_t pick(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }

  void step(std::size_t me, worker& w) {
    if (!w.open) {
      w.open.emplace(log_.begin(me));
      w.left = 1 + pick(4);
      w.writes = pick(3) != 0;
      w.began = moments_.size() - 1;
      if (bug_ == bug::stale_read && !w.writes) w.began -= std::min<std::size_t>(w.began, pick(6));
    } else if (w.left != 0) {
      --w.left;
      act(w);
    } else {
      end(w);
    }
  }

  void act(worker& w) {
    const std::uint64_t key = newest_ + pick(4);
    if (w.writes && pick(2) == 0) {
      w.own[key].push_back(w.open->append(key));
      return;
    }
    list seen = at(w.began, key);
    if (bug_ == bug::dirty_read) {
      seen = at(moments_.size() - 1, key);
      for (const worker& other : workers_) {
        if (&other != &w && other.own.count(key) != 0) add(seen, other.own.at(key));
      }
    }
    if (w.own.count(key) != 0) add(seen, w.own.at(key));
    w.read.insert(key);
    w.open->read(key, std::move(seen));
    if (w.writes && pick(3) == 0) w.own[key].push_back(w.open->append(key));
  }

  void end(worker& w) {
    bool changed = pick(10) == 0;  // rolled back for reasons of its own
    for (const auto& [key, values] : w.own) {
      if (bug_ == bug::write_skew) changed = changed || overlooks(w, key);
    }
    for (const std::uint64_t key : w.read) {
      const bool looks = bug_ != bug::write_skew && bug_ != bug::lost_update;
      if (looks && !w.own.empty()) changed = changed || overlooks(w, key);
    }
    if (changed && pick(10) == 0) {
      w.open->unknown();
    } else if (changed) {
      w.open->aborted();
    } else {
      moment next = moments_.back();
      for (const auto& [key, values] : w.own) {
        if (bug_ == bug::lost_update) next[key] = at(w.began, key);
        add(next[key], values);
      }
      if (!w.own.empty()) moments_.push_back(std::move(next));
      if (pick(10) == 0) {
        w.open->unknown();
      } else {
        w.open->applied();
      }
    }
    if (++done_ % 50 == 0) ++newest_;
    w.open.reset();
    w.read.clear();
    w.own.clear();
  }

  bool overlooks(const worker& w, std::uint64_t key) {
    return at(w.began, key) != at(moments_.size() - 1, key);
  }
  const list& at(std::size_t which, std::uint64_t key) { return moments_[which][key]; }
  static void add(list& to, const list& values) {
    to.insert(to.end(), values.begin(), values.end());
  }

  bug bug_;
  std::mt19937_64 random_;
  list_append log_;
  std::vector<moment> moments_;
  std::vector<worker> workers_;
  std::size_t done_ = 0;
  std::uint64_t newest_ = 0;  // the keys in use begin here
};

append_report simulate(bug which, std::uint64_t seed, std::size_t transactions) {
  simulated store(which, seed, 8);
  store.run(transactions);
  return store.check();
}

}  // namespace

TEST_CASE("A strictly serializable store is accused of nothing") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const append_report found = simulate(bug::none, seed, 400);
    CAPTURE(seed);
    CHECK(found.at(isolation::strict_serializable));
    CHECK(found.operations > 400);
  }
}

TEST_CASE("A store with a seeded bug is caught within 400 transactions") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    const append_report dirty = simulate(bug::dirty_read, seed, 400);
    CHECK(dirty.has("G1a"));
    CHECK_FALSE(dirty.at(isolation::read_committed));

    const append_report lost = simulate(bug::lost_update, seed, 400);
    CHECK(lost.has("lost update"));
    CHECK((lost.has("lost append") || lost.has("incompatible order")));
    CHECK_FALSE(lost.at(isolation::snapshot_isolation));

    const append_report skewed = simulate(bug::write_skew, seed, 400);
    CHECK(skewed.has("G2"));
    CHECK(skewed.at(isolation::snapshot_isolation));
    CHECK_FALSE(skewed.at(isolation::serializable));

    const append_report stale = simulate(bug::stale_read, seed, 400);
    CHECK(stale.has("G-single-realtime"));
    CHECK(stale.at(isolation::serializable));
    CHECK_FALSE(stale.at(isolation::strict_serializable));
  }
}

namespace {

struct small_graph {
  std::size_t size = 0;
  std::vector<dependency_edge> edges;
  std::vector<interval> when;

  explicit small_graph(std::mt19937& random) {
    const auto pick = [&](std::size_t n) {
      return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    size = 2 + pick(4);
    for (std::size_t i = 0, n = pick(size * 3); i < n; ++i) {
      const auto from = static_cast<std::uint32_t>(pick(size));
      const auto to = static_cast<std::uint32_t>(pick(size));
      if (from != to) edges.push_back({from, to, static_cast<dependency>(pick(3)), i, 0, 1});
    }
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t begin = pick(12);
      when.push_back({begin, pick(4) == 0 ? interval::never : begin + 1 + pick(6)});
    }
  }
};

// All cycles without a node twice, each from its smallest node.
struct brute_force {
  explicit brute_force(const small_graph& graph) : edges(graph.edges) {
    for (std::uint32_t a = 0; a < graph.size; ++a) {
      for (std::uint32_t b = 0; b < graph.size; ++b) {
        if (a != b && precedes(graph.when[a], graph.when[b]))
          edges.push_back({a, b, dependency::rt});
      }
    }
    for (std::uint32_t i = 0; i < graph.size; ++i) extend(i, i);
  }

  void extend(std::uint32_t first, std::uint32_t at) {
    for (const dependency_edge& one : edges) {
      if (one.from != at || one.to < first) continue;
      const bool twice = std::any_of(way.begin(), way.end(),
                                     [&](const dependency_edge& e) { return e.from == one.to; });
      if (twice && one.to != first) continue;
      way.push_back(one);
      if (one.to == first) {
        found.push_back(kind_of(way));
      } else {
        extend(first, one.to);
      }
      way.pop_back();
    }
  }

  static dependency_cycle kind_of(const std::vector<dependency_edge>& way) {
    std::size_t rw = 0, wr = 0, rt = 0;
    bool adjacent = false;
    for (std::size_t i = 0; i < way.size(); ++i) {
      const dependency_edge& next = way[(i + 1) % way.size()];
      wr += way[i].kind == dependency::wr;
      rw += way[i].kind == dependency::rw;
      rt += way[i].kind == dependency::rt;
      adjacent = adjacent || (way[i].kind == dependency::rw && next.kind == dependency::rw);
    }
    const cycle_kind kind = rw == 1   ? cycle_kind::G_single
                            : rw > 1  ? adjacent ? cycle_kind::G2 : cycle_kind::G_nonadjacent
                            : wr != 0 ? cycle_kind::G1c
                                      : cycle_kind::G0;
    return {kind, rt != 0, way};
  }

  std::vector<dependency_edge> edges, way;
  std::vector<dependency_cycle> found;
};

std::set<std::uint32_t> nodes_of(const dependency_cycle& cycle) {
  std::set<std::uint32_t> nodes;
  for (const dependency_edge& one : cycle.edges) nodes.insert(one.from);
  return nodes;
}

// Returns: the nodes that cycles with these (without rt, or all) connect with the node.
std::set<std::uint32_t> component(const std::vector<dependency_cycle>& all, std::uint32_t node,
                                  bool real_time) {
  std::set<std::uint32_t> nodes{node};
  for (std::size_t old = 0; old != nodes.size();) {
    old = nodes.size();
    for (const dependency_cycle& one : all) {
      if (one.real_time && !real_time) continue;
      const std::set<std::uint32_t> of = nodes_of(one);
      if (std::any_of(of.begin(), of.end(), [&](auto n) { return nodes.count(n) != 0; })) {
        nodes.insert(of.begin(), of.end());
      }
    }
  }
  return nodes;
}

// Calls f(graph, what was found, what brute force found) for many graphs.
template <class F>
void for_random_graphs(F f) {
  std::mt19937 random(1);
  for (int i = 0; i < 4'000; ++i) {
    const small_graph one(random);
    dependency_graph graph(one.size);
    for (const dependency_edge& edge : one.edges) graph.add(edge);
    graph.add_real_time(one.when);
    f(graph.cycles(), brute_force(one).found);
  }
}

}  // namespace

TEST_CASE("A cycle is found exactly if there is one") {
  std::size_t with = 0, without = 0, wrong = 0;
  for_random_graphs([&](const auto& found, const auto& all) {
    ++(all.empty() ? without : with);
    wrong += found.empty() != all.empty();
    for (const dependency_cycle& one : found) {
      for (std::size_t i = 0; i < one.edges.size(); ++i) {
        wrong += one.edges[i].to != one.edges[(i + 1) % one.edges.size()].from;
      }
      const dependency_cycle told = brute_force::kind_of(one.edges);
      wrong += told.kind != one.kind || told.real_time != one.real_time;
    }
  });
  CHECK(wrong == 0);
  CHECK(with > 500);
  CHECK(without > 500);
}

TEST_CASE("Its kind is the gravest of its component and no cycle of that kind is shorter") {
  std::map<std::string, std::size_t> seen;
  std::size_t wrong = 0;
  for_random_graphs([&](const auto& found, const auto& all) {
    for (const dependency_cycle& one : found) {
      ++seen[one.name()];
      const auto nodes = component(all, one.edges.front().from, one.real_time);
      for (const dependency_cycle& other : all) {
        if ((other.real_time && !one.real_time) || nodes.count(other.edges.front().from) == 0)
          continue;
        wrong += other.kind < one.kind;
        wrong += other.kind == one.kind && other.edges.size() < one.edges.size();
      }
    }
  });
  CHECK(wrong == 0);
  for (const char* const name : {"G0", "G1c", "G-single", "G-nonadjacent", "G2", "G0-realtime",
                                 "G1c-realtime", "G-single-realtime", "G2-realtime"}) {
    CAPTURE(name);
    CHECK(seen[name] != 0);
  }
  // Too rare for chance.
  dependency_graph graph(4);
  graph.add({.from = 0, .to = 1, .kind = dependency::rw});
  graph.add({.from = 1, .to = 2, .kind = dependency::wr});
  graph.add({.from = 2, .to = 3, .kind = dependency::rw});
  graph.add_real_time({{1, 2}, {}, {}, {0, 1}});
  REQUIRE(graph.cycles().size() == 1);
  CHECK(graph.cycles().front().name() == "G-nonadjacent-realtime");
  CHECK(graph.cycles().front().edges.size() == 4);
}

TEST_CASE("Real time is blamed only where no cycle does without it") {
  std::size_t blamed = 0, wrong = 0;
  for_random_graphs([&](const auto& found, const auto& all) {
    for (const dependency_cycle& one : found) {
      if (!one.real_time) continue;
      ++blamed;
      const auto nodes = component(all, one.edges.front().from, true);
      for (const dependency_cycle& other : all) {
        wrong += !other.real_time && nodes.count(other.edges.front().from) != 0;
      }
    }
  });
  CHECK(wrong == 0);
  CHECK(blamed > 100);
}
