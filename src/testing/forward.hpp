// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/forward.hpp - runs that only go forward: each event takes one of its options, and no
// alternative is kept. For samples, for replay strings, and for the first execution when it is
// run again and again.
//
// Between two events every thread goes on as far as it can without one. So what happens in plain
// code, and when, depends on the order of the events alone: a replay string need say no more.

#include "engine.hpp"

namespace interlock::testing {
namespace {

// Effects: picks one of the options, which are distances from the default, the nearest first.
// Returns: whether there was one.
inline bool engine::pick(const u16* options, u16 count, u16& picked) {
  if (course_ == course::given) {
    for (u16 i = 0; i < count; ++i) {
      if (options[i] != given_) continue;
      picked = given_;
      return true;
    }
    misfit("is not possible there");
    return false;
  }
  if (count == 0) {
    pruned_ = true;
    return false;
  }
  // Half of the time the default: long samples made of old values alone see little else.
  const bool any = course_ == course::random && random_.below(2) == 1;
  picked = options[any ? random_.below(count) : 0];
  return true;
}

// Effects: picks one of choices that are as good as each other.
inline bool engine::pick_choice(unsigned choices, u16& picked) {
  if (course_ == course::given && given_ >= choices) {
    misfit("is not possible there");
    return false;
  }
  picked = course_ == course::given    ? given_
           : course_ == course::random ? to16(random_.below(choices))
                                       : u16{0};
  return true;
}

// Effects: completes the read that was just added.
inline bool engine::read_forward(unsigned id, u16 position, u16 bound) {
  explored_thread& t = threads[id];
  place& p = places_[g_.events[position].location];
  const event unread = g_.events[position];
  if (bound < t.newer_than) bound = t.newer_than;
  t.newer_than = 0;
  const auto from = [&](u16 distance) {
    event option = unread;
    option.rf = distance == p.stores ? initial : p.co[p.stores - distance - 1];
    complete_read(g_, option);
    return option;
  };
  static u16 options[max_events + 1];
  u16 count = 0;
  if (t.op.what == op_kind::unpark) bound = p.stores;  // it writes, and so did all before it
  for (u16 distance = 0; distance + bound <= p.stores; ++distance) {
    g_.events[position] = from(distance);
    if (!sc_.consistent(g_)) continue;
    if (!already_updated(p, p.stores - distance, t.op, g_.events[position])) {
      options[count++] = distance;
    }
  }
  u16 picked = 0;
  if (!pick(options, count, picked)) return false;
  g_.events[position] = from(picked);
  p.readers[p.reads++] = position;
  execute(id, position);
  return true;
}

// Effects: picks one of the places in co that a new store may take.
inline bool engine::pick_place(const u16* places, u16 count, u16 last, u16& chosen) {
  static u16 options[max_events + 1];
  for (u16 i = 0; i < count; ++i) options[i] = to16(last - places[i]);
  u16 picked = 0;
  if (!pick(options, count, picked)) return false;
  chosen = to16(last - picked);
  return true;
}

// ---- stepping -----------------------------------------------------------------------------------

// Returns: whether the waiting thread would see something newer.
inline bool engine::has_news(const explored_thread& t) const {
  for (unsigned k = 0; k < t.awaited_count; ++k) {
    const event& e = g_.events[t.awaited[k]];
    if (g_.co_of_source(e) != places_[e.location].stores) return true;
  }
  return false;
}

// Effects: lets each thread that has moved go on until it has to do an event, waits, or ends.
// Returns: false if one of them failed.
inline bool engine::settle() {
  hold_ = true;
  for (unsigned id = 0; unsettled_ != 0 && !failed; id = (id + 1) % max_threads) {
    if ((unsettled_ >> id & 1U) == 0) continue;
    unsettled_ &= ~(1U << id);
    explored_thread& t = threads[id];
    while (!failed) {
      if (t.state == thread_state::running) {
        resume(id);
      } else if (t.state != thread_state::posted || !process(id)) {
        break;
      }
    }
    if (t.state == thread_state::finished) unsettled_ |= 1U & ~(1U << id);  // it may be joined
    if (t.op.what != op_kind::join) continue;
    for (unsigned other = 1; other < thread_count; ++other) {
      if (threads[other].state == thread_state::running) unsettled_ |= 1U << other;
    }
  }
  hold_ = false;
  return !failed;
}

// Effects: the thread's next event, and what it takes to get there.
// Returns: whether there was one.
inline bool engine::advance(unsigned id) {
  explored_thread& t = threads[id];
  if (t.state == thread_state::awaiting && has_news(t)) {
    // It waits in a read that it asked for, or in spin_hint() itself.
    t.state = t.op.what == op_kind::none ? thread_state::running : thread_state::posted;
    t.learns = true;
    t.repeats = 0;
  }
  const u16 before = executed_;
  unsettled_ |= 1U << id;
  while (executed_ == before && !failed && !pruned_) {
    if (t.state == thread_state::running) resume(id);
    if (failed || t.state != thread_state::posted) break;
    if (!process(id)) break;
  }
  return executed_ != before;
}

// Returns: the threads that may have a next event, as a set of bits.
inline unsigned engine::able() const {
  unsigned result = 0;
  for (unsigned id = 0; id < thread_count; ++id) {
    if (inside(id)) return 1U << id;  // an update is one step
    const explored_thread& t = threads[id];
    const bool waits = t.state == thread_state::awaiting;
    if (t.state == thread_state::posted || (waits && has_news(t))) result |= 1U << id;
  }
  return result;
}

// Effects: goes on to the end of the execution; the leftmost thread that can, or the policy's.
inline void engine::forward_run() {
  while (settle() && threads[0].state != thread_state::finished) {
    bool progress = false;
    for (unsigned candidates = able(); candidates != 0 && !progress;) {
      unsigned id = 0;
      if (course_ == course::random) {
        id = sampler_.next(candidates, random_);
      } else {
        while ((candidates >> id & 1U) == 0) ++id;
      }
      candidates &= ~(1U << id);
      const operation op = threads[id].op;
      progress = advance(id);
      if (failed || pruned_) return;
      if (progress && course_ == course::random) {
        sampler_.after(id, op, executed_, threads, random_);
      }
    }
    if (!progress) return;
  }
}

// Effects: one execution without alternatives, counted in `into`.
inline void engine::run_alone(int fill, report& into) {
  report* const before = out;
  out = &into;
  poison = fill;
  departures_ = 0;
  start_run(nullptr);
  forward_run();
  end_of_run();
  out = before;
}

}  // namespace
}  // namespace interlock::testing
