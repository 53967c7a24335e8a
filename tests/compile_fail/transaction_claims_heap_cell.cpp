// SPDX-License-Identifier: BSL-1.0
// expects: the cell keeps its value inline
#include <interlock/transaction.hpp>

#include <string>

void extend(interlock::versioned<std::string>& name) {
  interlock::atomically([&](interlock::transaction& t) {
#ifdef MISTAKE
    t.update_locked(name, [](std::string& text) { text += '!'; });
#else
    t.update(name, [](std::string& text) { text += '!'; });
#endif
  });
}
