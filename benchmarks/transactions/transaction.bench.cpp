// SPDX-License-Identifier: BSL-1.0

#include <interlock/snapshot.hpp>
#include <interlock/transaction.hpp>

#include <tuple>

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

// Claims each cell when it comes to it: for changes that depend on nothing else.
struct by_update_locked {
  std::array<account, accounts> balance;
  void move(std::size_t from, std::size_t to) {
    interlock::atomically([&](transaction& t) {
      t.update_locked(balance[from], [](std::int64_t& money) { --money; });
      t.update_locked(balance[to], [](std::int64_t& money) { ++money; });
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

struct by_snapshot : eight_accounts {
  std::int64_t sum() {
    const auto now =
        std::apply([](auto&... each) { return interlock::snapshot(each...); }, balance);
    return std::apply([](auto... each) { return (each + ...); }, now);
  }
};

const bench::contenders here([] {
  add_transfers<by_update>("interlock::transaction");
  add_transfers<by_update_locked>("interlock::transaction, update_locked");
  add_snapshots<by_snapshot>("interlock::snapshot");
  add_snapshots<by_reads>("interlock::transaction");
});

}  // namespace
}  // namespace transactions
