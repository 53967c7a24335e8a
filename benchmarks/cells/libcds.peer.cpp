// SPDX-License-Identifier: BSL-1.0
// libcds: immutable nodes that its hazard pointers protect.

#include <cds/gc/hp.h>
#include <cds/init.h>

#include "cells/jobs.hpp"

namespace cells {
namespace {

struct library {
  library() {
    cds::Initialize();
    static cds::gc::HP collector;
  }
};

template <class T>
struct hazard_cell {
  struct thread_scope {
    thread_scope() {
      static const library once;
      cds::threading::Manager::attachThread();
    }
    ~thread_scope() { cds::threading::Manager::detachThread(); }
  };
  std::atomic<T*> shared{new T(first_value<T>())};
  ~hazard_cell() { delete shared.load(); }

  void read() {
    cds::gc::HP::Guard guard;
    const T copy = *guard.protect(shared);
    use(copy);
  }
  void write(unsigned) {
    cds::gc::HP::Guard guard;
    for (;;) {
      T* seen = guard.protect(shared);
      T* const next = new T(*seen);
      change(*next);
      if (shared.compare_exchange_strong(seen, next)) {
        guard.clear();
        cds::gc::HP::retire(seen, [](void* old) { delete static_cast<T*>(old); });
        return;
      }
      delete next;
    }
  }
};

const bench::contenders here([] {
  add<hazard_cell, block<64>>("libcds hazard pointer");
  add<hazard_cell, block<256>>("libcds hazard pointer");
  add<hazard_cell, std::string>("libcds hazard pointer");
});

}  // namespace
}  // namespace cells
