// SPDX-License-Identifier: BSL-1.0
// Concurrency Kit: a spin lock in each account, taken in the order of addresses; a sequence lock
// over eight accounts, of which one thread at a time is the writer.

#include <ck_sequence.h>
#include <spinlock/fas.h>

#include <algorithm>

#include "transactions/jobs.hpp"

namespace transactions {
namespace {

struct spin_each {
  struct account {
    ck_spinlock_fas_t lock CK_SPINLOCK_FAS_INITIALIZER;
    std::int64_t money = 0;
  };
  std::array<account, accounts> all;
  void move(std::size_t from, std::size_t to) {
    account& first = all[std::min(from, to)];
    account& second = all[std::max(from, to)];
    ck_spinlock_fas_lock(&first.lock);
    ck_spinlock_fas_lock(&second.lock);
    --all[from].money;
    ++all[to].money;
    ck_spinlock_fas_unlock(&second.lock);
    ck_spinlock_fas_unlock(&first.lock);
  }
};

struct sequence {
  ck_sequence_t mark CK_SEQUENCE_INITIALIZER;
  std::array<std::int64_t, 8> balance{};
  void change(std::size_t i) {
    ck_sequence_write_begin(&mark);
    ++balance[i];
    ck_sequence_write_end(&mark);
  }
  std::int64_t sum() {
    std::int64_t all = 0;
    unsigned version = 0;
    do {
      version = ck_sequence_read_begin(&mark);
      all = 0;
      for (const std::int64_t each : balance) all += each;
    } while (ck_sequence_read_retry(&mark, version));
    return all;
  }
};

const bench::contenders here([] {
  add_transfers<spin_each>("Concurrency Kit two spin locks");
  add_snapshots<sequence>("Concurrency Kit ck_sequence, one writer");
});

}  // namespace
}  // namespace transactions
