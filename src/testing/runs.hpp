// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/runs.hpp - one run from a graph.

#include "engine.hpp"
#include "stacks.hpp"

namespace interlock::testing {
namespace {

inline void fiber_entry() {
  engine& e = the_engine();
  explored_thread* const self = e.current;
  try {
    if (e.current_id == 0) {
      {
        world w;
        (*e.body_)(w);
      }
      for (unsigned i = 1; i < e.thread_count; ++i) {
        if (e.threads[i].state != thread_state::finished) {
          e.fail_here("the body returned before its threads ended: call world.finally or "
                      "world.join at its end", nullptr);
        }
      }
    } else {
      self->call(self->function);
    }
  } catch (const std::exception& error) {
    e.fail_here("uncaught exception: ", nullptr, error.what());
  } catch (...) {
    e.fail_here("uncaught exception", nullptr);
  }
  self->op = operation{};
  self->op.what = op_kind::end;
  entry_frame = self->stack.top();  // nothing of it is in use any more
  for (;;) e.post();
}

inline void engine::prepare(explored_thread& t) {
  static_assert(fiber::most == max_threads);
  t.stack.prepare(static_cast<unsigned>(&t - threads), &fiber_entry, tls, initial_tls_, stack_fill);
  t.frames.depth = t.frames.beyond = t.frames.object_count = 0;
  t.frames.used_by_others = t.live_from = t.stack.top();
  t.delayed.where = nullptr;
}

inline void engine::start_run(const work_item* item) {
  ++run_;
  shadow_.next_execution();
  heap.reset();
  unseen = 0;  // the last run may have ended in the middle
  pruned_ = false;
  executed_ = 0;
  g_.size = 0;
  outcome[0] = 0;
  remark_count_ = 0;
  remark_used_ = 0;
  failure_callers_count_ = 0;
  thread_count = 1;
  symmetric = false;
  unfinished_ = 0;
  for (explored_thread& t : threads) {
    t.state = thread_state::unused;
    t.done = t.recorded = 0;
    t.waits_for = explored_thread::no_wait;
    t.hinted_at = 0;
    t.hints = 0;
    t.repeats = 0;
    t.awaited_count = 0;
    t.spurious = 0;
    t.moments = 0;
    t.failed_exchanges = 0;
    t.time = 0;
    t.group = 0;
    t.has_deadline = false;
    t.held_count = 0;
    t.learns = false;
    t.newer_than = 0;
    t.op = operation{};
  }
  explored_thread& m = threads[0];
  m.hb = m.seen = m.porf = vector_clock{};
  m.pending_hb = m.pending_seen = m.fence_hb = m.fence_seen = vector_clock{};
  m.state = thread_state::running;
  prepare(m);
  unsettled_ = 1;
  if (item != nullptr) {
    g_.size = item->size;
    std::memcpy(static_cast<void*>(g_.events), item->events, item->size * sizeof(event));
  }
  loaded_ = g_.size;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    explored_thread& t = threads[e.thread];
    t.at[e.index - 1] = i;
    ++t.recorded;
    done_[i] = false;
    if (!is_access(e)) continue;
    place& p = places_[e.location];
    activate(p);
    if (e.what == kind::read) {
      p.readers[p.reads++] = i;
      continue;
    }
    u16 at = p.stores++;
    for (; at > 0 && g_.events[p.co[at - 1]].co > e.co; --at) p.co[at] = p.co[at - 1];
    p.co[at] = i;
  }
}

inline void engine::resume(unsigned id) {
  current = &threads[id];
  current_id = id;
  running_frames = &current->frames;
  current->stack.enter(tls);
  running_frames = nullptr;
  current = nullptr;
  current_id = no_thread;
  if (failure_pending_) {
    failure_pending_ = failed = false;
    fail(failure_text_, failure_site_);
  }
}

// A thread inside an update (or the kernel's) goes on first, then the leftmost one that can: what
// comes next is a function of the graph.
inline bool engine::inside(unsigned id) const {
  const operation& op = threads[id].op;
  if (op.what == op_kind::update) return op.phase == 1;
  if (op.what == op_kind::unpark) return op.phase != 0;
  return op.what == op_kind::park && (op.phase == 2 || op.phase == 3);
}

// Called on a fiber that has posted: does what run_next() would do as long as that concerns this
// thread. Returns: whether it has its answer; else it has to leave.
inline bool engine::goes_on() {
  const unsigned id = current_id;
  const explored_thread& self = *current;
  while (self.state == thread_state::posted) {
    if (!process(id) || failed || pruned_) return false;
    // What is replayed may come in any order that follows po and rf.
    if (!replaying() && others_go_first(id)) return false;
  }
  return self.state == thread_state::running;
}

// Returns: whether another thread was to go on before this one; then it has done a step.
inline bool engine::others_go_first(unsigned id) {
  const bool first_pass = inside(id);
  for (unsigned other = 0; other < thread_count; ++other) {
    if (other == id || threads[other].state != thread_state::posted) continue;
    if (stopped(threads[other])) continue;
    const bool first = first_pass ? other < id && inside(other) : other < id || inside(other);
    if (first && (process(other) || failed || pruned_)) return true;
  }
  return false;
}

inline void engine::run_loop() {
  fibers_go_on_ = true;
  run_next();
  fibers_go_on_ = false;
}

inline void engine::run_next() {
  while (threads[0].state != thread_state::finished) {
    bool progress = false;
    for (int pass = replaying() ? 1 : 0; pass < 2 && !progress; ++pass) {
      for (unsigned id = 0; id < thread_count && !progress; ++id) {
        explored_thread& t = threads[id];
        if (pass == 0 && !inside(id)) continue;
        if (t.state == thread_state::running) {
          resume(id);
          progress = true;
        } else if (t.state == thread_state::posted && !stopped(t)) {
          progress = process(id);
        }
        if (failed || pruned_) return;
      }
    }
    if (!progress) return;
  }
}

inline const char* name_of_wait(const explored_thread& t) {
  const bool awaits = t.state == thread_state::awaiting;
  if (t.op.waits) {
    return awaits ? " waits for a lock that nobody will release"
                  : " waits for a condition variable that nobody will notify";
  }
  return awaits ? " spins on what nobody will store" : " is parked and nobody will unpark it";
}

inline void engine::end_of_run() {
  if (failed) return;
  if (pruned_) {
    ++out->pruned;
    return;
  }
  if (executed_ < g_.size) {
    final_ = true;
    fail("the body is not deterministic: a thread did less than in an earlier run", nullptr);
    return;
  }
  if (threads[0].state == thread_state::finished) {
    if (how.leaks) {
      if (const arena::block* const block = heap.leak()) {
        const std::string text = "leak: " + std::to_string(block->size) + " bytes were not freed";
        fail(text.c_str(), block->site);
        return;
      }
    }
    ++out->executions;
    if (outcome[0] != 0) ++out->outcomes[outcome];
    if (how.count_distinct && remember(hash())) ++out->distinct;
    return;
  }
  // Nobody can go on. It is a deadlock if nobody will see anything newer either, nor time out.
  std::string who;
  for (unsigned i = 0; i < thread_count; ++i) {
    const explored_thread& t = threads[i];
    const bool joins = t.op.what == op_kind::join && t.op.phase == 1;
    if (how.max_events != 0 && t.done >= how.max_events && !joins &&
        t.state == thread_state::posted) {
      ++out->blocked;
      ++out->cut;
      return;
    }
  }
  for (unsigned i = 0; i < thread_count; ++i) {
    const explored_thread& t = threads[i];
    if (t.state == thread_state::finished || t.op.what == op_kind::join) continue;
    if (t.has_deadline || (t.state == thread_state::awaiting && has_news(t))) {
      ++out->blocked;
      return;
    }
    who += " thread " + std::to_string(i) + name_of_wait(t) + ";";
  }
  if (!who.empty()) who.pop_back();
  fail(("deadlock:" + who).c_str(), nullptr);
}

// Independent of stamps: each event with its thread, under the name given, its index, its source
// and its place.
inline u64 engine::hash(const u8 (&names)[max_threads]) const {
  u64 total = 0;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    u64 h = (u64{names[e.thread]} << 48U) | (u64{e.index} << 32U) |
            (u64{static_cast<u8>(e.what)} << 24U) | e.location;
    h = h * 0x9E3779B97F4A7C15U ^ (h >> 29U);
    u64 from = 1;
    if ((e.what == kind::read || e.what == kind::wake) && e.rf != initial) {
      from = (u64{names[g_.events[e.rf].thread]} << 20U) + g_.events[e.rf].index + 2;
    }
    h ^= from * 0xBF58476D1CE4E5B9U;
    h ^= (e.what == kind::read ? u64{0} : u64{e.co} + 1) * 0x94D049BB133111EBU;
    h ^= h >> 31U;
    h *= 0xD6E8FEB86659FD93U;
    h ^= h >> 32U;
    total += h * 0x2545F4914F6CDD1DU;
  }
  return total | 1U;
}

inline void engine::forget_hashes() {
  hash_count_ = 0;
  if (hashes_ != nullptr) std::memset(hashes_, 0, hash_capacity_ * sizeof(u64));
}

// Returns: whether the hash is new.
inline bool engine::remember(u64 h) {
  if ((hash_count_ + 1) * 2 > hash_capacity_) {
    const std::size_t bigger = hash_capacity_ == 0 ? 1024 : hash_capacity_ * 2;
    auto* const table = static_cast<u64*>(std::calloc(bigger, sizeof(u64)));
    for (std::size_t i = 0; i < hash_capacity_; ++i) {
      if (hashes_[i] == 0) continue;
      std::size_t slot = hashes_[i] % bigger;
      while (table[slot] != 0) slot = (slot + 1) % bigger;
      table[slot] = hashes_[i];
    }
    std::free(hashes_);
    hashes_ = table;
    hash_capacity_ = bigger;
  }
  std::size_t slot = h % hash_capacity_;
  for (; hashes_[slot] != 0; slot = (slot + 1) % hash_capacity_) {
    if (hashes_[slot] == h) return false;
  }
  hashes_[slot] = h;
  ++hash_count_;
  return true;
}

}  // namespace
}  // namespace interlock::testing
