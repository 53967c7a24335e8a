// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/detail/client_keys.hpp - how an engine in memory runs keys once, queues items
// for keys, and mirrors keys.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock::memory {

inline auto client::idempotency_claim(const object& at, text key, fingerprint print,
                                      const unique_id& owner, milliseconds lease,
                                      const call_options& call)
    -> outcome<store::idempotency_claim> {
  using answer = outcome<store::idempotency_claim>;
  if (auto no = refusal_of(at, "claim", key)) return *std::move(no);
  return write<answer>(at, "claim", call, [&](detail::content& holds, auto now) -> answer {
    return holds.idempotent[at.key_][std::string(key)].claim(print, owner, lease, now);
  });
}

inline auto client::idempotency_complete(const object& at, text key, const unique_id& owner,
                                         std::uint64_t attempt, text response, milliseconds keep,
                                         const call_options& call) -> outcome<nothing> {
  if (auto no = refusal_of(at, "complete", key, response.size())) return *std::move(no);
  return write<outcome<nothing>>(at, "complete", call, [&](detail::content& holds, auto now) {
    return holds.idempotent[at.key_][std::string(key)].complete(owner, attempt, response, keep,
                                                                now);
  });
}

inline auto client::idempotency_release(const object& at, text key, const unique_id& owner,
                                        std::uint64_t attempt, const call_options& call)
    -> outcome<nothing> {
  if (auto no = refusal_of(at, "release", key)) return *std::move(no);
  return write<outcome<nothing>>(at, "release", call, [&](detail::content& holds, auto) {
    return holds.idempotent[at.key_][std::string(key)].release(owner, attempt);
  });
}

inline auto client::idempotency_heartbeat(const object& at, text key, const unique_id& owner,
                                          std::uint64_t attempt, milliseconds lease,
                                          const call_options& call) -> outcome<nothing> {
  if (auto no = refusal_of(at, "heartbeat", key)) return *std::move(no);
  return write<outcome<nothing>>(at, "heartbeat", call, [&](detail::content& holds, auto now) {
    return holds.idempotent[at.key_][std::string(key)].heartbeat(owner, attempt, lease, now);
  });
}

inline auto client::queue_push(const object& at, text key, text payload, const call_options& call)
    -> outcome<std::uint64_t> {
  using answer = outcome<std::uint64_t>;
  if (auto no = refusal_of(at, "push", key, payload.size())) return *std::move(no);
  return write<answer>(at, "push", call, [&](detail::content& holds, auto) -> answer {
    return holds.queues[at.key_].push(key, payload);
  });
}

inline auto client::queue_take(const object& at, const unique_id& owner, milliseconds lease,
                               std::uint64_t most, const call_options& call)
    -> outcome<store::queue_item, store::queue_idle> {
  using answer = outcome<store::queue_item, store::queue_idle>;
  return write<answer>(at, "take", call, [&](detail::content& holds, auto now) {
    return holds.queues[at.key_].take(owner, lease, most, now);
  });
}

inline auto client::queue_finish(const object& at, text key, const unique_id& owner,
                                 std::uint64_t attempt, const call_options& call)
    -> outcome<nothing> {
  using answer = outcome<nothing>;
  if (auto no = refusal_of(at, "finish", key)) return *std::move(no);
  return write<answer>(at, "finish", call, [&](detail::content& holds, auto) -> answer {
    detail::queue& in = holds.queues[at.key_];
    auto* const held = in.held(key, owner, attempt);
    if (held == nullptr) return store::conflicting{nothing{}};
    in.pop(*held);
    return nothing{};
  });
}

