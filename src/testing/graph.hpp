// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/graph.hpp - what happened in one execution: events, who read from whom, and in which
// order the stores to each location took effect. The memory model is in here and nowhere else.
//
// Words: po = the order in one thread; rf = read from; co = the order of the stores to a location
// (an event's `co` is its place, 1 and up; the initial value has place 0); hb = happens before.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace interlock::testing {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

template <class T>
constexpr u16 to16(T value) {
  return static_cast<u16>(value);
}

constexpr unsigned max_threads = 8;   // with the main thread
constexpr unsigned max_events = 600;  // in one execution
constexpr u16 initial = 0xFFFF;       // rf of a read that sees the initial value
constexpr unsigned no_thread = 0xFF;

// How far into each thread something reaches: at[t] events of thread t.
struct vector_clock {
  u16 at[max_threads];

  void join(const vector_clock& other) noexcept {
    for (unsigned t = 0; t < max_threads; ++t) {
      at[t] = at[t] < other.at[t] ? other.at[t] : at[t];
    }
  }
};

struct value_t {
  u64 low = 0;
  u64 high = 0;
  friend bool operator==(const value_t&, const value_t&) = default;
};

enum class kind : u8 { read, write, fence, choice, wake };

// The engine's own order codes, strongest last but for the incomparable acquire and release.
enum order_code : u8 { relaxed, acquire, release, acq_rel, seq_cst };
constexpr bool acquires(u8 order) { return order == acquire || order >= acq_rel; }
constexpr bool releases(u8 order) { return order >= release; }

struct event {
  kind what;
  u8 thread;
  u8 order;       // in force: for a failed compare_exchange the failure order
  u8 order_fail;  // of a compare_exchange, for when a revisit changes the outcome
  u8 order_done;
  bool exclusive;  // a write that is the second half of a read-modify-write
  bool compares;   // a read of a compare_exchange: `value` is what it expects
  u8 about;        // choice: what it is about
  bool hidden;     // on the hidden queue of a parking word: orders, but is no synchronisation
  u16 index;       // 1 and up in its thread
  u16 location;
  u16 rf;      // position in the graph of the write it reads from; of a wake: the unpark
  u16 co;      // write: place among the stores to its location; choice: the option taken
  u16 partner;  // exclusive write: position of its read
  value_t value;
  const void* site;
  vector_clock hb;     // happens before, with itself
  vector_clock seen;   // hb and what the kernel orders: bounds what can be read
  vector_clock porf;   // everything it depends on, by po and rf
  vector_clock rel;    // write: what an acquiring reader joins to hb
  vector_clock rel_seen;
};

inline bool before(const event& a, const event& b, const vector_clock& of_b) noexcept {
  return &a != &b && of_b.at[a.thread] >= a.index;
}
inline bool happens_before(const event& a, const event& b) noexcept { return before(a, b, b.hb); }

struct graph {
  u16 size = 0;
  event events[max_events];

  void copy_from(const graph& other, u16 first_events) noexcept {
    size = first_events;
    std::memcpy(static_cast<void*>(events), other.events, size * sizeof(event));
  }
  [[nodiscard]] u16 co_of_source(const event& reader) const noexcept {
    return reader.rf == initial ? u16{0} : events[reader.rf].co;
  }
};

inline bool is_access(const event& e) noexcept {
  return e.what == kind::read || e.what == kind::write;
}

// ---- seq_cst: psc of RC11 has no cycle ----------------------------------------------------------
// O. Lahav, V. Vafeiadis, J. Kang, C.-K. Hur, D. Dreyer, "Repairing Sequential Consistency in
// C/C++11", PLDI 2017, section 3.2; C++20 took it over as P0668.
class seq_cst_check {
public:
  bool used = false;  // whether an event of this exploration may be seq_cst

