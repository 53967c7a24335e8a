// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/sampling.hpp - executions at random, for what is too big to be explored.
//
// The policy says which thread goes on; what its event reads, or where its store goes, is drawn
// among the options that the exhaustive search would have.
//
//   pct  S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, "A Randomized Scheduler with
//        Probabilistic Guarantees of Finding Bugs", ASPLOS 2010: random priorities, lowered at
//        depth - 1 random events. A thread that says spin_hint() is lowered too.
//   pos  X. Yuan, J. Yang, R. Gu, "Partial Order Aware Concurrency Sampling", CAV 2018: a random
//        priority for each event, drawn again when an event that conflicts with it was first.

#include "engine.hpp"

namespace interlock::testing {
namespace {

inline bool may_store(const operation& op) {
  return op.what != op_kind::load && op.what != op_kind::fence && op.what != op_kind::choice &&
         op.what != op_kind::join && op.what != op_kind::end && op.what != op_kind::none;
}

inline void sampler::begin(sampling how, unsigned depth, unsigned events, random_bits& random) {
  policy_ = how;
  lowest_ = 0;
  changes_ = 0;
  for (i64& p : priority_) p = static_cast<i64>(random.next() >> 2U) + max_changes + 1;
  if (how != sampling::pct) return;
  while (changes_ + 1 < depth && changes_ < max_changes) {
    change_at_[changes_++] = to16(1 + random.below(events == 0 ? 1 : events));
  }
}

inline unsigned sampler::next(unsigned candidates, random_bits& random) const {
  unsigned best = no_thread, seen = 0;
  for (unsigned id = 0; id < max_threads; ++id) {
    if ((candidates >> id & 1U) == 0) continue;
    ++seen;
    const bool better = policy_ == sampling::random_walk ? random.below(seen) == 0
                        : best == no_thread ? true
                                            : priority_[id] > priority_[best];
    if (better) best = id;
  }
  return best;
}

// Effects: the thread has done an event of this operation.
inline void sampler::after(unsigned id, const operation& op, u16 executed,
                           const explored_thread* threads, random_bits& random) {
  if (policy_ == sampling::pct) {
    for (unsigned i = 0; i < changes_; ++i) {
      if (change_at_[i] == executed) priority_[id] = i + 1;
    }
    // `hinted_at` is at the last event before this one: the thread is in a loop that waits.
    const explored_thread& t = threads[id];
    if (t.hints != 0 && t.hinted_at + 1 == t.done) priority_[id] = --lowest_;
  }
  if (policy_ != sampling::pos) return;
  const auto draw = [&](unsigned which) {
    priority_[which] = static_cast<i64>(random.next() >> 2U);
  };
  draw(id);
  for (unsigned other = 0; other < max_threads; ++other) {
    const explored_thread& t = threads[other];
    const bool pending = t.state == thread_state::posted || t.state == thread_state::awaiting;
    if (other == id || !pending || t.op.address != op.address) continue;
    if (may_store(op) || may_store(t.op)) draw(other);
  }
}

inline void engine::explore_samples() {
  how.count_distinct = true;
  course_ = course::random;
  constexpr u64 portion = 16;
  for (bool more = true; more && !failed;) {
    const u64 first = __atomic_fetch_add(&shared_->next, portion, __ATOMIC_RELAXED);
    more = first + portion < how.samples;
    for (u64 i = first; i < first + portion && i < how.samples && !failed; ++i) {
      if (!may_run()) return;
      random_.seed(how.seed, i);
      sampler_.begin(how.sample, how.pct_depth, usual_events_, random_);
      run_alone((i & 1U) != 0 ? 0x01 : 0xFF, *out);
    }
  }
}

}  // namespace
}  // namespace interlock::testing
