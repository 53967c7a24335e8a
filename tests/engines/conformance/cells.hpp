// SPDX-License-Identifier: BSL-1.0
#pragma once

// Cells and mirror targets of any engine. Included by conformance.hpp.

#include <interlock/store/basic_transaction.hpp>

#include <array>
#include <atomic>
#include <map>
#include <set>
#include <span>
#include <string>

#include "engines/conformance/numbers.hpp"

TEST_CASE("Cells of an engine do what a model does") {
  data_set data;
  engine e = data.client();
  std::map<std::string, store::cell_state> model;
  std::set<std::uint64_t> given;
  dice roll(3);
  const auto names = odd_names();
  for (int i = 0; i < 300; ++i) {
    const std::string& name = names[static_cast<std::size_t>(roll(0, 5))];
    const object at = e.object_named(object_kind::cell, name);
    store::cell_state& now = model[name];
    if (roll(0, 3) == 0) {
      REQUIRE(e.cell_load(at, {}).value() == now);
      continue;
    }
    std::optional<std::string> bytes;
    if (roll(0, 4) != 0) bytes = odd_value() + std::to_string(i);
    std::optional<std::uint64_t> expected;
    if (roll(0, 2) != 0) expected = roll(0, 2) == 0 ? 0 : now.version;
    const auto answer = e.cell_put(at, expected, bytes, {});
    INFO(told(answer));
    if (expected && *expected != now.version) {
      REQUIRE(answer.conflicted());
      REQUIRE(answer.conflict() == now);
      continue;
    }
    REQUIRE(answer.applied());
    REQUIRE(given.insert(*answer).second);  // never used twice, nor by two names
    now = {*answer, bytes};
  }
}

TEST_CASE("A version is never used again after its cell was erased in each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::cell, "cell");
  const std::uint64_t first = e.cell_put(at, 0, "a", {}).value();
  const std::uint64_t gone = e.cell_put(at, first, std::nullopt, {}).value();
  CHECK(e.cell_load(at, {}).value() == store::cell_state{gone, std::nullopt});
  CHECK(e.cell_put(at, 0, "late", {}).conflicted());  // it was, so it is not as if it never was
  CHECK(e.cell_put(at, first, "late", {}).conflicted());
  const std::uint64_t again = e.cell_put(at, gone, "b", {}).value();
  CHECK(std::set<std::uint64_t>{0, first, gone, again}.size() == 4);
  CHECK(e.cell_put(at, first, "late", {}).conflicted());
  CHECK(e.cell_load(at, {}).value().bytes == "b");
}

TEST_CASE("A put under an id is done once in each engine") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::cell, "cell");
  const operation_id id = operation_id::fresh();
  CHECK(e.cell_put(at, 77, "no", {.id = id}).conflicted());
  const std::uint64_t version = e.cell_put(at, 0, "a", {.id = id}).value();
  CHECK(e.cell_put(at, 0, "a", {.id = id}).value() == version);
  const std::uint64_t later = e.cell_put(at, std::nullopt, "b", {}).value();
  CHECK(e.cell_put(at, 0, "a", {.id = id}).value() == version);
  CHECK(e.cell_load(at, {}).value() == store::cell_state{later, "b"});
}

TEST_CASE("A commit of cells is done as a whole or not at all in each engine") {
  data_set data;
  engine e = data.client();
  const object a = e.object_named(object_kind::cell, "a");
  const object b = e.object_named(object_kind::cell, "b:c");
  const object c = e.object_named(object_kind::cell, "never");
  using check = store::cell_check<object>;
  using write = store::cell_write<object>;
  const auto commit = [&](std::vector<check> checks, std::vector<write> writes,
                          operation_id id = {}) {
    return e.cells_commit(checks, writes, {.id = id});
  };
  const std::string value = odd_value();
  const auto first = commit({{&a, 0}, {&c, 0}}, {{&a, value}, {&b, "2"}});
  INFO(told(first));
  REQUIRE(first.applied());
  const std::array<const object*, 3> all{&a, &b, &c};
  auto now = e.cells_load(all, {}).value();
  REQUIRE(now.size() == 3);
  CHECK((now[0].bytes == value && now[1].bytes == "2" && !now[2].bytes));
  CHECK((now[0].version == *first && now[1].version == *first && now[2].version == 0));
  const auto stale = commit({{&a, *first}, {&b, 99}}, {{&a, "x"}, {&c, "x"}});
  REQUIRE(stale.conflicted());
  CHECK(stale.conflict().index == 1);
  CHECK(stale.conflict().now == now[1]);
  CHECK(e.cells_load(all, {}).value() == now);
  CHECK(commit({{&a, *first}}, {}).applied());  // checks alone
  CHECK(commit({{&a, *first}, {&a, *first}}, {}).applied());
  CHECK(commit({{&a, *first}, {&a, 1234567}}, {}).conflicted());
  CHECK(commit({{&a, 1234567}}, {}).conflicted());
  CHECK(e.cells_load(all, {}).value() == now);

  const operation_id id = operation_id::fresh();
  const std::uint64_t second = commit({{&a, *first}}, {{&a, std::nullopt}, {&c, ""}}, id).value();
  CHECK(commit({{&a, *first}}, {{&a, std::nullopt}, {&c, ""}}, id).value() == second);
  now = e.cells_load(all, {}).value();
  CHECK((!now[0].bytes && now[0].version == second && now[2].bytes == ""));
}

