// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/client_leases.hpp - how PostgreSQL gives leases and fences resources.
//
// A lease ends by the server's clock. A fence is that clock in microseconds, or one more than the
// one before, whichever is larger: so it grows after a restore of older data as well.

#include <chrono>
#include <cstdint>
#include <utility>

namespace interlock::postgres {

inline auto client::lease_acquire(const object& at, const unique_id& owner, milliseconds lease,
                                  const call_options& call)
    -> outcome<store::lease_grant, store::lease_busy> {
  const asking asks(*this, "mutex.lock", at, call);
  detail::parameters given;
  given.bytes(at.name()).id(owner).time(lease);
  const detail::answer came = asks.write(statement::lease_acquire, given);
  if (!came.ok()) return came;
  if (came.any()) return store::lease_grant{static_cast<std::uint64_t>(came.number())};
  if (const auto before = asks.earlier(statement::lease_acquire)) {
    if (!before->ok()) return *before;
    return store::lease_grant{static_cast<std::uint64_t>(before->number())};
  }
  detail::parameters name;
  const detail::answer left =
      asks.session.read(asks.what, statement::lease_remaining, name.bytes(at.name()));
  if (!left.ok()) return left;
  return store::conflicting{store::lease_busy{milliseconds(left.any() ? left.number() : 0)}};
}

inline auto client::lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                                milliseconds lease, const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "mutex.renew", at, call);
  detail::parameters given;
  given.bytes(at.name()).id(owner).number(fence).time(lease);
  return asks.done<nothing>(statement::lease_renew, given);
}

inline auto client::lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                                  const call_options& call) -> outcome<nothing> {
  const asking asks(*this, "mutex.unlock", at, call);
  detail::parameters given;
  given.bytes(at.name()).id(owner).number(fence);
  return asks.done<nothing>(statement::lease_release, given);
}

inline auto client::lease_raise(const object& at, const unique_id& owner, std::uint64_t fence,
                                std::uint64_t above, const call_options& call)
    -> outcome<store::lease_grant> {
  const asking asks(*this, "mutex.raise", at, call);
  detail::parameters given;
  given.bytes(at.name()).id(owner).number(fence).number(above);
  return asks.done<store::lease_grant>(statement::lease_raise, given);
}

inline auto client::fenced_open(const object& at, std::uint64_t fence, const unique_id& owner,
                                const call_options& call)
    -> outcome<store::fenced_state, store::stale_fence> {
  const asking asks(*this, "fenced.open", at, call);
  detail::parameters given;
  given.bytes(at.name()).number(fence).id(owner);
  const detail::answer came = asks.session.change(asks.what, statement::fenced_open, given);
  if (!came.ok()) return came;
  if (came.any()) return store::fenced_state{detail::bytes_or_none(came.rows(), 0, 0)};
  detail::parameters name;
  const detail::answer mark =
      asks.session.read(asks.what, statement::fenced_watermark, name.bytes(at.name()));
  if (!mark.ok()) return mark;
  return store::conflicting{
      store::stale_fence{mark.any() ? static_cast<std::uint64_t>(mark.number()) : 0}};
}

inline auto client::fenced_write(const object& at, std::uint64_t fence, const unique_id& owner,
                                 text bytes, const call_options& call)
    -> outcome<nothing, store::stale_fence> {
  const asking asks(*this, "fenced.write", at, call);
  detail::parameters given;
  given.bytes(at.name()).number(fence).id(owner).value(bytes);
  auto came = asks.done<nothing>(statement::fenced_write, given);
  if (!came.conflicted()) {
    if (came.applied()) return nothing{};
    return std::move(came).template without_answer<nothing, store::stale_fence>();
  }
  detail::parameters name;
  const detail::answer mark =
      asks.session.read(asks.what, statement::fenced_watermark, name.bytes(at.name()));
  if (!mark.ok()) return mark;
  return store::conflicting{
      store::stale_fence{mark.any() ? static_cast<std::uint64_t>(mark.number()) : 0}};
}

}  // namespace interlock::postgres
