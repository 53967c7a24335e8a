// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/symmetry.hpp - threads that run the same function: one execution stands for all that
// differ only in which of them is which.
//
// M. Kokologiannakis, I. Marmanis, V. Vafeiadis, "SPORE: Combining Symmetry and Partial Order
// Reduction", PLDI 2024. Two ideas. Of two such threads, the one to the left is first in co where
// they can first be told apart: a condition on graphs. And an event depends on the same event of
// the thread to its left as long as they cannot be told apart: so no revisit deletes that one alone
// and then finds its place taken.

#include <algorithm>
#include <cstring>

#include "engine.hpp"

namespace interlock::testing {
namespace {

// The events of one thread in a graph.
struct engine::events_of {
  u16 at[max_events];
  unsigned size = 0;

  void fill(const graph& g, unsigned thread) noexcept {
    size = 0;
    for (u16 i = 0; i < g.size; ++i) {
      if (g.events[i].thread == thread) at[size++] = i;
    }
  }
};

// Returns: how two events at the same place of two such threads compare, all before them alike.
inline engine::likeness engine::compare(const graph& g, const event& a, const event& b) const {
  if (a.what != b.what) return likeness::different;
  const bool same_place = a.location == b.location;
  if (a.what == kind::write) {
    if (!same_place) return likeness::alike;  // each its own
    return a.co < b.co ? likeness::ordered : likeness::reversed;
  }
  if (a.what == kind::choice) return a.co == b.co ? likeness::alike : likeness::different;
  if (a.what == kind::wake) return a.rf == b.rf ? likeness::alike : likeness::different;
  if (a.what != kind::read) return likeness::alike;
  if (!same_place) return likeness::different;  // each its own: what comes there has no order
  if (a.rf == b.rf) return likeness::alike;
  return g.co_of_source(a) < g.co_of_source(b) ? likeness::ordered : likeness::reversed;
}

// Returns: the thread to the left that runs the same function; no_thread if there is none.
inline unsigned engine::left_twin(unsigned thread) const noexcept {
  const unsigned group = threads[thread].group;
  if (group == 0) return no_thread;
  for (unsigned t = thread; t-- > 1;) {
    if (threads[t].group == group) return t;
  }
  return no_thread;
}

// Returns: whether of each two threads that run the same function the left one comes first.
inline bool engine::canonical(const graph& g) const {
  static events_of lines[max_threads];
  for (unsigned t = 1; t < thread_count; ++t) lines[t].fill(g, t);
  for (unsigned b = 2; b < thread_count; ++b) {
    for (unsigned a = left_twin(b); a != no_thread; a = left_twin(a)) {
      likeness now = likeness::alike;
      for (unsigned k = 0; k < lines[a].size && k < lines[b].size && now == likeness::alike; ++k) {
        now = compare(g, g.events[lines[a].at[k]], g.events[lines[b].at[k]]);
      }
      if (now == likeness::reversed) return false;
    }
  }
  return true;
}

// Effects: makes a new event depend on what the left twin of its thread did alike.
inline void engine::depend_on_twin(const graph& g, event& e) const {
  const unsigned twin = left_twin(e.thread);
  if (twin == no_thread) return;
  static events_of left, mine;
  left.fill(g, twin);
  mine.fill(g, e.thread);
  unsigned k = 0;
  while (k + 1 < e.index && k < left.size && k < mine.size &&
         compare(g, g.events[left.at[k]], g.events[mine.at[k]]) == likeness::alike) {
    ++k;
  }
  // All before it is alike: the twin's event at the same place counts as well.
  if (k + 1 == e.index && k < left.size) {
    const event& same = g.events[left.at[k]];
    if (same.what == e.what && same.location == e.location) ++k;
  }
  // An update is one: its store, kept in place by its read, could not be added anew.
  if (k != 0 && k < left.size && g.events[left.at[k]].exclusive) ++k;
  if (k != 0) e.porf.join(g.events[left.at[k - 1]].porf);
}

// A store that depends on a read only through twins does not revisit it: the read would see
// something newer than its right twin. But if the store could come before what that twin reads, the
// execution is one to explore, and no other stands for it.
// Returns: whether that may be so for this read and this store, whose place is `lowest` or later.
inline bool engine::entangled(u16 read_at, const event& w, u16 lowest) const {
  const event& r = g_.events[read_at];
  // Does the store depend on the read, without twins?
  static bool reached[max_events];
  static u16 open[max_events];
  std::memset(reached, 0, g_.size * sizeof(bool));
  unsigned count = 0;
  const auto reach = [&](u16 i) {
    if (i == initial || reached[i]) return;
    reached[i] = true;
    open[count++] = i;
  };
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    if (e.thread == w.thread && e.index < w.index) reach(i);
  }
  while (count != 0) {
    const event& e = g_.events[open[--count]];
    if (e.what == kind::read || e.what == kind::wake) reach(e.rf);
    if (e.index > 1) reach(threads[e.thread].at[e.index - 2]);
  }
  if (reached[read_at]) return false;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& twin = g_.events[i];
    if (!reached[i] && i > read_at) continue;  // the revisit would delete it
    if (twin.index != r.index || twin.thread <= r.thread ||
        threads[twin.thread].group != threads[r.thread].group) {
      continue;
    }
    if (twin.what != kind::read || twin.location != r.location) return true;
    if (lowest <= g_.co_of_source(twin)) return true;
  }
  return false;
}

// Returns: the same for two complete graphs that differ only in which thread of a group is which.
inline u64 engine::hash() const {
  u8 names[max_threads] = {0, 1, 2, 3, 4, 5, 6, 7};
  u64 least = hash(names);
  bool twins = false;
  for (unsigned t = 1; t < thread_count; ++t) twins = twins || left_twin(t) != no_thread;
  while (twins && std::next_permutation(names + 1, names + thread_count)) {
    bool within = true;
    for (unsigned t = 1; t < thread_count && within; ++t) {
      const u8 group = threads[t].group;
      within = names[t] == t || (group != 0 && group == threads[names[t]].group);
    }
    if (within) least = std::min(least, hash(names));
  }
  return least;
}

}  // namespace
}  // namespace interlock::testing
