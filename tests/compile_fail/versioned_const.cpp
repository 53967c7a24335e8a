// SPDX-License-Identifier: BSL-1.0
// expects: T is a plain object type, without const or volatile
#include <interlock/versioned.hpp>

#ifdef MISTAKE
interlock::versioned<const int> cell(1);
#else
interlock::versioned<int> cell(1);
#endif
