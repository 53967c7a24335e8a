// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/client_keys.hpp - how PostgreSQL runs keys once, queues items for keys,
// and mirrors keys.

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace interlock::postgres {

inline auto client::idempotency_claim(const object& at, text key, fingerprint print,
                                      const unique_id& owner, milliseconds lease,
                                      const call_options& call)
    -> outcome<store::idempotency_claim> {
  using state = store::idempotency_claim::state;
  const asking asks(*this, "idempotency_store.claim", at, call);
  const auto bits = static_cast<std::int64_t>(print);
  for (;;) {
    detail::parameters given;
    given.bytes(at.name()).key(key).number(bits).id(owner).time(lease);
    const detail::answer came = asks.session.change(asks.what, statement::idempotency_claim, given);
    if (!came.ok()) return came;
    if (came.any()) {
      return store::idempotency_claim{
          state::claimed, static_cast<std::uint64_t>(came.number()), {}, milliseconds(0)};
    }
    detail::parameters names;
    names.bytes(at.name()).key(key);
    const detail::answer now = asks.session.read(asks.what, statement::idempotency_state, names);
    if (!now.ok()) return now;
    const bool freed = !now.any() || bytes_in(now.rows(), 0, 4)[0] != 0;
    if (freed && !asks.deadline.passed()) continue;  // since then
    store::idempotency_claim seen{state::busy, 0, {}, milliseconds(0)};
    if (freed) return seen;
    if (detail::number_in(now.rows(), 0, 0) != bits) {
      seen.what = state::mismatch;
    } else if (bytes_in(now.rows(), 0, 1)[0] != 0) {
      seen.what = state::done;
      seen.attempt = detail::count_in(now.rows(), 0, 5);
      seen.response = std::string(bytes_in(now.rows(), 0, 2));
    } else {
      seen.remaining = milliseconds(detail::number_in(now.rows(), 0, 3));
    }
    return seen;
  }
}

inline auto client::idempotency_complete(const object& at, text key, const unique_id& owner,
                                         std::uint64_t attempt, text response, milliseconds keep,
                                         const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "idempotency_store.complete", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt).value(response).time(keep);
  return asks.done<nothing>(statement::idempotency_complete, given);
}

inline auto client::idempotency_release(const object& at, text key, const unique_id& owner,
                                        std::uint64_t attempt, const call_options& call)
    -> outcome<nothing> {
  const asking asks(*this, "idempotency_store.release", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt);
  return asks.done<nothing>(statement::idempotency_release, given);
}

inline auto client::idempotency_heartbeat(const object& at, text key, const unique_id& owner,
                                          std::uint64_t attempt, milliseconds lease,
                                          const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "idempotency_store.heartbeat", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt).time(lease);
  return asks.done<nothing>(statement::idempotency_heartbeat, given);
}

inline auto client::queue_push(const object& at, text key, text payload, const call_options& call)
    -> outcome<std::uint64_t> {
  const asking asks(*this, "serial_queue.push", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).value(payload);
  return asks.done<std::uint64_t>(statement::queue_push, given);
}

inline auto client::queue_take(const object& at, const unique_id& owner, milliseconds lease,
                               std::uint64_t most, const call_options& call)
    -> outcome<store::queue_item, store::queue_idle> {
  const asking asks(*this, "serial_queue.take", at, call);
  detail::parameters given;
  given.bytes(at.name()).id(owner).time(lease);
  given.number(static_cast<std::int64_t>(std::min<std::uint64_t>(most, INT64_MAX)));
  const detail::answer came = asks.session.change(asks.what, statement::queue_take, given);
  if (!came.ok()) return came;
  const detail::result& row = came.rows();
  if (!detail::is_null(row, 0, 0)) {
    return store::queue_item{std::string(detail::bytes_in(row, 0, 0)), detail::count_in(row, 0, 1),
                             detail::count_in(row, 0, 2), detail::count_in(row, 0, 3),
                             std::string(detail::bytes_in(row, 0, 4))};
  }
  store::queue_idle idle;
  if (!detail::is_null(row, 0, 5)) idle.next = milliseconds(detail::number_in(row, 0, 5));
  return store::conflicting{idle};
}

