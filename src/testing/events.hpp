// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/events.hpp - adds the next event of a thread: which store a read may see, which place
// in co a store may take, and the alternatives.

#include "engine.hpp"

namespace interlock::testing {
namespace {

constexpr const char* remedy =
    "Keep clocks, random numbers, addresses, memory that was not set and leftovers of earlier runs "
    "out of it";

inline value_t engine::value_of(const graph& g, const event& reader) const {
  return reader.rf == initial ? places_[reader.location].initial_value
                              : g.events[reader.rf].value;
}

inline event engine::fresh(unsigned id, kind what, u16 location, u8 order) {
  const explored_thread& t = threads[id];
  event e{};
  e.what = what;
  e.thread = static_cast<u8>(id);
  e.order = order;
  e.order_done = order;
  sc_.used = sc_.used || order == seq_cst;
  e.index = to16(t.done + 1);
  e.location = location;
  e.rf = initial;
  e.site = t.op.site;
  e.hb = t.hb;
  e.seen = t.seen;
  e.porf = t.porf;
  e.hb.at[id] = e.seen.at[id] = e.porf.at[id] = e.index;
  if (symmetric) depend_on_twin(g_, e);
  return e;
}

// Effects: joins to a read's clocks what it sees of its source.
inline void engine::complete_read(const graph& g, event& e) {
  if (e.compares) e.order = value_of(g, e) == e.value ? e.order_done : e.order_fail;
  if (e.rf == initial) return;
  const event& source = g.events[e.rf];
  e.porf.join(source.porf);
  if (acquires(e.order)) {
    if (!e.hidden) e.hb.join(source.rel);
    e.seen.join(source.rel_seen);
  }
}

// Returns: the place in co of the newest store that the clock's owner must not look behind.
inline u16 engine::lower_bound(const graph& g, u16 location, const vector_clock& clock) const {
  u16 bound = 0;
  for (u16 i = 0; i < g.size; ++i) {
    const event& e = g.events[i];
    if (!is_access(e) || e.location != location || clock.at[e.thread] < e.index) continue;
    const u16 at = e.what == kind::write ? e.co : g.co_of_source(e);
    if (at > bound) bound = at;
  }
  return bound;
}

// Effects: fails: names the thread that did most of a long execution.
inline void engine::too_long(const event& last) {
  unsigned id = last.thread;
  for (unsigned i = 0; i < thread_count; ++i) {
    if (threads[i].done > threads[id].done) id = i;
  }
  const explored_thread& t = threads[id];
  constexpr unsigned few = 8;
  const char* const text =
      t.hints > few
          ? "livelock: thread %u has %u of more than %u events, and stores between its calls of "
            "spin_hint(): it is no deadlock, and it does not end. If another thread could end it, "
            "let the loop only read while it waits"
          : "an unbounded loop? Thread %u has %u of more than %u events. Tell the explorer that a "
            "loop waits with spin_hint() or std::this_thread::yield()";
  char line[400];
  std::snprintf(line, sizeof line, text, id, unsigned{t.done}, max_events);
  fail(line, t.done == 0 ? last.site : g_.events[t.at[t.done - 1]].site);
}

// Returns: the same for the graph of this run, before the event that asks is listed in its place.
inline u16 engine::lower_bound(const place& p, const vector_clock& clock) const {
  u16 bound = p.stores;
  for (; bound > 0; --bound) {
    const event& e = g_.events[p.co[bound - 1]];
    if (clock.at[e.thread] >= e.index) break;
  }
  for (u16 i = 0; i < p.reads; ++i) {
    const event& e = g_.events[p.readers[i]];
    if (clock.at[e.thread] < e.index) continue;
    const u16 at = g_.co_of_source(e);
    if (at > bound) bound = at;
  }
  return bound;
}

inline u16 engine::append(const event& e) {
  if (how.max_events != 0 && e.index > how.max_events && !e.exclusive) return initial;
  if (g_.size == max_events) {
    too_long(e);
    return initial;
  }
  const u16 position = g_.size++;
  g_.events[position] = e;
  done_[position] = false;
  threads[e.thread].at[e.index - 1] = position;
  return position;
}

// Returns: whether this read is the first half of an update that takes place. Who races with it
// races with the second half.
inline bool engine::writes_too(const operation& op, const event& e) const {
  return op.what == op_kind::update && writes(op, value_of(g_, e));
}

// Effects: the thread passes this event: its clocks follow, memory holds what the event left.
inline void engine::execute(unsigned id, u16 position) {
  explored_thread& t = threads[id];
  const event& e = g_.events[position];
  sequence_[executed_++] = position;
  done_[position] = true;
  ++t.done;
  t.repeats = 0;
  t.awaited_count = 0;
  t.hb = e.hb;
  t.seen = e.seen;
  t.porf = e.porf;
  const bool learns = e.what == kind::read || e.what == kind::wake;
  if (learns && e.rf != initial && time_[e.rf] > t.time) t.time = time_[e.rf];
  time_[position] = t.time;
  if (e.what == kind::fence && releases(e.order)) {
    t.fence_hb = e.hb;
    t.fence_seen = e.seen;
  }
  if (e.what == kind::read) {
    if (e.rf != initial) {
      if (!e.hidden) t.pending_hb.join(g_.events[e.rf].rel);
      t.pending_seen.join(g_.events[e.rf].rel_seen);
    }
    if (!writes_too(t.op, e)) touch_atomic(id, e.location, access_read);
  }
  if (e.what == kind::write) {
    place& p = places_[e.location];
    if (t.op.what == op_kind::plain) {
      p.unread_plain = position;
      p.in_memory = to16(position + 1);
      return;
    }
    if (!touch_atomic(id, e.location, access_write) || p.hidden || p.is_lock()) return;
    if (p.in_memory == 0 || g_.events[p.in_memory - 1].co < e.co) {
      p.in_memory = to16(position + 1);
      std::memcpy(reinterpret_cast<void*>(p.address), &e.value, p.size);
    }
  }
}

// Effects: fails: the thread does not do what it did when it read the same values before.
inline void engine::not_again(const explored_thread& t) {
  final_ = true;
  char line[400];
  std::snprintf(line, sizeof line,
                "the body is not deterministic: run again with the same values read, thread %u "
                "does something else. %s", static_cast<unsigned>(&t - threads), remedy);
  fail(line, t.op.site);
}

// Returns: the event that the graph has next for this thread; null if it has none or if it is not
// ready. `ready` is false when the thread has to wait.
inline const event* engine::recorded(explored_thread& t, kind what, u16 location, bool& ready) {
  ready = true;
  if (t.done < t.recorded) {
    const event& e = g_.events[t.at[t.done]];
    if (e.what != what || (is_access(e) && e.location != location)) {
      not_again(t);
      ready = false;
      return nullptr;
    }
    ready = (e.what != kind::read && e.what != kind::wake) || e.rf == initial || done_[e.rf];
    if (!ready) t.waits_for = e.rf;
    return ready ? &e : nullptr;
  }
  ready = !replaying();
  if (!ready) t.waits_for = explored_thread::end_of_replay;
  return nullptr;
}

inline void engine::push(const graph& g) {
  if (departures_ >= how.departures) {
    ++out->cut;
    return;
  }
  auto* const item =
      static_cast<work_item*>(std::malloc(sizeof(work_item) + g.size * sizeof(event)));
  item->next = stack_;
  item->size = g.size;
  item->departures = departures_ + 1;
  std::memcpy(static_cast<void*>(item->events), g.events, g.size * sizeof(event));
  stack_ = item;
}

inline bool engine::simple(unsigned id, kind what, u8 order, unsigned choices, u16 from) {
  explored_thread& t = threads[id];
  bool ready = false;
  const event* const old = recorded(t, what, 0, ready);
  if (!ready) return false;
  if (old != nullptr) {
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, what, 0, order);
  e.about = static_cast<u8>(t.op.about);
  if (what == kind::fence && acquires(order)) {
    e.hb.join(t.pending_hb);
    e.seen.join(t.pending_seen);
  }
  if (what == kind::wake) {
    e.rf = from;
    e.seen.join(g_.events[from].seen);
    e.porf.join(g_.events[from].porf);
  }
  u16 chosen = 0;
  if (course_ != course::every && choices > 1 && !pick_choice(choices, chosen)) return false;
  const u16 position = append(e);
  if (position == initial) return false;
  for (unsigned i = choices; course_ == course::every && i-- > 1;) {
    g_.events[position].co = to16(i);
    push(g_);
  }
  g_.events[position].co = chosen;
  if (what == kind::fence && order == seq_cst && !admitted(g_)) {
    pruned_ = true;
    return false;
  }
  execute(id, position);
  return true;
}

inline bool engine::read(unsigned id, u16 location, u8 order, bool compares, u8 order_fail,
                         value_t expected) {
  explored_thread& t = threads[id];
  place& p = places_[location];
  bool ready = false;
  const event* const old = recorded(t, kind::read, location, ready);
  if (!ready) return false;
  fetch(p);
  if (old != nullptr) {
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, kind::read, location, order);
  e.compares = compares;
  e.order_fail = order_fail;
  sc_.used = sc_.used || order_fail == seq_cst;
  e.value = expected;
  e.hidden = p.hidden;
  const u16 position = append(e);
  if (position == initial) return false;
  const u16 bound = lower_bound(p, e.seen);
  if (course_ != course::every) return read_forward(id, position, bound);
  event& option = g_.events[position];
  const auto reads_from = [&](int at) {
    option.rf = at == 0 ? initial : p.co[at - 1];
    option.order = e.order;
    option.hb = e.hb;
    option.seen = e.seen;
    option.porf = e.porf;
    complete_read(g_, option);
  };
  int chosen = -1;
  for (int at = p.stores; at >= bound; --at) {
    reads_from(at);
    if (!admitted(g_)) continue;
    // Who waits with an old value is never let in: a revisit frees only who saw the newest.
    if (at != p.stores && t.op.waits && waits(t.op, value_of(g_, option))) continue;
    if (already_updated(p, at, t.op, option)) {
      revisit_only(position);
    } else if (chosen >= 0) {
      push(g_);
    } else {
      chosen = at;
    }
  }
  if (chosen < 0) {
    pruned_ = true;
    return false;
  }
  reads_from(chosen);
  p.readers[p.reads++] = position;
  execute(id, position);
  return true;
}

inline bool engine::write(unsigned id, u16 location, u8 order, value_t value, bool exclusive,
                          u16 partner, bool plain) {
  explored_thread& t = threads[id];
  place& p = places_[location];
  bool ready = false;
  const event* const old = recorded(t, kind::write, location, ready);
  if (!ready) return false;
  fetch(p);
  if (old != nullptr) {
    if (!plain && !(old->value == value)) {
      not_again(t);
      return false;
    }
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, kind::write, location, order);
  e.exclusive = exclusive;
  e.partner = partner;
  e.value = value;
  e.hidden = p.hidden;
  complete_write(e);
  const u16 source = exclusive ? g_.co_of_source(g_.events[partner]) : u16{0};
  const u16 bound = lower_bound(p, e.seen);
  const u16 position = append(e);
  if (position == initial) return false;
  if (!plain && course_ == course::every) backward_revisits(position);

  // Forward: every place in co that coherence and the read-modify-writes leave.
  const u16 first = exclusive ? to16(source + 1) : plain ? to16(p.stores + 1) : to16(bound + 1);
  const u16 last = exclusive ? first : to16(p.stores + 1);
  static u16 allowed[max_events + 1];
  u16 count = 0;
  for (u16 at = last; at >= first; --at) {
    if (at <= p.stores && g_.events[p.co[at - 1]].exclusive) continue;
    for (u16 i = to16(at - 1); i < p.stores; ++i) ++g_.events[p.co[i]].co;
    g_.events[position].co = at;
    if (admitted(g_)) {
      if (count != 0 && course_ == course::every) push(g_);
      allowed[count++] = at;
    }
    for (u16 i = to16(at - 1); i < p.stores; ++i) --g_.events[p.co[i]].co;
  }
  if (count == 0 && course_ == course::every) {
    pruned_ = true;
    return false;
  }
  u16 chosen = allowed[0];
  if (course_ != course::every && !pick_place(allowed, count, last, chosen)) return false;
  for (u16 i = p.stores; i >= chosen; --i) {
    p.co[i] = p.co[i - 1];
    ++g_.events[p.co[i]].co;
  }
  p.co[chosen - 1] = position;
  ++p.stores;
  g_.events[position].co = chosen;
  execute(id, position);
  return true;
}

// Effects: sets what a reader of this store acquires.
inline void engine::complete_write(event& e) const {
  const explored_thread& t = threads[e.thread];
  if (!e.hidden) e.rel = releases(e.order) ? e.hb : t.fence_hb;
  e.rel_seen = releases(e.order) ? e.seen : t.fence_seen;
  if (!e.exclusive) return;
  const event& reader = g_.events[e.partner];
  if (reader.rf == initial) return;
  const event& head = g_.events[reader.rf];  // C++20: updates continue a release sequence
  if (!e.hidden) e.rel.join(head.rel);
  e.rel_seen.join(head.rel_seen);
}

// Returns: whether this update would write although another one has updated the same value. That is
// no execution; but the other one may read what this one writes.
inline bool engine::already_updated(const place& p, int at, const operation& op,
                                    const event& option) const {
  return at < p.stores && g_.events[p.co[at]].exclusive && writes_too(op, option);
}

// Effects: adds the write of the update whose read was just added, for its revisits alone.
inline void engine::revisit_only(u16 position) {
  const event& reader = g_.events[position];
  const operation& op = threads[reader.thread].op;
  event e = reader;
  e.what = kind::write;
  e.order = e.order_done = op.order;
  e.compares = false;
  e.exclusive = true;
  e.partner = position;
  e.value = updated(op, value_of(g_, reader));
  e.rf = initial;
  ++e.index;
  e.hb.at[e.thread] = e.seen.at[e.thread] = e.porf.at[e.thread] = e.index;
  if (symmetric) depend_on_twin(g_, e);
  complete_write(e);
  const u16 write = append(e);
  if (write == initial) return;
  backward_revisits(write);
  --g_.size;
}

}  // namespace
}  // namespace interlock::testing
