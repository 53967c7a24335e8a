// SPDX-License-Identifier: BSL-1.0

#include <boost/make_shared.hpp>
#include <boost/smart_ptr/atomic_shared_ptr.hpp>
#include <boost/thread/synchronized_value.hpp>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T>
struct atomic_shared_ptr {
  boost::atomic_shared_ptr<const T> cell{boost::make_shared<T>(first_value<T>())};
  void read() {
    const auto seen = cell.load();
    const T copy = *seen;
    use(copy);
  }
  void write(unsigned) {
    auto seen = cell.load();
    for (;;) {
      T next = *seen;
      change(next);
      const boost::shared_ptr<const T> desired = boost::make_shared<T>(std::move(next));
      if (cell.compare_exchange_strong(seen, desired)) return;
    }
  }
};

template <class T>
struct synchronized_value {
  boost::synchronized_value<T, std::mutex> cell{first_value<T>()};
  void read() {
    const T copy = cell.get();
    use(copy);
  }
  void write(unsigned) {
    auto held = cell.synchronize();
    change(*held);
  }
};

const bench::contenders here([] {
  add<atomic_shared_ptr, block<8>>("Boost atomic_shared_ptr");
  add<atomic_shared_ptr, block<64>>("Boost atomic_shared_ptr");
  add<atomic_shared_ptr, block<256>>("Boost atomic_shared_ptr");
  add<atomic_shared_ptr, std::string>("Boost atomic_shared_ptr");
  add<synchronized_value, block<64>>("Boost synchronized_value");
});

}  // namespace
}  // namespace cells