  [[nodiscard]] bool consistent(const graph& g) noexcept { return !used || has_order(g); }

private:
  [[nodiscard]] bool has_order(const graph& g) noexcept {
    count_ = 0;
    for (u16 i = 0; i < g.size; ++i) {
      if (g.events[i].order == seq_cst && !g.events[i].hidden) sc_[count_++] = i;
    }
    if (count_ < 2 || ordered(g)) return true;
    g_ = &g;
    n_ = g.size;
    bool fences = false;
    for (unsigned i = 0; i < count_; ++i) fences = fences || g.events[sc_[i]].what == kind::fence;
    if (fences) {
      build();
    } else {
      build_without_fences();
    }
    return acyclic();
  }

  static constexpr unsigned words = (max_events + 63) / 64;
  using row = u64[words];

  // Returns: whether happens-before orders them all already. Then each edge of psc, which is made
  // of hb, co and "reads before" and so contradicts no hb in a coherent graph, goes along with it.
  [[nodiscard]] bool ordered(const graph& g) const noexcept {
    for (unsigned i = 0; i < count_; ++i) {
      const event& a = g.events[sc_[i]];
      for (unsigned j = 0; j < i; ++j) {
        const event& b = g.events[sc_[j]];
        if (!happens_before(b, a) && !happens_before(a, b)) return false;
      }
    }
    return true;
  }

  static bool has(const row& r, unsigned i) noexcept { return ((r[i / 64] >> (i % 64)) & 1U) != 0; }
  static void add(row& r, unsigned i) noexcept { r[i / 64] |= u64{1} << (i % 64); }
  void merge(row& into, const row& from) const noexcept {
    for (unsigned w = 0; w <= n_ / 64U && w < words; ++w) into[w] |= from[w];
  }
  void clear(row& r) const noexcept {
    for (unsigned w = 0; w <= n_ / 64U && w < words; ++w) r[w] = 0;
  }

  [[nodiscard]] bool reads_before_or_co(const event& a, const event& b) const noexcept {
    // co, or "reads before" (reads what a later store replaced)
    if (!is_access(a) || b.what != kind::write || a.location != b.location) return false;
    if (a.what == kind::write) return a.co < b.co;
    return g_->co_of_source(a) < b.co;
  }
  [[nodiscard]] bool extended_coherence(const event& a, const event& b) const noexcept {
    if (!is_access(a) || !is_access(b) || a.location != b.location || &a == &b) return false;
    const u16 place_a = a.what == kind::write ? a.co : g_->co_of_source(a);
    const u16 place_b = b.what == kind::write ? b.co : g_->co_of_source(b);
    if (a.what == kind::write && b.what == kind::read) return place_a <= place_b;
    return place_a < place_b;
  }

  static bool same_location(const event& a, const event& b) noexcept {
    return is_access(a) && is_access(b) && a.location == b.location;
  }

  // Without fences psc is scb between seq_cst accesses: po, co, "reads before", hb at one place,
  // and po(other location); hb; po(other location). The last one holds for two events if it holds
  // by way of the nearest ones of other locations, for those are before and after all the others.
  void build_without_fences() noexcept {
    const event* e = g_->events;
    u16 next[max_threads], previous[max_threads];
    for (unsigned t = 0; t < max_threads; ++t) next[t] = previous[t] = initial;
    for (u16 i = 0; i < n_; ++i) {  // a thread's events are in po
      const u16 p = previous[e[i].thread];
      before_[i] = p != initial && same_location(e[p], e[i]) ? before_[p] : p;
      previous[e[i].thread] = i;
    }
    for (u16 i = to16(n_); i-- > 0;) {
      const u16 n = next[e[i].thread];
      after_[i] = n != initial && same_location(e[n], e[i]) ? after_[n] : n;
      next[e[i].thread] = i;
    }
    for (unsigned i = 0; i < count_; ++i) {
      const event& a = e[sc_[i]];
      const u16 from = after_[sc_[i]];
      row& edges = psc_[i];
      std::memset(edges, 0, (count_ / 64 + 1) * sizeof(u64));
      for (unsigned j = 0; j < count_; ++j) {
        if (i == j) continue;
        const event& b = e[sc_[j]];
        bool edge = false;
        if (a.thread == b.thread) {
          edge = a.index < b.index;
        } else {
          const u16 to = before_[sc_[j]];
          edge = from != initial && to != initial && happens_before(e[from], e[to]);
          if (a.location == b.location) edge = edge || happens_before(a, b);
        }
        if (edge || reads_before_or_co(a, b)) add(edges, j);
      }
    }
  }

