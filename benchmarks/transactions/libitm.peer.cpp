// SPDX-License-Identifier: BSL-1.0
// The compiler's transactional memory: GCC with -fgnu-tm, which calls libitm.

#include "transactions/jobs.hpp"

namespace transactions {
namespace {

struct by_compiler {
  std::array<std::int64_t, accounts> balance{};
  [[gnu::noinline]] void move(std::size_t from, std::size_t to) {
    std::int64_t* const all = balance.data();
    __transaction_atomic {
      --all[from];
      ++all[to];
    }
  }
};

struct eight_by_compiler {
  std::array<std::int64_t, 8> balance{};
  [[gnu::noinline]] void change(std::size_t i) {
    std::int64_t* const all = balance.data();
    __transaction_atomic {
      ++all[i];
    }
  }
  [[gnu::noinline]] std::int64_t sum() {
    const std::int64_t* const each = balance.data();
    std::int64_t all = 0;
    __transaction_atomic {
      for (int i = 0; i < 8; ++i) all += each[i];
    }
    return all;
  }
};

const bench::contenders here([] {
  add_transfers<by_compiler>("libitm");
  add_snapshots<eight_by_compiler>("libitm");
});

}  // namespace
}  // namespace transactions
