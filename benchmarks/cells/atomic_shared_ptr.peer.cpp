// SPDX-License-Identifier: BSL-1.0
// The standard's cell of any type: std::atomic<std::shared_ptr>.

#include <atomic>
#include <memory>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T>
struct atomic_shared_ptr {
  std::atomic<std::shared_ptr<const T>> cell{std::make_shared<const T>(first_value<T>())};
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
      if (cell.compare_exchange_strong(seen, std::make_shared<const T>(std::move(next)))) return;
    }
  }
};

const bench::contenders here([] {
  add<atomic_shared_ptr, block<8>>("std::atomic<std::shared_ptr>");
  add<atomic_shared_ptr, block<16>>("std::atomic<std::shared_ptr>");
  add<atomic_shared_ptr, block<32>>("std::atomic<std::shared_ptr>");
  add<atomic_shared_ptr, block<64>>("std::atomic<std::shared_ptr>");
  add<atomic_shared_ptr, block<256>>("std::atomic<std::shared_ptr>");
  add<atomic_shared_ptr, std::string>("std::atomic<std::shared_ptr>");
});

}  // namespace
}  // namespace cells
