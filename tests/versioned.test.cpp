// SPDX-License-Identifier: BSL-1.0
// versioned<T>: the contract, for both kinds of storage.

#include <interlock/versioned.hpp>

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::versioned;

namespace {

// A value of exactly N bytes that shows tearing: every byte follows from the first number.
template <std::size_t N>
struct bytes {
  std::array<unsigned char, N> at{};

  static bytes of(std::uint64_t number) {
    bytes made;
    for (std::size_t i = 0; i < N; ++i) {
      made.at[i] = static_cast<unsigned char>((number + 1) * (2 * i + 1) >> (i % 3));
    }
    return made;
  }
  friend bool operator==(const bytes&, const bytes&) = default;
};

struct padded {
  char tag = 'a';
  // three bytes of padding
  std::int32_t number = 0;
  bool flag = false;
  // seven bytes of padding
  std::int64_t large = 0;
};

struct no_default {
  explicit no_default(int v) : value(v) {}
  int value;
};

struct alignas(16) over_aligned {
  int value = 0;
};

// Counts its objects; a copy throws when told to. Moves do not exist, so each copy is seen.
struct counted {
  explicit counted(int v) : value(v) { ++alive; }
  counted(const counted& other) : value(other.value) {
    if (throw_after >= 0 && throw_after-- == 0) throw std::runtime_error("copy refused");
    ++alive;
  }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }

  int value;
  static inline std::atomic<int> alive = 0;
  static inline int throw_after = -1;
};

// A trivially copyable value too big for the inline storage.
using large = std::array<std::uint64_t, 64>;

static_assert(versioned<int>::storage == versioned<int>::storage_kind::seqlock);
static_assert(versioned<bytes<64>>::storage == versioned<bytes<64>>::storage_kind::seqlock);
static_assert(versioned<bytes<65>>::storage == versioned<bytes<65>>::storage_kind::slots);
static_assert(versioned<bytes<256>>::storage == versioned<bytes<256>>::storage_kind::slots);
static_assert(versioned<bytes<257>>::storage == versioned<bytes<257>>::storage_kind::node);
static_assert(versioned<std::string>::storage == versioned<std::string>::storage_kind::node);
static_assert(versioned<std::shared_ptr<const int>>::storage ==
              versioned<std::shared_ptr<const int>>::storage_kind::node);
static_assert(!versioned<int>::is_always_lock_free);
static_assert(!std::is_copy_constructible_v<versioned<int>>);
static_assert(!std::is_move_constructible_v<versioned<int>>);
static_assert(std::is_default_constructible_v<versioned<int>>);
static_assert(!std::is_default_constructible_v<versioned<no_default>>);
static_assert(versioned<int>::max_version == (std::uint64_t{1} << 62U) - 1);
static_assert(sizeof(versioned<std::int64_t>) == 24);
static_assert(sizeof(versioned<std::string>) == 24);

template <std::size_t N>
bool check_size() {
  using value = bytes<N>;
  versioned<value> cell(value::of(0));
  bool whole = cell.load().value == value::of(0);
  for (std::uint64_t i = 1; i < 40; ++i) {
    whole = whole && cell.store(value::of(i)) == i;
    const auto seen = cell.load();
    whole = whole && seen.version == i && seen.value == value::of(i);
    const auto set = cell.compare_and_set(i, value::of(i + 100));
    whole = whole && set && cell.load().value == value::of(i + 100);
    whole = whole && !cell.compare_and_set(i, value::of(7)) && cell.version() == i + 1;
    cell.~versioned<value>();
    new (&cell) versioned<value>(value::of(i), i);
  }
  return whole;
}

// Every size has its test in tests/detail/shared_bytes.test.cpp; these are around the moves' widths
// and the limits of each kind.
template <std::size_t... Sizes>
void check_sizes() {
  const std::array<std::size_t, sizeof...(Sizes)> size{Sizes...};
  const std::array<bool, sizeof...(Sizes)> whole{check_size<Sizes>()...};
  for (std::size_t i = 0; i < size.size(); ++i) {
    INFO("size " << size[i]);
    CHECK(whole[i]);
  }
}

}  // namespace

