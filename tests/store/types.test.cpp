// SPDX-License-Identifier: BSL-1.0
// Counters, bounded counters and cells of an engine: what the types add to the protocol.

#include <interlock/memory/client.hpp>
#include <interlock/store/basic_bounded_counter.hpp>
#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_versioned.hpp>
#include <interlock/store/until_known.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace store = interlock::store;
namespace memory = interlock::memory;
using interlock::sync_wait;
using interlock::task;
using store::errc;
using counter = store::basic_counter<memory::client>;
using bounded_counter = store::basic_bounded_counter<memory::client>;
template <class T>
using versioned = store::basic_versioned<T, memory::client>;

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t smallest = std::numeric_limits<std::int64_t>::min();

// The client's next replies to writes are lost, so many.
void lose_replies(memory::client& engine, int n) {
  const auto left = std::make_shared<std::atomic<int>>(n);
  engine.inject(memory::faults([left](const memory::request& r) {
    return r.done && r.writes && left->fetch_sub(1) > 0 ? memory::fault::lose_reply()
                                                        : memory::fault::none();
  }));
}

}  // namespace

TEST_CASE("A counter of an engine adds and subtracts and exchanges as one in the process does") {
  memory::client engine;
  const counter hits(engine, "hits");
  CHECK(*hits.load() == 0);
  CHECK(*hits.add(5) == 5);
  CHECK(*hits.sub(7) == -2);
  CHECK(*hits.exchange(10) == -2);
  CHECK(*hits.load() == 10);
  CHECK(*counter(engine.beside(), "hits").load() == 10);
  CHECK(*counter(engine, "others").load() == 0);
  CHECK(hits.name() == "hits");
}

TEST_CASE("No client's add to a counter is lost") {
  memory::client engine;
  const int each = static_cast<int>(support::rounds(1000));
  support::run_threads(4, [&](std::size_t) {
    const counter mine(engine.beside(), "hits");
    for (int i = 0; i < each; ++i) mine.add(1).value();
  });
  CHECK(*counter(engine, "hits").load() == 4 * each);
  // Load and exchange lose: two loaded before either wrote.
  const counter naive(engine, "naive");
  const std::int64_t a = *naive.load();
  const std::int64_t b = *naive.load();
  naive.exchange(a + 1).value();
  naive.exchange(b + 1).value();
  CHECK(*naive.load() == 1);
}

TEST_CASE("A bounded counter never passes its bounds however many clients use it") {
  memory::client engine;
  const bounded_counter stock(engine, "stock", {.value = 100, .low = 0, .high = 100});
  std::atomic<std::int64_t> sold{0};
  std::atomic<int> outside{0};
  support::run_threads(4, [&](std::size_t id) {
    const bounded_counter mine(engine.beside(), "stock", {.value = 100, .low = 0, .high = 100});
    for (std::int64_t i = 0; i < 200; ++i) {
      const auto left = mine.try_sub(1 + static_cast<std::int64_t>(id));
      if (left) sold += 1 + static_cast<std::int64_t>(id);
      outside += left.applied() && *left < 0;
    }
  });
  CHECK(sold + *stock.load() == 100);
  CHECK(outside == 0);
}

TEST_CASE("A sum that does not fit is refused and changes nothing") {
  memory::client engine;
  const counter hits(engine, "hits");
  hits.add(largest).value();
  const auto over = hits.add(1);
  REQUIRE(over.refused());
  CHECK(over.error().code == errc::bad_argument);
  CHECK(*hits.load() == largest);
  const auto odd = hits.sub(smallest);
  REQUIRE(odd.refused());
  CHECK(odd.error().message().find("memory: counter.sub 'hits': bad argument") == 0);
  CHECK(*hits.exchange(smallest) == largest);
  CHECK(hits.sub(1).refused());
  CHECK(*hits.load() == smallest);
}

TEST_CASE("An add that is repeated under its id counts once") {
  memory::client engine;
  const counter hits(engine, "hits");
  lose_replies(engine, 3);
  CHECK(*store::until_known([&](const store::call_options& c) { return hits.add(1, c); }) == 1);
  CHECK(*hits.load() == 1);
  lose_replies(engine, 1);  // without an id it is counted twice
  if (hits.add(1).unknown()) hits.add(1).value();
  CHECK(*hits.load() == 3);
}

TEST_CASE("Each add answers with the value that it produced itself") {
  memory::client engine;
  const counter hits(engine, "hits");
  const std::size_t each = support::rounds(1000);
  std::vector<std::atomic<int>> seen(4 * each + 1);
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) ++seen[static_cast<std::size_t>(*hits.add(1))];
  });
  bool once = true;
  for (std::size_t i = 1; i < seen.size(); ++i) once = once && seen[i] == 1;
  CHECK(once);
}

