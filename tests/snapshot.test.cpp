// SPDX-License-Identifier: BSL-1.0
// snapshot(): several cells at one moment.

#include <interlock/snapshot.hpp>
#include <interlock/transaction.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <list>
#include <ranges>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::atomically;
using interlock::snapshot;
using interlock::transaction;
using interlock::versioned;

namespace {

// Kept on the heap.
struct boxed {
  explicit boxed(int n) : number(n) {}
  boxed(const boxed& other) : number(other.number) {}
  boxed& operator=(const boxed&) = delete;
  int number;
};

template <class T>
concept can_be_taken = requires(const T& of) { snapshot(of); };
static_assert(can_be_taken<versioned<int>>);
static_assert(can_be_taken<std::list<versioned<std::string>>>);
static_assert(!can_be_taken<std::vector<int>>);
static_assert(!can_be_taken<int>);

// Returns: how often two cells differ that commits keep equal.
template <class B, class Take>
std::size_t differences(std::size_t rounds, Take take) {
  versioned<std::uint64_t> a(0);
  versioned<B> b(B(0));
  std::atomic<bool> done = false;
  std::atomic<std::size_t> differed = 0;
  support::run_threads(3, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 1; i <= rounds; ++i) {
        atomically([&](transaction& t) {
          t.write(a, i);
          t.write(b, B(static_cast<int>(i)));
        });
      }
      done = true;
    } else {
      while (!done) {
        if (!take(a, b)) ++differed;
      }
    }
  });
  return differed;
}

}  // namespace

TEST_CASE("All values of a snapshot were current at one moment") {
  const std::size_t rounds = support::rounds(100'000);
  CHECK(differences<std::uint64_t>(rounds, [](auto& a, auto& b) {
          const auto [x, y] = snapshot(a, b);
          return x == y;
        }) == 0);
  CHECK(differences<boxed>(rounds / 10, [](auto& a, auto& b) {
          const auto [x, y] = snapshot(a, b);
          return x == static_cast<std::uint64_t>(y.number);
        }) == 0);
  bool naive_differed = false;
  for (int attempt = 0; attempt < 50 && !naive_differed; ++attempt) {
    naive_differed = differences<std::uint64_t>(rounds, [](auto& a, auto& b) {
                       const auto x = a.load().value;
                       std::this_thread::yield();
                       return x == b.load().value;
                     }) != 0;
  }
  CHECK(naive_differed);

  // A range: money moves around in it.
  std::deque<versioned<int>> bank;
  for (int i = 0; i < 20; ++i) bank.emplace_back(10);
  std::atomic<bool> done = false;
  std::atomic<std::size_t> wrong = 0;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < rounds / 10; ++i) {
        atomically([&](transaction& t) {
          t.update(bank[i % 20], [](int& n) { --n; });
          t.update(bank[(i * 7 + 3) % 20], [](int& n) { ++n; });
        });
      }
      done = true;
    } else {
      while (!done) {
        int sum = 0;
        for (const int n : snapshot(bank)) sum += n;
        if (sum != 200) ++wrong;
      }
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("That moment lies between the call and its return") {
  versioned<int> number(1);
  const versioned<std::string> text("a");
  CHECK(snapshot(number, text) == std::tuple(1, std::string("a")));
  number.store(2);
  CHECK(snapshot(number, text) == std::tuple(2, std::string("a")));
  CHECK(snapshot(number) == std::tuple(2));

  std::list<versioned<int>> cells;
  CHECK(snapshot(cells).empty());
  cells.emplace_back(1);
  cells.emplace_back(2);
  CHECK(snapshot(cells) == std::vector<int>{1, 2});
  cells.back().store(3);
  CHECK(snapshot(cells) == std::vector<int>{1, 3});
  CHECK(cells.front().version() == 0);
}

TEST_CASE("a snapshot does not wait for a claim") {
  versioned<int> a(1);
  versioned<int> b(1);
  atomically([&](transaction& t) {
    t.update_locked(a, [&](int& n) {
      std::thread([&] { CHECK(snapshot(a, b) == std::tuple(1, 1)); }).join();
      n = 2;
    });
  });
}

TEST_CASE("a snapshot in a body that has the turn may lose as often as it does") {
  std::array<versioned<int>, 2> cells;
  versioned<int> other(0);
  int runs = 0;
  int left = 40;
  atomically([&](transaction& t) {
    (void)t.read(other);
    if (++runs < 20) other.store(runs);  // loses until it has the turn
    t.update(other, [](int& n) { ++n; });
    if (runs < 20) return;
    const auto one_by_one = cells | std::views::transform([&](const auto& cell) -> const auto& {
                              if (&cell == &cells[1] && left-- > 0) cells[0].store(left);
                              return cell;
                            });
    (void)snapshot(one_by_one);
  });
  CHECK(runs == 20);
}

TEST_CASE("a snapshot of inline values allocates nothing") {
  if (!support::counts_allocations) return;
  std::array<versioned<std::uint64_t>, 4> cells;
  (void)snapshot(cells[0], cells[1], cells[2], cells[3]);
  const std::size_t before = support::allocations();
  (void)snapshot(cells[0], cells[1], cells[2], cells[3]);
  CHECK(support::allocations() == before);
}
