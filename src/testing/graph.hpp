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

  void copy_from(const graph& other) noexcept {
    size = other.size;
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
  [[nodiscard]] bool consistent(const graph& g) noexcept {
    count_ = 0;
    for (u16 i = 0; i < g.size; ++i) {
      if (g.events[i].order == seq_cst && !g.events[i].hidden) sc_[count_++] = i;
    }
    if (count_ < 2 || ordered(g)) return true;
    g_ = &g;
    n_ = g.size;
    build();
    return acyclic();
  }

private:
  static constexpr unsigned words = (max_events + 63) / 64;
  using row = u64[words];

  // Returns: whether happens-before orders them all already. Then each edge of psc, which is made of
  // hb, co and "reads before" and so contradicts no hb in a coherent graph, goes along with it.
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
        const bool same = is_access(e[a]) && is_access(e[b]) && e[a].location == e[b].location;
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

  [[nodiscard]] bool acyclic() noexcept {
    // Take away nodes without incoming edges until none is left.
    static bool gone[max_events];
    std::memset(gone, 0, count_);
    for (unsigned left = count_; left != 0;) {
      bool moved = false;
      for (unsigned i = 0; i < count_; ++i) {
        if (gone[i]) continue;
        bool incoming = false;
        for (unsigned j = 0; j < count_ && !incoming; ++j) incoming = !gone[j] && has(psc_[j], i);
        if (incoming) continue;
        gone[i] = true;
        moved = true;
        --left;
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
};

}  // namespace
}  // namespace interlock::testing
