// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/detail/client_numbers.hpp - how an engine in memory counts, keeps cells, gives
// leases and fences resources.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock::memory {

inline client::client(std::shared_ptr<detail::data> shared, store::client_options options,
                      std::shared_ptr<manual_clock> clock) {
  store::detail::require_none(store::detail::bad_prefix("memory", options.prefix));
  if (options.require && !claims.cover(*options.require)) {
    throw store::failure({store::errc::guarantee_not_met, "memory", "client", "",
                          "memory keeps nothing beyond its process",
                          "require less, or use an engine that keeps it"});
  }
  session_ =
      std::make_shared<detail::session>(std::move(shared), std::move(options), std::move(clock));
}

inline store::refusal client::bad(const object& at, text verb, store::errc code, text detail,
                                  text remedy) {
  std::string operation = store::to_string(at.kind_);
  operation += '.';
  operation += verb;
  return detail::session::refused({operation, at.name()}, code, detail, remedy);
}

inline std::optional<store::refusal> client::refusal_of(const object& at, text verb,
                                                        std::optional<text> key,
                                                        std::size_t bytes) const {
  if (key && key->empty()) {
    return bad(at, verb, store::errc::bad_argument, "the key is empty", "give 1 to 512 bytes");
  }
  if (key && key->size() > store::max_name_bytes) {
    return bad(at, verb, store::errc::too_large, "the key is too long", "give 1 to 512 bytes");
  }
  if (bytes > session_->options().max_value_bytes) {
    return bad(at, verb, store::errc::too_large, "the value is over the limit",
               "store less, or raise client_options::max_value_bytes");
  }
  return std::nullopt;
}

inline auto client::counter_add(const object& at, std::int64_t n, const call_options& call)
    -> outcome<std::int64_t> {
  using answer = outcome<std::int64_t>;
  return write<answer>(at, "add", call, [&](detail::content& holds, auto) -> answer {
    std::int64_t& value = holds.counters[at.key_];
    std::int64_t sum = 0;
    if (__builtin_add_overflow(value, n, &sum)) {
      return bad(at, "add", store::errc::bad_argument, "the sum does not fit 64 bits",
                 "exchange the counter first");
    }
    return value = sum;
  });
}

inline auto client::counter_load(const object& at, const call_options& call)
    -> outcome<std::int64_t> {
  using answer = outcome<std::int64_t>;
  return read<answer>(at, "load", call, [&](detail::content& holds, auto) -> answer {
    const auto found = holds.counters.find(at.key_);
    return found == holds.counters.end() ? 0 : found->second;
  });
}

inline auto client::counter_exchange(const object& at, std::int64_t to, const call_options& call)
    -> outcome<std::int64_t> {
  using answer = outcome<std::int64_t>;
  return write<answer>(at, "exchange", call, [&](detail::content& holds, auto) -> answer {
    return std::exchange(holds.counters[at.key_], to);
  });
}

inline auto client::bounded_open(const object& at, store::bounded_state as,
                                 const call_options& call) -> outcome<store::bounded_state> {
  using answer = outcome<store::bounded_state>;
  return write<answer>(at, "open", call, [&](detail::content& holds, auto) -> answer {
    if (as.low > as.high || as.value < as.low || as.value > as.high) {
      return bad(at, "open", store::errc::bad_argument, "the value is not within its bounds",
                 "give low <= value <= high");
    }
    const auto [found, made] = holds.bounded.try_emplace(at.key_, as);
    if (found->second.low != as.low || found->second.high != as.high) {
      return bad(at, "open", store::errc::wrong_kind, "it is there with other bounds",
                 "open it with those, or choose another name");
    }
    return found->second;
  });
}

inline auto client::bounded_add(const object& at, std::int64_t n, const call_options& call)
    -> outcome<std::int64_t, store::bounded_state> {
  using answer = outcome<std::int64_t, store::bounded_state>;
  return write<answer>(at, "add", call, [&](detail::content& holds, auto) -> answer {
    const auto found = holds.bounded.find(at.key_);
    if (found == holds.bounded.end()) {
      return bad(at, "add", store::errc::wrong_kind, "it was never opened", "open it first");
    }
    store::bounded_state& is = found->second;
    std::int64_t sum = 0;
    if (__builtin_add_overflow(is.value, n, &sum) || sum < is.low || sum > is.high) {
      return store::conflicting{is};
    }
    return is.value = sum;
  });
}

inline auto client::bounded_load(const object& at, const call_options& call)
    -> outcome<store::bounded_state> {
  using answer = outcome<store::bounded_state>;
  return read<answer>(at, "load", call, [&](detail::content& holds, auto) -> answer {
    const auto found = holds.bounded.find(at.key_);
    if (found != holds.bounded.end()) return found->second;
    return bad(at, "load", store::errc::wrong_kind, "it was never opened", "open it first");
  });
}

