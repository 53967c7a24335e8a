// SPDX-License-Identifier: BSL-1.0
// liburcu (memory barriers by system call): readers announce themselves in a word of their own, and
// old values are freed in batches after a grace period.

#include <urcu.h>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T>
struct rcu_cell {
  struct thread_scope {
    thread_scope() { rcu_register_thread(); }
    ~thread_scope() {
      rcu_unregister_thread();
      rcu_barrier();
    }
  };
  struct node {
    T value;
    rcu_head head{};
  };
  node* shared = new node{first_value<T>()};
  ~rcu_cell() { delete shared; }

  void read() {
    rcu_read_lock();
    const node* const seen = rcu_dereference(shared);
    const T copy = seen->value;
    rcu_read_unlock();
    use(copy);
  }
  void write(unsigned) {
    rcu_read_lock();
    for (;;) {
      node* const seen = rcu_dereference(shared);
      auto* const next = new node{seen->value};
      change(next->value);
      if (uatomic_cmpxchg(&shared, seen, next) == seen) {
        rcu_read_unlock();
        call_rcu(&seen->head, [](rcu_head* head) { delete caa_container_of(head, node, head); });
        return;
      }
      delete next;
    }
  }
};

const bench::contenders here([] {
  add<rcu_cell, block<64>>("liburcu");
  add<rcu_cell, block<256>>("liburcu");
  add<rcu_cell, std::string>("liburcu");
});

}  // namespace
}  // namespace cells
