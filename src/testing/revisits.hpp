// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/revisits.hpp - a new store as what an earlier read should have seen.

#include "engine.hpp"

namespace interlock::testing {
namespace {

// Returns: whether e, at its position, is what would have been added anyhow had w not come: it
// reads, or is, the newest store among what was there before it and what w depends on.
inline bool engine::maximal(const event& e, u16 at, const event& w) const {
  if (e.what == kind::choice) return e.co == 0;
  if (!is_access(e)) return true;
  const auto was_there = [&](u16 i) { return i <= at || before(g_.events[i], w, w.porf); };
  const place& p = places_[e.location];
  if (e.what == kind::write) {
    for (u16 i = 0; i < p.reads; ++i) {
      const u16 r = p.readers[i];
      if (g_.events[r].rf == at && was_there(r)) return false;
    }
  } else if (e.rf != initial && !was_there(e.rf)) {
    return false;
  }
  const u16 mine = e.what == kind::write ? e.co : g_.co_of_source(e);
  for (u16 i = p.stores; i > mine; --i) {
    if (was_there(p.co[i - 1])) return false;
  }
  return true;
}

inline void engine::backward_revisits(u16 position) {
  const event& w = g_.events[position];
  if (places_[w.location].reads == 0) return;
  u16 lowest = 0;  // the first place in co that the store could have
  if (symmetric) {
    lowest = w.exclusive ? g_.co_of_source(g_.events[w.partner])
                         : lower_bound(g_, w.location, w.seen);
    ++lowest;
  }
  // All from the read on must be maximal: so look from the end for the first that is not.
  static u16 found[max_events];
  u16 count = 0;
  for (u16 d = position; d-- > 0;) {
    const event& e = g_.events[d];
    const bool sees = e.what == kind::read && e.location == w.location;
    if (before(e, w, w.porf)) {
      if (symmetric && sees && entangled(d, w, lowest)) give_up_symmetry();
      continue;
    }
    if (!maximal(e, d, w)) break;
    if (sees) found[count++] = d;
  }
  while (count != 0) restrict_and_push(found[--count], position);
}

inline void engine::restrict_and_push(u16 read_at, u16 write_at) {
  const event& w = g_.events[write_at];
  static u16 moved[max_events];
  scratch_.copy_from(g_, to16(read_at + 1));
  for (u16 i = 0; i <= read_at; ++i) moved[i] = i;
  for (u16 i = to16(read_at + 1); i <= write_at; ++i) {
    const event& e = g_.events[i];
    const bool kept = i == write_at || before(e, w, w.porf);
    if (!kept) continue;
    moved[i] = scratch_.size;
    scratch_.events[scratch_.size++] = e;
  }
  const u16 r = moved[read_at];
  const u16 at_w = moved[write_at];
  for (u16 i = 0; i < scratch_.size; ++i) {
    event& e = scratch_.events[i];
    if ((e.what == kind::read || e.what == kind::wake) && e.rf != initial && i != r) {
      e.rf = moved[e.rf];
    }
    if (e.exclusive) e.partner = moved[e.partner];
  }
  // The revisited read starts anew from what its thread knew before it.
  event& reader = scratch_.events[r];
  event clean = reader;
  const explored_thread& t = threads[reader.thread];
  if (reader.index > 1) {
    const event& previous = g_.events[t.at[reader.index - 2]];
    clean.hb = previous.hb;
    clean.seen = previous.seen;
    clean.porf = previous.porf;
  } else {
    clean.hb = clean.seen = clean.porf = vector_clock{};
    const explored_thread& main_thread = threads[0];
    if (reader.thread != 0) {
      clean.hb = main_thread.hb;
      clean.seen = main_thread.seen;
      clean.porf = main_thread.porf;
    }
  }
  clean.hb.at[clean.thread] = clean.seen.at[clean.thread] = clean.porf.at[clean.thread] =
      clean.index;
  clean.rf = at_w;
  clean.order = clean.order_done;

  // Stores to the location, dense again, without w.
  static u16 list[max_events];
  u16 count = 0;
  const place& p = places_[w.location];
  for (u16 i = 0; i < p.stores; ++i) {
    const u16 s = p.co[i];
    if (s <= read_at || before(g_.events[s], w, w.porf)) {
      list[count] = moved[s];
      scratch_.events[moved[s]].co = ++count;
    }
  }
  event& writer = scratch_.events[at_w];
  const u16 size = scratch_.size;
  // Neither counts for the bounds while these are computed: w is last, r is the one that changes.
  scratch_.size = at_w;
  if (symmetric) depend_on_twin(scratch_, clean);
  reader.what = kind::fence;
  const u16 bound_w = w.exclusive ? u16{0} : lower_bound(scratch_, w.location, w.seen);
  const u16 bound_r = lower_bound(scratch_, w.location, clean.seen);
  scratch_.size = size;
  reader = clean;
  complete_read(scratch_, reader);

  u16 first = to16(bound_w + 1);
  u16 last = to16(count + 1);
  if (w.exclusive) {
    first = last = to16(scratch_.co_of_source(scratch_.events[writer.partner]) + 1);
  }
  if (first <= bound_r) first = to16(bound_r + 1);
  for (u16 at = first; at <= last; ++at) {
    if (at <= count && scratch_.events[list[at - 1]].exclusive) continue;
    for (u16 i = to16(at - 1); i < count; ++i) ++scratch_.events[list[i]].co;
    writer.co = at;
    if (admitted(scratch_)) push(scratch_);
    for (u16 i = to16(at - 1); i < count; ++i) --scratch_.events[list[i]].co;
  }
}

}  // namespace
}  // namespace interlock::testing
