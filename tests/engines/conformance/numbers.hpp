// SPDX-License-Identifier: BSL-1.0
#pragma once

// Counters and bounded counters of any engine, names, times. Included by conformance.hpp.

#include <map>
#include <set>

namespace {

using namespace conformance;

using engine = data_set::engine;
using object = engine::object;
static_assert(store::engine<engine>);

// Returns: the status as a word, for a failed check to show; and the code if there is one.
template <class T, class C>
std::string told(const store::outcome<T, C>& o) {
  std::string text = store::to_string(o.status());
  if (o.refused() || o.unknown()) text.append(": ").append(o.error().message());
  return text;
}

template <class T, class C>
bool is(errc code, const store::outcome<T, C>& o) {
  return o.refused() && o.error().code == code;
}

}  // namespace

TEST_CASE("Counters of an engine do what a model does") {
  data_set data;
  engine e = data.client();
  std::map<std::string, std::int64_t> model;
  dice roll(1);
  const auto names = odd_names();
  for (int i = 0; i < 300; ++i) {
    const std::string& name = names[static_cast<std::size_t>(roll(0, 5))];
    const object at = e.object_named(object_kind::counter, name);
    REQUIRE(at.name() == name);
    std::int64_t& value = model[name];
    const std::int64_t n = roll(-100, 100);
    switch (roll(0, 2)) {
      case 0:
        REQUIRE(e.counter_add(at, n, {}).value() == (value += n));
        break;
      case 1:
        REQUIRE(e.counter_exchange(at, n, {}).value() == std::exchange(value, n));
        break;
      default:
        REQUIRE(e.counter_load(at, {}).value() == value);
    }
  }
}

TEST_CASE("A sum beyond 64 bits is refused by each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::counter, "big");
  CHECK(e.counter_add(at, largest, {}).value() == largest);
  CHECK(is(errc::bad_argument, e.counter_add(at, 1, {})));
  CHECK(e.counter_load(at, {}).value() == largest);
  CHECK(e.counter_exchange(at, smallest, {}).value() == largest);
  CHECK(is(errc::bad_argument, e.counter_add(at, -1, {})));
  const operation_id id = operation_id::fresh();  // what is refused is not kept
  CHECK(is(errc::bad_argument, e.counter_add(at, -1, {.id = id})));
  CHECK(e.counter_add(at, 1, {.id = id}).value() == smallest + 1);
  CHECK(e.counter_add(at, largest, {}).value() == 0);
  CHECK(e.counter_load(at, {}).value() == 0);
}

TEST_CASE("What was done under an id and would not fit again has its answer in each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::counter, "full");
  REQUIRE(e.counter_add(at, largest - 1, {}).applied());
  store::operation_session session;
  const operation_id id = session.next();
  const operation_id later = session.next();
  REQUIRE(e.counter_add(at, 1, {.id = id}).value() == largest);
  const auto again = e.counter_add(at, 1, {.id = id});
  INFO(told(again));
  CHECK(again.value_or(0) == largest);
  CHECK(is(errc::bad_argument, e.counter_add(at, 1, {.id = later})));
  CHECK(e.counter_add(at, 1, {.id = id}).value_or(0) == largest);  // what was refused is not kept
  CHECK(e.counter_load(at, {}).value() == largest);
}

