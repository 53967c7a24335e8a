// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/client_numbers.hpp - how PostgreSQL counts, within bounds too, and
// keeps cells.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock::postgres {

inline void client::asking::note(statement s, const detail::answer& before) const {
  if (!session.grows_old(before.age())) return;
  detail::parameters given;
  given.bytes(what.object).number(static_cast<std::int64_t>(detail::kind_of(s)));
  (void)session.change(what, statement::operation_touch, given.id(what.call.id.session));
}

inline std::optional<detail::answer> client::asking::earlier(statement s) const {
  if (!what.call.id) return std::nullopt;
  detail::parameters given;
  given.bytes(what.object).number(static_cast<std::int64_t>(detail::kind_of(s)));
  given.id(what.call.id.session);
  detail::answer found = session.read(what, statement::operation_find, given);
  if (!found.ok() && found.code() == store::errc::history_lost) return found;
  if (!found.ok()) {
    std::string why = "an earlier try may have done it, and its record could not be read: ";
    why += found.why().detail;
    return detail::answer(store::doubt(
        detail::session::error_of(what, found.code(), why, "ask again with the same operation id"),
        what.call.id));
  }
  if (!found.any()) return std::nullopt;
  const std::uint64_t last = detail::count_in(found.rows(), 0, 0);
  if (last < what.call.id.sequence) return std::nullopt;
  if (last > what.call.id.sequence) {
    return detail::answer(no(store::errc::expired, "the session has had a later answer since",
                             "read the object: what became of this request is not known any more"));
  }
  if (detail::number_in(found.rows(), 0, 2) != detail::step_of(s)) return session.of_another(what);
  detail::answer kept(detail::number_in(found.rows(), 0, 1), detail::number_in(found.rows(), 0, 3));
  note(s, kept);
  return kept;
}

inline detail::answer client::asking::settled(detail::answer came, statement s) const {
  if (came.ok()) note(s, came);
  if (!came.by_server()) return came;
  std::optional<detail::answer> before = earlier(s);
  return before ? *std::move(before) : std::move(came);
}

inline detail::answer client::asking::write(statement s, detail::parameters& given) const {
  return settled(session.write(what, s, given), s);
}

template <class T>
auto client::asking::done(statement s, detail::parameters& given) const -> outcome<T> {
  detail::answer came = write(s, given);
  if (came.ok() && !came.any()) {
    std::optional<detail::answer> before = earlier(s);
    if (!before) return store::conflicting{nothing{}};
    came = *std::move(before);
  }
  if (!came.ok()) return came;
  if constexpr (std::is_same_v<T, nothing>) {
    return nothing{};
  } else if constexpr (std::is_same_v<T, store::lease_grant>) {
    return store::lease_grant{static_cast<std::uint64_t>(came.number())};
  } else {
    return static_cast<T>(came.number());
  }
}

inline auto client::counter_add(const object& at, std::int64_t n, const call_options& call)
    -> outcome<std::int64_t> {
  const asking asks(*this, "counter.add", at, call);
  detail::parameters given;
  const detail::answer came = asks.write(statement::counter_add, given.bytes(at.name()).number(n));
  if (!came.ok()) return came;
  return came.number();
}

inline auto client::counter_load(const object& at, const call_options& call)
    -> outcome<std::int64_t> {
  const asking asks(*this, "counter.load", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::counter_load, given.bytes(at.name()));
  if (!came.ok()) return came;
  return came.any() ? came.number() : 0;
}

inline auto client::counter_exchange(const object& at, std::int64_t to, const call_options& call)
    -> outcome<std::int64_t> {
  const asking asks(*this, "counter.exchange", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.write(statement::counter_exchange, given.bytes(at.name()).number(to));
  if (!came.ok()) return came;
  return came.number();
}

inline auto client::bounded_open(const object& at, store::bounded_state as,
                                 const call_options& call) -> outcome<store::bounded_state> {
  const asking asks(*this, "bounded_counter.open", at, call);
  if (as.low > as.high || as.value < as.low || as.value > as.high) {
    return asks.no(store::errc::bad_argument, "the value is not within its bounds",
                   "give low <= value <= high");
  }
  detail::parameters given;
  given.bytes(at.name()).number(as.value).number(as.low).number(as.high);
  const detail::answer came = asks.session.change(asks.what, statement::bounded_open, given);
  if (!came.ok()) return came;
  if (came.any()) return as;
  auto found = bounded_load(at, asks.deadline.rest());
  if (found.applied() && (found->low != as.low || found->high != as.high)) {
    return asks.no(store::errc::wrong_kind, "it is there with other bounds",
                   "open it with those, or choose another name");
  }
  return found;
}

inline auto client::bounded_load(const object& at, const call_options& call)
    -> outcome<store::bounded_state> {
  const asking asks(*this, "bounded_counter.load", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::bounded_load, given.bytes(at.name()));
  if (!came.ok()) return came;
  if (!came.any()) {
    return asks.no(store::errc::wrong_kind, "it was never opened", "open it first");
  }
  const auto field = [&came](int column) { return detail::number_in(came.rows(), 0, column); };
  return store::bounded_state{field(0), field(1), field(2)};
}

inline auto client::bounded_add(const object& at, std::int64_t n, const call_options& call)
    -> outcome<std::int64_t, store::bounded_state> {
  const asking asks(*this, "bounded_counter.add", at, call);
  for (;;) {
    detail::parameters given;
    given.bytes(at.name()).number(n);
    const detail::answer came = asks.write(statement::bounded_add, given);
    if (!came.ok()) return came;
    if (came.any()) return came.number();
    if (auto before = asks.earlier(statement::bounded_add)) {
      if (!before->ok()) return *before;
      return before->number();
    }
    auto now = bounded_load(at, asks.deadline.rest());
    if (!now.applied()) {
      return std::move(now).template without_answer<std::int64_t, store::bounded_state>();
    }
    std::int64_t sum = 0;
    const bool fits =
        !__builtin_add_overflow(now->value, n, &sum) && sum >= now->low && sum <= now->high;
    if (!fits || asks.deadline.passed()) return store::conflicting{*now};
  }  // it changed since: the conflict has passed
}

inline auto client::cell_load(const object& at, const call_options& call)
    -> outcome<store::cell_state> {
  const asking asks(*this, "versioned.load", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::cell_load, given.bytes(at.name()));
  if (!came.ok()) return came;
  if (!came.any()) return store::cell_state{};
  return store::cell_state{detail::count_in(came.rows(), 0, 0),
                           detail::bytes_or_none(came.rows(), 0, 1)};
}

inline auto client::cells_load(std::span<const object* const> all, const call_options& call)
    -> outcome<std::vector<store::cell_state>> {
  std::vector<store::cell_state> states(all.size());
  if (all.empty()) return states;
  const asking asks(*this, "versioned.load", *all.front(), call);
  detail::array_text names(detail::array_text::of_bytes, all.size());
  for (const object* const each : all) names.add(each->name());
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::cells_load, given.bytes(names.text()));
  if (!came.ok()) return came;
  for (int row = 0; row < came.count(); ++row) {
    states[detail::count_in(came.rows(), row, 0)] = {detail::count_in(came.rows(), row, 1),
                                                     detail::bytes_or_none(came.rows(), row, 2)};
  }
  return states;
}

