// SPDX-License-Identifier: BSL-1.0
// A value behind a lock of the standard library.

#include <shared_mutex>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T, class Mutex, class ReadLock>
struct behind {
  Mutex mutex;
  T value = first_value<T>();
  void read() {
    const ReadLock lock(mutex);
    const T copy = value;
    use(copy);
  }
  void write(unsigned) {
    const std::unique_lock lock(mutex);
    change(value);
    benchmark::DoNotOptimize(value);
  }
};

template <class T>
using mutex_cell = behind<T, std::mutex, std::unique_lock<std::mutex>>;
template <class T>
using shared_mutex_cell = behind<T, std::shared_mutex, std::shared_lock<std::shared_mutex>>;

const bench::contenders here([] {
  add<mutex_cell, block<8>>("std::mutex");
  add<mutex_cell, block<64>>("std::mutex");
  add<mutex_cell, block<256>>("std::mutex");
  add<mutex_cell, std::string>("std::mutex");
  add<shared_mutex_cell, block<8>>("std::shared_mutex");
  add<shared_mutex_cell, block<64>>("std::shared_mutex");
  add<shared_mutex_cell, block<256>>("std::shared_mutex");
  add<shared_mutex_cell, std::string>("std::shared_mutex");
});

}  // namespace
}  // namespace cells