TEST_CASE("Names that no engine takes are refused where an object is made") {
  const memory::client engine;
  CHECK_THROWS_AS(counter(engine, ""), store::failure);
  CHECK_THROWS_AS(bounded_counter(engine, std::string(513, 'x'), {0, 0, 1}), store::failure);
  CHECK_THROWS_AS(versioned<int>(engine, ""), store::failure);
}

TEST_CASE("A change that would pass a bound is a conflict and tells the state") {
  memory::client engine;
  const bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 5});
  CHECK((stock.min() == 0 && stock.max() == 5));
  CHECK(*stock.try_sub(2) == 1);
  const auto over = stock.try_sub(2);
  REQUIRE(over.conflicted());
  CHECK((over.conflict().value == 1 && over.conflict().low == 0 && over.conflict().high == 5));
  CHECK(stock.try_add(5).conflicted());
  CHECK(*stock.try_add(4) == 5);
  CHECK(stock.try_sub(smallest).refused());
  CHECK(stock.try_add(-1).error().remedy == "use try_sub");
  CHECK(stock.try_sub(largest).conflicted());
  CHECK(*stock.load() == 5);
}

TEST_CASE("A change that is repeated under its id is made once") {
  memory::client engine;
  const bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 5});
  lose_replies(engine, 3);
  const auto sold =
      store::until_known([&](const store::call_options& c) { return stock.try_sub(2, c); });
  CHECK(*sold == 1);
  CHECK(*stock.load() == 1);
}

TEST_CASE("A bounded counter has the bounds that it was made with") {
  memory::client engine;
  const bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 5});
  const bounded_counter again(engine, "stock", {.value = 1, .low = 0, .high = 5});
  CHECK(*again.load() == 3);  // it keeps its value
  try {
    const bounded_counter other(engine, "stock", {.value = 3, .low = 0, .high = 6});
    CHECK(false);
  } catch (const store::failure& thrown) {
    CHECK(thrown.error().code == errc::wrong_kind);
  }
  CHECK_THROWS_AS(bounded_counter(engine, "odd", {.value = 7, .low = 0, .high = 5}),
                  store::failure);
}

TEST_CASE("A stale compare_and_set is a conflict with the current snapshot") {
  memory::client engine;
  const versioned<std::string> page(engine, "page");
  const auto never = page.load();
  CHECK((never->version == 0 && !never->value));
  const auto first = page.compare_and_set(0, "a");
  REQUIRE(first.applied());
  const auto stale = page.compare_and_set(0, "b");
  REQUIRE(stale.conflicted());
  CHECK((stale.conflict().version == *first && stale.conflict().value == "a"));
  CHECK(page.compare_and_set(*first, "c").applied());
  CHECK(page.compare_and_erase(*first).conflicted());
  CHECK(page.compare_and_erase(page.load()->version).applied());
  CHECK_FALSE(page.load()->value);
}

TEST_CASE("A version is never given twice and not even after the cell was erased") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  const versioned<int> other(engine, "other");
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    CHECK(seen.insert(*cell.store(i)).second);
    CHECK(seen.insert(*other.store(i)).second);
    CHECK(seen.insert(*cell.erase()).second);
  }
  CHECK(seen.count(cell.load()->version) == 1);
}

TEST_CASE("A value that does not decode is refused and stays as it is") {
  memory::client engine;
  const versioned<std::string> text(engine, "cell");
  const versioned<int> number(engine, "cell");
  text.store("seven").value();
  const auto read = number.load();
  REQUIRE(read.refused());
  CHECK(read.error().message() ==
        "memory: versioned.load 'cell': bad value: what is stored does not decode: seven; look for "
        "a writer of another type; store() replaces it");
  CHECK(number.update([](int& n) { ++n; }).refused());
  const auto stale = number.compare_and_set(0, 1);
  REQUIRE(stale.refused());
  CHECK(stale.error().code == errc::bad_value);
  CHECK(text.load()->value == "seven");
  CHECK(number.store(7).applied());
  CHECK(number.load()->value == 7);
}

TEST_CASE("update takes what f makes of the value in each of its forms") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  CHECK(cell.update([](int& n) { n += 2; }).applied());  // nothing counts as 0
  CHECK(cell.update([](int n) { return n * 5; }).applied());
  CHECK(cell.load()->value == 10);
  CHECK(cell.update([](const std::optional<int>& n) { return n.value_or(0) + 1; }).applied());
  CHECK(cell.load()->value == 11);
  CHECK(cell.update([](const std::optional<int>&) { return std::optional<int>(); }).applied());
  CHECK_FALSE(cell.load()->value);
  const auto boom = [](int&) { throw std::runtime_error("no"); };
  CHECK_THROWS_AS(cell.update(boom), std::runtime_error);
}