TEST_CASE("Asking again under an id gives the same answer and does nothing in each engine") {
  data_set data;
  engine e = data.client();
  engine other = data.client();
  const object at = e.object_named(object_kind::counter, "hits");
  store::operation_session session;
  const operation_id one = session.next();
  const operation_id two = session.next();
  CHECK(e.counter_add(at, 5, {.id = one}).value() == 5);
  CHECK(e.counter_add(at, 100, {}).value() == 105);
  CHECK(other.counter_add(at, 5, {.id = one}).value() == 5);
  CHECK(other.counter_add(at, 7, {.id = two}).value() == 112);
  CHECK(is(errc::expired, e.counter_add(at, 5, {.id = one})));
  CHECK(e.counter_add(at, 7, {.id = two}).value() == 112);
  CHECK(e.counter_load(at, {}).value() == 112);
  const operation_id free = operation_id::fresh();
  CHECK(e.counter_exchange(at, 1, {.id = free}).value() == 112);
  CHECK(e.counter_exchange(at, 1, {.id = free}).value() == 112);
  CHECK(e.counter_load(at, {}).value() == 1);
  // of another object it is another request
  const object elsewhere = e.object_named(object_kind::counter, "others");
  CHECK(e.counter_add(elsewhere, 3, {.id = two}).value() == 3);
  // without one it is done twice
  e.counter_add(at, 1, {}).value();
  CHECK(e.counter_add(at, 1, {}).value() == 3);
}

TEST_CASE("Bounded counters of an engine do what a model does") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::bounded_counter, odd_names()[3]);
  CHECK(is(errc::wrong_kind, e.bounded_add(at, 1, {})));
  CHECK(is(errc::wrong_kind, e.bounded_load(at, {})));
  CHECK(is(errc::bad_argument, e.bounded_open(at, {11, 0, 10}, {})));
  CHECK(e.bounded_open(at, {3, -5, 10}, {}).value().value == 3);
  CHECK(e.bounded_open(at, {7, -5, 10}, {}).value().value == 3);
  CHECK(is(errc::wrong_kind, e.bounded_open(at, {3, -5, 11}, {})));
  std::int64_t value = 3;
  dice roll(2);
  for (int i = 0; i < 200; ++i) {
    const std::int64_t n = roll(0, 9) == 0 ? (roll(0, 1) == 0 ? largest : smallest) : roll(-9, 9);
    const auto answer = e.bounded_add(at, n, {});
    const bool fits = n >= -15 && n <= 15 && value + n >= -5 && value + n <= 10;
    INFO(n << " to " << value << ": " << told(answer));
    REQUIRE(answer.applied() == fits);
    if (fits) {
      REQUIRE(*answer == (value += n));
    } else {
      REQUIRE(answer.conflicted());
      REQUIRE(answer.conflict().value == value);
      REQUIRE((answer.conflict().low == -5 && answer.conflict().high == 10));
    }
    REQUIRE(e.bounded_load(at, {}).value().value == value);
  }
  const object wide = e.object_named(object_kind::bounded_counter, "wide");
  CHECK(e.bounded_open(wide, {0, smallest, largest}, {}).applied());
  CHECK(e.bounded_add(wide, largest, {}).value() == largest);
  CHECK(e.bounded_add(wide, 1, {}).conflicted());
  CHECK(e.bounded_add(wide, smallest, {}).value() == -1);
  CHECK(e.bounded_add(wide, smallest + 1, {}).value() == smallest);
  const operation_id id = operation_id::fresh();
  CHECK(e.bounded_add(wide, -1, {}).conflicted());
  CHECK(e.bounded_add(wide, -1, {.id = id}).conflicted());
  CHECK(e.bounded_add(wide, smallest, {}).conflicted());
  CHECK(e.bounded_add(wide, 1, {.id = id}).value() == smallest + 1);
}

TEST_CASE("What conflicts is not kept under its id in each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::bounded_counter, "stock");
  e.bounded_open(at, {0, 0, 10}, {}).value();
  const operation_id id = operation_id::fresh();
  CHECK(e.bounded_add(at, -1, {.id = id}).conflicted());
  CHECK(e.bounded_add(at, 5, {}).value() == 5);
  CHECK(e.bounded_add(at, -1, {.id = id}).value() == 4);
  CHECK(e.bounded_add(at, -1, {.id = id}).value() == 4);
  CHECK(e.bounded_load(at, {}).value().value == 4);
}

