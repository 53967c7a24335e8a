// SPDX-License-Identifier: BSL-1.0
// A transfer between two of 1024 accounts, and a sum over eight of them.

#include <interlock/transaction.hpp>

#include <array>
#include <memory>

#include "support/yardsticks.hpp"

namespace {

constexpr std::size_t accounts = 1024;

// A lane's own stream of account numbers: xorshift, so that choosing costs next to nothing.
struct chooser {
  struct alignas(64) state {
    std::uint64_t x = 88172645463325252U;
  };
  std::array<state, 64> lanes{};
  chooser() {
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i].x += i * 7919U;
  }
  std::size_t operator()(unsigned lane) {
    std::uint64_t& x = lanes[lane % 64].x;
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    return x % accounts;
  }
};

struct transfer {
  chooser choose;
  std::array<interlock::versioned<std::int64_t>, accounts> balance;
  void operator()(unsigned lane) {
    auto& from = balance[choose(lane)];
    auto& to = balance[choose(lane)];
    if (&from == &to) return;
    interlock::atomically([&](interlock::transaction& t) {
      t.update(from, [](std::int64_t& money) { --money; });
      t.update(to, [](std::int64_t& money) { ++money; });
    });
  }
};

struct snapshot_of_8 {
  std::array<interlock::versioned<std::int64_t>, 8> balance;
  void operator()(unsigned) {
    benchmark::DoNotOptimize(interlock::atomically([&](interlock::transaction& t) {
      std::int64_t sum = 0;
      for (auto& each : balance) sum += t.read(each);
      return sum;
    }));
  }
};

struct scoped_lock_transfer {
  struct account {
    std::mutex mutex;
    std::int64_t money = 0;
  };
  chooser choose;
  std::array<account, accounts> all;
  void operator()(unsigned lane) {
    account& from = all[choose(lane)];
    account& to = all[choose(lane)];
    if (&from == &to) return;
    const std::scoped_lock both(from.mutex, to.mutex);
    --from.money;
    ++to.money;
  }
};

// Not atomic together: what two single updates cost.
struct two_cas_transfer {
  chooser choose;
  std::array<std::atomic<std::int64_t>, accounts> balance{};
  static void change(std::atomic<std::int64_t>& word, std::int64_t by) {
    std::int64_t seen = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(seen, seen + by, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
    }
  }
  void operator()(unsigned lane) {
    auto& from = balance[choose(lane)];
    auto& to = balance[choose(lane)];
    if (&from == &to) return;
    change(from, -1);
    change(to, 1);
  }
};

struct global_mutex_transfer {
  chooser choose;
  std::mutex mutex;
  std::array<std::int64_t, accounts> balance{};
  void operator()(unsigned lane) {
    const std::size_t from = choose(lane);
    const std::size_t to = choose(lane);
    const std::lock_guard lock(mutex);
    --balance[from];
    ++balance[to];
  }
};

struct eight_loads {
  std::array<std::atomic<std::int64_t>, 8> balance{};
  void operator()(unsigned) {
    std::int64_t sum = 0;
    for (auto& each : balance) sum += each.load(std::memory_order_acquire);
    benchmark::DoNotOptimize(sum);
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<two_cas_transfer>("transaction/two separate CAS");
  bench::add<scoped_lock_transfer>("transaction/std::scoped_lock of two");
  bench::add<global_mutex_transfer>("transaction/one std::mutex for all");
  bench::add<eight_loads>("transaction/8 atomic loads");
  bench::add<transfer>("transaction/atomically, 2 cells");
  bench::add<snapshot_of_8>("transaction/snapshot of 8 cells");
  return bench::run(argc, argv);
}
