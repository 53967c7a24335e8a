// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/transaction_savepoint.hpp - the parts of a transaction that can be undone,
// and what it does once it has committed.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

#include "transaction_log.hpp"

namespace interlock::detail {

// What was written, claimed and hooked from here on is undone by the destructor, unless kept. What
// was read stays: whoever undoes it has decided by it.
class transaction_log::savepoint {
public:
  explicit savepoint(transaction_log& log) noexcept
      : log_(log),
        records_(log.records_.size()),
        used_(log.used_),
        more_(log.extras_ ? *log.extras_ : log.extras_.emplace()),
        changed_(more_.changed.size()),
        hooks_(more_.hooks.size()),
        outer_floor_(std::exchange(more_.floor, records_)),
        outer_changed_floor_(std::exchange(more_.changed_floor, changed_)) {}
  savepoint(const savepoint&) = delete;
  savepoint& operator=(const savepoint&) = delete;
  ~savepoint() {
    if (!kept_) undo();
  }

  void keep() noexcept;

private:
  void undo() noexcept;

  transaction_log& log_;
  const std::size_t records_, used_;
  extras& more_;
  const std::size_t changed_, hooks_, outer_floor_, outer_changed_floor_;
  bool kept_ = false;
};

template <class F>
void transaction_log::add_hook(F&& f) {
  using stored = std::decay_t<F>;
  if (!extras_) extras_.emplace();
  extras_->hooks.reserve_one();
  hook fresh{[](void* what) noexcept { std::invoke(*static_cast<stored*>(what)); }, nullptr,
             nullptr};
  if (void* const place = room_for<stored>()) {
    fresh.what = ::new (place) stored(std::forward<F>(f));
    if (!std::is_trivially_destructible_v<stored>) fresh.destroy = &destroy_in_place<stored>;
  } else {
    fresh.what = new stored(std::forward<F>(f));
    fresh.destroy = &destroy_on_heap<stored>;
  }
  extras_->hooks.push() = fresh;
  to_clean_up_ = true;
}

inline auto transaction_log::keep(const record& own) -> const changed_record* {
  const auto at = static_cast<std::size_t>(&own - records_.begin());
  if (at >= extras_->floor) return nullptr;
  for (const changed_record& each : extras_->changed.from(extras_->changed_floor)) {
    if (each.at == at) return &each;
  }
  changed_record& fresh = extras_->changed.push();
  fresh = {at, own};
  return &fresh;
}

inline void transaction_log::drop_hooks(std::size_t left) noexcept {
  for (const hook& each : extras_->hooks.from(left)) {
    if (each.destroy != nullptr) each.destroy(each.what);
  }
  extras_->hooks.shrink(left);
}

// What an outer savepoint has no note on becomes a note of that one.
inline void transaction_log::savepoint::keep() noexcept {
  std::size_t left = changed_;
  changed_record* const notes = more_.changed.begin();
  for (const changed_record& each : more_.changed.from(changed_)) {
    const auto same = [&](const changed_record& outer) { return outer.at == each.at; };
    const changed_record* const outer =
        std::find_if(notes + outer_changed_floor_, notes + changed_, same);
    const bool noted = outer != notes + changed_;
    if (each.at < outer_floor_ && !noted) {
      notes[left++] = each;
    } else if (each.before.draft != log_.records_.begin()[each.at].draft &&
               !(noted && outer->before.draft == each.before.draft)) {  // a note of a claim only
      destroy_draft(each.before);
    }
  }
  more_.changed.shrink(left);
  more_.floor = outer_floor_;
  more_.changed_floor = outer_changed_floor_;
  kept_ = true;
}

inline void transaction_log::savepoint::undo() noexcept {
  record* const records = log_.records_.begin();
  for (const changed_record& each : more_.changed.from(changed_)) {
    record& own = records[each.at];
    if (own.draft != each.before.draft) destroy_draft(own);
    if (each.before.what != known::claimed) log_.give_up_claim(own);
    own = each.before;
  }
  more_.changed.shrink(changed_);
  std::size_t left = records_;
  for (record& own : log_.records_.from(records_)) {
    log_.give_up_claim(own);
    destroy_draft(own);
    own.draft = nullptr;
    if (own.what != known::nothing) records[left++] = own;
  }
  log_.records_.shrink(left);
  log_.drop_hooks(hooks_);
  log_.used_ = used_;
  more_.floor = outer_floor_;
  more_.changed_floor = outer_changed_floor_;
}

}  // namespace interlock::detail
