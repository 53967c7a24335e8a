// SPDX-License-Identifier: BSL-1.0
// versioned<T> under threads, beside the naive form that loses in the same harness.

#include <interlock/versioned.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::versioned;

namespace {

// The wallet: every thread withdraws 1, many times.
// Returns: what is missing at the end.
template <class Withdraw>
std::int64_t missing(std::size_t threads, std::size_t each, Withdraw withdraw) {
  const auto all = static_cast<std::int64_t>(threads * each);
  versioned<std::int64_t> wallet(all);
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) withdraw(wallet);
  });
  return wallet.load().value;
}

// A value that any reader can check: all words equal to the version it is stored under.
template <std::size_t Words>
using repeated = std::array<std::uint64_t, Words>;

template <std::size_t Words>
repeated<Words> repeat(std::uint64_t number) {
  repeated<Words> made;
  made.fill(number);
  return made;
}

// Effects: some threads commit in every way there is, others read. Value and version agree always,
//          and no reader sees versions go back.
template <std::size_t Words>
void agree(std::size_t writers, std::size_t readers, std::size_t each) {
  using value = repeated<Words>;
  versioned<value> cell(repeat<Words>(0));
  std::atomic<std::size_t> writing = writers;
  std::atomic<std::size_t> torn = 0;
  std::atomic<std::size_t> went_back = 0;
  std::atomic<std::uint64_t> commits = 0;
  const auto look = [&](std::uint64_t& last) {
    const auto seen = cell.load();
    for (const std::uint64_t word : seen.value) {
      if (word != seen.version) ++torn;
    }
    if (seen.version < last) ++went_back;
    last = seen.version;
    return seen;
  };
  support::run_threads(writers + readers, [&](std::size_t me) {
    std::uint64_t last = 0;
    if (me >= writers) {
      while (writing != 0) look(last);
      return;
    }
    for (std::size_t i = 0; i < each; ++i) {
      switch (i % 3) {
        case 0:
          cell.update([](const value& v) { return repeat<Words>(v[0] + 1); });
          ++commits;
          break;
        case 1: {
          const auto seen = look(last);
          if (cell.compare_and_set(seen.version, repeat<Words>(seen.version + 1))) ++commits;
          break;
        }
        default: {
          const auto next = cell.version() + 1;
          if (cell.store_if_newer(next, repeat<Words>(next))) ++commits;
        }
      }
      look(last);
    }
    --writing;
  });
  CHECK(torn == 0);
  CHECK(went_back == 0);
  CHECK(cell.version() == commits);  // each of them counted once: none lost, none twice
}

}  // namespace