inline auto client::cell_load(const object& at, const call_options& call)
    -> outcome<store::cell_state> {
  using answer = outcome<store::cell_state>;
  return read<answer>(at, "load", call, [&](detail::content& holds, auto) -> answer {
    const auto found = holds.cells.find(at.key_);
    return found == holds.cells.end() ? store::cell_state{} : found->second;
  });
}

inline auto client::cells_load(std::span<const object* const> all, const call_options& call)
    -> outcome<std::vector<store::cell_state>> {
  using answer = outcome<std::vector<store::cell_state>>;
  if (all.empty()) return std::vector<store::cell_state>{};
  return read<answer>(*all.front(), "load", call, [&](detail::content& holds, auto) -> answer {
    std::vector<store::cell_state> states;
    for (const object* each : all) states.push_back(holds.cells[each->key_]);
    return states;
  });
}

inline auto client::cell_put(const object& at, std::optional<std::uint64_t> expected,
                             std::optional<text> bytes, const call_options& call)
    -> outcome<std::uint64_t, store::cell_state> {
  using answer = outcome<std::uint64_t, store::cell_state>;
  if (auto no = refusal_of(at, "put", {}, bytes ? bytes->size() : 0)) return *std::move(no);
  return write<answer>(at, "put", call, [&](detail::content& holds, auto) -> answer {
    store::cell_state& is = holds.cells[at.key_];
    if (expected && is.version != *expected) return store::conflicting{is};
    is.version = ++holds.cell_versions;
    is.bytes = bytes ? std::optional<std::string>(*bytes) : std::nullopt;
    return is.version;
  });
}

inline auto client::cells_commit(std::span<const store::cell_check<object>> checks,
                                 std::span<const store::cell_write<object>> writes,
                                 const call_options& call)
    -> outcome<std::uint64_t, store::cell_conflict> {
  using answer = outcome<std::uint64_t, store::cell_conflict>;
  if (checks.empty() && writes.empty()) return std::uint64_t{0};
  for (const auto& each : writes) {
    if (auto no = refusal_of(*each.cell, "commit", {}, each.bytes ? each.bytes->size() : 0)) {
      return *std::move(no);
    }
  }
  const object& first = writes.empty() ? *checks.front().cell : *writes.front().cell;
  return write<answer>(first, "commit", call, [&](detail::content& holds, auto) -> answer {
    for (std::size_t i = 0; i < checks.size(); ++i) {
      const store::cell_state& is = holds.cells[checks[i].cell->key_];
      if (is.version != checks[i].version) {
        return store::conflicting{store::cell_conflict{i, is}};
      }
    }
    if (writes.empty()) return holds.cell_versions;
    const std::uint64_t version = ++holds.cell_versions;
    for (const auto& each : writes) {
      holds.cells[each.cell->key_] = {
          version, each.bytes ? std::optional<std::string>(*each.bytes) : std::nullopt};
    }
    return version;
  });
}

inline auto client::lease_acquire(const object& at, const unique_id& owner, milliseconds lease,
                                  const call_options& call)
    -> outcome<store::lease_grant, store::lease_busy> {
  using answer = outcome<store::lease_grant, store::lease_busy>;
  return write<answer>(at, "acquire", call, [&](detail::content& holds, auto now) {
    return holds.leases[at.key_].acquire(owner, lease, now);
  });
}

inline auto client::lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                                milliseconds lease, const call_options& call) -> outcome<nothing> {
  return write<outcome<nothing>>(at, "renew", call, [&](detail::content& holds, auto now) {
    return holds.leases[at.key_].renew(owner, fence, lease, now);
  });
}

inline auto client::lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                                  const call_options& call) -> outcome<nothing> {
  return write<outcome<nothing>>(at, "release", call, [&](detail::content& holds, auto) {
    return holds.leases[at.key_].release(owner, fence);
  });
}

inline auto client::lease_raise(const object& at, const unique_id& owner, std::uint64_t fence,
                                std::uint64_t above, const call_options& call)
    -> outcome<store::lease_grant> {
  using answer = outcome<store::lease_grant>;
  return write<answer>(at, "raise", call, [&](detail::content& holds, auto) {
    return holds.leases[at.key_].raise(owner, fence, above);
  });
}

inline auto client::fenced_open(const object& at, std::uint64_t fence, const unique_id& owner,
                                const call_options& call)
    -> outcome<store::fenced_state, store::stale_fence> {
  using answer = outcome<store::fenced_state, store::stale_fence>;
  const call_options each{{}, call.timeout};  // what is kept opens nothing
  return write<answer>(at, "open", each, [&](detail::content& holds, auto) {
    return holds.fenced[at.key_].open(fence, owner);
  });
}

inline auto client::fenced_write(const object& at, std::uint64_t fence, const unique_id& owner,
                                 text bytes, const call_options& call)
    -> outcome<nothing, store::stale_fence> {
  using answer = outcome<nothing, store::stale_fence>;
  if (auto no = refusal_of(at, "write", {}, bytes.size())) return *std::move(no);
  return write<answer>(at, "write", call, [&](detail::content& holds, auto) {
    return holds.fenced[at.key_].write(fence, owner, bytes);
  });
}

}  // namespace interlock::memory