inline auto client::queue_give_back(const object& at, text key, const unique_id& owner,
                                    std::uint64_t attempt, milliseconds delay,
                                    const call_options& call) -> outcome<nothing> {
  using answer = outcome<nothing>;
  if (auto no = refusal_of(at, "give_back", key)) return *std::move(no);
  return write<answer>(at, "give_back", call, [&](detail::content& holds, auto now) -> answer {
    detail::queue& in = holds.queues[at.key_];
    auto* const held = in.held(key, owner, attempt);
    if (held == nullptr) return store::conflicting{nothing{}};
    held->owner.reset();
    held->until = detail::end_of(now, delay);
    held->waits_since = ++in.ticks;
    return nothing{};
  });
}

inline auto client::queue_heartbeat(const object& at, text key, const unique_id& owner,
                                    std::uint64_t attempt, milliseconds lease,
                                    const call_options& call) -> outcome<nothing> {
  using answer = outcome<nothing>;
  if (auto no = refusal_of(at, "heartbeat", key)) return *std::move(no);
  return write<answer>(at, "heartbeat", call, [&](detail::content& holds, auto now) -> answer {
    auto* const held = holds.queues[at.key_].held(key, owner, attempt);
    if (held == nullptr) return store::conflicting{nothing{}};
    held->until = detail::end_of(now, lease);
    return nothing{};
  });
}

inline auto client::queue_set_aside(const object& at, std::uint64_t most, const call_options& call)
    -> outcome<std::vector<store::queue_item>> {
  using answer = outcome<std::vector<store::queue_item>>;
  return read<answer>(at, "set_aside", call, [&](detail::content& holds, auto) -> answer {
    std::vector<store::queue_item> first = holds.queues[at.key_].aside;
    if (first.size() > most) first.resize(static_cast<std::size_t>(most));
    return first;
  });
}

inline auto client::queue_restore(const object& at, text key, std::uint64_t sequence,
                                  const call_options& call) -> outcome<std::uint64_t> {
  using answer = outcome<std::uint64_t>;
  if (auto no = refusal_of(at, "restore", key)) return *std::move(no);
  return write<answer>(at, "restore", call, [&](detail::content& holds, auto) -> answer {
    detail::queue& in = holds.queues[at.key_];
    const auto found = std::find_if(in.aside.begin(), in.aside.end(), [&](const auto& each) {
      return each.key == key && each.sequence == sequence;
    });
    if (found == in.aside.end()) return store::conflicting{nothing{}};
    const std::string payload = std::move(found->payload);
    in.aside.erase(found);
    return in.push(key, payload);
  });
}

inline auto client::queue_depth(const object& at, const call_options& call)
    -> outcome<store::queue_depth> {
  using answer = outcome<store::queue_depth>;
  return read<answer>(at, "depth", call, [&](detail::content& holds, auto now) -> answer {
    return holds.queues[at.key_].depth(now);
  });
}

inline auto client::mirror_put(const object& at, text key, mirror_version version,
                               std::optional<text> bytes, const call_options& call)
    -> outcome<nothing, store::mirror_row> {
  using answer = outcome<nothing, store::mirror_row>;
  if (auto no = refusal_of(at, "put", key, bytes ? bytes->size() : 0)) return *std::move(no);
  return write<answer>(at, "put", call, [&](detail::content& holds, auto) -> answer {
    store::mirror_row& is = holds.mirrors[at.key_][std::string(key)];
    if (is.version && version <= *is.version) return store::conflicting{is};
    is.version = version;
    is.bytes = bytes ? std::optional<std::string>(*bytes) : std::nullopt;
    return nothing{};
  });
}

inline auto client::mirror_get(const object& at, text key, const call_options& call)
    -> outcome<store::mirror_row> {
  using answer = outcome<store::mirror_row>;
  if (auto no = refusal_of(at, "get", key)) return *std::move(no);
  return read<answer>(at, "get", call, [&](detail::content& holds, auto) -> answer {
    auto& rows = holds.mirrors[at.key_];
    const auto found = rows.find(key);
    return found == rows.end() ? store::mirror_row{} : found->second;
  });
}

static_assert(store::engine<client>);

}  // namespace interlock::memory
