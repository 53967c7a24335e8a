// SPDX-License-Identifier: BSL-1.0
// expects: counts in an integer type, such as std::int64_t
#include <interlock/counter.hpp>

#ifdef MISTAKE
interlock::counter<bool> clicks;
#else
interlock::counter<int> clicks;
#endif
