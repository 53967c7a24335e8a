// SPDX-License-Identifier: BSL-1.0
// The same code over types of this process and of an engine.

#include <interlock/async_mutex.hpp>
#include <interlock/bounded_counter.hpp>
#include <interlock/counter.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/memory/bounded_counter.hpp>
#include <interlock/memory/counter.hpp>
#include <interlock/memory/fenced.hpp>
#include <interlock/memory/idempotency_store.hpp>
#include <interlock/memory/mirror_target.hpp>
#include <interlock/memory/mutex.hpp>
#include <interlock/memory/observed_mutex.hpp>
#include <interlock/memory/serial_queue.hpp>
#include <interlock/memory/versioned.hpp>
#include <interlock/store/concepts.hpp>
#include <interlock/store/idempotency_cache.hpp>
#include <interlock/striped_bounded_counter.hpp>
#include <interlock/striped_counter.hpp>
#include <interlock/versioned.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <mutex>
#include <string>

namespace memory = interlock::memory;
namespace store = interlock::store;

namespace {

// Of this process.
static_assert(store::counter<interlock::counter<>>);
static_assert(store::bounded_counter<interlock::bounded_counter>);
static_assert(store::bounded_counter<interlock::striped_bounded_counter>);
static_assert(store::versioned_cell<interlock::versioned<int>, int>);
static_assert(store::mutex<std::mutex>);
static_assert(store::mutex<interlock::async_mutex>);
static_assert(store::idempotency_store<interlock::idempotency_cache<std::string, int>, int>);
static_assert(store::work_queue<interlock::keyed_serial_queue<std::string>, void (*)()>);

// Of an engine.
static_assert(store::counter<memory::counter>);
static_assert(store::bounded_counter<memory::bounded_counter>);
static_assert(store::versioned_cell<memory::versioned<int>, int>);
static_assert(store::fenced_mutex<memory::mutex>);
static_assert(store::fenced_mutex<memory::observed_mutex>);
static_assert(store::fenced_resource<memory::fenced<int>, int, memory::mutex::guard>);
static_assert(store::fenced_resource<memory::fenced<int>, int, memory::observed_mutex::guard>);
static_assert(store::idempotency_store<memory::idempotency_store<int>, int>);
static_assert(store::idempotency_store<
              store::idempotency_cache<std::string, memory::idempotency_store<int>>, int>);
static_assert(store::work_queue<memory::serial_queue<int>, int>);
static_assert(store::mirror_target<memory::mirror_target<std::string, int>, std::string, int,
                                   interlock::mirror_version>);

// Not everything is one.
static_assert(!store::counter<std::string>);
static_assert(!store::fenced_mutex<std::mutex>);
static_assert(!store::versioned_cell<interlock::counter<>, int>);
static_assert(!store::mirror_target<interlock::counter<>, std::string, int, std::uint64_t>);

// For a type of the process value_of adds nothing: it is the argument itself.
static_assert(
    std::is_same_v<decltype(store::value_of(std::declval<std::int64_t&>())), std::int64_t&>);

template <store::counter C>
std::int64_t hit(C& hits) {
  return store::value_of(hits.add(1));
}
template <store::bounded_counter C>
int sold(C& seats) {
  int n = 0;
  while (seats.try_sub(1)) ++n;
  return n;
}
template <class C>
requires store::versioned_cell<C, int>
int spend(C& wallet) {
  static_cast<void>(store::value_of(wallet.store(100)));
  static_cast<void>(store::value_of(wallet.update([](int& money) { money -= 30; })));
  const auto seen = store::value_of(wallet.load());
  const bool stale = static_cast<bool>(wallet.compare_and_set(seen.version - 1, 0));
  return seen.value == 70 && !stale ? 70 : 0;
}

}  // namespace

TEST_CASE("One function counts in this process and on an engine") {
  interlock::counter<> here;
  memory::client engine;
  memory::counter there(engine, "hits");
  CHECK(hit(here) == 1);
  CHECK(hit(there) == 1);
  CHECK(hit(there) == 2);
  engine.inject(memory::faults([](const memory::request&) { return memory::fault::drop(); }));
  CHECK_THROWS_AS(hit(there), store::failure);
}

TEST_CASE("One function sells seats and spends money in this process and on an engine") {
  memory::client engine;
  interlock::bounded_counter seats(3, 0, 3);
  memory::bounded_counter theirs(engine, "seats", {3, 0, 3});
  CHECK(sold(seats) == 3);
  CHECK(sold(theirs) == 3);
  interlock::versioned<int> wallet(0);
  memory::versioned<int> purse(engine, "wallet");
  CHECK(spend(wallet) == 70);
  CHECK(spend(purse) == 70);
}
