// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/asymmetric_fence_none.hpp - no asymmetric fence: other systems, ThreadSanitizer.
// Included by asymmetric_fence.hpp only.

namespace interlock::detail {

struct asymmetric_fence {
  static constexpr bool available() noexcept { return false; }
  static constexpr void light() noexcept {}
  static constexpr void heavy() noexcept {}
};

}  // namespace interlock::detail
