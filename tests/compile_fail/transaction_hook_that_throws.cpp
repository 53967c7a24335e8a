// SPDX-License-Identifier: BSL-1.0
// expects: so f may not throw: declare it noexcept
#include <interlock/transaction.hpp>

#include <cstdio>

void tell(interlock::versioned<int>& cell) {
  interlock::atomically([&](interlock::transaction& t) {
    t.write(cell, 1);
#ifdef MISTAKE
    t.on_commit([] { throw 1; });
#else
    t.on_commit([]() noexcept { std::puts("written"); });
#endif
  });
}
