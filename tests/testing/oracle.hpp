// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/oracle.hpp - RC11 straight from its axioms: every choice of who reads from whom and
// of every order of the stores, each tested for consistency. Plain, and shares no code with the
// engine: it says how many executions a small program has, with which outcomes, and whether two
// accesses race.
//
// O. Lahav, V. Vafeiadis, J. Kang, C.-K. Hur, D. Dreyer, "Repairing Sequential Consistency in
// C/C++11", PLDI 2017; release sequences as in C++20 (P0982).

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace oracle {

enum class what { load, store, add, exchange, cas, fence, choose };
enum order { relaxed, acquire, release, acq_rel, seq_cst, plain };
constexpr int registers = 8;

// A constant, plus a register if there is one.
struct number {
  number(int c = 0, int r = -1) : constant(c), from(r) {}  // NOLINT: a constant is a number
  int constant;
  int from;
};

struct instruction {
  what kind;
  int place;        // which object
  order strong;     // memory order; of a compare_exchange on success; plain: not atomic
  order weak;       // of a compare_exchange on failure
  number value;     // stored, added, or the new value; of choose: the number of options
  number expected;  // of a compare_exchange; of a load that waits: what it waits for
  int result = -1;  // the register for what was read
  bool waits = false;
  int only_if = -1;  // executed only if this register has, or has not, ...
  bool equal = true;
  int this_value = 0;
};

using program = std::vector<std::vector<instruction>>;

// What an outcome tells: a register, or the last value of an object.
struct observed {
  bool object;
  int index;
};

class enumeration {
public:
  std::uint64_t executions = 0;
  bool races = false;
  std::set<std::string> outcomes;

  explicit enumeration(program p, std::vector<observed> watched = {})
      : program_(std::move(p)), watched_(std::move(watched)) {
    guess(0, 0);
  }

private:
  static constexpr int most = 64;
  struct matrix {
    std::array<std::uint64_t, most> row{};
  };
  struct ev {
    int thread, position;  // thread -1: initial value
    bool reads, writes, fence;
    int place;
    order strong;
    const instruction* from;
    int partner;  // write half of an update: its read half
  };
  struct choice {  // what was guessed about an instruction, and is tested against the values
    bool done = true, success = true;
    int option = 0;
  };

  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  const ev& e(int i) const { return events_[at(i)]; }

  // ---- which instructions are executed, which compare_exchange succeeds ----
  void guess(std::size_t t, std::size_t i) {
    if (t == program_.size()) {
      build();
      choose_source(places_);
      return;
    }
    if (i == 0) guesses_.resize(t + 1);
    if (i == program_[t].size()) return guess(t + 1, 0);
    const instruction& one = program_[t][i];
    const int options = one.kind == what::choose ? one.value.constant : 1;
    for (int done = one.only_if < 0 ? 1 : 0; done < 2; ++done) {
      for (int success = one.kind == what::cas && done == 1 ? 0 : 1; success < 2; ++success) {
        for (int option = 0; option < (done == 1 ? options : 1); ++option) {
          guesses_[t].push_back({done == 1, success == 1, option});
          guess(t, i + 1);
          guesses_.resize(t + 1);
          guesses_[t].pop_back();
        }
      }
    }
  }

  void build() {
    events_.clear();
    places_ = 0;
    for (const auto& thread : program_) {
      for (const instruction& i : thread) places_ = std::max(places_, i.place + 1);
    }
    for (int p = 0; p < places_; ++p) {
      events_.push_back({-1, p, false, true, false, p, relaxed, nullptr, -1});
    }
    for (std::size_t t = 0; t < program_.size(); ++t) {
      for (std::size_t i = 0; i < program_[t].size(); ++i) {
        const instruction& one = program_[t][i];
        const choice& c = guesses_[t][i];
        if (!c.done || one.kind == what::choose) continue;
        const int thread = static_cast<int>(t);
        const int position = 2 * static_cast<int>(i);
        if (one.kind == what::fence) {
          events_.push_back({thread, position, false, false, true, -1, one.strong, &one, -1});
          continue;
        }
        const order in_force = one.kind == what::cas && !c.success ? one.weak : one.strong;
        const bool reads = one.kind != what::store;
        const bool writes = one.kind != what::load && c.success;
        if (reads) {
          events_.push_back({thread, position, true, false, false, one.place, in_force, &one, -1});
        }
        if (writes) {
          const int partner = reads ? static_cast<int>(events_.size()) - 1 : -1;
          events_.push_back(
              {thread, position + 1, false, true, false, one.place, in_force, &one, partner});
        }
      }
    }
    n_ = static_cast<int>(events_.size());
    if (n_ > most) std::abort();
    source_.assign(events_.size(), -1);
    value_.assign(events_.size(), 0);
  }

  bool updates(int reader) const {
    return reader + 1 < n_ && e(reader + 1).partner == reader;
  }

  void choose_source(int i) {
    if (i == n_) {
      porf_ = closure(either(po(), rf()));
      if (!irreflexive(porf_) || !values_hold()) return;
      orders_.assign(at(places_), {});
      choose_order(0);
      return;
    }
    if (!e(i).reads) return choose_source(i + 1);
    for (int w = 0; w < n_; ++w) {
      if (!e(w).writes || e(w).place != e(i).place || e(w).partner == i) continue;
      if (e(w).thread == e(i).thread && w > i) continue;
      bool taken = false;  // two updates of one value
      for (int r = places_; r < i && updates(i); ++r) {
        taken = taken || (e(r).reads && updates(r) && source_[at(r)] == w);
      }
      if (taken) continue;
      source_[at(i)] = w;
      choose_source(i + 1);
    }
  }

  void choose_order(int place) {
    if (place == places_) return judge();
    std::vector<int> stores;
    for (int w = places_; w < n_; ++w) {
      if (e(w).writes && e(w).place == place) stores.push_back(w);
    }
    const auto backwards = [&](std::size_t i) {  // a thread's own stores keep their order
      for (std::size_t k = 0; k < i; ++k) {
        if (e(stores[k]).thread == e(stores[i]).thread && stores[k] > stores[i]) return true;
      }
      return false;
    };
    do {
      bool coherent = true;
      for (std::size_t i = 1; i < stores.size() && coherent; ++i) coherent = !backwards(i);
      if (!coherent) continue;
      auto& list = orders_[at(place)];
      list = {place};
      list.insert(list.end(), stores.begin(), stores.end());
      choose_order(place + 1);
    } while (std::next_permutation(stores.begin(), stores.end()));
  }

  // ---- relations ----
  template <class Predicate>
  matrix where(Predicate p) const {
    matrix m;
    for (int a = 0; a < n_; ++a) {
      for (int b = 0; b < n_; ++b) {
        if (p(a, b)) m.row[at(a)] |= std::uint64_t{1} << b;
      }
    }
    return m;
  }
  static bool get(const matrix& m, int a, int b) { return ((m.row[at(a)] >> b) & 1U) != 0; }
  matrix then(const matrix& x, const matrix& y) const {
    matrix m;
    for (int a = 0; a < n_; ++a) {
      for (int c = 0; c < n_; ++c) {
        if (get(x, a, c)) m.row[at(a)] |= y.row[at(c)];
      }
    }
    return m;
  }
  template <class Operation>
  matrix each(const matrix& x, const matrix& y, Operation f) const {
    matrix m;
    for (int a = 0; a < n_; ++a) m.row[at(a)] = f(x.row[at(a)], y.row[at(a)]);
    return m;
  }
  matrix either(const matrix& x, const matrix& y) const {
    return each(x, y, [](std::uint64_t a, std::uint64_t b) { return a | b; });
  }
  matrix both(const matrix& x, const matrix& y) const {
    return each(x, y, [](std::uint64_t a, std::uint64_t b) { return a & b; });
  }
  matrix without(const matrix& x, const matrix& y) const {
    return each(x, y, [](std::uint64_t a, std::uint64_t b) { return a & ~b; });
  }
  matrix maybe(const matrix& x) const {
    return either(x, where([](int a, int b) { return a == b; }));
  }
  matrix closure(matrix x) const {
    for (int c = 0; c < n_; ++c) {
      for (int a = 0; a < n_; ++a) {
        if (get(x, a, c)) x.row[at(a)] |= x.row[at(c)];
      }
    }
    return x;
  }
  bool irreflexive(const matrix& x) const {
    for (int a = 0; a < n_; ++a) {
      if (get(x, a, a)) return false;
    }
    return true;
  }
  template <class Predicate>
  matrix only(Predicate p) const {
    return where([&](int a, int b) { return a == b && p(e(a)); });
  }
  matrix po() const {
    return where([&](int a, int b) {
      if (e(a).thread < 0) return e(b).thread >= 0;
      return e(a).thread == e(b).thread && e(a).position < e(b).position;
    });
  }
  matrix rf() const {
    return where([&](int a, int b) { return e(b).reads && source_[at(b)] == a; });
  }

  // ---- values ----

  // Runs the threads as far as their values are known, again and again: values follow porf, which
  // has no cycle. Returns: whether all guesses are right.
  bool values_hold() {
    std::vector<char> known(events_.size(), 0);
    for (int p = 0; p < places_; ++p) known[at(p)] = 1;
    bool progress = true;
    bool complete = false;
    while (progress && !complete) {
      progress = false;
      complete = true;
      for (std::size_t t = 0; t < program_.size(); ++t) {
        if (!run_thread(t, known, progress, complete)) return false;
      }
    }
    return complete;
  }

  bool run_thread(std::size_t t, std::vector<char>& known, bool& progress, bool& complete) {
    for (const instruction& one : program_[t]) keep(one, 0);
    int i = places_;
    while (i < n_ && e(i).thread < static_cast<int>(t)) ++i;
    for (std::size_t k = 0; k < program_[t].size(); ++k) {
      const instruction& one = program_[t][k];
      const choice& c = guesses_[t][k];
      if (one.only_if >= 0) {
        const bool holds = (registers_[at(one.only_if)] == one.this_value) == one.equal;
        if (holds != c.done) return false;
      }
      if (!c.done) continue;
      if (one.kind == what::choose) {
        keep(one, c.option);
        continue;
      }
      int old = 0;
      if (i < n_ && e(i).reads && e(i).from == &one) {
        const int source = source_[at(i)];
        if (known[at(source)] == 0) {
          complete = false;
          return true;
        }
        settle(i++, old = value_[at(source)], known, progress);
        if (one.waits && old != of(one.expected)) return false;
        if (one.kind == what::cas && (old == of(one.expected)) != c.success) return false;
      }
      if (one.kind == what::fence) ++i;
      if (i < n_ && e(i).writes && e(i).from == &one) {
        settle(i++, of(one.value) + (one.kind == what::add ? old : 0), known, progress);
      }
      keep(one, old);
    }
    return true;
  }
  int of(const number& n) const {
    return n.constant + (n.from < 0 ? 0 : registers_[at(n.from)]);
  }
  void keep(const instruction& one, int value) {
    if (one.result >= 0) registers_[at(one.result)] = value;
  }
  void settle(int i, int value, std::vector<char>& known, bool& progress) {
    progress = progress || known[at(i)] == 0;
    known[at(i)] = 1;
    value_[at(i)] = value;
  }

  // ---- the axioms ----
  void judge() {
    matrix co;
    for (const auto& list : orders_) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        for (std::size_t k = i + 1; k < list.size(); ++k) {
          co.row[at(list[i])] |= std::uint64_t{1} << list[k];
        }
      }
    }
    const matrix sb = po();
    const matrix source = rf();
    const matrix rb = where([&](int a, int b) {
      return e(a).reads && e(b).writes && get(co, source_[at(a)], b);
    });
    if (!atomic(co)) return;
    const matrix hb = closure(either(sb, synchronizes(sb, source)));
    const matrix eco = closure(either(source, either(co, rb)));
    if (!irreflexive(hb) || !irreflexive(then(hb, eco))) return;
    if (!sequential(sb, hb, eco, either(co, rb))) return;
    ++executions;
    races = races || race(hb);
    if (!watched_.empty()) outcomes.insert(outcome());
  }

  // Nothing comes between what an update read and what it wrote.
  bool atomic(const matrix& co) const {
    for (int w = 0; w < n_; ++w) {
      if (e(w).partner < 0) continue;
      const int s = source_[at(e(w).partner)];
      if (!get(co, s, w)) return false;
      for (int m = 0; m < n_; ++m) {
        if (get(co, s, m) && get(co, m, w)) return false;
      }
    }
    return true;
  }

  matrix synchronizes(const matrix& sb, const matrix& source) const {
    const matrix update =
        where([&](int a, int b) { return e(b).partner == a && e(b).partner >= 0; });
    // Release sequence (C++20): a store, then updates each reading from the one before.
    const matrix sequence = maybe(closure(then(source, update)));
    const auto is_atomic = [](const ev& x) { return x.thread >= 0 && x.strong != plain; };
    const auto releases = [](const ev& x) { return x.strong >= release && x.strong != plain; };
    const auto acquires = [](const ev& x) {
      return x.strong == acquire || x.strong == acq_rel || x.strong == seq_cst;
    };
    const matrix from_release =
        either(only([&](const ev& x) { return x.writes && is_atomic(x) && releases(x); }),
               then(only([&](const ev& x) { return x.fence && releases(x); }),
                    then(sb, only([&](const ev& x) { return x.writes && is_atomic(x); }))));
    const matrix to_acquire =
        either(only([&](const ev& x) { return x.reads && acquires(x); }),
               then(only([&](const ev& x) { return x.reads && is_atomic(x); }),
                    then(sb, only([&](const ev& x) { return x.fence && acquires(x); }))));
    return then(from_release, then(sequence, then(source, to_acquire)));
  }

  // seq_cst: psc has no cycle.
  bool sequential(const matrix& sb, const matrix& hb, const matrix& eco,
                  const matrix& co_or_rb) const {
    const matrix same =
        where([&](int a, int b) { return e(a).place == e(b).place && e(a).place >= 0; });
    const matrix other = without(sb, same);
    const matrix scb = either(either(sb, then(other, then(hb, other))),
                              either(both(hb, same), co_or_rb));
    const auto is_sc = [](const ev& x) { return x.thread >= 0 && x.strong == seq_cst; };
    const matrix access = only([&](const ev& x) { return is_sc(x) && !x.fence; });
    const matrix fence = only([&](const ev& x) { return is_sc(x) && x.fence; });
    const matrix left = either(access, then(fence, maybe(hb)));
    const matrix right = either(access, then(maybe(hb), fence));
    const matrix base = then(left, then(scb, right));
    const matrix fences = then(fence, then(either(hb, then(hb, then(eco, hb))), fence));
    return irreflexive(closure(either(base, fences)));
  }

  bool race(const matrix& hb) const {
    for (int a = places_; a < n_; ++a) {
      for (int b = a + 1; b < n_; ++b) {
        if (e(a).thread == e(b).thread || e(a).place != e(b).place || e(a).fence) continue;
        if (!e(a).writes && !e(b).writes) continue;
        if (e(a).strong != plain && e(b).strong != plain) continue;
        if (!get(hb, a, b) && !get(hb, b, a)) return true;
      }
    }
    return false;
  }

  std::string outcome() const {
    std::string text;
    for (const observed& o : watched_) {
      const int value =
          o.object ? value_[at(orders_[at(o.index)].back())] : registers_[at(o.index)];
      text += (text.empty() ? "" : " ") + std::to_string(value);
    }
    return text;
  }

  program program_;
  std::vector<observed> watched_;
  std::vector<std::vector<choice>> guesses_;
  std::vector<ev> events_;
  std::vector<int> source_, value_;
  std::array<int, registers> registers_{};
  std::vector<std::vector<int>> orders_;
  matrix porf_;
  int places_ = 0;
  int n_ = 0;
};

}  // namespace oracle
