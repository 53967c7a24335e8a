// SPDX-License-Identifier: BSL-1.0
#pragma once

// The jobs: move one from an account to another, of 1024 or of two; the sum of eight accounts at
// one moment.

#include <array>
#include <cstddef>
#include <cstdint>

#include "support/yardsticks.hpp"

namespace transactions {

// A lane's own stream of numbers: xorshift, so that choosing costs next to nothing.
class chooser {
public:
  chooser() {
    for (std::size_t i = 0; i < lanes_.size(); ++i) lanes_[i].x += i * 7919U;
  }

  template <std::size_t InUse>
  std::size_t below(unsigned lane) {
    std::uint64_t& x = lanes_[lane % 64].x;
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    return x % InUse;
  }

private:
  struct alignas(128) state {
    std::uint64_t x = 88172645463325252U;
  };
  std::array<state, 64> lanes_{};
};

// A bank has all these accounts, and move(from, to), which takes one away and adds one elsewhere.
constexpr std::size_t accounts = 1024;

template <class Bank, std::size_t InUse>
struct transfers {
  chooser choose;
  Bank bank;
  void operator()(unsigned lane) {
    const std::size_t from = choose.below<InUse>(lane);
    const std::size_t to = InUse == 2 ? 1 - from : choose.below<InUse>(lane);
    if (from != to) bank.move(from, to);
  }
};

template <class Bank>
void add_transfers(const std::string& who) {
  bench::add<transfers<Bank, accounts>>("transactions/transfer among 1024 accounts/" + who);
  bench::add<transfers<Bank, 2>>("transactions/transfer between two accounts/" + who);
}

// Reader has sum() of eight accounts, and change(i), which adds one to one of them.
template <class Reader>
struct sums : Reader {
  void operator()(unsigned) { benchmark::DoNotOptimize(this->sum()); }
  void write(unsigned) {
    this->change(next_);
    next_ = (next_ + 1) % 8;
  }

private:
  std::size_t next_ = 0;
};

template <class Reader>
void add_snapshots(const std::string& who) {
  const std::string name = "transactions/snapshot of 8 accounts/" + who;
  bench::add<sums<Reader>>(name);
  bench::add_beside_writer<sums<Reader>>(name);
}

}  // namespace transactions
