// SPDX-License-Identifier: BSL-1.0
// versioned in every execution, inline and on the heap: no commit lost, each load whole, each
// version once, no missed wake-up, one total order.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/versioned.hpp>

#include <atomic>
#include <new>
#include <stdexcept>
#include <utility>

using interlock::versioned;
using testing::world;

namespace {

// Values are numbers whose digits tell who committed, in order: after 2, 1 and 3 it is 213. So a
// snapshot must be what the last value begins with, and as long as its version.
//
// Inline: one word; twice the number in 9 bytes, which take two words.
using word = int;

struct odd_size {
  odd_size(int number = 0) {  // NOLINT: a number in disguise
    for (int i = 0; i < 4; ++i) bytes[i] = bytes[8 - i] = static_cast<char>(number >> (8 * i));
    bytes[4] = 0;
  }
  operator int() const {  // NOLINT: as above
    int number = 0;
    for (int i = 4; i-- > 0;) {
      testing::check(bytes[i] == bytes[8 - i], "not torn");
      number = number * 256 + static_cast<unsigned char>(bytes[i]);
    }
    return number;
  }
  char bytes[9];
};
static_assert(sizeof(odd_size) == 9);

// On the heap, and a heap object of its own inside: a leak or a late destruction shows.
class boxed {
public:
  static constexpr int uncopyable = -1;
  boxed(int number = 0) : number_(new int(number)) {}  // NOLINT: a number in disguise
  boxed(const boxed& other) : number_(copied(*other.number_)) {}
  boxed(boxed&& other) noexcept : number_(std::exchange(other.number_, nullptr)) {}
  boxed& operator=(const boxed&) = delete;
  ~boxed() { delete number_; }
  operator int() const { return *number_; }  // NOLINT: as above

private:
  static int* copied(int number) {
    if (number == uncopyable) throw std::runtime_error("not to be copied");
    return new int(number);
  }
  int* number_;
};

static_assert(versioned<word>::storage == versioned<word>::storage_kind::seqlock);
static_assert(versioned<odd_size>::storage == versioned<odd_size>::storage_kind::seqlock);
static_assert(versioned<boxed>::storage == versioned<boxed>::storage_kind::node);

// What a versioned cell must not be: its update is a load and a store.
class naive_cell {
public:
  explicit naive_cell(int initial) : cell_(initial) {}
  versioned<word>::snapshot load() const { return cell_.load(); }
  template <class F>
  std::uint64_t update(F f) {
    return cell_.store(f(cell_.load().value));
  }

private:
  versioned<word> cell_;
};

int digits(int number) {
  int count = 0;
  for (; number != 0; number /= 10) ++count;
  return count;
}

// What was there at this version, if this is what the cell has at the end.
int at_version(int last, std::uint64_t version) {
  for (auto more = static_cast<std::uint64_t>(digits(last)); more > version; --more) last /= 10;
  return last;
}

// A snapshot, as a number.
struct sight {
  int value;
  std::uint64_t version;
};

template <class Cell>
sight look(const Cell& cell) {
  const auto seen = cell.load();
  return {static_cast<int>(seen.value), seen.version};
}

bool fits(int last, const sight& seen) { return seen.value == at_version(last, seen.version); }

template <class T>
auto append(int digit) {
  return [digit](const T& value) { return T(static_cast<int>(value) * 10 + digit); };
}

// Each thread updates it `rounds` times.
template <class Cell, class T, int threads, int rounds>
void updates(world& w) {
  auto* const cell = new Cell(T(0));
  std::uint64_t version[4][2] = {};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, cell, t] {
      for (int i = 0; i < rounds; ++i) version[t][i] = cell->update(append<T>(t + 1));
    });
  }
  w.finally([&, cell] {
    const sight last = look(*cell);
    testing::check(last.version == static_cast<std::uint64_t>(threads * rounds), "one each");
    testing::check(digits(last.value) == threads * rounds, "no commit is lost");
    for (int t = 0; t < threads; ++t) {
      for (int i = 0; i < rounds; ++i) {
        testing::check(at_version(last.value, version[t][i]) % 10 == t + 1, "its own version");
      }
    }
    delete cell;
  });
}