TEST_CASE("update gives up after as many attempts as it was given") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  int calls = 0;
  const auto meddle = [&](int& n) {
    ++calls;
    cell.store(100).value();  // somebody else comes first, each time
    ++n;
  };
  const auto lost = cell.update(meddle, 5);
  REQUIRE(lost.refused());
  CHECK(lost.error().code == errc::too_many_conflicts);
  CHECK(calls == 5);
  const auto late = cell.update(meddle, 1'000'000, {.timeout = 20ms});
  CHECK(late.refused());
  CHECK(cell.load()->value == 100);
}

TEST_CASE("A store that is repeated under its id is made once") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  const store::operation_id id = store::operation_id::fresh();
  lose_replies(engine, 1);
  CHECK(cell.store(10, {.id = id}).unknown());
  const auto first = cell.load();
  CHECK(*cell.store(10, {.id = id}) == first->version);
  lose_replies(engine, 2);
  const auto done = store::until_known(
      [&](const store::call_options& call) { return cell.update([](int& n) { ++n; }, 10, call); });
  CHECK(done.applied());
  CHECK(cell.load()->value == 11);
  CHECK(cell.load()->version == *done);
}

TEST_CASE("No update of a cell is lost however many clients make it") {
  memory::client engine;
  const versioned<int> naive(engine, "naive");
  const int each = static_cast<int>(support::rounds(200));
  std::atomic<int> applied{0};
  support::run_threads(4, [&](std::size_t) {
    const versioned<int> cell(engine.beside(), "cell");
    for (int i = 0; i < each; ++i) {
      applied += cell.update([](int& n) { ++n; }, 1'000'000, {.timeout = 60s}).applied();
    }
  });
  CHECK(applied == 4 * each);
  CHECK(versioned<int>(engine, "cell").load()->value == 4 * each);
  // The naive form in the same order of steps: two read before either writes.
  const int a = naive.load()->value.value_or(0);
  const int b = naive.load()->value.value_or(0);
  naive.store(a + 1).value();
  naive.store(b + 1).value();
  CHECK(naive.load()->value == 1);
}

TEST_CASE("Awaited operations answer as blocking ones and on a thread of the client") {
  memory::client engine;
  const counter hits(engine, "hits");
  const bounded_counter stock(engine, "stock", {.value = 5, .low = 0, .high = 9});
  const versioned<std::string> page(engine, "page");
  const auto work = [&]() -> task<bool> {
    bool good = *co_await hits.async_add(5) == 5;
    good = good && *co_await hits.async_sub(1) == 4;
    good = good && *co_await hits.async_exchange(7) == 4;
    good = good && *co_await hits.async_load() == 7;
    good = good && (co_await hits.async_add(1, {.timeout = -15'000'000'000'000ms})).refused();
    good = good && *co_await stock.async_try_add(2) == 7;
    good = good && *co_await stock.async_try_sub(7) == 0;
    good = good && (co_await stock.async_try_sub(1)).conflicted();
    good = good && *co_await stock.async_load() == 0;
    const auto version = co_await page.async_store("a");
    good = good && (co_await page.async_load())->value == "a";
    good = good && (co_await page.async_compare_and_set(*version, "b")).applied();
    good = good && (co_await page.async_compare_and_erase(*version)).conflicted();
    good = good && (co_await page.async_update([](std::string& s) { s += 'c'; })).applied();
    good = good && (co_await page.async_load())->value == "bc";
    good = good && (co_await page.async_erase()).applied();
    co_return good && !(co_await page.async_load())->value;
  };
  CHECK(sync_wait(work()));
}

TEST_CASE("The time of an awaited call runs while it waits for a thread") {
  memory::client engine(store::client_options{.threads = 1});
  const counter hits(engine, "hits");
  engine.inject(memory::faults([](const memory::request& r) {
    return r.operation == "counter.load" && !r.done ? memory::fault::delay(50ms)
                                                    : memory::fault::none();
  }));
  const auto slow = [&]() -> task<bool> { co_return (co_await hits.async_load()).applied(); };
  const auto quick = [&]() -> task<bool> {
    const auto late = co_await hits.async_add(1, {.timeout = 5ms});
    co_return late.refused() && late.error().code == errc::timed_out;
  };
  const auto [first, second] = sync_wait(interlock::when_all(slow(), quick()));
  CHECK(first);
  CHECK(second);
  CHECK(*hits.load() == 0);
}