TEST_CASE("No commit is lost when several threads update one cell") {
  const std::size_t each = support::rounds(20'000);
  versioned<std::uint64_t> inline_cell;
  versioned<std::vector<std::uint64_t>> node_cell(std::vector<std::uint64_t>(1));
  support::run_threads(3, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      inline_cell.update([](std::uint64_t& n) { ++n; });
      node_cell.update([](std::vector<std::uint64_t>& n) { ++n[0]; });
    }
  });
  CHECK(inline_cell.load().value == 3 * each);
  CHECK(inline_cell.version() == 3 * each);
  CHECK(node_cell.load().value[0] == 3 * each);
  CHECK(node_cell.version() == 3 * each);
}

TEST_CASE("Every load returns a whole value together with its own version") {
  check_sizes<1, 3, 7, 8, 9, 12, 15, 16, 17, 20, 31, 33, 61, 63, 64, 65, 100, 128, 255, 256, 257>();

  // Under threads: value and version are the same number, for whoever looks whenever.
  versioned<large> cell;
  std::atomic<bool> done = false;
  std::atomic<bool> whole = true;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
        cell.update([](large& numbers) {
          for (std::uint64_t& number : numbers) ++number;
        });
      }
      done = true;
    } else {
      while (!done) {
        const auto seen = cell.load();
        for (const std::uint64_t number : seen.value) {
          if (number != seen.version) whole = false;
        }
      }
    }
  });
  CHECK(whole);
}

TEST_CASE("A version is given out once so a stale compare_and_set is refused") {
  versioned<std::string> cell("A");
  const auto first = cell.load();
  CHECK(first.version == 0);
  CHECK(cell.store("B") == 1);
  CHECK(cell.store("A") == 2);  // A again, but not that A
  const auto refused = cell.compare_and_set(first.version, "lost");
  REQUIRE_FALSE(refused);
  CHECK(refused.version() == 2);
  CHECK(refused.current().value == "A");
  CHECK(refused.current().version == 2);
  const auto taken = cell.compare_and_set(refused.version(), "C");
  REQUIRE(taken);
  CHECK(taken.version() == 3);
  CHECK_THROWS_AS(taken.current(), std::bad_optional_access);
  CHECK(cell.load().value == "C");
}

TEST_CASE("A function that throws inside update leaves the cell as it was") {
  const auto refuse = [](auto& cell, auto spoil) {
    const auto before = cell.load();
    CHECK_THROWS_AS(cell.update([&](auto& value) {
      spoil(value);
      throw std::runtime_error("no");
    }),
                    std::runtime_error);
    CHECK(cell.load().value == before.value);
    CHECK(cell.version() == before.version);
    CHECK(cell.store(before.value) == before.version + 1);  // and it is not stuck
  };
  versioned<int> number(7);
  refuse(number, [](int& value) { value = 8; });
  versioned<std::string> text("seven");
  refuse(text, [](std::string& value) { value = "eight"; });
}

TEST_CASE("A waiter returns once the version has passed the one it names and misses no commit") {
  // Ping-pong: one wake-up missed and both wait for ever.
  versioned<int> ping;
  versioned<std::string> pong;
  const std::uint64_t rounds = support::rounds(20'000);
  std::atomic<bool> in_order = true;
  support::run_threads(2, [&](std::size_t me) {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (me == 0) {
        ping.store(static_cast<int>(i));
        const auto seen = pong.wait(i);
        if (seen.version != i + 1 || seen.value != std::to_string(i)) in_order = false;
      } else {
        const auto seen = ping.wait(i);
        if (seen.version != i + 1 || seen.value != static_cast<int>(i)) in_order = false;
        pong.store(std::to_string(i));
      }
    }
  });
  CHECK(in_order);
  CHECK(ping.wait(0).version == rounds);  // passed already
}

