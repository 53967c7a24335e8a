// SPDX-License-Identifier: BSL-1.0
// postgres::client where there is no memory: a connection that owes answers is given to nobody.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/transaction.hpp>
#include <interlock/postgres/versioned.hpp>

#include "server.hpp"
#include "support/allocations.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace {

// Counters that are told from one another by their values.
struct told_apart {
  told_apart() : client(fresh_client({.connections = 1})) {
    for (std::int64_t i = 0; i < 5; ++i) {
      all.emplace_back(client, "c" + std::to_string(i));
      REQUIRE(all.back().add(1000 * i).applied());
    }
  }
  [[nodiscard]] bool right() {
    bool out = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto came = all[i].load();
      if (came.refused()) FAIL_CHECK(came.error().message());
      out = out && came.value_or(-1) == 1000 * static_cast<std::int64_t>(i);
    }
    return out;
  }
  postgres::client client;
  std::vector<postgres::counter> all{};
};

// Effects: runs f with ever more allocations, until it needs no more, each time on a connection
//          that has prepared next to nothing, so that its rounds have more answers.
// Returns: how many it needs.
template <class F>
long enough_for(told_apart& counters, F f) {
  long enough = 0;
  for (bool failed = true; failed && enough < 1000; ++enough) {
    CAPTURE(enough);
    counters.client.accept_history();
    REQUIRE(counters.right());
    failed = support::fails_with(enough, f);
    REQUIRE(counters.right());
  }
  return enough;
}

}  // namespace

TEST_CASE("A transaction of PostgreSQL that found no memory leaves the next call its own answer") {
  told_apart counters;
  const postgres::versioned<std::string> cell(counters.client, "cell");
  const postgres::versioned<int> other(counters.client, "other");
  const long enough = enough_for(counters, [&] {
    static_cast<void>(postgres::atomically(
        counters.client,
        [&](postgres::transaction& t) {
          static_cast<void>(t.read(cell));
          t.write(cell, "a text that is too long to be kept without memory");
          t.execute("select 1");
          t.execute("savepoint here");
          t.write(other, 2);
          return t.add(counters.all[3], 0);
        },
        {.id = operation_id::fresh()}));
  });
  CHECK((enough > 20 || support::sanitized));  // the control: some failed
  CHECK(enough < 1000);
  CHECK(other.load()->value == 2);
}

TEST_CASE("A commit of cells of PostgreSQL that found no memory leaves the next call its answer") {
  told_apart counters;
  const auto named = [&](const char* name) {
    return counters.client.object_named(object_kind::cell, name);
  };
  using object = postgres::client::object;
  const object read = named("read"), written = named("written");
  const store::cell_check<object> checks[] = {{&read, 0}};
  const store::cell_write<object> writes[] = {{&written, "x"}};
  const long enough = enough_for(counters, [&] {
    static_cast<void>(counters.client.cells_commit(checks, writes, {}));
  });
  CHECK((enough > 5 || support::sanitized));
  CHECK(enough < 1000);
  CHECK(counters.client.cell_load(written, {})->bytes == "x");
}
