// SPDX-License-Identifier: BSL-1.0
// The processor's words, which are not atomic together, and the standard library's locks.

#include <shared_mutex>

#include "transactions/jobs.hpp"

namespace transactions {
namespace {

struct two_cas {
  std::array<std::atomic<std::int64_t>, accounts> balance{};
  void move(std::size_t from, std::size_t to) {
    yardstick::cas_add(balance[from], -1);
    yardstick::cas_add(balance[to], 1);
  }
};

struct lock_each {
  struct account {
    std::mutex mutex;
    std::int64_t money = 0;
  };
  std::array<account, accounts> all;
  void move(std::size_t from, std::size_t to) {
    const std::scoped_lock both(all[from].mutex, all[to].mutex);
    --all[from].money;
    ++all[to].money;
  }
};

struct lock_all {
  std::mutex mutex;
  std::array<std::int64_t, accounts> balance{};
  void move(std::size_t from, std::size_t to) {
    const std::lock_guard lock(mutex);
    --balance[from];
    ++balance[to];
  }
};

struct eight_loads {
  std::array<std::atomic<std::int64_t>, 8> balance{};
  void change(std::size_t i) { yardstick::cas_add(balance[i], 1); }
  std::int64_t sum() {
    std::int64_t all = 0;
    for (auto& each : balance) all += each.load(std::memory_order_acquire);
    return all;
  }
};

template <class Mutex, class ReadLock>
struct eight_behind {
  Mutex mutex;
  std::array<std::int64_t, 8> balance{};
  void change(std::size_t i) {
    const std::unique_lock lock(mutex);
    ++balance[i];
  }
  std::int64_t sum() {
    const ReadLock lock(mutex);
    std::int64_t all = 0;
    for (const std::int64_t each : balance) all += each;
    return all;
  }
};

const bench::contenders here([] {
  add_transfers<two_cas>("std::atomic, two CAS");
  add_transfers<lock_each>("std::scoped_lock of two");
  add_transfers<lock_all>("std::mutex for all");
  add_snapshots<eight_loads>("std::atomic, 8 loads");
  add_snapshots<eight_behind<std::mutex, std::unique_lock<std::mutex>>>("std::mutex for all");
  add_snapshots<eight_behind<std::shared_mutex, std::shared_lock<std::shared_mutex>>>(
      "std::shared_mutex for all");
});

}  // namespace
}  // namespace transactions