inline auto client::cell_put(const object& at, std::optional<std::uint64_t> expected,
                             std::optional<text> bytes, const call_options& call)
    -> outcome<std::uint64_t, store::cell_state> {
  const asking asks(*this, "versioned.store", at, call);
  detail::parameters given;
  given.bytes(at.name()).value(bytes);
  statement s = statement::cell_put;
  if (expected) s = *expected == 0 ? statement::cell_put_first : statement::cell_put_expected;
  // A version past 2^63 was never given: -1 matches nothing.
  if (s == statement::cell_put_expected) {
    given.number(*expected > INT64_MAX ? std::int64_t{-1} : static_cast<std::int64_t>(*expected));
  }
  detail::answer came = asks.write(s, given);
  if (came.ok() && !came.any()) {
    if (auto before = asks.earlier(s)) {
      came = *std::move(before);
    } else {
      auto now = cell_load(at, asks.deadline.rest());
      if (now.applied()) return store::conflicting{*std::move(now)};
      return std::move(now).template without_answer<std::uint64_t, store::cell_state>();
    }
  }
  if (!came.ok()) return came;
  return static_cast<std::uint64_t>(came.number());
}

inline auto client::cells_commit(std::span<const store::cell_check<object>> checks,
                                 std::span<const store::cell_write<object>> writes,
                                 const call_options& call)
    -> outcome<std::uint64_t, store::cell_conflict> {
  if (checks.empty() && writes.empty()) return std::uint64_t{0};
  const object& first = writes.empty() ? *checks.front().cell : *writes.front().cell;
  const asking asks(*this, "versioned.commit", first, call);
  using detail::array_text;
  array_text checked(array_text::of_bytes, checks.size());
  array_text versions(array_text::of_numbers, checks.size());
  for (const auto& each : checks) {
    checked.add(each.cell->name());
    versions.add_number(each.version);
  }
  array_text written(array_text::of_bytes, writes.size());
  array_text contents(array_text::of_bytes, writes.size());
  detail::parameters given;
  for (const auto& each : writes) {
    written.add(each.cell->name());
    contents.add(each.bytes);
    given.limited(each.bytes);
  }
  given.bytes(checked.text()).bytes(versions.text()).bytes(written.text());
  given.bytes(contents.text()).bytes(first.name());
  if (call.id) {
    given.id(call.id.session).number(call.id.sequence);
  } else {
    given.null().null();
  }
  // Locks order those who write one cell. With several, a transaction of a program may have read
  // some before and write others after: PostgreSQL has to watch both.
  const auto another = [&first](const auto& each) { return each.cell->name() != first.name(); };
  const bool serializable = std::any_of(checks.begin(), checks.end(), another) ||
                            std::any_of(writes.begin(), writes.end(), another);
  detail::answer came =
      asks.settled(serializable
                       ? asks.session.transact(asks.what, statement::cells_commit, given)
                       : asks.session.change(asks.what, statement::cells_commit, given),
                   statement::cells_commit);
  if (came.ok() && came.any() && came.count() != 0 && !detail::is_null(came.rows(), 0, 1)) {
    if (auto before = asks.earlier(statement::cells_commit)) {
      came = *std::move(before);
    } else {
      return store::conflicting{store::cell_conflict{
          detail::count_in(came.rows(), 0, 1),
          {detail::count_in(came.rows(), 0, 2), detail::bytes_or_none(came.rows(), 0, 3)}}};
    }
  }
  if (!came.ok()) return came;
  return static_cast<std::uint64_t>(came.number());
}

}  // namespace interlock::postgres