inline auto client::queue_finish(const object& at, text key, const unique_id& owner,
                                 std::uint64_t attempt, const call_options& call)
    -> outcome<nothing> {
  const asking asks(*this, "serial_queue.finish", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt);
  return asks.done<nothing>(statement::queue_finish, given);
}

inline auto client::queue_give_back(const object& at, text key, const unique_id& owner,
                                    std::uint64_t attempt, milliseconds delay,
                                    const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "serial_queue.give_back", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt).time(delay);
  return asks.done<nothing>(statement::queue_give_back, given);
}

inline auto client::queue_heartbeat(const object& at, text key, const unique_id& owner,
                                    std::uint64_t attempt, milliseconds lease,
                                    const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "serial_queue.heartbeat", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).id(owner).number(attempt).time(lease);
  return asks.done<nothing>(statement::queue_heartbeat, given);
}

inline auto client::queue_set_aside(const object& at, std::uint64_t most, const call_options& call)
    -> outcome<std::vector<store::queue_item>> {
  const asking asks(*this, "serial_queue.set_aside", at, call);
  detail::parameters given;
  given.bytes(at.name());
  given.number(static_cast<std::int64_t>(std::min<std::uint64_t>(most, INT64_MAX)));
  const detail::answer came = asks.session.read(asks.what, statement::queue_set_aside, given);
  if (!came.ok()) return came;
  std::vector<store::queue_item> items;
  for (int row = 0; row < came.count(); ++row) {
    items.push_back({std::string(detail::bytes_in(came.rows(), row, 0)),
                     detail::count_in(came.rows(), row, 1), detail::count_in(came.rows(), row, 2),
                     detail::count_in(came.rows(), row, 3),
                     std::string(detail::bytes_in(came.rows(), row, 4))});
  }
  return items;
}

inline auto client::queue_restore(const object& at, text key, std::uint64_t sequence,
                                  const call_options& call) -> outcome<std::uint64_t> {
  const asking asks(*this, "serial_queue.restore", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).number(sequence);
  return asks.done<std::uint64_t>(statement::queue_restore, given);
}

inline auto client::queue_depth(const object& at, const call_options& call)
    -> outcome<store::queue_depth> {
  const asking asks(*this, "serial_queue.depth", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::queue_depth, given.bytes(at.name()));
  if (!came.ok()) return came;
  const auto field = [&came](int column) { return detail::count_in(came.rows(), 0, column); };
  return store::queue_depth{field(0), field(1), field(2)};
}

inline auto client::mirror_put(const object& at, text key, mirror_version version,
                               std::optional<text> bytes, const call_options& call)
    -> outcome<nothing, store::mirror_row> {
  const asking asks(*this, "mirror_target.put", at, call);
  detail::parameters given;
  given.bytes(at.name()).key(key).number(version.epoch).number(version.sequence).value(bytes);
  auto came = asks.done<nothing>(statement::mirror_put, given);
  if (came.applied()) return nothing{};
  if (came.conflicted()) {
    auto now = mirror_get(at, key, asks.deadline.rest());
    if (now.applied()) return store::conflicting{*std::move(now)};
    return std::move(now).template without_answer<nothing, store::mirror_row>();
  }
  return std::move(came).template without_answer<nothing, store::mirror_row>();
}

inline auto client::mirror_get(const object& at, text key, const call_options& call)
    -> outcome<store::mirror_row> {
  const asking asks(*this, "mirror_target.get", at, call);
  detail::parameters given;
  const detail::answer came =
      asks.session.read(asks.what, statement::mirror_get, given.bytes(at.name()).key(key));
  if (!came.ok()) return came;
  store::mirror_row row;
  if (!came.any()) return row;
  row.version =
      mirror_version{detail::count_in(came.rows(), 0, 0), detail::count_in(came.rows(), 0, 1)};
  row.bytes = detail::bytes_or_none(came.rows(), 0, 2);
  return row;
}

static_assert(store::engine<client>);

}  // namespace interlock::postgres