// As above with threads that are alike, which makes it fewer executions.
template <class T, int threads, int rounds>
void updated_by_all(world& w) {
  auto* const cell = new versioned<T>(T(0));
  w.threads(threads, [cell] {
    std::uint64_t before = 0;
    for (int i = 0; i < rounds; ++i) {
      const auto version = cell->update([](const T& value) { return T(value + 1); });
      testing::check(version > before, "a newer one each time");
      before = version;
    }
  });
  w.finally([cell] {
    const sight last = look(*cell);
    testing::check(last.value == threads * rounds, "no commit is lost");
    testing::check(last.version == static_cast<std::uint64_t>(threads * rounds), "one each");
    delete cell;
  });
}

// Three threads, two operations each, of every kind.
template <class T>
void mixed(world& w) {
  auto* const cell = new versioned<T>(T(0));
  sight seen[5] = {};
  std::uint64_t updated = 0;
  bool saved = false;
  w.thread([&, cell] {
    seen[0] = look(*cell);
    const auto result = cell->compare_and_set(seen[0].version, T(seen[0].value * 10 + 1));
    saved = static_cast<bool>(result);
    if (saved) return;
    seen[4] = {static_cast<int>(result.current().value), result.current().version};
    testing::check(result.version() == seen[4].version, "it says what refused it");
    testing::check(seen[4].version > seen[0].version, "only a newer version refuses");
  });
  w.thread([&, cell] {
    updated = cell->update(append<T>(2));
    seen[1] = look(*cell);
  });
  w.thread([&, cell] {
    for (const int i : {2, 3}) seen[i] = look(*cell);
  });
  w.finally([&, cell] {
    const sight last = look(*cell);
    for (const sight& one : seen) testing::check(fits(last.value, one), "whole, and its version");
    testing::check(at_version(last.value, updated) % 10 == 2, "its own version");
    testing::check(seen[1].version >= updated, "a commit is visible to its thread");
    testing::check(seen[2].version <= seen[3].version, "not backwards");
    testing::check(last.version == (saved ? 2U : 1U), "a refused one has changed nothing");
    delete cell;
  });
}

// Each commits once; the last one to leave destroys it.
template <class T, int threads>
void last_user(world& w) {
  auto* const cell = used_by<versioned<T>>::make(threads, T(0));
  for (int t = 0; t < threads; ++t) {
    w.thread([cell, t] {
      (*cell)->store(T(t));
      (void)(*cell)->load();
      cell->leave();
    });
  }
  w.finally([] {});
}

template <class T>
void stores(world& w) {
  auto* const cell = new versioned<T>(T(10));
  std::uint64_t version[3] = {};
  sight seen[2] = {};
  w.thread([&, cell] {
    version[0] = cell->store(T(11));
    version[1] = cell->store(T(12));
  });
  w.thread([&, cell] { version[2] = cell->store(T(13)); });
  w.thread([&, cell] {
    for (sight& one : seen) one = look(*cell);
  });
  w.finally([&, cell] {
    testing::check(version[0] < version[1] && version[2] != version[0] && version[2] != version[1],
                   "each version once");
    for (const sight& one : seen) {
      int expected = 10;
      for (int i = 0; i < 3; ++i) expected = version[i] == one.version ? 11 + i : expected;
      testing::check(one.value == expected, "the value of this version");
    }
    testing::check(seen[0].version <= seen[1].version, "not backwards");
    testing::check(look(*cell).version == 3, "all took effect");
    delete cell;
  });
}

// Two words are stored while they are loaded.
void torn(world& w) {
  versioned<odd_size> cell(odd_size(0));
  w.thread([&] {
    cell.store(odd_size(1));
    cell.store(odd_size(2));
  });
  w.thread([&] {
    const sight seen = look(cell);
    testing::check(static_cast<std::uint64_t>(seen.value) == seen.version, "its own version");
  });
  w.finally([&] { testing::check(look(cell).value == 2, "the commits took effect"); });
}

