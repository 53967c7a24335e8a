// SPDX-License-Identifier: BSL-1.0
// bounded_counter under threads, beside check-then-subtract in the same harness.

#include <interlock/bounded_counter.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

// Each step is atomic. The check and the change are two steps.
class check_then_subtract {
public:
  check_then_subtract(std::int64_t initial, std::int64_t min, std::int64_t) noexcept
      : min_(min), value_(initial) {}
  bool try_sub(std::int64_t n) {
    if (value_.load(std::memory_order_relaxed) - n < min_) return false;
    std::this_thread::yield();  // the payment provider's answer
    value_.fetch_sub(n, std::memory_order_relaxed);
    return true;
  }
  std::int64_t load() const { return value_.load(std::memory_order_relaxed); }

private:
  const std::int64_t min_;
  std::atomic<std::int64_t> value_;
};

struct sale {
  std::int64_t sold;
  std::int64_t left;
};

// Every thread takes 1, 2 or 3 units at a time until it is refused, then single ones.
template <class Counter>
sale sell_out(std::size_t threads, std::int64_t stock) {
  Counter c(stock, 0, stock);
  std::atomic<std::int64_t> sold{0};
  support::run_threads(threads, [&](std::size_t i) {
    const auto n = static_cast<std::int64_t>(i % 3 + 1);
    std::int64_t mine = 0;
    while (c.try_sub(n)) mine += n;
    while (c.try_sub(1)) mine += 1;
    sold.fetch_add(mine);
  });
  return {sold.load(), c.load()};
}

}  // namespace

TEST_CASE("a stock is sold out to the last unit and not beyond") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const auto stock = static_cast<std::int64_t>(support::rounds(1'000'003));
    const sale end = sell_out<interlock::bounded_counter>(threads, stock);
    CHECK(end.sold == stock);
    CHECK(end.left == 0);
  }
}

TEST_CASE("check then subtract sells what it does not have in the same harness") {
  bool oversold = false;
  for (int attempt = 0; attempt < 50 && !oversold; ++attempt) {
    oversold = sell_out<check_then_subtract>(4, 100).sold > 100;
  }
  CHECK(oversold);
}

TEST_CASE("two withdrawals of 80 from 100 pay out 80 once") {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < support::rounds(3'000); ++i) {
    interlock::bounded_counter balance(100, 0, 100);
    std::atomic<int> paid{0};
    support::run_threads(2, [&](std::size_t) {
      if (balance.try_sub(80)) paid.fetch_add(80);
    });
    wrong += paid.load() == 80 && balance.load() == 20 ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("with a unit for everybody nobody is refused") {
  constexpr std::size_t threads = 16;
  interlock::bounded_counter stock(threads, 0, threads);
  std::atomic<std::size_t> refused{0};
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
      if (!stock.try_sub(1) || !stock.try_add(1)) refused.fetch_add(1);
    }
  });
  CHECK(refused.load() == 0);
  CHECK(stock.load() == threads);
}

TEST_CASE("with one unit short whoever takes one can put it back and nothing is lost") {
  constexpr std::size_t threads = 4;
  interlock::bounded_counter stock(threads - 1, 0, threads - 1);
  std::atomic<std::size_t> no_room{0};
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t k = 0; k < support::rounds(100'000); ++k) {
      if (stock.try_sub(1) && !stock.try_add(1)) no_room.fetch_add(1);
    }
  });
  CHECK(no_room.load() == 0);
  CHECK(stock.load() == threads - 1);
}
