// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/operations.hpp - what a thread asks for, step by step: updates, spinning, parking,
// joining.

#include "engine.hpp"

namespace interlock::testing {
namespace {

// A read in a loop that waits: the same place in the code reads the same object again, the thread
// did nothing but read, said spin_hint(), and learned nothing since. It is the same read: whatever
// it could see now, the first one could have seen as well, and those graphs are visited too.
// Repeated for long, it waits for a revisit.
inline bool engine::repeat_read(unsigned id, u16 location) {
  explored_thread& t = threads[id];
  if (t.hints == 0 || t.done != t.hinted_at) return false;
  const bool compares = t.op.what == op_kind::update && t.op.update == update_kind::compare;
  const u8 order = compares ? t.op.order_fail : t.op.order;
  for (u16 i = t.done; i-- > 0;) {
    const u16 position = t.at[i];
    const event& e = g_.events[position];
    if (e.what != kind::read) return false;
    if (e.location != location) continue;
    // Another place in the code may expect more of what it reads: a seqlock ends with a relaxed
    // look and begins anew with one that acquires.
    const bool as_good = e.order == order || !acquires(order);
    if (e.site != t.op.site && !(how.whole_waits && as_good)) continue;
    if (g_.co_of_source(e) < lower_bound(places_[location], t.seen)) return false;  // too old
    const value_t value = value_of(g_, e);
    if (t.op.what == op_kind::update && (t.op.waits || writes(t.op, value))) return false;
    if (t.learns && g_.co_of_source(e) != places_[location].stores) {
      t.learns = false;
      t.newer_than = to16(g_.co_of_source(e) + 1);
      return false;
    }
    unsigned k = 0;
    while (k < t.awaited_count && t.awaited[k] != position) ++k;
    if (k == max_awaited || (k < t.awaited_count && t.awaited_hint[k] == t.hints)) return false;
    if (k == t.awaited_count) ++t.awaited_count;
    t.awaited[k] = position;
    t.awaited_hint[k] = t.hints;
    if (++t.repeats > repeats_before_waiting) {
      t.state = thread_state::awaiting;
      return true;
    }
    t.op.result = value;
    t.op.success = false;
    answer(t);
    return true;
  }
  return false;
}

inline bool engine::process_update(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  if (op.phase == 0) {
    const bool compares = op.update == update_kind::compare;
    if (t.learns && op.waits) {
      t.learns = false;
      t.newer_than = to16(g_.co_of_source(g_.events[op.read_at]) + 1);
    }
    if (!read(id, op.location, op.order, compares, op.order_fail, op.expected)) return false;
    op.read_at = t.at[t.done - 1];
    const event& e = g_.events[op.read_at];
    op.result = value_of(g_, e);
    op.success = writes(op, op.result);
    if (waits(op, op.result)) {
      t.state = thread_state::awaiting;
      t.awaited[0] = op.read_at;
      t.awaited_count = 1;
      return true;
    }
    if (!op.success) {
      answer(t);
      return true;
    }
    op.phase = 1;
    return true;
  }
  if (!write(id, op.location, op.order, updated(op, op.result), true, op.read_at, false)) {
    return false;
  }
  answer(t);
  return true;
}

// park: { lock the word's queue; read the word; sleep in the queue, or unlock }. The queue is a
// hidden object that sleepers and wakers update, so their order is explored. A thread that does not
// sleep leaves no trace in it.

inline bool engine::process_park(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  const u16 queue = place_of(op.address, 0, true);
  switch (op.phase) {
    case 0:  // a wake-up for no reason?
      if (t.spurious < how.spurious_wakeups) {
        op.about = choice_of::wake_up;
        if (!simple(id, kind::choice, relaxed, 2, 0)) return false;
        if (g_.events[t.at[t.done - 1]].co == 1) {
          ++t.spurious;
          answer(t);
          return true;
        }
      }
      op.phase = 1;
      return true;
    case 1:
      if (!read(id, queue, acq_rel, false, relaxed, {})) return false;
      op.read_at = t.at[t.done - 1];
      op.phase = op.waits ? 3 : 2;
      return true;
    case 2: {
      const u16 word = place_of(op.address, 4, false);
      if (!read(id, word, relaxed, false, relaxed, {})) return false;
      if (op.unchecked || value_of(g_, g_.events[t.at[t.done - 1]]) == op.expected) {
        op.phase = 3;
      } else {
        answer(t);
      }
      return true;
    }
    case 3:
      if (!write(id, queue, acq_rel, {queue_sleep, 0}, true, op.read_at, false)) return false;
      op.sleeper = t.at[t.done - 1];
      op.phase = 4;
      if (op.waits) answer(t);  // it unlocks before it sleeps
      return true;
    default: {
      u16 waker = initial;
      if (t.done >= t.recorded) {
        if (replaying()) return false;
        waker = woken_by(op.sleeper);
        if (waker == initial) return false;
      }
      if (!simple(id, kind::wake, relaxed, 0, waker)) return false;
      answer(t);
      return true;
    }
  }
}

// Effects: lists who sleeps in the queue, oldest first, after the stores up to this place in co.
// Returns: the position of the unpark that took `sleeper` from the queue; initial if none did.
inline u16 engine::sleepers(const place& p, u16 stores, u16 sleeper, u16* queue,
                            unsigned& count) const {
  count = 0;
  for (u16 i = 0; i < stores; ++i) {
    const u16 position = p.co[i];
    const value_t& what = g_.events[position].value;
    if (what.low == queue_sleep) {
      queue[count++] = position;
    } else if (what.low == queue_wake_all) {
      for (unsigned k = 0; k < count; ++k) {
        if (queue[k] == sleeper) return position;
      }
      count = 0;
    } else if (count != 0) {
      if (queue[what.high] == sleeper) return position;
      std::copy(queue + what.high + 1, queue + count--, queue + what.high);
    }
  }
  return initial;
}

inline u16 engine::woken_by(u16 sleeper) const {
  static u16 queue[max_events];
  unsigned count = 0;
  const place& p = places_[g_.events[sleeper].location];
  return sleepers(p, p.stores, sleeper, queue, count);
}

inline bool engine::process_unpark(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  const u16 queue = place_of(op.address, 0, true);
  if (op.phase == 0) {
    if (!read(id, queue, acq_rel, false, relaxed, {})) return false;
    op.read_at = t.at[t.done - 1];
    op.phase = 1;
    return true;
  }
  if (op.phase == 1) {
    op.phase = 2;
    op.about = choice_of::sleeper;
    static u16 sleeping[max_events];
    const u16 stores = g_.co_of_source(g_.events[op.read_at]);
    sleepers(places_[queue], stores, initial, sleeping, op.options);
  }
  if (op.phase == 2) {
    if (op.operand.low == queue_wake_one && op.options > 1) {
      if (!simple(id, kind::choice, relaxed, op.options, 0)) return false;
      op.operand.high = g_.events[t.at[t.done - 1]].co;
    }
    op.phase = 3;
  }
  if (!write(id, queue, acq_rel, op.operand, true, op.read_at, false)) return false;
  answer(t);
  return true;
}

// Returns: whether what stopped the thread when it was last looked at stops it still.
inline bool engine::stopped(explored_thread& t) const {
  switch (t.waits_for) {
    case explored_thread::no_wait: return false;
    case explored_thread::end_of_replay:
      if (replaying()) return true;
      break;
    case explored_thread::end_of_threads:
      if (unfinished_ != 0) return true;
      break;
    default:
      if (!done_[t.waits_for]) return true;
  }
  t.waits_for = explored_thread::no_wait;
  return false;
}

// Effects: finds the object of a load, store or update. Returns: whether that is possible.
inline bool engine::locate(operation& op) {
  if (op.location == operation::unknown) op.location = place_of(op.address, op.size, false);
  return !failed;
}

// Returns: whether something was done for the thread.
inline bool engine::process(unsigned id) {
  explored_thread& t = threads[id];
  if (stopped(t)) return false;
  operation& op = t.op;
  switch (op.what) {
    case op_kind::none: return false;
    case op_kind::load:
      if (!locate(op)) return false;
      if (repeat_read(id, op.location)) return true;
      if (!read(id, op.location, op.order, false, relaxed, {})) return false;
      op.result = value_of(g_, g_.events[t.at[t.done - 1]]);
      answer(t);
      return true;
    case op_kind::store:
      if (!locate(op)) return false;
      if (!write(id, op.location, op.order, op.operand, false, 0, false)) return false;
      answer(t);
      return true;
    case op_kind::plain:
      if (!write(id, op.location, relaxed, {}, false, 0, true)) return false;
      answer(t);
      return true;
    case op_kind::update:
      if (!locate(op)) return false;
      if (op.phase == 0 && repeat_read(id, op.location)) return true;
      return process_update(id);
    case op_kind::fence:
      if (!simple(id, kind::fence, op.order, 0, 0)) return false;
      answer(t);
      return true;
    case op_kind::choice:
      if (!simple(id, kind::choice, relaxed, op.options, 0)) return false;
      op.result.low = g_.events[t.at[t.done - 1]].co;
      answer(t);
      return true;
    case op_kind::park: return process_park(id);
    case op_kind::unpark: return process_unpark(id);
    case op_kind::join: {
      if (op.phase == 0) {
        // An event of its own, so that what comes after it is not taken for known to the threads.
        if (!simple(id, kind::fence, relaxed, 0, 0)) return false;
        op.phase = 1;
      }
      for (unsigned i = 1; i < thread_count; ++i) {
        explored_thread& other = threads[i];
        if (other.state == thread_state::added) {
          // The threads know what the main thread did so far.
          other.state = thread_state::running;
          ++unfinished_;
          other.hb = t.hb;
          other.seen = t.seen;
          other.porf = t.porf;
          other.time = t.time;
          other.fence_hb = other.fence_seen = vector_clock{};
          other.pending_hb = other.pending_seen = vector_clock{};
        }
      }
      if (unfinished_ != 0) {
        t.waits_for = explored_thread::end_of_threads;
        return false;
      }
      for (unsigned i = 1; i < thread_count; ++i) {
        const explored_thread& other = threads[i];
        t.hb.join(other.hb);
        t.hb.at[i] = to16(other.done + 1);
        t.seen.join(other.seen);
        t.porf.join(other.porf);
        if (other.time > t.time) t.time = other.time;
      }
      answer(t);
      return true;
    }
    case op_kind::end:
      t.state = thread_state::finished;
      if (id != 0) --unfinished_;
      op.what = op_kind::none;
      return true;
  }
  return false;
}

}  // namespace
}  // namespace interlock::testing