TEST_CASE("A value over the limit is refused and the cell as it was in each engine") {
  data_set data;
  store::client_options options = data.client().options();
  options.max_value_bytes = 1000;
  engine e = data.client(options);
  const object at = e.object_named(object_kind::cell, "cell");
  const std::string most(1000, 'x');
  CHECK(e.cell_put(at, 0, most, {}).applied());
  CHECK(is(errc::too_large, e.cell_put(at, std::nullopt, most + "y", {})));
  const std::string over = most + "y";
  const std::array<store::cell_write<object>, 1> writes{{{&at, over}}};
  CHECK(is(errc::too_large, e.cells_commit({}, writes, {})));
  const object line = e.object_named(object_kind::queue, "line");
  CHECK(is(errc::too_large, e.queue_push(line, "k", over, {})));
  const object rows = e.object_named(object_kind::mirror, "rows");
  CHECK(is(errc::too_large, e.mirror_put(rows, "k", {1, 1}, over, {})));
  CHECK(e.cell_load(at, {}).value().bytes == most);
}

TEST_CASE("A mirror target takes what is newer and keeps the version of what was deleted") {
  data_set data;
  engine e = data.client();
  const object rows = e.object_named(object_kind::mirror, "rows");
  std::map<std::string, store::mirror_row> model;
  dice roll(4);
  for (int i = 0; i < 200; ++i) {
    const std::string key = odd_names()[static_cast<std::size_t>(roll(0, 4))];
    const mirror_version version{static_cast<std::uint64_t>(roll(0, 2)),
                                 static_cast<std::uint64_t>(roll(0, 20))};
    store::mirror_row& now = model[key];
    std::optional<std::string> bytes;
    if (roll(0, 3) != 0) bytes = odd_value() + std::to_string(i);
    const auto answer = e.mirror_put(rows, key, version, bytes, {});
    INFO(told(answer));
    if (now.version && version <= *now.version) {
      REQUIRE(answer.conflicted());
      REQUIRE(answer.conflict().version == now.version);
      REQUIRE(answer.conflict().bytes == now.bytes);
    } else {
      REQUIRE(answer.applied());
      now = {version, bytes};
    }
    const auto there = e.mirror_get(rows, key, {}).value();
    REQUIRE((there.version == now.version && there.bytes == now.bytes));
  }
  const auto none = e.mirror_get(rows, "never", {}).value();
  CHECK((!none.version && !none.bytes));
  const mirror_version last{~std::uint64_t{0}, ~std::uint64_t{0}};
  const auto far = e.mirror_put(rows, "far", last, "x", {});
  CHECK((far.applied() || far.refused()));
  if (far.applied()) CHECK(e.mirror_get(rows, "far", {}).value().version == last);
}

TEST_CASE("Optimistic transactions of an engine move money and none gets lost") {
  data_set data;
  engine first = data.client();
  const auto account = [](engine& e, int i) {
    return store::basic_versioned<int, engine>(e, "account:" + std::to_string(i));
  };
  for (int i = 0; i < 3; ++i) account(first, i).store(100).value();
  std::atomic<int> wrong{0};
  std::atomic<int> failed{0};
  support::run_threads(3, [&](std::size_t id) {
    engine e = data.client();
    const auto me = static_cast<int>(id);
    const auto from = account(e, me);
    const auto to = account(e, (me + 1) % 3);
    const auto last = account(e, (me + 2) % 3);
    for (int i = 0; i < 15; ++i) {
      const auto sum = store::atomically(e,
                                         [&](store::basic_transaction<engine>& t) {
                                           t.prefetch(from, to);
                                           t.update(from, [](int& money) { money -= 7; });
                                           t.update(to, [](int& money) { money += 7; });
                                           return *t.read(from) + *t.read(to) + *t.read(last);
                                         },
                                         {.attempts = 100'000, .timeout = 60s});
      failed += !sum.applied();
      wrong += sum.value_or(300) != 300;
    }
  });
  CHECK(failed == 0);
  CHECK(wrong == 0);
  int sum = 0;
  for (int i = 0; i < 3; ++i) sum += *account(first, i).load().value().value;
  CHECK(sum == 300);
}
