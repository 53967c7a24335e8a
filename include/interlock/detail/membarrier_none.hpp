// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/membarrier_none.hpp - both halves are full fences. Included by membarrier.hpp
// only.

#include "processor.hpp"

namespace interlock::detail {

inline void light_fence() noexcept { full_fence(); }
inline void heavy_fence() noexcept { full_fence(); }

}  // namespace interlock::detail
