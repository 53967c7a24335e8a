// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/oracle.hpp - RC11 straight from its axioms: every choice of who reads from whom and
// of every order of the stores, each tested for consistency. Slow and plain, and shares no code
// with the engine: it says how many executions a small program has.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace oracle {

enum class what { load, store, add, cas, fence };
enum order { relaxed, acquire, release, acq_rel, seq_cst };

struct instruction {
  what kind;
  int place;     // which atomic object
  order strong;  // memory order; of a compare_exchange on success
  order weak;    // of a compare_exchange on failure
  int value;     // stored, added, or the new value
  int expected;
};

using program = std::vector<std::vector<instruction>>;

class enumeration {
public:
  explicit enumeration(program p) : program_(std::move(p)) {}

  std::uint64_t count() {
    total_ = 0;
    // A compare_exchange succeeds or fails: guess, and test the guess against the values.
    std::vector<std::pair<int, int>> guesses;
    for (int t = 0; t < static_cast<int>(program_.size()); ++t) {
      for (int i = 0; i < static_cast<int>(program_[static_cast<std::size_t>(t)].size()); ++i) {
        if (at(t, i).kind == what::cas) guesses.emplace_back(t, i);
      }
    }
    for (unsigned bits = 0; bits < (1U << guesses.size()); ++bits) {
      build(guesses, bits);
      choose_source(0);
    }
    return total_;
  }

private:
  struct ev {
    int thread, position;  // thread -1: initial value
    bool reads, writes, fence;
    int place;
    order strong;
    const instruction* from;
    bool success;
    int partner;  // write half of an update: its read half
  };
  using matrix = std::vector<std::vector<char>>;

