// SPDX-License-Identifier: BSL-1.0
// expects: keep a move-only value as std::shared_ptr<const T>
#include <interlock/versioned.hpp>

#include <memory>

#ifdef MISTAKE
interlock::versioned<std::unique_ptr<int>> cell;
#else
interlock::versioned<std::shared_ptr<const int>> cell;
#endif