TEST_CASE("Operations on all cells take effect in one total order") {
  // Two threads each write one cell, then read the other: one of them must see the other's write.
  versioned<std::uint64_t> x;
  versioned<std::vector<std::uint64_t>> y(std::vector<std::uint64_t>(1));
  const std::size_t rounds = support::rounds(20'000);
  std::array<std::vector<std::uint64_t>, 2> seen{std::vector<std::uint64_t>(rounds),
                                                 std::vector<std::uint64_t>(rounds)};
  std::barrier start(2);
  support::run_threads(2, [&](std::size_t me) {
    for (std::size_t i = 0; i < rounds; ++i) {
      start.arrive_and_wait();
      if (me == 0) {
        x.store(i + 1);
        seen[0][i] = y.load().version;
      } else {
        y.update([](std::vector<std::uint64_t>& v) { ++v[0]; });
        seen[1][i] = x.load().version;
      }
    }
  });
  std::size_t both_missed = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    if (seen[0][i] <= i && seen[1][i] <= i) ++both_missed;
  }
  CHECK(both_missed == 0);
}

TEST_CASE("versions start at 0 or as given and grow by one") {
  CHECK(versioned<int>().version() == 0);
  CHECK(versioned<int>(5).load().value == 5);
  versioned<int> cell(5, 41);
  CHECK(cell.version() == 41);
  CHECK(cell.store(6) == 42);
  CHECK(cell.update([](int n) { return n + 1; }) == 43);
  CHECK(cell.compare_and_set(43, 8).version() == 44);
  const auto [value, version] = cell.load();
  CHECK(value == 8);
  CHECK(version == 44);
}

TEST_CASE("update takes a function that returns the new value or changes it in place") {
  versioned<int> cell(1);
  cell.update([](int n) { return n + 1; });
  cell.update([](const int& n) { return n * 10; });
  cell.update([](int& n) { n += 1; });
  cell.update([](auto& n) { n *= 2; });
  int (*const function)(int) = [](int n) { return n - 2; };
  cell.update(function);
  CHECK(cell.load().value == 40);
  versioned<std::uint8_t> narrow(255);
  narrow.update([](std::uint8_t n) { return static_cast<std::uint8_t>(n + 1); });
  CHECK(narrow.load().value == 0);
  versioned<std::string> text;
  text.update([](std::string_view old) { return std::string(old) + "x"; });
  text.update([](std::string& old) { old += "y"; });
  CHECK(text.load().value == "xy");
}

TEST_CASE("update computes anew when another commit came first and gives up when told to") {
  versioned<int> cell(0);
  int calls = 0;
  const auto version = cell.update([&](int n) {
    if (++calls == 1) cell.store(100);  // f runs outside any lock
    return n + 1;
  });
  CHECK(calls == 2);
  CHECK(version == 2);
  CHECK(cell.load().value == 101);

  calls = 0;
  const auto given_up = cell.update(
      [&](int n) {
        ++calls;
        cell.store(n + 10);
        return 0;
      },
      3);
  CHECK_FALSE(given_up);
  CHECK(calls == 3);
  CHECK(cell.load().value == 131);
  CHECK_FALSE(cell.update([](int n) { return n; }, 0));
  CHECK(cell.update([](int n) { return n; }, 1) == 6);
}

TEST_CASE("store_if_newer takes greater versions only and may jump") {
  versioned<std::string> cell;
  CHECK(cell.store_if_newer(7, "seven"));
  CHECK(cell.version() == 7);
  CHECK_FALSE(cell.store_if_newer(5, "five"));
  CHECK_FALSE(cell.store_if_newer(7, "seven again"));
  CHECK_FALSE(cell.store_if_newer(0, "zero"));
  CHECK(cell.load().value == "seven");
  CHECK(cell.store("own") == 8);
  CHECK(cell.store_if_newer(1000, "thousand"));
  CHECK(cell.load().version == 1000);
}