TEST_CASE("the naive withdrawal loses money and update does not") {
  const std::size_t each = support::rounds(20'000);
  bool naive_lost = false;
  for (int attempt = 0; attempt < 50 && !naive_lost; ++attempt) {
    naive_lost = missing(2, each, [](versioned<std::int64_t>& wallet) {
                   const auto seen = wallet.load();
                   std::this_thread::yield();
                   wallet.store(seen.value - 1);  // read, compute, save
                 }) != 0;
  }
  CHECK(naive_lost);
  for (const std::size_t threads : {2U, 4U, 8U}) {
    CHECK(missing(threads, each, [](versioned<std::int64_t>& wallet) {
            wallet.update([](std::int64_t& money) { --money; });
          }) == 0);
    CHECK(missing(threads, each, [](versioned<std::int64_t>& wallet) {
            auto seen = wallet.load();
            for (;;) {
              auto saved = wallet.compare_and_set(seen.version, seen.value - 1);
              if (saved) return;
              seen = std::move(saved).current();
            }
          }) == 0);
  }
}

TEST_CASE("words stored one by one are seen torn and a cell's never are") {
  // The naive form: the same words without the version.
  bool naive_torn = false;
  for (int attempt = 0; attempt < 50 && !naive_torn; ++attempt) {
    std::array<std::atomic<std::uint64_t>, 12> words{};
    std::atomic<bool> done = false;
    std::atomic<bool> torn = false;
    support::run_threads(2, [&](std::size_t me) {
      if (me == 0) {
        for (std::uint64_t i = 1; i < support::rounds(100'000); ++i) {
          for (auto& word : words) word.store(i, std::memory_order_release);
          if (i % 64 == 0) std::this_thread::yield();
        }
        done = true;
      } else {
        while (!done) {
          const std::uint64_t first = words.front().load(std::memory_order_acquire);
          if (words.back().load(std::memory_order_acquire) != first) torn = true;
        }
      }
    });
    naive_torn = torn;
  }
  CHECK(naive_torn);
  agree<2>(2, 1, support::rounds(60'000));
  agree<8>(2, 2, support::rounds(60'000));
  agree<12>(1, 2, support::rounds(60'000));  // in four places
  agree<12>(2, 2, support::rounds(60'000));
  agree<32>(4, 4, support::rounds(10'000));  // oversubscribed
  agree<40>(2, 2, support::rounds(30'000));  // a node
}

TEST_CASE("a writer that never rests neither tears nor starves a reader of 256 bytes") {
  using value = repeated<32>;
  versioned<value> cell(repeat<32>(0));
  std::atomic<bool> done = false;
  std::size_t torn = 0;
  std::size_t moved = 0;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      for (std::uint64_t i = 1; !done; ++i) cell.store(repeat<32>(i));  // as long as it takes
      return;
    }
    std::uint64_t last = 0;
    while (moved < support::rounds(20'000)) {
      const auto seen = cell.load();
      for (const std::uint64_t word : seen.value) {
        if (word != seen.version) ++torn;
      }
      if (seen.version != last) ++moved;
      last = seen.version;
    }
    done = true;
  });
  CHECK(torn == 0);
}

TEST_CASE("strings are whole while they are replaced") {
  versioned<std::string> cell("0");
  std::atomic<bool> whole = true;
  support::run_threads(4, [&](std::size_t me) {
    for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
      if (me < 2) {
        cell.update([](std::string_view old) {
          return std::to_string(std::stoull(std::string(old)) + 1) + std::string(20, ' ');
        });
      } else {
        const auto seen = cell.load();
        if (std::stoull(seen.value) != seen.version) whole = false;
      }
    }
  });
  CHECK(whole);
  CHECK(std::stoull(cell.load().value) == cell.version());
}

TEST_CASE("a replica that takes versions in any order ends at the newest") {
  for (std::size_t round = 0; round < support::rounds(300); ++round) {
    versioned<std::uint64_t> replica;
    support::run_threads(4, [&](std::size_t me) {
      for (std::uint64_t i = 0; i < 50; ++i) {
        const std::uint64_t version = 1 + (i * 37 + me * 11) % 200;
        replica.store_if_newer(version, version);
      }
    });
    std::uint64_t newest = 0;
    for (std::uint64_t me = 0; me < 4; ++me) {
      for (std::uint64_t i = 0; i < 50; ++i) {
        newest = std::max(newest, 1 + (i * 37 + me * 11) % 200);
      }
    }
    const auto end = replica.load();
    REQUIRE(end.version == newest);
    REQUIRE(end.value == newest);
  }
}

TEST_CASE("waiters follow a hot writer to its last commit") {
  versioned<std::uint64_t> number;
  versioned<std::string> text("0");
  const std::uint64_t last = support::rounds(30'000);
  std::atomic<std::size_t> arrived = 0;
  support::run_threads(5, [&](std::size_t me) {
    if (me == 0) {
      for (std::uint64_t i = 1; i <= last; ++i) {
        number.store(i);
        text.store(std::to_string(i));
      }
      return;
    }
    std::uint64_t seen = 0;
    while (seen < last) seen = me % 2 == 0 ? number.wait(seen).version : text.wait(seen).version;
    ++arrived;
  });
  CHECK(arrived == 4);
}
