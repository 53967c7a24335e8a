// SPDX-License-Identifier: BSL-1.0
// xenium's sequence locks (with 1 and 4 slots), left-right, and nodes that hazard pointers or
// epochs protect.

#include <array>  // xenium forgets it

#include <xenium/left_right.hpp>
#include <xenium/reclamation/generic_epoch_based.hpp>
#include <xenium/reclamation/hazard_pointer.hpp>
#include <xenium/seqlock.hpp>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T, unsigned Slots>
struct seqlock {
  xenium::seqlock<T, xenium::policy::slots<Slots>> cell{T{}};
  void read() {
    const T copy = cell.load();
    use(copy);
  }
  void write(unsigned) {
    cell.update([](T& value) noexcept { change(value); });
  }
};
template <class T>
using seqlock_1 = seqlock<T, 1>;
template <class T>
using seqlock_4 = seqlock<T, 4>;

template <class T>
struct left_right {
  xenium::left_right<T> cell{first_value<T>()};
  void read() {
    const T copy = cell.read([](const T& value) { return value; });
    use(copy);
  }
  void write(unsigned) {
    cell.update([](T& value) noexcept { change(value); });
  }
};

template <class T, class Reclaimer>
struct node_cell {
  struct node : Reclaimer::template enable_concurrent_ptr<node> {
    T value;
    explicit node(T from) : value(std::move(from)) {}
  };
  using shared = typename Reclaimer::template concurrent_ptr<node, 0>;
  shared cell{new node(first_value<T>())};
  ~node_cell() { delete cell.load(std::memory_order_relaxed).get(); }

  void read() {
    typename shared::guard_ptr seen;
    seen.acquire(cell, std::memory_order_acquire);
    const T copy = seen->value;
    use(copy);
  }
  void write(unsigned) {
    typename shared::guard_ptr seen;
    for (;;) {
      seen.acquire(cell, std::memory_order_acquire);
      T value = seen->value;
      change(value);
      auto* const next = new node(std::move(value));
      typename shared::marked_ptr expected(seen.get());
      if (cell.compare_exchange_strong(expected, typename shared::marked_ptr(next),
                                       std::memory_order_acq_rel, std::memory_order_relaxed)) {
        seen.reclaim();
        return;
      }
      delete next;
    }
  }
};
template <class T>
using hazard_cell = node_cell<T, xenium::reclamation::hazard_pointer<>>;
template <class T>
using epoch_cell = node_cell<T, xenium::reclamation::epoch_based<>>;

template <class T>
void add_nodes() {
  add<hazard_cell, T>("xenium hazard pointer");
  add<epoch_cell, T>("xenium epochs");
}

const bench::contenders here([] {
  add<seqlock_1, block<16>>("xenium seqlock");
  add<seqlock_1, block<64>>("xenium seqlock");
  add<seqlock_1, block<256>>("xenium seqlock");
  add<seqlock_4, block<64>>("xenium seqlock, 4 slots");
  add<seqlock_4, block<256>>("xenium seqlock, 4 slots");
  add<left_right, block<64>>("xenium left_right");
  add<left_right, block<256>>("xenium left_right");
  add_nodes<block<8>>();
  add_nodes<block<64>>();
  add_nodes<block<256>>();
  add_nodes<std::string>();
});

}  // namespace
}  // namespace cells