template <class T>
void one_of_two_wins(world& w) {
  versioned<T> cell(T(0));
  bool won[2] = {};
  for (int t = 0; t < 2; ++t) {
    w.thread([&, t] {
      const auto result = cell.compare_and_set(0, T(t + 1));
      won[t] = static_cast<bool>(result);
      if (!won[t]) testing::check(result.current().value == 2 - t, "the other's value");
    });
  }
  w.finally([&] {
    testing::check(won[0] != won[1], "one wins");
    testing::check(look(cell).version == 1 && look(cell).value == (won[0] ? 1 : 2), "its value");
  });
}

// A compare_and_set at a version that is still to come, beside a commit that brings it.
template <class T>
void early_compare_and_set(world& w) {
  versioned<T> cell(T(0));
  bool saved = false;
  w.thread([&] {
    const auto result = cell.compare_and_set(1, T(2));
    saved = static_cast<bool>(result);
    if (!saved) testing::check(result.version() == 0, "refused by the version before");
  });
  w.thread([&] { cell.store(T(1)); });
  w.finally([&] { testing::check(look(cell).version == (saved ? 2U : 1U), "it waited or lost"); });
}

// Late answers from the source of the versions, and a commit in between.
template <class T>
void newer_only(world& w) {
  versioned<T> cell(T(0));
  bool taken[2] = {};
  sight seen[2] = {};
  w.thread([&] { taken[0] = cell.store_if_newer(5, T(5)); });
  w.thread([&] { taken[1] = cell.store_if_newer(3, T(3)); });
  w.thread([&] {
    for (sight& one : seen) one = look(cell);
  });
  w.finally([&] {
    testing::check(taken[0] && look(cell).version == 5 && look(cell).value == 5, "the newest");
    for (const sight& one : seen) {
      testing::check(static_cast<std::uint64_t>(one.value) == one.version, "its own version");
      testing::check(one.version != 3 || taken[1], "not taken, not seen");
    }
    testing::check(seen[0].version <= seen[1].version, "not backwards");
  });
}

template <class T>
void newer_beside_commit(world& w) {
  versioned<T> cell(T(0));
  bool taken = false;
  std::uint64_t version = 0;
  w.thread([&] { taken = cell.store_if_newer(1, T(3)); });
  w.thread([&] { version = cell.store(T(4)); });
  w.finally([&] {
    testing::check(taken == (version == 2), "taken if it came first");
    testing::check(look(cell).value == 4, "the commit is newer or the only one");
  });
}

template <class T>
void limited_updates(world& w) {
  versioned<T> cell(T(0));
  int done = 0;
  bool saved[2] = {};
  for (bool& mine : saved) {
    w.thread([&] { mine = cell.update(append<T>(1), 1).has_value(); });
  }
  w.finally([&] {
    done = (saved[0] ? 1 : 0) + (saved[1] ? 1 : 0);
    testing::check(done >= 1, "one loses only to the other");
    testing::check(digits(look(cell).value) == done, "who has no version stored nothing");
  });
}