TEST_CASE("versions end at 2^62 - 1 with an error and not by wrapping") {
  constexpr auto last = versioned<int>::max_version;
  CHECK_THROWS_AS(versioned<int>(1, last + 1), std::invalid_argument);
  versioned<int> cell(1);
  CHECK_THROWS_AS(cell.store_if_newer(last + 1, 2), std::invalid_argument);
  CHECK_THROWS_AS(cell.compare_and_set(last + 1, 2), std::invalid_argument);
  CHECK_THROWS_AS(cell.wait(last), std::invalid_argument);
  CHECK_THROWS_AS(cell.wait_until(last, {}), std::invalid_argument);
  CHECK(cell.version() == 0);
  CHECK(cell.store_if_newer(last, 3));
  CHECK(cell.version() == last);
  CHECK_THROWS_AS(cell.store(4), std::overflow_error);
  CHECK_THROWS_AS(cell.update([](int n) { return n; }), std::overflow_error);
  CHECK_THROWS_AS(cell.compare_and_set(last, 4), std::overflow_error);
  CHECK_FALSE(cell.store_if_newer(last, 4));
  CHECK(cell.load().value == 3);  // and it is not stuck
  CHECK(cell.wait(last - 1).value == 3);
}

TEST_CASE("wait_until returns nothing once the deadline has passed") {
  using clock = std::chrono::steady_clock;
  versioned<int> cell(1);
  const auto deadline = clock::now() + std::chrono::milliseconds(3);
  CHECK_FALSE(cell.wait_until(0, deadline));
  CHECK(clock::now() >= deadline);
  CHECK_FALSE(cell.wait_until(0, clock::time_point::min()));
  cell.store(2);
  const auto seen = cell.wait_until(0, clock::time_point::min());  // true already
  REQUIRE(seen);
  CHECK(seen->value == 2);
  CHECK(seen->version == 1);
  std::thread writer([&] { cell.store(3); });
  const auto later = cell.wait_until(1, clock::time_point::max());
  writer.join();
  REQUIRE(later);
  CHECK(later->version == 2);
}

TEST_CASE("every waiter is woken by one commit") {
  versioned<std::string> cell;
  std::atomic<int> woken = 0;
  support::run_threads(5, [&](std::size_t me) {
    if (me == 0) {
      cell.store_if_newer(9, "news");
    } else if (cell.wait(0).value == "news") {
      ++woken;
    }
  });
  CHECK(woken == 4);
}