TEST_CASE("Any bytes are a name and no two names are one in each engine") {
  data_set data;
  engine e = data.client();
  const auto names = odd_names();
  const std::set<std::string> each(names.begin(), names.end());
  std::int64_t n = 0;
  for (const std::string& name : each) {
    CHECK(e.counter_add(e.object_named(object_kind::counter, name), n + 1, {}).value() == n + 1);
    ++n;
    const object cell = e.object_named(object_kind::cell, name);
    CHECK(e.cell_put(cell, 0, name, {}).applied());  // kinds are spaces of their own
    const object row = e.object_named(object_kind::mirror, "rows");
    CHECK(e.mirror_put(row, name, {1, 1}, name, {}).applied());
  }
  n = 0;
  for (const std::string& name : each) {
    CHECK(e.counter_load(e.object_named(object_kind::counter, name), {}).value() == ++n);
    CHECK(e.cell_load(e.object_named(object_kind::cell, name), {}).value().bytes == name);
    const object row = e.object_named(object_kind::mirror, "rows");
    CHECK(e.mirror_get(row, name, {}).value().bytes == name);
  }
  CHECK_THROWS_AS(e.object_named(object_kind::counter, ""), store::failure);
  CHECK_THROWS_AS(e.object_named(object_kind::cell, std::string(513, 'n')), store::failure);
  const object rows = e.object_named(object_kind::mirror, "rows");
  CHECK(e.mirror_put(rows, "", {1, 1}, "x", {}).refused());
  CHECK(e.mirror_put(rows, std::string(513, 'k'), {1, 1}, "x", {}).refused());
}

TEST_CASE("Clients with another prefix have other objects in each engine") {
  data_set data;
  engine one = data.client();
  store::client_options other = one.options();
  other.prefix += "-2";
  engine two = data.client(other);
  const object here = one.object_named(object_kind::counter, "hits");
  CHECK(one.counter_add(here, 5, {}).value() == 5);
  CHECK(two.counter_load(two.object_named(object_kind::counter, "hits"), {}).value() == 0);
  other.prefix = "not a prefix";
  CHECK_THROWS_AS(data.client(other), store::failure);
}

TEST_CASE("A client that was closed refuses in all copies and other clients of each engine go on") {
  data_set data;
  engine e = data.client(), other = data.client();
  const engine copy = e;
  const object at = e.object_named(object_kind::counter, "hits");
  REQUIRE(e.counter_add(at, 3, {}).value() == 3);
  engine(copy).close();
  CHECK(is(errc::closed, e.counter_add(at, 1, {})));
  CHECK(is(errc::closed, e.counter_load(at, {})));
  const object there = other.object_named(object_kind::counter, "hits");
  CHECK(other.counter_add(there, 1, {}).value() == 4);
}

TEST_CASE("A call without time is refused before anything is sent in each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::counter, "hits");
  CHECK(is(errc::timed_out, e.counter_add(at, 1, {.timeout = -1ms})));
  CHECK(is(errc::timed_out, e.counter_load(at, {.timeout = -1ms})));
  CHECK(e.counter_load(at, {}).value() == 0);
}

TEST_CASE("What an engine promises covers what it was asked for or it does not connect") {
  data_set data;
  const engine e = data.client();
  const store::guarantees promised = e.probed().promised;
  CHECK(engine::claims.cover(promised));
  CHECK_FALSE(e.probed().server.empty());
  CHECK_FALSE(e.incarnation().empty());
  store::client_options options = e.options();
  options.require = promised;
  CHECK_NOTHROW(data.client(options));
  store::guarantees beyond = promised;
  beyond.keeps = store::durability::failover;
  beyond.fence = store::fence_kind::monotone_across_data_loss;
  if (promised.cover(beyond)) return;
  options.require = beyond;
  try {
    const engine never = data.client(options);
    CHECK(false);
  } catch (const store::failure& why) {
    CHECK(why.error().code == errc::guarantee_not_met);
    CHECK_FALSE(why.error().remedy.empty());
  }
}
