// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable_none.hpp - no restartable sequences: other systems, sanitizers.
// Included by restartable.hpp only.

#include <atomic>
#include <cstdint>

namespace interlock::detail::restartable {

constexpr bool available() noexcept { return false; }
inline unsigned rows() noexcept { return rows_for_threads(); }

template <manner how = usual>
constexpr bool add(const std::atomic<std::uint64_t>&, std::uint64_t) noexcept {
  return false;
}

template <manner how = usual>
constexpr bool take(const std::atomic<std::uint64_t>&, std::uint32_t) noexcept {
  return false;
}

template <manner how = usual>
constexpr bool put(const std::atomic<std::uint64_t>&, std::uint32_t) noexcept {
  return false;
}

constexpr void interrupt() noexcept {}

}  // namespace interlock::detail::restartable
