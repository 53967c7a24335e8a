// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/transaction_commit.hpp - how an attempt takes effect in one step, or waits
// until another one might.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>

#include "processor.hpp"
#include "transaction_log.hpp"

namespace interlock::detail {

// commit() enters the written cells, checks the others, publishes:
//   no deadlock     at first it waits for nothing; if somebody is in, it leaves and comes back in
//                   address order. Then only entering waits, always for a cell further up than
//                   those entered, and never for a claim, whose owner runs user code
//   no half commit  every written cell is busy before the first is published, so who met a
//                   published one finds the others busy or newer
//   one order       cells under claims are marked busy by plain stores and one fence behind them
//                   all, before the reads are checked: who still finds an old value there comes
//                   before this commit, and so does what he goes on to see
//   no write skew   entering or claiming (a CAS) and checking (a load) are seq_cst: of two commits
//                   that each read what the other writes, one finds the other in
// S. Tu et al., "Speedy Transactions in Multicore In-Memory Databases" (Silo), SOSP 2013, without
// its epochs.
inline bool transaction_log::commit() {
  if (state_ != state::live) return false;
  const entry made = enter_at_once();
  if (made == entry::to_none) {
    give_up_claims();
    return true;
  }
  if (made == entry::refused && !enter_in_order()) return false;
  if (has_claims_) {
    for (record& w : records_) {
      if (w.draft != nullptr && w.what == known::claimed) w.cell->mark_busy_before_fence(w.version);
    }
    full_fence();
  }
  if (!check_reads()) {
    leave(records_.end());
    give_up_claims();
    return false;
  }
  publish();
  give_up_claims();  // of cells that are not written after all
  return true;
}

inline auto transaction_log::enter_at_once() -> entry {
  entry made = entry::to_none;
  for (record& w : records_) {
    if (w.draft == nullptr) continue;
    // If somebody is in, this is no time to wait: cells further down may be entered already.
    if (w.what == known::nothing) w.version = version_word::version_of(w.cell->peek());
    if (w.version == version_word::max_version) [[unlikely]] exhausted(w);
    if (w.what != known::claimed && !w.cell->try_lock(w.version)) {
      leave(&w);
      return entry::refused;
    }
    made = entry::to_all;
  }
  return made;
}

[[gnu::noinline, gnu::cold]] inline bool transaction_log::enter_in_order() {
  std::sort(records_.begin(), records_.end(), [](const record& a, const record& b) {
    return std::less<>{}(a.cell, b.cell);
  });
  for (record& w : records_) {
    if (w.draft == nullptr) continue;
    if (w.what == known::nothing) w.version = w.cell->settled();
    if (w.version == version_word::max_version) exhausted(w);
    if (w.what == known::claimed) continue;
    for (unsigned round = 0; !w.cell->try_lock(w.version); ++round) {
      if (!follow(w)) {
        lost(w);
        leave(&w);
        return false;
      }
      if (w.version == version_word::max_version) exhausted(w);
      spin_hint(round);
    }
  }
  return true;
}

// Effects: leaves the cells before `end` that were entered without a claim.
inline void transaction_log::leave(record* end) noexcept {
  for (record* w = records_.begin(); w != end; ++w) {
    if (w->draft != nullptr && w->what != known::claimed) w->cell->unlock(w->version);
  }
}

[[gnu::noinline, gnu::cold]] inline void transaction_log::exhausted(record& here) {
  leave(&here);
  throw std::overflow_error(version_word::exhausted);
}

inline bool transaction_log::check_reads() noexcept {
  for (const record& r : records_) {
    if (r.draft == nullptr && r.what == known::seen && !r.cell->is_at(r.version)) {
      lost(r);
      return false;
    }
  }
  return true;
}

inline void transaction_log::publish() noexcept {
  for (record& w : records_) {
    if (w.draft == nullptr) continue;
    w.steps->put(*w.cell, w.draft);
    if (w.what == known::claimed) w.what = known::nothing;
    if (auto* const reached = w.cell->publish(w.version + 1)) [[unlikely]] {
      w.reached = reached;
      w.what = known::awaited;
      awaited_ = true;
    }
  }
}

inline bool transaction_log::wait_for_change() {
  using node = version_word::waiters::node;
  std::array<node, 16> few;
  std::unique_ptr<node[]> many;
  if (records_.size() > few.size()) many = std::make_unique<node[]>(records_.size());
  give_up_claims();
  bool some = false;
  wait_any<std::uint64_t> here(many ? many.get() : few.data());
  for (const record& each : records_) {
    if (each.what != known::seen) continue;
    if (!each.cell->join(here, each.version)) return true;
    some = true;
  }
  if (some) here.wait(nullptr);
  return some;
}

inline void transaction_log::give_up_claims() noexcept {
  if (!has_claims_) return;
  for (record& each : records_) give_up_claim(each);
  has_claims_ = false;
}

// Claims first: others wait for these, and what is destroyed may be anybody's.
[[gnu::noinline, gnu::cold]] inline void transaction_log::clean_up() noexcept {
  give_up_claims();
  for (const record& each : records_) destroy_draft(each);
  if (extras_) drop_hooks(0);
}

}  // namespace interlock::detail