  void build() noexcept {
    const event* e = g_->events;
    for (unsigned a = 0; a < n_; ++a) {
      clear(hb_[a]);
      clear(other_[a]);
      clear(eco_[a]);
      clear(scb_[a]);
    }
    for (unsigned a = 0; a < n_; ++a) {
      for (unsigned b = 0; b < n_; ++b) {
        if (a == b) continue;
        const bool same = same_location(e[a], e[b]);
        const bool po = e[a].thread == e[b].thread && e[a].index < e[b].index;
        const bool hb = happens_before(e[a], e[b]);
        if (hb) add(hb_[a], b);
        if (po && !same) add(other_[a], b);
        if (extended_coherence(e[a], e[b])) add(eco_[a], b);
        if (po || (hb && same) || reads_before_or_co(e[a], e[b])) add(scb_[a], b);
      }
    }
    // scb also has po(other location); hb; po(other location)
    for (unsigned c = 0; c < n_; ++c) {
      clear(step_[c]);
      for (unsigned d = 0; d < n_; ++d) {
        if (has(hb_[c], d)) merge(step_[c], other_[d]);
      }
    }
    for (unsigned a = 0; a < n_; ++a) {
      for (unsigned c = 0; c < n_; ++c) {
        if (has(other_[a], c)) merge(scb_[a], step_[c]);
      }
    }
    // hb; eco; hb, for fences
    for (unsigned c = 0; c < n_; ++c) {
      clear(step_[c]);
      for (unsigned d = 0; d < n_; ++d) {
        if (has(eco_[c], d)) merge(step_[c], hb_[d]);
      }
    }
    for (unsigned i = 0; i < count_; ++i) {
      row& out = psc_[i];
      clear(out);
      const unsigned a = sc_[i];
      row reach;
      clear(reach);
      merge(reach, scb_[a]);
      if (e[a].what == kind::fence) {
        merge(out, hb_[a]);  // kept for fences only, below
        for (unsigned c = 0; c < n_; ++c) {
          if (!has(hb_[a], c)) continue;
          merge(reach, scb_[c]);
          merge(out, step_[c]);
        }
      }
      row edges;
      clear(edges);
      for (unsigned j = 0; j < count_; ++j) {
        const unsigned b = sc_[j];
        bool edge = has(reach, b);
        if (e[b].what == kind::fence) {
          if (e[a].what == kind::fence && has(out, b)) edge = true;
          for (unsigned d = 0; d < n_ && !edge; ++d) edge = has(reach, d) && has(hb_[d], b);
        }
        if (edge) add(edges, j);
      }
      std::memcpy(out, edges, sizeof edges);
    }
  }

  [[nodiscard]] bool acyclic() const noexcept {
    // Take away those without an edge to what is left, until nothing is left.
    row left{};
    for (unsigned i = 0; i < count_; ++i) add(left, i);
    for (unsigned remaining = count_; remaining != 0;) {
      bool moved = false;
      for (unsigned i = count_; i-- > 0;) {
        if (!has(left, i)) continue;
        u64 outgoing = 0;
        for (unsigned w = 0; w <= count_ / 64; ++w) outgoing |= psc_[i][w] & left[w];
        if (outgoing != 0) continue;
        left[i / 64] &= ~(u64{1} << (i % 64));
        --remaining;
        moved = true;
      }
      if (!moved) return false;
    }
    return true;
  }

  const graph* g_ = nullptr;
  unsigned n_ = 0;
  unsigned count_ = 0;
  u16 sc_[max_events];
  row hb_[max_events];
  row other_[max_events];
  row eco_[max_events];
  row scb_[max_events];
  row step_[max_events];
  row psc_[max_events];
  u16 before_[max_events];  // the nearest events of other locations in the same thread
  u16 after_[max_events];
};

}  // namespace
}  // namespace interlock::testing
