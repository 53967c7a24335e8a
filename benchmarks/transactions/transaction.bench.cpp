// SPDX-License-Identifier: BSL-1.0

#include <interlock/transaction.hpp>

#include "transactions/jobs.hpp"

namespace transactions {
namespace {

using interlock::transaction;
using account = interlock::versioned<std::int64_t>;

struct by_update {
  std::array<account, accounts> balance;
  void move(std::size_t from, std::size_t to) {
    interlock::atomically([&](transaction& t) {
      t.update(balance[from], [](std::int64_t& money) { --money; });
      t.update(balance[to], [](std::int64_t& money) { ++money; });
    });
  }
};

struct eight_accounts {
  std::array<account, 8> balance;
  void change(std::size_t i) {
    balance[i].update([](std::int64_t& money) { ++money; });
  }
};

struct by_reads : eight_accounts {
  std::int64_t sum() {
    return interlock::atomically([&](transaction& t) {
      std::int64_t all = 0;
      for (auto& each : balance) all += t.read(each);
      return all;
    });
  }
};

const bench::contenders here([] {
  add_transfers<by_update>("interlock::transaction");
  add_snapshots<by_reads>("interlock::transaction");
});

}  // namespace
}  // namespace transactions
