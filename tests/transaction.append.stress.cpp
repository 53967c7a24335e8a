// SPDX-License-Identifier: BSL-1.0
// Transactions that append to lists and read them, under threads, checked for cycles; beside the
// naive forms, whose anomalies the same check names.

#include <interlock/testing/list_append.hpp>
#include <interlock/transaction.hpp>

#include <cstdint>
#include <deque>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;
using interlock::testing::append_report;
using interlock::testing::isolation;
using interlock::testing::list_append;

namespace {

using list = std::vector<std::uint64_t>;
using cells = std::deque<versioned<list>>;

struct step {
  std::size_t key;
  bool append;
};

// The library's: one transaction.
struct as_one {
  void operator()(cells& all, const std::vector<step>& steps, list_append::transaction& log) const {
    bool first = true;
    atomically([&](transaction& t) {
      if (!std::exchange(first, false)) log.again();
      for (const auto& [key, appends] : steps) {
        if (appends) {
          const std::uint64_t value = log.append(key);
          t.update(all[key], [&](list& what) { what.push_back(value); });
        } else {
          log.read(key, t.read(all[key]));
        }
        std::this_thread::yield();
      }
    });
    log.applied();
  }
};

// No update is lost, but what is in between is seen.
struct step_by_step {
  void operator()(cells& all, const std::vector<step>& steps, list_append::transaction& log) const {
    for (const auto& [key, appends] : steps) {
      if (appends) {
        const std::uint64_t value = log.append(key);
        all[key].update([&](list& what) { what.push_back(value); });
      } else {
        log.read(key, all[key].load().value);
      }
      std::this_thread::yield();
    }
    log.applied();
  }
};

// Reads, appends to its copy and writes it back.
struct load_and_store {
  void operator()(cells& all, const std::vector<step>& steps, list_append::transaction& log) const {
    for (const auto& [key, appends] : steps) {
      list what = all[key].load().value;
      std::this_thread::yield();
      if (appends) {
        what.push_back(log.append(key));
        all[key].store(std::move(what));
      } else {
        log.read(key, std::move(what));
      }
    }
    log.applied();
  }
};

// Returns: what is found when threads do this, each transaction on some of four lists; every 50
//          transactions one of them makes room for a new one.
template <class Act>
append_report lists_of(std::size_t rounds, Act act) {
  constexpr std::size_t threads = 4, in_use = 4;
  cells all(rounds / 50 + in_use);
  list_append log(threads + 1);
  support::run_threads(threads, [&](std::size_t me) {
    std::minstd_rand random(static_cast<unsigned>(me) + 1);
    for (std::size_t i = 0; i < rounds; ++i) {
      std::vector<step> steps(1 + random() / 8 % 4);
      for (step& one : steps) one = {i / 50 + random() / 8 % in_use, random() / 8 % 2 == 0};
      auto t = log.begin(me);
      act(all, steps, t);
    }
  });
  auto last = log.begin(threads);
  for (std::size_t key = 0; key < all.size(); ++key) last.read(key, all[key].load().value);
  last.applied();
  return log.check();
}

}  // namespace

TEST_CASE(
    "lists that transactions append to are strictly serializable and step by step they are not") {
  const append_report together = lists_of(support::rounds(5000), as_one());
  CHECK(together.at(isolation::strict_serializable));
  CHECK(together.operations > support::rounds(5000) * 4);

  // The control: the check sees what the same threads do without a transaction.
  bool torn = false, lost = false;
  for (int attempt = 0; attempt < 50 && !(torn && lost); ++attempt) {
    const append_report naive = lists_of(support::rounds(5000), step_by_step());
    torn = torn || !naive.at(isolation::snapshot_isolation);
    CHECK_FALSE(naive.has("lost append"));
    const append_report worse = lists_of(support::rounds(5000), load_and_store());
    lost = lost || worse.has("lost append") || worse.has("incompatible order");
  }
  CHECK(torn);
  CHECK(lost);
}