// A function that throws inside an update, and a commit beside it.
template <class T>
void update_throws(world& w) {
  auto* const cell = used_by<versioned<T>>::make(2, T(0));
  w.thread([cell] {
    bool thrown = false;
    try {
      (*cell)->update([](T&) { throw std::runtime_error("no"); });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    testing::check(thrown, "the exception reaches the caller");
    testing::check(look(**cell).version <= 1, "and nothing is stored");
    cell->leave();
  });
  w.thread([cell] {
    testing::check((*cell)->update(append<T>(2)) == 1, "nobody else commits");
    cell->leave();
  });
  w.finally([] {});
}

// A value whose copy throws, read while it is replaced.
void copy_throws(world& w) {
  auto* const cell = used_by<versioned<boxed>>::make(3, boxed(1));
  w.thread([cell] {
    (*cell)->store(boxed(boxed::uncopyable));
    cell->leave();
  });
  w.thread([cell] {
    (*cell)->store(boxed(2));
    cell->leave();
  });
  w.thread([cell] {
    try {
      const int seen = (*cell)->load().value;
      testing::check(seen == 1 || seen == 2, "a value that can be copied");
    } catch (const std::runtime_error&) {
      testing::check((*cell)->version() > 0, "the copy that throws was stored");
    }
    cell->leave();
  });
  w.finally([] {});
}

// Without memory for a commit the cell stays as it is.
void no_memory(world& w) {
  auto* const cell = new versioned<boxed>(boxed(1));
  int done = 0;
  bool stored[2] = {};
  for (bool& mine : stored) {
    w.thread([&, cell] {
      try {
        cell->update([](const boxed& value) { return boxed(value * 10 + 1); });
        mine = true;
      } catch (const std::bad_alloc&) {
      }
    });
  }
  w.finally([&, cell] {
    done = (stored[0] ? 1 : 0) + (stored[1] ? 1 : 0);
    testing::check(cell->version() == static_cast<std::uint64_t>(done), "one each, if stored");
    delete cell;
  });
}

// The one who sees the commit destroys the cell, while the other is still in it.
template <class T>
void destroyed_by_the_waiter(world& w) {
  auto* const cell = new versioned<T>(T(0));
  w.thread([cell] {
    const auto seen = cell->wait(0);
    testing::check(seen.version == 1 && seen.value == 5, "the commit");
    delete cell;
  });
  w.thread([cell] { cell->store(T(5)); });
  w.finally([] {});
}

template <class T>
void destroyed_by_the_reader(world& w) {
  auto* const cell = new versioned<T>(T(0));
  w.thread([cell] {
    while (cell->version() == 0) testing::spin_hint();
    testing::check(look(*cell).value == 5, "the commit");
    delete cell;
  });
  w.thread([cell] { cell->update(append<T>(5)); });
  w.finally([] {});
}

// Against its Lifetime line: a load under way is no commit.
void destroyed_under_a_reader(world& w) {
  auto* const cell = new versioned<boxed>(boxed(0));
  w.thread([cell] { (void)cell->load(); });
  w.thread([cell] {
    cell->store(boxed(1));
    delete cell;
  });
  w.finally([] {});
}

template <class T>
void two_waiters(world& w) {
  versioned<T> cell(T(0));
  for (int t = 0; t < 2; ++t) {
    w.thread([&] { testing::check(cell.wait(0).value == 5, "the commit"); });
  }
  w.thread([&] { cell.store(T(5)); });
  w.finally([] {});
}

// Waiting by a flag that commits clear: the first waiter sleeps on the flag of the second one.
void naive_wait(world& w) {
  std::atomic<int> version{0};
  interlock::detail::park_word awaited{0};
  for (int t = 0; t < 2; ++t) {
    w.thread([&] {
      while (version.load(sc) == 0) {
        awaited.store(1, sc);
        if (version.load(sc) == 0) interlock::detail::park(awaited, 1);
      }
    });
  }
  w.thread([&] {
    version.store(1, sc);
    if (awaited.load(sc) == 0) return;
    awaited.store(0, sc);
    interlock::detail::unpark_all(&awaited);
  });
  w.finally([] {});
}

// A waiter for the second of two commits by two threads.
template <class T>
void wait_for_the_second(world& w) {
  versioned<T> cell(T(0));
  for (const int digit : {1, 2}) w.thread([&, digit] { cell.update(append<T>(digit)); });
  w.thread([&] {
    const int value = cell.wait(1).value;
    testing::check(value == 12 || value == 21, "both");
  });
  w.finally([] {});
}

// Both commits may have to wake the same waiter.
template <class T>
void woken_twice(world& w) {
  versioned<T> cell(T(0));
  w.thread([&] {
    cell.store(T(1));
    cell.store(T(2));
  });
  w.thread([&] { testing::check(cell.wait(1).value == 2, "the second one"); });
  w.finally([] {});
}

template <class T>
void timed_wait(world& w) {
  versioned<T> cell(T(0));
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  w.thread([&] {
    const auto seen = cell.wait_until(0, soon);
    if (seen) testing::check(seen->version == 1 && seen->value == 5, "the commit");
    testing::check(seen || std::chrono::steady_clock::now() >= soon, "not before the deadline");
  });
  w.thread([&] { cell.store(T(5)); });
  w.finally([] {});
}

template <class T>
void endless_wait(world& w) {
  versioned<T> cell(T(0));
  w.thread([&] {
    const auto seen = cell.wait_until(0, std::chrono::steady_clock::time_point::max());
    testing::check(seen && seen->value == 5, "there is all the time");
  });
  w.thread([&] { cell.store(T(5)); });
  w.finally([] {});
}

// What was done before a commit is visible to who sees it.
template <class T>
void hands_on(world& w) {
  versioned<T> cell(T(0));
  int goods = 0;
  w.thread([&] {
    goods = 7;
    cell.store(T(1));
  });
  w.thread([&] {
    if (cell.version() == 1) testing::check(goods == 7, "what was done before is visible");
  });
  w.finally([] {});
}

template <class T>
void store_then_look(world& w) {
  versioned<T> a(T(0)), b(T(0));
  int saw_a = 0, saw_b = 0;
  w.thread([&] {
    a.store(T(1));
    saw_b = b.load().value;
  });
  w.thread([&] {
    b.store(T(1));
    saw_a = a.load().value;
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

template <class T>
void two_readers(world& w) {
  versioned<T> a(T(0)), b(T(0));
  bool a_first = false, b_first = false;
  w.thread([&] { a.store(T(1)); });
  w.thread([&] { b.store(T(1)); });
  w.thread([&] { a_first = a.version() == 1 && b.version() == 0; });
  w.thread([&] { b_first = b.version() == 1 && a.version() == 0; });
  w.finally([&] { testing::check(!a_first || !b_first, "one total order"); });
}

// One who keeps a copy, beside two commits: it sees what a load would.
template <class T>
void kept_copy(world& w) {
  auto* const cell = used_by<versioned<T>>::make(2, T(0));
  w.thread([cell] {
    (*cell)->update(append<T>(1));
    (*cell)->update(append<T>(2));
    cell->leave();
  });
  w.thread([cell] {
    {
      typename versioned<T>::reader reader(**cell);
      std::uint64_t last = 0;
      for (int i = 0; i < 2; ++i) {
        const T& value = reader.get();
        const sight seen{static_cast<int>(value), reader.version()};
        testing::check(fits(12, seen), "whole, and its version");
        testing::check(seen.version >= last, "not backwards");
        last = seen.version;
      }
    }
    cell->leave();
  });
  w.finally([] {});
}

// As versioned<T>::reader, but a commit under way does not bother it.
class careless_reader {
public:
  explicit careless_reader(const interlock::detail::seqlock_cell<word>& cell)
      : cell_(cell), seen_(cell.read()) {}
  word get() {
    if (cell_.version_of(cell_.peek()) != seen_.version) seen_ = cell_.read();
    return seen_.value;
  }

private:
  const interlock::detail::seqlock_cell<word>& cell_;
  interlock::detail::seqlock_cell<word>::view seen_;
};

// Each commits to one cell and looks at the other by a copy that it has from before.
template <class Cell, class Reader, class Commit>
void store_then_get(world& w, Commit commit) {
  auto* const a = new Cell(0, 0);
  auto* const b = new Cell(0, 0);
  int saw_a = 0, saw_b = 0;
  w.thread([&, a, b] {
    Reader reader(*b);
    commit(*a);
    saw_b = reader.get();
  });
  w.thread([&, a, b] {
    Reader reader(*a);
    commit(*b);
    saw_a = reader.get();
  });
  w.finally([&, a, b] {
    testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other");
    delete a;
    delete b;
  });
}
void store_then_get_kept(world& w) {
  store_then_get<versioned<word>, versioned<word>::reader>(
      w, [](versioned<word>& cell) { cell.store(1); });
}
void store_then_get_carelessly(world& w) {
  using cell_type = interlock::detail::seqlock_cell<word>;
  store_then_get<cell_type, careless_reader>(w, [](cell_type& cell) {
    const auto version = cell.enter();
    cell.commit(cell_type::draft(1), version, version + 1);
  });
}

void readers_alone(world& w) {
  versioned<odd_size> cell(odd_size(5));
  for (int t = 0; t < 3; ++t) {
    w.thread([&] {
      testing::check(look(cell).value == 5 && cell.version() == 0, "as it was made");
      testing::check(!cell.store_if_newer(0, odd_size(6)), "not newer");
    });
  }
  w.finally([] {});
}

}  // namespace

TEST_CASE("versioned: no update is lost and each version is given out once") {
  proved(updates<versioned<word>, word, 2, 2>);
  proved(updates<versioned<word>, word, 3, 1>);
  proved(updates<versioned<odd_size>, odd_size, 2, 1>);
  proved(updates<versioned<boxed>, boxed, 2, 1>);
  failing(updates<naive_cell, word, 2, 1>);
}

TEST_CASE("versioned: no update of four threads is lost", "[.deep]") {
  proved(updated_by_all<word, 4, 1>);
}
TEST_CASE("versioned: no update of three threads is lost, two each", "[.deep]") {
  proved(updated_by_all<word, 3, 2>);
}
TEST_CASE("versioned: no update of three threads is lost on the heap", "[.deep]") {
  proved(updated_by_all<boxed, 3, 1>);
}

TEST_CASE("versioned: a snapshot is whole and what was there at its version") {
  proved(mixed<word>);
  proved(stores<word>);
  proved(mixed<odd_size>);
}

TEST_CASE("versioned: stores of an odd size beside loads", "[.deep]") { proved(stores<odd_size>); }

TEST_CASE("versioned: every kind of operation on the heap", "[.deep]") { proved(mixed<boxed>); }

TEST_CASE("versioned: loads write nothing where the value is inline, so there is one execution") {
  CHECK(proved(readers_alone).executions == 1);
}

TEST_CASE("versioned: one of two at the same version wins") {
  proved(one_of_two_wins<word>);
  proved(one_of_two_wins<boxed>);
  proved(early_compare_and_set<word>);
  proved(early_compare_and_set<boxed>);
  proved(limited_updates<word>);
  proved(limited_updates<boxed>);
}

TEST_CASE("versioned: a late answer does not undo a newer one") {
  proved(newer_only<word>);
  proved(newer_only<boxed>);
  proved(newer_beside_commit<word>);
  proved(newer_beside_commit<boxed>);
}

TEST_CASE("versioned: what throws leaves the cell as it was") {
  proved(update_throws<word>);
  proved(update_throws<boxed>);
  proved(copy_throws);
  testing::options how;
  how.allocation_failures = 2;
  proved(no_memory, how);
}

TEST_CASE("versioned: a waiter misses no commit") {
  proved(two_waiters<word>);
  proved(two_waiters<boxed>);
  proved(wait_for_the_second<word>);
  proved(woken_twice<word>);
  proved(woken_twice<boxed>);
  proved(timed_wait<word>);
  proved(timed_wait<boxed>);
  proved(endless_wait<word>);
  proved(endless_wait<boxed>);
  failing(naive_wait);
}

TEST_CASE("versioned: a waiter for the second commit on the heap", "[.deep]") {
  proved(wait_for_the_second<boxed>);
}

TEST_CASE("versioned: the last user destroys it and who saw a commit does not wait for its end") {
  proved(last_user<word, 2>);
  proved(last_user<boxed, 2>);
  proved(destroyed_by_the_waiter<word>);
  proved(destroyed_by_the_waiter<boxed>);
  proved(destroyed_by_the_reader<word>);
  proved(destroyed_by_the_reader<boxed>);
  failing(destroyed_under_a_reader);
}

TEST_CASE("versioned: operations on several cells have one order") {
  proved(hands_on<word>);
  proved(hands_on<boxed>);
  proved(store_then_look<word>);
  proved(store_then_look<boxed>);
  proved(two_readers<word>);
  proved(two_readers<boxed>);
  proved(store_then_get_kept);
  failing(store_then_get_carelessly);
}

TEST_CASE("versioned: a kept copy is as good as a load") {
  proved(kept_copy<odd_size>);
  proved(kept_copy<boxed>);
}

TEST_CASE("versioned: mutants", "[.mutants]") {
  mutants({kept_copy<odd_size>, store_then_get_kept, hands_on<word>, store_then_look<word>, two_readers<word>, one_of_two_wins<odd_size>,
           destroyed_by_the_waiter<boxed>, endless_wait<word>, timed_wait<word>, torn,
           last_user<boxed, 2>, update_throws<boxed>, updates<versioned<word>, word, 2, 1>,
           two_waiters<word>, woken_twice<word>});
}