  const instruction& at(int t, int i) const {
    return program_[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)];
  }
  ev& e(int i) { return events_[static_cast<std::size_t>(i)]; }

  void build(const std::vector<std::pair<int, int>>& guesses, unsigned bits) {
    events_.clear();
    int places = 0;
    for (const auto& thread : program_) {
      for (const instruction& i : thread) places = std::max(places, i.place + 1);
    }
    for (int p = 0; p < places; ++p) {
      events_.push_back({-1, p, false, true, false, p, relaxed, nullptr, false, -1});
    }
    places_ = places;
    for (int t = 0; t < static_cast<int>(program_.size()); ++t) {
      for (int i = 0; i < static_cast<int>(program_[static_cast<std::size_t>(t)].size()); ++i) {
        const instruction& one = at(t, i);
        if (one.kind == what::fence) {
          events_.push_back({t, 2 * i, false, false, true, -1, one.strong, &one, false, -1});
          continue;
        }
        bool success = one.kind == what::add;
        for (std::size_t g = 0; g < guesses.size(); ++g) {
          if (guesses[g] == std::pair(t, i)) success = ((bits >> g) & 1U) != 0;
        }
        const bool reads = one.kind != what::store;
        const order in_force = one.kind == what::cas && !success ? one.weak : one.strong;
        if (reads) {
          events_.push_back({t, 2 * i, true, false, false, one.place, in_force, &one, success, -1});
        }
        if (one.kind == what::store || success) {
          const int partner = reads ? static_cast<int>(events_.size()) - 1 : -1;
          events_.push_back(
              {t, 2 * i + 1, false, true, false, one.place, in_force, &one, success, partner});
        }
      }
    }
    n_ = static_cast<int>(events_.size());
    source_.assign(events_.size(), -1);
  }

  void choose_source(int i) {
    if (i == n_) {
      orders_.assign(static_cast<std::size_t>(places_), {});
      choose_order(0);
      return;
    }
    if (!e(i).reads) {
      choose_source(i + 1);
      return;
    }
    for (int w = 0; w < n_; ++w) {
      if (!e(w).writes || e(w).place != e(i).place || e(w).partner == i) continue;
      source_[static_cast<std::size_t>(i)] = w;
      choose_source(i + 1);
    }
  }

  void choose_order(int place) {
    if (place == places_) {
      if (consistent()) ++total_;
      return;
    }
    std::vector<int> stores;
    for (int w = places_; w < n_; ++w) {
      if (e(w).writes && e(w).place == place) stores.push_back(w);
    }
    std::sort(stores.begin(), stores.end());
    do {
      auto& list = orders_[static_cast<std::size_t>(place)];
      list = {place};
      list.insert(list.end(), stores.begin(), stores.end());
      choose_order(place + 1);
    } while (std::next_permutation(stores.begin(), stores.end()));
  }

  // ---- relations ----
  matrix none() const {
    return matrix(static_cast<std::size_t>(n_), std::vector<char>(static_cast<std::size_t>(n_), 0));
  }
  template <class Predicate>
  matrix where(Predicate p) {
    matrix m = none();
    for (int a = 0; a < n_; ++a) {
      for (int b = 0; b < n_; ++b) set(m, a, b, p(a, b));
    }
    return m;
  }
  static bool get(const matrix& m, int a, int b) {
    return m[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] != 0;
  }
  static void set(matrix& m, int a, int b, bool v) {
    m[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] = v ? 1 : 0;
  }
  matrix then(const matrix& x, const matrix& y) {
    return where([&](int a, int b) {
      for (int c = 0; c < n_; ++c) {
        if (get(x, a, c) && get(y, c, b)) return true;
      }
      return false;
    });
  }
  matrix either(const matrix& x, const matrix& y) {
    return where([&](int a, int b) { return get(x, a, b) || get(y, a, b); });
  }
  matrix both(const matrix& x, const matrix& y) {
    return where([&](int a, int b) { return get(x, a, b) && get(y, a, b); });
  }
  matrix maybe(const matrix& x) {
    return where([&](int a, int b) { return a == b || get(x, a, b); });
  }
  matrix closure(matrix x) {
    for (int c = 0; c < n_; ++c) {
      for (int a = 0; a < n_; ++a) {
        for (int b = 0; b < n_; ++b) {
          if (get(x, a, c) && get(x, c, b)) set(x, a, b, true);
        }
      }
    }
    return x;
  }
  bool irreflexive(const matrix& x) {
    for (int a = 0; a < n_; ++a) {
      if (get(x, a, a)) return false;
    }
    return true;
  }
  template <class Predicate>
  matrix only(Predicate p) {
    return where([&](int a, int b) { return a == b && p(e(a)); });
  }

  bool values_hold(const matrix& porf) {
    // Values follow porf, which has no cycle: settle them one after the other.
    std::vector<int> value(events_.size(), 0);
    std::vector<char> known(events_.size(), 0);
    for (int round = 0; round < n_; ++round) {
      for (int i = 0; i < n_; ++i) {
        const auto k = static_cast<std::size_t>(i);
        if (known[k] != 0) continue;
        if (e(i).thread < 0 || e(i).fence) {
          known[k] = 1;
        } else if (e(i).reads) {
          const auto s = static_cast<std::size_t>(source_[k]);
          if (known[s] == 0) continue;
          value[k] = value[s];
          known[k] = 1;
        } else {
          const instruction& from = *e(i).from;
          if (from.kind == what::add) {
            const auto p = static_cast<std::size_t>(e(i).partner);
            if (known[p] == 0) continue;
            value[k] = value[p] + from.value;
          } else {
            value[k] = from.value;
          }
          known[k] = 1;
        }
      }
    }
    static_cast<void>(porf);
    for (int i = 0; i < n_; ++i) {
      if (!e(i).reads || e(i).from->kind != what::cas) continue;
      if ((value[static_cast<std::size_t>(i)] == e(i).from->expected) != e(i).success) return false;
    }
    return true;
  }

  bool consistent() {
    const matrix po = where([&](int a, int b) {
      if (e(a).thread < 0) return e(b).thread >= 0;
      return e(a).thread == e(b).thread && e(a).position < e(b).position;
    });
    const matrix rf = where([&](int a, int b) {
      return e(b).reads && source_[static_cast<std::size_t>(b)] == a;
    });
    const matrix porf = closure(either(po, rf));
    if (!irreflexive(porf)) return false;
    if (!values_hold(porf)) return false;
    matrix co = none();
    for (const auto& list : orders_) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        for (std::size_t k = i + 1; k < list.size(); ++k) set(co, list[i], list[k], true);
      }
    }
    const matrix rb = where([&](int a, int b) {
      return e(a).reads && e(b).writes && get(co, source_[static_cast<std::size_t>(a)], b);
    });
    // Atomicity: nothing between what an update read and what it wrote.
    for (int w = 0; w < n_; ++w) {
      if (e(w).partner < 0) continue;
      const int s = source_[static_cast<std::size_t>(e(w).partner)];
      if (!get(co, s, w)) return false;
      for (int m = 0; m < n_; ++m) {
        if (get(co, s, m) && get(co, m, w)) return false;
      }
    }
    const matrix update =
        where([&](int a, int b) { return e(b).partner == a && e(b).partner >= 0; });
    // Release sequence (C++20): a store, then updates each reading from the one before.
    const matrix sequence = maybe(closure(then(rf, update)));
    const auto releases = [](order o) { return o >= release; };
    const auto acquires = [](order o) { return o == acquire || o >= acq_rel; };
    const matrix from_release =
        either(only([&](const ev& x) { return x.writes && x.thread >= 0 && releases(x.strong); }),
               then(only([&](const ev& x) { return x.fence && releases(x.strong); }),
                    then(po, only([](const ev& x) { return x.writes && x.thread >= 0; }))));
    const matrix to_acquire =
        either(only([&](const ev& x) { return x.reads && acquires(x.strong); }),
               then(only([](const ev& x) { return x.reads; }),
                    then(po, only([&](const ev& x) { return x.fence && acquires(x.strong); }))));
    const matrix sw = then(from_release, then(sequence, then(rf, to_acquire)));
    const matrix hb = closure(either(po, sw));
    const matrix eco = closure(either(rf, either(co, rb)));
    if (!irreflexive(hb) || !irreflexive(then(hb, eco))) return false;
    // seq_cst
    const matrix same = where([&](int a, int b) {
      return e(a).place == e(b).place && e(a).place >= 0;
    });
    const matrix po_other = where([&](int a, int b) { return get(po, a, b) && !get(same, a, b); });
    const matrix scb =
        either(po, either(then(po_other, then(hb, po_other)),
                          either(both(hb, same), either(co, rb))));
    const auto is_sc = [](const ev& x) { return x.thread >= 0 && x.strong == seq_cst; };
    const matrix access = only([&](const ev& x) { return is_sc(x) && !x.fence; });
    const matrix fence = only([&](const ev& x) { return is_sc(x) && x.fence; });
    const matrix left = either(access, then(fence, maybe(hb)));
    const matrix right = either(access, then(maybe(hb), fence));
    const matrix psc_base = then(left, then(scb, right));
    const matrix psc_fence =
        then(fence, then(either(hb, then(hb, then(eco, hb))), fence));
    return irreflexive(closure(either(psc_base, psc_fence)));
  }

  program program_;
  std::vector<ev> events_;
  std::vector<int> source_;
  std::vector<std::vector<int>> orders_;
  int places_ = 0;
  int n_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace oracle
