// SPDX-License-Identifier: BSL-1.0
// expects: a reference would be read later
#include <interlock/transaction.hpp>

int shared;

int look(interlock::versioned<int>& cell) {
#ifdef MISTAKE
  return interlock::atomically([&](interlock::transaction& t) -> int& {
#else
  return interlock::atomically([&](interlock::transaction& t) {
#endif
    shared = t.read(cell);
    return shared;
  });
}