TEST_CASE("a waiter that saw the new version may destroy the cell") {
  for (std::size_t i = 0; i < support::rounds(2'000); ++i) {
    auto* const number = new versioned<int>(0);
    auto* const text = new versioned<std::string>("0");
    std::thread writer([=] {
      number->store(1);
      text->store("1");
    });
    (void)number->wait(0);
    delete number;
    (void)text->wait(0);
    delete text;
    writer.join();
  }
}

TEST_CASE("values need no default constructor and keep their alignment and their padding apart") {
  versioned<no_default> strict(no_default(3));
  strict.update([](no_default& v) { v.value = 4; });
  CHECK(strict.load().value.value == 4);

  versioned<over_aligned> wide(over_aligned{5});
  CHECK(wide.load().value.value == 5);

  versioned<padded> cell(padded{'x', 1, true, 2});
  const auto seen = cell.load();
  CHECK(cell.compare_and_set(seen.version, padded{'y', 3, false, 4}));
  const auto now = cell.load().value;
  CHECK((now.tag == 'y' && now.number == 3 && !now.flag && now.large == 4));

  int target = 0;
  versioned<int*> pointer(&target);
  CHECK(pointer.load().value == &target);
  versioned<bool> flag(true);
  CHECK(flag.load().value);
}

TEST_CASE("a move-only value is shared instead") {
  versioned<std::shared_ptr<const std::unique_ptr<int>>> cell(
      std::make_shared<const std::unique_ptr<int>>(std::make_unique<int>(5)));
  CHECK(**cell.load().value == 5);
}

TEST_CASE("a copy that throws leaves the cell as it was") {
  REQUIRE(counted::alive == 0);
  {
    versioned<counted> cell(counted(1));
    const auto with_throw_after = [](int copies, auto operation) {
      counted::throw_after = copies;
      CHECK_THROWS_AS(operation(), std::runtime_error);
      counted::throw_after = -1;
    };
    with_throw_after(0, [&] { (void)cell.load(); });
    with_throw_after(0, [&] { cell.store(counted(2)); });
    with_throw_after(0, [&] { (void)cell.compare_and_set(0, counted(2)); });
    with_throw_after(0, [&] { cell.store_if_newer(9, counted(2)); });
    with_throw_after(0, [&] { cell.update([](counted& c) { c.value = 2; }); });
    CHECK(cell.store_if_newer(1, counted(1)));
    with_throw_after(0, [&] { (void)cell.wait(0); });
    CHECK(cell.version() == 1);
    CHECK(cell.load().value.value == 1);
    cell.update([](const counted& c) { return counted(c.value + 1); });
    CHECK(cell.load().value.value == 2);
    CHECK(counted::alive == 1);  // the cell's own
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("every value is destroyed once under threads") {
  REQUIRE(counted::alive == 0);
  {
    versioned<counted> cell(counted(0));
    support::run_threads(3, [&](std::size_t) {
      for (std::size_t i = 0; i < support::rounds(5'000); ++i) {
        cell.update([](const counted& c) { return counted(c.value + 1); });
        const auto seen = cell.load();
        (void)cell.compare_and_set(seen.version, counted(seen.value.value));
      }
    });
    CHECK(counted::alive == 1);
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a reader keeps its copy until the version moves") {
  versioned<bytes<100>> cell(bytes<100>::of(1), 7);
  versioned<bytes<100>>::reader reader(cell);
  const bytes<100>* const first = &reader.get();
  CHECK(*first == bytes<100>::of(1));
  CHECK(&reader.get() == first);
  CHECK(reader.version() == 7);
  cell.store(bytes<100>::of(2));
  CHECK(reader.version() == 7);  // of what get() returned last
  CHECK(reader.get() == bytes<100>::of(2));
  CHECK(reader.version() == 8);

  versioned<no_default> narrow(no_default(4));
  versioned<no_default>::reader narrow_reader(narrow);
  narrow.store(no_default(5));
  CHECK(narrow_reader.get().value == 5);
}

TEST_CASE("a reader of a value on the heap keeps it alive and copies nothing") {
  {
    versioned<counted> cell(counted(1));
    versioned<counted>::reader reader(cell);
    CHECK(counted::alive == 1);
    const counted& seen = reader.get();
    cell.store(counted(2));
    CHECK(seen.value == 1);  // until the next get()
    CHECK(counted::alive == 2);
    CHECK(reader.get().value == 2);
    CHECK(counted::alive == 1);
    cell.store(counted(3));
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a value is loaded without any constructor of its own but the copy") {
  struct fixed {  // neither default-constructible nor assignable
    explicit fixed(int n) : number(n), twice{2 * n, 2 * n, 2 * n, 2 * n} {}
    const int number;
    const std::array<std::int64_t, 4> twice;
  };
  versioned<fixed> cell(fixed(3));
  CHECK(cell.update([](const fixed& old) { return fixed(old.number + 1); }) == 1);
  const auto seen = cell.load();
  CHECK(seen.value.number == 4);
  CHECK(seen.value.twice[3] == 8);
}

TEST_CASE("a load of inline storage works in read-only memory") {
  void* const page =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  const auto* const cell = new (page) versioned<bytes<20>>(bytes<20>::of(3), 8);
  REQUIRE(::mprotect(page, 4096, PROT_READ) == 0);
  CHECK(cell->load().value == bytes<20>::of(3));
  CHECK(cell->version() == 8);
  CHECK(cell->wait(7).version == 8);
  ::munmap(page, 4096);
}
